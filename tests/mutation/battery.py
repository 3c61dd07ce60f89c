"""What a mutant of the rules is shown before the tests: households, those alone that reach the change.

The answers do not come from the rules: they are the second opinion's, written from the texts, those of OpenFisca-France
under its simplifications, and the lines that an explanation must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from solidarite_server.cases.careful import case_from
from solidarite_server.engine import Case as Laid
from solidarite_server.engine import EntitlementColumns, FoyerColumns, columns_from, compute_columns, explain
from solidarite_server.legislation import LegislationOptions

from tests import reference
from tests.mutation.source import restore, watch_statements
from tests.property.test_engine_explanations import assert_ends_as_it_must, assert_same_lines, told
from tests.reference import steps
from tests.reference.generate import Case, case
from tests.rules.intermediates import intermediates_apart
from tests.rules.test_oracle import apart, cases, strange

SLICES = (20, 150, 1_500)
"""Most mutants die at the first household that reaches them: a few at first, then more; never more than the last."""

Rows = npt.NDArray[np.int64]
Agrees = Callable[[Rows], bool]


@dataclass(frozen=True)
class Corpus:
    """Households, and whether the rules as they are now answer right for some of them."""

    agrees: Agrees
    reached: npt.NDArray[np.bool_]
    """[household, statement of the rules]."""

    def slices(self, statement: int) -> Iterator[Rows]:
        """The households that reach a statement, a few at first."""
        rows = np.flatnonzero(self.reached[:, statement])
        return (part for part in np.split(rows, SLICES)[:-1] if len(part))


def corpora(count: int) -> list[Corpus]:
    """The corpora, quickest first; that many households at most in the largest, fewer where each takes longer."""
    drawn, answered = [case(seed) for seed in range(count)], [*strange(), *cases()][:count]
    known, answers = [case_from(one) for one in answered], [one["expected"] for one in answered]
    return [
        _corpus(len(drawn), _as_the_second_opinion(drawn)),
        _corpus(len(known), _as_the_oracle(known, answers)),
        _corpus(count // 8, _explained_as_the_second_opinion(drawn)),
        _corpus(count // 8, _explained_as_the_oracle(known, answers)),
    ]


def _corpus(count: int, agrees: Agrees) -> Corpus:
    seen: set[int] = set()
    reached = np.zeros((count, watch_statements(seen.add)), np.bool_)
    for row in range(count):
        seen.clear()
        assert agrees(np.array([row])), f"the rules as they are fail on household {row}"
        reached[row, list(seen)] = True
    restore()
    return Corpus(agrees, reached)


def _computing(given: list[Case], options: LegislationOptions) -> Callable[[Rows], EntitlementColumns]:
    laid = columns_from([Laid(foyer, lines, month, month) for foyer, lines, month in given], options)

    def compute(rows: Rows) -> EntitlementColumns:
        part = FoyerColumns(laid.foyers[rows], laid.persons, laid.lines, laid.groups, laid.narrow)
        return compute_columns(part, options)

    return compute


def _as_the_second_opinion(given: list[Case]) -> Agrees:
    compute = _computing(given, LegislationOptions.law())
    opinions = [reference.compute(*one) for one in given]
    expected = np.array([(o.rsa_cents, o.rsa_verse_cents, o.ppa_cents, o.ppa_nette_crds_cents) for o in opinions])

    def agrees(rows: Rows) -> bool:
        found = compute(rows)
        rights = (found.rsa_cents, found.rsa_verse_cents, found.ppa_cents, found.ppa_nette_crds_cents)
        return np.array_equal(np.transpose(rights), expected[rows])

    return agrees


def _as_the_oracle(known: list[Case], answers: list[dict[str, Any]]) -> Agrees:
    compute = _computing(known, LegislationOptions.openfisca())

    def agrees(rows: Rows) -> bool:
        found = compute(rows)
        names = {"rsa": found.rsa_cents, "ppa": found.ppa_cents, "ppa_nette_crds": found.ppa_nette_crds_cents}
        return not any(
            apart(int(cents), answers[row][name])
            for name, column in names.items()
            for row, cents in zip(rows, column, strict=True)
        )

    return agrees


def _explained_as_the_second_opinion(given: list[Case]) -> Agrees:
    def agrees(rows: Rows) -> bool:
        for foyer, lines, month in (given[row] for row in rows):
            found = explain(foyer, lines, month)
            right, known = found.entitlement, [*foyer.ressources_connues, *lines]
            assert_same_lines(told(found.rsa_steps), dict(steps.rsa(foyer, known, month)))
            assert_same_lines(told(found.ppa_steps), dict(steps.ppa(foyer, known, month)))
            for told_steps, cents, code in (
                (found.rsa_steps, right.rsa_cents, right.rsa_code),
                (found.ppa_steps, right.ppa_cents, right.ppa_code),
            ):
                assert_ends_as_it_must(told_steps, code)
                assert sum((step.amount_cents for step in told_steps), Decimal(0)) == cents
        return True

    return agrees


def _explained_as_the_oracle(known: list[Case], answers: list[dict[str, Any]]) -> Agrees:
    def agrees(rows: Rows) -> bool:
        simple = LegislationOptions.openfisca()
        return not any(intermediates_apart(explain(*known[row], options=simple), answers[row]) for row in rows)

    return agrees
