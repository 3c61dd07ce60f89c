"""What a mutant of the rules is shown, quickest first: households chosen for the branches they take, then the tests.

Each step says whether it still agrees with what does not come from the rules: the second opinion written from the
texts, the answers of OpenFisca-France under its simplifications, the lines of the explanation, the tests themselves.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from solidarite_server.engine import Case as Laid
from solidarite_server.engine import FoyerColumns, columns_from, compute_columns, explain
from solidarite_server.legislation import LegislationOptions

from tests import reference
from tests.mutation.source import functions, install, watch_conditions
from tests.property.test_engine_explanations import assert_same_lines, told
from tests.reference import steps
from tests.reference.generate import Case, case
from tests.rules.test_oracle import apart, cases, households

ROOT = Path(__file__).parents[2]
FILES = (
    "rules/test_worked_examples.py",
    "property/test_engine_rare_households.py",
    "property/test_engine_parameters.py",
    "property/test_engine_explanations.py",
)
SLICE = 40
_T = TypeVar("_T")
Check = Callable[[], bool]


def battery(seeds: int) -> list[Check]:
    """The checks, quickest first; each is true while the rules are right."""
    law = [case(seed) for seed in range(seeds)]
    chosen = [law[place] for place in _covering(law, LegislationOptions())]
    oracle = households()
    simple = _covering(oracle, LegislationOptions.openfisca())
    checks: list[Check] = [_reference(part) for part in _slices(chosen)]
    checks += [_oracle(part) for part in _slices(simple)]
    checks += [_explained(part) for part in _slices(chosen[:200])]
    return [*checks, _tests]


def _slices(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))


def _covering(given: Sequence[Case], options: LegislationOptions, times: int = 6) -> list[int]:
    """Places of households that together reach each outcome of each condition several times, if any of them does."""
    reached: set[tuple[int, bool]] = set()

    def tell(number: int, outcome: object) -> object:
        reached.add((number, bool(outcome)))
        return outcome

    watch_conditions(tell)
    wanted: dict[tuple[int, bool], int] = {}
    chosen = []
    for place, (foyer, lines, month) in enumerate(given):
        reached.clear()
        compute_columns(columns_from([Laid(foyer, lines, month, month)], options), options)
        if any(wanted.get(outcome, 0) < times for outcome in reached):
            chosen.append(place)
            for outcome in reached:
                wanted[outcome] = wanted.get(outcome, 0) + 1
    for function in functions():
        install(function.module, function.tree)
    return chosen


def _laid(part: Sequence[Case], options: LegislationOptions) -> FoyerColumns:
    return columns_from([Laid(foyer, lines, month, month) for foyer, lines, month in part], options)


def _reference(part: Sequence[Case]) -> Check:
    options = LegislationOptions()
    columns = _laid(part, options)
    expected = [reference.compute(*given) for given in part]

    def check() -> bool:
        found = compute_columns(columns, options)
        return (
            found.rsa_cents.tolist() == [right.rsa_cents for right in expected]
            and found.rsa_verse_cents.tolist() == [right.rsa_verse_cents for right in expected]
            and found.ppa_cents.tolist() == [right.ppa_cents for right in expected]
            and found.ppa_nette_crds_cents.tolist() == [right.ppa_nette_crds_cents for right in expected]
        )

    return check


def _oracle(places: Sequence[int]) -> Check:
    options = LegislationOptions.openfisca()
    columns = _laid([households()[place] for place in places], options)
    expected = [cases()[place]["expected"] for place in places]

    def check() -> bool:
        found = compute_columns(columns, options)
        return not any(
            apart(rsa, right["rsa"]) or apart(ppa, right["ppa"])
            for rsa, ppa, right in zip(found.rsa_cents.tolist(), found.ppa_cents.tolist(), expected, strict=True)
        )

    return check


def _explained(part: Sequence[Case]) -> Check:
    expected = [
        (
            steps.rsa(foyer, [*foyer.ressources_connues, *lines], month),
            steps.ppa(foyer, [*foyer.ressources_connues, *lines], month),
        )
        for foyer, lines, month in part
    ]

    def check() -> bool:
        for given, (rsa, ppa) in zip(part, expected, strict=True):
            found = explain(*given)
            assert_same_lines(told(found.rsa_steps), dict(rsa))
            assert_same_lines(told(found.ppa_steps), dict(ppa))
        return True

    return check


def _tests() -> bool:
    paths = [str(ROOT / "tests" / file) for file in FILES]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *paths]) == 0
