"""D9: one byte of the file changed: what is wrong is detected, or has no effect. A wrong answer is never given."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from solidarite_server.domain.errors import SolidariteError, StoreUnavailable
from solidarite_server.ports import Batch, NewEvent, Store
from solidarite_server.record_columns import columns_of
from solidarite_server.storage import SchemaError, SqliteStore
from solidarite_server.storage.postgres import PostgresStore
from solidarite_server.storage.sums import AHEAD, EVENT, FOYER, UPLOAD, Summed

from tests.integration.stores.records import JULY, KEYS, HandClock, record
from tests.robustness.seeds import seeds

PEOPLE = [bytes([k]) * 16 for k in range(1, 30)]


def filled(path: Path) -> dict[bytes, int]:
    """A store with some runs, merged and not; the sum of each person."""
    from dataclasses import replace

    store = SqliteStore(path, clock=HandClock())
    sums = dict.fromkeys(PEOPLE, 0)
    for number in range(20):
        records = []
        for k, person in enumerate(PEOPLE):
            cents = 100 * number + k
            records.append(replace(record(cents, name=f"{number}-{k}"), person=person))
            sums[person] += cents
        store.append([Batch("paie", "", 0, columns_of(records))])
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    return sums


def answers(path: Path) -> dict[bytes, int] | None:
    """The sum of each person, or None when the store says that it is damaged."""
    try:
        store = SqliteStore(path, clock=HandClock())
        try:
            return {
                person: sum(s.record.montant_net_social_cents for s in store.records_of([person]) if s.effective)
                for person in PEOPLE
            }
        finally:
            store.close()
    except (SolidariteError, SchemaError):
        return None


def flips(folder: Path, times: int, seed: int) -> int:
    """How many changes are seen; the others are without effect, and a wrong answer fails."""
    print(f"seed {seed}")
    expected = filled(folder / "a.db")
    assert answers(folder / "a.db") == expected
    size = (folder / "a.db").stat().st_size
    chance = random.Random(seed)
    return flipped(folder, expected, [(chance.randrange(size), 1 << chance.randrange(8)) for _ in range(times)])


def flipped(folder: Path, expected: dict[bytes, int], changes: list[tuple[int, int]]) -> int:
    """How many of these changes of one bit, each on a copy of `a.db`, are seen; a wrong answer fails."""
    content = (folder / "a.db").read_bytes()
    seen = 0
    for place, bit in changes:
        shutil.copy(folder / "a.db", folder / "b.db")
        with (folder / "b.db").open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ bit]))
        found = answers(folder / "b.db")
        for leftover in ("b.db-wal", "b.db-shm"):
            (folder / leftover).unlink(missing_ok=True)
        assert found in (None, expected), f"a wrong answer after a change at byte {place}"
        seen += found is None
    return seen


def test_a_byte_changed_anywhere_never_gives_a_wrong_amount(tmp_path: Path):
    assert flips(tmp_path, 200, random.randrange(10**6)) > 20  # the control: damage is there, and is seen


@pytest.mark.parametrize("table", ["run", "run_block"])
def test_a_bit_of_what_sqlite_writes_before_a_row_is_seen(table: str, tmp_path: Path):
    """Its length, its number and the type of its columns: a run may take the number of another, a block be no block."""
    expected = filled(tmp_path / "a.db")
    with closing(sqlite3.connect(tmp_path / "a.db")) as raw:
        ((page,),) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        ((size,),) = raw.execute("PRAGMA page_size")
    content = (tmp_path / "a.db").read_bytes()

    def number(place: int, length: int) -> int:
        return int.from_bytes(content[place : place + length])

    # The form of a page: sqlite.org/fileformat2.html#b_tree_pages
    pages = [page]
    start = (page - 1) * size
    if content[start] == 5:
        pages = [number(start + number(start + 12 + 2 * k, 2), 4) for k in range(3)]
    starts = [(page - 1) * size for page in pages]
    assert {content[start] for start in starts} == {13}
    rows = [start + number(start + 8 + 2 * k, 2) for start in starts for k in range(min(number(start + 3, 2), 12))]
    assert flipped(
        tmp_path, expected, [(row + byte, 1 << bit) for row in rows for byte in range(12) for bit in range(8)]
    )


def test_a_store_without_its_head_is_refused_when_it_is_opened(tmp_path: Path):
    filled(tmp_path / "a.db")
    with sqlite3.connect(tmp_path / "a.db") as raw:
        raw.execute("DELETE FROM head")
    raw.close()
    assert answers(tmp_path / "a.db") is None


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(10))
def test_a_thousand_bytes_changed_never_give_a_wrong_amount(seed: int, tmp_path: Path):
    """A hundred for each seed."""
    flips(tmp_path, 100, seed)


# Dossiers, events of declarations, positions of uploads

TABLES = (FOYER, EVENT, UPLOAD, AHEAD)
DOSSIER, SOURCE, ENVOI = "7654321", "paie-des-tests", "juillet"


def with_a_declaration(store: Store) -> None:
    """A dossier of two versions, a declaration of two events, an upload of 300 batches and the 302nd."""
    store.put_foyers([(DOSSIER, b"what it was made of")])
    store.put_foyers([(DOSSIER, b"what the household is made of")])
    for number in range(2):
        event = NewEvent(DOSSIER, JULY, number, "AMENDED", b"change %d" % number, f"request-{number}", b"hash")
        store.keep([event])
    numbers = [*range(1, 301), 302]
    store.append([Batch(SOURCE, ENVOI, number, columns_of([])) for number in numbers])


READS: dict[str, Callable[[Store], object]] = {
    "foyer": lambda store: store.foyer(DOSSIER),
    "declaration_event": lambda store: [event.payload for event in store.events(DOSSIER, JULY)],
    "upload": lambda store: store.position(SOURCE, ENVOI),
    # The missing batch: with the one that came before it, the position passes both.
    "upload_ahead": lambda store: store.append([Batch(SOURCE, ENVOI, 301, columns_of([]))]),
}
WITHOUT_ROWS: dict[str, object] = {"foyer": None, "declaration_event": [], "upload": 0}
"""What is read when a damaged key hides all that there is: in a file, it may be out of order. Never the row before."""


def judge(store: Store, table: Summed, column: str, expected: object) -> None:
    """A row of which one byte was changed is seen by the check; a read says so, or at most does not find the row."""
    told = "|".join(store.check())
    # With the row before it, when that one is followed by nothing.
    assert re.search(rf"La table {table.name} a [12] ligne\(s\) abîmée\(s\)\.", told), told
    if column not in table.columns[: table.key]:
        with pytest.raises(StoreUnavailable, match="abîmé"):
            READS[table.name](store)
    elif table is not AHEAD:
        with suppress(StoreUnavailable):
            assert READS[table.name](store) == WITHOUT_ROWS[table.name] != expected


def image(columns: tuple[Any, ...]) -> list[bytes]:
    """The columns of a row as SQLite writes them: texts and blobs as they are, numbers on as few bytes as it can."""

    def number(value: int) -> bytes:
        size = next(size for size in (1, 2, 3, 4, 6, 8) if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1)
        return value.to_bytes(size, "big", signed=True)

    return [number(c) if isinstance(c, int) else c.encode() if isinstance(c, str) else c for c in columns]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_byte_changed_in_any_column_of_a_row_is_seen_in_the_file(table: Summed, tmp_path: Path):
    path, changed = tmp_path / "a.db", tmp_path / "b.db"
    with closing(SqliteStore(path, clock=HandClock())) as store:
        with_a_declaration(store)
        assert store.check() == []  # the control
        expected = READS[table.name](store) if table is not AHEAD else None
        row = store._reading().rows(table.select())[-1]
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content, parts = path.read_bytes(), image(row)
    assert content.count(b"".join(parts)) == 1
    place = content.index(b"".join(parts))
    for column, part in zip((*table.columns, "checksum"), parts, strict=True):
        assert part
        for byte in part:
            changed.write_bytes(content[:place] + bytes([byte ^ 1 << random.randrange(8)]) + content[place + 1 :])
            place += 1
            try:
                with closing(SqliteStore(changed, clock=HandClock())) as store:
                    found = store.check()
                    assert found, f"a byte of {column} was changed"
                    if "ne se lit pas" in " ".join(found):
                        continue
                    judge(store, table, column, expected)
            finally:
                for leftover in ("b.db-wal", "b.db-shm"):
                    (tmp_path / leftover).unlink(missing_ok=True)


CHANGES = {"text": "overlay({0} placing 'X' from 2)", "bytea": "set_byte({0}, 1, 7)", "number": "{0} + 256"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_byte_changed_in_any_column_of_a_row_is_seen_in_postgresql(table: Summed, postgres_url: str):
    with (
        closing(PostgresStore(postgres_url, clock=HandClock())) as store,
        psycopg.connect(postgres_url, autocommit=True) as raw,
    ):
        with_a_declaration(store)
        assert store.check() == []  # the control
        expected = READS[table.name](store) if table is not AHEAD else None
        types = dict(
            raw.execute(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s", (table.name,)
            ).fetchall()
        )
        key = ", ".join(table.columns[: table.key])
        last = f"({key}) = (SELECT {key} FROM {table.name} ORDER BY ({key}) DESC LIMIT 1)"
        for column in (*table.columns, "checksum"):
            change = CHANGES.get(types[column], CHANGES["number"]).format(column)
            raw.execute(f"CREATE TEMP TABLE before AS SELECT * FROM {table.name}")  # type: ignore[call-overload]
            raw.execute(f"UPDATE {table.name} SET {column} = {change} WHERE {last}")  # type: ignore[call-overload]
            judge(store, table, column, expected)
            raw.execute(f"DELETE FROM {table.name}")  # type: ignore[call-overload]
            raw.execute(f"INSERT INTO {table.name} SELECT * FROM before ORDER BY 1, 2, 3")  # type: ignore[call-overload]
            raw.execute("DROP TABLE before")
        assert store.check() == []


def test_a_dossier_that_is_damaged_is_not_given_a_new_checksum_by_a_renewal(tmp_path: Path):
    path = tmp_path / "a.db"
    with closing(SqliteStore(path, clock=HandClock(), keys=KEYS)) as store:
        with_a_declaration(store)
        store._writer.run("UPDATE foyer SET payload = X'00' || substr(payload, 2)")
    newer = replace(KEYS, wrapping={**KEYS.wrapping, 2: b"n" * 32})
    with closing(SqliteStore(path, clock=HandClock(), keys=newer)) as store:
        assert store.begin_renewal(2)
        assert store.renew_some()  # no record is there
        with pytest.raises(StoreUnavailable, match="abîmé"):
            store.renew_some()
        with pytest.raises(StoreUnavailable, match="abîmé"):
            store.end_renewal()
        assert store.renewal() is not None


def test_an_event_that_is_gone_from_the_middle_of_a_declaration_is_missed(tmp_path: Path):
    with closing(SqliteStore(tmp_path / "a.db", clock=HandClock())) as store:
        with_a_declaration(store)
        store._writer.run("DELETE FROM declaration_event WHERE sequence = 1")
        for read in (lambda: store.events(DOSSIER, JULY), lambda: store.events_between(JULY, "", None)):
            with pytest.raises(StoreUnavailable, match="manque un événement"):
                read()
