"""Why the law and the oracle differ on a household: the smallest sets of options that bring them together.

Starting from the law, each simplification of the oracle is switched on alone; the ones that move the amount are the
candidates. A difference is explained when switching all candidates on gives the oracle's amount, which the oracle's
whole option set does by `test_under_the_oracle_s_simplifications_every_case_agrees`.

    python -m tests.rules.causes    # prints the table of docs/ecarts-openfisca.md
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from functools import cache
from typing import Any

from solidarite_server.engine import compute_many
from solidarite_server.legislation import LegislationOptions

LAW, ORACLE = LegislationOptions.law(), LegislationOptions.openfisca()
NAMES = tuple(f.name for f in fields(LegislationOptions) if getattr(LAW, f.name) != getattr(ORACLE, f.name))
CENT = 1


@cache
def with_simplifications(names: frozenset[str]) -> LegislationOptions:
    return replace(LAW, **{name: getattr(ORACLE, name) for name in names})


def _amounts(household: Any, names: frozenset[str]) -> tuple[int, int]:
    (due,) = compute_many([household], options=with_simplifications(names))
    return due.rsa_cents, due.ppa_cents


def causes_of(household: Any, benefits: set[str]) -> dict[str, tuple[str, ...]]:
    """For each benefit that differs, a minimal set of options that turns the law's amount into the oracle's.

    Empty when even the whole set does not: unexplained.
    """
    target = _amounts(household, frozenset(NAMES))
    found = {}
    for place, name in enumerate(("rsa", "ppa")):
        if name not in benefits:
            continue
        needed = set(NAMES)
        for option in NAMES:  # drop each option that is not needed
            if abs(_amounts(household, frozenset(needed - {option}))[place] - target[place]) <= CENT:
                needed.discard(option)
        if not needed or abs(_amounts(household, frozenset(needed))[place] - target[place]) > CENT:
            return {}
        found[name] = tuple(sorted(needed))
    return found


def main() -> None:
    from tests.rules.test_oracle import apart, cases, households

    tally: dict[str, Counter[str]] = {"rsa": Counter(), "ppa": Counter()}
    sets: dict[str, Counter[tuple[str, ...]]] = {"rsa": Counter(), "ppa": Counter()}
    equal = Counter()
    for case, household, due in zip(cases(), households(), compute_many(households(), options=LAW), strict=True):
        expected = case["expected"]
        differs = {
            name for name, ours in (("rsa", due.rsa_cents), ("ppa", due.ppa_cents)) if apart(ours, expected[name])
        }
        for name in ("rsa", "ppa"):
            equal[name] += name not in differs
        for name, options in causes_of(household, differs).items():
            sets[name][options] += 1
            for option in options:
                tally[name][option] += 1
    for name in ("rsa", "ppa"):
        print(f"\n{name}: {equal[name]} equal, {sum(sets[name].values())} explained")
        for option, count in tally[name].most_common():
            print(f"| `{option}` | {count} | {sets[name][(option,)]} |")


if __name__ == "__main__":
    main()
