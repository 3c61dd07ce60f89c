"""`solidarite legislation`: what a number of the law is in a month, and what changes between two months."""

import json

import pytest
from solidarite_client.cli import main
from solidarite_server.legislation import load_legislation


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
