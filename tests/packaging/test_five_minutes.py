"""The newcomer's five minutes: a fresh clone and environment, then the first page of docs/securite.md word for word.

`pytest --long -s tests/packaging/test_five_minutes.py` prints when each command had ended.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pages import commands, flat

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_the_commands_of_the_page_bring_up_a_tls_server_with_identities(tmp_path: Path):
    clone, start = tmp_path / "depot", time.monotonic()
    bin_folder = clone / ".venv" / "bin"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SOLIDARITE_")},
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "COLUMNS": "200",
        "XDG_STATE_HOME": str(tmp_path / "etat"),
        # The rules are compiled, as on a new machine.
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
    }

    def told(what: str) -> None:
        print(f"{time.monotonic() - start:6.1f} s  {what}", flush=True)

    def run(command: str, folder: Path) -> str:
        done = subprocess.run(
            shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True, timeout=900
        )
        told(command)
        return done.stdout + done.stderr

    run(f"git clone --quiet {ROOT} {clone}", tmp_path)
    run("python3 -m venv .venv", clone)
    run(".venv/bin/pip install --quiet --editable .[server]", clone)
    page = (clone / "docs" / "securite.md").read_text("utf-8").split("## Identités")[0]
    played = commands(page)
    assert len(played) > 8
    server = None
    try:
        for command, expected in played:
            if " serve " not in command:
                said = run(command, clone)
            else:
                server = subprocess.Popen(
                    shlex.split(command), cwd=clone, env=environment, stdout=subprocess.PIPE, text=True
                )
                assert server.stdout is not None
                said = server.stdout.readline()
                told(command)
            for line in expected:
                assert flat(line) in flat(said), command
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)
