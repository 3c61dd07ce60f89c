"""A real server process with settings of its own, that a test drains, overloads or looks into."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.robustness.servers import environment

NEVER = base64.urlsafe_b64encode(b"s1." + (1 << 40).to_bytes(8, "big")).decode()
"""Token of a commit that will not come in SQLite."""


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
    chosen = {
        "listen": "127.0.0.1:0",
        "store": f"sqlite:///{folder / 'a.db'}",
        "declaration_calendar": "LIBRE",
        **settings,
    }
    given = {f"SOLIDARITE_{name.upper()}": str(value) for name, value in chosen.items()}
    errors = folder / "erreurs.log"
    with (
        errors.open("a") as written,
        subprocess.Popen(
            [sys.executable, "-m", "solidarite_client", "serve"],
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            env={**environment(folder), **given},
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert " sur " in line, errors.read_text("utf-8")
            yield Served(line.split(" sur ")[1].split()[0], process, errors)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
