"""What arrives when: the days that matter, as curves of arrival rate.

A shape gives, for each flow, the national rate of arrivals at a point of the run (0 at its start, 1 at its end). A run
plays the whole curve whatever its duration, at the true rates: fewer seconds of each hour, not more calls in a second.
`--scale` multiplies the rates by a share of the country, `--speed-up` multiplies them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import cos, pi

from loadtests.national import national

Curve = Callable[[float], float]
"""Arrivals a second, for the whole country, at a point of the run between 0 and 1."""

FLOWS = ("records", "declarations", "consultations", "agents", "computations")
"""What arrives: records sent by payroll sources, declarations and consultations by foyers, files opened by agents,
computations asked by analysts."""

KNEE_STEPS, KNEE_RATIO = 16, 1.25
"""breaking-point: so many steps, each at this ratio of the one before; the first is the national peak itself."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of day."""

    name: str
    label: str
    curves: Mapping[str, Curve]
    sources: int = 4
    """Payroll sources streaming at once."""
    batch_records: int = 100
    """Records in a batch: 500 when large payrolls are filed, fewer when sources send what they have."""
    recomputation: bool = False
    """Whether a campaign recomputes the whole store meanwhile."""
    steps: int = 0
    """Steps of a ramp that looks for the knee; 0 for the others."""
    peaks: Mapping[str, float] = field(init=False)
    """Highest national rate of each flow."""

    def __post_init__(self) -> None:
        peaks = {flow: max(curve(k / 1000) for k in range(1000)) for flow, curve in self.curves.items()}
        object.__setattr__(self, "peaks", peaks)

    def rate(self, flow: str, at: float) -> float:
        """National arrivals a second of a flow, at a point of the run."""
        curve = self.curves.get(flow)
        return curve(min(max(at, 0.0), 1.0)) if curve is not None else 0.0

    def step_of(self, at: float) -> int:
        """The step of the ramp at a point of the run, from 0."""
        return min(int(at * self.steps), self.steps - 1)

    def times_the_peak(self, step: int) -> float:
        """What a step of the ramp multiplies the national peak by."""
        return float(KNEE_RATIO**step)


def constant(value: float) -> Curve:
    """The same all along."""
    return lambda at: value


def plateau(low: float, high: float, start: float, end: float) -> Curve:
    """`high` between two points of the run, `low` before and after, a straight slope of a tenth between them."""

    def curve(at: float) -> float:
        rise = min(1.0, max(0.0, (at - start + 0.1) / 0.1))
        fall = min(1.0, max(0.0, (end + 0.1 - at) / 0.1))
        return low + (high - low) * min(rise, fall)

    return curve


def rush(low: float, high: float) -> Curve:
    """From `low` to `high`, faster and faster as the deadline comes, and `high` for the last fifth."""
    return lambda at: low + (high - low) * min(1.0, at / 0.8) ** 2


def day(low: float, high: float) -> Curve:
    """Twenty-four hours: `low` at night, `high` early in the afternoon."""
    return lambda at: low + (high - low) * (1 - cos(2 * pi * at)) / 2


def _ramp(base: float) -> Curve:
    return lambda at: base * KNEE_RATIO ** min(int(at * KNEE_STEPS), KNEE_STEPS - 1)


def _ordinary() -> dict[str, Curve]:
    rate = national().rate
    return {
        "records": constant(rate("records_ordinary")),
        "declarations": constant(rate("declarations_ordinary")),
        "consultations": constant(rate("consultations")),
        "agents": constant(rate("agent_files")),
        "computations": constant(rate("computations")),
    }


def _shapes() -> dict[str, Shape]:
    rate = national().rate
    filing = rush(rate("records_sustained"), rate("records_peak"))
    opening = plateau(rate("declarations_sustained"), rate("declarations_peak"), 0.25, 0.75)
    peak = {
        "records": rate("records_peak"),
        "declarations": rate("declarations_peak"),
        "consultations": rate("consultations"),
        "agents": rate("agent_files"),
        "computations": rate("computations"),
    }
    everything = (
        Shape(
            "dsn-5",
            "5th of the month: large employers file their DSN, until noon",
            _ordinary() | {"records": filing},
            batch_records=500,
        ),
        Shape(
            "dsn-15",
            "15th of the month: the other employers file, many small batches",
            _ordinary() | {"records": filing},
            sources=24,
        ),
        Shape("window-opening", "Day when the declaration window opens", _ordinary() | {"declarations": opening}),
        Shape("ordinary-day", "Peak hour of an ordinary day", _ordinary()),
        Shape(
            "last-day",
            "Last day of the declaration window",
            _ordinary() | {"declarations": rush(rate("declarations_ordinary"), rate("declarations_last_day"))},
        ),
        Shape(
            "revalorisation-night",
            "Night after a revalorisation: every foyer is recomputed",
            {
                "records": constant(rate("records_ordinary")),
                "consultations": constant(rate("consultations_night")),
                "declarations": constant(rate("declarations_ordinary") / 10),
            },
            recomputation=True,
        ),
        Shape(
            "national-day",
            "The filing day of the DSN and the opening of the window on the same day, from midnight to midnight",
            {
                "records": day(rate("records_ordinary"), peak["records"]),
                "declarations": day(rate("declarations_ordinary") / 10, peak["declarations"]),
                "consultations": day(rate("consultations_night"), peak["consultations"]),
                "agents": day(0.0, peak["agents"]),
                "computations": day(0.0, peak["computations"]),
            },
            sources=8,
            batch_records=500,
        ),
        Shape(
            "breaking-point",
            f"All national peaks together, then {KNEE_RATIO:g} times as much, step by step, until a level is missed",
            {flow: _ramp(value) for flow, value in peak.items()},
            sources=8,
            batch_records=500,
            steps=KNEE_STEPS,
        ),
    )
    return {shape.name: shape for shape in everything}


SHAPES: Mapping[str, Shape] = _shapes()
