"""Changes that wait together go in one commit with their audit lines, each standing or refused for itself."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from solidarite.v1 import common_pb2, declaration_pb2, foyer_pb2
from solidarite_client import CallError, NatureRessource, SolidariteClient, add
from solidarite_server.ports import AuditLine, Change
from solidarite_server.services.audit import AuditTrail
from solidarite_server.storage.sqlite import SqliteStore

from tests.integration.server.served import served
from tests.integration.server.test_life import M, dossier

MOIS = common_pb2.Month(year=2026, month=11)
NEXT = "2026-12"
REFERENCE = {M: ("2026-07", "2026-08", "2026-09"), NEXT: ("2026-08", "2026-09", "2026-10")}


class Gate:
    """Holds the first commit of a change back, so that those that come meanwhile wait together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[int] = []
        """How many changes each commit tried to keep."""
        self._reached, self._opened = threading.Event(), threading.Event()
        self._asked = threading.Semaphore(0)
        self._armed = False
        keep, change = SqliteStore.keep, AuditTrail.change

        def held_back(store: SqliteStore, changes: Sequence[Change], lines: Sequence[AuditLine] = ()) -> object:
            if changes and self._armed:
                self.groups.append(len(changes))
                self._reached.set()
                assert self._opened.wait(30)
            return keep(store, changes, lines)

        def counted(*arguments: object) -> object:
            future = change(*arguments)  # type: ignore[arg-type]
            self._asked.release()
            return future

        monkeypatch.setattr(SqliteStore, "keep", held_back)
        monkeypatch.setattr(AuditTrail, "change", counted)

    def closed_behind(self, first: Callable[[], object]) -> None:
        """Close behind a first change, whose commit has begun when this returns."""
        while self._asked.acquire(blocking=False):
            pass
        self._armed = True
        first()
        assert self._reached.wait(30)
        assert self._asked.acquire(timeout=30)

    def wait_for(self, changes: int) -> None:
        """Return once so many more wait behind the first."""
        for _ in range(changes):
            assert self._asked.acquire(timeout=30)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


@pytest.fixture
def client(gate: Gate, tmp_path: Path) -> Iterator[SolidariteClient]:
    with served(tmp_path, "2026-11-03") as (client, _):
        yield client


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def ready(client: SolidariteClient, *numeros: str, mois: str = M) -> dict[str, str]:
    """Dossiers whose declaration may be submitted; the etag of each."""
    zero = [add("demandeur", month, NatureRessource.SALAIRE, 0) for month in REFERENCE[mois]]
    found = {}
    for numero in numeros:
        client.upsert_foyer(dossier(numero_allocataire=numero))
        etag = client.prefill_declaration(numero, mois).etag
        found[numero] = client.amend_declaration(numero, mois, etag=etag, amendments=zero).etag
    return found


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "vie.db") as connection:
        return connection.execute(query).fetchall()


def test_submissions_made_together_share_a_commit_with_their_lines(
    gate: Gate, client: SolidariteClient, pool: ThreadPoolExecutor, tmp_path: Path
):
    etags = ready(client, *(f"{number:07d}" for number in range(12)))
    first, *others = etags
    submitted = []

    def submit(numero: str) -> None:
        submitted.append(pool.submit(client.submit_declaration, numero, M, etag=etags[numero]))

    gate.closed_behind(lambda: submit(first))
    ((before,),) = rows(tmp_path, "SELECT commit_sequence FROM head")
    for numero in others:
        submit(numero)
    gate.wait_for(len(others))
    gate.open()
    states = {done.result(30).state for done in submitted}
    assert states == {declaration_pb2.DECLARATION_STATE_VALIDEE}
    assert gate.groups == [1, 11]
    ((after,),) = rows(tmp_path, "SELECT commit_sequence FROM head")
    assert after - before == 2  # 24 when each was a line, then an event, by itself
    events = rows(tmp_path, "SELECT numero_allocataire, known_at_us FROM declaration_event WHERE kind = 'SUBMITTED'")
    lines = rows(tmp_path, "SELECT subject, at_us FROM audit WHERE action = 'SUBMIT_DECLARATION'")
    assert sorted(events) == sorted(lines)
    assert len({instant for _, instant in events}) == 2


def test_a_conflict_refuses_one_change_and_not_those_beside_it(
    gate: Gate, client: SolidariteClient, pool: ThreadPoolExecutor, tmp_path: Path
):
    etags = ready(client, "1", "2", "3")

    def submit(numero: str, request_id: str) -> object:
        try:
            answer = client.submit_declaration(numero, M, etag=etags[numero], request_id=request_id)
        except CallError as error:
            return error.reason
        return answer.state

    done = []
    gate.closed_behind(lambda: done.append(pool.submit(submit, "1", "a")))
    for numero, request_id in (("2", "a"), ("2", "b"), ("2", "a"), ("3", "a")):
        done.append(pool.submit(submit, numero, request_id))
    gate.wait_for(4)
    gate.open()
    one, *two, three = (answer.result(30) for answer in done)
    valid = declaration_pb2.DECLARATION_STATE_VALIDEE
    assert (one, three) == (valid, valid)
    assert set(two) == {valid, "ETAG_STALE"}
    assert two[0] == two[2] != two[1]  # the same request gets the same answer, whichever of the two came first
    assert gate.groups == [1, 4]
    events = rows(tmp_path, "SELECT count(*) FROM declaration_event WHERE kind = 'SUBMITTED'")
    lines = rows(tmp_path, "SELECT count(*) FROM audit WHERE action = 'SUBMIT_DECLARATION'")
    assert (events, lines) == ([(3,)], [(5,)])  # who tried and was refused has read something: the trail says so


def test_neighbouring_quarters_submitted_at_the_same_moment_are_frozen_once(
    gate: Gate, pool: ThreadPoolExecutor, tmp_path: Path
):
    """R262-4: each was found alone when it was prepared; they meet in the commit."""
    with served(tmp_path, "2026-12-03") as (client, _):
        numeros = ("1", "2", "3")
        etags = {(numero, mois): ready(client, numero, mois=mois)[numero] for numero in numeros for mois in (M, NEXT)}

        def submit(numero: str, mois: str) -> object:
            try:
                return client.submit_declaration(numero, mois, etag=etags[numero, mois]).state
            except CallError as error:
                return error.reason

        done = []
        gate.closed_behind(lambda: done.append(pool.submit(submit, "1", M)))  # the other one in the next commit
        for numero, mois in (("1", NEXT), ("2", M), ("2", NEXT), ("3", M)):  # both in one commit
            done.append(pool.submit(submit, numero, mois))
        gate.wait_for(4)
        gate.open()
        valid = declaration_pb2.DECLARATION_STATE_VALIDEE
        first, beside, *both, alone = (answer.result(30) for answer in done)
        assert (first, beside, alone) == (valid, "TRANSITION_REFUSED", valid)
        assert sorted(map(str, both)) == sorted([str(valid), "TRANSITION_REFUSED"])
        assert gate.groups == [1, 4]
    kept = rows(tmp_path, "SELECT numero_allocataire FROM declaration_event WHERE kind = 'SUBMITTED' ORDER BY 1")
    assert kept == [("1",), ("2",), ("3",)]


def test_a_dossier_is_one_commit_with_its_line_and_shares_it(
    gate: Gate, client: SolidariteClient, pool: ThreadPoolExecutor, tmp_path: Path
):
    def upsert(numero: str) -> tuple[bool, str]:
        answer = client.upsert_foyer(dossier(numero_allocataire=numero))
        return answer.changed, answer.freshness_token

    ((before,),) = rows(tmp_path, "SELECT commit_sequence FROM head")
    done = []
    gate.closed_behind(lambda: done.append(pool.submit(upsert, "1")))
    for numero in ("2", "3", "3"):
        done.append(pool.submit(upsert, numero))
    gate.wait_for(3)
    gate.open()
    one, two, *same = (answer.result(30) for answer in done)
    assert (one[0], two[0]) == (True, True)
    assert sorted(changed for changed, _ in same) == [False, True]
    assert one[1] != two[1] == same[0][1] == same[1][1]
    ((after,),) = rows(tmp_path, "SELECT commit_sequence FROM head")
    assert after - before == 2  # 8 when each was a line, then a dossier, by itself
    kept = rows(tmp_path, "SELECT numero_allocataire, known_at_us FROM foyer")
    lines = rows(tmp_path, "SELECT subject, at_us FROM audit WHERE action = 'UPSERT_FOYER'")
    assert sorted([*kept, kept[-1]]) == sorted(lines)


def test_a_batch_of_dossiers_is_one_commit_with_their_lines(client: SolidariteClient, tmp_path: Path):
    batches = [
        foyer_pb2.StreamFoyersRequest(
            batch_sequence=sequence, foyers=[dossier(numero_allocataire=f"{sequence}{k}") for k in range(3)]
        )
        for sequence in (1, 2)
    ]
    batches[1].foyers[2].numero_allocataire = ""
    ((before,),) = rows(tmp_path, "SELECT commit_sequence FROM head")
    answers = list(client.stream_foyers(batches))
    assert [(a.changed_count, [r.index for r in a.refusals]) for a in answers] == [(3, []), (2, [2])]
    ((after,),) = rows(tmp_path, "SELECT commit_sequence FROM head")
    assert after - before == 2
    kept = rows(tmp_path, "SELECT numero_allocataire, known_at_us FROM foyer")
    lines = rows(tmp_path, "SELECT subject, at_us FROM audit WHERE action = 'STREAM_FOYERS'")
    assert sorted(lines) == sorted([*kept, ("", kept[-1][1])])  # who tried has a line too


def test_a_batch_of_dossiers_that_is_refused_leaves_its_lines(client: SolidariteClient, tmp_path: Path):
    foyers = [dossier(numero_allocataire=f"{k}") for k in range(501)]
    with pytest.raises(CallError) as error:
        list(client.stream_foyers([foyer_pb2.StreamFoyersRequest(batch_sequence=1, foyers=foyers)]))
    assert error.value.reason == "BATCH_TOO_LARGE"
    # No waiting here: the lines are durable when the refusal comes.
    assert rows(tmp_path, "SELECT count(*) FROM audit WHERE action = 'STREAM_FOYERS'") == [(501,)]
    assert rows(tmp_path, "SELECT count(*) FROM foyer") == [(0,)]


def test_a_caller_gone_while_its_change_waits_stops_neither_the_change_nor_the_writer(
    gate: Gate, client: SolidariteClient, pool: ThreadPoolExecutor, tmp_path: Path
):
    etags = ready(client, "1", "2", "3", "4")

    def asked(numero: str) -> grpc.Future:
        request = declaration_pb2.SubmitDeclarationRequest(
            numero_allocataire=numero, mois_declaration=MOIS, etag=etags[numero], request_id="a"
        )
        return client._declarations.SubmitDeclaration.future(request)

    left: list[grpc.Future] = []
    gate.closed_behind(lambda: left.append(asked("1")))
    left.append(asked("2"))
    stays = pool.submit(client.submit_declaration, "3", M, etag=etags["3"])
    gate.wait_for(2)
    for call in left:
        call.cancel()
    client.prefill_declaration("4", M)  # on the same connection: the server has read that they are gone
    gate.open()
    assert stays.result(30).state == declaration_pb2.DECLARATION_STATE_VALIDEE
    assert client.submit_declaration("4", M, etag=etags["4"]).state == declaration_pb2.DECLARATION_STATE_VALIDEE
    kept = rows(tmp_path, "SELECT numero_allocataire FROM declaration_event WHERE kind = 'SUBMITTED' ORDER BY 1")
    assert kept == [("1",), ("2",), ("3",), ("4",)]
