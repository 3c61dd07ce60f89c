"""Hold the engine to OpenFisca-France, alive, on new random households.

    python -m tests.oracle_live --count 1000 --seed 1        # about two minutes, once the environment is there

The environment (OpenFisca and nothing of ours) is made the first time below --environment, from the package index.
Under `LegislationOptions.openfisca()` the rights and the amounts on the way to them must agree within 0.01 €. Prints
each household that differs, as a case that `solidarite compute` reads; ends with 1 when there is one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from solidarite_server.cases.careful import case_from
from solidarite_server.engine import explain
from solidarite_server.legislation import LegislationOptions

from tests.oracle_live import draw
from tests.oracle_live.server import calculate, environment, serving
from tests.oracle_live.situation import answer, situation
from tests.rules.intermediates import intermediates_apart
from tests.rules.test_oracle import rights_apart

BATCH = 100
DEFAULT_ENVIRONMENT = Path.home() / ".cache" / "solidarite-oracle"


def differences(case: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What differs between our answer and the oracle's, in words."""
    due = explain(*case_from(case), options=LegislationOptions.openfisca())
    return rights_apart(due.entitlement, expected) + intermediates_apart(due, expected)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1, help="the households are drawn from this seed on")
    parser.add_argument("--environment", type=Path, default=DEFAULT_ENVIRONMENT)
    asked = parser.parse_args()
    given = [draw.case(asked.seed * 1_000_000 + rank) for rank in range(asked.count)]
    tally: Counter[str] = Counter()
    differing = 0
    started = time.monotonic()
    with serving(environment(asked.environment)) as address:
        for start in range(0, len(given), BATCH):
            part = given[start : start + BATCH]
            body = calculate(address, situation(part))
            for case in part:
                expected = answer(case, body)
                tally["rsa > 0"] += expected["rsa"] > 0
                tally["ppa > 0"] += expected["ppa"] > 0
                if found := differences(case, expected):
                    differing += 1
                    print(json.dumps({"differences": found, "case": case}, ensure_ascii=False), flush=True)
    took = time.monotonic() - started
    print(f"{len(given)} households, {dict(tally)}: {differing} differ.")
    print(f"{took:.0f} s, seed {asked.seed}.")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
