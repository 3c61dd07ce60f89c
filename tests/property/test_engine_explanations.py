"""The explanation says what was computed: each line is the one the second opinion finds, and together they add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from solidarite_server import engine
from solidarite_server.engine import ExplanationStep
from solidarite_server.engine.steps import MOTIFS, S_ARRONDI, S_HORS_FRANCE, S_NON_OUVERT, S_PLANCHER, S_SEUIL, STEPS
from solidarite_server.legislation import LegislationOptions

from tests.reference import steps
from tests.reference.generate import Case, case

COUNT = 1_200
CLOSING = ("Un montant négatif", "Montant inférieur au seuil", "Le droit n'est pas", "Mois sans présence", "Arrondi")
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


def assert_ends_as_it_must(lines: tuple[ExplanationStep, ...], code: int) -> None:
    """The last line of a right not due says so, and rounding takes half a cent at most."""
    rounding = [line.amount_cents for line in lines if line.label == STEPS[S_ARRONDI].label]
    assert all(abs(cents) <= Decimal("0.5001") for cents in rounding)
    closing = [line.label for line in lines if line.label.startswith(CLOSING[:4]) and line.mois is None]
    steps_of = {6: S_HORS_FRANCE, 20: S_PLANCHER, 21: S_SEUIL}
    expected = STEPS[steps_of.get(code, S_NON_OUVERT)].label if code else None
    # Nothing is told of a right not due that comes to 0 by itself.
    assert closing in ([expected], []) if code else closing == []


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
            assert_ends_as_it_must(lines, code)
            answers[name, code] += 1
    # Every refusal was met: a refused right is explained down to zero as well.
    refusals = {("rsa", code) for code in (0, 1, 2, 3, 4, 6, 20, 21)} | {("ppa", code) for code in (0, 1, 5, 6, 20, 21)}
    assert refusals <= set(answers)


def test_a_reading_with_a_floor_each_month_is_explained_to_the_cent(explained: list[tuple[Case, engine.Explanation]]):
    floored = 0
    for given, _ in explained[:300]:
        found = engine.explain(*given, options=LegislationOptions(plancher_mensuel_rsa=True))
        assert sum((line.amount_cents for line in found.rsa_steps), Decimal(0)) == found.entitlement.rsa_cents
        assert_ends_as_it_must(found.rsa_steps, found.entitlement.rsa_code)
        floored += any(line.label == STEPS[S_PLANCHER].label and line.mois for line in found.rsa_steps)
    assert floored > 20


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
