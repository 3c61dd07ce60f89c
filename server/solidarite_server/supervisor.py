"""Several server processes on one port: started, watched, started again when they die, stopped together.

The processes are started afresh, before anything of gRPC is loaded here: gRPC does not outlive a fork.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from solidarite_server.configuration import environment_of
from solidarite_server.settings import Settings

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_STEADY_SECONDS = 60.0
_KILL_SECONDS = 5.0


def stop_signals() -> list[signal.Signals]:
    """What ends the service, drained: a terminal that closes too, unless it was started to outlive it (nohup)."""
    outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if outlives else [signal.SIGHUP])]


class Supervisor:
    """Keeps `settings.workers` processes serving until told to stop."""

    def __init__(self, settings: Settings, announce: Callable[[str], None]) -> None:
        self._settings = settings
        self._announce = announce
        self._stopping = threading.Event()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._guard = threading.Lock()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; 1 when the first process could not start."""
        with self._summed_metrics():
            return self._run()

    def _run(self) -> int:
        host, _, port = self._settings.listen.rpartition(":")
        with _reserved(host.strip("[]"), int(port)) as held:
            address = f"{host}:{held.getsockname()[1]}"
            for number in stop_signals():
                signal.signal(number, self._stop)
            # The first one alone: it migrates the store and compiles the rules for the others.
            first = self._start(0, address)
            if not _is_ready(first):
                return first.wait() or 1
            for place in range(1, self._settings.workers):
                _is_ready(self._start(place, address))
            if not self._stopping.is_set():
                self._announce(address)
            watchers = [
                threading.Thread(target=self._watch, args=(place, address)) for place in range(self._settings.workers)
            ]
            for watcher in watchers:
                watcher.start()
            for watcher in watchers:
                watcher.join()
        return 0

    def _start(self, place: int, address: str) -> subprocess.Popen[str]:
        # By the environment: an address may hold a password, and a command line is seen by everybody.
        environment = {**os.environ, **environment_of(self._settings.model_copy(update=self._child(address)))}
        command = [sys.executable, "-m", "solidarite_client", "serve"]
        with self._guard:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603 - ours
            self._processes[place] = process
            if self._stopping.is_set():
                process.terminate()
        return process

    def _child(self, address: str) -> dict[str, object]:
        return {"listen": address, "workers": 1, "share_port": True, "supervisor": os.getpid(), "metrics_listen": ""}

    @contextmanager
    def _summed_metrics(self) -> Iterator[None]:
        """Serve the sum of the processes' metrics, which they write in a folder of their own."""
        if not self._settings.metrics_listen:
            yield
            return
        from solidarite_server.metrics import serve_sum_of_processes

        with tempfile.TemporaryDirectory(prefix="solidarite-metrics-") as folder:
            _, server = serve_sum_of_processes(self._settings.metrics_listen, folder)
            try:
                yield
            finally:
                server.shutdown()
                server.server_close()

    def _watch(self, place: int, address: str) -> None:
        delay = _FIRST_DELAY
        while True:
            started = time.monotonic()
            process = self._processes[place]
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            if self._stopping.is_set():
                return
            if self._settings.metrics_listen:
                from solidarite_server.metrics import forget_process

                forget_process(process.pid)
            if time.monotonic() - started > _STEADY_SECONDS:
                delay = _FIRST_DELAY
            print(f"Un processus s'est arrêté : il redémarre dans {delay:g} s.", file=sys.stderr, flush=True)
            if self._stopping.wait(delay):
                return
            delay = min(delay * 2, _LONGEST_DELAY)
            _is_ready(self._start(place, address))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()
        # Not in this handler: it may have interrupted the very code that holds the guard.
        threading.Thread(target=self._terminate, daemon=True).start()

    def _terminate(self) -> None:
        with self._guard:
            processes = list(self._processes.values())
            for process in processes:
                if process.poll() is None:
                    process.terminate()
        limit = time.monotonic() + self._settings.drain_seconds + _KILL_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def _reserved(host: str, port: int) -> socket.socket:
    """Hold the port without listening on it: the processes share it, and nobody else may take it meanwhile."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((host, port))
    except OSError:
        held.close()
        raise
    return held


def _is_ready(process: subprocess.Popen[str]) -> bool:
    """Wait until a process serves, or has ended."""
    assert process.stdout is not None
    return bool(process.stdout.readline())
