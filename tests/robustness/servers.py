"""Real server processes that a test kills, drains or overloads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

CODE = "import sys; from solidarite_client.cli import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def server(url: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server on a free port; yields its address and its process. It is killed at the end."""
    with running(folder, store=url) as served:
        yield served.address, served.process


@dataclass
class Served:
    """A server process."""

    address: str
    process: subprocess.Popen[str]
    errors: Path
    """What it wrote on its error output."""

    @property
    def seen(self) -> psutil.Process:
        """The process, for its memory and its files."""
        return psutil.Process(self.process.pid)

    def memory_mib(self) -> float:
        """Resident memory."""
        return float(self.seen.memory_info().rss) / (1 << 20)


@contextmanager
def running(folder: Path, **settings: object) -> Iterator[Served]:
    """A server process on a free port with these settings, the rules interpreted; killed at the end."""
    key = folder / "key"
    if not key.exists():
        key.write_bytes(bytes(range(32)))
    chosen = {
        "listen": "127.0.0.1:0",
        "store": f"sqlite:///{folder / 'a.db'}",
        "pseudonym_key_file": key,
        "declaration_calendar": "LIBRE",
        **settings,
    }
    given = {f"SOLIDARITE_{name.upper()}": str(value) for name, value in chosen.items()}
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", **given}
    errors = folder / "erreurs.log"
    command = [sys.executable, "-c", CODE, "serve"]
    with (
        errors.open("a") as written,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=written, text=True, env=environment) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert " sur " in line, errors.read_text("utf-8")
            yield Served(line.split(" sur ")[1].split()[0], process, errors)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
