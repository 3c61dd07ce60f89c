"""The explanation says what was computed: each line is the one the second opinion finds, and together they add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from solidarite_server import engine
from solidarite_server.engine import ExplanationStep
from solidarite_server.engine.steps import MOTIFS

from tests.reference import steps
from tests.reference.generate import Case, case

COUNT = 1_200
CLOSING = ("Un montant négatif", "Montant inférieur au seuil", "Le droit n'est pas ouvert", "Arrondi")
"""Lines that bring the sum to what is paid."""


@pytest.fixture(scope="module")
def explained() -> list[tuple[Case, engine.Explanation]]:
    cases = [case(seed) for seed in range(700_000, 700_000 + COUNT)]
    return [(given, engine.explain(*given)) for given in cases]


def told(lines: tuple[ExplanationStep, ...]) -> steps.Lines:
    return {
        (line.label, line.mois, line.personne): Fraction(line.amount_cents)
        for line in lines
        if not line.label.startswith(CLOSING)
    }


def assert_same_lines(found: steps.Lines, expected: steps.Lines) -> None:
    for (label, month, person), cents in found.items():
        names = [name for name, *where in expected if label.startswith(name) and where == [month, person]]
        assert len(names) == 1, (label, str(month), person)
        assert abs(cents - expected.pop((names[0], month, person))) < Fraction(1, 1000), (label, str(month), person)
    # Nothing but lines of 0 remains untold.
    assert [key for key, cents in expected.items() if abs(cents) >= Fraction(1, 1000)] == []


Opinion = Callable[..., steps.Lines]


@pytest.mark.parametrize("right", ["rsa", "ppa"])
def test_every_line_is_the_one_the_second_opinion_finds(explained: list[tuple[Case, engine.Explanation]], right: str):
    opinion: Opinion = {"rsa": steps.rsa, "ppa": steps.ppa}[right]
    for (foyer, lines, month), found in explained:
        expected = opinion(foyer, [*foyer.ressources_connues, *lines], month)
        assert_same_lines(told(getattr(found, f"{right}_steps")), dict(expected))


def test_the_lines_add_up_exactly_whatever_the_answer(explained: list[tuple[Case, engine.Explanation]]):
    answers: Counter[tuple[str, int]] = Counter()
    for _, found in explained:
        right = found.entitlement
        for name, lines, cents, code in (
            ("rsa", found.rsa_steps, right.rsa_cents, right.rsa_code),
            ("ppa", found.ppa_steps, right.ppa_cents, right.ppa_code),
        ):
            assert sum((line.amount_cents for line in lines), Decimal(0)) == cents
            answers[name, code] += 1
    # Every refusal was met: a refused right is explained down to zero as well.
    refusals = {("rsa", code) for code in (0, 1, 2, 3, 4, 20, 21)} | {("ppa", code) for code in (0, 1, 5, 20, 21)}
    assert refusals <= set(answers)


def test_every_line_has_its_label_its_article_and_parameters_of_their_date(
    explained: list[tuple[Case, engine.Explanation]],
):
    for (foyer, _, month), found in explained:
        persons = {person.personne for person in foyer.membres}
        for line in (*found.rsa_steps, *found.ppa_steps):
            assert line.label
            assert line.article
            assert line.personne == "" or line.personne in persons
            assert line.mois is None or month - 4 <= line.mois < month
            for parameter in line.parameters:
                assert parameter.since <= month.last_day
                assert parameter.value
                assert parameter.source


def test_explaining_does_not_change_what_is_computed(explained: list[tuple[Case, engine.Explanation]]):
    assert [found.entitlement for _, found in explained] == engine.compute_many([given for given, _ in explained])


def test_a_right_not_due_says_why_in_french(explained: list[tuple[Case, engine.Explanation]]):
    for _, found in explained:
        right = found.entitlement
        for cents, motif in ((right.rsa_cents, right.rsa_motif), (right.ppa_cents, right.ppa_motif)):
            assert (cents == 0) == bool(motif)
            assert motif in MOTIFS.values()
