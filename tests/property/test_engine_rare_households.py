"""Small households on which two readings of the law came apart once, each with the text that settles it."""

from __future__ import annotations

from datetime import date
from typing import Any

from solidarite_server import engine
from solidarite_server.domain.foyer import (
    Foyer,
    InterruptionCertaine,
    Isolement,
    Membre,
    Nationalite,
    PeriodeStatut,
    RessourceMois,
    Role,
    Sanction,
    Statut,
    Zone,
)
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource as N

from tests import reference

RIGHT = Month(2026, 11)
QUARTER = (Month(2026, 7), Month(2026, 8), Month(2026, 9))
ALONE = (Isolement(date(2026, 3, 10)),)


def allocataire(born: date = date(1985, 1, 1), **facts: Any) -> Membre:
    return Membre("demandeur", Role.ALLOCATAIRE, born, **facts)


def conjoint(**facts: Any) -> Membre:
    return Membre("conjoint", Role.CONJOINT, date(1985, 1, 1), **facts)


def child(born: date = date(2014, 1, 1), **facts: Any) -> Membre:
    return Membre("enfant", Role.ENFANT, born, **facts)


def each_month(amount: int, who: str = "demandeur", nature: N = N.SALAIRE) -> list[RessourceMois]:
    return [RessourceMois(who, month, nature, amount) for month in QUARTER]


def due(lines: list[RessourceMois], *persons: Membre, **facts: Any) -> tuple[int, int]:
    """RSA and prime of the engine, once the second opinion agrees."""
    foyer = Foyer("1", persons, **facts)
    computed, expected = engine.compute(foyer, lines, RIGHT), reference.compute(foyer, lines, RIGHT)
    assert (computed.rsa_cents, computed.rsa_verse_cents, computed.ppa_cents) == (
        expected.rsa_cents,
        expected.rsa_verse_cents,
        expected.ppa_cents,
    )
    return computed.rsa_cents, computed.ppa_cents


def test_in_mayotte_the_largest_bonus_is_a_share_of_the_halved_base():
    # 0.377 x 319.14 = 120.32 at 60 SMIC hours (738.60); P = 319.14 + 598.50 + 120.32 - 1 000 = 37.96.
    assert due(each_month(100_000), allocataire(), zone=Zone.MAYOTTE)[1] == 3_796


def test_a_child_who_opens_the_majoration_brings_all_of_it():
    # R262-3: 400 stays below (1.71216 - 1) x 651.69 = 464.11, though above half of the base.
    lines = each_month(40_000, "enfant", N.PENSION_ALIMENTAIRE)
    assert due(lines, allocataire(), child(), isolements=ALONE)[0] == 71_580


def test_the_work_of_a_child_does_not_open_the_prime_of_an_isolated_parent_without_work():
    # L842-1: the beneficiary draws income from work.
    assert due(each_month(20_000, "enfant"), allocataire(), child(), isolements=ALONE)[1] == 0


def test_isolation_does_not_open_the_prime_before_eighteen():
    # L842-2 1°: isolation waives the condition on studies alone.
    young = allocataire(date(2009, 6, 1))
    assert due(each_month(20_000), young, child(date(2025, 6, 1)), isolements=ALONE)[1] == 0


def test_isolation_does_not_replace_the_right_of_residence_of_a_european():
    # L262-6 has no exception for isolated parents, unlike L262-4 2°.
    european = allocataire(nationalite=Nationalite.EEE_SUISSE, droit_sejour_ue=False)
    assert due([], european, child(), isolements=ALONE) == (0, 0)


def test_the_residence_of_an_isolated_foreigner_is_one_condition_for_the_whole_quarter():
    # R842-2: residence is looked at once, not month by month. P = 0.5985 x 400 / 3 for July, before isolation began.
    foreigner = allocataire(nationalite=Nationalite.AUTRE)
    lines = [RessourceMois("demandeur", QUARTER[0], N.SALAIRE, 40_000)]
    assert due(lines, foreigner, child(), isolements=(Isolement(date(2026, 8, 10)),))[1] == 7_980


def test_a_partner_on_leave_without_work_income_is_not_counted_in_the_prime():
    # L842-2 5°: MF stays 638.28; P = 638.28 + 0.5985 x 900 + 240.63 x (900 - 726.29) / 972.49 - 900 = 319.91.
    leave = (PeriodeStatut(Statut.CONGE, date(2025, 1, 1)),)
    assert due(each_month(90_000), allocataire(), conjoint(statuts=leave))[1] == 31_991


def test_the_work_of_a_partner_opens_the_prime_beside_a_posted_allocataire():
    # P = 957.42 + 538.65 + 42.9824 - 957.42.
    posted = (PeriodeStatut(Statut.DETACHE, date(2025, 1, 1)),)
    assert due(each_month(90_000, "conjoint"), allocataire(statuts=posted), conjoint())[1] == 58_163


def test_profits_that_ended_for_certain_are_neutralised():
    # R262-13: work income, whatever way it is known.
    ended = (InterruptionCertaine(N.NON_SALARIE, date(2026, 9, 1)),)
    person = allocataire(benefices_annuels={2025: 600_000}, interruptions=ended)
    assert due([], person)[0] == 65_169


def test_sick_pay_without_a_known_stoppage_is_neutralised_up_to_the_base_only():
    # R262-13: 1 000 - 651.69 a month remains counted.
    ended = (InterruptionCertaine(N.IJSS_MALADIE, date(2026, 10, 1)),)
    assert due(each_month(100_000, nature=N.IJSS_MALADIE), allocataire(interruptions=ended))[0] == 30_338


def test_what_remains_above_the_base_after_neutralisation_counts_against_a_dependant():
    # R262-3: (2 000 - 651.69) / 3 = 449.44 reaches 0.5 x 651.69: the child leaves with it.
    ended = (InterruptionCertaine(N.PENSION_ALIMENTAIRE, date(2026, 10, 1)),)
    lines = [RessourceMois("enfant", QUARTER[0], N.PENSION_ALIMENTAIRE, 200_000)]
    assert due(lines, allocataire(), child(interruptions=ended))[0] == 65_169


def test_the_income_of_a_former_partner_is_ignored_even_when_interrupted():
    # R262-4: out for all three months.
    ended = (InterruptionCertaine(N.AAH, date(2026, 10, 1)),)
    former = conjoint(sortie=date(2026, 10, 15), interruptions=ended)
    assert due(each_month(140_000, "conjoint", N.AAH), allocataire(), former)[0] == 65_169


def test_a_sanction_is_capped_for_those_who_live_in_the_household_now():
    # décret 2025-478: 50 % at most when more than one person; the former partner no longer counts.
    former = conjoint(sortie=date(2026, 3, 1))
    foyer = Foyer("1", (allocataire(), former), sanctions=(Sanction(RIGHT, 80),))
    assert due([], *foyer.membres, sanctions=foyer.sanctions)[0] == 65_169
    assert engine.compute(foyer, [], RIGHT).rsa_verse_cents == 13_034


def test_a_majoration_that_a_grown_dependant_opens_does_not_replace_the_condition_of_age():
    # L262-4 1°: 25 years, or a child born or expected.
    sister = Membre("soeur", Role.AUTRE_A_CHARGE, date(2008, 1, 1))
    assert due([], allocataire(date(2004, 1, 1)), sister, isolements=ALONE)[0] == 0


def test_gifts_that_ended_are_neutralised_while_they_still_counted():
    # R262-13, before gifts left the resources in March 2025: up to the base a month.
    ended = (InterruptionCertaine(N.DONS_SECOURS, date(2022, 7, 12)),)
    foyer = Foyer("1", (allocataire(interruptions=ended),))
    lines = [RessourceMois("demandeur", Month(2022, 7), N.DONS_SECOURS, 30_000)]
    assert reference.compute(foyer, lines, Month(2022, 8)).rsa_cents == 59_854
    assert engine.compute(foyer, lines, Month(2022, 8)).rsa_cents == 59_854


def test_the_transition_weighs_each_person_by_the_months_he_or_she_counts():
    # M = 2025-05: the last two months hold 265.93 / 2 of a child counted in March alone, the lower of the two means.
    # RSA = 646.52 x 3.5 / 3 - 132.965 / 3.
    foyer = Foyer("1", (allocataire(), child(date(2025, 3, 16))), premier_examen_reforme=True)
    lines = [
        RessourceMois("demandeur", Month(2025, 1), N.SALAIRE, 56_685),
        RessourceMois("enfant", Month(2025, 2), N.AUTRE, 26_593),
    ]
    assert reference.compute(foyer, lines, Month(2025, 5)).rsa_cents == 70_995
    assert engine.compute(foyer, lines, Month(2025, 5)).rsa_cents == 70_995
