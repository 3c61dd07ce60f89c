"""The worked examples of the law, with the calculation written out, held against the engine and the second opinion.

Unless said otherwise: rights of November 2026 on July, August and September 2026, B = 651.69, BP = 638.28,
slope 0.5985, largest bonus 240.63 between 59 and 138 SMIC hours (726.29 and 1 698.78).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

import pytest
from solidarite_server import engine
from solidarite_server.domain.foyer import (
    DroitAsf,
    Foyer,
    InterruptionCertaine,
    Isolement,
    Logement,
    Membre,
    PeriodeStatut,
    PrestationsMois,
    RessourceMois,
    Role,
    Statut,
    StatutLogement,
)
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource as N
from solidarite_server.legislation.options import LegislationOptions, ParamDate

from tests import reference

NOVEMBER_2026 = Month(2026, 11)
LONG_AGO = Month(2015, 1)


class Rights(Protocol):
    rsa_cents: int
    ppa_cents: int
    ppa_nette_crds_cents: int


Opinion = Callable[..., Rights]


@pytest.fixture(params=["engine", "reference"])
def compute(request: pytest.FixtureRequest) -> Opinion:
    return {"engine": engine.compute, "reference": reference.compute}[request.param]


def cents(euros: str | int) -> int:
    return int(Decimal(euros) * 100)


def adult(name: str = "demandeur", role: Role = Role.ALLOCATAIRE, **facts: Any) -> Membre:
    return Membre(personne=name, role=role, date_naissance=facts.pop("born", date(1996, 3, 15)), **facts)


def conjoint(**facts: Any) -> Membre:
    return adult("conjoint", Role.CONJOINT, **facts)


def child(age: int, **facts: Any) -> Membre:
    return Membre(f"enfant de {age} ans", Role.ENFANT, date(2026 - age, 1, 20), **facts)


def months(first: str = "2026-07") -> list[Month]:
    start = Month.parse(first)
    return [start, start + 1, start + 2]


def foyer(*membres: Membre, al: str = "0", status: StatutLogement = StatutLogement.LOCATAIRE, **facts: Any) -> Foyer:
    return Foyer(
        "0000001",
        membres,
        logements=(Logement(LONG_AGO, status),),
        aide_logement={month: cents(al) for month in months()},
        **facts,
    )


def received(
    *amounts: str | int, first: str = "2026-07", who: str = "demandeur", nature: N = N.SALAIRE
) -> list[RessourceMois]:
    """One amount repeated over the quarter, or three amounts, in euros."""
    values = amounts * 3 if len(amounts) == 1 else amounts
    return [
        RessourceMois(who, month, nature, cents(amount)) for month, amount in zip(months(first), values, strict=True)
    ]


def each_month(**benefits: int) -> dict[Month, PrestationsMois]:
    return {month: PrestationsMois(**benefits) for month in months()}


def assert_due(rights: Rights, *, rsa: str, ppa: str) -> None:
    assert (rights.rsa_cents, rights.ppa_cents) == (cents(rsa), cents(ppa))


def test_example_1_a_single_tenant_without_income_receives_the_base_less_the_housing_flat_rate(compute: Opinion):
    # Housing: min(250, 12 % x 651.69 = 78.2028). RSA = 651.69 - 78.2028 = 573.4872.
    assert_due(compute(foyer(adult(), al="250"), [], NOVEMBER_2026), rsa="573.49", ppa="0")


def test_example_2_a_full_time_minimum_wage_opens_the_prime_alone(compute: Opinion):
    # bonus = 240.63 x (1 478 - 726.29) / 972.49 = 186.0009; P = 638.28 + 884.583 + 186.0009 - 1 478 = 230.8639.
    rights = compute(foyer(adult()), received(1478), NOVEMBER_2026)
    assert_due(rights, rsa="0", ppa="230.86")
    # 230.8639 x 0.995 = 229.7096.
    assert rights.ppa_nette_crds_cents == cents("229.71")


def test_example_3_part_time_below_the_bonus(compute: Opinion):
    # R = 600 + 76.5936 = 676.5936 > 638.28; P = 638.28 + 359.10 - 676.5936 = 320.7864. RSA < 0.
    assert_due(compute(foyer(adult(), al="180"), received(600), NOVEMBER_2026), rsa="0", ppa="320.79")


def test_example_4_a_couple_at_work_with_two_children(compute: Opinion):
    # MF = 2.1 x 638.28 = 1 340.388; bonuses 141.9570 + 42.9824; slope 0.5985 x 2 200 = 1 316.70;
    # R = 2 200 + 153.01. PPA = 1 340.388 + 1 316.70 + 184.9394 - 2 353.01 = 489.0174.
    household = foyer(
        adult(), conjoint(), child(5), child(8), prestations=each_month(allocations_familiales_base_cents=15301)
    )
    lines = received(1300) + received(900, who="conjoint")
    assert_due(compute(household, lines, NOVEMBER_2026), rsa="0", ppa="489.02")


def test_example_5_an_isolated_parent_of_a_toddler(compute: Opinion):
    # 1.71216 x 651.69 = 1 115.7976; housing 16 % x 977.535 = 156.4056; ASF counted 22.5 % x 478.16 = 107.586.
    # RSA = 851.806.
    household = foyer(
        adult(),
        child(2, droit_asf=DroitAsf.UN_PARENT),
        al="350",
        isolements=(Isolement(date(2024, 5, 1)),),
        prestations=each_month(allocation_soutien_familial_cents=20178),
    )
    assert_due(compute(household, [], NOVEMBER_2026), rsa="851.81", ppa="0")


def test_example_6_irregular_wages_open_both_rights(compute: Opinion):
    # RSA = 651.69 - 60 - 450 = 141.69.
    # PPA: 239.40; 0; 638.28 + 568.575 + 55.3542 - 1 010 = 252.2092; mean 163.8697.
    assert_due(compute(foyer(adult(), al="60"), received(400, 0, 950), NOVEMBER_2026), rsa="141.69", ppa="163.87")


def test_example_7_one_earner_and_three_children(compute: Opinion):
    # MF = 2.5 x 638.28 = 1 595.70; slope 658.35; bonus 92.4697; R = 1 100 + 548.21 + 189.5692 = 1 837.7792.
    household = foyer(
        adult(),
        conjoint(),
        child(6),
        child(8),
        child(10),
        al="400",
        prestations=each_month(allocations_familiales_base_cents=34906, complement_familial_cents=19915),
    )
    assert_due(compute(household, received(1100), NOVEMBER_2026), rsa="0", ppa="508.74")


@pytest.mark.parametrize(("wage", "ppa"), [(900, "0"), (1200, "273.69")])
def test_example_8_a_student_needs_more_than_the_floor_in_each_month(compute: Opinion, wage: int, ppa: str):
    # Floor: 55 % x 169 x 12.31 = 1 144.2145. At 1 200: bonus 117.2134, P = 638.28 + 718.20 + 117.2134 - 1 200.
    student = adult(born=date(2005, 2, 1), statuts=(PeriodeStatut(Statut.ETUDIANT, date(2024, 9, 1)),))
    assert_due(compute(foyer(student), received(wage), NOVEMBER_2026), rsa="0", ppa=ppa)


def test_example_9_aah_is_work_income_beside_enough_work(compute: Opinion):
    # 700 >= 29 x 12.31 = 356.99: work income 1 200, as in example 8.
    household = foyer(adult(), ressources_connues=tuple(received(500, nature=N.AAH)))
    assert_due(compute(household, received(700), NOVEMBER_2026), rsa="0", ppa="273.69")


def test_example_10_a_self_employed_person_counts_a_twelfth_of_the_last_profit(compute: Opinion):
    # 9 600 / 12 = 800; bonus 18.2386; P = 638.28 + 478.80 + 18.2386 - 800 = 335.3186.
    household = foyer(adult(benefices_annuels={2025: cents(9600)}))
    assert_due(compute(household, [], NOVEMBER_2026), rsa="0", ppa="335.32")


def test_example_11_a_negative_month_counts_for_nothing(compute: Opinion):
    # RSA = 651.69 - (900 + 0 + 900) / 3 = 51.69. PPA: (319.9123 + 0 + 319.9123) / 3 = 213.2749.
    assert_due(compute(foyer(adult()), received(900, -120, 900), NOVEMBER_2026), rsa="51.69", ppa="213.27")


def test_example_12_a_wage_that_ended_for_certain_no_longer_counts_for_the_rsa(compute: Opinion):
    # RSA: the wage is left out whole. PPA months: 227.4745, 227.4745, 0; mean 151.6497.
    stopped = adult(interruptions=(InterruptionCertaine(N.SALAIRE, date(2026, 9, 1)),))
    assert_due(compute(foyer(stopped), received(1500, 1500, 0), NOVEMBER_2026), rsa="651.69", ppa="151.65")


def test_example_13_a_child_counts_from_the_month_of_birth(compute: Opinion):
    # July 977.535; August and September 1 173.042; mean 1 107.873.
    born = Membre("enfant", Role.ENFANT, date(2026, 8, 20))
    assert_due(compute(foyer(adult(), conjoint(), born), [], NOVEMBER_2026), rsa="1107.87", ppa="0")


def test_example_14_each_number_is_dated_by_its_own_text(compute: Opinion):
    # BP 638.28 and slope by month of right; bonus rate 0.29101 by month of earnings, 185.75 at most, reached in each
    # month (tops 1 425.60 and 1 442.40). P = 638.28 + 0.5985 x 1 500 + 185.75 - 1 500 = 221.78.
    lines = received(1500, first="2025-12")
    assert_due(compute(foyer(adult()), lines, Month(2026, 4)), rsa="0", ppa="221.78")


@pytest.mark.parametrize(
    ("dating", "ppa"),
    [
        # bonus 240.63 x (1 500 - 709.18) / (1 658.76 - 709.18) = 200.40; P = 638.28 + 897.75 + 200.40 - 1 500.
        (ParamDate.DROIT, "236.43"),
        # BP 633.21, bonus 184.27: P = 633.21 + 897.75 + 184.27 - 1 500.
        (ParamDate.REFERENCE, "215.23"),
    ],
)
def test_example_14_one_reading_of_the_dates_can_be_forced(dating: ParamDate, ppa: str):
    options = replace(LegislationOptions(), param_date=dating)
    lines = received(1500, first="2025-12")
    assert_due(engine.compute(foyer(adult()), lines, Month(2026, 4), options=options), rsa="0", ppa=ppa)


def test_example_15_the_first_examination_under_the_reform_takes_the_lower_mean(compute: Opinion):
    # Means 533.33 over three months, 350 over the last two. RSA = 635.71 - 350 = 285.71.
    # PPA (622.63, 0.61, 181.19): 321.4055, 305.00, 122.00; mean 249.4685.
    household = foyer(adult(), premier_examen_reforme=True)
    lines = received(900, 500, 200, first="2024-11")
    assert_due(compute(household, lines, Month(2025, 3)), rsa="285.71", ppa="249.47")
    # Without the clause: 635.71 - 533.33 = 102.38.
    later = replace(household, premier_examen_reforme=False)
    assert compute(later, lines, Month(2025, 3)).rsa_cents == cents("102.38")


def test_an_owner_without_income_bears_the_whole_housing_flat_rate(compute: Opinion):
    owner = foyer(adult(), status=StatutLogement.PROPRIETAIRE)
    assert_due(compute(owner, [], NOVEMBER_2026), rsa="573.49", ppa="0")


def test_an_owner_who_receives_a_housing_aid_bears_it_within_the_flat_rate(compute: Opinion):
    # R262-9 speaks of the owner without aid; 651.69 - min(50, 78.2028).
    owner = foyer(adult(), status=StatutLogement.PROPRIETAIRE, al="50")
    assert_due(compute(owner, [], NOVEMBER_2026), rsa="601.69", ppa="0")
    # Nothing of the kind is said of who is housed for free.
    housed = foyer(adult(), status=StatutLogement.HEBERGE_GRATUIT, al="50")
    assert_due(compute(housed, [], NOVEMBER_2026), rsa="573.49", ppa="0")
    # The prime: 638.28 + 0.5985 x 900 + 42.982 - (900 + 50) = 269.912.
    assert compute(owner, received(900), NOVEMBER_2026).ppa_cents == cents("269.91")


def test_unemployment_beside_a_wage_counts_whole_for_the_prime(compute: Opinion):
    # 638.28 + 299.25 - (800 + 76.5936) = 60.9364.
    lines = received(500) + received(300, nature=N.CHOMAGE)
    assert_due(compute(foyer(adult(), al="200"), lines, NOVEMBER_2026), rsa="0", ppa="60.94")


def test_sick_pay_of_a_stoppage_older_than_three_months_is_not_work_income(compute: Opinion):
    ill = foyer(adult(date_arret_travail=date(2026, 1, 10)))
    assert compute(ill, received(500, nature=N.IJSS_MALADIE), NOVEMBER_2026).ppa_cents == 0


# Published scales are rounded in several ways, hence two cents of tolerance.
PUBLISHED_RSA = [
    ("2024-06", 1, 0, "635.71"),
    ("2024-06", 2, 0, "953.56"),
    ("2026-11", 1, 0, "651.69"),
    ("2026-11", 1, 1, "977.54"),
    ("2026-11", 1, 2, "1173.05"),
    ("2026-11", 1, 3, "1433.72"),
    ("2026-11", 1, 4, "1694.40"),
    ("2026-11", 2, 0, "977.54"),
    ("2026-11", 2, 1, "1173.05"),
    ("2026-11", 2, 2, "1368.55"),
    ("2026-11", 2, 3, "1629.23"),
    ("2026-11", 2, 4, "1889.90"),
]


def family(adults: int, children: int) -> list[Membre]:
    return [adult(), conjoint()][:adults] + [child(4 + rank) for rank in range(children)]


@pytest.mark.parametrize(("month", "adults", "children", "published"), PUBLISHED_RSA)
def test_the_published_scale_of_the_rsa(compute: Opinion, month: str, adults: int, children: int, published: str):
    rights = compute(foyer(*family(adults, children)), [], Month.parse(month))
    assert abs(rights.rsa_cents - cents(published)) <= 2


@pytest.mark.parametrize(("children", "published"), [(0, "836.848"), (1, "1115.798"), (2, "1394.747"), (3, "1673.696")])
def test_the_published_scale_of_the_majored_rsa(compute: Opinion, children: int, published: str):
    alone = adult(grossesse=tuple(months()) if not children else ())
    household = foyer(alone, *family(1, children)[1:], isolements=(Isolement(date(2026, 6, 1)),))
    assert abs(compute(household, [], NOVEMBER_2026).rsa_cents - float(published) * 100) <= 2


PUBLISHED_PPA = [
    ("2023-06", 2, 0, "892.88"),
    ("2024-06", 2, 0, "933.95"),
    ("2026-11", 1, 0, "638.28"),
    ("2026-11", 1, 1, "957.42"),
    ("2026-11", 1, 2, "1148.90"),
    ("2026-11", 1, 3, "1404.22"),
    ("2026-11", 1, 4, "1659.53"),
    ("2026-11", 2, 0, "957.42"),
    ("2026-11", 2, 1, "1148.90"),
    ("2026-11", 2, 2, "1340.39"),
    ("2026-11", 2, 3, "1595.70"),
    ("2026-11", 2, 4, "1851.01"),
]


@pytest.mark.parametrize(("month", "adults", "children", "published"), PUBLISHED_PPA)
def test_the_published_scale_of_the_prime(compute: Opinion, month: str, adults: int, children: int, published: str):
    # With a wage of 100 and a pension that brings resources R just above the flat amount, P = MF + p x 100 - R.
    right = Month.parse(month)
    first = str(right - (4 if right.year == 2026 else 3))
    whole = int(Decimal(published)) + 1
    lines = received(100, first=first) + received(whole - 100, first=first, nature=N.RETRAITE)
    slope = "59.85" if right.year == 2026 else "61"
    prime = compute(foyer(*family(adults, children)), lines, right).ppa_cents
    assert abs(prime - cents(slope) + whole * 100 - cents(published)) <= 2


@pytest.mark.parametrize(
    ("adults", "children", "rsa", "ppa"),
    [(1, 0, "78.20", "76.59"), (2, 0, "156.41", "153.19"), (2, 1, "193.55", "189.57")],
)
def test_the_published_housing_flat_rates(compute: Opinion, adults: int, children: int, rsa: str, ppa: str):
    tenant = foyer(*family(adults, children))
    owner = foyer(*family(adults, children), status=StatutLogement.PROPRIETAIRE)
    lines: Sequence[RessourceMois] = []
    taken = compute(tenant, lines, NOVEMBER_2026).rsa_cents - compute(owner, lines, NOVEMBER_2026).rsa_cents
    assert abs(taken - cents(rsa)) <= 2
    lines = received(1300) + (received(1300, who="conjoint") if adults == 2 else [])
    taken = compute(tenant, lines, NOVEMBER_2026).ppa_cents - compute(owner, lines, NOVEMBER_2026).ppa_cents
    assert abs(taken - cents(ppa)) <= 2
