"""What a run looks like in a line, while it goes on."""

from __future__ import annotations

from loadtests.measures import Measures, percentile
from loadtests.national import national
from loadtests.plan import Plan
from loadtests.verdict import failures

PROGRESS = "run "
"""How a line of progress begins."""
_WINDOW_SECONDS = 5


def line_of(measures: Measures, plan: Plan, second: int) -> str:
    """The last seconds that are over, in one line."""
    seconds = range(max(0, second - _WINDOW_SECONDS), second)
    calls = sum(measures.total(call, seconds).calls for call in measures.calls)
    levels = []
    for level in national().levels:
        cell = measures.total(level.call, seconds)
        if cell.calls:
            levels.append(f"{level.name} p{level.percentile:g} {percentile(cell.latencies, level.percentile):.0f} ms")
    errors = failures(measures, range(second + 1)).total()
    step = f"  step × {plan.shape.times_the_peak(plan.shape.step_of(second / plan.duration_seconds)):.3g}"
    return (
        f"{PROGRESS}{second:>4}/{plan.duration_seconds:.0f} s  {calls / max(1, len(seconds)):7.1f} calls/s  "
        f"{'  '.join(levels) or 'no call judged yet'}  errors {errors}{step if plan.shape.steps else ''}"
    )
