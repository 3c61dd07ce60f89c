"""What holds of the SQLite file alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.storage import SqliteStore

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
