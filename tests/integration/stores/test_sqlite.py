"""What holds of the SQLite file alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.storage import SqliteStore, merging, sqlite
from solidarite_server.storage.runs import BLOCK_ROWS, FAN_IN

from tests.integration.stores.records import HandClock, batch, record, total


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "a.db", clock=clock)
    yield opened
    opened.close()


def test_a_full_disk_refuses_whole_batches_and_the_store_recovers(store: SqliteStore):
    store.append([batch(record(1, name="kept"))])
    pages = store._writer.rows("PRAGMA page_count")[0][0]
    store._writer.run(f"PRAGMA max_page_count = {pages + 1}")
    many = batch(*(record(1, name=f"x{i}") for i in range(2_000)))
    with pytest.raises(StoreUnavailable):
        store.append([many])
    assert total(store) == 1
    store._writer.run("PRAGMA max_page_count = 1000000")
    store.append([many])
    assert total(store) == 2_001


def test_commits_are_durable_by_setting(store: SqliteStore):
    assert store._writer.rows("PRAGMA synchronous")[0][0] == 2  # FULL
    assert store._writer.rows("PRAGMA journal_mode")[0][0] == "wal"


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


@pytest.fixture
def at_rest(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
    """A store whose merge of 16 runs rests for ever after one or two of its slices."""
    monkeypatch.setattr(merging, "_SLICE_ROWS", BLOCK_ROWS)
    monkeypatch.setattr(sqlite, "_REST", 1e9)
    monkeypatch.setattr(sqlite, "_FADING", 0)  # as soon as nothing more comes in
    for k in range(FAN_IN):
        persons = (i.to_bytes(2, "big") * 8 for i in range(4 * BLOCK_ROWS))
        store.append([batch(*(record(1, name=f"a{k}", person=person) for person in persons))])
    _until(lambda: store._merged_rows > 0)
    return store


def test_merges_that_rest_go_on_once_more_comes_in_than_they_merge(at_rest: SqliteStore):
    sent = 0

    def sent_one_more() -> bool:
        nonlocal sent
        at_rest.append([batch(record(1, name=f"b{sent}"))])
        sent += 1
        return sent > sqlite._CROWDED_RUNS + 2 and at_rest.volume().runs <= sqlite._CROWDED_RUNS

    _until(sent_one_more)
    assert total(at_rest) == sent


def test_merges_that_rest_end_with_the_store(at_rest: SqliteStore):
    at_rest.close()  # waits for their thread
    assert not [thread for thread in threading.enumerate() if thread.name == "store-tidy"]


def _until(holds: Callable[[], bool]) -> None:
    """Wait, however slow the machine; a minute is a failure."""
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)
