"""The story of docs/vie-declaration.md, command by command: what the page shows is what the command prints."""

import os
import shlex
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from solidarite_server.cli_demo import running_server

from tests.pages import commands, flat

PAGE = Path(__file__).parents[3] / "docs" / "vie-declaration.md"


def test_the_story_of_the_page_happens_as_told(tmp_path: Path):
    shutil.copytree(str(files("solidarite_server") / "demo_data"), tmp_path / "demo")
    story = commands(PAGE.read_text("utf-8"))
    assert len(story) == 11
    with running_server(tmp_path) as address:
        environment = {**os.environ, "SOLIDARITE_SERVER": address, "COLUMNS": "220", "XDG_STATE_HOME": str(tmp_path)}
        for command, shown in story:
            _, *arguments = shlex.split(command)
            done = subprocess.run(
                [sys.executable, "-m", "solidarite_client", *arguments],
                cwd=tmp_path / "demo", env=environment, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, (command, done.stderr)
            for line in shown:
                assert flat(line) in flat(done.stdout), (command, done.stdout)
