"""Files of cases: the quick reader, the careful one and the table give the same rights, and refuse the same cases."""

import csv
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from solidarite_client.cli import main
from solidarite_server.cases import files as case_files
from solidarite_server.cases import table
from solidarite_server.cases.batch import computed
from solidarite_server.cases.careful import case_from
from solidarite_server.cases.facts import laid_out
from solidarite_server.cases.files import Piece, read_piece, whole_lines
from solidarite_server.cases.jsonl import Reader
from solidarite_server.engine import Case, columns_from
from solidarite_server.legislation import LegislationOptions

from tests.rules.test_oracle import cases

FEW = 400


def as_lines(given: list[Any]) -> bytes:
    return b"\n".join(json.dumps(case).encode() for case in given)


def run(source: Path, target: Path, *more: str) -> int:
    return main(["compute", "--input", str(source), "--output", str(target), *more])


@pytest.mark.parametrize("options", ["law", "openfisca"])
def test_the_quick_reader_lays_out_what_the_careful_one_does(options: str):
    chosen, reader = LegislationOptions.read(options), Reader()
    for case in cases():
        reader.read(json.dumps(case).encode())
    quick = laid_out(reader.facts(), chosen)
    careful = columns_from([Case(f, r, m, m) for f, r, m in map(case_from, cases())], chosen)
    assert quick.lines.tolist() == careful.lines.tolist()
    assert quick.persons.tolist() == careful.persons.tolist()
    for name in set(careful.foyers.dtype.names) - {"group"}:
        assert quick.foyers[name].tolist() == careful.foyers[name].tolist(), name
    assert quick.groups[quick.foyers["group"]].tolist() == careful.groups[careful.foyers["group"]].tolist()


STAYS = [{"depart": "2026-08-10", "retour": "2026-11-11"}, {"depart": "2026-12-03", "retour": None}]


def abroad(mois: str) -> dict[str, Any]:
    case = deepcopy(cases()[0])
    case["entitlement_month"] = mois
    case["household"]["sejours_hors_france"] = STAYS
    return case


def test_a_stay_abroad_is_read_alike_from_every_file(tmp_path: Path):
    # 93 days from August to November 2026: November is lost, October is part of it, December of nothing so long.
    months = ["2026-10", "2026-11", "2027-03"]
    (tmp_path / "in.jsonl").write_bytes(as_lines([abroad(mois) for mois in months]))
    found = []
    for careful in (False, True):
        done = computed(as_lines([abroad(mois) for mois in months]), LegislationOptions(), careful=careful)
        found.append(done.rsa.tolist())
        assert done.errors == {}
    assert (
        main(["cases", "convert", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "in.arrow")]) == 0
    )
    assert run(tmp_path / "in.arrow", tmp_path / "out.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert found[0] == found[1] == [round(row["rsa"] * 100) for row in rows]
    with pa.ipc.open_file(tmp_path / "in.arrow") as file:
        table_read = file.read_all()
    assert table_read["hors_france"].to_pylist() == [93, 93, 119]
    # A table written before this column was there is read as before.
    with pa.ipc.new_file(tmp_path / "old.arrow", table_read.drop_columns(["hors_france"]).schema) as writer:
        writer.write_table(table_read.drop_columns(["hors_france"]))
    assert run(tmp_path / "old.arrow", tmp_path / "old.jsonl") == 0


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 12.345, 1e12, 99_999_999_999.99, float("nan"), "", "x", [], {}, [1], {"a": 1}),
    *("2025-13", "2025-02", "1850-01-01", "20200229", "2024-02-29", "conjoint", "mayotte", ["2025-02"], {"2025": 3}),
)
NAMES = ("etudiant", "grossesse", "date_arret_travail", "livret_a", "benefices_non_salaries", "revenus_locatifs")


def damaged(case: Any, random: Random) -> Any:
    """The case with one value replaced, removed or added somewhere."""
    case = deepcopy(case)
    case.pop("expected", None)
    place: Any = case
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return case
        key = random.choice(keys)
        if isinstance(place[key], (dict, list)) and random.random() < 0.8:
            place = place[key]
            continue
        if random.random() < 0.2 and isinstance(place, dict):
            place.pop(key)
        elif random.random() < 0.2 and "persons" in case and isinstance(place, dict):
            place[random.choice(NAMES)] = random.choice(ODD)
        else:
            place[key] = random.choice(ODD)
        return case


@pytest.mark.parametrize("options", ["law", "openfisca"])
def test_a_damaged_case_is_computed_or_refused_alike_by_both_readers(options: str):
    random = Random(20261125)
    lines = as_lines([damaged(random.choice(cases()), random) for _ in range(3_000)])
    chosen = LegislationOptions.read(options)
    quick = computed(lines, chosen)
    careful = computed(lines, chosen, careful=True)
    assert quick.errors == careful.errors
    assert [str(name) for name in quick.ids] == [str(name) for name in careful.ids]
    assert quick.rsa.tolist() == careful.rsa.tolist()
    assert quick.ppa.tolist() == careful.ppa.tolist()
    assert quick.ppa_nette.tolist() == careful.ppa_nette.tolist()
    assert 500 < len(quick.errors) < 2_500


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with some cases as JSON, and the rights computed of them."""
    folder = tmp_path_factory.mktemp("cases")
    (folder / "in.jsonl").write_bytes(as_lines(cases()[:FEW]))
    assert run(folder / "in.jsonl", folder / "out.jsonl") == 0
    return folder


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
def test_a_table_of_the_same_cases_gives_the_same_rights(files: Path, suffix: str):
    made, out, rights = files / f"in.{suffix}", files / f"{suffix}.jsonl", files / f"out.{suffix}"
    assert main(["cases", "convert", "--input", str(files / "in.jsonl"), "--output", str(made)]) == 0
    assert run(made, out) == 0
    assert out.read_text() == (files / "out.jsonl").read_text()
    assert run(made, rights) == run(files / "in.jsonl", files / f"again.{suffix}") == 0
    read: Callable[[Path], pa.Table] = (
        pq.read_table if suffix == "parquet" else lambda p: pa.ipc.open_file(p).read_all()
    )
    assert read(rights).equals(read(files / f"again.{suffix}"))
    expected = [json.loads(line) for line in out.read_text().splitlines()]
    assert read(rights).to_pylist() == [
        {
            "id": right["id"],
            "rsa_centimes": round(right["rsa"] * 100),
            "ppa_centimes": round(right["ppa"] * 100),
            "ppa_nette_crds_centimes": round(right["ppa_nette_crds"] * 100),
            "erreur": None,
        }
        for right in expected
    ]


def test_odd_but_valid_cases_are_converted_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    odd = deepcopy(cases()[0])
    odd["persons"] = odd["persons"][::-1]
    odd["persons"][0] |= {"etudiant": None, "date_arret_travail": ""}
    odd["household"]["couple"] = 1
    (tmp_path / "in.jsonl").write_bytes(as_lines([odd, {"id": "no"}, cases()[1]]))
    assert main(["cases", "convert", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "c.arrow")]) == 1
    assert "Ligne 2 : entitlement_month" in capsys.readouterr().err
    assert run(tmp_path / "c.arrow", tmp_path / "out.jsonl") == 0
    (tmp_path / "good.jsonl").write_bytes(as_lines(cases()[:2]))
    assert run(tmp_path / "good.jsonl", tmp_path / "good-out.jsonl") == 0
    assert (tmp_path / "out.jsonl").read_text() == (tmp_path / "good-out.jsonl").read_text()


def first(rows: list[Any], name: str) -> Any:
    """The first item of a list of the second row."""
    return rows[1][name][0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda rows: rows[1].update(mois_droit=202513), "mois_droit"),
        (lambda rows: rows[1].update(mois_droit=201001), "mois_droit"),
        (lambda rows: rows[1].update(mois_droit=None), "mois_droit"),
        (lambda rows: rows[1].update(zone="mars"), "zone"),
        (lambda rows: rows[1].update(zone=None), "zone"),
        (lambda rows: rows[1].update(logement="tente"), "logement"),
        (lambda rows: rows[1].update(pilote=None), "pilote"),
        (lambda rows: rows[1].update(isolement_depuis=209901), "isolement_depuis"),
        (lambda rows: rows[1].update(personnes=[]), "personnes"),
        (lambda rows: rows[1].update(personnes=None), "personnes"),
        (lambda rows: rows[1].update(personnes=rows[1]["personnes"] * 41), "personnes"),
        (lambda rows: first(rows, "personnes").update(role="enfant"), "personnes"),
        (lambda rows: first(rows, "personnes").update(role="roi"), "personnes.role"),
        (lambda rows: first(rows, "personnes").update(naissance=None), "personnes.naissance"),
        (lambda rows: first(rows, "personnes").update(naissance=date(1, 1, 1)), "personnes.naissance"),
        (lambda rows: first(rows, "personnes").update(naissance=date(1899, 12, 31)), "personnes.naissance"),
        (lambda rows: first(rows, "personnes").update(arret_travail=date(2099, 1, 1)), "personnes.arret_travail"),
        (lambda rows: first(rows, "personnes").update(titre_sejour_annees=-1), "personnes.titre_sejour_annees"),
        (lambda rows: first(rows, "personnes").update(heures_trois_ans=-1), "personnes.heures_trois_ans"),
        (lambda rows: first(rows, "personnes").update(grossesse=[202500]), "personnes.grossesse"),
        (lambda rows: first(rows, "montants").update(categorie="loterie"), "montants.categorie"),
        (lambda rows: first(rows, "montants").update(personne=40), "montants.personne"),
        (lambda rows: first(rows, "montants").update(periode=2025), "montants.periode"),
        (lambda rows: first(rows, "montants").update(centimes=10**14), "montants.centimes"),
        (lambda rows: first(rows, "montants").update(centimes=None), "montants.centimes"),
    ],
)
def test_a_wrong_row_is_told_by_its_number_and_field_and_the_others_go_on(
    change: Callable[[list[Any]], None], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    reader = Reader()
    ids = [reader.read(json.dumps(case).encode()) for case in cases()[:3]]
    rows = table.cases_of(reader.facts(), ids).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.CASES), tmp_path / "in.parquet", store_schema=False)
    assert run(tmp_path / "in.parquet", tmp_path / "out.jsonl") == 1
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [right["id"] for right in out] == ids
    assert ["error" in right for right in out] == [False, True, False]
    assert f"Ligne 2 : {field}" in capsys.readouterr().err
    (tmp_path / "good.jsonl").write_bytes(as_lines(cases()[:3]))
    assert run(tmp_path / "good.jsonl", tmp_path / "good-out.jsonl") == 0
    good = [json.loads(line) for line in (tmp_path / "good-out.jsonl").read_text().splitlines()]
    assert (out[0], out[2]) == (good[0], good[2])


def test_a_file_that_cannot_be_read_is_told_and_not_traced(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    random = np.random.default_rng(7)
    (tmp_path / "junk.arrow").write_bytes(random.bytes(5_000))
    (tmp_path / "junk.parquet").write_bytes(random.bytes(5_000))
    (tmp_path / "junk.jsonl.gz").write_bytes(random.bytes(5_000))
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "short.parquet")
    renamed = pa.Table.from_pylist([], table.CASES).set_column(1, "mois_droit", pa.array([], pa.string()))
    pq.write_table(renamed, tmp_path / "typed.parquet")
    for name, told in (
        ("junk.arrow", "Arrow ou Parquet"),
        ("junk.parquet", "Arrow ou Parquet"),
        ("junk.jsonl.gz", "abîmé"),
        ("missing.jsonl", "ne se lit pas : fichier introuvable"),
        ("missing.arrow", "fichier introuvable"),
        ("missing.parquet", "fichier introuvable"),
        ("short.parquet", "« mois_droit » manque"),
        ("typed.parquet", "« mois_droit » est de type int32"),
    ):
        assert run(tmp_path / name, tmp_path / "out.jsonl") == 2
        err = capsys.readouterr().err
        assert told in err
        assert "Traceback" not in err
    for name in ("out.jsonl", "out.arrow", "out.parquet"):
        assert run(files / "in.jsonl", tmp_path / "nowhere" / name) == 2
        assert "ne s'écrit pas : fichier introuvable" in capsys.readouterr().err
    assert run(files / "in.jsonl", tmp_path / "out.arrow", "--explain") == 2


def test_the_cases_are_never_overwritten_by_their_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    # A table mapped into memory and cut short under its reader kills the process.
    lines, rows = tmp_path / "in.jsonl", tmp_path / "in.arrow"
    lines.write_bytes(as_lines(cases()[:3]))
    assert main(["cases", "convert", "--input", str(lines), "--output", str(rows)]) == 0
    (tmp_path / "link").symlink_to(tmp_path)
    for source in (lines, rows):
        before = source.read_bytes()
        for target in (source, tmp_path / "link" / source.name):
            assert run(source, target) == 2
            assert "est le fichier des cas" in capsys.readouterr().err
        assert source.read_bytes() == before


def test_several_processes_write_what_one_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good = as_lines(cases())
    (tmp_path / "in.jsonl").write_bytes(b"\n\n".join([good, b"not json", good]) + b"\n\n{}")
    assert (tmp_path / "in.jsonl").stat().st_size > 8 << 20
    assert run(tmp_path / "in.jsonl", tmp_path / "one.jsonl", "--workers", "1") == 1
    told = capsys.readouterr().err
    assert run(tmp_path / "in.jsonl", tmp_path / "two.jsonl", "--workers", "2") == 1
    assert capsys.readouterr().err == told
    assert f"Ligne {len(cases()) + 2} : un objet JSON" in told
    assert f"Ligne {2 * len(cases()) + 5} : entitlement_month" in told
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert (tmp_path / "one.jsonl").read_bytes().count(b"\n") == 2 * len(cases()) + 2


def test_rights_are_written_as_csv_too(files: Path):
    assert run(files / "in.jsonl", files / "out.csv") == 0
    expected = [json.loads(line) for line in (files / "out.jsonl").read_text().splitlines()]
    with (files / "out.csv").open(encoding="utf-8", newline="") as out:
        rows = list(csv.DictReader(out))
    assert [row["id"] for row in rows] == [right["id"] for right in expected]
    for name, column in (
        ("rsa", "rsa_centimes"),
        ("ppa", "ppa_centimes"),
        ("ppa_nette_crds", "ppa_nette_crds_centimes"),
    ):
        assert [int(row[column]) for row in rows] == [round(right[name] * 100) for right in expected]


@pytest.mark.parametrize("name", ["out.txt", "out.json", "out", "out.arrow.gz", "out.csv.gz", "out.xlsx"])
def test_a_name_that_says_no_known_format_is_refused_before_anything_is_written(
    name: str, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(files / "in.jsonl", tmp_path / name) == 2
    assert f"{name} : la terminaison du nom dit le format : .jsonl" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
    # Nor is a file of cases guessed from its content.
    (tmp_path / name).write_bytes((files / "in.jsonl").read_bytes())
    assert run(tmp_path / name, tmp_path / "rights.jsonl") == 2
    assert "la terminaison du nom dit le format" in capsys.readouterr().err


def test_lines_cut_anywhere_are_read_once_each(tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"a\n\nbcd\n" + b"e" * 40 + b"\nf")
    size = source.stat().st_size
    for step in range(1, size + 1):
        pieces = [Piece(source, start, start + step) for start in range(0, size, step)]
        assert b"".join(map(read_piece, pieces)) == source.read_bytes()
        assert b"".join(whole_lines(source, step)) == source.read_bytes()


def test_the_collector_held_while_loading_is_at_work_again_afterwards(tmp_path: Path):
    (tmp_path / "in.jsonl").write_bytes(as_lines(cases()[:3]))
    assert run(tmp_path / "in.jsonl", tmp_path / "out.jsonl") == 0
    assert gc.isenabled()


def test_computing_starts_without_the_other_verbs():
    program = (
        "import sys; from solidarite_client.cli import main; main(['compute', '--help']);"
        "print([name for name in ('solidarite_client.models', 'solidarite_server.settings') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("target", ["rights.jsonl", "rights.arrow", "rights.csv"])
def test_several_processes_write_of_a_table_what_one_does(
    target: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    source = tmp_path / "in.arrow"
    assert main(["cases", "convert", "--input", str(files / "in.jsonl"), "--output", str(source)]) == 0
    with pa.ipc.open_file(source) as file:
        rows = file.read_all().to_pylist()
    rows[FEW // 2]["mois_droit"] = 202513
    with pa.ipc.new_file(source, table.CASES) as writer:
        writer.write_table(pa.Table.from_pylist(rows, table.CASES), max_chunksize=150)
    told = []
    monkeypatch.setattr(case_files, "_ROWS", 60)
    for place, workers in enumerate(("1", "2")):
        monkeypatch.setattr(case_files, "_TABLE_POOL_FROM_BYTES", 0)
        assert run(source, tmp_path / f"{place}{target}", "--workers", workers) == 1
        told.append(capsys.readouterr().err)
    assert told[0] == told[1]
    assert f"Ligne {FEW // 2 + 1} : mois_droit" in told[0]
    if target.endswith(".arrow"):
        one, two = (pa.ipc.open_file(tmp_path / f"{place}{target}").read_all() for place in (0, 1))
        assert one.equals(two)
    else:
        assert (tmp_path / f"0{target}").read_bytes() == (tmp_path / f"1{target}").read_bytes()
