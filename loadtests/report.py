"""The report of a run: one HTML page that needs nothing else, and the same figures as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from loadtests.charts import Series, line_chart
from loadtests.measures import percentile
from loadtests.national import national
from loadtests.recorder import RECOMPUTED
from loadtests.result import DONE_BY, WINDOW_SECONDS, Result, call_rows, flow_rows, step_rows, summary_of
from loadtests.shapes import FLOWS
from loadtests.verdict import failures, judged_seconds, knee

_NUMBER = re.compile(r"[\d.,]+")
_MARKS = {"S": "one source", "D": "derived", "SIM": "modelling choice"}


def write(result: Result, folder: Path) -> Path:
    """Write the page and its JSON; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{result.plan.shape.name}"
    page = folder / f"{name}.html"
    page.write_text(html_of(result), encoding="utf-8")
    summary = json.dumps(summary_of(result), ensure_ascii=False, indent=2)
    (folder / f"{name}.json").write_text(summary + "\n", encoding="utf-8")
    return page


def html_of(result: Result) -> str:
    """The page."""
    verdict = _verdict(result)
    sections = [
        _heading(result, verdict),
        "<h2>Service levels</h2>",
        _levels(result),
        "<h2>What the country needs, what was asked, what was done</h2>",
        "<p>Rates a second at the peak (best five seconds in a row for what was done).</p>",
        _flows(result),
        _steps(result),
        "<h2>Latency over time</h2>",
        f"<p>From the intended start of each call to its answer, logarithmic. {WINDOW_SECONDS}-second windows. Grey: "
        "warm-up, not judged.</p>",
        _charts(_latency_chart(result, call) for call in _charted(result)),
        "<h2>Every call</h2>",
        _calls(result),
        "<h2>Errors by reason</h2>",
        _errors(result),
        "<h2>Throughput</h2>",
        _charts(_throughput_charts(result)),
        "<h2>Server and generator</h2>",
        _charts(_cost_charts(result)),
        _generator(result),
        "<h2>National volumes and their sources</h2>",
        _national(),
        "<h2>This run</h2>",
        _table(("", ""), [*result.facts.items(), ("Command", result.command)]),
    ]
    title = escape(f"{result.plan.shape.name}: {verdict}")
    return _PAGE.format(title=title, style=_STYLE, body="\n".join(sections))


def _verdict(result: Result) -> str:
    plan = result.plan
    if plan.shape.steps and (step := knee(result.measures, plan)) >= 0:
        times = plan.shape.times_the_peak(step) * plan.times_the_country
        return f"The levels hold up to {times:.3g} times the national peak"
    return "Every service level is met" if result.met else "A service level is missed"


def _heading(result: Result, verdict: str) -> str:
    plan = result.plan
    kind, sign = ("met", "✔") if result.met else ("missed", "✘")
    return "\n".join(
        (
            f"<h1>{escape(plan.shape.label)}</h1>",
            f'<p class="about">Shape <code>{plan.shape.name}</code>, {plan.scale:g} of the country, arrivals '
            f"× {plan.speed_up:g}, {plan.duration_seconds:g} s, {plan.foyers:,} foyers and {plan.persons:,} persons in "
            f"the store, seed {plan.seed}.</p>",
            f'<p class="verdict {kind}">{sign} {escape(verdict)}</p>',
            _list("warning", result.warnings),
        )
    )


def _levels(result: Result) -> str:
    return _table(
        ("Level", "Promised", "Measured", "On calls", ""),
        [(j.label, j.limit, j.measured, f"{j.calls:,}", "met" if j.met else "MISSED") for j in result.judgements],
    )


def _flows(result: Result) -> str:
    return _table(
        ("Flow", "The country", "Asked here", "Done here", "Done ÷ country", "Source of the national figure"),
        [
            (
                row["flow"],
                f"{row['national_peak_per_s']:,.6g}",
                f"{row['asked_peak_per_s']:,.6g}",
                f"{row['done_peak_per_s']:,.6g}",
                f"{row['done_peak_per_s'] / row['national_peak_per_s']:.2f}",
                _sourced(row["source"], row["mark"]),
            )
            for row in flow_rows(result)
        ],
    )


def _calls(result: Result) -> str:
    return _table(
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
    )


def _national() -> str:
    figures = [*national().volumes.values(), *national().rates.values(), *national().behaviour.values()]
    return _table(
        ("Figure", "Value", "Unit", "Source"),
        [(f.name.replace("_", " "), f"{f.value:,.10g}", f.unit, _sourced(f.source, f.mark)) for f in figures],
    )


def _sourced(source: str, mark: str) -> str:
    return f"{source} [{_MARKS.get(mark, mark)}]"


def _charts(charts: Iterable[str]) -> str:
    return '<div class="charts">' + "".join(charts) + "</div>"


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
        second: result.measures.total(call, range(second, min(second + WINDOW_SECONDS, end)))
        for second in range(0, end, WINDOW_SECONDS)
    }
    series = [
        Series(
            name,
            [(s + WINDOW_SECONDS / 2, percentile(cell.latencies, share)) for s, cell in windows.items() if cell.calls],
            dashes,
        )
        for name, share, dashes in (("p50", 50, ""), ("p90", 90, "6 3"), ("p99", 99, "2 2"), ("slowest", 100, "1 4"))
    ]
    limit = (f"p{level.percentile:g} ≤ {level.limit_ms:g} ms", level.limit_ms) if level else None
    return line_chart(call, "ms", series, end=end, limit=limit, logarithmic=True, warm_up=result.plan.warm_up_seconds)


def _throughput_charts(result: Result) -> list[str]:
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
            cells = [measures.total(call, window) for call in DONE_BY[flow]]
            count = sum(c.items if flow == "records" else c.calls - c.failures.total() for c in cells)
            done.append((second + 0.5, count / len(window)))
        series = [Series("planned", planned, "6 3"), Series("done", done)]
        charts.append(line_chart(flow, "a second, five-second mean", series, end=end, warm_up=plan.warm_up_seconds))
    if plan.recomputed_per_second:
        rate = [(s + 0.5, float(measures.count(RECOMPUTED, [s]))) for s in range(end)]
        needed = ("needed", plan.recomputed_per_second)
        charts.append(line_chart("foyers recomputed", "a second", [Series("done", rate)], end=end, limit=needed))
    return charts


def _cost_charts(result: Result) -> list[str]:
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
    return [
        line_chart("Processor", "cores", processor, end=end),
        line_chart("Memory", "MiB, shared pages counted in each process", memory, end=end),
        line_chart("Queue", "calls or batches", queue, end=end),
        line_chart("Lateness of the generator itself", "ms after the intended start", late, end=end),
    ]


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
