"""A renewal of the pseudonyms killed at each of its commits, on either side of it, and taken up by another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = [sys.executable, "-m", "tests.robustness.killed_while_renewing"]


def killed(*arguments: str) -> int:
    """How many deaths the script met, each judged."""
    ended = subprocess.run([*SCRIPT, *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_renewal_killed_at_each_commit_is_taken_up_with_nothing_lost_or_doubled(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
):
    url = f"sqlite:///{tmp_path / 'a.db'}" if engine == "sqlite" else request.getfixturevalue("postgres_url")
    # A dozen of slices of records and five of dossiers at least, the beginning and the end: each killed twice.
    assert killed(url, str(tmp_path / "cles")) > 20


@pytest.mark.long
def test_a_renewal_killed_before_each_statement_is_taken_up(tmp_path: Path):
    assert killed(str(tmp_path), str(tmp_path / "cles"), "--every-statement") > 300
