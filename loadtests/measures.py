"""What a run measures: a histogram of latencies for each call and second, kept where the calls are made.

Workers send what is new to the master with their reports; the master adds it up. Nothing is averaged: percentiles are
read from the merged histograms, two per cent wide.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_WIDTH = math.log(1.02)
_SMALLEST_MS = 0.01


def bucket_of(latency_ms: float) -> int:
    """The bucket of a latency."""
    return math.ceil(math.log(max(latency_ms, _SMALLEST_MS) / _SMALLEST_MS) / _WIDTH)


def top_of(bucket: int) -> float:
    """The highest latency of a bucket, in ms."""
    return _SMALLEST_MS * math.exp(bucket * _WIDTH)


def percentile(histogram: Mapping[int, int], share: float) -> float:
    """The latency, in ms, that `share` per cent of the calls do not exceed; 0 when there was none."""
    remaining = math.ceil(sum(histogram.values()) * share / 100)
    for bucket in sorted(histogram):
        remaining -= histogram[bucket]
        if remaining <= 0:
            return top_of(bucket)
    return 0.0


@dataclass(slots=True)
class Cell:
    """The calls of one kind that should have started in one second."""

    latencies: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    items: int = 0
    """Records, foyers: what the calls carried."""

    @property
    def calls(self) -> int:
        """How many calls ended, well or not."""
        return self.latencies.total()

    def add(self, other: Cell) -> None:
        """Add the calls of another cell."""
        self.latencies.update(other.latencies)
        self.failures.update(other.failures)
        self.items += other.items


@dataclass(slots=True)
class Gauge:
    """What a generator process saw of itself in one second."""

    in_flight: int = 0
    """Calls sent and not answered, all processes together."""
    lateness_ms: float = 0.0
    """How late the latest start was: the generator's own delay, not the server's."""
    cpu_seconds: float = 0.0
    """Processor time of the generator's processes."""

    def add(self, other: Gauge) -> None:
        """Add what another process saw in the same second."""
        self.in_flight += other.in_flight
        self.lateness_ms = max(self.lateness_ms, other.lateness_ms)
        self.cpu_seconds += other.cpu_seconds


@dataclass(slots=True)
class Measures:
    """Everything measured so far."""

    cells: dict[tuple[str, int], Cell] = field(default_factory=dict)
    """By call and second of the run."""
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By name and second: arrivals of each flow, foyers recomputed, declarations found submitted already."""
    gauges: dict[int, Gauge] = field(default_factory=dict)

    def record(self, call: str, second: int, latency_ms: float, *, failure: str | None = None, items: int = 0) -> None:
        """Count one call."""
        cell = self.cells.setdefault((call, second), Cell())
        cell.latencies[bucket_of(latency_ms)] += 1
        cell.items += items
        if failure is not None:
            cell.failures[failure] += 1

    def add(self, other: Measures) -> None:
        """Add what another process measured."""
        for key, cell in other.cells.items():
            self.cells.setdefault(key, Cell()).add(cell)
        self.counts.update(other.counts)
        for second, gauge in other.gauges.items():
            self.gauges.setdefault(second, Gauge()).add(gauge)

    def take(self) -> Measures:
        """Hand over everything and begin again."""
        taken = Measures(self.cells, self.counts, self.gauges)
        self.cells, self.counts, self.gauges = {}, Counter(), {}
        return taken

    @property
    def calls(self) -> list[str]:
        """The kinds of call met, the most frequent first."""
        counts = Counter[str]()
        for (call, _), cell in self.cells.items():
            counts[call] += cell.calls
        return [call for call, _ in counts.most_common()]

    def total(self, call: str, seconds: Iterable[int] | None = None) -> Cell:
        """The calls of one kind over some seconds, all when not told."""
        chosen = None if seconds is None else set(seconds)
        total = Cell()
        for (name, second), cell in self.cells.items():
            if name == call and (chosen is None or second in chosen):
                total.add(cell)
        return total

    def count(self, name: str, seconds: Iterable[int]) -> int:
        """What was counted under a name in some seconds."""
        return sum(self.counts[name, second] for second in seconds)

    def to_plain(self) -> dict[str, Any]:
        """Lists, texts and numbers only, for a message or a file."""
        return {
            "cells": [
                [call, second, list(map(list, cell.latencies.items())), dict(cell.failures), cell.items]
                for (call, second), cell in self.cells.items()
            ],
            "counts": [[name, second, count] for (name, second), count in self.counts.items()],
            "gauges": [[s, g.in_flight, g.lateness_ms, g.cpu_seconds] for s, g in self.gauges.items()],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Measures:
        """The inverse of `to_plain`."""
        return cls(
            {
                (call, second): Cell(Counter(dict(map(tuple, latencies))), Counter(failures), items)
                for call, second, latencies, failures, items in plain["cells"]
            },
            Counter({(name, second): count for name, second, count in plain["counts"]}),
            {second: Gauge(*rest) for second, *rest in plain["gauges"]},
        )
