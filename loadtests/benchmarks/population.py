"""Speed of the synthetic population: columns for the engine, records, Parquet, a store.

    python -m loadtests.benchmarks.population [--foyers 200000] [--processes 2]

Prints one JSON object a line. `ratio_to_copy` is the time that one process takes to make the columns over the time of a
plain copy of the same columns, measured in turn in the same run. `peak_mib` is the most memory that this process held,
or its largest child. `cpu_microseconds_a_foyer` is what the work itself costs, whatever else the machine does.
Processes are started before the clock, but those of the store: what is measured is the pace, not the start.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from solidarite_server.domain.month import Month
from solidarite_server.engine import compute_columns, warm_up
from solidarite_server.services.clock import SystemClock
from solidarite_server.simulation.arrow import batch_of, write_parquet
from solidarite_server.simulation.columns import Examen, engine_columns, examen_of
from solidarite_server.simulation.fill import fill
from solidarite_server.simulation.parallel import in_order_by_threads
from solidarite_server.simulation.population import Population
from solidarite_server.simulation.records import records
from solidarite_server.storage import open_store

from loadtests.benchmarks.engine import median_seconds, report

_WARM_BLOCKS = 4
_STORE_FOYERS = 200_000


def columns(population: Population, examen: Examen, number: int) -> float:
    """Make the columns of a block; seconds of processor."""
    start = time.process_time()
    engine_columns(population.block(number), examen, population.marginals)
    return time.process_time() - start


def columns_and_records(population: Population, examen: Examen, number: int) -> float:
    """Make the columns and the records of a block; seconds of processor."""
    start = time.process_time()
    block = population.block(number)
    engine_columns(block, examen, population.marginals)
    records(block, examen.months, population.marginals)
    return time.process_time() - start


def peak_mib() -> float:
    """Most memory held by this process or by its largest child."""
    return round(
        max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foyers", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    population = Population(arguments.foyers, 1, Month(2026, 11))
    examen, marginals = examen_of(population), population.marginals
    warm_up()
    for number in range(min(_WARM_BLOCKS, population.block_count)):
        columns_and_records(population, examen, number)

    block = population.block(0)
    laid = engine_columns(block, examen, marginals)
    make, copy, law = median_seconds(
        lambda: engine_columns(population.block(0), examen, marginals),
        lambda: (laid.foyers.copy(), laid.persons.copy(), laid.lines.copy()),
        lambda: compute_columns(laid, examen.options),
    )
    report(
        case="columns_one_block_one_core",
        foyers_per_s=round(len(block) / make),
        ratio_to_copy=round(make / copy, 1),
        ratio_to_rules=round(make / law, 2),
        bytes_a_foyer=round(laid.nbytes / len(block)),
        peak_mib=peak_mib(),
    )
    with ProcessPoolExecutor(arguments.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for name, work in (("columns", columns), ("columns_and_records", columns_and_records)):
            list(pool.map(partial(work, population, examen), range(min(_WARM_BLOCKS, population.block_count))))
            start = time.perf_counter()
            used = sum(pool.map(partial(work, population, examen), range(population.block_count)))
            seconds = time.perf_counter() - start
            report(
                case=f"{name}_{arguments.processes}_processes",
                foyers=population.foyers,
                foyers_per_s=round(population.foyers / seconds),
                cpu_microseconds_a_foyer=round(used / population.foyers * 1e6, 2),
                peak_mib=peak_mib(),
            )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "population.parquet"
        used, start = time.process_time(), time.perf_counter()
        work = partial(batch_of, population, examen)
        write_parquet(in_order_by_threads(work, population.block_count, arguments.processes), path)
        seconds, used = time.perf_counter() - start, time.process_time() - used
        report(
            case=f"parquet_{arguments.processes}_threads",
            foyers=population.foyers,
            foyers_per_s=round(population.foyers / seconds),
            cpu_microseconds_a_foyer=round(used / population.foyers * 1e6, 2),
            bytes_a_foyer=round(path.stat().st_size / population.foyers),
            peak_mib=peak_mib(),
        )
    with tempfile.TemporaryDirectory() as folder:
        small = Population(min(_STORE_FOYERS, arguments.foyers), 1, population.mois)
        store = open_store(f"sqlite:///{folder}/population.db", clock=SystemClock())
        start = time.perf_counter()
        *_, filled = fill(store, b"k" * 32, small, examen, processes=arguments.processes)
        seconds = time.perf_counter() - start
        store.close()
        report(
            case=f"store_sqlite_{arguments.processes}_processes",
            foyers_made=small.foyers,
            dossiers=filled.foyers,
            records=filled.records,
            foyers_per_s=round(small.foyers / seconds),
            dossiers_per_s=round(filled.foyers / seconds),
            peak_mib=peak_mib(),
        )


if __name__ == "__main__":
    main()
