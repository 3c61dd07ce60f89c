"""The oracle's own environment and process: made from the package index, spoken to over loopback in JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("openfisca-france==176.1.8", "openfisca-core[web-api]==44.7.1")
"""The versions of the oracle's file."""
START_SECONDS, ANSWER_SECONDS = 600, 600


def environment(folder: Path) -> Path:
    """A virtual environment with OpenFisca, made when it is not there yet; returns its command `openfisca`."""
    command = folder / "bin" / "openfisca"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *PACKAGES], check=True)
    return command


@contextlib.contextmanager
def serving(command: Path) -> Iterator[str]:
    """OpenFisca's web API on a free port of loopback, for as long as the block lasts; yields its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    process = subprocess.Popen(
        [
            str(command),
            "serve",
            "--country-package",
            "openfisca_france",
            "--port",
            str(port),
            "--workers",
            "1",
            "--timeout",
            str(ANSWER_SECONDS),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    try:
        _wait(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a worker still busy


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError("OpenFisca's web API ended as soon as it started.")
        # One patient request: the port listens long before the worker has read the legislation.
        with (
            contextlib.suppress(ConnectionError, urllib.error.URLError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/entities", timeout=START_SECONDS),
        ):
            return
        time.sleep(0.5)
    raise RuntimeError(f"OpenFisca's web API did not answer within {START_SECONDS} s.")


def calculate(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """Compute what the situation asks for (its nulls); RuntimeError tells what OpenFisca refused."""
    asked = urllib.request.Request(
        f"{address}/calculate", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as response:
            answered: dict[str, Any] = json.load(response)
            return answered
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"OpenFisca refused: {error.read()[:2000].decode()}") from None
