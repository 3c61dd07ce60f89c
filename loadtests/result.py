"""What is known of a run, and the figures that its report and its table are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from loadtests.measures import Measures, percentile
from loadtests.national import Figure, national
from loadtests.plan import Plan
from loadtests.recorder import ALREADY_SUBMITTED, RECOMPUTED
from loadtests.shapes import FLOWS
from loadtests.verdict import (
    Judgement,
    failures,
    judged_seconds,
    seconds_of_step,
    step_holds,
)
from loadtests.watch import Queue, Sample

WINDOW_SECONDS = 5
_FEW_CALLS = 100
_LATE_MS = 20.0
_SHARE_OF_CEILING = 0.5
DONE_BY = {
    "records": ("StreamResourceRecords",),
    "declarations": ("SubmitDeclaration",),
    "consultations": ("GetEntitlements",),
    "agents": ("GetFoyer",),
    "computations": ("ComputeEntitlements", "StreamEntitlements"),
}
"""The calls that an arrival of each flow ends with."""
_RATE_PREFIX = {"agents": "agent_files"}


@dataclass(frozen=True, slots=True)
class Result:
    """Everything known about a run."""

    plan: Plan
    measures: Measures
    judgements: list[Judgement]
    start: float
    """Instant of the first second, in seconds since 1970."""
    samples: dict[str, list[Sample]]
    """Processor and memory of the server, the database and the generator."""
    queues: list[Queue]
    """What the server says of its queues; empty when it is not ours."""
    ceiling: dict[str, float]
    """What the generator makes against a server that does nothing, with 32 users in a closed loop; empty when it was
    not measured."""
    facts: dict[str, str]
    command: str

    @property
    def met(self) -> bool:
        """Whether every service level was met."""
        return all(judgement.met for judgement in self.judgements)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the figures."""
        found = []
        late = max((gauge.lateness_ms for gauge in self._judged_gauges()), default=0.0)
        if late > _LATE_MS:
            found.append(
                f"The generator started a call up to {late:.0f} ms late: it lacked processor time, or too many calls "
                "were open. Latencies count from the intended start and include it."
            )
        if self.share_of_ceiling > _SHARE_OF_CEILING:
            found.append(
                f"The generator worked at {self.share_of_ceiling:.0%} of its own ceiling: part of the latencies are "
                "its own. Add --processes, or machines."
            )
        few = [j.label for j in self.judgements if 0 < j.calls < _FEW_CALLS and "p99" in j.limit]
        if few:
            found.append(f"Fewer than {_FEW_CALLS} calls: the p99 is nearly the slowest one ({'; '.join(few)}).")
        already = self.measures.count(ALREADY_SUBMITTED, judged_seconds(self.plan))
        if already:
            found.append(
                f"{already} foyers had submitted already, in an earlier run: they only read their declaration. "
                "Another --seed or more --foyers meets others."
            )
        return found

    @property
    def share_of_ceiling(self) -> float:
        """The busiest window, as a share of what the generator can do; batches and unary calls added up."""
        calls = [call for call in self.measures.calls if call != "RunCampaign"]
        seconds = range(int(self.plan.duration_seconds))
        batches = best_rate((s, self.measures.total("StreamResourceRecords", [s]).calls) for s in seconds)
        unary = best_rate(
            (s, sum(self.measures.total(call, [s]).calls for call in calls if call != "StreamResourceRecords"))
            for s in seconds
        )
        if not self.ceiling:
            return 0.0
        return unary / max(self.ceiling["calls_per_s"], 1) + batches / max(self.ceiling["batches_per_s"], 1)

    def cpu(self, group: str) -> float:
        """Mean cores used by a group of processes over the judged seconds."""
        seconds = judged_seconds(self.plan)
        used = [s.cpu_cores for s in self.samples.get(group, []) if s.at - self.start in _span(seconds)]
        return sum(used) / len(used) if used else math.nan

    def _judged_gauges(self) -> Iterable[Any]:
        seconds = judged_seconds(self.plan)
        return [gauge for second, gauge in self.measures.gauges.items() if second in seconds]


class _span:  # noqa: N801 - reads as a word: `at in _span(seconds)`
    def __init__(self, seconds: range) -> None:
        self._low, self._high = seconds.start, seconds.stop

    def __contains__(self, at: object) -> bool:
        return isinstance(at, float) and self._low <= at < self._high


def best_rate(counts: Iterable[tuple[int, int]]) -> float:
    """The highest mean over five seconds in a row, a second."""
    values = [count for _, count in sorted(counts)]
    width = min(WINDOW_SECONDS, len(values))
    if not width:
        return 0.0
    return max(sum(values[k : k + width]) for k in range(len(values) - width + 1)) / width


def summary_of(result: Result) -> dict[str, Any]:
    """The figures of the report, as plain data."""
    plan = result.plan
    return {
        "shape": plan.shape.name,
        "scale": plan.scale,
        "speed_up": plan.speed_up,
        "duration_seconds": plan.duration_seconds,
        "foyers": plan.foyers,
        "persons": plan.persons,
        "seed": plan.seed,
        "command": result.command,
        "facts": result.facts,
        "met": result.met,
        "judgements": [asdict(judgement) for judgement in result.judgements],
        "warnings": result.warnings,
        "flows": flow_rows(result),
        "calls": call_rows(result),
        "errors": dict(failures(result.measures, judged_seconds(plan))),
        "steps": step_rows(result),
        "cpu_cores": {name: round(result.cpu(name), 3) for name in result.samples},
        "memory_mib": {name: round(max(s.memory_mib for s in kept)) for name, kept in result.samples.items() if kept},
        "queue": {
            "calls": max((q.calls for q in result.queues), default=None),
            "batches": max((q.batches for q in result.queues), default=None),
        },
        "generator_ceiling": {name: round(rate, 1) for name, rate in result.ceiling.items()},
        "share_of_ceiling": round(result.share_of_ceiling, 3),
    }


def flow_rows(result: Result) -> list[dict[str, Any]]:
    """What the country needs, what the run asked, what was done; a second, at the peak."""
    plan, measures = result.plan, result.measures
    seconds = range(int(plan.duration_seconds))
    rows = []
    for flow in FLOWS:
        if not plan.shape.peaks.get(flow):
            continue
        # A ramp begins at the national peak, and asks for what its last step brought.
        peak = plan.shape.rate(flow, 0) if plan.shape.steps else plan.shape.peaks[flow]
        asked = plan.rate(flow, _last_second(result)) if plan.shape.steps else plan.peak(flow)
        published = _figure_of(flow, peak)
        by_second = dict.fromkeys(seconds, 0)
        for call in DONE_BY[flow]:
            for second in seconds:
                cell = measures.total(call, [second])
                by_second[second] += cell.items if flow == "records" else cell.calls - cell.failures.total()
        rows.append(
            {
                "flow": flow,
                "national_peak_per_s": round(peak, 2),
                "asked_peak_per_s": round(asked, 2),
                "asked": round(plan.expected(flow)),
                "arrived": measures.count(flow, range(int(plan.duration_seconds) + 1)),
                "done_peak_per_s": round(best_rate(by_second.items()), 2),
                "source": published.source if published else "see the shape",
                "mark": published.mark if published else "SIM",
            }
        )
    if plan.recomputed_per_second:
        published = national().rates["recomputation"]
        done = measures.count(RECOMPUTED, range(int(plan.duration_seconds) + 1))
        rows.append(
            {
                "flow": "recomputation",
                "national_peak_per_s": published.value,
                "asked_peak_per_s": round(plan.recomputed_per_second, 2),
                "asked": round(plan.recomputed_per_second * plan.duration_seconds),
                "arrived": done,
                "done_peak_per_s": round(done / plan.duration_seconds, 2),
                "source": published.source,
                "mark": published.mark,
            }
        )
    return rows


def _last_second(result: Result) -> int:
    return max((second for _, second in result.measures.cells), default=0)


def _figure_of(flow: str, peak: float) -> Figure | None:
    prefix = _RATE_PREFIX.get(flow, flow)
    return next(
        (f for name, f in national().rates.items() if name.startswith(prefix) and math.isclose(f.value, peak)), None
    )


def call_rows(result: Result) -> list[dict[str, Any]]:
    """Latencies of each call, the most frequent first."""
    seconds = judged_seconds(result.plan)
    rows = []
    for call in result.measures.calls:
        cell = result.measures.total(call, seconds)
        if cell.calls:
            shares = {f"p{share:g}": round(percentile(cell.latencies, share), 2) for share in (50, 90, 99, 99.9, 100)}
            rows.append(
                {
                    "call": call,
                    "calls": cell.calls,
                    "per_s": round(cell.calls / len(seconds), 2),
                    "failed": cell.failures.total(),
                    **shares,
                }
            )
    return rows


def step_rows(result: Result) -> list[dict[str, Any]]:
    """The steps of a ramp, up to the last one that was begun; none for the other shapes."""
    plan, measures = result.plan, result.measures
    last = max((second for _, second in measures.cells), default=-1)
    rows = []
    for step in range(plan.shape.steps):
        seconds = seconds_of_step(plan, step)
        if seconds.start > last:
            break
        levels = {
            level.name: round(percentile(measures.total(level.call, seconds).latencies, level.percentile), 1)
            for level in national().levels
        }
        calls = sum(measures.total(call, seconds).calls for call in measures.calls)
        rows.append(
            {
                "times_the_peak": round(plan.shape.times_the_peak(step) * plan.times_the_country, 2),
                "calls_per_s": round(calls / len(seconds), 1),
                "records_per_s": round(measures.total("StreamResourceRecords", seconds).items / len(seconds)),
                **{f"{name}_p99_ms": value for name, value in levels.items()},
                "failed": failures(measures, seconds).total(),
                "holds": step_holds(measures, plan, step),
            }
        )
    return rows
