"""The published truth of the sample payroll files holds through a real server."""

import json
import random
from pathlib import Path

import pytest
from solidarite_client import FileError, SolidariteClient
from solidarite_server.cli_demo import running_server

DSN = Path(__file__).parents[2] / "data" / "dsn"
TRUTH = json.loads((DSN / "truth.json").read_text("utf-8"))
FIRST = [f"{employer}-2026-{month:02d}.dsn" for employer in ("etoile", "opale") for month in (7, 8, 9)]
REPLACED = [*FIRST, "etoile-2026-08-annule-et-remplace.dsn"]
CORRECTED = [*REPLACED, "etoile-2026-10-avec-corrections.dsn", "opale-2026-10-neant.dsn"]
STAGES = {
    "three_monthly_files_of_each_employer": FIRST,
    "then_annule_et_remplace_of_august": REPLACED,
    "then_october_with_corrections": CORRECTED,
}


def held(client: SolidariteClient) -> dict[str, dict[str, int]]:
    months = ("2026-07", "2026-08", "2026-09", "2026-10")
    out = {}
    for name, person in TRUTH["persons"].items():
        if person["nir13"]:
            listed = client.list_resource_records(nir=person["nir13"])
            amounts = {f"{m.mois.year}-{m.mois.month:02d}": m.montant_net_social_cents for m in listed}
            out[name] = {month: amounts.get(month, 0) for month in months}
    return out


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_holds_whatever_the_order_and_with_every_file_sent_twice(stage: str, seed: int, tmp_path: Path):
    files = STAGES[stage] * 2
    random.Random(seed).shuffle(files)
    with running_server(tmp_path) as address, SolidariteClient(address) as client:
        for place, name in enumerate(files):
            # A spool of its own each time: the second sending is a new upload, not a resumed one.
            client.ingest_file(DSN / name, source_id="paie", spool_directory=tmp_path / f"spool{place}")
        assert held(client) == TRUTH["stages"][stage], f"order {files}"


def test_sending_a_file_again_leaves_everything_unchanged(client: SolidariteClient, tmp_path: Path):
    first = client.ingest_file(DSN / FIRST[0], source_id="paie", spool_directory=tmp_path / "a")
    again = client.ingest_file(DSN / FIRST[0], source_id="paie", spool_directory=tmp_path / "b")
    assert (first.accepted, first.unchanged) == (first.records, 0)
    assert (again.accepted, again.replaced, again.unchanged) == (0, 0, first.records)


def test_a_person_without_a_certified_nir_is_kept_apart(client: SolidariteClient, tmp_path: Path):
    client.ingest_file(DSN / FIRST[0], source_id="paie", spool_directory=tmp_path / "a")
    (month,) = client.list_resource_records(ntt=TRUTH["persons"]["sans_nir"]["ntt"])
    assert month.montant_net_social_cents == 70_000
    assert not month.records[0].certified


def cut_in_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def with_a_wrong_line(data: bytes) -> bytes:
    return data.replace(b"S21.G00.50.001,'31072026'", b"S21.G00.50.001;31072026", 1)


def in_utf_16(data: bytes) -> bytes:
    return data.decode("latin-1").encode("utf-16")


def random_bytes(data: bytes) -> bytes:
    return random.Random(1).randbytes(len(data))


@pytest.mark.parametrize("damage", [cut_in_half, with_a_wrong_line, in_utf_16, random_bytes])
def test_a_broken_file_gives_a_clear_error_and_changes_nothing(damage, client: SolidariteClient, tmp_path: Path):
    broken = tmp_path / "broken.dsn"
    broken.write_bytes(damage((DSN / FIRST[0]).read_bytes()))
    before = client.get_ingestion_position("paie", "").freshness_token
    with pytest.raises(FileError) as refused:
        client.ingest_file(broken, source_id="paie", spool_directory=tmp_path / "spool")
    assert "ligne" in str(refused.value)
    assert client.get_ingestion_position("paie", "").freshness_token == before
    assert held(client) == {name: dict.fromkeys(months, 0) for name, months in held(client).items()}
