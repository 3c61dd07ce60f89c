"""RPC × identity × credential, cell by cell, on a real TLS server: what is not written here as open is closed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from solidarite.v1 import declaration_pb2, entitlement_pb2, foyer_pb2, resource_record_pb2
from solidarite_client.cli import main
from solidarite_server import authority
from solidarite_server.services.rights import PUBLIC, RIGHTS

from tests.security.conftest import as_agent, as_source
from tests.security.door import (
    ALL_BENEFITS,
    ALL_SCOPES,
    OTHER,
    OTHER_SOURCE,
    OWN,
    SOURCE,
    UNKNOWN,
    Door,
    bearer,
    call,
    forged_tokens,
    methods,
    request_of,
)

# Written apart from the table of the server: who may call, and the scope that it takes.
ACCEPTED = {
    "ResourceRecordService/StreamResourceRecords": ("source", ""),
    "ResourceRecordService/GetIngestionPosition": ("source", ""),
    "ResourceRecordService/ListResourceRecords": ("agent", "records.read"),
    "FoyerService/UpsertFoyer": ("agent", "foyers.write"),
    "FoyerService/StreamFoyers": ("agent", "foyers.write"),
    "FoyerService/GetFoyer": ("agent portail", "foyers.read"),
    "DeclarationService/PrefillDeclaration": ("agent portail", "declarations.read"),
    "DeclarationService/GetDeclaration": ("agent portail", "declarations.read"),
    "DeclarationService/WatchDeclaration": ("agent portail", "declarations.read"),
    "DeclarationService/AmendDeclaration": ("agent portail", "declarations.write"),
    "DeclarationService/SubmitDeclaration": ("agent portail", "declarations.write"),
    "DeclarationService/DecideRectification": ("agent", "declarations.decide"),
    "DeclarationService/ReviseDeclaration": ("agent", "declarations.decide"),
    "EntitlementService/ComputeEntitlements": ("agent portail", "entitlements.compute"),
    "EntitlementService/StreamEntitlements": ("agent portail", "entitlements.compute"),
    "EntitlementService/GetEntitlements": ("agent portail", "entitlements.read"),
    "CampaignService/RunCampaign": ("agent", "campaigns.run"),
    "CampaignService/GetCampaign": ("agent", "campaigns.read"),
    "CampaignService/RunControls": ("agent", "campaigns.run"),
    "SimulationService/GeneratePopulation": ("agent", "simulations.run"),
    "SimulationService/CompareReform": ("agent", "simulations.run"),
    "ServerReflection/ServerReflectionInfo": ("agent portail source", ""),
}
PUBLIC_METHODS = ("Health/Check", "Health/Watch")
MANY_DOSSIERS = {
    "ResourceRecordService/ListResourceRecords", "FoyerService/StreamFoyers", "CampaignService/RunCampaign",
    "CampaignService/GetCampaign", "CampaignService/RunControls",
}  # fmt: skip
BOTH_BENEFITS = {
    "DeclarationService/GetDeclaration", "EntitlementService/StreamEntitlements", "CampaignService/RunCampaign",
    "CampaignService/GetCampaign", "CampaignService/RunControls",
}  # fmt: skip
ONE_DOSSIER = sorted(n for n, m in methods().items() if "numero_allocataire" in m.input_type.fields_by_name)
ASKING = sorted(name for name in methods() if name not in PUBLIC)
SOURCES = [name for name in ASKING if ACCEPTED.get(name.rsplit(".", 1)[1], ("",))[0] == "source"]


def short(name: str) -> str:
    return name.rsplit(".", 1)[1]


def test_every_rpc_of_the_contract_has_its_row_and_no_row_stands_for_nothing():
    assert set(RIGHTS) | set(PUBLIC) == set(methods())
    assert {short(name) for name in RIGHTS} == set(ACCEPTED)
    assert {short(name) for name in PUBLIC} == set(PUBLIC_METHODS)


def admitted(door: Door, name: str, metadata=(), *, certificate: str | None = None, **named: str) -> str:
    """What the door says: `ok`, or why not. Past the door, whatever the handler says of our small request is ok."""
    answer = call(door.channel(certificate), name, request_of(methods()[name], **named), metadata)
    if isinstance(answer, grpc.RpcError) and answer.code() in (
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    ):
        return answer.code().name
    if isinstance(answer, grpc.RpcError):
        assert answer.code() not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE)
    return "ok"


@pytest.mark.parametrize("name", ASKING, ids=short)
@pytest.mark.parametrize("kind", ["agent", "portail", "source"])
def test_an_identity_passes_where_it_is_accepted_and_nowhere_else(name: str, kind: str, door: Door):
    kinds, _ = ACCEPTED[short(name)]
    if kind == "source":
        found = admitted(door, name, certificate=SOURCE)
    else:
        found = admitted(door, name, bearer(door.token(kind=kind, dossier=OWN if kind == "portail" else None)))
    assert found == ("ok" if kind in kinds.split() else "PERMISSION_DENIED")


@pytest.mark.parametrize("name", ASKING, ids=short)
def test_without_an_identity_nothing_passes(name: str, door: Door):
    assert admitted(door, name) == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", PUBLIC_METHODS)
def test_health_answers_everybody(name: str, door: Door):
    assert admitted(door, f"grpc.health.v1.{name}") == "ok"


# effect: token_keys_file, token_issuer, token_audience
@pytest.mark.parametrize("name", ASKING, ids=short)
def test_no_forged_token_passes(name: str, door: Door):
    found = {wrong: admitted(door, name, bearer(token)) for wrong, token in forged_tokens(door).items()}
    assert len(found) == 22
    assert set(found.values()) == {"UNAUTHENTICATED"}, found


@pytest.mark.parametrize("name", ASKING, ids=short)
def test_a_token_without_the_scope_is_refused(name: str, door: Door):
    _, needed = ACCEPTED[short(name)]
    if not needed:
        # No scope opens it: a token passes there by its kind alone, or not at all.
        assert admitted(door, name, bearer(door.token(scope=""))) == (
            "ok" if "agent" in ACCEPTED[short(name)][0] else "PERMISSION_DENIED"
        )
        return
    others = " ".join([scope for scope in ALL_SCOPES if scope != needed] + list(ALL_BENEFITS))
    assert admitted(door, name, bearer(door.token(scope=others))) == "PERMISSION_DENIED"
    # The control: the same token with that one scope passes.
    assert admitted(door, name, bearer(door.token(scope=" ".join([needed, *ALL_BENEFITS])))) == "ok"
    # A longer or shorter name is another scope.
    near = f"{needed}s {needed[:-1]} {needed.upper()} {needed.partition('.')[0]} * {needed}.x"
    assert admitted(door, name, bearer(door.token(scope=near + " " + " ".join(ALL_BENEFITS)))) == "PERMISSION_DENIED"


@pytest.mark.parametrize("name", ASKING, ids=short)
def test_a_token_of_one_dossier_does_not_open_what_speaks_of_many(name: str, door: Door):
    found = admitted(door, name, bearer(door.token(dossier=OWN)))
    closed = name in SOURCES or short(name) in MANY_DOSSIERS
    assert found == ("PERMISSION_DENIED" if closed else "ok")


@pytest.mark.parametrize("benefit", ALL_BENEFITS)
@pytest.mark.parametrize("name", ASKING, ids=short)
def test_a_token_of_one_benefit_does_not_open_what_mixes_both(name: str, benefit: str, door: Door):
    found = admitted(door, name, bearer(door.token(scope=" ".join([*ALL_SCOPES, benefit]))))
    closed = name in SOURCES or short(name) in BOTH_BENEFITS
    assert found == ("PERMISSION_DENIED" if closed else "ok")


@pytest.mark.parametrize("name", ASKING, ids=short)
def test_a_certificate_and_a_token_together_are_refused(name: str, door: Door):
    assert admitted(door, name, bearer(door.token()), certificate=SOURCE) == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", ASKING, ids=short)
def test_two_tokens_or_another_scheme_are_refused(name: str, door: Door):
    good = bearer(door.token())
    for metadata in (good * 2, (("authorization", door.token()),), (("authorization", "Basic YTpi"),), bearer("")):
        assert admitted(door, name, metadata) == "UNAUTHENTICATED"


# Sources: their own data only.


@pytest.mark.parametrize("name", SOURCES, ids=short)
@pytest.mark.parametrize("named", [OTHER_SOURCE, "inconnue", "", "ETOILE", "etoile "])
def test_a_source_reaches_no_other_source(name: str, named: str, door: Door):
    assert admitted(door, name, certificate=SOURCE, source=named) == "PERMISSION_DENIED"


def test_another_source_learns_nothing_of_an_upload_and_cannot_add_to_it(door: Door):
    """Positions, acknowledgements and records of a source: told alike whether they exist or not."""
    name = "solidarite.v1.ResourceRecordService/GetIngestionPosition"
    request = resource_record_pb2.GetIngestionPositionRequest
    found = [
        status_bytes(call(door.channel(OTHER_SOURCE), name, request(source_id=source, upload_id=upload)))
        for source in (SOURCE, "inconnue")
        for upload in ("", "etoile-2026-07.dsn", "inconnu")
    ]
    assert len(set(found)) == 1
    own = call(door.channel(OTHER_SOURCE), name, request(source_id=OTHER_SOURCE, upload_id=""))
    assert own.batch_sequence == 0


def test_the_same_records_of_two_sources_are_two_facts(door: Door, samples: Path):
    """The second source is told that its records are new: it cannot find out by sending them what the first holds."""
    with as_source(door, OTHER_SOURCE) as other:
        summary = other.ingest_file(samples / "dsn" / "etoile-2026-07.dsn", source_id=OTHER_SOURCE)
    assert (summary.accepted, summary.unchanged, summary.refused) == (5, 0, 0)


def test_a_certificate_of_another_authority_does_not_even_finish_its_handshake(door: Door, tmp_path: Path):
    authority.create(tmp_path / "auth", ["127.0.0.1"], tmp_path / "x.db")
    request = request_of(methods()["grpc.health.v1.Health/Check"])
    found = call(door.channel(SOURCE, tmp_path / "auth"), "grpc.health.v1.Health/Check", request)
    assert found.code() is grpc.StatusCode.UNAVAILABLE


# Households: unknown and forbidden look the same.


def status_bytes(error: grpc.RpcError) -> bytes:
    status = rpc_status.from_call(error)
    assert status is not None
    return bytes(status.SerializeToString())


def complete_request(name: str, dossier: str):
    method = methods()[name]
    message = request_of(method, dossier=dossier)
    if "request_id" in method.input_type.fields_by_name:
        message.request_id, message.etag = "demande-1", "1-x"
    if method.name == "AmendDeclaration":
        message.amendments.add().confirmation.SetInParent()
    if method.name == "DecideRectification":
        message.decisions.add(line_id="x", decision=declaration_pb2.DECISION_ACCEPTEE)
    if method.name == "ReviseDeclaration":
        message.cause = declaration_pb2.REVISION_CAUSE_CONTROLE
    return message


@pytest.mark.parametrize("name", ONE_DOSSIER, ids=short)
def test_a_dossier_that_may_not_be_seen_is_answered_as_one_that_does_not_exist(name: str, door: Door):
    bound = bearer(door.token(dossier=OWN))
    forbidden = call(door.channel(), name, complete_request(name, OTHER), bound)
    absent = call(door.channel(), name, complete_request(name, UNKNOWN), bound)
    truly_unknown = call(door.channel(), name, complete_request(name, UNKNOWN), bearer(door.token()))
    assert forbidden.code() is grpc.StatusCode.NOT_FOUND
    assert status_bytes(forbidden) == status_bytes(absent) == status_bytes(truly_unknown)
    # The control: somebody who may see it is not told that.
    seen = call(door.channel(), name, complete_request(name, OTHER), bearer(door.token()))
    assert not (isinstance(seen, grpc.RpcError) and seen.code() is grpc.StatusCode.NOT_FOUND)


def test_an_agent_of_one_dossier_cannot_write_another_one(door: Door, samples: Path):
    with as_agent(door) as agent:
        before = agent.get_foyer(OTHER)
    store, told = door.server._store, set()
    for numero in (OTHER, UNKNOWN):
        message = foyer_pb2.UpsertFoyerRequest(foyer=before.foyer)
        message.foyer.numero_allocataire = numero
        last = store.audit_anchor().number
        found = call(door.channel(), "solidarite.v1.FoyerService/UpsertFoyer", message, bearer(door.token(dossier=OWN)))
        assert found.code() is grpc.StatusCode.PERMISSION_DENIED
        told.add(status_bytes(found))
        # No waiting here: the line is durable when the refusal comes.
        written = [(line.action, line.subject) for line in store.audit_lines(last)]
        assert ("REFUSED_UPSERT_FOYER", numero) in written
    assert len(told) == 1
    with as_agent(door) as agent:
        assert agent.get_foyer(OTHER) == before
    assert store.foyer(UNKNOWN) is None


# Benefits: a token limited to one sees the amounts of that one.


@pytest.fixture
def computed(door: Door) -> Iterator[entitlement_pb2.GetEntitlementsRequest]:
    request = entitlement_pb2.GetEntitlementsRequest(numero_allocataire=OWN, explain=True)
    request.mois_declaration.year, request.mois_declaration.month = 2026, 11
    return request


@pytest.mark.parametrize(("scope", "shown"), [("benefit.rsa", {1}), ("benefit.prime_activite", {2}), ("", set())])
def test_only_the_benefits_of_the_token_are_shown(scope: str, shown: set[int], door: Door, computed):
    name = "solidarite.v1.EntitlementService/GetEntitlements"
    every = call(door.channel(), name, computed, bearer(door.token()))
    assert {b.benefit for month in every.months for b in month.benefits} == {1, 2}
    limited = call(door.channel(), name, computed, bearer(door.token(scope=f"entitlements.read {scope}")))
    assert len(limited.months) == 3
    assert {b.benefit for month in limited.months for b in month.benefits} == shown


def test_an_error_at_the_door_says_what_to_do_in_french_and_repeats_nothing(door: Door):
    name = "solidarite.v1.FoyerService/GetFoyer"
    secret = door.token(iss="ailleurs")
    found = call(door.channel(), name, request_of(methods()[name]), bearer(secret))
    status = rpc_status.from_call(found)
    said = error_details_pb2.LocalizedMessage()
    assert status.details[1].Unpack(said)
    assert (said.locale, said.message) == ("fr", status.message)
    assert "solidarite auth token" in said.message
    assert secret.encode() not in status.SerializeToString()


def test_refused_calls_hold_no_place_on_their_connection(door: Door):
    """A connection has few places: thrice as many refusals, one after the other, are all told, none is pushed back."""
    name = "solidarite.v1.FoyerService/GetFoyer"
    request = request_of(methods()[name], dossier=UNKNOWN)
    gc.disable()
    try:
        found = {call(door.channel(), name, request, bearer(door.token())).code() for _ in range(100)}
        found |= {call(door.channel(), name, request).code() for _ in range(100)}
    finally:
        gc.enable()
    assert found == {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED}


def test_a_source_that_gives_another_name_than_its_certificate_is_told_so_and_leaves_no_copy_of_its_file(
    door: Door, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made = authority.certify_source(door.auth, SOURCE, 1)
    arguments = [
        "ingest", "--server", door.server.address, "--source", OTHER_SOURCE, "--spool", str(tmp_path / "envois"),
        "--tls-ca", str(door.auth / "authority.pem"),
        "--tls-cert", str(made), "--tls-key", str(made.with_suffix(".key")),
    ]  # fmt: skip
    assert main([*arguments, str(samples / "dsn" / "etoile-2026-07.dsn")]) == 1
    told = capsys.readouterr().err
    assert "--source est son nom" in told
    assert "relancez" not in told
    assert list((tmp_path / "envois").iterdir()) == []
