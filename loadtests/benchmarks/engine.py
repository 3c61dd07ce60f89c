"""Speed of the rules: RSA and prime d'activité, all rules, one month of right.

    python -m loadtests.benchmarks.engine [--foyers 1000000]

Prints one JSON object a line. `ratio_to_copy` is the time of the rules over the time of a plain copy of the same input
columns, measured in turn in the same run (1 would be as fast as memory). Households are those of the oracle's file,
repeated.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from solidarite_server.engine import Case, FoyerColumns, columns_from, compute_columns, explain, warm_up
from solidarite_server.engine.oracle_cases import case_from
from solidarite_server.legislation import LegislationOptions

CASES = Path(__file__).parents[2] / "tests" / "rules" / "data" / "oracle-cases.jsonl.gz"
ROUNDS = 5


def households() -> list[Case]:
    """The households of the oracle's file, each in its own month."""
    with gzip.open(CASES, "rt", encoding="utf-8") as lines:
        read = [case_from(json.loads(line)) for line in lines]
    return [Case(foyer, ressources, mois, mois) for foyer, ressources, mois in read]


def repeated(columns: FoyerColumns, foyers: int) -> FoyerColumns:
    """The same households over and over, until there are that many."""
    times = -(-foyers // len(columns))
    tiled = np.tile(columns.foyers, times)
    copies = np.repeat(np.arange(times), len(columns))
    tiled["person"] += copies * len(columns.persons)
    tiled["line"] += copies * len(columns.lines)
    return FoyerColumns(
        tiled[:foyers].copy(), np.tile(columns.persons, times), np.tile(columns.lines, times), columns.groups
    )


def block(columns: FoyerColumns, start: int, stop: int) -> FoyerColumns:
    """A slice of the households: persons and lines are shared."""
    return FoyerColumns(columns.foyers[start:stop], columns.persons, columns.lines, columns.groups)


def median_seconds(*actions: Callable[[], object]) -> list[float]:
    """Median time of each action, run in turn."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(ROUNDS):
        for place, action in enumerate(actions):
            start = time.perf_counter()
            action()
            times[place].append(time.perf_counter() - start)
    return [float(np.median(t)) for t in times]


def report(**figures: object) -> None:
    """One JSON object a line."""
    print(json.dumps(figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foyers", type=int, default=1_000_000, help="largest number of households")
    largest = parser.parse_args().foyers
    options = LegislationOptions.law()
    start = time.perf_counter()
    warm_up()
    report(case="warm_up", seconds=round(time.perf_counter() - start, 3))
    cases = households()
    base = columns_from(cases, options)
    for count in (n for n in (1, 100, 10_000, 1_000_000, largest) if n <= largest):
        columns = repeated(base, count)
        loops = max(1, 10_000 // count)

        def copy(columns: FoyerColumns = columns, loops: int = loops) -> None:
            for _ in range(loops):
                columns.foyers.copy(), columns.persons.copy(), columns.lines.copy()

        def compute(columns: FoyerColumns = columns, loops: int = loops) -> None:
            for _ in range(loops):
                compute_columns(columns, options)

        computing, copying = median_seconds(compute, copy)
        report(
            case=f"{count}_foyers_one_core",
            foyers_per_s=round(count * loops / computing),
            microseconds_a_call=round(computing / loops * 1e6, 1),
            ratio_to_copy=round(computing / copying, 2),
            bytes_a_foyer=round(columns.nbytes / count),
        )
        if count == largest or count == 1_000_000:
            half = count // 2
            with ThreadPoolExecutor(2) as pool:

                def threaded(columns: FoyerColumns = columns, count: int = count, half: int = half) -> None:
                    parts = [block(columns, 0, half), block(columns, half, count)]
                    list(pool.map(lambda part: compute_columns(part, options), parts))

                (two,) = median_seconds(threaded)
            report(
                case=f"{count}_foyers_two_threads",
                foyers_per_s=round(count / two),
                ratio_to_one=round(computing / two, 2),
            )
            break
    few = cases[:50]
    (explaining,) = median_seconds(lambda: [explain(c.foyer, c.ressources, c.mois_droit, options=options) for c in few])
    (laying,) = median_seconds(lambda: columns_from(cases, options))
    report(case="explanation", microseconds_a_call=round(explaining / len(few) * 1e6, 1))
    report(case="columns_from_dossiers", foyers_per_s=round(len(cases) / laying))


if __name__ == "__main__":
    main()
