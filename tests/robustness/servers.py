"""Real server processes that a test kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CODE = "import sys; from solidarite_client.cli import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def server(url: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server on a free port; yields its address and its process. It is killed at the end."""
    key = folder / "key"
    if not key.exists():
        key.write_bytes(bytes(range(32)))
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "SOLIDARITE_PSEUDONYM_KEY_FILE": str(key)}
    command = [sys.executable, "-c", CODE, "serve", "--listen", "127.0.0.1:0", "--store", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" sur ")[1].split()[0], process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
