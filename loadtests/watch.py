"""What the processes of a run cost, second by second."""

from __future__ import annotations

import os
import re
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil

_VALUE = re.compile(r"^(\w+) (\S+)$", re.MULTILINE)
_QUEUES = ("calls_in_progress", "ingest_waiting_batches")


@dataclass(frozen=True, slots=True)
class Sample:
    """A group of processes at one instant."""

    at: float
    """Seconds since 1970."""
    cpu_cores: float
    """Processor time since the sample before, in cores: 1.5 is one and a half."""
    memory_mib: float
    """Resident memory, pages shared between processes counted in each."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits in the server at one instant, by its own metrics."""

    at: float
    calls: float
    """Calls and streams in progress."""
    batches: float
    """Batches that wait to be written."""


class Watch:
    """Samples groups of processes, each with its descendants, and the metrics of the server, every second."""

    def __init__(self, groups: dict[str, int], metrics: str | None) -> None:
        self._groups = groups
        self._metrics = metrics
        self.samples: dict[str, list[Sample]] = {name: [] for name in groups}
        self.queues: list[Queue] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        before = {name: _usage(root) for name, root in self._groups.items()}
        at = time.time()
        while not self._stop.wait(1):
            now = time.time()
            for name, root in self._groups.items():
                usage = _usage(root)
                known = before[name]
                # A process that ended takes its time with it: what the others spent still counts.
                spent = sum(seconds - known.get(pid, (0.0, 0))[0] for pid, (seconds, _) in usage.items())
                memory = sum(rss for _, rss in usage.values()) / 2**20
                self.samples[name].append(Sample(now, spent / (now - at), memory))
                before[name] = usage
            at = now
            if self._metrics is not None:
                self._scrape(self._metrics)

    def _scrape(self, address: str) -> None:
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=1) as answer:
                text = answer.read().decode()
        except OSError:
            return
        values = dict(_VALUE.findall(text))
        calls, batches = (float(values.get(f"solidarite_{name}", 0)) for name in _QUEUES)
        self.queues.append(Queue(time.time(), calls, batches))


def disk_of(folder: Path, times: int = 100) -> str:
    """What a durable write costs there: an acknowledgement and a submission wait for at least one."""
    file, taken = folder / "disk-probe", []
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        for _ in range(times):
            start = time.perf_counter()
            os.write(descriptor, bytes(8_192))
            os.fsync(descriptor)
            taken.append((time.perf_counter() - start) * 1000)
    finally:
        os.close(descriptor)
        file.unlink()
    taken.sort()
    return f"fsync of 8 KiB: median {taken[times // 2]:.2f} ms, p99 {taken[times * 99 // 100 - 1]:.2f} ms"


def _usage(root: int) -> dict[int, tuple[float, int]]:
    """Processor seconds and resident bytes, by process."""
    found = {}
    try:
        process = psutil.Process(root)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return {}
    for member in family:
        try:
            times = member.cpu_times()
            found[member.pid] = (times.user + times.system, member.memory_info().rss)
        except psutil.Error:
            continue
    return found
