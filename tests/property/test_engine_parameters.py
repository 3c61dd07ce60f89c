"""The numbers of the law, typed twice, and what changes on the day one of them changes."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from solidarite_server import engine
from solidarite_server.domain.foyer import DroitAsf as Asf
from solidarite_server.domain.foyer import (
    Foyer,
    Isolement,
    Logement,
    Membre,
    PeriodeStatut,
    PrestationsMois,
    RessourceMois,
    Role,
    Statut,
    StatutLogement,
    Zone,
)
from solidarite_server.domain.month import Month, months_between
from solidarite_server.domain.nature import NatureRessource as N
from solidarite_server.legislation.loader import load_legislation

from tests import reference
from tests.reference import params

EVERY_MONTH = tuple(months_between(Month(2019, 1), Month(2026, 11)))

WITH_QUARTERS = tuple(months_between(Month(2018, 9), Month(2026, 11)))
"""The months of right and the reference months of the first of them."""

DATED_PATHS = {
    "rsa.base": "rsa.montant_forfaitaire",
    "ppa.base": "ppa.montant_forfaitaire",
    "ppa.pente": "ppa.pente",
    "ppa.bonus.rate": "ppa.bonification.taux",
    "ppa.bonus.top_hours": "ppa.bonification.plafond_heures_smic",
    "smic": "smic.horaire_brut",
    "smic.mayotte": "mayotte.smic_horaire_brut",
    "livret_a": "capital.livret_a",
    "bmaf": "prestations.bmaf",
}

CONSTANTS = {
    "capital.bati": "0.5",
    "capital.epargne": "0.03",
    "capital.terrain": "0.8",
    "echelle.deuxieme_personne": "0.5",
    "echelle.personne_supplementaire": "0.3",
    "echelle.troisieme_enfant": "0.4",
    "forfait_logement.une_personne": "0.12",
    "forfait_logement.deux_personnes": "0.16",
    "forfait_logement.trois_personnes": "0.165",
    "foyer.age_a_charge": "25",
    "isolement.age_enfant": "3",
    "isolement.base": "1.28412",
    "isolement.delai_demande_mois": "6",
    "isolement.duree_mois": "12",
    "isolement.par_enfant": "0.42804",
    "mayotte.bonification_plafond_heures_smic": "60",
    "mayotte.bonification_plancher_heures_smic": "29.5",
    "mayotte.etudiant_heures_smic": "46.48",
    "mayotte.part_base": "0.5",
    "mayotte.quatrieme_enfant": "0.1",
    "non_salaries.abattement_agricole": "0.87",
    "non_salaries.abattement_bnc": "0.34",
    "non_salaries.abattement_services_bic": "0.5",
    "non_salaries.abattement_vente": "0.71",
    "ppa.aah_heures_smic": "29",
    "ppa.age_minimum": "18",
    "ppa.bonification.plancher_heures_smic": "59",
    "ppa.crds": "0.005",
    "ppa.etudiant.heures_smic": "169",
    "ppa.etudiant.part_smic": "0.55",
    "ppa.mois_maladie_professionnels": "3",
    "ppa.seuil_versement": "15",
    "prestations.asf_deux_parents": "0.3",
    "prestations.asf_un_parent": "0.225",
    "prestations.cf_majore": "0.4165",
    "prestations.paje_mois_isole": "3",
    "rsa.age_minimum": "25",
    "rsa.jeune_actif.age_minimum": "18",
    "rsa.jeune_actif.heures": "3214",
    "rsa.seuil_versement": "6",
    "rsa.titre_sejour_annees": "5",
}

MARRIED = Membre("conjoint", Role.CONJOINT, date(1985, 1, 1))


def single(**facts: object) -> Membre:
    return Membre("demandeur", Role.ALLOCATAIRE, date(1980, 1, 1), **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(DATED_PATHS))
def test_a_dated_number_is_the_one_typed_from_the_texts_in_every_month(name: str):
    legislation = load_legislation()
    differing = [
        str(month) for month in EVERY_MONTH if legislation.value(DATED_PATHS[name], month) != params.value(name, month)
    ]
    assert differing == []


@pytest.mark.parametrize("path", list(CONSTANTS))
def test_a_constant_number_is_the_one_typed_from_the_texts_in_every_month(path: str):
    legislation = load_legislation()
    assert {legislation.value(path, month) for month in EVERY_MONTH} == {Fraction(CONSTANTS[path])}


def changes(name: str) -> list[Month]:
    return [since for since, _ in params.DATED[name] if EVERY_MONTH[0] < since <= EVERY_MONTH[-1]]


@pytest.mark.parametrize("change", changes("rsa.base"), ids=str)
def test_the_base_of_the_rsa_changes_with_the_month_of_right(change: Month):
    for month in (change - 1, change, change + 1):
        due = engine.compute(Foyer("1", (single(),)), [], month).rsa_cents
        assert due == params.cents("rsa.base", month)


PANEL = {
    "a bonus on its way": ((single(),), 95_000, {}),
    "a full bonus": ((single(),), 165_000, {}),
    "a couple beside the prime's base": ((single(), MARRIED), 120_000, {}),
    "a student at the floor": (
        (single(statuts=(PeriodeStatut(Statut.ETUDIANT, date(2018, 1, 1)),)),),
        102_000,
        {},
    ),
    "an owner": ((single(), MARRIED), 30_000, {"logements": (Logement(Month(2015, 1), StatutLogement.PROPRIETAIRE),)}),
    "Mayotte": ((single(),), 45_000, {"zone": Zone.MAYOTTE}),
}


def over_every_month(amount: int, nature: N = N.SALAIRE) -> list[RessourceMois]:
    return [
        RessourceMois("demandeur", month, nature, amount) for month in months_between(Month(2018, 9), Month(2026, 12))
    ]


@pytest.mark.parametrize("name", list(PANEL))
def test_each_household_of_a_panel_agrees_in_every_month_since_2019(name: str):
    persons, wage, facts = PANEL[name]
    household = Foyer("1", persons, **facts)  # type: ignore[arg-type]
    lines = over_every_month(wage)
    computed = engine.compute_many([(household, lines, month) for month in EVERY_MONTH])
    for month, right in zip(EVERY_MONTH, computed, strict=True):
        expected = reference.compute(household, lines, month)
        assert (str(month), right.rsa_cents, right.ppa_cents) == (str(month), expected.rsa_cents, expected.ppa_cents)


@pytest.mark.parametrize("change", changes("smic"), ids=str)
def test_the_smic_changes_with_the_month_of_earnings(change: Month):
    # 29 hours of the new SMIC make AAH work income; the month before, the old SMIC would have been enough.
    new, old = (29 * params.cents("smic", month) for month in (change, change - 1))
    assert old < new
    wage = int(old) + 1

    def prime(earned: Month) -> int:
        lines = [RessourceMois("demandeur", earned, N.SALAIRE, wage), RessourceMois("demandeur", earned, N.AAH, 90_000)]
        return engine.compute(Foyer("1", (single(),)), lines, earned + 3).ppa_cents

    assert prime(change - 1) > prime(change)


@pytest.mark.parametrize("change", changes("bmaf"), ids=str)
def test_the_cap_of_the_asf_changes_with_the_month_of_right(change: Month):
    for month in (change - 1, change):
        household = Foyer(
            "1",
            (single(), Membre("enfant", Role.ENFANT, date(2010, 1, 1), droit_asf=Asf.DEUX_PARENTS)),
            prestations={m: PrestationsMois(allocation_soutien_familial_cents=30_000) for m in WITH_QUARTERS},
        )
        due = engine.compute(household, [], month).rsa_cents
        exact = Fraction(3, 2) * params.cents("rsa.base", month) - Fraction("0.3") * params.cents("bmaf", month)
        assert due == int(exact + Fraction(1, 2))


# Thresholds, at one cent below, on the spot, and one cent above; rights of November 2026.

NOVEMBER_2026 = Month(2026, 11)
QUARTER = (Month(2026, 7), Month(2026, 8), Month(2026, 9))


def wages(*amounts: int, nature: N = N.SALAIRE, who: str = "demandeur") -> list[RessourceMois]:
    values = amounts * 3 if len(amounts) == 1 else amounts
    return [RessourceMois(who, month, nature, amount) for month, amount in zip(QUARTER, values, strict=True)]


def due(lines: list[RessourceMois], *persons: Membre, **facts: object) -> reference.Result:
    household = Foyer("1", persons or (single(),), **facts)  # type: ignore[arg-type]
    computed = engine.compute(household, lines, NOVEMBER_2026)
    expected = reference.compute(household, lines, NOVEMBER_2026)
    assert (computed.rsa_cents, computed.ppa_cents) == (expected.rsa_cents, expected.ppa_cents)
    return expected


@pytest.mark.parametrize(("pension", "rsa"), [(64_570, 0), (64_569, 600), (64_568, 601)])
def test_the_rsa_is_paid_from_six_euros(pension: int, rsa: int):
    assert due(wages(pension, nature=N.RETRAITE)).rsa_cents == rsa


@pytest.mark.parametrize(("last", "ppa"), [(2506, 0), (2507, 1500), (2508, 1500), (2512, 1501)])
def test_the_prime_is_paid_from_fifteen_euros(last: int, ppa: int):
    # 0.5985 x (25.06 + 25.06 + last) / 3: 14.998, 15.0004, 15.0024, 15.0104.
    assert due(wages(2506, 2506, last)).ppa_cents == ppa


@pytest.mark.parametrize(("wage", "work"), [(35_698, False), (35_699, True), (35_700, True)])
def test_aah_is_work_income_from_29_hours_of_smic(wage: int, work: bool):
    prime = due(wages(wage) + wages(60_000, nature=N.AAH)).ppa_cents
    assert (prime > 25_000) is work


@pytest.mark.parametrize(("wage", "open_right"), [(114_420, False), (114_421, False), (114_422, True)])
def test_a_student_must_earn_more_than_the_floor_in_the_lowest_month(wage: int, open_right: bool):
    student = single(statuts=(PeriodeStatut(Statut.ETUDIANT, date(2024, 9, 1)),))
    assert (due(wages(120_000, wage, 120_000), student).ppa_cents > 0) is open_right


@pytest.mark.parametrize("wage", [72_628, 72_629, 72_630, 169_877, 169_878, 169_879])
def test_the_bonus_begins_and_tops_out_to_the_cent(wage: int):
    smic = 1231
    bonus = 24_063 * min(max(Fraction(wage - 59 * smic, 79 * smic), Fraction(0)), Fraction(1))
    exact = 63_828 + Fraction("0.5985") * wage + bonus - max(wage, 63_828)
    assert due(wages(wage)).ppa_cents == int(exact + Fraction(1, 2))


@pytest.mark.parametrize(("aid", "rsa"), [(7_819, 57_350), (7_820, 57_349), (7_821, 57_349), (30_000, 57_349)])
def test_the_housing_benefit_counts_up_to_the_flat_rate(aid: int, rsa: int):
    assert due([], aide_logement=dict.fromkeys(QUARTER, aid)).rsa_cents == rsa


@pytest.mark.parametrize(("pension", "rsa"), [(32_583, 65_171), (32_584, 65_170), (32_585, 65_169), (90_000, 65_169)])
def test_a_dependant_leaves_with_resources_that_reach_the_increase_brought(pension: int, rsa: int):
    # 0.5 x 651.69 = 325.845: at 325.84 the child still counts, at 325.85 not.
    child = Membre("enfant", Role.ENFANT, date(2012, 1, 1))
    assert due(wages(pension, nature=N.RETRAITE, who="enfant"), single(), child).rsa_cents == rsa


@pytest.mark.parametrize(("born", "rsa"), [(date(2001, 11, 2), 0), (date(2001, 11, 1), 65_169)])
def test_the_rsa_opens_at_twenty_five_on_the_first_day_of_the_month(born: date, rsa: int):
    assert due([], Membre("demandeur", Role.ALLOCATAIRE, born)).rsa_cents == rsa


@pytest.mark.parametrize(("hours", "rsa"), [(3_213, 0), (3_214, 65_169)])
def test_a_young_worker_needs_two_years_of_work(hours: int, rsa: int):
    young = Membre("demandeur", Role.ALLOCATAIRE, date(2004, 1, 1), heures_travail_trois_ans=hours)
    assert due([], young).rsa_cents == rsa


@pytest.mark.parametrize(("began", "months"), [(date(2025, 7, 31), 0), (date(2025, 8, 1), 1), (date(2025, 10, 31), 3)])
def test_the_majoration_lasts_the_month_of_the_event_and_eleven_more(began: date, months: int):
    child = Membre("enfant", Role.ENFANT, date(2012, 1, 1))
    rsa = due([], single(), child, isolements=(Isolement(began),)).rsa_cents
    exact = 65_169 * (months * Fraction("1.71216") + (3 - months) * Fraction("1.5")) / 3
    assert rsa == int(exact + Fraction(1, 2))
