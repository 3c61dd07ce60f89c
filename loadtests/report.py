"""The report of a run: one HTML page that needs nothing else, and the same figures as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from loadtests.charts import Series, line_chart
from loadtests.measures import Measures, percentile
from loadtests.national import Figure, national
from loadtests.plan import Plan
from loadtests.recorder import ALREADY_SUBMITTED, RECOMPUTED
from loadtests.shapes import FLOWS
from loadtests.verdict import (
    Judgement,
    failures,
    judged_seconds,
    knee,
    seconds_of_step,
    step_holds,
)
from loadtests.watch import Queue, Sample

_WINDOW_SECONDS = 5
_NUMBER = re.compile(r"[\d.,]+")
_FEW_CALLS = 100
_LATE_MS = 20.0
_SHARE_OF_CEILING = 0.5
_MARKS = {"S": "one source", "D": "derived", "SIM": "modelling choice"}
_DONE_BY = {
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
    width = min(_WINDOW_SECONDS, len(values))
    if not width:
        return 0.0
    return max(sum(values[k : k + width]) for k in range(len(values) - width + 1)) / width


def write(result: Result, folder: Path) -> Path:
    """Write the page and its JSON; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{result.plan.shape.name}"
    page = folder / f"{name}.html"
    page.write_text(html_of(result), encoding="utf-8")
    summary = json.dumps(summary_of(result), ensure_ascii=False, indent=2)
    (folder / f"{name}.json").write_text(summary + "\n", encoding="utf-8")
    return page


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
        for call in _DONE_BY[flow]:
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


# The page


def html_of(result: Result) -> str:
    """The page."""
    plan = result.plan
    verdict = "Every service level is met" if result.met else "A service level is missed"
    if plan.shape.steps:
        step = knee(result.measures, plan)
        times = plan.shape.times_the_peak(step) * plan.times_the_country if step >= 0 else 0
        verdict = f"The levels hold up to {times:.3g} times the national peak" if step >= 0 else verdict
    sections = [
        f"<h1>{escape(plan.shape.label)}</h1>",
        f'<p class="about">Shape <code>{plan.shape.name}</code>, {plan.scale:g} of the country, arrivals '
        f"× {plan.speed_up:g}, {plan.duration_seconds:g} s, {plan.foyers:,} foyers and {plan.persons:,} persons in the "
        f"store, seed {plan.seed}.</p>",
        f'<p class="verdict {"met" if result.met else "missed"}">{"✔" if result.met else "✘"} {escape(verdict)}</p>',
        _list("warning", result.warnings),
        "<h2>Service levels</h2>",
        _table(
            ("Level", "Promised", "Measured", "On calls", ""),
            [(j.label, j.limit, j.measured, f"{j.calls:,}", "met" if j.met else "MISSED") for j in result.judgements],
        ),
        "<h2>What the country needs, what was asked, what was done</h2>",
        "<p>Rates a second at the peak (best five seconds in a row for what was done).</p>",
        _table(
            ("Flow", "The country", "Asked here", "Done here", "Done ÷ country", "Source of the national figure"),
            [
                (
                    row["flow"],
                    f"{row['national_peak_per_s']:,.6g}",
                    f"{row['asked_peak_per_s']:,.6g}",
                    f"{row['done_peak_per_s']:,.6g}",
                    f"{row['done_peak_per_s'] / row['national_peak_per_s']:.2f}",
                    f"{row['source']} [{_MARKS.get(row['mark'], row['mark'])}]",
                )
                for row in flow_rows(result)
            ],
        ),
        _steps(result),
        "<h2>Latency over time</h2>",
        f"<p>From the intended start of each call to its answer, logarithmic. {_WINDOW_SECONDS}-second windows. Grey: "
        "warm-up, not judged.</p>",
        '<div class="charts">' + "".join(_latency_chart(result, call) for call in _charted(result)) + "</div>",
        "<h2>Every call</h2>",
        _table(
            ("Call", "Calls", "per s", "Failed", "p50 ms", "p90", "p99", "p99.9", "slowest"),
            [
                (
                    row["call"],
                    f"{row['calls']:,}",
                    f"{row['per_s']:,g}",
                    f"{row['failed']:,}",
                    *(f"{row[share]:,.1f}" for share in ("p50", "p90", "p99", "p99.9", "p100")),
                )
                for row in call_rows(result)
            ],
        ),
        "<h2>Errors by reason</h2>",
        _errors(result),
        "<h2>Throughput</h2>",
        '<div class="charts">' + _throughput_charts(result) + "</div>",
        "<h2>Server and generator</h2>",
        '<div class="charts">' + _cost_charts(result) + "</div>",
        _generator(result),
        "<h2>National volumes and their sources</h2>",
        _table(
            ("Figure", "Value", "Unit", "Source"),
            [
                (f.name.replace("_", " "), f"{f.value:,.10g}", f.unit, f"{f.source} [{_MARKS.get(f.mark, f.mark)}]")
                for f in [*national().volumes.values(), *national().rates.values(), *national().behaviour.values()]
            ],
        ),
        "<h2>This run</h2>",
        _table(("", ""), [*result.facts.items(), ("Command", result.command)]),
    ]
    return _PAGE.format(title=escape(f"{plan.shape.name}: {verdict}"), style=_STYLE, body="\n".join(sections))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = list(rows)
    if not lines:
        return '<p class="none">Nothing.</p>'
    kinds = [' class="number"' if _NUMBER.fullmatch(cell) else "" for cell in lines[0]]
    top = "".join(f'<th scope="col"{kind}>{escape(cell)}</th>' for cell, kind in zip(head, kinds, strict=True))
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    kind = {"MISSED": "missed", "met": "met"}.get(text, "number" if _NUMBER.fullmatch(text) else "")
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _list(kind: str, items: Sequence[str]) -> str:
    return f'<ul class="{kind}">' + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>" if items else ""


def _charted(result: Result) -> list[str]:
    """The calls with a level first, then the others that are frequent enough to draw."""
    promised = [level.call for level in national().levels]
    others = [call for call in result.measures.calls if call not in promised and call != "RunCampaign"]
    return [call for call in promised if call in result.measures.calls] + others[:3]


def _latency_chart(result: Result, call: str) -> str:
    level = next((level for level in national().levels if level.call == call), None)
    end = int(result.plan.duration_seconds)
    windows = {
        second: result.measures.total(call, range(second, min(second + _WINDOW_SECONDS, end)))
        for second in range(0, end, _WINDOW_SECONDS)
    }
    series = [
        Series(
            name,
            [(s + _WINDOW_SECONDS / 2, percentile(cell.latencies, share)) for s, cell in windows.items() if cell.calls],
            dashes,
        )
        for name, share, dashes in (("p50", 50, ""), ("p90", 90, "6 3"), ("p99", 99, "2 2"), ("slowest", 100, "1 4"))
    ]
    limit = (f"p{level.percentile:g} ≤ {level.limit_ms:g} ms", level.limit_ms) if level else None
    return line_chart(call, "ms", series, end=end, limit=limit, logarithmic=True, warm_up=result.plan.warm_up_seconds)


def _throughput_charts(result: Result) -> str:
    plan, measures = result.plan, result.measures
    end = int(plan.duration_seconds)
    charts = []
    for flow in FLOWS:
        if not plan.shape.peaks.get(flow):
            continue
        planned = [(s + 0.5, plan.rate(flow, s + 0.5)) for s in range(end)]
        done = []
        for second in range(end):
            window = range(max(0, second - 2), min(end, second + 3))
            cells = [measures.total(call, window) for call in _DONE_BY[flow]]
            count = sum(c.items if flow == "records" else c.calls - c.failures.total() for c in cells)
            done.append((second + 0.5, count / len(window)))
        series = [Series("planned", planned, "6 3"), Series("done", done)]
        charts.append(line_chart(flow, "a second, five-second mean", series, end=end, warm_up=plan.warm_up_seconds))
    if plan.recomputed_per_second:
        rate = [(s + 0.5, float(measures.count(RECOMPUTED, [s]))) for s in range(end)]
        needed = ("needed", plan.recomputed_per_second)
        charts.append(line_chart("foyers recomputed", "a second", [Series("done", rate)], end=end, limit=needed))
    return "".join(charts)


def _cost_charts(result: Result) -> str:
    end = int(result.plan.duration_seconds)
    kept = {
        name: [(s.at - result.start, s) for s in samples if 0 <= s.at - result.start <= end]
        for name, samples in result.samples.items()
    }
    dashes = dict(zip(kept, ("", "6 3", "2 2"), strict=False))
    processor = [Series(name, [(at, s.cpu_cores) for at, s in samples], dashes[name]) for name, samples in kept.items()]
    memory = [Series(name, [(at, s.memory_mib) for at, s in samples], dashes[name]) for name, samples in kept.items()]
    gauges = sorted((s, g) for s, g in result.measures.gauges.items() if 0 <= s <= end)
    waiting = [(q.at - result.start, q) for q in result.queues if 0 <= q.at - result.start <= end]
    queue = [
        Series("not answered, seen by the generator", [(s, float(g.in_flight)) for s, g in gauges]),
        Series("in progress, seen by the server (streams included)", [(at, q.calls) for at, q in waiting], "6 3"),
        Series("batches to be written", [(at, q.batches) for at, q in waiting], "2 2"),
    ]
    late = [Series("latest start", [(s, g.lateness_ms) for s, g in gauges])]
    return "".join(
        (
            line_chart("Processor", "cores", processor, end=end),
            line_chart("Memory", "MiB, shared pages counted in each process", memory, end=end),
            line_chart("Queue", "calls or batches", queue, end=end),
            line_chart("Lateness of the generator itself", "ms after the intended start", late, end=end),
        )
    )


def _generator(result: Result) -> str:
    ceiling = result.ceiling
    if not ceiling:
        return "<p>The generator's own ceiling was not measured in this run.</p>"
    return (
        "<p>The generator's own ceiling, measured in this run against a server that does nothing: "
        f"<strong>{ceiling['calls_per_s']:,.0f}</strong> unary calls/s, "
        f"<strong>{ceiling['batches_per_s']:,.0f}</strong> batches of 500 records/s "
        f"({ceiling['batches_per_s'] * 500:,.0f} records/s). The busiest five seconds of the run took "
        f"<strong>{result.share_of_ceiling:.1%}</strong> of it. On one machine, server and generator share the cores: "
        "what the generator takes, the server has not.</p>"
    )


def _errors(result: Result) -> str:
    found = failures(result.measures, judged_seconds(result.plan))
    rows = [(*reason.split(": ", 1), f"{count:,}") for reason, count in found.most_common()]
    return _table(("Call", "Reason", "Calls"), rows) if rows else "<p>None.</p>"


def _steps(result: Result) -> str:
    rows = step_rows(result)
    if not rows:
        return ""
    names = [level.name for level in national().levels]
    return "<h2>The ramp, step by step</h2>" + _table(
        ("× national peak", "calls/s", "records/s", *(f"{name} p99 ms" for name in names), "Failed", ""),
        [
            (
                f"{row['times_the_peak']:g}",
                f"{row['calls_per_s']:,g}",
                f"{row['records_per_s']:,}",
                *(f"{row[f'{name}_p99_ms']:,g}" for name in names),
                f"{row['failed']:,}",
                "met" if row["holds"] else "MISSED",
            )
            for row in rows
        ],
    )


_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2833; background: #fff; max-width: 72rem; margin: 2rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin-bottom: .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
.about { color: #566573; margin-top: 0; }
.verdict { font-size: 1.2rem; font-weight: 600; padding: .75rem 1rem; border-left: .4rem solid; }
p.met { background: #eafaf1; border-color: #1e8449; color: #145a32; }
p.missed { background: #fdedec; border-color: #b03a2e; color: #78281f; }
.warning { background: #fef9e7; border-left: .4rem solid #b7950b; padding: .6rem 1rem .6rem 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #d5dbdb; vertical-align: top; }
th { background: #f4f6f6; font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
td.met { color: #145a32; } td.missed { color: #922b21; font-weight: 700; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; } figcaption small { font-weight: 400; color: #566573; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: #566573; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; } svg .grid { stroke: #e5e8e8; }
svg polyline { fill: none; stroke-width: 1.8; } svg .limit { stroke: #b03a2e; stroke-dasharray: 8 4; }
svg .limit-name { fill: #922b21; } svg .warm-up { fill: #f2f3f4; }
.legend { margin: .2rem 0 0; font-size: .85rem; } .legend span { margin-right: 1rem; white-space: nowrap; }
svg.key { width: 24px; height: 6px; margin-right: .35rem; } .none { color: #566573; }
@media print { .charts { grid-template-columns: 1fr 1fr; } }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head>
<body>
{body}
</body></html>
"""
