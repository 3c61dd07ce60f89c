"""From dossier to frozen rights through a real server."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from solidarite.v1 import declaration_pb2
from solidarite_client import CallError, Month, NatureRessource, SolidariteClient, add, confirm, rectify, remove
from solidarite_client.cli_foyer import read_dossiers
from solidarite_server.cli_demo import running_server

DEMO = Path(str(files("solidarite_server") / "demo_data"))
AMINA_LUCAS, ZOE, CHIDI = "0000001", "0000002", "0000004"
M = "2026-11"


@pytest.fixture
def filled(client: SolidariteClient, tmp_path: Path) -> SolidariteClient:
    for place, path in enumerate(sorted((DEMO / "dsn").glob("*.dsn"))):
        client.ingest_file(path, source_id="paie", spool_directory=tmp_path / f"spool{place}")
    for dossier in read_dossiers(DEMO / "foyers.json"):
        client.upsert_foyer(dossier)
    return client


def test_the_demo_succeeds_and_says_what_to_try_next():
    done = subprocess.run(
        [sys.executable, "-m", "solidarite_client", "demo"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Tous les montants sont ceux attendus, au centime." in done.stdout
    assert "solidarite serve" in done.stdout


def test_zoe_alone_gets_what_the_calculation_says(filled: SolidariteClient):
    declaration = filled.prefill_declaration(ZOE, M)
    assert [line.montant_retenu_cents for line in declaration.lines] == [64_020, 33_015, 71_087]
    submitted = filled.submit_declaration(ZOE, M, etag=declaration.etag, explain=True)
    rsa, prime = submitted.entitlements[0].benefits
    # 651.69 − 12 % × 651.69 − (640.20 + 330.15 + 710.87) / 3 = 13.08
    assert rsa.montant_cents == 1_308
    # (304.6461 + 197.594775 + 276.272095) / 3 = 259.50, then × 0.995 = 258.21
    assert (prime.montant_cents, prime.montant_net_crds_cents) == (25_950, 25_821)
    for benefit in (rsa, prime):
        assert sum(round(float(step.amount_cents) * 10_000) for step in benefit.steps) == benefit.montant_cents * 10_000


def test_each_prefilled_line_names_the_records_behind_it(filled: SolidariteClient):
    declaration = filled.prefill_declaration(AMINA_LUCAS, M)
    july = next(line for line in declaration.lines if line.personne == "Lucas" and line.mois.month == 7)
    assert july.montant_prerempli_cents == sum(record.montant_net_social_cents for record in july.records) == 111_060
    assert {record.declarant for record in july.records} == {"81234567800013"}


def test_who_could_not_be_prefilled_must_declare_before_anything_is_computed(filled: SolidariteClient):
    declaration = filled.prefill_declaration(CHIDI, M)
    assert {line.status for line in declaration.lines} == {declaration_pb2.LINE_STATUS_A_DECLARER}
    assert "n'est pas certifié" in declaration.persons[0].message_fr
    estimate = filled.get_entitlements(CHIDI, M)
    assert all(b.montant_cents == 0 and "déclarez" in b.motif for b in estimate.months[0].benefits)
    with pytest.raises(CallError, match="déclarez"):
        filled.submit_declaration(CHIDI, M, etag=declaration.etag)
    additions = [add("Chidi", Month.parse(f"2026-0{k}"), NatureRessource.SALAIRE, 70_000) for k in (7, 8, 9)]
    amended = filled.amend_declaration(CHIDI, M, etag=declaration.etag, amendments=additions)
    submitted = filled.submit_declaration(CHIDI, M, etag=amended.etag)
    # 638.28 + 0.5985 × 700 − 700 = 357.23
    assert submitted.entitlements[0].benefits[1].montant_cents == 35_723


def test_a_declaration_is_confirmed_rectified_extended_and_frozen(filled: SolidariteClient):
    declaration = filled.prefill_declaration(ZOE, M)
    line_id = declaration.lines[0].line_id
    amended = filled.amend_declaration(
        ZOE,
        M,
        etag=declaration.etag,
        amendments=[
            confirm(declaration.lines[1].line_id),
            rectify(line_id, 60_000, "BULLETIN-07"),
            add("Zoé", "2026-08", NatureRessource.PENSION_ALIMENTAIRE, 5_000),
        ],
    )
    status = {line.line_id: line.status for line in amended.lines}
    assert status[line_id] == declaration_pb2.LINE_STATUS_RECTIFIE
    assert len(amended.lines) == 4
    submitted = filled.submit_declaration(ZOE, M, etag=amended.etag)
    assert submitted.state == declaration_pb2.DECLARATION_STATE_EN_VERIFICATION
    with pytest.raises(CallError, match="validée"):
        filled.amend_declaration(ZOE, M, etag=submitted.etag, amendments=[remove("Zoé/2026-08/PENSION_ALIMENTAIRE")])


def test_a_rectification_without_justification_is_refused_whole(filled: SolidariteClient):
    declaration = filled.prefill_declaration(ZOE, M)
    with pytest.raises(CallError) as refused:
        filled.amend_declaration(
            ZOE, M, etag=declaration.etag, amendments=[confirm(), rectify(declaration.lines[0].line_id, 1, "")]
        )
    assert refused.value.field == "amendments[1].rectification.justification_reference"
    assert filled.prefill_declaration(ZOE, M).state == declaration_pb2.DECLARATION_STATE_PREREMPLIE


def test_the_same_request_gives_the_same_answer_and_another_body_is_refused(filled: SolidariteClient):
    etag = filled.prefill_declaration(ZOE, M).etag
    first = filled.amend_declaration(ZOE, M, etag=etag, amendments=[confirm()], request_id="r1")
    filled.amend_declaration(
        ZOE, M, etag=first.etag, amendments=[add("Zoé", "2026-08", NatureRessource.PENSION_ALIMENTAIRE, 5_000)]
    )
    again = filled.amend_declaration(ZOE, M, etag=etag, amendments=[confirm()], request_id="r1")
    assert first == again
    with pytest.raises(CallError) as refused:
        filled.amend_declaration(ZOE, M, etag=etag, amendments=[confirm("x")], request_id="r1")
    assert refused.value.reason == "REQUEST_ID_REUSED"


def test_an_old_etag_is_refused(filled: SolidariteClient):
    etag = filled.prefill_declaration(ZOE, M).etag
    filled.amend_declaration(ZOE, M, etag=etag, amendments=[confirm()])
    with pytest.raises(CallError) as refused:
        filled.submit_declaration(ZOE, M, etag=etag)
    assert refused.value.reason == "ETAG_STALE"


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path):
    with running_server(tmp_path) as address, SolidariteClient(address) as client:
        for dossier in read_dossiers(DEMO / "foyers.json"):
            client.upsert_foyer(dossier)
        client.ingest_file(DEMO / "dsn" / "etoile-2026-07.dsn", source_id="paie", spool_directory=tmp_path / "spool")
        submitted = client.submit_declaration(ZOE, M, etag=client.prefill_declaration(ZOE, M).etag)
    with running_server(tmp_path) as address, SolidariteClient(address) as client:
        assert client.prefill_declaration(ZOE, M) == submitted
        assert client.prefill_declaration(AMINA_LUCAS, M).lines


def test_a_read_sees_the_write_whose_token_it_gives(filled: SolidariteClient, tmp_path: Path):
    dossier = read_dossiers(DEMO / "foyers.json")[1]
    token = filled.upsert_foyer(dossier).freshness_token
    assert filled.prefill_declaration(ZOE, M, at_least_as_fresh=token).lines
    with pytest.raises(CallError) as refused:
        filled.prefill_declaration(ZOE, M, at_least_as_fresh="nonsense")
    assert refused.value.field == "at_least_as_fresh"
