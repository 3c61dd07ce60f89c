"""Whether what was measured is what is promised."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from loadtests.measures import Measures, percentile
from loadtests.national import Level, national
from loadtests.plan import Plan
from loadtests.recorder import RECOMPUTED

_STEPS_MISSED = 2
"""A ramp ends after so many steps in a row that miss a level."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One service level, and what the run gave."""

    label: str
    limit: str
    measured: str
    calls: int
    """On how many calls it stands; 0: nothing to judge, and the level counts as met."""
    met: bool


def judged_seconds(plan: Plan) -> range:
    """The seconds that count: all but the warm-up."""
    return range(plan.warm_up_seconds, int(plan.duration_seconds) + 1)


def judgements(measures: Measures, plan: Plan) -> list[Judgement]:
    """Every service level of the run. A ramp has one: its first step, the national peak, holds."""
    if plan.shape.steps:
        return [_knee_judgement(measures, plan)]
    seconds = judged_seconds(plan)
    found = [_latency(measures, level, seconds) for level in national().levels]
    errors = failures(measures, seconds)
    calls = sum(measures.total(call, seconds).calls for call in measures.calls)
    detail = ", ".join(f"{reason} × {count}" for reason, count in errors.most_common(4))
    found.append(Judgement("Errors", "none", detail or "none", calls, not errors))
    found.append(Judgement("Calls made", "at least one", f"{calls:,} calls", calls, calls > 0))
    if plan.recomputed_per_second:
        foyers = measures.count(RECOMPUTED, range(int(plan.duration_seconds) + 1))
        rate = foyers / plan.duration_seconds
        found.append(
            Judgement(
                "Foyers recomputed, start of the campaign included",
                f"≥ {plan.recomputed_per_second:,.1f}/s",
                f"{rate:,.0f}/s",
                foyers,
                rate >= plan.recomputed_per_second,
            )
        )
    return found


def failures(measures: Measures, seconds: range) -> Counter[str]:
    """Failed calls by call and reason."""
    found = Counter[str]()
    for (call, second), cell in measures.cells.items():
        if second in seconds:
            found.update({f"{call}: {reason}": count for reason, count in cell.failures.items()})
    return found


def _latency(measures: Measures, level: Level, seconds: range) -> Judgement:
    cell = measures.total(level.call, seconds)
    value = percentile(cell.latencies, level.percentile)
    return Judgement(
        level.label,
        f"p{level.percentile:g} ≤ {level.limit_ms:g} ms",
        f"p{level.percentile:g} = {value:.1f} ms" if cell.calls else "no call",
        cell.calls,
        value <= level.limit_ms,
    )


def seconds_of_step(plan: Plan, step: int) -> range:
    """The seconds of a step of a ramp; of the first, what comes after the warm-up."""
    length = plan.duration_seconds / plan.shape.steps
    start = plan.warm_up_seconds if step == 0 else int(step * length + 0.999)
    return range(start, max(start + 1, int((step + 1) * length)))


def step_holds(measures: Measures, plan: Plan, step: int) -> bool:
    """Whether every level holds in a step of a ramp, without an error."""
    seconds = seconds_of_step(plan, step)
    return not failures(measures, seconds) and all(
        _latency(measures, level, seconds).met for level in national().levels
    )


def knee(measures: Measures, plan: Plan) -> int:
    """The last step of a ramp before the first that misses a level; -1 when the first one does."""
    last = max((second for _, second in measures.cells), default=-1)
    for step in range(plan.shape.steps):
        if seconds_of_step(plan, step).start > last or not step_holds(measures, plan, step):
            return step - 1
    return plan.shape.steps - 1


def knee_is_passed(measures: Measures, plan: Plan, second: int) -> bool:
    """Whether the last steps that are over all missed a level: a ramp need not go on."""
    over = [step for step in range(plan.shape.steps) if seconds_of_step(plan, step).stop + 2 <= second]
    return len(over) >= _STEPS_MISSED and not any(step_holds(measures, plan, s) for s in over[-_STEPS_MISSED:])


def _knee_judgement(measures: Measures, plan: Plan) -> Judgement:
    step = knee(measures, plan)
    times = plan.shape.times_the_peak(step) if step >= 0 else 0.0
    return Judgement(
        "Levels hold at all the national peaks together",
        f"× {plan.times_the_country:g} of the national peak",
        f"× {times * plan.times_the_country:.2g}" if step >= 0 else "missed at the first step",
        sum(measures.total(call).calls for call in measures.calls),
        step >= 0,
    )
