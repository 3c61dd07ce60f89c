"""The store's promises on a real SQLite file."""

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from solidarite_server.domain.errors import Reason, RequestReplayed, StaleEtag, StoreUnavailable
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import DocumentRef, FluxSource, Mode, ResourceRecord
from solidarite_server.ports import Batch, Seal
from solidarite_server.record_columns import columns_of
from solidarite_server.services.ingest import IngestService
from solidarite_server.storage import SqliteStore

PERSON, JULY = b"p" * 16, Month(2026, 7)
DOCUMENT = b"d" * 16


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.us = 1_000_000

    def now_us(self) -> int:
        return self.us


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "a.db", clock=clock)
    yield opened
    opened.close()


def record(cents: int = 100_000, *, name: str = "r", version: int = 1, document: int = 0, **changes) -> ResourceRecord:
    base = ResourceRecord(
        PERSON,
        True,
        "paie",
        name.encode().ljust(16, b"-"),
        version,
        FluxSource.DSN,
        "81234567800013",
        "CDI-1",
        NatureRessource.SALAIRE,
        date(2026, 7, 31),
        JULY,
        Mode.INITIAL,
        cents,
        DocumentRef(DOCUMENT, document) if document else None,
    )
    return replace(base, **changes)


_sequence = iter(range(1, 10**9))


def batch(*records: ResourceRecord, seals: tuple[Seal, ...] = (), upload: str = "") -> Batch:
    return Batch("paie", upload, next(_sequence), columns_of(records), seals)


def total(store: SqliteStore, known_at_us: int | None = None) -> int:
    held = store.records_of([PERSON], JULY, JULY, known_at_us=known_at_us)
    return sum(s.record.montant_net_social_cents for s in held if s.effective)


def test_a_record_comes_back_as_it_was_sent(store: SqliteStore):
    sent = record(name="é'", numero_contrat="CDI-É")
    store.append([batch(sent)])
    assert [s.record for s in store.records_of([PERSON])] == [sent]


def test_the_same_set_gives_the_same_state_whatever_the_order_and_repetition(tmp_path: Path, clock: HandClock):
    history = [
        batch(record(100_000, version=1)),
        batch(record(120_000, version=3)),
        batch(record(110_000, version=2)),
        batch(record(-5_000, name="diff", mode=Mode.DIFFERENTIEL)),
        batch(record(7_000, name="gone")),
        batch(record(7_000, name="gone", version=2, mode=Mode.ANNULATION)),
        batch(record(1_000, name="old", document=1), seals=(Seal(DOCUMENT, 1, 1),)),
        batch(record(2_000, name="new", document=2), seals=(Seal(DOCUMENT, 2, 1),)),
    ]
    for seed in range(30):
        order = history * 2
        random.Random(seed).shuffle(order)
        store = SqliteStore(tmp_path / f"{seed}.db", clock=clock)
        for one in order:
            store.append([one])
        # 120 000 (version 3) − 5 000 + 0 (cancelled) + 2 000 (the document's version 2)
        assert total(store) == 117_000, f"seed {seed}"
        store.close()


def test_each_record_is_classified(store: SqliteStore):
    (first,) = store.append([batch(record(), record(name="s"))])
    (again,) = store.append([batch(record(), record(2, name="s", version=2), record(999))])
    assert (first.accepted, first.replaced, first.unchanged) == (2, 0, 0)
    assert (again.accepted, again.replaced, again.unchanged) == (0, 1, 1)
    assert [(r.index, r.reason) for r in again.refusals] == [(2, Reason.RECORD_CONFLICT)]
    assert total(store) == 100_000 + 2


def test_a_document_counts_only_once_sealed_and_until_then_replaces_nothing(store: SqliteStore):
    store.append([batch(record(1_000, document=1), seals=(Seal(DOCUMENT, 1, 1),))])
    store.append([batch(record(2_000, version=2, document=2))])
    assert total(store) == 1_000
    store.append([batch(seals=(Seal(DOCUMENT, 2, 1),))])
    assert total(store) == 2_000


def test_a_document_s_new_version_drops_what_it_no_longer_mentions(store: SqliteStore):
    store.append([batch(record(1_000, document=1), seals=(Seal(DOCUMENT, 1, 1),))])
    store.append([batch(seals=(Seal(DOCUMENT, 2, 0),))])
    assert total(store) == 0


def test_a_document_sealed_again_with_another_count_is_refused(store: SqliteStore):
    store.append([batch(seals=(Seal(DOCUMENT, 1, 0),))])
    (outcome,) = store.append([batch(seals=(Seal(DOCUMENT, 1, 3),))])
    assert [(r.is_seal, r.reason) for r in outcome.refusals] == [(True, Reason.DOCUMENT_CONFLICT)]


def test_the_past_is_read_as_it_was_known(store: SqliteStore, clock: HandClock):
    store.append([batch(record(100))])
    before = clock.us
    clock.us += 1_000
    store.append([batch(record(200, version=2))])
    assert (total(store, before), total(store)) == (100, 200)


def test_instants_grow_even_when_the_clock_steps_back(store: SqliteStore, clock: HandClock):
    store.append([batch(record(1, name="a"))])
    clock.us -= 500_000
    store.append([batch(record(1, name="b"))])
    known = {s.record.record_id[:1]: s.known_at_us for s in store.records_of([PERSON])}
    assert known[b"b"] > known[b"a"]


def test_the_position_is_the_end_of_the_unbroken_run(store: SqliteStore):
    empty = columns_of([])
    for sequence, position in ((1, 1), (3, 1), (4, 1), (2, 4), (2, 4)):
        store.append([Batch("paie", "u", sequence, empty)])
        assert store.position("paie", "u") == position
    assert store.position("paie", "other") == 0


def test_two_openings_of_one_file_see_each_other(store: SqliteStore, tmp_path: Path, clock: HandClock):
    other = SqliteStore(tmp_path / "a.db", clock=clock)
    store.append([batch(record(1, name="a"))])
    (outcome,) = other.append([batch(record(1, name="a"), record(2, name="b"))])
    assert (outcome.unchanged, outcome.accepted) == (1, 1)
    assert total(store) == 3
    other.close()


def test_a_full_disk_refuses_whole_batches_and_the_store_recovers(store: SqliteStore):
    store.append([batch(record(1, name="kept"))])
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages + 1}")
    many = batch(*(record(1, name=f"x{i}") for i in range(2_000)))
    with pytest.raises(StoreUnavailable):
        store.append([many])
    assert total(store) == 1
    store._writer.execute("PRAGMA max_page_count = 1000000")
    store.append([many])
    assert total(store) == 2_001


def test_commits_are_durable_by_setting(store: SqliteStore):
    assert store._writer.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert store._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_request_is_repeatable_and_an_old_etag_is_refused(store: SqliteStore):
    def add(request_id: str, body: bytes, expected: int):
        return store.append_event(
            "1", JULY, expected_sequence=expected, kind="K", payload=b"{}", request_id=request_id, body_hash=body
        )

    first = add("a", b"1", 0)
    assert add("a", b"1", 0) == first
    with pytest.raises(RequestReplayed):
        add("a", b"2", 1)
    with pytest.raises(StaleEtag):
        add("b", b"1", 0)
    assert [event.sequence for event in store.events("1", JULY)] == [1]


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE audit SET subject = 'x' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "UPDATE audit SET id = id + 10 WHERE id = 2",
    ],
)
def test_a_changed_dropped_or_moved_audit_line_is_detected(tamper: str, store: SqliteStore, tmp_path: Path):
    for subject in "abc":
        store.write("agent", "READ", subject, "test")
    assert store.check() == []
    with sqlite3.connect(tmp_path / "a.db") as raw:
        raw.execute(tamper)
    raw.close()
    assert store.check() == ["La chaîne d'audit est rompue à la ligne 2."]


def test_a_backup_taken_while_in_use_opens_and_holds_the_same(store: SqliteStore, tmp_path: Path, clock: HandClock):
    store.append([batch(record(5))])
    store.backup(tmp_path / "copy.db")
    copy = SqliteStore(tmp_path / "copy.db", clock=clock)
    assert total(copy) == 5
    copy.close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path, clock: HandClock):
    (tmp_path / "x.db").write_bytes(b"not a database at all, but long enough to look like one" * 100)
    with pytest.raises(StoreUnavailable):
        SqliteStore(tmp_path / "x.db", clock=clock)


def test_refused_rows_keep_their_index_and_the_others_are_kept(store: SqliteStore):
    service = IngestService(store)
    sent = batch(record(1, name="a"), record(1, name="b"), record(1, name="c"))
    sent.records["version"][1] = 0
    outcome = service.submit(sent).result(10)
    again = service.submit(batch(record(9, name="a"), record(1, name="c"))).result(10)
    service.close()
    assert (outcome.accepted, [(r.index, r.field) for r in outcome.refusals]) == (2, [(1, "version")])
    assert [(r.index, r.reason) for r in again.refusals] == [(0, Reason.RECORD_CONFLICT)]
