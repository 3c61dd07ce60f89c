"""Every run of the results table, one after the other: `python -m loadtests table FOLDER`.

Each row is a run of its own (`python -m loadtests run …`), kept under FOLDER/rows as soon as it is known, and the page
FOLDER/table.md is written anew. Started again, the command goes on where it stopped. Stores are filled once, under
FOLDER/stores; up to a million persons a row has a copy of its own, above they follow each other on the same store.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.run import Progress
from loadtests.served import fill_sqlite
from loadtests.shapes import KNEE_STEPS, SHAPES

FOYERS = 50_000
SECTIONS = {
    "shapes": "Every shape, SQLite, one server process",
    "postgresql": "The main shapes, PostgreSQL, two server processes",
    "limit": "All the national peaks together, then more: where it breaks",
    "growth": "How it grows: `national-day` at twice the peak, SQLite",
}
_MAIN = ("dsn-5", "window-opening", "national-day")
_GROWTH = (100_000, 1_000_000, 10_000_000, 30_000_000)
_COPIED_PERSONS = 1_000_000
_AROUND_SECONDS = 20
"""What a row costs beside its run: server, generator's ceiling, last answers."""
_CALLS = ("StreamResourceRecords", "PrefillDeclaration", "SubmitDeclaration")
_HEADS = (
    "shape", "× peak", "persons", "processes", "records/s", "declarations/s", "p50 ms", "p99 ms", "errors", "levels",
    "server, cores", "server, MiB",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A run of the table."""

    section: str
    shape: str
    times: float
    """Times the national peak."""
    store: str
    workers: int
    persons: int
    seconds: float

    @property
    def name(self) -> str:
        """Tells the rows apart: the name of its folder."""
        return f"{self.section}-{self.shape}-x{self.times:g}-{self.persons}-{self.workers}"

    def arguments(self, data: Path | None, reports: Path) -> list[str]:
        """The words after `python -m loadtests`."""
        # Another seed for the second row over a store that is kept: who has submitted already would only read.
        return [
            "run", self.shape, "--scale", "1", "--speed-up", f"{self.times:g}", "--duration", f"{self.seconds:g}s",
            "--store", self.store, "--workers", str(self.workers), "--foyers", str(FOYERS),
            "--persons", str(self.persons), "--seed", str(self.workers), "--reports", str(reports),
            *(["--data", str(data)] if data is not None else []),
        ]  # fmt: skip


def rows_of(sections: Sequence[str], times: Sequence[float], seconds: float, most_persons: int) -> Iterator[Row]:
    """The rows of these sections, those worth most first."""
    if "shapes" in sections:
        shapes = [name for name, shape in SHAPES.items() if not shape.steps]
        yield from (Row("shapes", name, each, "sqlite", 1, 2 * FOYERS, seconds) for each in times for name in shapes)
    if "postgresql" in sections:
        yield from (
            Row("postgresql", name, each, "postgresql", 2, 2 * FOYERS, seconds) for each in times for name in _MAIN
        )
    if "limit" in sections:
        yield Row("limit", "breaking-point", 1, "sqlite", 1, 2 * FOYERS, max(2.0, seconds / 4) * KNEE_STEPS)
    if "growth" in sections:
        for persons in _GROWTH:
            if persons <= most_persons:
                yield from (Row("growth", "national-day", 2, "sqlite", n, persons, seconds) for n in (1, 2))


def table(folder: Path, rows: Sequence[Row], stop_after_seconds: float, *, only_fill: bool = False) -> int:
    """Run the rows that are not known yet; 0 when all of them are, 1 when a level was missed, 3 when some are not, 130
    when it was interrupted.
    """
    try:
        return _table(folder, rows, stop_after_seconds, only_fill)
    except KeyboardInterrupt:
        print("Interrupted: nothing is left running; the same command goes on from here.", file=sys.stderr)
        return 130


def _table(folder: Path, rows: Sequence[Row], stop_after_seconds: float, only_fill: bool) -> int:
    begun = time.monotonic()
    for persons in sorted({row.persons for row in rows if row.store == "sqlite"}):
        print(f"store of {persons:,} persons", flush=True)
        fill_sqlite(_store(folder, persons), FOYERS, persons, Progress())
    if only_fill:
        return 0
    for place, row in enumerate(rows, 1):
        if known(folder, row) is None:
            if time.monotonic() - begun + row.seconds + _AROUND_SECONDS > stop_after_seconds:
                print(f"{row.name}: no time left (--stop-after)", flush=True)
                continue
            print(f"row {place} of {len(rows)}: {row.name}", flush=True)
            _run(folder, row)
            write(folder, rows)
    write(folder, rows)
    found = [known(folder, row) for row in rows]
    print(f"table: {folder / 'table.md'} ({sum(f is not None for f in found)} of {len(rows)} rows)")
    if None in found:
        return 3
    return 0 if all(f["met"] for f in found if f) else 1


def known(folder: Path, row: Row) -> dict[str, Any] | None:
    """What a row measured; None when it was not run, or did not end."""
    for file in (folder / "rows" / row.name).glob("*.json"):
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
    return None


def _store(folder: Path, persons: int) -> Path:
    return folder / "stores" / str(persons)


def _run(folder: Path, row: Row) -> None:
    """Run a row in a process of its own; what it says of its levels is repeated here."""
    reports, copy = folder / "rows" / row.name, folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    data = None
    if row.store == "sqlite":
        data = _store(folder, row.persons)
        if row.persons <= _COPIED_PERSONS:
            data = shutil.copytree(data, copy)
            # Written out now, not under the run.
            os.sync()
    command = [sys.executable, "-m", "loadtests", *row.arguments(data, reports)]
    with subprocess.Popen(  # noqa: S603 - ours
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=Path(__file__).parent.parent
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(("met", "MISSED", "warning", "Error")):
                    print(f"  {line}", end="", flush=True)
        except KeyboardInterrupt:
            process.terminate()
            raise
    shutil.rmtree(copy, ignore_errors=True)


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Write the page with what is known."""
    (folder / "table.md").write_text(page(rows, [known(folder, row) for row in rows]), encoding="utf-8")


def page(rows: Sequence[Row], found: Sequence[dict[str, Any] | None]) -> str:
    """The tables, in Markdown."""
    parts: list[str] = []
    facts: dict[str, str] = next((f["facts"] for f in found if f), {})
    parts.append("; ".join(f"{name}: {fact}" for name, fact in facts.items() if name not in ("Service", "Generator")))
    parts.append(
        "Rates: what the country needs → what was done in the best five seconds. Latencies: acknowledgement of a batch "
        "/ prefill / submission."
    )
    for section, title in SECTIONS.items():
        lines = [(row, f) for row, f in zip(rows, found, strict=True) if row.section == section]
        if lines:
            parts.append(f"### {title}")
            parts.append(
                "\n".join([_line(_HEADS), _line(["---"] * len(_HEADS)), *(_line(_cells(*each)) for each in lines)])
            )
    parts += [_steps(f) for row, f in zip(rows, found, strict=True) if f and row.section == "limit"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row, found: dict[str, Any] | None) -> list[str]:
    about = [f"`{row.shape}`", f"{row.times:g}", f"{row.persons / 1e6:g} M", str(row.workers)]
    if found is None:
        return [*about, "not run", *[""] * (len(_HEADS) - len(about) - 1)]
    flows = {flow["flow"]: flow for flow in found["flows"]}
    calls = {call["call"]: call for call in found["calls"]}
    missed = [judgement["measured"] for judgement in found["judgements"] if not judgement["met"]]
    levels = found["judgements"][0]["measured"] if SHAPES[row.shape].steps else "missed" if missed else "met"
    return [
        *about,
        _done(flows, "records"),
        _done(flows, "declarations"),
        *(
            " / ".join(f"{calls[name][share]:.0f}" if name in calls else "–" for name in _CALLS)
            for share in ("p50", "p99")
        ),
        str(sum(found["errors"].values())),
        f"{levels}; {_done(flows, 'recomputation')} foyers/s" if "recomputation" in flows else levels,
        f"{found['cpu_cores'].get('server', 0):.2f}",
        str(found["memory_mib"].get("server", "")),
    ]


def _done(flows: dict[str, Any], flow: str) -> str:
    if flow not in flows:
        return ""
    return f"{flows[flow]['national_peak_per_s']:,.6g} → {flows[flow]['done_peak_per_s']:,.6g}"


def _steps(found: dict[str, Any]) -> str:
    heads = ("× peak", "calls/s", "records/s", "p99 ms", "errors", "levels")
    lines = [
        (
            f"{step['times_the_peak']:g}",
            f"{step['calls_per_s']:,.0f}",
            f"{step['records_per_s']:,}",
            " / ".join(f"{value:.0f}" for name, value in step.items() if name.endswith("_p99_ms")),
            str(step["failed"]),
            "met" if step["holds"] else "missed",
        )
        for step in found["steps"]
    ]
    return "\n".join([_line(heads), _line(["---"] * len(heads)), *map(_line, lines)])
