"""What small changes of the rules left unnoticed (tests/mutation): limits, reasons of a refusal, readings one by one.

Unless said otherwise: rights of November 2026 on July, August and September 2026, B = 651.69, BP = 638.28,
slope 0.5985, largest bonus 240.63 between 726.29 and 1 698.78.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from solidarite_server import engine
from solidarite_server.domain.foyer import (
    ChiffreAffaires,
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
    Statut,
    StatutLogement,
)
from solidarite_server.domain.foyer import DroitAsf as Asf
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource as N
from solidarite_server.legislation import LegislationOptions, load_legislation

from tests import reference
from tests.property.test_engine_rare_households import (
    ALONE,
    QUARTER,
    RIGHT,
    allocataire,
    by,
    child,
    conjoint,
    due,
    each_month,
)

LAW = LegislationOptions()
STUDENT, TRAINEE, LEAVE = (
    (PeriodeStatut(statut, date(2024, 1, 1)),) for statut in (Statut.ETUDIANT, Statut.STAGIAIRE, Statut.CONGE)
)
FOREIGN = {"nationalite": Nationalite.AUTRE}
YOUNG = date(2004, 1, 1)
OWNER = (Logement(Month(2015, 1), StatutLogement.PROPRIETAIRE),)


def rounded(cents: Fraction | int | str) -> int:
    """Half up, as the law rounds."""
    return int(Fraction(cents) + Fraction(1, 2))


def all_months(amount: int, who: str = "demandeur", nature: N = N.RETRAITE) -> list[RessourceMois]:
    """The same amount in each of the nine months that a shortcut may look at."""
    return [RessourceMois(who, Month(2026, month), nature, amount) for month in range(3, 12)]


# Why there is nothing to pay: each reason by its words, and its line of the explanation.

STAY = "La condition de nationalité ou de séjour n'est pas remplie."
STUDIES = "Un élève, un étudiant ou un stagiaire n'ouvre pas droit au RSA."
ON_LEAVE = "Une personne en congé parental, sabbatique, sans solde ou en disponibilité n'ouvre pas droit au RSA."
AGE = "Le RSA est ouvert à 25 ans, avec un enfant né ou à naître, ou après 3 214 heures de travail en trois ans."
NO_WORK = "La prime d'activité demande à un adulte un revenu professionnel (au-delà d'un plancher pour un étudiant)."
TOO_RICH = "Les ressources du foyer dépassent le montant garanti."
TOO_LITTLE = "Le montant est inférieur au seuil de versement."
PENSION = N.RETRAITE


@pytest.mark.parametrize(
    ("lines", "person", "rsa", "ppa"),
    [
        (each_month(50_000), allocataire(**FOREIGN), STAY, STAY),
        ([], allocataire(sejour_regulier=True, **FOREIGN), STAY, STAY),
        ([], allocataire(statuts=STUDENT), STUDIES, NO_WORK),
        ([], allocataire(YOUNG, statuts=TRAINEE), STUDIES, NO_WORK),
        ([], allocataire(statuts=LEAVE), ON_LEAVE, NO_WORK),
        ([], allocataire(YOUNG, statuts=LEAVE), ON_LEAVE, NO_WORK),
        (each_month(50_000), allocataire(YOUNG), AGE, ""),
        (each_month(90_000, nature=PENSION), allocataire(), TOO_RICH, NO_WORK),
        (each_month(64_570, nature=PENSION), allocataire(), TOO_LITTLE, NO_WORK),
        (each_month(250_000), allocataire(), TOO_RICH, TOO_RICH),
        (each_month(2_506), allocataire(), "", TOO_LITTLE),
        # One cent of work opens the prime, and is below what is paid.
        ([RessourceMois("demandeur", QUARTER[0], N.SALAIRE, 1)], allocataire(), "", TOO_LITTLE),
        (each_month(40_000), allocataire(), "", ""),
    ],
)
def test_a_right_not_due_gives_its_reason_with_and_without_the_explanation(
    lines: list[RessourceMois], person: Membre, rsa: str, ppa: str
):
    computed = engine.compute(Foyer("1", (person,)), lines, RIGHT)
    assert (computed.rsa_motif, computed.ppa_motif) == (rsa, ppa)
    assert (computed.rsa_cents == 0, computed.ppa_cents == 0) == (bool(rsa), bool(ppa))
    assert engine.explain(Foyer("1", (person,)), lines, RIGHT).entitlement == computed


def test_an_amount_below_what_is_paid_is_taken_back_in_a_line_of_no_month_and_nobody():
    # RSA 651.69 - 645.70 = 5.99; prime 0.5985 x 25.06 = 14.9984.
    told = engine.explain(Foyer("1", (allocataire(),)), each_month(64_570, nature=PENSION), RIGHT)
    last = told.rsa_steps[-1]
    assert (last.label, last.amount_cents) == ("Montant inférieur au seuil de versement", Decimal(-599))
    assert (last.mois, last.personne) == (None, "")
    last = engine.explain(Foyer("1", (allocataire(),)), each_month(2_506), RIGHT).ppa_steps[-1]
    assert (last.label, last.mois, last.personne) == ("Montant inférieur au seuil de versement", None, "")
    assert last.amount_cents == Decimal("-1499.841")


def test_a_right_that_resources_close_is_brought_to_zero_by_a_line_of_no_month_and_nobody():
    last = engine.explain(Foyer("1", (allocataire(),)), each_month(90_000, nature=PENSION), RIGHT).rsa_steps[-1]
    assert (last.label, last.mois, last.personne) == ("Un montant négatif compte pour zéro", None, "")
    assert last.amount_cents == Decimal(24_831)
    last = engine.explain(Foyer("1", (allocataire(**FOREIGN),)), [], RIGHT).rsa_steps[-1]
    assert (last.label, last.mois, last.personne) == ("Le droit n'est pas ouvert", None, "")
    assert last.amount_cents == Decimal(-65_169)
    # The prime: each month, then the quarter that is not open.
    steps = engine.explain(Foyer("1", (allocataire(**FOREIGN),)), each_month(40_000), RIGHT).ppa_steps
    assert (steps[-1].label, steps[-1].mois, steps[-1].personne) == ("Le droit n'est pas ouvert", None, "")
    # 0.5985 x 400.
    assert steps[-1].amount_cents == Decimal(-23_940)


# One cent.


def test_a_pension_of_one_cent_counts():
    assert due(each_month(1, nature=PENSION), allocataire())[0] == 65_168


def test_one_cent_of_work_makes_a_partner_on_leave_count_in_the_prime():
    # MF = 957.42; 0.5985 x 900.00 + 240.63 x (900 - 726.29) / 972.49 = 581.6324.
    lines = [*each_month(90_000), RessourceMois("conjoint", QUARTER[0], N.SALAIRE, 1)]
    assert due(lines, allocataire(), conjoint(statuts=LEAVE))[1] == 58_163


def test_one_cent_of_aah_is_work_income_too():
    # 638.28 + 0.5985 x 1 000.03 + 240.63 x (1 000.03 - 726.29) / 972.49 - 1 000.03: as other income it is 1 cent less.
    wage = 100_002
    exact = 63_828 + Fraction("0.5985") * (wage + 1) + Fraction(24_063 * (wage + 1 - 72_629), 97_249) - (wage + 1)
    assert due(each_month(wage) + each_month(1, nature=N.AAH), allocataire())[1] == rounded(exact) == 30_450


def test_a_student_who_earns_exactly_the_floor_by_turnover_does_not_open_the_prime():
    # 13 % of 26 404.95 over three months is 1 144.2145 a month: exactly 169 x 55 % x 12.31.
    for sold, open_right in ((2_640_495, False), (2_640_496, True)):
        turnover = (ChiffreAffaires(QUARTER[0], RegimeNonSalarie.MICRO_AGRICOLE, sold),)
        assert (due([], allocataire(statuts=STUDENT, chiffre_affaires=turnover))[1] > 0) is open_right


# Households of several.


def test_a_dependant_left_out_on_the_limit_leaves_the_housing_too():
    # M = 2020-06, B = 564.78: at 282.39 the child leaves, and the flat rate is that of one person: 88 % of B.
    foyer = Foyer("1", (allocataire(), child()), logements=OWNER)
    lines = [RessourceMois("enfant", Month(2020, m), PENSION, 28_239) for m in (3, 4, 5)]
    assert reference.compute(foyer, lines, Month(2020, 6)).rsa_cents == 49_701
    assert engine.compute(foyer, lines, Month(2020, 6)).rsa_cents == 49_701


def test_a_former_partner_written_first_does_not_hide_the_work_of_the_present_one():
    # MF = 957.42; 0.5985 x 900 + 240.63 x (900 - 726.29) / 972.49.
    former = replace(conjoint(sortie=date(2026, 1, 10)), personne="ancien")
    assert due(each_month(90_000, "conjoint"), allocataire(), former, conjoint())[1] == 58_163


def test_a_minor_written_first_does_not_hide_the_work_of_the_partner():
    young = allocataire(date(2009, 6, 1))
    assert due(each_month(90_000, "conjoint"), young, conjoint())[1] == 58_163


@pytest.mark.parametrize(("right", "rsa"), [(Month(2020, 4), 92_679), (Month(2032, 5), 107_454)])
def test_paje_is_left_out_in_the_month_of_a_birth_on_29_february_of_any_leap_year(right: Month, rsa: int):
    # January without the child, February without its PAJE: (1.5 + 1.8 + 1.8) x B / 3 - 100 / 3; B = 564.78, 651.69.
    paid = {Month(right.year, m): PrestationsMois(paje_allocation_base_cents=10_000) for m in (2, 3)}
    foyer = Foyer("1", (allocataire(), conjoint(), child(date(right.year, 2, 29))), prestations=paid)
    assert reference.compute(foyer, [], right).rsa_cents == rsa
    assert engine.compute(foyer, [], right).rsa_cents == rsa


def test_a_majoration_that_a_reform_makes_smaller_than_the_scale_takes_and_gives_nothing():
    start = date(2019, 1, 1)
    reform = load_legislation().overlaid({"isolement.base": {start: "0.5"}, "isolement.par_enfant": {start: "0.1"}})
    foyer = Foyer("1", (allocataire(), child()), isolements=ALONE)
    told = engine.explain(foyer, each_month(100_000), RIGHT, legislation=reform)
    assert not any(step.label.startswith("Majoration") for step in (*told.rsa_steps, *told.ppa_steps))
    assert engine.compute(foyer, [], RIGHT, legislation=reform).rsa_cents == 97_754
    exact = 95_742 + 59_850 + Fraction(24_063 * (100_000 - 72_629), 97_249) - 100_000
    assert told.entitlement.ppa_cents == rounded(exact) == 62_365


# Readings of the doubts, and shortcuts of OpenFisca, each alone.


def test_each_month_can_be_floored_at_the_resources_that_are_then_taken_off():
    # Benefits of 3 000 in July, a pension of 100: July is floored at 100. (100 + 2 x 651.69) / 3 - 100 = 367.7933.
    floored = LegislationOptions(plancher_mensuel_rsa=True)
    facts = {"prestations": {QUARTER[0]: PrestationsMois(prepare_cents=300_000)}}
    lines = each_month(10_000, nature=PENSION)
    assert by(floored, lines, allocataire(), **facts)[0] == 36_779
    # A child who earns 2 000 is left out, with that income.
    assert by(floored, [*lines, *each_month(200_000, "enfant")], allocataire(), child(), **facts)[0] == 36_779
    told = engine.explain(Foyer("1", (allocataire(),), **facts), lines, RIGHT, options=floored).rsa_steps
    (step,) = (step for step in told if step.label == "Un montant négatif compte pour zéro")
    # 651.69 - 3 000 + what lacks up to 100, for a third.
    assert (step.mois, step.personne, step.amount_cents) == (QUARTER[0], "", Decimal("81610.3333"))


@pytest.mark.parametrize(
    ("nature", "ppa"), [(N.INVALIDITE, 27_369), (N.RENTE_ATMP, 27_369), (N.ALLOCATION_SUPPLEMENTAIRE_INVALIDITE, 0)]
)
def test_work_accident_annuities_can_be_work_income_like_invalidity_pensions(nature: N, ppa: int):
    lines = each_month(70_000) + each_month(50_000, nature=nature)
    assert by(LAW, lines, allocataire())[1] == 0
    assert by(LegislationOptions(invalidite_professionnelle=True), lines, allocataire())[1] == ppa


def test_the_increase_of_the_complement_familial_can_count_gross_too():
    # 49.75 and 99.50 paid are 50 and 100 gross: 1.5 x 651.69 - 149.25, or - 150.
    month = PrestationsMois(complement_familial_cents=4_975, complement_familial_majoration_cents=9_950)
    paid = dict.fromkeys(QUARTER, month)
    assert by(LAW, [], allocataire(), child(), prestations=paid)[0] == 82_829
    assert by(LegislationOptions(prestations_brutes=True), [], allocataire(), child(), prestations=paid)[0] == 82_754


def test_the_turnover_of_august_is_in_both_quarters_and_that_of_october_in_the_recent_one_alone():
    # 1 000 of sales: 290 / 3 a month.
    recent, gifts = LegislationOptions(chiffre_affaires_recent=True), LegislationOptions(dons_comptes=True)
    for month, law, other in ((QUARTER[1], 55_502, 55_502), (Month(2026, 10), 65_169, 55_502)):
        seller = allocataire(chiffre_affaires=(ChiffreAffaires(month, RegimeNonSalarie.MICRO_VENTE, 100_000),))
        assert by(LAW, [], seller)[0] == by(gifts, [], seller)[0] == law
        assert by(recent, [], seller)[0] == other


@pytest.mark.parametrize(
    ("month", "rsa"), [(Month(2026, 6), 45_169), (QUARTER[0], 55_502), (QUARTER[2], 55_502), (Month(2026, 10), 45_169)]
)
@pytest.mark.parametrize("options", [LAW, LegislationOptions(dons_comptes=True)])
def test_turnover_takes_the_place_of_the_profit_from_the_first_to_the_last_month_of_the_quarter(
    month: Month, rsa: int, options: LegislationOptions
):
    # A profit of 2 400 in 2025 is 200 a month; 1 000 of sales in the quarter is 290 / 3 a month instead.
    sold = (ChiffreAffaires(month, RegimeNonSalarie.MICRO_VENTE, 100_000),)
    assert by(options, [], allocataire(benefices_annuels={2025: 240_000}, chiffre_affaires=sold))[0] == rsa


def test_months_before_the_quarter_do_not_stop_those_of_the_quarter():
    lines = [RessourceMois("demandeur", Month(2026, 3), N.SALAIRE, 90_000), *each_month(10_000)]
    assert by(LAW, lines, allocataire())[0] == by(LegislationOptions(dons_comptes=True), lines, allocataire())[0]
    assert by(LAW, lines, allocataire())[0] == 55_169


@pytest.mark.parametrize(("born", "law", "option"), [(date(2008, 6, 1), 65_169, 0), (date(2007, 6, 1), 65_169, 65_169)])
def test_the_rsa_of_young_workers_can_open_at_nineteen(born: date, law: int, option: int):
    worker = allocataire(born, heures_travail_trois_ans=3_214)
    assert by(LAW, [], worker)[0] == law
    assert by(LegislationOptions(jeune_actif_apres_dix_huit_ans=True), [], worker)[0] == option


def test_an_owner_with_a_housing_aid_can_bear_the_whole_flat_rate():
    owner = Foyer("1", (allocataire(),), logements=OWNER, aide_logement=dict.fromkeys(QUARTER, 5_000))
    whole = LegislationOptions(proprietaire_toujours_au_forfait=True)
    assert engine.compute(owner, [], RIGHT).rsa_cents == 60_169
    # 12 % of 651.69 is 78.2028.
    assert engine.compute(owner, [], RIGHT, options=whole).rsa_cents == 57_349
    # One cent is an aid; none is none.
    assert engine.compute(replace(owner, aide_logement=dict.fromkeys(QUARTER, 1)), [], RIGHT).rsa_cents == 65_168
    assert engine.compute(replace(owner, aide_logement={}), [], RIGHT).rsa_cents == 57_349


def test_the_residence_of_one_partner_can_be_enough():
    either = LegislationOptions(residence_d_un_seul=True)
    assert by(LAW, [], allocataire(**FOREIGN), conjoint())[0] == 0
    assert by(either, [], allocataire(**FOREIGN), conjoint())[0] == 97_754
    # Lawful stay alone is that of an isolated parent (L262-6).
    assert by(either, [], allocataire(**FOREIGN), conjoint(sejour_regulier=True, **FOREIGN))[0] == 0
    # For the prime, both count once one fulfils it: 957.42 + 538.65 + 42.9824 - 957.42.
    assert by(either, each_month(90_000), allocataire(), conjoint(**FOREIGN))[1] == 58_163
    assert by(LAW, each_month(90_000), allocataire(), conjoint(**FOREIGN))[1] == 31_991
    # Any member, for the shortcut.
    assert by(either, each_month(90_000), allocataire(**FOREIGN), child())[1] > 0
    assert by(either, each_month(90_000), allocataire(**FOREIGN), child(**FOREIGN))[1] == 0


def test_a_partner_who_studies_counts_and_one_who_does_not_can_open_the_right():
    assert by(LAW, [], allocataire(), conjoint(statuts=STUDENT))[0] == 97_754
    through = LegislationOptions(conjoint_ouvre_a_un_etudiant=True)
    assert by(LAW, [], allocataire(statuts=STUDENT), conjoint())[0] == 0
    assert by(through, [], allocataire(statuts=STUDENT), conjoint())[0] == 97_754
    assert by(through, [], allocataire(statuts=STUDENT), conjoint(statuts=STUDENT))[0] == 0
    assert by(through, [], allocataire(statuts=STUDENT))[0] == 0


def test_a_trainee_can_open_the_rsa():
    assert by(LAW, [], allocataire(statuts=TRAINEE))[0] == 0
    assert by(LegislationOptions(stagiaire_ouvre_rsa=True), [], allocataire(statuts=TRAINEE))[0] == 65_169
    assert by(LegislationOptions(stagiaire_ouvre_rsa=True), [], allocataire(statuts=STUDENT))[0] == 0


def test_an_expected_child_can_open_the_rsa_of_a_person_alone_only():
    alone_only, months = LegislationOptions(grossesse_ouvre_droit=False), (Month(2026, 10), RIGHT)
    partner = replace(conjoint(), date_naissance=date(2004, 6, 1))
    assert by(alone_only, [], allocataire(YOUNG, grossesse=months))[0] == 65_169
    assert by(alone_only, [], allocataire(YOUNG, grossesse=months), partner)[0] == 0
    assert by(alone_only, [], allocataire(YOUNG), replace(partner, grossesse=months))[0] == 0
    assert by(LAW, [], allocataire(YOUNG), replace(partner, grossesse=months))[0] == 97_754


APRIL = [RessourceMois("demandeur", Month(2026, 4), N.IJSS_MALADIE, 1)]


@pytest.mark.parametrize(
    ("more", "facts", "work"),
    [
        # Nothing was paid three months earlier.
        ([], {}, True),
        (APRIL, {}, False),
        ([RessourceMois("demandeur", Month(2026, 3), N.IJSS_MALADIE, 60_000)], {}, True),
        ([RessourceMois("demandeur", Month(2026, 5), N.IJSS_MALADIE, 60_000)], {}, True),
        ([RessourceMois("demandeur", Month(2026, 4), N.RETRAITE, 60_000)], {}, True),
        ([RessourceMois("conjoint", Month(2026, 4), N.IJSS_MALADIE, 60_000)], {}, True),
        # By the date of the stoppage, when it is known: three months at most before.
        (
            [RessourceMois("demandeur", Month(2026, 4), N.IJSS_MALADIE, 1)],
            {"date_arret_travail": date(2026, 4, 1)},
            True,
        ),
        ([], {"date_arret_travail": date(2026, 3, 31)}, False),
    ],
)
def test_sick_pay_can_be_work_income_by_what_was_paid_three_months_earlier(
    more: list[RessourceMois], facts: dict[str, date], work: bool
):
    # 600 in July: 0.5985 x 600 / 3 when it is work income, nothing opens the prime otherwise.
    lines = [RessourceMois("demandeur", QUARTER[0], N.IJSS_MALADIE, 60_000), *more]
    found = by(LegislationOptions(maladie_selon_versements=True), lines, allocataire(**facts), conjoint())[1]
    assert found == (11_970 if work else 0)


def test_sick_pay_beside_a_wage_of_the_month_can_be_work_income():
    # A wage of 0.01 and sick pay of 600 in July, after sick pay of April: 0.5985 x 600.01 / 3, not 0.5985 x 0.01 / 3.
    sick = [RessourceMois("demandeur", Month(2026, m), N.IJSS_MALADIE, 60_000) for m in (4, 7)]
    options = LegislationOptions(maladie_selon_versements=True)
    wage = [RessourceMois("demandeur", QUARTER[0], N.SALAIRE, 1)]
    assert by(options, [*sick, *wage], allocataire())[1] == 11_970
    # Wages of another month, or of another person, do not.
    assert by(options, [*sick, replace(wage[0], mois=QUARTER[1])], allocataire())[1] == 0
    assert by(options, [*sick, replace(wage[0], personne="conjoint")], allocataire(), conjoint())[1] == 0


def test_the_only_child_who_opens_the_majoration_has_a_higher_limit_under_the_shortcut():
    # 71.216 % of 651.69 is 464.11, 40 % is 260.68. Kept: 1.71216 x 651.69 - 450; left out: 651.69.
    shortcut = LegislationOptions(exclusion_exacte_a_charge=False)
    lines = all_months(45_000, "enfant")
    assert by(shortcut, lines, allocataire(), child(), isolements=ALONE)[0] == 66_580
    assert by(shortcut, all_months(47_000, "enfant"), allocataire(), child(), isolements=ALONE)[0] == 65_169
    # Not when isolation is old, nor with a partner, another child, or a pregnancy (1.28412 x 651.69).
    old = (Isolement(date(2024, 3, 10)),)
    assert by(shortcut, lines, allocataire(), child(), isolements=old)[0] == 65_169
    assert by(shortcut, lines, allocataire(), conjoint(), child(), isolements=ALONE)[0] == 97_754
    both = (allocataire(), child(), replace(child(), personne="cadet"))
    assert by(shortcut, lines, *both, isolements=ALONE)[0] == rounded(Fraction("1.71216") * 65_169)
    expecting = allocataire(grossesse=(*QUARTER, Month(2026, 10), RIGHT))
    assert by(shortcut, lines, expecting, child(), isolements=ALONE)[0] == rounded(Fraction("1.28412") * 65_169)


def test_the_limit_of_forty_per_cent_is_reached_by_a_mean_of_three_months():
    # 40 % of 651.69 is 260.676: 260.67 stays, 260.68 leaves.
    shortcut = LegislationOptions(exclusion_exacte_a_charge=False)
    assert by(shortcut, all_months(26_067, "enfant"), allocataire(), child())[0] == 71_687
    assert by(shortcut, all_months(26_068, "enfant"), allocataire(), child())[0] == 65_169


# The prime to the cent, and the lines that tell it.


def told(lines: list[RessourceMois], *persons: Membre, options: LegislationOptions = LAW) -> dict[str, list[Decimal]]:
    """Amounts of the lines of the prime, by label."""
    steps = engine.explain(Foyer("1", persons), lines, RIGHT, options=options).ppa_steps
    return {label: [s.amount_cents for s in steps if s.label == label] for label in {s.label for s in steps}}


def test_a_prime_of_exactly_fifteen_euros_is_paid():
    # 638.28 + 0.5985 x 200 - (200 + 542.98) = 15.00.
    assert due(each_month(20_000) + each_month(54_298, nature=PENSION), allocataire())[1] == 1_500


def test_a_month_of_less_than_a_cent_counts_in_the_mean():
    # July: 638.28 + 0.5985 x 200.01 - (200.01 + 557.97) = 0.005985; August and September: 0.5985 x 50.01 each.
    wages = [RessourceMois("demandeur", m, N.SALAIRE, c) for m, c in zip(QUARTER, (20_001, 5_001, 5_001), strict=True)]
    lines = [*wages, RessourceMois("demandeur", QUARTER[0], PENSION, 55_797)]
    assert due(lines, allocataire())[1] == rounded(Fraction("0.5985") * 10_003 / 3) == 1_996


def test_one_cent_received_is_told_in_each_line_that_it_moves():
    found = told(each_month(1), allocataire())
    assert found["Ressources de la personne du mois, pour un tiers"] == [Decimal("-0.3333")] * 3
    assert found["Part conservée des revenus professionnels du mois, pour un tiers"] == [Decimal("0.1995")] * 3


def test_a_bonus_of_less_than_a_cent_is_told():
    # 240.63 x 0.01 / 972.49, for a third.
    found = told(each_month(72_630), allocataire())
    assert found["Bonification individuelle du mois, pour un tiers"] == [Decimal("0.0825")] * 3


def test_the_residence_that_isolation_gives_is_that_of_the_last_month():
    # L262-4 2°: isolated until August, the foreigner no longer is in September.
    foreigner = allocataire(sejour_regulier=True, **FOREIGN)
    lines = [RessourceMois("demandeur", QUARTER[0], N.SALAIRE, 40_000)]
    ended = (Isolement(date(2026, 1, 10), date(2026, 8, 20)),)
    assert due(lines, foreigner, child(), isolements=ended) == (0, 0)
    assert due(lines, foreigner, child(), isolements=(Isolement(date(2026, 1, 10)),))[1] == 7_980


def test_the_age_of_the_prime_can_be_read_each_month_and_what_is_closed_is_told():
    # 18 on 15 August 2026: the first of September is the first day of a month at 18. 0.5985 x 400 / 3.
    young, monthly = allocataire(date(2008, 8, 15)), LegislationOptions(age_ppa_par_mois=True)
    assert by(LAW, each_month(40_000), young)[1] == 23_940
    assert by(monthly, each_month(40_000), young)[1] == 7_980
    found = told(each_month(40_000), young, options=monthly)
    assert found["Le droit n'est pas ouvert"] == [Decimal(-7_980)] * 2


def test_sanctions_can_be_left_aside():
    foyer = Foyer("1", (allocataire(),), sanctions=(Sanction(RIGHT, 80),))
    assert engine.compute(foyer, [], RIGHT).rsa_verse_cents == 13_034
    assert engine.compute(foyer, [], RIGHT, options=LegislationOptions(sanctions=False)).rsa_verse_cents == 65_169


# Who is weighed first among dependants whose resources are equal (R262-3): the first brings 0.5, the second 0.3.

MEANS = 25_000
"""Between 0.3 and 0.5 of the base: one of two such dependants is kept."""
KEPT_WITH_ASF = rounded(Fraction("1.5") * 65_169 - MEANS - Fraction("0.225") * 47_816)
KEPT_WITHOUT = rounded(Fraction("1.5") * 65_169 - MEANS)


@pytest.mark.parametrize(
    ("one", "other", "rsa"),
    [
        # The youngest, by the month then by the day, wherever the dossier writes it.
        (child(date(2014, 1, 9)), child(date(2014, 2, 9), droit_asf=Asf.UN_PARENT), KEPT_WITH_ASF),
        (child(date(2014, 1, 9), droit_asf=Asf.UN_PARENT), child(date(2014, 2, 9)), KEPT_WITHOUT),
        (child(date(2014, 1, 9)), child(date(2014, 1, 10), droit_asf=Asf.UN_PARENT), KEPT_WITH_ASF),
        (child(date(2014, 1, 9), droit_asf=Asf.UN_PARENT), child(date(2014, 1, 10)), KEPT_WITHOUT),
        # Born the same day: the one with a right to ASF.
        (child(), child(droit_asf=Asf.UN_PARENT), KEPT_WITH_ASF),
    ],
)
def test_of_two_dependants_with_equal_resources_the_youngest_then_the_one_with_asf_is_kept(
    one: Membre, other: Membre, rsa: int
):
    paid = dict.fromkeys(QUARTER, PrestationsMois(allocation_soutien_familial_cents=40_000))
    both = one, replace(other, personne="cadet")
    lines = each_month(MEANS, "enfant", PENSION) + each_month(MEANS, "cadet", PENSION)
    for persons in (both, both[::-1]):
        assert due(lines, allocataire(), *persons, prestations=paid)[0] == rsa


def test_of_two_dependants_born_the_same_day_the_child_is_weighed_first():
    # The child of two brings the majoration, 0.71216; the other then 0.42804 of 651.69 = 278.95, less than 300.
    born, old = date(2024, 1, 1), (Isolement(date(2020, 1, 1)),)
    young, other = child(born), Membre("autre", Role.AUTRE_A_CHARGE, born)
    lines = each_month(30_000, "enfant", PENSION) + each_month(30_000, "autre", PENSION)
    for persons in ((young, other), (other, young)):
        assert due(lines, allocataire(), *persons, isolements=old)[0] == rounded(Fraction("1.71216") * 65_169 - 30_000)


# The interruption that OpenFisca guesses: paid in the month before the right, not in the month of right.

GUESSED = LegislationOptions(neutralisation_automatique=True)
OCTOBER = Month(2026, 10)


@pytest.mark.parametrize(("october", "november", "rsa"), [(1, 0, 65_169), (0, 0, 35_169), (1, 1, 35_169)])
def test_the_shortcut_sees_an_interruption_by_the_month_before_the_right(october: int, november: int, rsa: int):
    late = [RessourceMois("demandeur", month, N.SALAIRE, c) for month, c in ((OCTOBER, october), (RIGHT, november))]
    assert by(GUESSED, [*each_month(30_000), *late], allocataire())[0] == rsa


def test_under_the_shortcut_one_cent_that_replaces_makes_the_wage_count():
    ended = [*each_month(30_000), RessourceMois("demandeur", OCTOBER, N.SALAIRE, 30_000)]
    assert by(GUESSED, ended, allocataire())[0] == 65_169
    assert by(GUESSED, [*ended, RessourceMois("demandeur", RIGHT, N.CHOMAGE, 1)], allocataire())[0] == 35_169


def test_under_the_shortcut_other_resources_count_beyond_three_times_the_base_once():
    # 3 000.01 in the quarter, 1 000 in October: (3 000.01 - 3 x 651.69) / 3 = 348.3133 a month.
    months = (*QUARTER, OCTOBER)
    lines = [RessourceMois("demandeur", m, N.PENSION_ALIMENTAIRE, 100_000 + (m == QUARTER[0])) for m in months]
    assert by(GUESSED, lines, allocataire())[0] == 30_338
    steps = engine.explain(Foyer("1", (allocataire(),)), lines, RIGHT, options=GUESSED).rsa_steps
    (step,) = (step for step in steps if step.label.startswith("Autres ressources interrompues"))
    assert (step.mois, step.personne, step.amount_cents) == (None, "", Decimal("-34831.3333"))
    # What the dossier holds for certain is not read.
    stopped = (InterruptionCertaine(N.PENSION_ALIMENTAIRE, date(2026, 10, 15)),)
    assert by(GUESSED, lines, allocataire(interruptions=stopped))[0] == 30_338


@pytest.mark.parametrize(("born", "first"), [(date(2001, 8, 1), 76_031), (date(2001, 8, 2), 86_892)])
def test_ages_can_be_read_on_the_first_day_of_the_month(born: date, first: int):
    # 25 in August: à charge in July alone, or in August too when the birthday comes after the first.
    assert by(LAW, [], allocataire(), child(born))[0] == 76_031
    assert by(LegislationOptions(age_au_premier_du_mois=True), [], allocataire(), child(born))[0] == first


def test_the_limit_of_forty_per_cent_is_that_of_the_sum_of_three_months():
    # 782.02 stays below 3 x 260.676, 782.03 does not: 1.5 x 651.69 - 260.6733.
    shortcut = LegislationOptions(exclusion_exacte_a_charge=False)
    for last, rsa in ((26_068, 71_686), (26_069, 65_169)):
        lines = [
            RessourceMois("enfant", Month(2026, month), PENSION, last if month % 3 == 0 else 26_067)
            for month in range(3, 12)
        ]
        assert by(shortcut, lines, allocataire(), child())[0] == rsa


@pytest.mark.parametrize(("pension", "rsa"), [(24_309, 66_854), (24_310, 60_775)])
def test_a_dependant_who_reaches_exactly_forty_per_cent_leaves(pension: int, rsa: int):
    # M = 2023-10, B = 607.75: 40 % is 243.10.
    lines = [RessourceMois("enfant", Month(2023, month), PENSION, pension) for month in range(2, 11)]
    options = LegislationOptions(exclusion_exacte_a_charge=False)
    found = engine.compute(Foyer("1", (allocataire(), child())), lines, Month(2023, 10), options=options)
    assert found.rsa_cents == rsa
