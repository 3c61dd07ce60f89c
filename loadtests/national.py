"""The volumes of the country and the service levels, as read from `national.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("national.toml")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number about the country, with where it comes from."""

    name: str
    value: float
    unit: str
    source: str
    mark: str
    """V2 to V4, S, D or SIM, as explained in `national.toml`."""


@dataclass(frozen=True, slots=True)
class Level:
    """A latency promised for one call."""

    name: str
    call: str
    percentile: float
    limit_ms: float
    label: str


@dataclass(frozen=True, slots=True)
class National:
    """Everything of `national.toml`."""

    volumes: dict[str, Figure]
    rates: dict[str, Figure]
    behaviour: dict[str, Figure]
    levels: tuple[Level, ...]

    def rate(self, name: str) -> float:
        """What arrives in a second, for the whole country."""
        return self.rates[name].value


@cache
def national() -> National:
    """Read the file once."""
    content = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    levels = tuple(Level(name=name, **entry) for name, entry in content["levels"].items())
    return National(
        volumes=_figures(content["volumes"]),
        rates=_figures(content["rates"]),
        behaviour=_figures(content["behaviour"]),
        levels=levels,
    )


def _figures(table: dict[str, dict[str, Any]]) -> dict[str, Figure]:
    return {
        name: Figure(name, entry["value"], entry.get("unit", "share"), entry["source"], entry["mark"])
        for name, entry in table.items()
    }
