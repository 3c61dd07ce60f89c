"""Real server processes that a test kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_END_SECONDS = 30


def environment(folder: Path) -> dict[str, str]:
    """That of a server whose key of pseudonyms lies in this folder."""
    key = folder / "key"
    if not key.exists():
        key.write_bytes(bytes(range(32)))
    return {**os.environ, "NUMBA_DISABLE_JIT": "1", "SOLIDARITE_PSEUDONYM_KEY_FILE": str(key)}


def serve(url: str) -> list[str]:
    """Arguments of the command: a server on a free port."""
    return ["serve", "--listen", "127.0.0.1:0", "--store", url]


@contextmanager
def server(url: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server on a free port; yields its address and its process. It is killed at the end."""
    command = [sys.executable, "-m", "solidarite_client", *serve(url)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(folder)) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" sur ")[1].split()[0], process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(_END_SECONDS)


@dataclass
class Forked:
    """A server process forked by a zygote."""

    pid: int
    address: str

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        limit = time.monotonic() + _END_SECONDS
        while time.monotonic() < limit:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.001)
        raise TimeoutError(f"process {self.pid} is still there")


class Zygote:
    """Servers one after the other, of which only the first takes long to start."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.robustness.zygote"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(folder)
        )

    @contextmanager
    def server(self, url: str) -> Iterator[Forked]:
        """A server; killed at the end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(serve(url)), file=self._process.stdin, flush=True)
        pid, address = 0, ""
        while not (pid and address):
            line = self._process.stdout.readline()
            assert line, "the zygote ended"
            assert not line.startswith("ended"), f"the server did not start: {line.strip()}"
            if line.strip().isdigit():
                pid = int(line)
            elif " sur " in line:
                address = line.split(" sur ")[1].split()[0]
        forked = Forked(pid, address)
        try:
            yield forked
        finally:
            forked.kill()

    def close(self) -> None:
        """End it, and every server of it."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


@contextmanager
def zygote(folder: Path) -> Iterator[Zygote]:
    """A zygote for as long as the context lasts."""
    one = Zygote(folder)
    try:
        yield one
    finally:
        one.close()
