"""Change the rules in every small way and count how many changes a test notices.

    NUMBA_DISABLE_JIT=1 python -m tests.mutation                       # all of them, about twenty minutes
    NUMBA_DISABLE_JIT=1 python -m tests.mutation --sample 200 --seed 1
    NUMBA_DISABLE_JIT=1 python -m tests.mutation --part 1/4

Each mutant runs in a process of its own, and dies at the first check that fails, at an exception, or when it runs for
too long. Prints the survivors and the score; ends with 1 below --least per cent.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections import Counter

from tests.mutation.battery import Check, battery
from tests.mutation.source import Mutant, install, mutants

SECONDS = 60


def survives(mutant: Mutant, checks: list[Check]) -> bool:
    """Whether no check notices the mutant."""
    child = os.fork()
    if child == 0:
        os._exit(_noticed(mutant, checks))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def _noticed(mutant: Mutant, checks: list[Check]) -> int:
    signal.alarm(SECONDS)  # ends the process
    try:
        install(mutant.function.module, mutant.apply())
        return 0 if all(check() for check in checks) else 1
    except BaseException:  # whatever it is, somebody would have seen it
        return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="that many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--part", default="1/1", help="i/n: every n-th mutant from the i-th on")
    parser.add_argument("--households", type=int, default=3_000, help="among which the households shown are chosen")
    parser.add_argument("--least", type=float, default=90.0, help="score expected, per cent")
    asked = parser.parse_args()
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":
        parser.error("the rules must run interpreted: set NUMBA_DISABLE_JIT=1")
    rank, parts = (int(number) for number in asked.part.split("/"))
    given = list(mutants())[rank - 1 :: parts]
    if asked.sample:
        given = random.Random(asked.seed).sample(given, min(asked.sample, len(given)))
    checks = battery(asked.households)
    assert all(check() for check in checks), "the rules as they are do not pass"
    alive: list[Mutant] = []
    for done, mutant in enumerate(given, 1):
        if survives(mutant, checks):
            alive.append(mutant)
            print(f"alive: {mutant}", flush=True)
        if done % 100 == 0:
            print(f"{done} of {len(given)}, {len(alive)} alive", file=sys.stderr, flush=True)
    score = 100 * (len(given) - len(alive)) / len(given)
    print(f"{len(given)} mutants, {len(alive)} alive: {score:.1f} % noticed.")
    print("Alive by rule:", dict(Counter(mutant.function.tree.name for mutant in alive).most_common()))
    return 0 if score >= asked.least else 1


if __name__ == "__main__":
    raise SystemExit(main())
