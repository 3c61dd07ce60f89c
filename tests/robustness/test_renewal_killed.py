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


@pytest.fixture(params=["sqlite", "postgresql"])
def url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty store of each engine."""
    return f"sqlite:///{tmp_path / 'a.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def test_a_renewal_killed_at_each_commit_is_taken_up_with_nothing_lost_or_doubled(url: str, tmp_path: Path):
    # A dozen of slices of records and five of dossiers at least, the beginning and the end: each killed twice.
    assert killed(url, str(tmp_path / "cles")) > 20


@pytest.mark.long
def test_a_renewal_killed_before_each_statement_is_taken_up_whatever_is_done_meanwhile(url: str, tmp_path: Path):
    deaths = killed(url, str(tmp_path / "cles"), "--every-statement")
    print(f"{deaths} deaths")
    assert deaths > 100
