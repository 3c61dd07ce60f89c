"""Small households on which two readings of the law came apart once, each with the text that settles it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import permutations
from typing import Any

import pytest
from solidarite_server import engine
from solidarite_server.domain.foyer import (
    ChiffreAffaires,
    DroitAsf,
    Foyer,
    InterruptionCertaine,
    Isolement,
    Logement,
    Membre,
    Nationalite,
    PeriodeStatut,
    PrestationsMois,
    RegimeNonSalarie,
    RessourceMois,
    Role,
    Sanction,
    SejourHorsFrance,
    Statut,
    StatutLogement,
    Zone,
)
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource as N
from solidarite_server.legislation import LegislationOptions, load_legislation

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


# What the interruption of a resource leaves (R262-13).

MAINTENANCE, PENSION = N.PENSION_ALIMENTAIRE, N.RETRAITE


def test_all_interrupted_other_resources_are_ignored_within_one_base_a_month_together():
    # 500 + 400 a month, both ended: 900 - 651.69 = 248.31 still counts; RSA = 651.69 - 248.31.
    ended = tuple(InterruptionCertaine(nature, date(2026, 10, 1)) for nature in (MAINTENANCE, PENSION))
    lines = each_month(50_000, nature=MAINTENANCE) + each_month(40_000, nature=PENSION)
    assert due(lines, allocataire(interruptions=ended))[0] == 40_338


def test_the_limit_of_one_base_is_that_of_each_person():
    # 500 each, both ended: nothing counts; RSA = 1.5 x 651.69.
    ended = (InterruptionCertaine(MAINTENANCE, date(2026, 10, 1)),)
    lines = each_month(50_000, nature=MAINTENANCE) + each_month(50_000, "conjoint", MAINTENANCE)
    assert due(lines, allocataire(interruptions=ended), conjoint(interruptions=ended))[0] == 97_754


@pytest.mark.parametrize(
    ("back", "rsa"),
    [(None, 65_169), (date(2026, 11, 2), 65_169), (date(2026, 11, 1), 15_169), (date(2026, 8, 15), 15_169)],
)
def test_a_resource_received_again_counts_from_the_next_examination_on(back: date | None, rsa: int):
    # 651.69 - 500 once the wage is back on the day of the examination; until then it is left out.
    ended = (InterruptionCertaine(N.SALAIRE, date(2026, 3, 1), date_reprise=back),)
    assert due(each_month(50_000), allocataire(interruptions=ended))[0] == rsa


# How long the majoration lasts (R262-1, R262-2). The child is 12: without it, 1.5 x 651.69 = 977.535 a month.


@pytest.mark.parametrize(
    ("event", "claim", "months"),
    [
        # At once: until the eleventh month after the event.
        (date(2025, 8, 5), None, 1),
        # Within six months: twelve months from the claim.
        (date(2025, 8, 5), date(2025, 10, 5), 3),
        (date(2025, 2, 5), date(2025, 8, 5), 1),
        # Two months too late: ten months from the claim, to February 2027; eight and nine months late likewise.
        (date(2025, 8, 5), date(2026, 4, 5), 3),
        (date(2025, 2, 5), date(2026, 4, 5), 1),
        (date(2025, 2, 5), date(2025, 12, 5), 1),
    ],
)
def test_the_majoration_lasts_twelve_months_from_a_claim_in_time_and_less_from_a_late_one(
    event: date, claim: date | None, months: int
):
    rsa = due([], allocataire(), child(), isolements=(Isolement(event, demande=claim),))[0]
    exact = 65_169 * (months * 1.71216 + (3 - months) * 1.5) / 3
    assert rsa == int(exact + 0.5)


@pytest.mark.parametrize(
    ("periods", "months"),
    [
        # One that ended in August and another since October: July is the last of its twelve months.
        ((Isolement(date(2025, 8, 5), date(2026, 8, 10)), Isolement(date(2026, 10, 1))), 1),
        # Alone for long, and an event in August that opens August and September.
        ((Isolement(date(2019, 1, 1)), Isolement(date(2026, 8, 10))), 2),
        # The other way round in the dossier, and a late claim: each period is weighed by what it opens.
        ((Isolement(date(2026, 8, 10)), Isolement(date(2019, 1, 1))), 2),
        ((Isolement(date(2025, 8, 5)), Isolement(date(2025, 7, 5), demande=date(2025, 10, 5))), 3),
        ((Isolement(date(2025, 7, 5), demande=date(2025, 10, 5)), Isolement(date(2025, 8, 5))), 3),
    ],
)
def test_each_period_of_life_alone_opens_its_own_months(periods: tuple[Isolement, ...], months: int):
    # L262-9: divorced, widowed, separated; each such event opens twelve months, whichever others cover the month.
    rsa = due([], allocataire(), child(), isolements=periods)[0]
    assert rsa == int(65_169 * (months * 1.71216 + (3 - months) * 1.5) / 3 + 0.5)


# Stays abroad (R262-5, R842-1): 92 days from date to date or in a calendar year, then whole months of presence alone.


def stay(depart: str, retour: str = "") -> SejourHorsFrance:
    return SejourHorsFrance(date.fromisoformat(depart), date.fromisoformat(retour) if retour else None)


@pytest.mark.parametrize(
    ("stays", "paid"),
    [
        ((stay("2026-08-10", "2026-11-10"),), True),  # 92 days
        ((stay("2026-08-10", "2026-11-11"),), False),  # 93
        ((stay("2026-07-31", "2026-11-01"),), True),  # 93, and the whole of November in France
        ((stay("2026-07-31", "2026-11-02"),), False),
        ((stay("2026-11-30", "2027-03-03"),), False),  # the day of departure is a day of absence
        ((stay("2026-12-01", "2027-03-10"),), True),
        ((stay("2026-02-01", "2026-04-02"), stay("2026-10-10", "2026-11-11")), True),  # 60 + 32 in the year
        ((stay("2026-02-01", "2026-04-03"), stay("2026-10-10", "2026-11-11")), False),  # 61 + 32
        ((stay("2025-10-01", "2025-12-31"), stay("2026-10-10", "2026-11-11")), True),  # 91, of another year
        ((stay("2026-08-10", "2026-09-30"), stay("2026-09-30", "2026-11-11")), False),  # one stay of 93 days
        ((stay("2026-10-15", "2026-11-11"), stay("2026-08-10", "2026-11-01")), False),  # overlapping, the same
        ((stay("2026-08-31"),), True),  # still away: 92 days at the end of November
        ((stay("2026-08-30"),), False),
        ((stay("2026-12-05"),), True),
    ],
)
def test_beyond_three_months_abroad_only_whole_months_of_presence_are_paid(
    stays: tuple[SejourHorsFrance, ...], paid: bool
):
    assert due([], allocataire(), sejours_hors_france=stays)[0] == (65_169 if paid else 0)
    assert due(each_month(90_000), allocataire(), sejours_hors_france=stays)[1] == (31_991 if paid else 0)
    found = engine.compute(Foyer("1", (allocataire(),), sejours_hors_france=stays), [], RIGHT)
    assert ("mois civils complets" in found.rsa_motif) is not paid


def test_a_stay_abroad_is_weighed_for_each_month_of_right_and_is_not_frozen_with_the_quarter():
    # M = November, back on 20 December after 110 days: November and December are lost, January is whole.
    foyer = Foyer("1", (allocataire(),), sejours_hors_france=(stay("2026-09-01", "2026-12-20"),))
    for opinion in (engine.compute, reference.compute):
        found = [opinion(foyer, [], RIGHT + later, mois_declaration=RIGHT).rsa_cents for later in (0, 1, 2)]
        assert found == [0, 0, 65_169]


# Who is weighed first among dependants with resources (R262-3).


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_a_dependant_brings_does_not_depend_on_the_order_of_the_dossier(order: tuple[int, ...]):
    # 230 lies between 0.3 x 651.69 = 195.51 and 0.4 x 651.69 = 260.68: the third dependant brings 0.4.
    children = [replace(child(), personne=name) for name in ("aîné", "enfant", "cadet")]
    lines = each_month(23_000, "enfant", N.RETRAITE)
    # 2.5 x 651.69 - 230 = 1 399.225.
    assert due(lines, allocataire(), conjoint(), *(children[place] for place in order))[0] == 139_923


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_who_each_earn_more_than_a_third_person_brings_the_one_with_less_is_counted(order: tuple[int, ...]):
    # The first brings 0.5 x 651.69 = 325.85, the second 195.51: 270 is counted, 300 is not. 977.535 - 270.
    children = [replace(child(), personne=name) for name in ("enfant", "cadet")]
    lines = each_month(27_000, "enfant", N.RETRAITE) + each_month(30_000, "cadet", N.RETRAITE)
    assert due(lines, allocataire(), *(children[place] for place in order))[0] == 70_754


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_with_the_same_resources_the_youngest_is_weighed_first(order: tuple[int, ...]):
    # A baby of an isolated parent brings (1.71216 - 1) x 651.69 = 464.11; the other then 0.42804 x 651.69 = 278.95.
    children = [child(), replace(child(), personne="cadet", date_naissance=date(2026, 1, 15))]
    lines = each_month(30_000, "enfant", N.RETRAITE) + each_month(30_000, "cadet", N.RETRAITE)
    alone = (Isolement(date(2015, 1, 1)),)
    # 1.71216 x 651.69 - 300 = 815.80.
    assert due(lines, allocataire(), *(children[place] for place in order), isolements=alone)[0] == 81_580


# Mayotte (R542-6, décret 2016-864).


def test_the_base_of_mayotte_is_an_amount_in_cents():
    # M = 2024-06: 635.71 / 2 = 317.855, published 317.86; two persons 1.5 x 317.86 = 476.79.
    foyer = Foyer("1", (allocataire(), conjoint()), zone=Zone.MAYOTTE)
    assert engine.compute(foyer, [], Month(2024, 6)).rsa_cents == 47_679
    assert reference.compute(foyer, [], Month(2024, 6)).rsa_cents == 47_679


@pytest.mark.parametrize(
    # Floor 29.5 x 9.56 = 282.02, top 60 x 9.56 = 573.60, 120.32 at most.
    ("wage", "ppa"),
    [
        # 319.14 + 0.5985 x 282.02 - 319.14; at 300 the bonus begins: 120.32 x 17.98 / 291.58 = 7.4194.
        (28_202, 16_879),
        (30_000, 18_697),
        # 319.14 + 0.5985 x 573.60 + 120.32 - 573.60.
        (57_360, 20_916),
    ],
)
def test_the_bonus_of_mayotte_is_measured_in_hours_of_its_own_smic(wage: int, ppa: int):
    assert due(each_month(wage), allocataire(), zone=Zone.MAYOTTE)[1] == ppa


@pytest.mark.parametrize(("wage", "open_right"), [(44_434, False), (44_435, True)])
def test_a_student_of_mayotte_earns_more_than_46_48_hours_of_its_smic(wage: int, open_right: bool):
    # 46.48 x 9.56 = 444.3488.
    studies = (PeriodeStatut(Statut.ETUDIANT, date(2024, 9, 1)),)
    prime = due(each_month(wage), allocataire(statuts=studies), zone=Zone.MAYOTTE)[1]
    assert (prime > 0) is open_right


# Who opens the right (L262-4, L262-5).


def test_a_partner_who_is_not_counted_does_not_open_the_rsa_by_age():
    leave = (PeriodeStatut(Statut.CONGE, date(2024, 9, 1)),)
    young = allocataire(date(2004, 1, 1))
    assert due([], young, conjoint())[0] == 97_754
    assert due([], young, conjoint(statuts=leave))[0] == 0


@pytest.mark.parametrize(
    ("status", "counted"), [(Statut.ETUDIANT, True), (Statut.STAGIAIRE, True), (Statut.CONGE, False)]
)
def test_the_partner_of_a_beneficiary_counts_unless_on_leave(status: Statut, counted: bool):
    # L262-5 asks the partner for 2° and 4° of L262-4, not for 3°: 1.5 x 651.69, or 651.69.
    partner = conjoint(statuts=(PeriodeStatut(status, date(2024, 9, 1)),))
    assert due([], allocataire(), partner)[0] == (97_754 if counted else 65_169)
    # A student is no beneficiary, whoever the partner is.
    student = allocataire(statuts=(PeriodeStatut(Statut.ETUDIANT, date(2024, 9, 1)),))
    assert due([], student, conjoint())[0] == 0
    assert by(LegislationOptions(conjoint_ouvre_a_un_etudiant=True), [], student, conjoint())[0] == 97_754


def test_turning_twenty_five_waits_for_the_next_examination():
    # R262-4: what is due does not change between two examinations.
    young = Foyer("1", (allocataire(date(2001, 11, 20)),))
    for opinion in (engine.compute, reference.compute):
        assert opinion(young, [], Month(2026, 12), mois_declaration=RIGHT).rsa_cents == 0
        assert opinion(young, [], Month(2026, 12)).rsa_cents == 65_169


# Capital (R132-1).


def test_the_livret_a_counts_by_its_interest_and_idle_capital_at_three_per_cent():
    # 20 000 at 1.5 % in July, 1.7 % in August and September 2026: (25 + 28.3333 + 28.3333) / 3 = 27.2222 a month.
    assert due([], allocataire(livret_a_cents=2_000_000))[0] == 62_447
    # 20 000 x 3 % / 12 = 50.
    assert due([], allocataire(epargne_non_productive_cents=2_000_000))[0] == 60_169
    at_three = LegislationOptions(livret_a_a_son_taux=False)
    saver = Foyer("1", (allocataire(livret_a_cents=2_000_000),))
    assert engine.compute(saver, [], RIGHT, options=at_three).rsa_cents == 60_169


def test_taxed_income_counts_in_the_prime_by_the_year_before_last_of_each_month_studied():
    # R843-1. M = 2026-03 on November, December 2025 and January 2026: 2 400 of 2023 twice, 6 000 of 2024 once.
    saver = allocataire(revenus_capitaux={2023: 240_000, 2024: 600_000})
    lines = [RessourceMois("demandeur", Month(2025, 11) + later, N.SALAIRE, 60_000) for later in range(3)]
    foyer, droit = Foyer("1", (saver,)), Month(2026, 3)
    # 633.21 + 359.10 - 800, twice, and 633.21 + 359.10 - 1 100 < 0: 2 x 192.31 / 3.
    for opinion in (engine.compute, reference.compute):
        assert opinion(foyer, lines, droit).ppa_cents == 12_821
    # By the year of the declaration, 500 a month each time: nothing.
    by_declaration = LegislationOptions(capital_ppa_par_mois=False)
    assert engine.compute(foyer, lines, droit, options=by_declaration).ppa_cents == 0


# Readings of the doubts that can be chosen (REGULATION §10).


def by(options: LegislationOptions, lines: list[RessourceMois], *persons: Membre, **facts: Any) -> tuple[int, int]:
    found = engine.compute(Foyer("1", persons, **facts), lines, RIGHT, options=options)
    return found.rsa_cents, found.ppa_cents


def test_gifts_can_count_after_the_reform():
    lines = each_month(10_000, nature=N.DONS_SECOURS)
    assert by(LegislationOptions(), lines, allocataire())[0] == 65_169
    assert by(LegislationOptions(dons_comptes=True), lines, allocataire())[0] == 55_169


def test_family_benefits_can_count_gross_of_crds():
    # Each 99.50 paid is 100 gross; the Aspa bears no CRDS. RSA = 1.8 x 651.69 - 5 x 99.50 - 50, or - 5 x 100 - 50.
    month = PrestationsMois(
        allocations_familiales_base_cents=9_950,
        complement_familial_cents=9_950,
        allocation_soutien_familial_cents=9_950,
        paje_allocation_base_cents=9_950,
        prepare_cents=9_950,
        aspa_cents=5_000,
    )
    paid = dict.fromkeys(QUARTER, month)
    family = (allocataire(), child(droit_asf=DroitAsf.UN_PARENT), replace(child(), personne="cadet"))
    assert by(LegislationOptions(), [], *family, prestations=paid)[0] == 62_554
    assert by(LegislationOptions(prestations_brutes=True), [], *family, prestations=paid)[0] == 62_304


def test_the_quarter_of_the_turnover_can_stay_the_last_three_months():
    # 1 000 of sales in July, the first reference month: 290 / 3 a month. M-3..M-1 begins in August.
    seller = allocataire(chiffre_affaires=(ChiffreAffaires(QUARTER[0], RegimeNonSalarie.MICRO_VENTE, 100_000),))
    assert by(LegislationOptions(), [], seller)[0] == 55_502
    assert by(LegislationOptions(chiffre_affaires_recent=True), [], seller)[0] == 65_169


def test_each_montant_intermediaire_can_be_floored_at_zero():
    # Benefits of 3 000 in July alone: 651.69 x 3 - 3 000 < 0; floored each month: 2 x 651.69 / 3.
    paid = {QUARTER[0]: PrestationsMois(prepare_cents=300_000)}
    assert by(LegislationOptions(), [], allocataire(), prestations=paid)[0] == 0
    assert by(LegislationOptions(plancher_mensuel_rsa=True), [], allocataire(), prestations=paid)[0] == 43_446


def test_aah_can_stop_being_work_income_and_an_invalidity_pension_can_be():
    # Example 9: 273.69 with AAH as work income, else 638.28 + 0.5985 x 700 - 1 200 < 0.
    lines = each_month(70_000) + each_month(50_000, nature=N.AAH)
    assert by(LegislationOptions(), lines, allocataire())[1] == 27_369
    assert by(LegislationOptions(aah_professionnelle=False), lines, allocataire())[1] == 0
    lines = each_month(70_000) + each_month(50_000, nature=N.INVALIDITE)
    assert by(LegislationOptions(), lines, allocataire())[1] == 0
    assert by(LegislationOptions(invalidite_professionnelle=True), lines, allocataire())[1] == 27_369


# Days and amounts that fall exactly on a limit.


@pytest.mark.parametrize(("pension", "rsa"), [(28_238, 56_479), (28_239, 56_478), (28_240, 56_478)])
def test_a_dependant_whose_resources_are_exactly_the_increase_is_left_out(pension: int, rsa: int):
    # M = 2020-06, B = 564.78: the increase is 282.39, a whole number of cents. At 282.38, 847.17 - 282.38 remains.
    foyer = Foyer("1", (allocataire(), child()))
    lines = [RessourceMois("enfant", Month(2020, m), N.RETRAITE, pension) for m in (3, 4, 5)]
    assert reference.compute(foyer, lines, Month(2020, 6)).rsa_cents == rsa
    assert engine.compute(foyer, lines, Month(2020, 6)).rsa_cents == rsa


def test_a_child_born_on_29_february_is_twenty_five_in_march_of_a_common_year():
    # M = 2025-06 on February, March and April: à charge in February alone. (1.5 + 1 + 1) x 646.52 / 3.
    foyer = Foyer("1", (allocataire(), child(date(2000, 2, 29))))
    assert reference.compute(foyer, [], Month(2025, 6)).rsa_cents == 75_427
    assert engine.compute(foyer, [], Month(2025, 6)).rsa_cents == 75_427


def test_paje_is_left_out_in_the_month_of_a_birth_on_29_february():
    # M = 2024-04 on January, February and March: 100 counts in March alone (in January the child is not there).
    paid = {Month(2024, m): PrestationsMois(paje_allocation_base_cents=10_000) for m in (2, 3)}
    foyer = Foyer("1", (allocataire(), conjoint(), child(date(2024, 2, 29))), prestations=paid)
    # (1.5 + 1.8 + 1.8) x 635.71 / 3 - 100 / 3.
    assert reference.compute(foyer, [], Month(2024, 4)).rsa_cents == 104_737
    assert engine.compute(foyer, [], Month(2024, 4)).rsa_cents == 104_737


@pytest.mark.parametrize(("born", "counted"), [(date(2026, 4, 30), 2), (date(2026, 5, 1), 1), (date(2026, 7, 31), 0)])
def test_paje_of_an_isolated_parent_counts_from_the_month_after_the_child_is_three_months_old(born: date, counted: int):
    # 1.71216 x 651.69 a month; born on 30 April, July is the third month: August and September count.
    paid = dict.fromkeys(QUARTER, PrestationsMois(paje_allocation_base_cents=10_000))
    isolated = (Isolement(date(2026, 1, 10)),)
    rsa = due([], allocataire(), child(born), isolements=isolated, prestations=paid)[0]
    # Born on 31 July, the child is three months old in October: nothing counts before November.
    assert rsa == int(65_169 * 1.71216 - counted * 10_000 / 3 + 0.5)


def test_an_expected_child_opens_the_rsa_before_twenty_five():
    months = (Month(2026, 10), RIGHT)
    young = allocataire(date(2004, 1, 1))
    assert due([], young)[0] == 0
    assert due([], replace(young, grossesse=months))[0] == 65_169
    partner = replace(conjoint(), date_naissance=date(2004, 6, 1))
    assert due([], young, partner)[0] == 0
    assert due([], young, replace(partner, grossesse=months))[0] == 97_754


def test_members_left_out_of_the_housing_benefit_leave_at_least_one():
    # 12 % x 651.69 even when the dossier leaves out as many members as there are.
    housing = (Logement(Month(2015, 1), StatutLogement.LOCATAIRE, personnes_non_comptees=1),)
    aid = dict.fromkeys(QUARTER, 30_000)
    assert due([], allocataire(), logements=housing, aide_logement=aid)[0] == 57_349
    # A couple of which one counts: 977.535 - 78.2028.
    assert due([], allocataire(), conjoint(), logements=housing, aide_logement=aid)[0] == 89_933


def test_the_turnover_of_sales_takes_the_place_of_the_profit_of_earlier_years():
    # 3 000 of sales a month: 29 % kept, 870. The profit of 2025 would be 1 000 a month.
    turnover = tuple(ChiffreAffaires(month, RegimeNonSalarie.MICRO_VENTE, 300_000) for month in QUARTER)
    seller = allocataire(benefices_annuels={2025: 1_200_000}, chiffre_affaires=turnover)
    # bonus 240.63 x (870 - 726.29) / 972.49 = 35.5590; P = 638.28 + 520.695 + 35.5590 - 870.
    assert due([], seller)[1] == 32_453
    # Turnover of another quarter does not: bonus 67.7256; P = 638.28 + 598.50 + 67.7256 - 1 000.
    earlier = tuple(replace(entry, mois=entry.mois - 3) for entry in turnover)
    assert due([], replace(seller, chiffre_affaires=earlier))[1] == 30_451


def test_a_turnover_of_zero_takes_the_place_of_the_profit_too():
    # Whoever declares a quarter without a sale has no income of it, whatever the profit of 2025.
    nothing = (ChiffreAffaires(QUARTER[0], RegimeNonSalarie.MICRO_VENTE, 0),)
    seller = allocataire(benefices_annuels={2025: 1_200_000}, chiffre_affaires=nothing)
    assert due([], seller)[0] == due([], allocataire())[0] == 65_169
    assert due([], replace(seller, chiffre_affaires=()))[0] == 0


@pytest.mark.parametrize(("stoppage", "work"), [(date(2026, 4, 30), False), (date(2026, 5, 1), True)])
def test_sick_pay_is_work_income_in_the_month_of_the_stoppage_and_the_next_two(stoppage: date, work: bool):
    # July is the third month of a stoppage of May.
    ill = allocataire(date_arret_travail=stoppage)
    lines = [RessourceMois("demandeur", QUARTER[0], N.IJSS_MALADIE, 60_000)]
    # 0.5985 x 600 / 3 when it is work income, nothing opens the prime otherwise.
    assert due(lines, ill)[1] == (11_970 if work else 0)


@pytest.mark.parametrize(("pension", "ppa"), [(31_913, 30_452), (31_914, 30_451), (31_915, 30_451)])
def test_a_dependant_leaves_the_prime_with_resources_that_reach_the_increase_brought(pension: int, ppa: int):
    # 0.5 x 638.28 = 319.14. Kept: 957.42 + 598.50 + 67.7256 - 1 319.13; left out: 638.28 + 598.50 + 67.7256 - 1 000.
    lines = each_month(100_000) + each_month(pension, "enfant", N.RETRAITE)
    assert due(lines, allocataire(), child())[1] == ppa


def test_the_turnover_of_the_last_three_months_is_that_of_october_too():
    # 1 000 of sales in October: 290 / 3 a month, under the other reading of D13 alone.
    seller = allocataire(chiffre_affaires=(ChiffreAffaires(Month(2026, 10), RegimeNonSalarie.MICRO_VENTE, 100_000),))
    assert by(LegislationOptions(), [], seller)[0] == 65_169
    assert by(LegislationOptions(chiffre_affaires_recent=True), [], seller)[0] == 55_502


def test_the_abatement_is_that_of_the_month_of_the_turnover():
    # A reform of August 2026 keeps half of the sales: 290 of July, 500 of September, a third each month.
    reform = load_legislation().overlaid({"non_salaries.abattement_vente": {date(2026, 8, 1): "0.5"}})
    for month, rsa in ((QUARTER[0], 55_502), (QUARTER[1], 48_502), (QUARTER[2], 48_502)):
        turnover = (ChiffreAffaires(month, RegimeNonSalarie.MICRO_VENTE, 100_000),)
        foyer = Foyer("1", (allocataire(chiffre_affaires=turnover),))
        assert engine.compute(foyer, [], RIGHT, legislation=reform).rsa_cents == rsa


def test_the_composition_can_be_that_of_the_month_of_right():
    # Example 13: 1.8 x 651.69 for the three months once the child is there.
    family = (allocataire(), conjoint(), child(date(2026, 8, 20)))
    assert by(LegislationOptions(), [], *family)[0] == 110_787
    assert by(LegislationOptions(composition_mensuelle=False), [], *family)[0] == 117_304


def test_the_exclusion_of_a_dependant_can_be_that_of_forty_per_cent():
    # 300 reaches 40 % of 651.69 (260.68), not the half that the child brings. The shortcut looks at earlier months.
    lines = [RessourceMois("enfant", Month(2026, month), N.RETRAITE, 30_000) for month in range(3, 12)]
    assert by(LegislationOptions(), lines, allocataire(), child())[0] == 67_754
    assert by(LegislationOptions(exclusion_exacte_a_charge=False), lines, allocataire(), child())[0] == 65_169
