"""OpenFisca-France 176.1.8 as a yardstick: 5,000 households with its answers (docs/ecarts-openfisca.md).

The file holds inputs and numbers, no code. The oracle computes in 32-bit floats: its cents are compared within 0.01 €.
"""

import gzip
import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from solidarite_server.cases.careful import case_from
from solidarite_server.engine import Case, Entitlement, columns_from, compute_columns, compute_many, explain
from solidarite_server.legislation import LegislationOptions

from tests.rules.causes import causes_of
from tests.rules.intermediates import intermediates_apart

CASES = Path(__file__).parent / "data" / "oracle-cases.jsonl.gz"
STRANGE = Path(__file__).parent / "data" / "oracle-strange.jsonl.gz"
"""Households of `tests.oracle_live`: those that once differed, and others with a child who earns or is to be born, a
student in a couple, two daily allowances at once."""


def apart(ours_cents: int, oracle_euros: float) -> bool:
    """Whether an amount differs by more than 0.01 € from the oracle's, which is not rounded."""
    return abs(ours_cents - round(oracle_euros * 100)) > 1


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@cache
def cases() -> list[dict[str, Any]]:
    return read(CASES)


@cache
def households() -> list[Any]:
    return [case_from(case) for case in cases()]


@cache
def strange() -> list[dict[str, Any]]:
    return read(STRANGE)


def rights_apart(due: Entitlement, expected: dict[str, Any]) -> list[str]:
    """One line for each right that differs from the oracle's, and the two amounts in euros."""
    return [
        f"{name}: {ours / 100:.2f} instead of {expected[name]:.4f}"
        for name, ours in (
            ("rsa", due.rsa_cents),
            ("ppa", due.ppa_cents),
            ("ppa_nette_crds", due.ppa_nette_crds_cents),
        )
        if apart(ours, expected[name])
    ]


def test_under_the_oracle_s_simplifications_every_case_agrees():
    found = compute_many(households(), options=LegislationOptions.openfisca())
    wrong = [
        f"{case['id']}: {text}"
        for case, due in zip(cases(), found, strict=True)
        for text in rights_apart(due, case["expected"])
    ]
    assert wrong == []


def test_strange_households_agree_with_all_their_intermediate_amounts():
    wrong = []
    for case in strange():
        due = explain(*case_from(case), options=LegislationOptions.openfisca())
        told = rights_apart(due.entitlement, case["expected"]) + intermediates_apart(due, case["expected"])
        wrong += [f"{case['id']}: {text}" for text in told]
    assert len(strange()) > 300
    assert wrong == []


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
def test_under_the_oracle_s_simplifications_the_intermediate_amounts_agree(every: int):
    wrong, compared = [], 0
    for case, (foyer, ressources, mois) in list(zip(cases(), households(), strict=True))[::every]:
        due = explain(foyer, ressources, mois, options=LegislationOptions.openfisca())
        compared += due.entitlement.rsa_cents > 0 or due.entitlement.ppa_cents > 0
        wrong += [f"{case['id']}: {text}" for text in intermediates_apart(due, case["expected"])]
    assert wrong == []
    assert compared > 2_500 // every


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
def test_under_the_law_every_difference_has_a_named_cause(every: int):
    law = compute_many(households(), options=LegislationOptions.law())
    unexplained = []
    for case, household, due in list(zip(cases(), households(), law, strict=True))[::every]:
        expected = case["expected"]
        differs = {
            name for name, ours in (("rsa", due.rsa_cents), ("ppa", due.ppa_cents)) if apart(ours, expected[name])
        }
        if differs and not causes_of(household, differs):
            unexplained.append((case["id"], sorted(differs)))
    assert unexplained == []


def test_the_steps_of_each_benefit_add_up_to_it():
    for foyer, ressources, mois in households()[::7]:
        found = explain(foyer, ressources, mois)
        for steps, cents in (
            (found.rsa_steps, found.entitlement.rsa_cents),
            (found.ppa_steps, found.entitlement.ppa_cents),
        ):
            assert sum((step.amount_cents for step in steps), Decimal(0)) == cents
            assert all(step.label and step.article for step in steps)


def test_explaining_gives_the_amounts_of_computing():
    few = households()[::50]
    assert [explain(*household).entitlement for household in few] == compute_many(few)


def test_the_answer_does_not_depend_on_the_size_of_the_batch():
    options = LegislationOptions.law()
    laid = [Case(foyer, ressources, mois, mois) for foyer, ressources, mois in households()[:1000]]
    whole = compute_columns(columns_from(laid, options), options)
    for size in (1, 7):
        part = laid[: 300 if size == 7 else 60]
        pieces = [
            compute_columns(columns_from(part[i : i + size], options), options) for i in range(0, len(part), size)
        ]
        assert [c for piece in pieces for c in piece.rsa_cents.tolist()] == whole.rsa_cents[: len(part)].tolist()
        assert [c for piece in pieces for c in piece.ppa_cents.tolist()] == whole.ppa_cents[: len(part)].tolist()


def test_the_answer_does_not_depend_on_how_an_amount_is_split():
    from dataclasses import replace

    few = households()[:500]
    split = [
        (
            foyer,
            [
                replace(r, montant_cents=part)
                for r in res
                for part in (r.montant_cents // 3, r.montant_cents - r.montant_cents // 3)
            ],
            mois,
        )
        for foyer, res, mois in few
    ]
    assert compute_many(split) == compute_many(few)
