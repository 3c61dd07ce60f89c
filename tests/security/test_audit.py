"""The audit trail: every line is there, and no change of it goes unseen."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import grpc
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from solidarite.v1 import foyer_pb2
from solidarite_client.cli import main
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.domain.month import Month
from solidarite_server.ports import AuditAnchor, AuditLine, NewEvent, StoredAuditLine, StoredEvent
from solidarite_server.services import keyring
from solidarite_server.services.audit import AuditTrail, dossier_subject
from solidarite_server.services.keyring import Keyring
from solidarite_server.storage import SqliteStore
from solidarite_server.storage.sql import SqlStore

from tests.integration.stores.records import HandClock
from tests.security.conftest import as_agent
from tests.security.door import OTHER, OWN, UNKNOWN, Door, bearer, call, methods, request_of

KEYS = Keyring(b"k" * 32)
LINES = 8


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqliteStore(tmp_path / "a.db", clock=HandClock(), keys=KEYS)
    for number in range(LINES):
        store.write_audit([AuditLine("agent:a", "GET_FOYER", str(number), "consultation")])
    assert store.verify_audit() == []
    yield store
    store.close()


def altered(store: SqlStore, *statements: tuple[str, tuple[object, ...]]) -> list[str]:
    """What the verification says once somebody has written in the file; then all is put back."""
    session = store._reading()
    session.run("BEGIN")
    try:
        for statement, parameters in statements:
            session.run(statement, parameters)
        return verdict(store)
    finally:
        session.run("ROLLBACK")


def verdict(store: SqlStore, anchor: AuditAnchor | None = None) -> list[str]:
    from solidarite_server.storage import audit

    return audit.verify(store._reading(), KEYS.audit_key, anchor)


FIELDS = {
    "at_us": st.integers(0, 1 << 60), "actor": st.text(max_size=9), "action": st.text(max_size=9),
    "subject": st.text(max_size=9), "purpose": st.text(max_size=9), "hash": st.binary(min_size=32, max_size=32),
}  # fmt: skip
_changes = st.sampled_from(sorted(FIELDS)).flatmap(lambda name: st.tuples(st.just(name), FIELDS[name]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(1, LINES), change=_changes)
def test_a_changed_line_is_detected(store: SqlStore, line: int, change: tuple[str, object]):
    name, value = change
    ((before,),) = store._reading().rows(f"SELECT {name} FROM audit WHERE id = ?", (line,))
    found = altered(store, (f"UPDATE audit SET {name} = ? WHERE id = ?", (value, line)))
    assert bool(found) == (before != value)


@pytest.mark.parametrize("line", range(1, LINES + 1))
def test_a_dropped_line_is_detected_wherever_it_stood(line: int, store: SqlStore):
    assert altered(store, ("DELETE FROM audit WHERE id = ?", (line,)))
    # Also when those after it are numbered anew.
    moved = [("UPDATE audit SET id = ? WHERE id = ?", (n - 1, n)) for n in range(line + 1, LINES + 1)]
    assert altered(store, ("DELETE FROM audit WHERE id = ?", (line,)), *moved)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(range(1, LINES + 1), 2)))
def test_two_lines_swapped_are_detected(one: int, other: int, store: SqlStore):
    swap = [(0, one), (one, other), (other, 0)]
    assert altered(store, *[("UPDATE audit SET id = ? WHERE id = ?", step) for step in swap])


@pytest.mark.parametrize("kept", range(LINES))
def test_a_chain_cut_at_its_end_is_detected_even_when_its_head_is_written_anew(kept: int, store: SqlStore):
    cut = ("DELETE FROM audit WHERE id > ?", (kept,))
    assert altered(store, cut)
    hashed = store._reading().rows("SELECT hash FROM audit WHERE id = ?", (kept,))
    digest = hashed[0][0] if hashed else b""
    assert altered(store, cut, ("UPDATE audit_head SET last = ?, hash = ?", (kept, digest)))
    guessed = hmac.digest(b"guess", digest, "sha256")
    assert altered(store, cut, ("UPDATE audit_head SET last = ?, hash = ?, seal = ?", (kept, digest, guessed)))
    # A line added by the server afterwards does not make the forgery good.
    with store._transaction() as commit:
        for statement in (cut, ("UPDATE audit_head SET last = ?, hash = ?", (kept, digest))):
            commit.session.run(*statement)
    store.write_audit([AuditLine("agent:a", "GET_FOYER", "9", "consultation")])
    assert store.verify_audit() == ["La fin de la chaîne d'audit ne porte pas le sceau de cette clé."]


def test_a_chain_without_its_head_or_its_seal_is_not_trusted(store: SqlStore):
    assert altered(store, ("DELETE FROM audit", ()), ("DELETE FROM audit_head", ()))
    empty = "UPDATE audit_head SET first = 1, before = ?, last = 0, hash = ?, seal = ?"
    assert altered(store, ("DELETE FROM audit", ()), (empty, (b"", b"", b"")))
    assert altered(store, ("UPDATE audit_head SET seal = ?", (b"",)))


def test_a_chain_written_anew_without_the_key_is_detected(store: SqlStore):
    """The control of the seal: every hash of this forgery is right."""
    statements, before = [], b""
    for line in store.audit_lines():
        digest = hashlib.sha256(before)
        for part in (str(line.at_us), "agent:b", line.action, line.subject, line.purpose):
            digest.update(len(part.encode()).to_bytes(4, "big") + part.encode())
        before = digest.digest()
        statements.append(("UPDATE audit SET actor = 'agent:b', hash = ? WHERE id = ?", (before, line.number)))
    statements.append(("UPDATE audit_head SET hash = ?", (before,)))
    assert altered(store, *statements) == ["La fin de la chaîne d'audit ne porte pas le sceau de cette clé."]


def test_an_anchor_shows_a_store_put_back_as_it_was(store: SqlStore, tmp_path: Path):
    store.backup(tmp_path / "ancien.db")  # type: ignore[attr-defined]
    store.write_audit([AuditLine("agent:a", "GET_FOYER", "9", "consultation")])
    anchor = store.audit_anchor()
    assert verdict(store, anchor) == []
    old = SqliteStore(tmp_path / "ancien.db", clock=HandClock(), keys=KEYS)
    assert old.verify_audit() == []
    assert old.verify_audit(anchor) == ["La chaîne d'audit s'arrête à la ligne 8, avant l'ancre (9)."]
    old.write_audit([AuditLine("agent:a", "GET_FOYER", "autre", "consultation")])
    assert old.verify_audit(anchor) == ["La ligne d'audit 9 n'est pas celle de l'ancre : la chaîne a été récrite."]
    old.close()


def test_an_anchor_of_lines_that_are_gone_proves_nothing_and_says_so(store: SqlStore):
    """Who holds the keys may write the chain anew from a later line on: it must not pass for the end of a retention."""
    anchors = {line.number: AuditAnchor(line.number, line.hash) for line in store.audit_lines()}
    ((gone,),) = store._reading().rows("SELECT at_us FROM audit WHERE id = 5")
    assert store.purge_audit(gone + 1) == 5
    assert store.verify_audit() == []
    # The last line removed is known by its hash.
    assert [number for number, anchor in anchors.items() if not store.verify_audit(anchor)] == [5, 6, 7, 8]
    assert "plus ancienne que la première ligne gardée (6)" in store.verify_audit(anchors[4])[0]
    assert "récrite" in store.verify_audit(AuditAnchor(5, bytes(32)))[0]


def test_lines_are_not_written_without_the_key(store: SqlStore, tmp_path: Path):
    """They would break the seal of a good chain."""
    keyless = SqliteStore(tmp_path / "a.db", clock=HandClock())
    with pytest.raises(StoreUnavailable):
        keyless.write_audit([AuditLine("agent:a", "GET_FOYER", "9", "consultation")])
    keyless.close()
    assert store.verify_audit() == []


# Lines on their way.


class Log:
    """An audit log whose disk may be full."""

    def __init__(self) -> None:
        self.lines: list[AuditLine] = []
        self.full = False

    def keep(self, events: Sequence[NewEvent], lines: Sequence[AuditLine]) -> list[StoredEvent]:
        if self.full:
            raise StoreUnavailable("plein")
        self.lines.extend(lines)
        return [StoredEvent(1, event.kind, event.payload, event.request_id, 1) for event in events]


def test_while_lines_cannot_be_written_nothing_passes_and_none_is_lost():
    log = Log()
    trail = AuditTrail(log)  # type: ignore[arg-type]
    log.full = True
    line = AuditLine("agent:a", "GET_FOYER", "1", "consultation")
    assert trail.write(line, durable=False) is None
    change = trail.write(line, durable=True)
    assert isinstance(change, Future)
    with pytest.raises(StoreUnavailable):
        change.result(10)
    with pytest.raises(StoreUnavailable):
        trail.write(line, durable=False)
    log.full = False
    limit = time.monotonic() + 20
    while True:
        try:
            trail.write(line, durable=True).result(10)  # type: ignore[union-attr]
            break
        except StoreUnavailable:
            assert time.monotonic() < limit
            time.sleep(0.05)
    trail.close()
    assert len(log.lines) >= 3


def test_a_change_that_failed_is_dropped_with_its_line_and_the_next_one_passes():
    log = Log()
    trail = AuditTrail(log)  # type: ignore[arg-type]
    event = NewEvent("1", Month(2026, 11), 0, "AMENDED", b"{}", "a", b"h")
    log.full = True
    with pytest.raises(StoreUnavailable):
        trail.change(event, AuditLine("agent:a", "AMEND", "1", "lost")).result(10)
    log.full = False
    limit = time.monotonic() + 20
    while True:
        try:
            trail.change(event, AuditLine("agent:a", "AMEND", "1", "kept")).result(10)
            break
        except StoreUnavailable:
            assert time.monotonic() < limit
            time.sleep(0.05)
    trail.close()
    assert [line.purpose for line in log.lines] == ["kept"]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("0000001", "0000001"), ("2550814168025", "(illisible)"), ("2 55 08 14 168 025", "(illisible)"),
        ("255081416802538", "(illisible)"), ("dossier 2550814168025", "(illisible)"), ("1234567", "1234567"),
        ("NIR2550814168025", "(illisible)"), ("0002550814168025", "(illisible)"), ("", ""),
        ("x" * 65, "(illisible)"), ("a\nb", "(illisible)"),
    ],
)  # fmt: skip
def test_a_nir_typed_in_place_of_a_dossier_is_not_kept(asked: str, kept: str):
    assert dossier_subject(asked) == kept


# Through the real server.


def lines_after(door: Door, number: int) -> list[StoredAuditLine]:
    """The lines written since, once those of reads have had the time to be."""
    deadline = time.monotonic() + 5
    while True:
        found = list(door.server._store.audit_lines(number))
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def last_line(door: Door) -> int:
    return door.server._store.audit_anchor().number


def test_each_call_on_a_household_leaves_who_what_on_whom_and_why(door: Door):
    agent = bearer(door.token(sub="guichet-4", purpose="réclamation 12"))
    portal = bearer(door.token(kind="portail", sub="monportail", dossier=OWN))
    for metadata, dossier, expected in (
        (agent, OTHER, ("agent:guichet-4", "GET_FOYER", OTHER, "réclamation 12")),
        (portal, OWN, ("portail:monportail", "GET_FOYER", OWN, "consultation")),
        (portal, OTHER, ("portail:monportail", "REFUSED_GET_FOYER", OTHER, "consultation")),
        (portal, UNKNOWN, ("portail:monportail", "REFUSED_GET_FOYER", UNKNOWN, "consultation")),
    ):
        before = last_line(door)
        name = "solidarite.v1.FoyerService/GetFoyer"
        call(door.channel(), name, request_of(methods()[name], dossier=dossier), metadata)
        (line,) = lines_after(door, before)
        assert (line.actor, line.action, line.subject, line.purpose) == expected


def test_a_change_is_in_the_trail_before_its_answer(door: Door):
    with as_agent(door) as agent:
        held = agent.get_foyer(OTHER)
        before = last_line(door)
        agent.upsert_foyer(held.foyer)
        # No waiting here: the line is durable when the answer comes.
        written = list(door.server._store.audit_lines(before))
    assert ("UPSERT_FOYER", OTHER) in [(line.action, line.subject) for line in written]


def test_a_change_that_is_refused_is_in_the_trail_before_its_answer(door: Door):
    """What the refusal says of the dossier has been read."""
    name = "solidarite.v1.DeclarationService/SubmitDeclaration"
    portal = bearer(door.token(kind="portail", sub="monportail", dossier=OWN))
    for dossier, action in ((OWN, "SUBMIT_DECLARATION"), (OTHER, "REFUSED_SUBMIT_DECLARATION")):
        request = request_of(methods()[name], dossier=dossier)
        request.etag, request.request_id = "0-perime", "a"
        before = last_line(door)
        refused = call(door.channel(), name, request, portal)
        assert isinstance(refused, grpc.RpcError)
        # No waiting here: the line is durable when the refusal comes.
        assert [(line.action, line.subject) for line in door.server._store.audit_lines(before)] == [(action, dossier)]


def test_each_dossier_of_a_stream_has_its_line(door: Door):
    with as_agent(door) as agent:
        held = [agent.get_foyer(numero).foyer for numero in (OWN, OTHER)]
        before = last_line(door)
        assert len(list(agent.stream_foyers([foyer_pb2.StreamFoyersRequest(batch_sequence=1, foyers=held)]))) == 1
        written = list(door.server._store.audit_lines(before))
    assert [line.subject for line in written if line.action == "STREAM_FOYERS"] == [OWN, OTHER]


def test_reading_a_person_is_traced_under_a_name_that_leads_nowhere(door: Door, samples: Path):
    truth = json.loads((samples / "dsn" / "truth.json").read_text("utf-8"))
    nir = next(iter(truth["persons"].values()))["nir13"]
    before = last_line(door)
    with as_agent(door) as agent:
        assert agent.list_resource_records(nir=nir)
    (line,) = lines_after(door, before)
    assert (line.actor, line.action) == ("agent:guichet", "LIST_RECORDS")
    rows = sqlite3.connect(door.folder / "porte.db").execute("SELECT data FROM run_block").fetchall()
    assert nir not in line.subject
    assert not any(bytes.fromhex(line.subject) in data for (data,) in rows)


def test_the_commands_show_and_verify_the_trail(door: Door, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    with as_agent(door) as agent:
        agent.get_foyer(OWN)
    store = f"sqlite:///{door.folder / 'porte.db'}"
    assert main(["audit", "verify", "--store", store]) == 0
    assert "intacte" in capsys.readouterr().out
    assert main(["audit", "anchor", "--store", store]) == 0
    anchor = tmp_path / "ancre.json"
    anchor.write_text(capsys.readouterr().out)
    assert main(["audit", "verify", "--store", store, "--anchor", str(anchor)]) == 0
    assert main(["audit", "show", "--store", store, "--dossier", OWN, "--last", "3", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert shown
    assert {line["subject"] for line in shown} == {OWN}
    anchor.write_text(json.dumps({"line": 10_000, "hash": "00"}))
    assert main(["audit", "verify", "--store", store, "--anchor", str(anchor)]) == 1
    assert "avant l'ancre" in capsys.readouterr().err
    (tmp_path / "autre.key").write_bytes(b"z" * 32)
    assert main(["audit", "verify", "--store", store, "--key-file", str(tmp_path / "autre.key")]) == 1
    assert "clés" in capsys.readouterr().err


def test_a_value_with_spaces_cannot_pass_for_two_columns_of_what_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    keys = keyring.load_or_create(tmp_path / "a.db.key")
    store = SqliteStore(tmp_path / "a.db", clock=HandClock(), keys=keys)
    store.write_audit(
        [
            AuditLine("agent:a  GET_FOYER  0000002  rien", "SUBMIT_DECLARATION", "0000001", "instruction du droit"),
            AuditLine('agent:"a', "GET_FOYER", "", "\u202ed\u00a0e"),
        ]
    )
    store.close()
    capsys.readouterr()
    assert main(["audit", "show", "--store", url]) == 0
    first, second = (line.split("  ", 2)[2] for line in capsys.readouterr().out.strip().splitlines()[-2:])
    assert first.endswith('"agent:a  GET_FOYER  0000002  rien"  SUBMIT_DECLARATION  0000001  "instruction du droit"')
    assert second.endswith('"agent:\\"a"  GET_FOYER  ""  "\\u202ed\\xa0e"')
