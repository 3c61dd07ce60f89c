"""One process of the generator during a run: its plan, its clock, and what it measures."""

from __future__ import annotations

import time
from typing import Protocol

import psutil

from loadtests.measures import Gauge, Measures
from loadtests.people import Draw
from loadtests.plan import Plan

LEAD_SECONDS = 2.0
"""From the order to start to the first arrival: users open their channels."""
RECOMPUTED, ALREADY_SUBMITTED = "foyers recomputed", "found submitted already"
"""Names of counts that are not arrivals."""


class HasWaiting(Protocol):
    """Anything that waits for answers."""

    @property
    def in_flight(self) -> int:
        """How many."""


class Run:
    """What the users of a process share. Instants are those of `time.perf_counter`."""

    def __init__(self, plan: Plan, generator: int = 0, generators: int = 1) -> None:
        self.plan = plan
        self.generator = generator
        self.start = time.perf_counter() + LEAD_SECONDS
        self.start_on_the_clock = time.time() + LEAD_SECONDS
        self.draw = Draw(plan.foyers, plan.seed, generator, generators)
        self.measures = Measures()
        self._in_flight = 0
        self._lateness_ms = 0.0
        self._streams: list[HasWaiting] = []
        self._process = psutil.Process()
        self._cpu_seconds = self._cpu()

    @property
    def second(self) -> int:
        """The second of the run that it is now; negative before the first arrival."""
        return int((time.perf_counter() - self.start) // 1)

    @property
    def in_flight(self) -> int:
        """Calls and batches sent and not answered."""
        return self._in_flight + sum(stream.in_flight for stream in self._streams)

    def call(self, name: str, intended: float, ended: float, *, failure: str | None = None, items: int = 0) -> None:
        """Count a call in the second in which it should have started."""
        second = int((intended - self.start) // 1)
        self.measures.record(name, second, (ended - intended) * 1000, failure=failure, items=items)

    def offered(self, flow: str, second: float, arrivals: float) -> None:
        """Count what the plan asked for."""
        self.measures.counts[flow, int(second)] += round(arrivals)

    def recomputed(self, foyers: int) -> None:
        """Count foyers that a campaign has done since the last notice."""
        self.measures.counts[RECOMPUTED, self.second] += foyers

    def found_submitted(self) -> None:
        """Count a declaration that an earlier run had submitted."""
        self.measures.counts[ALREADY_SUBMITTED, self.second] += 1

    def started(self, intended: float) -> None:
        """An arrival is being acted upon: how late, compared with its instant."""
        self._in_flight += 1
        self._lateness_ms = max(self._lateness_ms, (time.perf_counter() - intended) * 1000)

    def ended(self) -> None:
        """An arrival has been dealt with."""
        self._in_flight -= 1

    def waiting_for(self, stream: HasWaiting) -> None:
        """Count what a stream waits for among what is in flight."""
        if stream not in self._streams:
            self._streams.append(stream)

    def sample(self) -> None:
        """Note what the process sees of itself; called every second."""
        cpu = self._cpu()
        gauge = Gauge(self.in_flight, self._lateness_ms, cpu - self._cpu_seconds)
        self.measures.gauges.setdefault(self.second, Gauge()).add(gauge)
        self._cpu_seconds, self._lateness_ms = cpu, 0.0

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)
