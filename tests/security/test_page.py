"""docs/securite.md: its first page is played as a newcomer would, and its tables are those of the code."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from importlib.resources import files
from pathlib import Path

import pytest
from solidarite_client.cli import main
from solidarite_server.domain.identity import BenefitScope, Scope
from solidarite_server.services.rights import RIGHTS

from tests.pages import commands, flat

PAGE = (Path(__file__).parents[2] / "docs" / "securite.md").read_text("utf-8")


def free_port() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return str(held.getsockname()[1])


def run(arguments: list[str], *, refused: bool) -> str:
    """What a command prints, run in this process: one of its own takes a second to start, and prints the same."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    assert code == int(refused), (arguments, err.getvalue())
    return err.getvalue() if refused else out.getvalue()


def missing(shown: list[str], printed: str) -> list[str]:
    """The lines of the page that were not printed."""
    return [line for line in shown if flat(line) not in flat(printed)]


def test_a_newcomer_has_a_tls_server_with_tokens_by_these_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(str(files("solidarite_server") / "demo_data"), tmp_path / "server/solidarite_server/demo_data")
    ports = {"50051": free_port(), "50052": free_port()}
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "COLUMNS": "220", "XDG_STATE_HOME": str(tmp_path / "etat")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    server: subprocess.Popen[str] | None = None
    story = commands(PAGE)
    assert len(story) == 11
    try:
        for command, shown in story:
            for written, port in ports.items():
                command, shown = command.replace(written, port), [line.replace(written, port) for line in shown]
            arguments = shlex.split(command)[1:]
            if " serve " in command:
                config = tmp_path / "auth" / "solidarite.toml"
                config.write_text(re.sub("50051|50052", lambda found: ports[found[0]], config.read_text()))
                server = subprocess.Popen(
                    [sys.executable, "-m", "solidarite_client", *arguments],
                    cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                assert server.stdout is not None
                printed = server.stdout.readline()
            else:
                printed = run(arguments, refused=shown[0].startswith("Erreur"))
                limit = time.monotonic() + 20
                # The line of a read is durable a little after its answer.
                while " audit " in command and missing(shown, printed) and time.monotonic() < limit:
                    printed = run(arguments, refused=False)
            assert not missing(shown, printed), (command, printed)
    finally:
        if server is not None:
            server.terminate()
            server.wait(30)
            assert server.stdout is not None
            server.stdout.close()


def test_the_table_of_the_page_is_the_table_of_rights():
    rows = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and "/" in cells[0] and len(cells) == 6:
            rows[cells[0].strip("`")] = cells[1:]
    assert set(rows) == {name.rsplit(".", 1)[1] for name in RIGHTS}
    for name, right in RIGHTS.items():
        kinds, scope, _, both, action = rows[name.rsplit(".", 1)[1]]
        assert kinds == ", ".join(sorted(kind.value for kind in right.kinds))
        assert scope == (f"`{right.scope.value}`" if right.scope else "—")
        assert (both == "les deux") == right.both_benefits
        assert action == (f"`{right.action}`" if right.action else "—")


def test_the_page_names_every_scope():
    for name in [scope.value for scope in Scope] + [benefit.value[0] for benefit in BenefitScope]:
        assert f"`{name}`" in PAGE, name
