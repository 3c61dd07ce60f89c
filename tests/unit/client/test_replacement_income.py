"""Replacement income comes in as CSV or JSON Lines; an error says line and column, never the value."""

import json
from datetime import date
from pathlib import Path

import pytest
from solidarite_client import FluxSource, Mode, Month, NatureRessource, ResourceRecord, read_file
from solidarite_client.errors import DsnError, TableError
from solidarite_client.files import COLUMNS, read_csv, read_json_lines

from tests.unit.client.dsn_builder import declaration, dsn, net, payment, person

ROW = {
    "nir": "2840575999101",
    "declarant": "FRANCETRAVAIL",
    "nature": "CHOMAGE",
    "date_versement": "2026-08-03",
    "montant_net_social_cents": 91240,
}
DOCS = Path(__file__).parents[3] / "docs" / "fichiers.md"


def lines_file(tmp_path: Path, *rows: dict) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def csv_file(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode(encoding))
    return path


def one(tmp_path: Path, **changes) -> ResourceRecord:
    (record,) = read_json_lines(lines_file(tmp_path, ROW | changes))
    return record


def test_a_row_becomes_a_record(tmp_path):
    record = one(tmp_path)
    assert record.nir == "2840575999101"
    assert record.flux_source is FluxSource.PASRAU
    assert record.nature is NatureRessource.CHOMAGE
    assert record.date_versement == date(2026, 8, 3)
    assert record.mois_rattachement == Month(2026, 8)
    assert record.montant_net_social_cents == 91240
    assert (record.version, record.mode, record.document) == (1, Mode.INITIAL, None)


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_says_the_same_as_json_lines(tmp_path, delimiter, end, mark):
    header = delimiter.join([*ROW, "numero_contrat"])
    text = mark + header + end + delimiter.join([*map(str, ROW.values()), ""]) + end
    assert list(read_csv(csv_file(tmp_path, text))) == [one(tmp_path)]


def test_quoted_cells_and_blank_lines_are_read(tmp_path):
    text = "declarant,nir,nature,date_versement,montant_net_social_cents\n\n" + (
        '"FRANCETRAVAIL","2840575999101","CHOMAGE","2026-08-03","91240"\n'
    )
    assert list(read_csv(csv_file(tmp_path, text))) == [one(tmp_path)]


def test_every_column_is_taken_over(tmp_path):
    record = one(
        tmp_path,
        nir=None,
        ntt="1812345678TMP0001",
        mois_rattachement="2026-07",
        numero_contrat="D-1",
        mode="ANNULATION",
        record_id="0123456789abcdef0123456789abcdef",
        version=3,
        flux_source="TI",
        nature="RETRAITE",
    )
    assert (record.ntt, record.certified) == ("1812345678TMP0001", False)
    assert (str(record.mois_rattachement), record.numero_contrat) == ("2026-07", "D-1")
    assert (record.mode, record.version, record.flux_source) == (Mode.ANNULATION, 3, FluxSource.TI)
    assert record.record_id == bytes.fromhex("0123456789abcdef" * 2)


def test_a_provisional_number_is_not_certified(tmp_path):
    record = one(tmp_path, nir="7840575999101")
    assert (record.certified, record.ntt) == (False, "7840575999101")


def test_the_identifier_comes_from_the_natural_key_and_not_from_the_person_amount_or_version(tmp_path):
    same = {
        one(tmp_path, **c).record_id
        for c in ({}, {"nir": "1901175999102"}, {"montant_net_social_cents": 1}, {"version": 2})
    }
    assert len(same) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"declarant": "CNAV"}, {"numero_contrat": "X"}, {"nature": "RETRAITE"}, {"date_versement": "2026-08-04"},
        {"mois_rattachement": "2026-07"},
    ],
    ids=str,
)  # fmt: skip
def test_another_natural_key_is_another_record(tmp_path, change):
    assert one(tmp_path, **change).record_id != one(tmp_path).record_id


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("nir", "SECRET9182"), ("nir", ""), ("nir", None), ("ntt", "1812345678TMP0001"), ("declarant", "8" * 15),
        ("nature", "AAH"), ("nature", "SALARE"), ("nature", 12345), ("date_versement", "03/08/2026"),
        ("date_versement", "1989-01-01"), ("montant_net_social_cents", "912,40"), ("montant_net_social_cents", 1.5),
        ("montant_net_social_cents", 10**14), ("mois_rattachement", "08-2026"), ("mode", "AUTRE"),
        ("mode", "DIFFERENTIEL"), ("record_id", "abc"), ("version", 0), ("flux_source", "X"),
    ],
)  # fmt: skip
def test_a_bad_cell_is_refused_at_its_line_and_column_without_being_repeated(tmp_path, column, value):
    with pytest.raises(TableError) as caught:
        list(read_json_lines(lines_file(tmp_path, ROW, ROW | {column: value})))
    expected = {"ntt": "nir", "mode": "record_id"} if value in ("1812345678TMP0001", "DIFFERENTIEL") else {}
    assert (caught.value.line, caught.value.column) == (2, expected.get(column, column))
    assert f"ligne 2, colonne {caught.value.column} : attendu" in str(caught.value)
    assert str(value) not in str(caught.value) or len(str(value)) < 4 or value in ("DIFFERENTIEL", "AAH")


def test_a_difference_needs_an_identifier_of_its_own(tmp_path):
    record = one(tmp_path, mode="DIFFERENTIEL", record_id="00" * 16, montant_net_social_cents=-500)
    assert (record.mode, record.montant_net_social_cents) == (Mode.DIFFERENTIEL, -500)


@pytest.mark.parametrize("line", ["{", "[1]", "1", '"x"', "nir;ntt"])
def test_a_line_that_is_no_json_object_is_refused(tmp_path, line):
    path = lines_file(tmp_path, ROW)
    path.write_text(path.read_text() + "\n" + line)
    with pytest.raises(TableError, match="ligne 2 : attendu : un objet JSON"):
        list(read_json_lines(path))


def test_an_unknown_column_lists_the_known_ones(tmp_path):
    with pytest.raises(TableError, match=r"colonne inconnue.*montant_net_social_cents"):
        list(read_json_lines(lines_file(tmp_path, ROW | {"montant": 1})))
    with pytest.raises(TableError, match="ligne 1 : colonne inconnue"):
        list(read_csv(csv_file(tmp_path, "nir,montant\n")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nir,nature\n", "ligne 1, colonne declarant : colonne obligatoire"),
        ("", "ligne 1 : colonne inconnue"),
        (",".join([*ROW, "nir"]) + "\n", "ligne 1 : une colonne est en double"),
        (",".join(ROW) + "\n1,2\n", "ligne 2 : attendu : 5 cellules"),
        (",".join(ROW) + '\n"1,2\n', "guillemets"),
    ],
)
def test_a_csv_of_the_wrong_shape_is_refused(tmp_path, text, message):
    with pytest.raises(TableError, match=message):
        list(read_csv(csv_file(tmp_path, text)))


def test_the_line_of_an_error_counts_the_header_and_blank_lines(tmp_path):
    header, good = ",".join(ROW), ",".join(map(str, ROW.values()))
    with pytest.raises(TableError) as caught:
        list(read_csv(csv_file(tmp_path, f"{header}\n{good}\n\n{good}9.5\n")))
    assert caught.value.line == 4


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named(tmp_path, encoding):
    text = ",".join(ROW) + "\n" + ",".join([*map(str, ROW.values())]).replace("CHOMAGE", "CHÔMAGE") + "\n"
    with pytest.raises(TableError, match="UTF-8"):
        list(read_csv(csv_file(tmp_path, text, encoding)))


def test_a_line_without_end_is_not_read_into_memory(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{" * 1_000_000)
    with pytest.raises(TableError, match="moins de"):
        list(read_json_lines(path))


def test_a_broken_file_yields_nothing_at_all(tmp_path):
    path = lines_file(tmp_path, *[ROW] * 50, {"nir": 1})
    with pytest.raises(TableError, match="ligne 51"):
        next(read_file(path))


@pytest.mark.parametrize("name", ["a.dsn", "a.DSN", "a.edi", "a.txt", "a"])
def test_a_dsn_is_recognised_by_name_or_content(tmp_path, name):
    (tmp_path / name).write_bytes(dsn(declaration(person(payment(net())))))
    assert len(list(read_file(tmp_path / name))) == 2


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.ndjson", "rows.txt"])
def test_json_lines_are_recognised_by_name_or_content(tmp_path, name):
    lines_file(tmp_path, ROW).rename(tmp_path / name)
    assert len(list(read_file(tmp_path / name))) == 1


def test_what_is_meant_to_be_a_dsn_gets_the_errors_of_a_dsn(tmp_path):
    (tmp_path / "a.dsn").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DsnError):
        list(read_file(tmp_path / "a.dsn"))


def test_an_unknown_format_says_which_are_known(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(TableError, match=r"\.dsn, \.csv ou \.jsonl"):
        list(read_file(tmp_path / "a.bin"))


def test_the_documentation_names_every_column():
    text = DOCS.read_text(encoding="utf-8")
    assert [column for column in COLUMNS if f"`{column}`" not in text] == []


def test_the_example_of_the_documentation_is_read(tmp_path):
    text = DOCS.read_text(encoding="utf-8")
    for language, name in (("csv", "a.csv"), ("jsonl", "a.jsonl")):
        example = text.split(f"```{language}\n")[1].split("```")[0]
        (tmp_path / name).write_text(example, encoding="utf-8")
        assert len(list(read_file(tmp_path / name))) >= 2
