"""What one run is about, told once to every generator: a shape, at a scale, for a while."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from loadtests.national import national
from loadtests.shapes import SHAPES, Shape

CONNECTIONS = 16
"""Channels of the front-end users, unless told: enough to load every process that shares the port."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A shape with everything that multiplies it. Rates are those of the run, not of the country."""

    shape: Shape
    scale: float
    speed_up: float
    duration_seconds: float
    foyers: int
    """Dossiers in the store."""
    persons: int
    """Persons with records in the store, those of the dossiers first."""
    seed: int
    connections: int = CONNECTIONS

    def to_plain(self) -> dict[str, Any]:
        """Numbers and texts only."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "shape": self.shape.name}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Plan:
        """The inverse of `to_plain`."""
        return cls(**{**plain, "shape": shape_named(plain["shape"])})

    @property
    def times_the_country(self) -> float:
        """What the national rates are multiplied by."""
        return self.scale * self.speed_up

    def rate(self, flow: str, second: float) -> float:
        """Arrivals a second of a flow, so many seconds after the start."""
        return self.shape.rate(flow, second / self.duration_seconds) * self.times_the_country

    def peak(self, flow: str) -> float:
        """The highest rate of a flow."""
        return self.shape.peaks.get(flow, 0.0) * self.times_the_country

    def expected(self, flow: str) -> float:
        """About how many arrivals of a flow the run brings."""
        seconds = self.duration_seconds
        return sum(self.rate(flow, (k + 0.5) * seconds / 200) for k in range(200)) * seconds / 200

    @property
    def warm_up_seconds(self) -> int:
        """Seconds at the start that no service level judges: connections are being made."""
        return min(5, int(self.duration_seconds / 10))

    @property
    def recomputed_per_second(self) -> float:
        """Foyers that a campaign must recompute in a second; 0 when the shape has none."""
        return national().rate("recomputation") * self.times_the_country if self.shape.recomputation else 0.0


def foyers_for(plan_scale: float, expected_declarations: float) -> int:
    """Dossiers to fill the store with: the country at that scale, within what is prepared in seconds, and more than the
    run will declare, since a declaration is submitted once.
    """
    country = national().volumes["foyers"].value * plan_scale
    return max(int(min(country, 50_000)), 2_000, int(expected_declarations * 1.3))


def shape_named(name: str) -> Shape:
    """A shape; ValueError says which exist."""
    try:
        return SHAPES[name]
    except KeyError:
        raise ValueError(f"unknown shape {name!r}; one of: {', '.join(SHAPES)}") from None
