"""A malformed case is refused by line and field; the others are computed, in order."""

import gzip
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from solidarite_client.cli import main

from tests.rules.test_oracle import CASES

GOOD = json.loads(gzip.decompress(CASES.read_bytes()).splitlines()[0])


def changed(*path: Any, to: Any) -> str:
    case = deepcopy(GOOD)
    place = case
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return json.dumps(case)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (json.dumps({name: value for name, value in GOOD.items() if name != "household"}), "household"),
        (changed("household", to=None), "household"),
        (changed("household", "zone", to="mars"), "household.zone"),
        (changed("household", "logement", "statut", to=["x"]), "household.logement.statut"),
        (changed("entitlement_month", to="2025-13"), "entitlement_month"),
        (changed("entitlement_month", to="2010-01"), "entitlement_month"),
        (changed("persons", to=[]), "persons"),
        (changed("persons", 0, "role", to={}), "persons[0].role"),
        (changed("persons", 0, "grossesse", to=5), "persons[0].grossesse"),
        (changed("persons", 0, "date_naissance", to="1700-01-01"), "persons[0].date_naissance"),
        (changed("persons", 0, "duree_titre_sejour_annees", to=-1), "persons[0].duree_titre_sejour_annees"),
        (changed("persons", 0, "livret_a", to=True), "persons[0].livret_a"),
        (changed("persons", 0, "ressources", "lottery", to={}), "persons[0].ressources.lottery"),
        (changed("persons", 0, "ressources", "salaire", "2025-01", to=float("nan")), "salaire.2025-01"),
        (changed("persons", 0, "ressources", "salaire", "2025-01", to=1e12), "salaire.2025-01"),
        (changed("household", "sejours_hors_france", to={}), "household.sejours_hors_france"),
        (changed("household", "sejours_hors_france", to=[{"retour": "2025-01-01"}]), "sejours_hors_france[0].depart"),
        (
            changed("household", "sejours_hors_france", to=[{"depart": "2025-02-01", "retour": "2025-02-01"}]),
            "sejours_hors_france[0].retour",
        ),
        ("not json", "JSON"),
        ("[]", "cas"),
    ],
)
def test_a_malformed_case_is_told_by_line_and_field_and_the_others_go_on(
    line: str, field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "in.jsonl").write_text("\n".join([json.dumps(GOOD), line, json.dumps(GOOD)]), "utf-8")
    code = main(["compute", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")])
    out = [json.loads(text) for text in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert code == 1
    assert [("error" in result) for result in out] == [False, True, False]
    assert out[0] == out[2] == {"id": GOOD["id"], "rsa": 248.26, "ppa": 293.73, "ppa_nette_crds": 292.26}
    told = capsys.readouterr().err
    assert "Ligne 2" in told
    assert field in told


def test_a_file_of_good_cases_ends_well_and_explains_when_asked(tmp_path: Path):
    (tmp_path / "in.jsonl").write_text(json.dumps(GOOD), "utf-8")
    target = tmp_path / "out.jsonl.gz"
    assert main(["compute", "--input", str(tmp_path / "in.jsonl"), "--output", str(target), "--explain"]) == 0
    (result,) = [json.loads(line) for line in gzip.decompress(target.read_bytes()).splitlines()]
    assert round(sum(float(step["amount"]) for step in result["steps"]["rsa"]), 4) == 248.26


def test_a_reading_of_the_law_is_chosen_option_by_option(tmp_path: Path):
    (tmp_path / "in.jsonl").write_text(json.dumps(GOOD), "utf-8")
    found = []
    for options in ("law", "law,crds=false"):
        target = tmp_path / "out.jsonl"
        assert (
            main(["compute", "--input", str(tmp_path / "in.jsonl"), "--output", str(target), "--options", options]) == 0
        )
        found.append(json.loads(target.read_text("utf-8"))["ppa_nette_crds"])
    assert found == [292.26, 293.73]
