"""Speed of the rules: RSA and prime d'activité, all rules, one month of right.

    python -m loadtests.benchmarks.engine [--foyers 1000000] [--first-compilation] [--oracle-python /path/to/python]

Prints one JSON object a line. Two populations: `realistic`, 1 to 4 persons with few lines; `oracle`, the heavy
households of the oracle's file, repeated. `ratio_to_copy` is the time of the rules over the time of a plain copy of the
same input columns, measured in turn in the same run (1 would be as fast as memory). With --oracle-python (or
OPENFISCA_PYTHON), a Python where openfisca-france is installed (`python -m tests.oracle_live` makes one), the oracle
computes single persons with a salary in the same run, everything given but the two benefits, and so do we. With
--first-compilation, a process compiles the rules for an empty cache, and another starts with what the first has left.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
from solidarite_server.cases.careful import case_from
from solidarite_server.domain.foyer import Foyer, Logement, Membre, RessourceMois, Role, StatutLogement
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.engine import Case, FoyerColumns, columns_from, compute, compute_columns, explain, warm_up
from solidarite_server.legislation import LegislationOptions

CASES = Path(__file__).parents[2] / "tests" / "rules" / "data" / "oracle-cases.jsonl.gz"
ROUNDS = 5
MOIS = Month(2026, 11)
OPTIONS = LegislationOptions.law()


def oracle_households() -> list[Case]:
    """The households of the oracle's file, each in its own month."""
    with gzip.open(CASES, "rt", encoding="utf-8") as lines:
        read = [case_from(json.loads(line)) for line in lines]
    return [Case(foyer, ressources, mois, mois) for foyer, ressources, mois in read]


def realistic_households(count: int = 5_000) -> list[Case]:
    """One or two adults, up to two children; a salary a month for most adults, housing benefit for two in three."""
    return [_realistic(number) for number in range(count)]


def _realistic(number: int) -> Case:
    adults, children = 1 + number % 2, number // 2 % 3
    roles = (Role.ALLOCATAIRE, Role.CONJOINT)[:adults]
    members = [Membre(r.name.lower(), r, date(1970 + number % 35, 1 + number % 12, 1)) for r in roles]
    members += [
        Membre(f"enfant{rank}", Role.ENFANT, date(2010 + (number + rank) % 15, 1 + number % 12, 15))
        for rank in range(children)
    ]
    months = [MOIS - k for k in (4, 3, 2)]
    resources = [
        RessourceMois(m.personne, month, NatureRessource.SALAIRE, 20_000 + (number * 7_919 + k * 1_000) % 180_000)
        for place, m in enumerate(members[:adults])
        if (number + place) % 5
        for k, month in enumerate(months)
    ]
    aid = dict.fromkeys(months, 15000 + number % 10000) if number % 3 else {}
    housing = (Logement(Month(2024, 1), StatutLogement.LOCATAIRE),)
    return Case(Foyer(f"{number:08d}", tuple(members), logements=housing, aide_logement=aid), resources, MOIS, MOIS)


def repeated(columns: FoyerColumns, foyers: int) -> FoyerColumns:
    """The same households over and over, until there are that many."""
    times = -(-foyers // len(columns))
    tiled = np.tile(columns.foyers, times)
    copies = np.repeat(np.arange(times), len(columns))
    tiled["person"] += copies * len(columns.persons)
    tiled["line"] += copies * len(columns.lines)
    last = tiled[foyers - 1]
    return FoyerColumns(
        tiled[:foyers].copy(),
        np.tile(columns.persons, times)[: last["person"] + last["persons"]].copy(),
        np.tile(columns.lines, times)[: last["line"] + last["lines"]].copy(),
        columns.groups,
        columns.narrow,
    )


def block(columns: FoyerColumns, start: int, stop: int) -> FoyerColumns:
    """A slice of the households: persons and lines are shared."""
    return FoyerColumns(columns.foyers[start:stop], columns.persons, columns.lines, columns.groups, columns.narrow)


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


def timed(command: list[str], **environment: str) -> tuple[float, float]:
    """Elapsed and processor seconds of a command that must succeed, with those that it starts itself."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, **environment})  # noqa: S603
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_compilation() -> None:
    """Report what the rules take to compile for an empty cache, then to start with a full one, Python included."""
    starting = [sys.executable, "-c", "from solidarite_server.engine import warm_up; warm_up()"]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first_compilation", "warm_start"):
            elapsed, cpu = timed(starting, NUMBA_CACHE_DIR=folder)
            report(case=name, seconds=round(elapsed, 2), cpu_seconds=round(cpu, 2))


def throughput(name: str, base: FoyerColumns, count: int) -> float:
    """Report the rate of one core beside a copy of the same columns; returns foyers a second."""
    columns = repeated(base, count)
    loops = max(1, 10_000 // count)

    def copy() -> None:
        for _ in range(loops):
            columns.foyers.copy(), columns.persons.copy(), columns.lines.copy()

    def rules() -> None:
        for _ in range(loops):
            compute_columns(columns, OPTIONS)

    def rules_cpu() -> None:
        start = time.thread_time()
        rules()
        cpu.append(time.thread_time() - start)

    cpu: list[float] = []
    computing, copying = median_seconds(rules_cpu, copy)
    report(
        case=f"{name}_{count}_foyers_one_core",
        foyers_per_s=round(count * loops / computing),
        foyers_per_cpu_s=round(count * loops / float(np.median(cpu))),
        microseconds_a_call=round(computing / loops * 1e6, 1),
        ratio_to_copy=round(computing / copying, 2),
        bytes_a_foyer=round(columns.nbytes / count),
        persons_a_foyer=round(len(columns.persons) / count, 2),
        lines_a_foyer=round(len(columns.lines) / count, 2),
    )
    return count / computing * loops


def two_threads(name: str, base: FoyerColumns, count: int) -> None:
    """Report two threads beside one, and beside two halves run one after the other."""
    columns = repeated(base, count)
    halves = [block(columns, 0, count // 2), block(columns, count // 2, count)]
    with ThreadPoolExecutor(2) as pool:
        one, two = median_seconds(
            lambda: [compute_columns(half, OPTIONS) for half in halves],
            lambda: list(pool.map(lambda half: compute_columns(half, OPTIONS), halves)),
        )
    report(case=f"{name}_{count}_foyers_two_threads", foyers_per_s=round(count / two), ratio_to_one=round(one / two, 2))


def one_foyer(name: str, cases: list[Case]) -> None:
    """Report what one household costs: everything, its layout, its rules, its explanation."""
    few = cases[:: max(1, len(cases) // 200)]
    laid = [columns_from([case], OPTIONS) for case in few]
    whole, layout, rules, explaining = median_seconds(
        lambda: [compute(c.foyer, c.ressources, c.mois_droit, options=OPTIONS) for c in few],
        lambda: [columns_from([case], OPTIONS) for case in few],
        lambda: [compute_columns(columns, OPTIONS) for columns in laid],
        lambda: [explain(c.foyer, c.ressources, c.mois_droit, options=OPTIONS) for c in few],
    )
    report(
        case=f"{name}_one_foyer",
        compute_us=round(whole / len(few) * 1e6, 1),
        layout_us=round(layout / len(few) * 1e6, 1),
        rules_us=round(rules / len(few) * 1e6, 1),
        explain_us=round(explaining / len(few) * 1e6, 1),
    )


_ORACLE = """
import sys, time
from openfisca_core.simulation_builder import SimulationBuilder
from openfisca_france import FranceTaxBenefitSystem
system, count = FranceTaxBenefitSystem(), int(sys.argv[1])
months = [f"2025-{number:02d}" for number in range(3, 12)]

def simulation(count, given):
    made = SimulationBuilder().build_default_simulation(system, count)
    for (name, period), value in given.items():
        made.set_input(name, period, [value] * count)
    return made

def calculate(made):
    made.calculate("rsa", "2025-11"), made.calculate("ppa", "2025-11")

zero = (
    "aide_logement", "af", "af_base", "cf", "asf", "paje_base", "paje_prepare", "aspa", "ass", "aah", "caah", "asi",
    "chomage_net", "retraite_nette", "pensions_invalidite", "rsa_forfait_logement", "rsa_forfait_asf",
    "ppa_forfait_logement", "rsa_base_ressources_prestations_familiales", "rsa_base_ressources_minima_sociaux",
)
monthly = [name for name in zero if name in system.variables and system.variables[name].definition_period == "month"]
given = {("age_en_mois", "2025-11"): 360}
for month in months:
    given |= {("age", month): 30, ("salaire_net", month): 800.0, **{(name, month): 0.0 for name in monthly}}
# What the two benefits ask for outside themselves is computed once, for one person, then given.
once = simulation(1, given)
once.trace = True
calculate(once)
nodes = list(once.tracer.trees)
while nodes:
    node = nodes.pop()
    if "rsa" in node.name or "ppa" in node.name:
        nodes += node.children
    elif node.value is not None and len(node.value) == 1:
        given.setdefault((node.name, str(node.period)), node.value[0])
best = 0.0
for _ in range(3):
    made = simulation(count, given)
    start = time.perf_counter()
    calculate(made)
    best = max(best, count / (time.perf_counter() - start))
print(round(best))
"""


def single_earner() -> Case:
    """The household of the oracle's run: a person alone of 30, with a salary of 800 a month."""
    person = Membre("demandeur", Role.ALLOCATAIRE, date(1995, 11, 1))
    month = Month(2025, 11)
    wages = [RessourceMois("demandeur", month - back, NatureRessource.SALAIRE, 80_000) for back in range(9)]
    return Case(Foyer("0000000", (person,)), wages, month, month)


def oracle(python: str, count: int = 10_000) -> None:
    """Report the oracle's best rate, everything given but RSA and prime, and ours on the same households."""
    told = subprocess.run([python, "-c", _ORACLE, str(count)], capture_output=True, text=True, check=False)  # noqa: S603
    if told.returncode:
        report(case="oracle", error=told.stderr.strip().splitlines()[-1:])
        return
    rate = float(told.stdout.split()[-1])
    ours = throughput("single_earners", columns_from([single_earner()], OPTIONS), count)
    report(case=f"oracle_{count}_foyers", foyers_per_s=round(rate), ours_over_oracle=round(ours / rate, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foyers", type=int, default=1_000_000, help="largest number of households")
    parser.add_argument("--oracle-python", default=os.environ.get("OPENFISCA_PYTHON", ""), help="a Python that has it")
    parser.add_argument("--first-compilation", action="store_true", help="also compile for an empty cache")
    arguments = parser.parse_args()
    if arguments.first_compilation:
        first_compilation()
    largest: int = arguments.foyers
    start = time.perf_counter()
    warm_up()
    report(case="warm_up", seconds=round(time.perf_counter() - start, 3), python=sys.version.split()[0])
    for name, cases in (("realistic", realistic_households()), ("oracle", oracle_households())):
        base = columns_from(cases, OPTIONS)
        for count in sorted({n for n in (1, 100, 10_000, 1_000_000, largest) if n <= largest}):
            throughput(name, base, count)
        two_threads(name, base, largest)
        one_foyer(name, cases)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report(case="memory", peak_mib=round(peak), threads=threading.active_count())
    if arguments.oracle_python:
        oracle(arguments.oracle_python)


if __name__ == "__main__":
    main()
