"""The embedded store: one SQLite file, one writer at a time, readers in every thread and process.

Records are a set of versions, never overwritten; what counts is computed at the read (docs/stockage.md). A commit is
durable when `append` returns, and only then.

A thread of the store merges runs and writes the log back to the file, on a connection of its own: its commits need
not be durable at once, for the next acknowledged one makes them so, and nothing is lost with them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import Batch, BatchOutcome, Clock, Volume
from solidarite_server.record_columns import RECORD_DTYPE, contents_of
from solidarite_server.services.keyring import KeyFileError, Keyring
from solidarite_server.storage import rewriting
from solidarite_server.storage.merging import Merging, purge
from solidarite_server.storage.migrate import Change, SchemaError, migrate
from solidarite_server.storage.persons import HEAD_NAMES
from solidarite_server.storage.runs import CONTENT_BYTES, FAN_IN, RUN_ROW, RunRows, Runs
from solidarite_server.storage.sql import Commit, Row, Session, SqlStore, only
from solidarite_server.storage.turns import Turns
from solidarite_server.storage.versions import classified, outcomes

_BUSY_MS = 10_000
_LOG_BUSY_MS = 500
"""Writers wait no longer than that for a read to let go of the log."""
_WIPE_SECONDS = 30.0
"""How long a read is waited for before whoever wants something overwritten is told to come back."""
_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file makes SQLite say, its own message included."""
_PAGE_BYTES = 8_192
"""A block of records fills one: nothing of it lies elsewhere."""
_CACHE_KIB = 8_192
_LOGGED_ROWS = 300_000
"""Rows written between two writings of the log back to the file: 36 MiB."""
_LOG_LIMIT_PAGES = 32_768
"""Where a commit writes the log back itself, should the thread not have."""
_LOG_LIMIT_BYTES = 64 << 20
_CROWDED_RUNS = 6 * FAN_IN
_CROWDED_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_REST = 3
"""Times as long as a step of the merges took that they rest after it."""
_FADING = 0.875
"""What counts of the rows merged and added before, from one step to the next: about the last eight."""
_WIPED_PAGES = 2_000
"""At once, while writers wait."""
_WIPES_LOGGED = 8
"""Between two writings of the log back to the file."""
_PREFIX_SHIFT = 64
"""From the prefix of a person to the whole of it."""


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


def make_private(path: Path) -> None:
    """Make the file, for its owner alone, where there is none; OSError when it cannot be read and written.

    One that is there is not opened: to close it would let go of the locks that this process has on it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "", str(path))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, "", str(path)) from None


def _trouble(error: BaseException) -> str:
    """What SQLite has against a file, in French."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "est occupé par un autre programme : réessayez quand il a fini"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return "ne peut pas être écrit : le disque est plein, ou ne répond pas"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return "ne peut pas être écrit : voyez ses droits et ceux de son répertoire"
    return "n'est pas une base utilisable"


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("Le magasin n'a rien pu enregistrer ni lire : réessayez plus tard.")


class SqliteStore(SqlStore):
    """Implements `ports.Store` on one file."""

    tidies_beside: ClassVar[bool] = True
    """Merge runs in a thread of its own; otherwise within `append`, after the commit."""

    def __init__(self, path: Path, *, clock: Clock, keys: Keyring | None = None, allowed: Change = "create") -> None:
        """OSError for a file that cannot be had, StoreUnavailable for no database; SchemaError, KeyFileError."""
        super().__init__(keys)
        make_private(path)
        self._path = path
        self._clock = clock
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._write_lock = Turns()
        self._runs = Runs()
        self._merging = Merging(self._runs)
        self._tidying = False
        self._tidier: _SqliteSession | None = None
        self._thread: threading.Thread | None = None
        self._work = threading.Condition()
        self._logged_rows = 0
        self._added_rows = self._merged_rows = 0.0
        """Of late: each step of the merges makes what was before it count for less."""
        self._stopping = False
        self._lock_file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._writer = self._connect()
            self._writer.run(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # What is removed from the tables is overwritten: they change little, and it may be a person's.
            self._writer.run("PRAGMA secure_delete = ON")
            with self._begun(self._writer):
                migrate(self._writer, "sqlite", allowed)
                self._persons.adopt(self._writer)
        except (KeyFileError, SchemaError):
            self.close()
            raise
        except (*_ERRORS, StoreUnavailable) as error:
            self.close()
            raise StoreUnavailable(f"Le fichier {path.name} {_trouble(error.__cause__ or error)}.") from error

    def close(self) -> None:
        """Release every connection."""
        with self._work:
            self._stopping = True
            self._work.notify_all()
        if self._thread is not None:
            self._thread.join()
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

    def volume(self) -> Volume:
        """How much it holds."""
        with self._snapshot() as session:
            (pages,), (size,) = only(session.rows("PRAGMA page_count")), only(session.rows("PRAGMA page_size"))
            return Volume(pages * size, len(self._runs.live(session)))

    def backup(self, target: Path) -> None:
        """Copy the store to a new file while it is in use; OSError, or StoreUnavailable when it cannot be read.

        Only a whole copy takes the name: one that was interrupted must not be taken for a store.
        """
        partial = target.with_name(target.name + ".partielle")
        partial.unlink(missing_ok=True)
        make_private(partial)
        try:
            with closing(sqlite3.connect(partial)) as copy:
                self._reading().connection.backup(copy)
            os.replace(partial, target)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"La copie {target.name} n'est pas faite : le fichier {_trouble(error)}.") from error
        finally:
            for suffix in ("", "-journal"):
                partial.with_name(partial.name + suffix).unlink(missing_ok=True)

    # Records

    def append(self, batches: Sequence[Batch]) -> list[BatchOutcome]:
        """Commit batches durably, all or none, and classify each record; runs are merged afterwards."""
        found = super().append(batches)
        self._tidy_soon(sum(len(batch.records) for batch in batches))
        return found

    def _tidy_soon(self, rows: int) -> None:
        """Runs were added, and so many rows logged: some may be due to be merged."""
        self._logged_rows += rows
        self._added_rows += rows
        if not self.tidies_beside:
            self.tidy()
            return
        with self._work:
            if self._thread is None:
                self._thread = threading.Thread(target=self._tidy_beside, name="store-tidy", daemon=True)
                self._thread.start()
            self._work.notify_all()
            if self._tidying and self._crowded():
                # Merging is behind: reads would slow down. Whoever sends waits a little.
                self._work.wait_for(lambda: self._stopping or not self._crowded(), _CROWDED_SECONDS)

    def _pressed(self) -> bool:
        """Whether more comes in than is merged meanwhile: a row is merged once for each level, far fewer times."""
        return self._merged_rows < FAN_IN * self._added_rows

    def _crowded(self) -> bool:
        """Whether the runs pile up. Those of before are merged in time when less comes in."""
        return self._runs.depth > _CROWDED_RUNS and self._pressed()

    def tidy(self) -> None:
        """Merge runs, and remove dead ones, by small commits of their own, until nothing is left to do.

        One process at a time does it. What fails is left for later: nothing acknowledged depends on it.
        """
        with suppress(StoreUnavailable):
            while self._tidied_some():
                pass

    def _tidy_beside(self) -> None:
        while not self._stopping:
            start = time.perf_counter()
            try:
                if self._tidied_some():
                    self._rest(time.perf_counter() - start)
                else:
                    with self._work:
                        self._work.wait(_RETRY_SECONDS)
            except StoreUnavailable:
                with self._work:
                    self._work.wait_for(lambda: self._stopping, _RETRY_SECONDS)

    def _rest(self, worked: float) -> None:
        """Leave the interpreter, the lock and the disk to the calls for some times as long as a step took, unless more
        comes in than is merged.
        """
        with self._work:
            if not self._pressed():
                self._work.wait_for(lambda: self._stopping or self._crowded(), _REST * worked)
            # Not from nothing: a commit of a flood is as large as a slice, and between two there would be time to rest.
            self._added_rows *= _FADING
            self._merged_rows *= _FADING

    def _tidied_some(self) -> bool:
        """One step of what there is to do beside the commits; False when there is nothing."""
        if self._tidier is None:
            self._tidier = self._connected_tidier()
        try:
            done = self._tidies(self._tidier) and self._step(self._tidier)
        except StoreUnavailable:
            self._tidying = False
            raise
        if self._logged_rows > _LOGGED_ROWS:
            self._logged_rows = 0
            self._write_log_back(self._tidier)
        with self._work:
            self._work.notify_all()
        return done

    def _step(self, session: _SqliteSession) -> bool:
        with _reading_transaction(session):
            due = self._merging.due(session)
        if due is None:
            with self._write_lock, self._begun(session):
                return purge(session) > 0
        level, sources = due
        if sources:
            with self._write_lock, self._begun(session):
                self._merging.begin(session, level, sources)
        with _reading_transaction(session):
            piece = self._merging.prepare(session, level)
        with self._write_lock, self._begun(session):
            written = self._merging.write(session, piece)
        self._logged_rows += written
        self._merged_rows += written
        return True

    def _tidies(self, session: _SqliteSession) -> bool:
        """Whether this process merges: the one that holds the lock file. A process ended has let it go."""
        if not self._tidying:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            with self._write_lock, self._begun(session):
                self._merging.abandon(session)
            self._tidying = True
        return True

    def _write_log_back(self, session: _SqliteSession, mode: str = "RESTART") -> bool:
        """Write the log back, so that it begins again, or ends; False while a read needs what it holds."""
        # First most of it, beside the commits; then the rest while they wait, but not for the end of a long read. Twice
        # beside them: SQLite syncs the file only where no commit came meanwhile, which the short second time lets be.
        session.rows("PRAGMA wal_checkpoint(PASSIVE)")
        session.rows("PRAGMA wal_checkpoint(PASSIVE)")
        with self._write_lock:
            session.run(f"PRAGMA busy_timeout = {_LOG_BUSY_MS}")
            ((busy, _, _),) = session.rows(f"PRAGMA wal_checkpoint({mode})")
            session.run(f"PRAGMA busy_timeout = {_BUSY_MS}")
        return not busy

    def _connected_tidier(self) -> _SqliteSession:
        session = self._connect()
        # Its commits become durable with the next one that is acknowledged, which comes later in the log.
        session.run("PRAGMA synchronous = NORMAL")
        # Pages freed are soon written again, with other rows: to overwrite them meanwhile would be to write all that is
        # merged once more. Whoever is erased is overwritten there too (`wipe`).
        session.run("PRAGMA secure_delete = OFF")
        return session

    def _add(self, commit: Commit, batches: Sequence[Batch], sources: dict[str, int]) -> list[BatchOutcome]:
        rows = _rows_of(batches, sources, commit.now_us)
        looked_for = self._under_each_name(rows, commit.names)
        found = classified(rows, [held for named in looked_for for held in self._runs.held(commit.session, named)])
        kept = np.ones(len(rows), dtype=bool)
        kept[[*found.unchanged, *found.refused]] = False
        self._runs.add(commit.session, rows[kept])
        return outcomes(batches, found, commit.sequence)

    def _versions_of(self, session: Session, persons: Sequence[bytes], horizon: int) -> list[Row]:
        return self._runs.of_persons(session, persons, horizon)

    # Persons

    def renew_some(self) -> bool:
        """Rename some records or dossiers in one short transaction; runs are merged afterwards."""
        some = super().renew_some()
        self._tidy_soon(2 * rewriting.RENEWED_ROWS)  # written in one place, overwritten in another
        return some

    def _begin_records(self, session: Session) -> None:
        rewriting.begin_renewal(session, self._runs)

    def _renew_records(self, session: Session, first: int, change: Callable[[bytes], bytes]) -> int:
        return rewriting.renew_some(session, self._runs, change) << _PREFIX_SHIFT

    def _holds_old_names(self, session: Session) -> bool:
        return any(run.part.before for run in self._runs.live(session))

    def _remove_person(self, session: Session, person: bytes) -> int:
        return rewriting.remove_person(session, self._runs, person)

    def _remove_paid_before(self, session: Session, day: int) -> int:
        return rewriting.remove_paid_before(session, self._runs, day)

    def _holds(self, column: str) -> str:
        return f"instr({column}, ?) > 0"

    def wipe(self) -> None:
        """Overwrite what was removed; StoreUnavailable while a long read needs it."""
        # Dead runs go first. Then free pages, which still hold what merges left in them: they are taken for values of
        # zeros. Then the log, which holds what was removed until it is written back. All by short transactions.
        while self._briefly(purge):
            pass
        free = self._briefly(_begin_zeros)
        for number, start in enumerate(range(0, free, _WIPED_PAGES), 1):
            size = min(free - start, _WIPED_PAGES) * _PAGE_BYTES
            self._briefly(partial(_take_for_zeros, size=size))
            if number % _WIPES_LOGGED == 0:
                self._write_log_back(self._reading())
        while self._briefly(_free_zeros):
            pass
        limit = time.monotonic() + _WIPE_SECONDS
        while not self._write_log_back(self._reading(), "TRUNCATE"):
            if time.monotonic() > limit:
                raise StoreUnavailable(
                    "Ce qui a été retiré n'est plus lu, mais reste dans le fichier tant que dure une longue lecture "
                    "(sauvegarde, vérification, campagne) : relancez la même commande ensuite."
                )
            time.sleep(_LOG_BUSY_MS / 1000)  # the turn of those who write

    def _briefly(self, act: Callable[[_SqliteSession], int]) -> int:
        """One short transaction among several; as long as it took is left to whoever else writes."""
        start = time.perf_counter()
        with self._write_lock, self._begun(self._writer) as session:
            done = act(session)
        time.sleep(time.perf_counter() - start)  # SQLite lets in whichever process asks first
        return done

    # Connections

    def _connect(self) -> _SqliteSession:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL, not NORMAL: in WAL mode NORMAL may forget the last commits when power fails,
        # and we have acknowledged them by then.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_LIMIT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT_BYTES}")
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
        if session.connection.in_transaction:
            yield session
        else:
            with _reading_transaction(session):
                yield session

    @contextmanager
    def _transaction(self) -> Iterator[Commit]:
        with self._write_lock, self._begun(self._writer) as session:
            query = f"SELECT commit_sequence, known_at_us, {HEAD_NAMES} FROM head"  # noqa: S608
            sequence, known_at, *names = only(session.rows(query))
            # Strictly later than the commit before, even when the clock steps back.
            now = max(self._clock.now_us(), known_at + 1)
            session.run("UPDATE head SET commit_sequence = ?, known_at_us = ?", (sequence + 1, now))
            yield Commit(session, now, sequence + 1, self._persons.checked(*names))

    @contextmanager
    def _begun(self, session: _SqliteSession) -> Iterator[_SqliteSession]:
        """A transaction that no other process writes during; rolled back on any error."""
        try:
            session.run("BEGIN IMMEDIATE")
            yield session
            session.run("COMMIT")
        except BaseException:
            self._runs.forget()
            if session.connection.in_transaction:
                session.run("ROLLBACK")
            raise


@contextmanager
def _reading_transaction(session: _SqliteSession) -> Iterator[None]:
    session.run("BEGIN")
    try:
        yield
    finally:
        session.run("COMMIT")


def _begin_zeros(session: _SqliteSession) -> int:
    """Make the table that takes the free pages; how many there are."""
    session.run("DROP TABLE IF EXISTS zeros")  # of a process that ended meanwhile
    (free,) = only(session.rows("PRAGMA freelist_count"))
    session.run("CREATE TABLE zeros (data BLOB)")
    return int(free)


def _take_for_zeros(session: _SqliteSession, size: int) -> int:
    return session.run("INSERT INTO zeros VALUES (zeroblob(?))", (size,))


def _free_zeros(session: _SqliteSession) -> int:
    """Free some of the pages that are zeros now, or the table once it has none; how many values were freed."""
    session.run("PRAGMA secure_delete = OFF")  # zeros need not be overwritten by zeros
    try:
        freed = session.run("DELETE FROM zeros WHERE rowid = (SELECT min(rowid) FROM zeros)")
    finally:
        session.run("PRAGMA secure_delete = ON")
    if not freed:
        session.run("DROP TABLE zeros")
    return freed


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
