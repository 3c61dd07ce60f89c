"""`solidarite legislation`: what a number of the law is in a month, and what changes between two months."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from solidarite_client.cli import main
from solidarite_server.cli_readings import READINGS
from solidarite_server.legislation import LegislationOptions, load_legislation


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["legislation", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_show_gives_the_value_of_the_month_with_its_text(capsys: pytest.CaptureFixture[str]):
    code, out, _ = told(capsys, "show", "rsa.montant_forfaitaire", "--at", "2026-04", "--json")
    assert code == 0
    assert json.loads(out) == [
        {
            "parameter": "rsa.montant_forfaitaire",
            "description": "Montant de base du RSA pour une personne seule",
            "value": "651.69",
            "unit": "EUR/mois",
            "since": "2026-04-01",
            "applies": "month_of_right",
            "source": "Décret 2026-220",
        }
    ]
    code, out, _ = told(capsys, "show", "rsa.montant_forfaitaire", "--at", "2026-03", "--json")
    assert [row["value"] for row in json.loads(out)] == ["646.52"]


def test_show_without_a_parameter_shows_them_all(capsys: pytest.CaptureFixture[str]):
    code, out, _ = told(capsys, "show", "--at", "2019-01", "--json")
    assert code == 0
    assert [row["parameter"] for row in json.loads(out)] == list(load_legislation().paths)
    assert "651.69" in told(capsys, "show", "rsa.montant_forfaitaire", "--at", "2026-11")[1]


def test_diff_shows_what_changes_between_two_months_and_nothing_else(capsys: pytest.CaptureFixture[str]):
    code, out, _ = told(capsys, "diff", "2026-03", "2026-04", "--json")
    assert code == 0
    assert {row["parameter"]: (row["before"], row["after"]) for row in json.loads(out)} == {
        "rsa.montant_forfaitaire": ("646.52", "651.69"),
        "ppa.montant_forfaitaire": ("633.21", "638.28"),
        "ppa.bonification.taux": ("0.29101", "0.377"),
        "ppa.bonification.plafond_heures_smic": ("120", "138"),
        "prestations.bmaf": ("474.37", "478.16"),
    }
    assert json.loads(told(capsys, "diff", "2026-10", "2026-11", "--json")[1]) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "rsa.montant"), "paramètre inconnu"),
        (("show", "montant_forfaitaire"), "rsa.montant_forfaitaire"),
        (("show", "rsa.montant_forfaitaire", "--at", "1995-01"), "aucune valeur"),
        (("diff", "1995-01", "2026-01"), "2019-01"),
    ],
)
def test_a_wrong_question_is_answered_in_french(words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]):
    code, _, err = told(capsys, *words)
    assert code != 0
    assert says in err


@pytest.mark.parametrize("month", ["2026-13", "avril", "2026"])
def test_a_month_that_is_none_is_refused(month: str, capsys: pytest.CaptureFixture[str]):
    code, _, err = told(capsys, "show", "rsa.montant_forfaitaire", "--at", month)
    assert code == 2
    assert "AAAA-MM" in err or "mois" in err


def test_options_shows_every_reading_with_the_one_retained(capsys: pytest.CaptureFixture[str]):
    code, out, _ = told(capsys, "options", "--json")
    assert code == 0
    rows = {row["option"]: row for row in json.loads(out)}
    assert set(rows) == {f.name for f in fields(LegislationOptions)}
    assert (rows["exceptions_ppa"]["doubt"], rows["exceptions_ppa"]["default"], rows["exceptions_ppa"]["others"]) == (
        "D10", "SEPARATION_ET_ISOLEMENT", "AUCUNE",
    )  # fmt: skip
    for row in rows.values():
        chosen = LegislationOptions.read(f"{row['option']}={row['others'].split(', ')[0]}")
        assert chosen.changed() == {row["option"]: row["others"].split(", ")[0]}
    told_oracle = {name: row["openfisca"] for name, row in rows.items() if row["openfisca"]}
    assert told_oracle == LegislationOptions.openfisca().changed()
    assert "exceptions_ppa" in told(capsys, "options")[1]


def test_the_page_of_the_law_names_every_doubt_and_the_option_of_each():
    page = (Path(__file__).parents[2] / "docs" / "legislation.md").read_text("utf-8")
    assert [number for number in range(1, 17) if f"| D{number} " not in page] == []
    assert [name for name, (doubt, _) in READINGS.items() if doubt and f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("loi", "option inconnue"),
        ("law,exceptions_ppa", "peut-être exceptions_ppa"),
        ("exceptions_ppa=aucune", "exceptions_ppa accepte SEPARATION_ET_ISOLEMENT ou AUCUNE"),
        ("crds=false,law", "option inconnue"),
        ("crds=", "crds accepte true ou false"),
    ],
)
def test_a_reading_that_is_none_is_refused_with_what_is_accepted(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    paths = ("--input", str(tmp_path / "cas.jsonl"), "--output", str(tmp_path / "droits.jsonl"))
    assert main(["compute", *paths, "--options", text]) == 2
    assert says in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_reading_is_a_set_of_options_and_some_others():
    assert LegislationOptions.read("") == LegislationOptions.read("law") == LegislationOptions.law()
    assert LegislationOptions.read("openfisca, crds=false") == replace(LegislationOptions.openfisca(), crds=False)
