"""Change the rules in every small way and count how many changes a test notices.

    NUMBA_DISABLE_JIT=1 python -m tests.mutation                       # all of them, some thirty minutes
    NUMBA_DISABLE_JIT=1 python -m tests.mutation --sample 200 --seed 1
    NUMBA_DISABLE_JIT=1 python -m tests.mutation --part 1/4
    NUMBA_DISABLE_JIT=1 python -m tests.mutation --among survivors.txt # those of an earlier run, once tests were added

Each mutant runs in a process of its own, and dies at the first household or test that fails, at an exception, or when
it runs for too long. It is shown only the households and tests that reach the changed statement. Prints the survivors
and two scores, with and without the mutants of `equivalent.py`, which no household can tell from the rules; ends with 1
below --least per cent (of all of them), or when one called equivalent is noticed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.battery import Corpus, corpora
from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.source import Mutant, install, mutants, restore, watch_statements

SECONDS = 60
ROOT = Path(__file__).parents[2]
FILES = (
    "rules/test_worked_examples.py",
    "property/test_engine_rare_households.py",
    "property/test_engine_limits.py",
    "property/test_engine_parameters.py",
)


class Hunt:
    """A pytest plugin: once the tests are collected, runs them against every mutant instead of once."""

    def __init__(self, given: list[Mutant], asked: argparse.Namespace) -> None:
        self.given, self.asked = given, asked
        self.alive: list[Mutant] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Decide each mutant."""
        shown = corpora(self.asked.households)
        reached = _reached_by(session.items)
        started = time.monotonic()
        for done, mutant in enumerate(self.given, 1):
            tests = [test for test, statements in reached if mutant.statement in statements]
            if _survives(mutant, shown, tests):
                self.alive.append(mutant)
                print(f"alive: {mutant}", flush=True)
            if done % 100 == 0:
                told = f"{done} of {len(self.given)}, {len(self.alive)} alive, {time.monotonic() - started:.0f} s"
                print(told, file=sys.stderr, flush=True)
        return True


def _reached_by(tests: list[pytest.Item]) -> list[tuple[pytest.Item, frozenset[int]]]:
    """The tests with the statements that each one reaches, the quickest first."""
    seen: set[int] = set()
    watch_statements(seen.add)
    found = []
    for test in tests:
        seen.clear()
        started = time.monotonic()
        assert not _fails(test), f"{test.nodeid} fails on the rules as they are"
        found.append((time.monotonic() - started, test, frozenset(seen)))
    restore()
    return [(test, statements) for _, test, statements in sorted(found, key=lambda one: one[0])]


def _fails(test: pytest.Item) -> bool:
    # Without a next item every fixture is made again: none outlives the rules it was made with.
    return any(report.failed for report in runtestprotocol(test, log=False, nextitem=None))


def _survives(mutant: Mutant, shown: list[Corpus], tests: list[pytest.Item]) -> bool:
    """Whether nothing notices the mutant."""
    child = os.fork()
    if child == 0:
        os._exit(_noticed(mutant, shown, tests))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def _noticed(mutant: Mutant, shown: list[Corpus], tests: list[pytest.Item]) -> int:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)  # ends the process
    try:
        install(mutant.function.module, mutant.apply())
        agrees = all(corpus.agrees(rows) for corpus in shown for rows in corpus.slices(mutant.statement))
        return 0 if agrees and not any(map(_fails, tests)) else 1
    except BaseException:  # whatever it is, somebody would have seen it
        return 1


def _chosen(asked: argparse.Namespace) -> list[Mutant]:
    rank, parts = (int(number) for number in asked.part.split("/"))
    given = list(mutants())[rank - 1 :: parts]
    if asked.among:
        names = {line.partition(", ")[2] for line in asked.among.read_text().splitlines() if line.startswith("alive: ")}
        given = [mutant for mutant in given if mutant.name in names]
    if asked.sample:
        given = random.Random(asked.seed).sample(given, min(asked.sample, len(given)))
    return given


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="that many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--part", default="1/1", help="i/n: every n-th mutant from the i-th on")
    parser.add_argument("--among", type=Path, help="only the survivors that an earlier run printed in this file")
    parser.add_argument("--households", type=int, default=5_000, help="drawn at random, and as many of the oracle's")
    parser.add_argument("--least", type=float, default=90.0, help="score expected, per cent")
    asked = parser.parse_args()
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":
        parser.error("the rules must run interpreted: set NUMBA_DISABLE_JIT=1")
    given = _chosen(asked)
    for name in sorted(EQUIVALENT.keys() - {mutant.name for mutant in mutants()}):
        print(f"called equivalent, but there is none any more: {name}")
    hunt = Hunt(given, asked)
    options = ["-s", "--no-header", "-p", "no:cacheprovider", "-o", "timeout=0", "--rootdir", str(ROOT)]
    code = pytest.main([*options, *(str(ROOT / "tests" / file) for file in FILES)], [hunt])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(code)
    return _told(given, hunt.alive, asked.least)


def _told(given: list[Mutant], alive: list[Mutant], least: float) -> int:
    """Print the scores; returns the exit code."""
    wrong = [mutant for mutant in given if mutant.name in EQUIVALENT and mutant not in alive]
    for mutant in wrong:
        print(f"called equivalent, but noticed: {mutant}")
    same = sum(mutant.name in EQUIVALENT for mutant in alive)
    dead = len(given) - len(alive)
    score = 100 * dead / len(given)
    print("Alive by rule:", dict(Counter(mutant.function.tree.name for mutant in alive).most_common()))
    print(f"{len(given)} mutants, {len(alive)} alive, of which {same} equivalent: {score:.1f} % noticed,")
    print(f"{100 * dead / max(1, len(given) - same):.1f} % of those that a household can tell from the rules.")
    return 1 if score < least or wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
