"""The embedded store: one SQLite file, one writer at a time, readers in every thread and process.

Records are a set of versions, never overwritten; what counts is computed at the read (DESIGN §6.1). A commit is
durable when `append` returns, and only then.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import Batch, BatchOutcome, Clock
from solidarite_server.record_columns import contents_of
from solidarite_server.storage.migrate import migrate
from solidarite_server.storage.sql import Commit, Row, Session, SqlStore, conflict

_BUSY_MS = 10_000


class _SqliteSession:
    """Statements on one connection; StoreUnavailable when SQLite could not carry one out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        try:
            return self.connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise _unavailable() from error

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        try:
            return self.connection.execute(statement, parameters).rowcount
        except sqlite3.Error as error:
            raise _unavailable() from error

    def many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        try:
            self.connection.executemany(statement, parameters)
        except sqlite3.Error as error:
            raise _unavailable() from error


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("Le magasin n'a rien pu enregistrer ni lire : réessayez plus tard.")


class SqliteStore(SqlStore):
    """Implements `ports.Store` on one file."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        super().__init__()
        self._path = path
        self._clock = clock
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._write_lock = threading.Lock()
        try:
            self._writer = self._connect()
            self._writer.run("BEGIN IMMEDIATE")
            try:
                migrate(self._writer, "sqlite")
                self._writer.run("COMMIT")
            except BaseException:
                self._rollback(self._writer)
                raise
        except (sqlite3.DatabaseError, StoreUnavailable) as error:
            self.close()
            raise StoreUnavailable(f"Le fichier {path.name} n'est pas une base utilisable.") from error

    def close(self) -> None:
        """Release every connection."""
        with self._guard:
            while self._connections:
                self._connections.pop().close()

    def check(self) -> list[str]:
        """What is wrong with the file, in French; empty when nothing is."""
        found = [row[0] for row in self._reading().rows("PRAGMA integrity_check") if row[0] != "ok"]
        return [*found, *super().check()]

    def backup(self, target: Path) -> None:
        """Copy the store to a new file while it is in use."""
        with sqlite3.connect(target) as copy:
            self._reading().connection.backup(copy)
        copy.close()

    # Records

    def _add(self, commit: Commit, batches: Sequence[Batch], sources: dict[str, int]) -> list[BatchOutcome]:
        return [self._add_batch(commit, batch, sources[batch.source_id]) for batch in batches]

    def _add_batch(self, commit: Commit, batch: Batch, source: int) -> BatchOutcome:
        accepted = replaced = unchanged = 0
        refusals = []
        content = contents_of(batch.records)
        keys = batch.records[["person", "record_id", "version"]].tolist()
        query = "SELECT version, content FROM record WHERE person = ? AND source = ? AND record_id = ?"
        for index, (person, record_id, version) in enumerate(keys):
            new = content[index].tobytes()
            held = commit.session.rows(query, (person, source, record_id))
            same = next((old for number, old in held if number == version), None)
            if same is None:
                commit.session.run(
                    "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)",
                    (person, source, record_id, version, commit.now_us, new),
                )
                accepted += not held
                replaced += bool(held)
            elif same == new:
                unchanged += 1
            else:
                refusals.append(conflict(index))
        return BatchOutcome(accepted, replaced, unchanged, commit.sequence, tuple(refusals))

    def _versions_of(self, session: Session, persons: Sequence[bytes], horizon: int) -> list[Row]:
        query = (
            "SELECT person, source, record_id, version, known_at_us, content FROM record"
            " WHERE person = ? AND known_at_us <= ?"
        )
        return [row for person in persons for row in session.rows(query, (person, horizon))]

    # Connections

    def _connect(self) -> _SqliteSession:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL, not NORMAL: in WAL mode NORMAL may forget the last commits when power fails,
        # and we have acknowledged them by then.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        with self._guard:
            self._connections.append(connection)
        return _SqliteSession(connection)

    def _reading(self) -> _SqliteSession:
        session: _SqliteSession | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._connect()
        return session

    @contextmanager
    def _snapshot(self) -> Iterator[Session]:
        session = self._reading()
        session.run("BEGIN")
        try:
            yield session
        finally:
            session.run("COMMIT")

    @contextmanager
    def _transaction(self) -> Iterator[Commit]:
        with self._write_lock:
            session = self._writer
            try:
                session.run("BEGIN IMMEDIATE")
                sequence, known_at = session.rows("SELECT commit_sequence, known_at_us FROM head")[0]
                # Strictly later than the commit before, even when the clock steps back.
                now = max(self._clock.now_us(), known_at + 1)
                session.run("UPDATE head SET commit_sequence = ?, known_at_us = ?", (sequence + 1, now))
                yield Commit(session, now, sequence + 1)
                session.run("COMMIT")
            except BaseException:
                self._rollback(session)
                raise

    def _rollback(self, session: _SqliteSession) -> None:
        if session.connection.in_transaction:
            session.run("ROLLBACK")
