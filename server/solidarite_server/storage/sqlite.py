"""The embedded store: one SQLite file, one writer at a time, readers in every thread and process.

Records are a set of versions, never overwritten; what counts is computed at the read (DESIGN §6.1). A commit is
durable when `append` returns, and only then.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import Batch, BatchOutcome, Clock
from solidarite_server.record_columns import RECORD_DTYPE, contents_of
from solidarite_server.services.keyring import Keyring
from solidarite_server.storage.migrate import migrate
from solidarite_server.storage.runs import CONTENT_BYTES, RUN_ROW, RunRows, Runs
from solidarite_server.storage.sql import Commit, Row, Session, SqlStore, only
from solidarite_server.storage.versions import classified, outcomes

_BUSY_MS = 10_000
_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file makes SQLite say, its own message included."""
_MERGED_ROWS_A_ROW = 5
"""Rows merged after a commit, for each row that it added: as many as a row is merged times over its life, and some."""


class _SqliteSession:
    """Statements on one connection; StoreUnavailable when SQLite could not carry one out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        try:
            return self.connection.execute(statement, parameters).fetchall()
        except _ERRORS as error:
            raise _unavailable() from error

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        try:
            return self.connection.execute(statement, parameters).rowcount
        except _ERRORS as error:
            raise _unavailable() from error

    def many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        try:
            self.connection.executemany(statement, parameters)
        except _ERRORS as error:
            raise _unavailable() from error


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("Le magasin n'a rien pu enregistrer ni lire : réessayez plus tard.")


class SqliteStore(SqlStore):
    """Implements `ports.Store` on one file."""

    def __init__(self, path: Path, *, clock: Clock, keys: Keyring | None = None) -> None:
        super().__init__(keys)
        self._path = path
        self._clock = clock
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._write_lock = threading.Lock()
        self._runs = Runs()
        self._tidying = False
        self._lock_file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._writer = self._connect()
            with self._begun(self._writer):
                migrate(self._writer, "sqlite")
        except (*_ERRORS, StoreUnavailable) as error:
            self.close()
            raise StoreUnavailable(f"Le fichier {path.name} n'est pas une base utilisable.") from error

    def close(self) -> None:
        """Release every connection."""
        with self._guard:
            while self._connections:
                self._connections.pop().close()
            if self._lock_file >= 0:
                os.close(self._lock_file)
                self._lock_file = -1

    def check(self) -> list[str]:
        """What is wrong with the file, in French; empty when nothing is."""
        found = [row[0] for row in self._reading().rows("PRAGMA integrity_check") if row[0] != "ok"]
        with self._snapshot() as session:
            found.extend(self._runs.check(session))
        return [*found, *super().check()]

    def backup(self, target: Path) -> None:
        """Copy the store to a new file while it is in use."""
        with sqlite3.connect(target) as copy:
            self._reading().connection.backup(copy)
        copy.close()

    # Records

    def append(self, batches: Sequence[Batch]) -> list[BatchOutcome]:
        """Commit batches durably, all or none, and classify each record; then merge some runs."""
        found = super().append(batches)
        self.tidy(_MERGED_ROWS_A_ROW * sum(len(batch.records) for batch in batches))
        return found

    def tidy(self, rows: int) -> None:
        """Merge runs, and remove dead ones, by small commits of their own, until that many rows were moved.

        One process at a time does it. What fails is left for later: nothing acknowledged depends on it.
        """
        while rows > 0:
            try:
                with self._write_lock, self._begun(self._writer):
                    if not self._tidies(self._writer):
                        return
                    moved = self._runs.step(self._writer)
            except StoreUnavailable:
                self._runs.forget_merge()
                self._tidying = False
                return
            if not moved:
                return
            rows -= moved

    def _tidies(self, session: Session) -> bool:
        """Whether this process merges: the one that holds the lock file. A process ended has let it go."""
        if not self._tidying:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            self._tidying = True
            self._runs.abandon_unfinished(session)
        return True

    def _add(self, commit: Commit, batches: Sequence[Batch], sources: dict[str, int]) -> list[BatchOutcome]:
        rows = _rows_of(batches, sources, commit.now_us)
        found = classified(rows, self._runs.held(commit.session, rows))
        kept = np.ones(len(rows), dtype=bool)
        kept[[*found.unchanged, *found.refused]] = False
        self._runs.add(commit.session, rows[kept])
        return outcomes(batches, found, commit.sequence)

    def _versions_of(self, session: Session, persons: Sequence[bytes], horizon: int) -> list[Row]:
        return self._runs.of_persons(session, persons, horizon)

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
        with self._write_lock, self._begun(self._writer) as session:
            sequence, known_at = only(session.rows("SELECT commit_sequence, known_at_us FROM head"))
            # Strictly later than the commit before, even when the clock steps back.
            now = max(self._clock.now_us(), known_at + 1)
            session.run("UPDATE head SET commit_sequence = ?, known_at_us = ?", (sequence + 1, now))
            yield Commit(session, now, sequence + 1)

    @contextmanager
    def _begun(self, session: _SqliteSession) -> Iterator[_SqliteSession]:
        """A transaction that no other process writes during; rolled back on any error."""
        try:
            session.run("BEGIN IMMEDIATE")
            yield session
            session.run("COMMIT")
        except BaseException:
            if session.connection.in_transaction:
                session.run("ROLLBACK")
            raise


def _rows_of(batches: Sequence[Batch], sources: dict[str, int], now_us: int) -> RunRows:
    """Every record of the batches, in order."""
    records = np.concatenate([np.empty(0, RECORD_DTYPE), *(batch.records for batch in batches)])
    rows = np.empty(len(records), RUN_ROW)
    for name in ("person", "record_id", "version"):
        rows[name] = records[name]
    rows["source"] = np.repeat([sources[b.source_id] for b in batches], [len(b.records) for b in batches])
    rows["known_at_us"] = now_us
    rows["content"] = contents_of(records).view(f"V{CONTENT_BYTES}")
    return rows
