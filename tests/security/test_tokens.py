"""Tokens, their keys and the commands that make them: what is accepted to the second, and what is said when refused."""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from joserfc import jws
from solidarite.v1 import declaration_pb2, declaration_pb2_grpc, foyer_pb2, foyer_pb2_grpc
from solidarite_client import NatureRessource, add
from solidarite_client.cli import main
from solidarite_client.cli_foyer import read_dossiers
from solidarite_server import authority
from solidarite_server.bootstrap import SettingsError, start_server
from solidarite_server.domain.errors import Unauthenticated
from solidarite_server.domain.identity import BenefitScope, Kind, Scope
from solidarite_server.services.rights import RIGHTS
from solidarite_server.services.tokens import (
    KeySetError,
    TokenRules,
    TokenVerifier,
    key_set_bytes,
    new_signing_key,
    read_private_keys,
    read_public_keys,
)
from solidarite_server.settings import Settings
from structlog.testing import capture_logs

from tests.integration.server.served import MovedClock
from tests.integration.stores.records import HandClock
from tests.security.conftest import as_agent
from tests.security.door import SOURCE, Door, bearer, call, claims, methods, request_of, running_door, sign_claims

START = 1_800_000_000
RULES = TokenRules(authority.ISSUER, authority.AUDIENCE, leeway_seconds=30, lifetime_seconds=3_600)
KEY = new_signing_key("k1")


class Verified:
    """A verifier at an instant that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.json"
        self.file.write_bytes(key_set_bytes([KEY], private=False))
        self.clock = HandClock()
        self.verifier = TokenVerifier(self.file, RULES, self.clock)

    def at(self, seconds: int, **changes: object) -> bool:
        """Whether a token is accepted that many seconds after the start."""
        self.clock.us = (START + seconds) * 1_000_000
        said = {**claims(iat=START, nbf=START, exp=START + 600), **changes}
        try:
            self.verifier.identity(sign_claims(KEY, {k: v for k, v in said.items() if v is not None}))
        except Unauthenticated:
            return False
        return True


@pytest.fixture
def verified(tmp_path: Path) -> Verified:
    return Verified(tmp_path)


# effect: token_leeway_seconds
@pytest.mark.parametrize(
    ("seconds", "accepted"), [(-31, False), (-30, True), (0, True), (600, True), (630, True), (631, False)]
)
def test_hours_hold_to_the_second_with_the_difference_of_clocks(seconds: int, accepted: bool, verified: Verified):
    assert verified.at(seconds) is accepted


def test_a_token_seen_before_still_ends_at_its_hour(verified: Verified):
    token = sign_claims(KEY, claims(iat=START, nbf=START, exp=START + 600))
    verified.clock.us = START * 1_000_000
    identity = verified.verifier.identity(token)
    assert verified.verifier.identity(token) is identity
    verified.clock.us = (START + 631) * 1_000_000
    with pytest.raises(Unauthenticated, match="expiré"):
        verified.verifier.identity(token)


# effect: token_lifetime_seconds
@pytest.mark.parametrize(("lifetime", "accepted"), [(3_600, True), (3_601, False), (0, False)])
def test_a_token_lives_no_longer_than_the_settings_say(lifetime: int, accepted: bool, verified: Verified):
    assert verified.at(0, exp=START + lifetime) is accepted


def test_an_identity_is_what_the_token_says(verified: Verified):
    verified.clock.us = START * 1_000_000
    said = claims(
        iat=START, nbf=START, exp=START + 60, kind="portail", sub="monportail", dossier="0000001",
        scope="foyers.read benefit.rsa inconnu", purpose="suivi", aud=["autre", authority.AUDIENCE],
    )  # fmt: skip
    identity = verified.verifier.identity(sign_claims(KEY, said))
    assert (identity.kind, identity.actor, identity.dossier) == (Kind.PORTAIL, "portail:monportail", "0000001")
    assert identity.scopes == {Scope.FOYERS_READ}
    assert identity.benefits == {BenefitScope.RSA}
    assert identity.purpose == "suivi"


@pytest.mark.parametrize("claim", ["sub", "dossier", "purpose"])
def test_a_token_that_would_write_a_nir_into_the_trail_is_refused(claim: str, verified: Verified):
    assert verified.at(0, kind="agent", **{claim: "guichet 2550814"})
    assert not verified.at(0, kind="agent", **{claim: "dossier de 2550814168025"})
    assert not verified.at(0, kind="agent", **{claim: "2 55 08 14 168 025 38"})


def test_a_token_too_deep_to_be_read_is_refused_as_any_other(verified: Verified):
    """Whoever holds a signing key is trusted to name identities, not to give the log something to say."""
    deep = jws.serialize_compact({"alg": "ES256", "kid": "k1"}, b"[" * 1_200 + b"]" * 1_200, KEY)
    with pytest.raises(Unauthenticated):
        verified.verifier.identity(deep)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b'{"keys": []}', b'{"keys": [1]}', key_set_bytes([KEY], private=True),
        json.dumps({"keys": [{"kty": "oct", "k": "eA", "kid": "a", "alg": "HS256"}]}).encode(),
        json.dumps({"keys": [{"kty": "EC", "kid": "a", "alg": "ES256"}]}).encode(),
        json.dumps({"keys": [{"kty": "EC", "alg": "ES256"}]}).encode(),
        key_set_bytes([KEY, new_signing_key(str(KEY.kid))], private=False),
    ],
)  # fmt: skip
def test_a_file_that_is_no_set_of_public_keys_is_refused_in_french(content: bytes, tmp_path: Path):
    (tmp_path / "k.json").write_bytes(content)
    with pytest.raises(KeySetError, match="clé"):
        read_public_keys(tmp_path / "k.json")


def test_keys_change_while_the_server_runs(tmp_path: Path):
    name = "solidarite.v1.EntitlementService/ComputeEntitlements"

    def code(door: Door, token: str) -> grpc.StatusCode:
        return call(door.channel(), name, request_of(methods()[name]), bearer(token)).code()

    def after_rotation(door: Door, token: str, expected: grpc.StatusCode) -> None:
        deadline = time.monotonic() + 20
        while code(door, token) is not expected:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    refused, passed = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT
    with running_door(tmp_path) as door:
        old = door.token()
        assert code(door, old) is passed
        assert main(["auth", "keys", "rotate", "--dir", str(door.auth)]) == 0
        after_rotation(door, door.token(), passed)
        assert code(door, old) is passed
        # Half-written: the keys held go on serving.
        whole = (door.auth / authority.PUBLIC_KEYS).read_bytes()
        (door.auth / authority.PUBLIC_KEYS).write_bytes(whole[:40])
        with capture_logs() as told:
            time.sleep(1.2)  # longer than the server waits between two looks at the file
            assert code(door, door.token()) is passed
        assert [line["event"] for line in told].count("token_keys_refused") == 1
        (door.auth / authority.PUBLIC_KEYS).write_bytes(whole)
        assert main(["auth", "keys", "rotate", "--dir", str(door.auth), "--keep", "0"]) == 0
        after_rotation(door, old, refused)
        after_rotation(door, door.token(), passed)


def test_a_credential_that_ends_opens_nothing_more_where_it_was_in_use(tmp_path: Path, samples: Path):
    """A stream asks who sends, and who is told, at each message; a connection, at each call."""
    clock = MovedClock(datetime.now(UTC))

    def of_now() -> dict[str, int]:
        start = clock.now_us() // 1_000_000
        return {"iat": start, "nbf": start, "exp": start + 600}

    foyer, *_ = read_dossiers(samples / "foyers.json")
    numero, position = foyer.numero_allocataire, "solidarite.v1.ResourceRecordService/GetIngestionPosition"
    with running_door(tmp_path, clock) as door:
        with as_agent(door, **of_now()) as agent:
            agent.upsert_foyer(foyer)
        token = bearer(door.token(**of_now()))
        watch = declaration_pb2.WatchDeclarationRequest(numero_allocataire=numero)
        watch.mois_declaration.year, watch.mois_declaration.month = 2026, 11
        stub = declaration_pb2_grpc.DeclarationServiceStub(door.channel())
        watched = stub.WatchDeclaration(watch, metadata=token, timeout=60)
        assert next(watched).etag
        sent: queue.SimpleQueue[foyer_pb2.StreamFoyersRequest | None] = queue.SimpleQueue()
        foyers = foyer_pb2_grpc.FoyerServiceStub(door.channel())
        streamed = foyers.StreamFoyers(iter(sent.get, None), metadata=token, timeout=60)
        sent.put(foyer_pb2.StreamFoyersRequest(batch_sequence=1, foyers=[foyer]))
        assert next(streamed).batch_sequence == 1
        assert not isinstance(call(door.channel(SOURCE), position, request_of(methods()[position])), grpc.RpcError)

        clock.now += timedelta(days=2)
        del foyer.prestations[:]
        sent.put(foyer_pb2.StreamFoyersRequest(batch_sequence=2, foyers=[foyer]))
        assert refused(lambda: next(streamed)) is grpc.StatusCode.UNAUTHENTICATED
        sent.put(None)
        with as_agent(door, **of_now()) as agent:
            assert agent.get_foyer(numero).foyer.prestations
            seen = agent.prefill_declaration(numero, "2026-11")
            salary = add("Amina", "2026-07", NatureRessource.SALAIRE, 100_00)
            agent.amend_declaration(numero, "2026-11", etag=seen.etag, amendments=[salary])  # it is to be told
        assert refused(lambda: next(watched)) is grpc.StatusCode.UNAUTHENTICATED
        assert "expiré" in call(door.channel(SOURCE), position, request_of(methods()[position])).details()


def refused(act: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as error:
        act()
    return error.value.code()


def test_the_newest_key_signs_and_the_oldest_are_dropped(tmp_path: Path):
    authority.create(tmp_path / "a", ["localhost"], tmp_path / "x.db")
    first = str(read_private_keys(tmp_path / "a" / authority.PRIVATE_KEYS)[0].kid)
    second, dropped = authority.rotate_token_keys(tmp_path / "a", 1)
    assert dropped == []
    third, dropped = authority.rotate_token_keys(tmp_path / "a", 1)
    assert dropped == [first]
    assert list(read_public_keys(tmp_path / "a" / authority.PUBLIC_KEYS)) == [third, second]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["init", "A"], 1, "existe déjà"),
        (["init", "B", "--host", "localhost", "--host", "hé té"], 1, "nom de domaine"),
        (["init", "B", "--host", "x" * 65], 1, "nom de domaine"),
        (["cert", "é té", "--dir", "A"], 1, "se nomme"),
        (["cert", "x" * 65, "--dir", "A"], 1, "se nomme"),
        (["cert", "../ailleurs", "--dir", "A"], 1, "se nomme"),
        (["cert", "etoile", "--dir", "NULLE-PART"], 1, "NULLE-PART/sources : fichier introuvable"),
        (["token", "--dir", "A"], 2, "--dossier"),
        (["token", "--dir", "A", "--kind", "source", "--dossier", "1"], 2, "portail ou agent"),
        (["token", "--dir", "A", "--dossier", "1", "--scope", "tout"], 2, "droit inconnu"),
        (["token", "--dir", "A", "--dossier", "1", "--scope", "records.write"], 2, "droit inconnu"),
        (["token", "--dir", "A", "--dossier", "1\n2"], 2, "64 caractères"),
        (["token", "--dir", "A", "--dossier", "1", "--purpose", "vu par 2550814168025"], 2, "pas de NIR"),
        (["token", "--dir", "NULLE-PART", "--dossier", "1"], 1, "ne peut pas être lu"),
        (["keys", "rotate", "--dir", "NULLE-PART"], 1, "ne peut pas être lu"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_is_expected(
    arguments: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    authority.create(tmp_path / "A", ["localhost"], tmp_path / "x.db")
    before = sorted(tmp_path.rglob("*"))
    assert main(["auth", *arguments]) == code
    assert said in capsys.readouterr().err
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] in ([], [tmp_path / "A" / "sources"])


def test_a_token_made_for_a_dossier_may_do_all_that_a_portal_may(tmp_path: Path):
    authority.create(tmp_path / "a", ["localhost"], tmp_path / "x.db")
    assert main(["auth", "token", "--dir", str(tmp_path / "a"), "--dossier", "1", "--output", str(tmp_path / "t")]) == 0
    body = (tmp_path / "t").read_text().split(".")[1]
    held = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["scope"].split()
    wanted = {right.scope.value for right in RIGHTS.values() if Kind.PORTAIL in right.kinds and right.scope}
    assert wanted <= set(held)


async def _refusal(settings: Settings) -> str:
    with pytest.raises(SettingsError) as refused:
        await start_server(settings)
    return str(refused.value)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:50051"])
def test_beyond_this_machine_a_server_without_identities_does_not_start(address: str, tmp_path: Path):
    settings = Settings(listen=address, store=f"sqlite:///{tmp_path / 'x.db'}", allow_plaintext=True)
    assert "auth init" in asyncio.run(_refusal(settings))
