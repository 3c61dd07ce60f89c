"""The command line: `python -m loadtests run SHAPE`, `shapes`, `fill`, `report`, `table`."""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
from pathlib import Path

from loadtests.plan import CONNECTIONS, Plan, foyers_for, shape_named
from loadtests.shapes import SHAPES

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS = {None: 1, "s": 1, "m": 60, "h": 3600}
REPORTS = Path(__file__).parent / "reports"


def main(arguments: list[str]) -> int:
    """Run a command; its status: 0 when every service level was met, 1 when one was missed, 2 for a bad argument, 3
    when the run could not be made.
    """
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.command == "shapes":
        for shape in SHAPES.values():
            print(f"{shape.name:20} {shape.label}")
        return 0
    try:
        return {"fill": _fill, "report": _report, "run": _run, "table": _table}[asked.command](asked)
    except ValueError as error:
        parser.error(str(error))


def _run(asked: argparse.Namespace) -> int:
    from loadtests.run import Settings, run
    from loadtests.served import held_in

    shape = shape_named(asked.shape)
    if asked.target and (asked.store or asked.workers or asked.data):
        raise ValueError("--target is a service that runs already: --store, --workers and --data are for one of ours")
    draft = Plan(shape, asked.scale, asked.speed_up, asked.duration, 1, 1, 0)
    kept = held_in(asked.data) if asked.data else None
    if kept is not None and not asked.foyers and not asked.persons:
        foyers, persons = kept.foyers, kept.persons
    else:
        foyers = asked.foyers or foyers_for(asked.scale, draft.expected("declarations"))
        persons = _persons(asked.persons, foyers)
    plan = Plan(
        shape, asked.scale, asked.speed_up, asked.duration, foyers, persons,
        random.SystemRandom().randrange(2**31) if asked.seed is None else asked.seed, asked.connections,
    )  # fmt: skip
    return run(
        plan,
        Settings(
            target=asked.target,
            fill_target=asked.fill,
            store=asked.store or "sqlite",
            workers=asked.workers or 1,
            processes=asked.processes,
            data=asked.data,
            reports=asked.reports,
            ceiling_seconds=asked.ceiling_seconds,
            command="python -m loadtests " + " ".join(sys.argv[1:]),
        ),
    )


def _fill(asked: argparse.Namespace) -> int:
    from loadtests.fill import fill_server
    from loadtests.run import Progress
    from loadtests.served import CannotServe, check_target

    try:
        check_target(asked.target)
        fill_server(asked.target, asked.foyers, _persons(asked.persons, asked.foyers), Progress())
    except (CannotServe, RuntimeError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 3
    return 0


def _report(asked: argparse.Namespace) -> int:
    from loadtests.run import report_on

    return report_on(asked.measures, asked.reports, "python -m loadtests " + " ".join(sys.argv[1:]))


def _table(asked: argparse.Namespace) -> int:
    from loadtests.run import interrupted
    from loadtests.table import SECTIONS, rows_of, table

    signal.signal(signal.SIGTERM, interrupted)
    rows = list(rows_of(asked.only or list(SECTIONS), asked.times or [1, 2], asked.duration, asked.most_persons))
    return table(asked.folder, rows, asked.stop_after, only_fill=asked.fill)


def _persons(asked: int, foyers: int) -> int:
    if asked and asked < 2 * foyers:
        raise ValueError(f"--persons counts those of the foyers too: at least {2 * foyers} for {foyers} foyers")
    return asked or 2 * foyers


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests",
        description="Load tests of the service at the volumes of the country.",
        epilog="Volumes, sources, service levels: loadtests/national.toml. How to read a report: docs/charge.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="start a server, people and Locust; write a report; judge the service levels")
    run.add_argument("shape", metavar="SHAPE", type=_shape, help=", ".join(SHAPES))
    run.add_argument("--scale", type=_positive, default=1.0, help="share of the country (1: France, the default)")
    run.add_argument("--speed-up", type=_positive, default=1.0, help="multiplies the arrival rates (default 1)")
    run.add_argument("--duration", type=_duration, default=60.0, metavar="TIME", help="45s, 5m, 1h (default 60s)")
    run.add_argument("--store", choices=("sqlite", "postgresql"), help="store of the server started (default sqlite)")
    run.add_argument("--workers", type=_count, help="server processes on one port (default 1)")
    run.add_argument("--processes", type=_count, default=1, help="processes of the load generator (default 1)")
    run.add_argument("--target", metavar="HOST:PORT", help="a service that runs already, rather than one started here")
    run.add_argument("--fill", action="store_true", help="first send the people of the run to the target")
    run.add_argument("--foyers", type=_count, default=0, help="dossiers in the store (default: by the scale)")
    run.add_argument("--persons", type=_count, default=0, help="persons with records (default: two a foyer)")
    run.add_argument("--data", type=Path, metavar="FOLDER", help="fill this folder once and keep it for other runs")
    run.add_argument("--connections", type=_count, default=CONNECTIONS, help="channels of the front-end users")
    run.add_argument("--seed", type=int, help="decides the arrivals and who arrives (default: drawn, and told)")
    run.add_argument("--ceiling-seconds", type=_positive, default=3.0, help="time given to measuring the generator")
    run.add_argument("--reports", type=Path, default=REPORTS, metavar="FOLDER", help="where the report goes")
    fill = commands.add_parser("fill", help="send the people of the load tests to a service that runs already")
    fill.add_argument("--target", metavar="HOST:PORT", required=True)
    fill.add_argument("--foyers", type=_count, required=True)
    fill.add_argument("--persons", type=_count, default=0, help="persons with records (default: two a foyer)")
    report = commands.add_parser("report", help="report on a run of locust -f loadtests/locustfile.py --measures FILE")
    report.add_argument("measures", type=Path, metavar="FILE")
    report.add_argument("--reports", type=Path, default=REPORTS, metavar="FOLDER", help="where the report goes")
    table = commands.add_parser("table", help="every run of the results table, resumed where it stopped")
    table.add_argument("folder", type=Path, metavar="FOLDER", help="stores, rows and table.md go there")
    table.add_argument(
        "--only", action="append", type=_section, metavar="SECTION", help="shapes, postgresql, limit, growth (all)"
    )
    table.add_argument("--times", action="append", type=_positive, help="times the national peak (default: 1 and 2)")
    table.add_argument("--duration", type=_duration, default=30.0, metavar="TIME", help="of a run (default 30s)")
    table.add_argument("--most-persons", type=_count, default=10_000_000, help="largest store (default 10000000)")
    table.add_argument("--stop-after", type=_duration, default=2_100.0, metavar="TIME", help="no row later (35m)")
    table.add_argument("--fill", action="store_true", help="only fill the stores, to measure later")
    commands.add_parser("shapes", help="list the shapes")
    return parser


def _shape(text: str) -> str:
    try:
        return shape_named(text).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _section(text: str) -> str:
    from loadtests.table import SECTIONS

    if text not in SECTIONS:
        raise argparse.ArgumentTypeError(f"one of {', '.join(SECTIONS)} is expected")
    return text


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 2 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("a time between 2s and 24h, written 45s, 5m or 1h, is expected")
    return seconds


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError("a number above 0, at most 10000, is expected")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000_000:
        raise argparse.ArgumentTypeError("a whole number from 1 on is expected")
    return int(text)
