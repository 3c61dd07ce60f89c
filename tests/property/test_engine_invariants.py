"""What must hold whatever the household: order, splitting and batching do not matter; more income never adds RSA."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from solidarite_server import engine
from solidarite_server.domain.foyer import RessourceMois
from solidarite_server.domain.nature import NatureRessource

from tests.reference.generate import Case, case

COUNT = 2_000


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case(seed) for seed in range(500_000, 500_000 + COUNT)]


@pytest.fixture(scope="module")
def rights(cases: list[Case]) -> list[engine.Entitlement]:
    return engine.compute_many(cases)


def test_a_household_receives_the_same_alone_and_in_any_batch(cases: list[Case], rights: list[engine.Entitlement]):
    assert [engine.compute(*given) for given in cases[:300]] == rights[:300]
    by_sevens = [right for start in range(0, COUNT, 7) for right in engine.compute_many(cases[start : start + 7])]
    assert by_sevens == rights
    assert engine.compute_many(cases[::-1]) == rights[::-1]
    assert engine.compute_many([]) == []


def test_a_household_receives_the_same_whatever_was_computed_before_it(
    cases: list[Case], rights: list[engine.Entitlement]
):
    order = Random(7).sample(range(COUNT), COUNT)
    assert engine.compute_many([cases[place] for place in order]) == [rights[place] for place in order]


def test_the_order_of_resource_lines_does_not_matter(cases: list[Case], rights: list[engine.Entitlement]):
    shuffled = [(foyer, lines[::-1], month) for foyer, lines, month in cases]
    assert engine.compute_many(shuffled) == rights


def test_an_amount_split_over_several_lines_counts_the_same(cases: list[Case], rights: list[engine.Entitlement]):
    random = Random(11)

    def split(line: RessourceMois) -> list[RessourceMois]:
        part = random.randint(-5_000, 50_000)
        return [replace(line, montant_cents=part), replace(line, montant_cents=line.montant_cents - part)]

    pieces = [(foyer, [piece for line in lines for piece in split(line)], month) for foyer, lines, month in cases]
    assert engine.compute_many(pieces) == rights


def test_aah_counts_the_same_whether_the_caf_knows_it_or_it_is_given(
    cases: list[Case], rights: list[engine.Entitlement]
):
    given = [
        (replace(foyer, ressources_connues=()), [*lines, *foyer.ressources_connues], month)
        for foyer, lines, month in cases
    ]
    assert engine.compute_many(given) == rights


def test_the_order_of_persons_does_not_matter(cases: list[Case], rights: list[engine.Entitlement]):
    random = Random(13)
    shuffled = []
    for foyer, lines, month in cases:
        persons = tuple(random.sample(foyer.membres, len(foyer.membres)))
        shuffled.append((replace(foyer, membres=persons), lines, month))
    assert engine.compute_many(shuffled) == rights


@pytest.mark.parametrize("more_cents", [3, 333, 10_000, 1_000_000])
def test_more_wages_of_an_adult_never_raise_the_rsa(
    cases: list[Case], rights: list[engine.Entitlement], more_cents: int
):
    # Wages of dependants may raise it: one who earns the increase he or she brings leaves with all resources (R262-3).
    random = Random(more_cents)
    richer = [
        (
            foyer,
            [*lines, RessourceMois("demandeur", month - random.randint(1, 4), NatureRessource.SALAIRE, more_cents)],
            month,
        )
        for foyer, lines, month in cases
    ]
    after = engine.compute_many(richer)
    assert [seed for seed in range(COUNT) if after[seed].rsa_cents > rights[seed].rsa_cents] == []
    assert any(after[seed].rsa_cents < rights[seed].rsa_cents for seed in range(COUNT))


def test_no_right_is_negative_nor_paid_beyond_what_is_due(rights: list[engine.Entitlement]):
    for right in rights:
        assert right.rsa_cents == 0 or right.rsa_cents >= 600
        assert right.ppa_cents == 0 or right.ppa_cents >= 1500
        assert 0 <= right.rsa_verse_cents <= right.rsa_cents
        assert 0 <= right.ppa_nette_crds_cents <= right.ppa_cents
