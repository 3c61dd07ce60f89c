"""Line charts as SVG, drawn by hand: a report is one file that opens anywhere, without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 28
COLOURS = ("#1b4f72", "#2e86c1", "#d35400", "#7d6608", "#6c3483", "#117864")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Series:
    """A line; the colour is never alone to tell it from another: the legend has its dashes too."""

    name: str
    points: Points
    dashes: str = ""


def line_chart(
    title: str,
    unit: str,
    series: Sequence[Series],
    *,
    end: float,
    limit: tuple[str, float] | None = None,
    logarithmic: bool = False,
    warm_up: float = 0.0,
) -> str:
    """A figure: lines over the seconds of the run, with a level not to exceed when there is one."""
    values = [value for line in series for _, value in line.points] + ([limit[1]] if limit else [])
    if not any(line.points for line in series):
        return f'<figure><figcaption>{escape(title)}</figcaption><p class="none">No call.</p></figure>'
    ticks = _log_ticks(values) if logarithmic else _ticks(max(values))
    low, high = (math.log10(ticks[0]), math.log10(ticks[-1])) if logarithmic else (0.0, ticks[-1])

    def x_of(second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / max(end, 1e-9)

    def y_of(value: float) -> float:
        shown = math.log10(max(value, ticks[0])) if logarithmic else value
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (shown - low) / (high - low)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}, {escape(unit)}">']
    if warm_up:
        parts.append(
            f'<rect x="{_LEFT}" y="{_TOP}" width="{x_of(warm_up) - _LEFT:.1f}" '
            f'height="{_HEIGHT - _TOP - _BOTTOM}" class="warm-up"/>'
        )
    for tick in ticks:
        y = y_of(tick)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{tick:,.6g}</text>')
    for second in _ticks(end):
        if second <= end:
            parts.append(f'<text x="{x_of(second):.1f}" y="{_HEIGHT - 8}" class="middle">{second:g} s</text>')
    if limit:
        y = y_of(limit[1])
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="limit"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{y - 4:.1f}" class="end limit-name">{escape(limit[0])}</text>')
    legend = []
    for place, line in enumerate(series):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{x_of(second):.1f},{y_of(value):.1f}" for second, value in line.points)
        style = f'stroke="{colour}" stroke-dasharray="{line.dashes}"'
        parts.append(f'<polyline points="{path}" {style}/>')
        legend.append(
            f'<span><svg viewBox="0 0 24 6" class="key"><polyline points="0,3 24,3" {style}/></svg>'
            f"{escape(line.name)}</span>"
        )
    parts.append("</svg>")
    return (
        f"<figure><figcaption>{escape(title)} <small>{escape(unit)}</small></figcaption>{''.join(parts)}"
        f'<p class="legend">{"".join(legend)}</p></figure>'
    )


def _ticks(highest: float) -> list[float]:
    """From 0 to at least the highest value, by a round step."""
    rough = max(highest, 1e-9) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough)
    return [step * k for k in range(math.ceil(highest / step - 1e-9) + 1)] if highest > 0 else [0.0, 1.0]


def _log_ticks(values: Sequence[float]) -> list[float]:
    """Powers of ten around the values."""
    lowest = math.floor(math.log10(max(min(values), 0.01)))
    highest = math.ceil(math.log10(max(*values, 0.01 * 10)))
    return [10.0**power for power in range(lowest, max(highest, lowest + 1) + 1)]
