"""The embedded store: one SQLite file, one writer at a time, readers in every thread and process.

Records are a set of versions, never overwritten; what counts is computed at the read (DESIGN §6.1). A commit is
durable when `append` returns, and only then.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from solidarite_server.domain.errors import Reason, RequestReplayed, StaleEtag, StoreUnavailable
from solidarite_server.domain.month import Month
from solidarite_server.domain.record import StoredRecord
from solidarite_server.ports import (
    Batch,
    BatchOutcome,
    CampaignBlock,
    CampaignRow,
    Clock,
    Refusal,
    StoredCampaign,
    StoredEvent,
    StoredFoyer,
)
from solidarite_server.record_columns import contents_of, record_from
from solidarite_server.storage.migrate import migrate_sqlite
from solidarite_server.storage.versions import Version, documents_of, told

_BUSY_MS = 10_000


class SqliteStore:
    """Implements `ports.Store` on one file."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._local = threading.local()
        self._names: dict[int, str] = {}
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._write_lock = threading.Lock()
        try:
            self._writer = self._connect()
            migrate_sqlite(self._writer)
        except sqlite3.DatabaseError as error:
            raise StoreUnavailable(f"Le fichier {path.name} n'est pas une base utilisable.") from error

    def close(self) -> None:
        """Release every connection."""
        with self._guard:
            while self._connections:
                self._connections.pop().close()

    # Records

    def append(self, batches: Sequence[Batch]) -> list[BatchOutcome]:
        """Commit batches durably, all or none, and classify each record."""
        with self._transaction() as (connection, now, sequence):
            sources = self._source_ids(connection, {batch.source_id for batch in batches})
            return [self._append(connection, batch, sources[batch.source_id], now, sequence) for batch in batches]

    def position(self, source_id: str, upload_id: str) -> int:
        """Highest batch sequence up to which every batch of the upload is durable."""
        query = "SELECT position FROM upload WHERE source_id = ? AND upload_id = ?"
        row = self._reader().execute(query, (source_id, upload_id)).fetchone()
        return int(row[0]) if row else 0

    def commit_sequence(self) -> int:
        """The newest commit visible here."""
        return int(self._reader().execute("SELECT commit_sequence FROM head").fetchone()[0])

    def last_instant_us(self) -> int:
        """The instant of that commit, 0 before the first."""
        return int(self._reader().execute("SELECT known_at_us FROM head").fetchone()[0])

    def records_of(
        self,
        persons: Sequence[bytes],
        first: Month | None = None,
        last: Month | None = None,
        *,
        known_at_us: int | None = None,
    ) -> list[StoredRecord]:
        """Every version held on these persons for these months, each told effective or not at that instant."""
        connection = self._reader()
        horizon = (1 << 62) if known_at_us is None else known_at_us
        query = (
            "SELECT person, source, record_id, version, known_at_us, content FROM record"
            " WHERE person = ? AND known_at_us <= ?"
        )
        connection.execute("BEGIN")
        try:
            rows = [row for p in sorted(set(persons)) for row in connection.execute(query, (p, horizon))]
            names = self._source_names(connection, {row[1] for row in rows})
            versions = [Version(record_from(r[0], names[r[1]], r[2], r[3], r[5]), r[4]) for r in rows]
            sealed = self._sealed(connection, versions, {name: number for number, name in names.items()}, horizon)
        finally:
            connection.execute("COMMIT")
        return told(versions, sealed, first, last)

    def _append(
        self, connection: sqlite3.Connection, batch: Batch, source: int, now: int, sequence: int
    ) -> BatchOutcome:
        accepted = replaced = unchanged = 0
        refusals = []
        content = contents_of(batch.records)
        keys = batch.records[["person", "record_id", "version"]].tolist()
        for index, (person, record_id, version) in enumerate(keys):
            new = content[index].tobytes()
            held = connection.execute(
                "SELECT version, content FROM record WHERE person = ? AND source = ? AND record_id = ?",
                (person, source, record_id),
            ).fetchall()
            same = next((old for number, old in held if number == version), None)
            if same is None:
                connection.execute(
                    "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", (person, source, record_id, version, now, new)
                )
                accepted += not held
                replaced += bool(held)
            elif same == new:
                unchanged += 1
            else:
                message = "Cette version existe déjà avec un autre contenu : envoyez une version plus haute."
                refusals.append(Refusal(index, False, "version", Reason.RECORD_CONFLICT, message))
        refusals.extend(self._seal(connection, batch, source, now))
        self._advance(connection, batch)
        return BatchOutcome(accepted, replaced, unchanged, sequence, tuple(refusals))

    def _seal(self, connection: sqlite3.Connection, batch: Batch, source: int, now: int) -> list[Refusal]:
        refusals = []
        for index, seal in enumerate(batch.seals):
            key = (source, seal.document_id, seal.version)
            query = "SELECT record_count FROM document_seal WHERE source = ? AND document_id = ? AND version = ?"
            held = connection.execute(query, key).fetchone()
            if held is None:
                connection.execute("INSERT INTO document_seal VALUES (?, ?, ?, ?, ?)", (*key, seal.record_count, now))
            elif held[0] != seal.record_count:
                message = "Cette version du document est déjà close avec un autre nombre d'enregistrements."
                refusals.append(Refusal(index, True, "record_count", Reason.DOCUMENT_CONFLICT, message))
        return refusals

    def _advance(self, connection: sqlite3.Connection, batch: Batch) -> None:
        key = (batch.source_id, batch.upload_id)
        row = connection.execute("SELECT position FROM upload WHERE source_id = ? AND upload_id = ?", key).fetchone()
        position = row[0] if row else 0
        if batch.batch_sequence > position:
            connection.execute("INSERT OR IGNORE INTO upload_ahead VALUES (?, ?, ?)", (*key, batch.batch_sequence))
            ahead = connection.execute(
                "SELECT batch_sequence FROM upload_ahead WHERE source_id = ? AND upload_id = ? ORDER BY batch_sequence",
                key,
            ).fetchall()
            for (number,) in ahead:
                if number != position + 1:
                    break
                position = number
            connection.execute(
                "DELETE FROM upload_ahead WHERE source_id = ? AND upload_id = ? AND batch_sequence <= ?",
                (*key, position),
            )
            connection.execute("INSERT OR REPLACE INTO upload VALUES (?, ?, ?)", (*key, position))

    def _source_ids(self, connection: sqlite3.Connection, names: set[str]) -> dict[str, int]:
        for name in sorted(names):
            connection.execute("INSERT OR IGNORE INTO source (name) VALUES (?)", (name,))
        return {
            name: connection.execute("SELECT id FROM source WHERE name = ?", (name,)).fetchone()[0] for name in names
        }

    def _source_names(self, connection: sqlite3.Connection, numbers: set[int]) -> dict[int, str]:
        if not numbers <= self._names.keys():
            self._names = dict(connection.execute("SELECT id, name FROM source").fetchall())
        return self._names

    def _sealed(
        self, connection: sqlite3.Connection, versions: Sequence[Version], numbers: dict[str, int], horizon: int
    ) -> dict[tuple[str, bytes], int]:
        """Highest version sealed, known at the horizon, of each document that the records belong to."""
        query = "SELECT max(version) FROM document_seal WHERE source = ? AND document_id = ? AND known_at_us <= ?"
        return {
            (source, document): connection.execute(query, (numbers[source], document, horizon)).fetchone()[0] or 0
            for source, document in documents_of(versions)
        }

    # Dossiers

    def put_foyers(self, dossiers: Sequence[tuple[str, bytes]]) -> tuple[list[bool], int]:
        """Keep dossiers durably; True where the content is new."""
        changed = []
        with self._transaction() as (connection, now, sequence):
            for numero, payload in dossiers:
                query = "SELECT payload FROM foyer WHERE numero_allocataire = ? ORDER BY known_at_us DESC LIMIT 1"
                held = connection.execute(query, (numero,)).fetchone()
                new = held is None or held[0] != payload
                if new:
                    connection.execute("INSERT OR REPLACE INTO foyer VALUES (?, ?, ?)", (numero, now, payload))
                changed.append(new)
        return changed, sequence

    def foyer(self, numero_allocataire: str, *, known_at_us: int | None = None) -> StoredFoyer | None:
        """The newest version, or the newest known at that instant."""
        query = (
            "SELECT payload, known_at_us FROM foyer WHERE numero_allocataire = ? AND known_at_us <= ?"
            " ORDER BY known_at_us DESC LIMIT 1"
        )
        horizon = (1 << 62) if known_at_us is None else known_at_us
        row = self._reader().execute(query, (numero_allocataire, horizon)).fetchone()
        return StoredFoyer(row[0], row[1]) if row else None

    def foyers_between(self, after: str, up_to: str | None) -> list[tuple[str, StoredFoyer]]:
        """The newest versions of the dossiers of a range of numbers."""
        query = (
            "SELECT numero_allocataire, payload, max(known_at_us) FROM foyer WHERE numero_allocataire > ?"
            " AND numero_allocataire <= ? GROUP BY numero_allocataire ORDER BY numero_allocataire"
        )
        rows = self._reader().execute(query, (after, _up_to(up_to))).fetchall()
        return [(numero, StoredFoyer(payload, known_at)) for numero, payload, known_at in rows]

    def foyer_bounds(self, step: int) -> list[str]:
        """The last number of every block of `step` dossiers."""
        query = (
            "SELECT numero_allocataire FROM (SELECT numero_allocataire, row_number() OVER"
            " (ORDER BY numero_allocataire) AS place FROM (SELECT DISTINCT numero_allocataire FROM foyer))"
            " WHERE place % ? = 0 ORDER BY numero_allocataire"
        )
        return [row[0] for row in self._reader().execute(query, (step,))]

    # Declarations

    def append_event(
        self,
        numero_allocataire: str,
        mois_declaration: Month,
        *,
        expected_sequence: int,
        kind: str,
        payload: bytes,
        request_id: str,
        body_hash: bytes,
    ) -> StoredEvent:
        """Add an event after `expected_sequence`, durably; the same request gives the event already stored."""
        key = (numero_allocataire, mois_declaration.index)
        with self._transaction() as (connection, now, _):
            query = (
                "SELECT sequence, kind, payload, request_id, known_at_us, body_hash FROM declaration_event"
                " WHERE numero_allocataire = ? AND mois = ? AND request_id = ?"
            )
            held = connection.execute(query, (*key, request_id)).fetchone()
            if held is not None:
                if held[5] != body_hash:
                    raise RequestReplayed("Cet identifiant de requête a déjà servi pour un autre contenu.")
                return StoredEvent(*held[:5])
            query = "SELECT max(sequence) FROM declaration_event WHERE numero_allocataire = ? AND mois = ?"
            last = connection.execute(query, key).fetchone()[0] or 0
            if last != expected_sequence:
                raise StaleEtag("La déclaration a changé depuis sa lecture : relisez-la avant de continuer.")
            event = StoredEvent(last + 1, kind, payload, request_id, now)
            connection.execute(
                "INSERT INTO declaration_event VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, event.sequence, kind, payload, request_id, body_hash, now),
            )
        return event

    def events(
        self, numero_allocataire: str, mois_declaration: Month, *, known_at_us: int | None = None
    ) -> list[StoredEvent]:
        """The events, oldest first."""
        query = (
            "SELECT sequence, kind, payload, request_id, known_at_us FROM declaration_event"
            " WHERE numero_allocataire = ? AND mois = ? AND known_at_us <= ? ORDER BY sequence"
        )
        horizon = (1 << 62) if known_at_us is None else known_at_us
        rows = self._reader().execute(query, (numero_allocataire, mois_declaration.index, horizon)).fetchall()
        return [StoredEvent(*row) for row in rows]

    def events_between(self, mois_declaration: Month, after: str, up_to: str | None) -> dict[str, list[StoredEvent]]:
        """The events of a month's declarations, for a range of dossiers."""
        query = (
            "SELECT numero_allocataire, sequence, kind, payload, request_id, known_at_us FROM declaration_event"
            " WHERE mois = ? AND numero_allocataire > ? AND numero_allocataire <= ?"
            " ORDER BY numero_allocataire, sequence"
        )
        found: dict[str, list[StoredEvent]] = {}
        for numero, *event in self._reader().execute(query, (mois_declaration.index, after, _up_to(up_to))):
            found.setdefault(numero, []).append(StoredEvent(*event))
        return found

    # Campaigns

    def start_campaign(self, campaign_id: str, mois_declaration: Month, bounds: Sequence[str]) -> StoredCampaign:
        """Keep a campaign, or give the one already kept under that identifier."""
        with self._transaction() as (connection, _, _):
            connection.execute(
                "INSERT OR IGNORE INTO campaign VALUES (?, ?, ?)",
                (campaign_id, mois_declaration.index, json.dumps(list(bounds))),
            )
        found = self.campaign(campaign_id)
        assert found is not None
        return found

    def campaign(self, campaign_id: str) -> StoredCampaign | None:
        """How far it is."""
        reader = self._reader()
        row = reader.execute("SELECT mois, bounds FROM campaign WHERE campaign_id = ?", (campaign_id,)).fetchone()
        if row is None:
            return None
        query = (
            "SELECT number, done, refusals, rsa_total_cents, prime_activite_total_cents FROM campaign_block"
            " WHERE campaign_id = ? ORDER BY number"
        )
        blocks = [
            CampaignBlock(number, done, json.loads(refusals), rsa, prime)
            for number, done, refusals, rsa, prime in reader.execute(query, (campaign_id,))
        ]
        return StoredCampaign(Month.from_index(row[0]), tuple(json.loads(row[1])), tuple(blocks))

    def keep_block(self, campaign_id: str, block: CampaignBlock, rows: Sequence[CampaignRow]) -> None:
        """Keep a block and its results in one commit."""
        with self._transaction() as (connection, _, _):
            kept = connection.execute(
                "INSERT OR IGNORE INTO campaign_block VALUES (?, ?, ?, ?, ?, ?)",
                (
                    campaign_id,
                    block.number,
                    block.done,
                    json.dumps(dict(block.refusals)),
                    block.rsa_total_cents,
                    block.prime_activite_total_cents,
                ),
            )
            if kept.rowcount:
                connection.executemany(
                    "INSERT INTO campaign_row VALUES (?, ?, ?, ?)",
                    [(campaign_id, row.numero_allocataire, row.rsa_cents, row.prime_activite_cents) for row in rows],
                )

    def campaign_row(self, campaign_id: str, numero_allocataire: str) -> CampaignRow | None:
        """The result of one foyer."""
        query = (
            "SELECT numero_allocataire, rsa_cents, prime_activite_cents FROM campaign_row"
            " WHERE campaign_id = ? AND numero_allocataire = ?"
        )
        row = self._reader().execute(query, (campaign_id, numero_allocataire)).fetchone()
        return CampaignRow(*row) if row else None

    # Audit

    def write(self, actor: str, action: str, subject: str, purpose: str) -> None:
        """Add an audit line durably, chained to the one before."""
        with self._transaction() as (connection, now, _):
            last = connection.execute("SELECT hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
            digest = _audit_hash(last[0] if last else b"", now, actor, action, subject, purpose)
            connection.execute(
                "INSERT INTO audit (at_us, actor, action, subject, purpose, hash) VALUES (?, ?, ?, ?, ?, ?)",
                (now, actor, action, subject, purpose, digest),
            )

    def broken_audit_line(self) -> int | None:
        """The first line that does not follow from the one before, or None when the chain holds."""
        before = b""
        query = "SELECT id, at_us, actor, action, subject, purpose, hash FROM audit ORDER BY id"
        for place, (number, *line, digest) in enumerate(self._reader().execute(query), start=1):
            if number != place or _audit_hash(before, *line) != digest:
                return place
            before = digest
        return None

    # Upkeep

    def check(self) -> list[str]:
        """What is wrong with the file, in French; empty when nothing is."""
        found = [row[0] for row in self._reader().execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
        broken = self.broken_audit_line()
        if broken is not None:
            found.append(f"La chaîne d'audit est rompue à la ligne {broken}.")
        return found

    def backup(self, target: Path) -> None:
        """Copy the store to a new file while it is in use."""
        with sqlite3.connect(target) as copy:
            self._reader().backup(copy)
        copy.close()

    # Connections

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL, not NORMAL: in WAL mode NORMAL may forget the last commits when power fails,
        # and we have acknowledged them by then.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        with self._guard:
            self._connections.append(connection)
        return connection

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sqlite3.Connection, int, int]]:
        """A write transaction: connection, instant and sequence of its commit. Rolled back on any error."""
        with self._write_lock:
            connection = self._writer
            try:
                connection.execute("BEGIN IMMEDIATE")
                sequence, known_at = connection.execute("SELECT commit_sequence, known_at_us FROM head").fetchone()
                # Strictly later than the commit before, even when the clock steps back.
                now = max(self._clock.now_us(), known_at + 1)
                connection.execute("UPDATE head SET commit_sequence = ?, known_at_us = ?", (sequence + 1, now))
                yield connection, now, sequence + 1
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._rollback(connection)
                raise StoreUnavailable("Le magasin n'a rien pu enregistrer : réessayez plus tard.") from error
            except BaseException:
                self._rollback(connection)
                raise

    def _rollback(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _up_to(numero_allocataire: str | None) -> str:
    """The end of a range of dossiers; beyond every number when open."""
    return "\U0010ffff" if numero_allocataire is None else numero_allocataire


def _audit_hash(before: bytes, at_us: int, actor: str, action: str, subject: str, purpose: str) -> bytes:
    digest = hashlib.sha256(before)
    for part in (str(at_us), actor, action, subject, purpose):
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()
