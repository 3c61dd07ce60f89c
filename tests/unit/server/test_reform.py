"""The reform lab: what an overlay may say, and what a reform must do."""

import re

import pytest
from solidarite_server.domain.month import Month
from solidarite_server.legislation import LegislationError, load_legislation
from solidarite_server.simulation import report
from solidarite_server.simulation.overlay import MAX_BYTES, read_overlay
from solidarite_server.simulation.reform import DECILE, FAMILLE, TYPES, MonthRefused, compare

JANUARY = Month(2027, 1)
FOYERS = 10_500
SLOPE = "ppa.pente: 0.62 from 2027-01"


def test_both_ways_to_write_a_change_give_the_same_law():
    short, long = read_overlay(SLOPE), read_overlay("ppa.pente: {2027-01-01: 0.62}")
    assert short.legislation.version == long.legislation.version != load_legislation().version
    assert str(short.legislation.parameter("ppa.pente").at(JANUARY).value) == "31/50"
    assert short.legislation.value("ppa.pente", JANUARY - 1) == load_legislation().value("ppa.pente", JANUARY - 1)


def test_the_unit_may_be_written_when_it_is_the_parameters():
    assert read_overlay("rsa.montant_forfaitaire: 700 EUR/mois from 2027-04").changes[0].text == "700"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ppa.pent: 0.62 from 2027-01", "paramètre inconnu ; peut-être ppa.pente"),
        ("ppa.pente: 0.62", "attendu « valeur from AAAA-MM »"),
        ("ppa.pente: 62 from 2027-01", "un taux va de 0 à 1"),
        ("ppa.pente: 0,62 from 2027-01", "un nombre décimal est attendu"),
        ("ppa.pente: -0.1 from 2027-01", "une valeur négative"),
        ("ppa.pente: 1e-2 from 2027-01", "un nombre décimal est attendu"),
        ("ppa.pente: {2027-01-01: soixante}", "un nombre décimal est attendu"),
        ("ppa.pente: {2027-01-01: [0.6]}", "un nombre décimal est attendu"),
        ("rsa.montant_forfaitaire: 700 taux from 2027-01", "l'unité est « EUR/mois »"),
        ("ppa.pente: 0.62 from 2018-12", "une date d'effet va de 2019-01"),
        ("ppa.pente: 0.62 from 2027-01-15", "le premier jour d'un mois"),
        ("ppa.pente: 0.62 from 2027-13", "le premier jour d'un mois"),
        ("ppa.pente: 0.62 from demain", "le premier jour d'un mois"),
        (f"{SLOPE}\nppa.pente: 0.63 from 2028-01", "une clé est écrite deux fois"),
        ("ppa.pente: {2027-01: 0.6, 2027-01-01: 0.7}", "deux valeurs pour 2027-01"),
        ("ppa.pente: [", "ce n'est pas du YAML"),
        ("- ppa.pente", "une ligne par paramètre"),
        ("0.62", "une ligne par paramètre"),
        ("a: &a [*a]", "ce n'est pas du YAML"),
        ("{" * 2_000, "plus de 100 crochets ou accolades"),
        ("#" * (MAX_BYTES + 1), "la réforme dépasse"),
    ],
)
def test_an_overlay_is_refused_in_french_and_says_what_is_expected(text: str, expected: str):
    with pytest.raises(LegislationError, match=re.escape(expected)):
        read_overlay(text)


def test_no_change_changes_nothing():
    outcome = compare(read_overlay(""), FOYERS, 1, Month(2026, 11))
    assert outcome.cout_annuel_cents == 0
    assert outcome.rsa_before == outcome.rsa_after > 0
    assert all(group.gagnants == group.perdants == group.variation_moyenne_cents == 0 for group in outcome.groups)


def test_a_steeper_slope_costs_and_makes_winners_only():
    outcome = compare(read_overlay(SLOPE), FOYERS, 1, JANUARY)
    assert outcome.ppa_after > outcome.ppa_before
    assert outcome.rsa_after == outcome.rsa_before
    assert outcome.cout_annuel_cents == 12 * (outcome.ppa_after - outcome.ppa_before)
    assert sum(group.perdants for group in outcome.groups) == 0
    steeper = compare(read_overlay("ppa.pente: 0.64 from 2027-01"), FOYERS, 1, JANUARY)
    assert steeper.ppa_after > outcome.ppa_after
    flatter = compare(read_overlay("ppa.pente: 0.58 from 2027-01"), FOYERS, 1, JANUARY)
    assert flatter.ppa_after < flatter.ppa_before
    assert sum(group.gagnants for group in flatter.groups) == 0


def test_a_lower_rsa_saves_makes_losers_and_leaves_the_prime_alone():
    outcome = compare(read_overlay("rsa.montant_forfaitaire: 600 from 2026-11"), FOYERS, 1, Month(2026, 11))
    assert outcome.rsa_after < outcome.rsa_before
    assert outcome.ppa_after == outcome.ppa_before
    assert sum(group.gagnants for group in outcome.groups) == 0
    assert outcome.beneficiaires_after < outcome.beneficiaires_before


def test_groups_of_each_dimension_add_up_to_the_country_and_deciles_rise():
    outcome = compare(read_overlay(SLOPE), FOYERS, 1, JANUARY)
    deciles = [group for group in outcome.groups if group.dimension == DECILE]
    families = [group for group in outcome.groups if group.dimension == FAMILLE]
    assert [group.label for group in deciles] == [f"D{rank}" for rank in range(1, 11)]
    assert [group.label for group in families] == list(TYPES)
    for groups in (deciles, families):
        assert abs(sum(group.cout_annuel_cents for group in groups) - outcome.cout_annuel_cents) < 1_000
    living = [group.niveau_de_vie_cents for group in deciles]
    assert living == sorted(living)
    # The prime is a benefit of modest workers: nothing of it goes to the richest tenth.
    assert deciles[0].gagnants > 0
    assert deciles[9].gagnants < deciles[4].gagnants / 20


def test_the_same_seed_gives_the_same_outcome_with_one_process_or_two():
    overlay = read_overlay(SLOPE)
    assert compare(overlay, FOYERS, 3, JANUARY) == compare(overlay, FOYERS, 3, JANUARY, processes=2)
    assert compare(overlay, 2_000, 4, JANUARY) != compare(overlay, 2_000, 3, JANUARY)


def test_months_go_from_2019_to_the_year_after_the_reform():
    with pytest.raises(MonthRefused, match="de 2019-01 à 2026-12"):
        compare(read_overlay(""), 100, 1, JANUARY)
    with pytest.raises(MonthRefused, match="de 2019-01 à 2027-12"):
        compare(read_overlay(SLOPE), 100, 1, Month(2028, 1))
    with pytest.raises(MonthRefused):
        compare(read_overlay(SLOPE), 100, 1, Month(2018, 12))
    assert compare(read_overlay(SLOPE), 100, 1, Month(2027, 12)).mois_droit == Month(2027, 12)


def test_a_change_that_comes_too_late_for_the_month_is_told():
    outcome = compare(read_overlay("ppa.bonification.taux: 0.45 from 2026-11"), 2_000, 1, Month(2026, 11))
    assert outcome.cout_annuel_cents == 0
    assert "sans effet sur le droit de 2026-11" in outcome.remarks[0]


def test_the_report_is_a_page_in_french_that_shows_the_overlay_and_escapes_it():
    overlay = f"{SLOPE}  # <b>essai</b>"
    page = report.reform_page(compare(read_overlay(overlay), 500, 1, JANUARY), overlay)
    assert page.startswith('<!DOCTYPE html>\n<html lang="fr">')
    assert "&lt;b&gt;essai&lt;/b&gt;" in page
    assert page.count("<svg ") == 4
    assert "Parent isolé, un enfant" in page
