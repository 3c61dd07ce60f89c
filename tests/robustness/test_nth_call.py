"""D4: the n-th statement fails, for every n: never an acknowledgement, never half a batch, and the store goes on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import AuditLine, Batch, BatchOutcome, NewEvent, NewFoyers, Seal
from solidarite_server.record_columns import columns_of
from solidarite_server.storage import SqliteStore, merging
from solidarite_server.storage.runs import BLOCK_ROWS
from solidarite_server.storage.sql import FOREVER, Row, SqlStore
from solidarite_server.storage.sqlite import _SqliteSession

from tests.integration.stores.records import DOCUMENT, JULY, HandClock, record, total

ERRORS = ("disk I/O error", "database or disk is full", "database is locked")


class FailingConnection:
    """A connection of which one statement, counted over the whole test, fails."""

    def __init__(self, connection: sqlite3.Connection, plan: Plan) -> None:
        self.connection, self.plan = connection, plan

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self.plan.count(arguments[0])
        return self.connection.execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self.plan.count(arguments[0])
        return self.connection.executemany(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


class Plan:
    """Which statement fails next, and how."""

    def __init__(self) -> None:
        self.left, self.error, self.failed = -1, "", False

    def arm(self, place: int, error: str) -> None:
        self.left, self.error, self.failed = place, error, False

    def count(self, statement: str) -> None:
        if statement == "ROLLBACK":
            return  # SQLite has rolled back by itself after such errors
        self.left -= 1
        if self.left == 0:
            self.failed = True
            raise sqlite3.OperationalError(self.error)


class FailingStore(SqliteStore):
    """The project's store on such connections; it merges when told, so that statements come in one order."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.plan = plan
        super().__init__(path, clock=HandClock())

    def append(self, batches: Sequence[Batch]) -> list[BatchOutcome]:
        return SqlStore.append(self, batches)

    def _connect(self) -> _SqliteSession:
        session = super()._connect()
        session.connection = FailingConnection(session.connection, self.plan)  # type: ignore[assignment]
        return session


@pytest.fixture
def plan() -> Plan:
    return Plan()


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Iterator[FailingStore]:
    opened = FailingStore(tmp_path / "a.db", plan)
    yield opened
    opened.close()


@pytest.mark.parametrize("error", ERRORS)
def test_a_commit_that_fails_at_any_statement_keeps_nothing_and_the_next_one_succeeds(
    error: str, store: FailingStore, plan: Plan
):
    kept = 0
    for place in range(1, 200):
        records = [record(1, name=f"{place}-{k}") for k in range(5)]
        batch = Batch("paie", "u", place, columns_of(records), (Seal(DOCUMENT, place, 1),))
        plan.arm(place, error)
        try:
            store.append([batch])
        except StoreUnavailable:
            assert plan.failed
            plan.arm(0, "")
            assert total(store) == kept, f"half a batch after statement {place}"
            assert store.position("paie", "u") == place - 1
            store.append([batch])
        kept += 5
        plan.arm(0, "")
        assert total(store) == kept
        if not plan.failed and place > 30:
            break
    assert place > 10
    assert store.check() == []
    assert store.verify_audit() == []


@pytest.mark.parametrize("error", ERRORS)
def test_changes_and_their_audit_lines_are_kept_together_or_not_at_all(error: str, store: FailingStore, plan: Plan):
    for place in range(1, 100):
        before = place - 1
        events = [NewEvent(f"{k}", JULY, before, "AMENDED", b"{}", f"{place}", b"h") for k in range(3)]
        changes = [*events, NewFoyers((("1", f"{place}".encode()),))]
        lines = [AuditLine("agent:a", "AMEND_DECLARATION", f"{k}", "essai") for k in range(len(changes))]
        plan.arm(place, error)
        with suppress(StoreUnavailable):
            store.keep(changes, lines)
        failed = plan.failed
        plan.arm(0, "")
        if failed:
            assert changes_and_lines(store) == (4 * before, 4 * before), f"one without the other at statement {place}"
            store.keep(changes, lines)
        assert changes_and_lines(store) == (4 * place, 4 * place)
        if not failed:
            break
    assert 8 < place < 99  # every statement of the commit has failed once
    assert store.verify_audit() == []


def test_control_a_line_written_before_its_change_is_caught(store: FailingStore, plan: Plan):
    """As it was when both had a commit of their own."""
    event = NewEvent("1", JULY, 0, "AMENDED", b"{}", "a", b"h")
    store.write_audit([AuditLine("agent:a", "AMEND_DECLARATION", "1", "essai")])
    plan.arm(3, ERRORS[0])
    with pytest.raises(StoreUnavailable):
        store.keep([event])
    plan.arm(0, "")
    assert changes_and_lines(store) == (0, 1)


def changes_and_lines(store: FailingStore) -> tuple[int, int]:
    """How many events of declarations and versions of dossiers, and how many audit lines, are kept."""
    ((events, dossiers, lines),) = store._reading().rows(
        "SELECT (SELECT count(*) FROM declaration_event), (SELECT count(*) FROM foyer), (SELECT count(*) FROM audit)"
    )
    return events + dossiers, lines


@pytest.mark.parametrize("ranges", [1, 2], ids=["in one run", "range by range"])
def test_a_merge_that_fails_at_any_statement_loses_nothing(
    ranges: int, tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
):
    """A merge in small; in ranges as a large one: each becomes a run, and what is left of the sources stays."""
    people = [bytes([k]) * 16 for k in range(1, 201)]
    monkeypatch.setattr(merging, "FAN_IN", 4)
    monkeypatch.setattr(merging, "_SLICE_ROWS", 3 * BLOCK_ROWS)
    monkeypatch.setattr(merging, "_RANGE_ROWS", len(people) * 4 // ranges)
    first, again = tmp_path / "first.db", tmp_path / "again.db"
    with closing(FailingStore(first, plan)) as store:
        for number in range(4):
            receive(store, people, number)
        held = sorted(kept(store, people))
    assert len(held) == len(people) * 4
    failed, place = True, 0
    while failed:
        place += 1
        shutil.copy(first, again)
        with closing(FailingStore(again, plan)) as store:
            plan.arm(place, ERRORS[place % 3])
            store.tidy()
            failed = plan.failed
            plan.arm(0, "")
            assert sorted(kept(store, people)) == held
            store.tidy()
            store.tidy()  # the first may only have ended the transaction that the failure left open
            assert sorted(kept(store, people)) == held
            some = people[::50]  # one household is read another way
            assert sorted(kept(store, some)) == [row for row in held if row[0] in some]
            assert store.check() == []
            assert set(store._reading().rows("SELECT state FROM run")) == {(1,)}, "something half built or dead is left"
            made = len(store._runs.live(store._writer))
        again.unlink()
    assert place > 50
    assert made == ranges


def test_what_a_merge_cut_between_two_ranges_left_is_merged_with_newer_runs(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
):
    """A server stopped in a large merge starts again, and more comes: what is left of the sources begins half-way."""
    people = [bytes([k]) * 16 for k in range(1, 201)]
    monkeypatch.setattr(merging, "FAN_IN", 4)
    monkeypatch.setattr(merging, "_SLICE_ROWS", 3 * BLOCK_ROWS)
    monkeypatch.setattr(merging, "_RANGE_ROWS", len(people) * 4 // 4)

    first, again = tmp_path / "first.db", tmp_path / "again.db"
    with closing(FailingStore(first, plan)) as store:
        for number in range(4):
            receive(store, people, number)
    halfway = 0
    for place in range(1, 200, 5):
        shutil.copy(first, again)
        with closing(FailingStore(again, plan)) as store:
            plan.arm(place, ERRORS[place % 3])
            store.tidy()
            failed = plan.failed
            plan.arm(0, "")
        with closing(FailingStore(again, plan)) as store:
            halfway += any(run.trimmed for run in store._runs.live(store._writer))
            for number in range(4, 9):
                receive(store, people, number)
            held = sorted(kept(store, people))
            assert len(held) == len(people) * 9
            store.tidy()
            assert sorted(kept(store, people)) == held
            assert store.check() == []
        again.unlink()
        if not failed:
            break
    assert halfway > 3


def receive(store: FailingStore, people: Sequence[bytes], number: int) -> None:
    """A batch with a record of each of these persons: a run."""
    records = [record(number, name=str(number), person=person) for person in people]
    store.append([Batch("paie", "", 0, columns_of(records))])


def kept(store: FailingStore, people: Sequence[bytes]) -> list[Row]:
    """Every version that the store keeps of these persons."""
    with store._snapshot() as session:
        return store._versions_of(session, people, FOREVER)


def test_control_a_store_that_acknowledges_before_its_commit_is_caught(tmp_path: Path, plan: Plan):
    class Hasty(FailingStore):
        def append(self, batches: Any) -> Any:
            try:
                return super().append(batches)
            except StoreUnavailable:
                return []

    store = Hasty(tmp_path / "b.db", plan)
    plan.arm(5, ERRORS[0])
    store.append([Batch("paie", "", 0, columns_of([record(1)]))])
    plan.arm(0, "")
    assert total(store) == 0  # acknowledged, and not there: what the tests above would say
    store.close()
