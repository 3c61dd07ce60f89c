"""The shared store: several servers on one PostgreSQL.

Records arrive as one binary COPY made by numpy, without a Python object a record, in a temporary table; one statement
tells which are already held, another keeps the rest. Writers of every server take the row of `head` first, so that
the order of commits is one, everywhere. A connection lost gives StoreUnavailable, and the next call opens another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.pq import TransactionStatus

from solidarite_server.domain.errors import InvalidRequest, StoreUnavailable
from solidarite_server.ports import Batch, BatchOutcome, Clock, Volume
from solidarite_server.record_columns import CONTENT_DTYPE, RECORD_DTYPE, contents_of
from solidarite_server.services.keyring import Keyring
from solidarite_server.storage.migrate import Change, migrate
from solidarite_server.storage.persons import ALL_PERSONS, HEAD_NAMES, PERSON_BYTES
from solidarite_server.storage.sql import Commit, Row, Session, SqlStore, only
from solidarite_server.storage.turns import Turns
from solidarite_server.storage.versions import classified, outcomes

_CONNECT_SECONDS = 10
_MIGRATION_LOCK = 0x50_11_DA
_STAGE = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS stage (place INTEGER, person UUID, source INTEGER, record_id UUID,"
    " version INTEGER, content BYTEA) ON COMMIT DELETE ROWS"
)
_COPY = "COPY stage (place, person, source, record_id, version, content) FROM STDIN (FORMAT BINARY)"
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"

_CONTENT_BYTES = CONTENT_DTYPE.itemsize
_COPY_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("place_length", ">i4"),
        ("place", ">i4"),
        ("person_length", ">i4"),
        ("person", "V16"),
        ("source_length", ">i4"),
        ("source", ">i4"),
        ("record_id_length", ">i4"),
        ("record_id", "V16"),
        ("version_length", ">i4"),
        ("version", ">i4"),
        ("content_length", ">i4"),
        ("content", f"V{_CONTENT_BYTES}"),
    ]
)
"""A row of PostgreSQL's binary COPY: the number of fields, then each one after its length."""
_VERSIONS = 1 << 31
"""Versions from 1 to 2^32 − 1 are kept less that: an INTEGER holds them."""

_NOTHING_DONE = "Le magasin n'a rien pu enregistrer ni lire : réessayez plus tard."
_REFUSALS = {
    psycopg.errors.InsufficientPrivilege: "PostgreSQL refuse au service un droit sur ses tables ou sur leur schéma.",
    psycopg.errors.ReadOnlySqlTransaction: "Ce PostgreSQL n'accepte pas d'écriture : est-ce une réplique ?",
}
"""What waiting does not mend: whoever reads it knows what to ask of the database's administrator."""

_RENEWED_ROWS = 500
"""Renamed at once: some 20 ms."""
_DAY_AT = dict(CONTENT_DTYPE.fields or {})["date_versement"][1]


class _PostgresSession:
    """Statements on one connection; StoreUnavailable when PostgreSQL could not carry one out."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self.connection = connection

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with _mapped():
            return self.connection.execute(_dialect(statement), parameters).fetchall()

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        with _mapped():
            return self.connection.execute(_dialect(statement), parameters).rowcount

    def many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        with _mapped(), self.connection.cursor() as cursor:
            cursor.executemany(_dialect(statement), parameters)


class PostgresStore(SqlStore):
    """Implements `ports.Store` on a PostgreSQL database that several servers may share."""

    def __init__(self, url: str, *, clock: Clock, keys: Keyring | None = None, allowed: Change = "create") -> None:
        """Raises StoreUnavailable when it does not answer or is not durable, SchemaError for another schema."""
        super().__init__(keys)
        self._url = url
        self._clock = clock
        self._local = threading.local()
        self._connections: list[psycopg.Connection[Row]] = []
        self._guard = threading.Lock()
        self._write_lock = Turns()
        self._writer: _PostgresSession | None = None
        try:
            self._prepare(self._connect(), allowed)
        except BaseException:
            self.close()
            raise

    def _prepare(self, session: _PostgresSession, allowed: Change) -> None:
        if session.rows("SHOW fsync")[0][0] != "on":
            raise StoreUnavailable("Ce PostgreSQL n'est pas durable (fsync = off) : le service n'y écrit pas.")
        with _mapped(), session.connection.transaction():
            session.run("SELECT pg_advisory_xact_lock(?)", (_MIGRATION_LOCK,))
            migrate(session, "postgresql", allowed)
            self._persons.adopt(session)

    def volume(self) -> Volume:
        """How much it holds."""
        with self._snapshot() as session:
            (size,) = only(session.rows("SELECT pg_database_size(current_database())"))
            return Volume(size, 0)

    def close(self) -> None:
        """Release every connection."""
        with self._guard:
            while self._connections:
                self._connections.pop().close()

    # Records

    def _add(self, commit: Commit, batches: Sequence[Batch], sources: dict[str, int]) -> list[BatchOutcome]:
        rows = _copy_rows(batches, sources)
        if not len(rows):
            return [BatchOutcome(0, 0, 0, commit.sequence) for _ in batches]
        session = commit.session
        assert isinstance(session, _PostgresSession)
        with _mapped(), session.connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.write(_COPY_HEADER)
            for number, named in enumerate(self._under_each_name(rows, commit.names)):
                named["place"] += number * len(rows)
                # Persons in order: each page of the index is met once, and found where the row before left it.
                person = np.ascontiguousarray(named["person"]).view(">u8")[::2]
                copy.write(named[np.argsort(person)].tobytes())
            copy.write(_COPY_END)
        held = session.rows(
            "SELECT stage.place % ?, record.version::bigint, record.version = stage.version"
            " AND record.content = stage.content FROM stage JOIN record ON record.person = stage.person"
            " AND record.source = stage.source AND record.record_id = stage.record_id",
            (len(rows),),
        )
        found = classified(rows, held)
        session.run(
            "INSERT INTO record SELECT person, source, record_id, version, ?, content, (SELECT renewals FROM head)"
            " FROM stage WHERE place < ? AND place <> ALL(?)",
            (commit.now_us, len(rows), [*found.refused, *found.unchanged]),
        )
        return outcomes(batches, found, commit.sequence)

    def _versions_of(self, session: Session, persons: Sequence[bytes], horizon: int) -> list[Row]:
        query = (
            "SELECT uuid_send(person), source, uuid_send(record_id), version::bigint + ?, known_at_us, content"
            " FROM record WHERE person = ANY(?) AND known_at_us <= ?"
        )
        names = [UUID(bytes=person) for person in persons]
        return session.rows(query, (_VERSIONS, names, horizon)) if names else []

    # Persons

    def _begin_records(self, session: Session) -> None:
        session.run("UPDATE head SET renewals = renewals + 1")

    def _renew_records(self, session: Session, first: int, change: Callable[[bytes], bytes]) -> int:
        if first >= ALL_PERSONS:
            return ALL_PERSONS
        # In the order of the index, whatever the statistics say.
        session.run("SET LOCAL enable_seqscan = off")
        session.run("SET LOCAL enable_sort = off")
        ((renewals,),) = session.rows("SELECT renewals FROM head")
        found = session.rows(
            "SELECT person FROM record WHERE person >= ? AND renewals < ? ORDER BY person LIMIT ?",
            (UUID(int=first), renewals, _RENEWED_ROWS),
        )
        if not found:
            return ALL_PERSONS
        persons = sorted({row[0] for row in found})
        names = change(b"".join(person.bytes for person in persons))
        new = [UUID(bytes=names[start : start + PERSON_BYTES]) for start in range(0, len(names), PERSON_BYTES)]
        session.run(
            "UPDATE record SET person = renamed.name, renewals = ? FROM unnest(?::uuid[], ?::uuid[])"
            " AS renamed (before, name) WHERE record.person = renamed.before AND record.renewals < ?",
            (renewals, persons, new, renewals),
        )
        return int(persons[-1].int) + 1

    def _holds_old_names(self, session: Session) -> bool:
        return bool(session.rows("SELECT 1 FROM record WHERE renewals < (SELECT renewals FROM head) LIMIT 1"))

    def _remove_person(self, session: Session, person: bytes) -> int:
        return session.run("DELETE FROM record WHERE person = ?", (UUID(bytes=person),))

    def _remove_paid_before(self, session: Session, day: int) -> int:
        # The second number of a content, little-endian (record_columns.CONTENT_DTYPE).
        at = " + ".join(f"(get_byte(content, {_DAY_AT + place}) << {8 * place})" for place in range(4))
        return session.run(f"DELETE FROM record WHERE ({at}) < ?", (day,))  # noqa: S608

    def _holds(self, column: str) -> str:
        return f"position(? IN {column}) > 0"

    def wipe(self) -> None:
        """PostgreSQL overwrites what is gone when it vacuums, in its own time."""

    # Connections

    def _connect(self) -> _PostgresSession:
        try:
            connection: psycopg.Connection[Row] = psycopg.connect(
                self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name="solidarite"
            )
        except psycopg.Error as error:
            # The address holds a password: neither it nor PostgreSQL's own text is repeated.
            raise StoreUnavailable(
                "Le PostgreSQL du magasin ne répond pas, ou refuse l'utilisateur, le mot de passe ou la base qu'on lui "
                "nomme."
            ) from error
        try:
            with _mapped():
                # An acknowledgement means durable, whatever the server's default.
                connection.execute("SET synchronous_commit = on")
                connection.execute(_STAGE)
                # The stage is small and the tables are large: always through the index.
                connection.execute("SET enable_hashjoin = off")
                connection.execute("SET enable_mergejoin = off")
        except StoreUnavailable:
            connection.close()
            raise
        with self._guard:
            self._connections.append(connection)
        return _PostgresSession(connection)

    def _reading(self) -> _PostgresSession:
        session: _PostgresSession | None = getattr(self._local, "session", None)
        if session is None or session.connection.closed:
            session = self._local.session = self._replaced(session)
        return session

    def _replaced(self, broken: _PostgresSession | None) -> _PostgresSession:
        if broken is not None:
            with self._guard:
                if broken.connection in self._connections:
                    self._connections.remove(broken.connection)
        return self._connect()

    @contextmanager
    def _snapshot(self) -> Iterator[Session]:
        session = self._reading()
        if session.connection.info.transaction_status != TransactionStatus.IDLE:
            yield session
            return
        with _mapped(), session.connection.transaction():
            session.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield session

    @contextmanager
    def _transaction(self) -> Iterator[Commit]:
        with self._write_lock:
            if self._writer is None or self._writer.connection.closed:
                self._writer = self._replaced(self._writer)
            session = self._writer
            with _mapped(), session.connection.transaction():
                # Held until the end of the transaction: one writer at a time, on every server.
                query = f"SELECT commit_sequence, known_at_us, {HEAD_NAMES} FROM head FOR UPDATE"  # noqa: S608
                sequence, known_at, *names = only(session.rows(query))
                # Strictly later than the commit before, even when this server's clock is behind another's.
                now = max(self._clock.now_us(), known_at + 1)
                session.run("UPDATE head SET commit_sequence = ?, known_at_us = ?", (sequence + 1, now))
                yield Commit(session, now, sequence + 1, self._persons.checked(*names))


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except psycopg.DataError as error:
        # The same would be refused again. The text is not repeated: it may be anything.
        raise InvalidRequest("Un texte de la demande contient un caractère que le magasin ne garde pas.") from error
    except psycopg.Error as error:
        refused = next((text for kind, text in _REFUSALS.items() if isinstance(error, kind)), _NOTHING_DONE)
        raise StoreUnavailable(refused) from error


def _dialect(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")


def _copy_rows(batches: Sequence[Batch], sources: dict[str, int]) -> np.ndarray[Any, np.dtype[np.void]]:
    """Every record of the batches as rows of a binary COPY, numbered in order."""
    records = np.concatenate([np.empty(0, RECORD_DTYPE), *(batch.records for batch in batches)])
    rows = np.zeros(len(records), _COPY_ROW)
    if not len(records):
        return rows
    rows["fields"] = 6
    for name, length in (
        ("place", 4), ("person", 16), ("source", 4), ("record_id", 16), ("version", 4), ("content", _CONTENT_BYTES),
    ):  # fmt: skip
        rows[f"{name}_length"] = length
    rows["place"] = np.arange(len(rows))
    rows["source"] = np.repeat([sources[batch.source_id] for batch in batches], [len(b.records) for b in batches])
    for name in ("person", "record_id"):
        rows[name] = records[name]
    rows["version"] = records["version"].astype(np.int64) - _VERSIONS
    rows["content"] = contents_of(records).view(f"V{_CONTENT_BYTES}")
    return rows
