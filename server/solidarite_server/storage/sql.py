"""What every SQL store does the same way. The statements are plain SQL, with `?` for parameters.

A write transaction begins by taking the one row of `head`: writers go one at a time, on every server, so that commits
have a sequence and an instant that only grow, and what is read as known at an instant can be read again.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.errors import Reason, StoreUnavailable
from solidarite_server.domain.month import Month
from solidarite_server.domain.record import StoredRecord
from solidarite_server.ports import (
    AuditAnchor,
    AuditLine,
    Batch,
    BatchOutcome,
    CampaignBlock,
    CampaignRow,
    Change,
    KeptFoyers,
    NewEvent,
    NewFoyers,
    Outcome,
    Refusal,
    StoredAuditLine,
    StoredCampaign,
    StoredEvent,
    StoredFoyer,
)
from solidarite_server.record_columns import record_from
from solidarite_server.services.keyring import Keyring
from solidarite_server.storage import audit, declarations
from solidarite_server.storage.personal import PersonalDataSql
from solidarite_server.storage.persons import NAMES, PERSON_BYTES, Names, Persons, Renewal
from solidarite_server.storage.sums import AHEAD, EVENT, FOYER, UPLOAD, intact, with_sum, wrong
from solidarite_server.storage.versions import Version, documents_of, of_months, told

FOREVER = 1 << 62
"""Later than every instant."""
_LAST_NUMBER = "\U0010ffff"
# Made once, not at each read.
_NEWEST_VERSION = f"{FOYER.select(*NAMES)} WHERE numero_allocataire = ? ORDER BY known_at_us DESC LIMIT 1"
_EVENTS = f"{EVENT.select()} WHERE numero_allocataire = ? AND mois = ? ORDER BY sequence"

Row = tuple[Any, ...]
NamedRows = npt.NDArray[np.void]
"""Any array with a field `person`."""


class Session(Protocol):
    """Statements on one connection."""

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run, and give every row of the answer."""
        ...

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Run; the number of rows changed."""
        ...

    def many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run once for each set of parameters."""
        ...


class Commit(NamedTuple):
    """A write transaction in progress."""

    session: Session
    now_us: int
    sequence: int
    names: Names
    """Versions of the keys that persons are wrapped under."""


class SqlStore(PersonalDataSql, ABC):
    """Implements `ports.Store` but for connections and the bulk of records."""

    def __init__(self, keys: Keyring | None) -> None:
        self._names: dict[int, str] = {}
        self._persons = Persons(keys)
        self._audit_key = None if keys is None else keys.audit_key

    # What an engine brings

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[Session]:
        """Reads that all see the same commit, that of the wider one inside another.

        Raises StoreUnavailable when the engine does not answer.
        """

    @abstractmethod
    def _reading(self) -> Session:
        """One read."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[Commit]:
        """A durable commit, rolled back on any error. Raises StoreUnavailable when nothing could be committed."""

    @abstractmethod
    def _versions_of(self, session: Session, persons: Sequence[bytes], horizon: int) -> list[Row]:
        """(person, source, record_id, version, known_at_us, content) of every version known then."""

    @abstractmethod
    def _add(self, commit: Commit, batches: Sequence[Batch], sources: dict[str, int]) -> list[BatchOutcome]:
        """Classify the records of the batches, and keep the new ones."""

    def at_once(self) -> AbstractContextManager[object]:
        """What this thread reads inside is as one commit left it."""
        return self._snapshot()

    # Records

    def append(self, batches: Sequence[Batch]) -> list[BatchOutcome]:
        """Commit batches durably, all or none, and classify each record."""
        with self._transaction() as commit:
            sources = _source_numbers(commit.session, {batch.source_id for batch in batches})
            outcomes = self._add(commit, [self._inside(batch, commit.names.version) for batch in batches], sources)
            for place, batch in enumerate(batches):
                refusals = _seal(commit, batch, sources[batch.source_id])
                _advance(commit.session, batch)
                if refusals:
                    held = outcomes[place]
                    outcomes[place] = BatchOutcome(
                        held.accepted, held.replaced, held.unchanged, held.commit_sequence, (*held.refusals, *refusals)
                    )
            return outcomes

    def _inside(self, batch: Batch, version: int) -> Batch:
        if not version or not len(batch.records):
            return batch
        records = batch.records.copy()
        persons = self._persons.inside(records["person"].tobytes(), version, writing=True)
        records["person"] = np.frombuffer(persons, "V16")
        return replace(batch, records=records)

    def _under_each_name(self, rows: NamedRows, names: Names) -> Iterator[NamedRows]:
        """Rows of records to look for among those held: as they will stand, then as they may stand from before."""
        for version in names.of_records:
            named = rows
            if version != names.version:
                named = rows.copy()
                persons = self._persons.renamed(rows["person"].tobytes(), names.version, version)
                named["person"] = np.frombuffer(persons, "V16")
            yield named

    def position(self, source_id: str, upload_id: str) -> int:
        """Highest batch sequence up to which every batch of the upload is durable."""
        return _position(self._reading(), (source_id, upload_id))

    def commit_sequence(self) -> int:
        """The newest commit visible here."""
        return int(only(self._reading().rows("SELECT commit_sequence FROM head"))[0])

    def last_instant_us(self) -> int:
        """The instant of that commit, 0 before the first."""
        return int(only(self._reading().rows("SELECT known_at_us FROM head"))[0])

    def records_of(
        self,
        persons: Sequence[bytes],
        first: Month | None = None,
        last: Month | None = None,
        *,
        known_at_us: int | None = None,
    ) -> list[StoredRecord]:
        """Every version held on these persons for these months, each marked effective or not at that instant."""
        horizon = FOREVER if known_at_us is None else known_at_us
        outside = b"".join(set(persons))
        with self._snapshot() as session:
            found = self._persons.names(session).of_records
            inside = [_cut(self._persons.inside(outside, version)) for version in found]
            names_of = dict(zip(inside[0], _cut(outside), strict=True))
            rows = self._versions_of(session, sorted(name for named in inside for name in named), horizon)
            for before in inside[1:]:
                # The versions of one record may stand under both names of its person.
                in_force = dict(zip(before, inside[0], strict=True))
                rows = [(in_force.get(row[0], row[0]), *row[1:]) for row in rows]
            counting = of_months(rows, first, last)
            names = self._source_names(session, {row[1] for row in counting})
            if not {row[1] for row in counting} <= names.keys():
                raise StoreUnavailable("Le magasin ne connaît pas une de ses sources : restaurez une sauvegarde.")
            versions = [Version(record_from(names_of[r[0]], names[r[1]], r[2], r[3], r[5]), r[4]) for r in counting]
            sealed = _sealed(session, versions, {name: number for number, name in names.items()}, horizon)
        return told(versions, sealed, first, last)

    def _source_names(self, session: Session, numbers: set[int]) -> dict[int, str]:
        if not numbers <= self._names.keys():
            self._names = {row[0]: row[1] for row in session.rows("SELECT id, name FROM source")}
        return self._names

    # Dossiers

    def put_foyers(self, dossiers: Sequence[tuple[str, bytes]]) -> KeptFoyers:
        """Keep dossiers in a commit of their own."""
        with self._transaction() as commit:
            return self._keep_foyers(commit, dossiers)

    def _keep_foyers(self, commit: Commit, dossiers: Sequence[tuple[str, bytes]]) -> KeptFoyers:
        query = f"{FOYER.select()} WHERE numero_allocataire = ? ORDER BY known_at_us DESC LIMIT 1"
        upsert = (
            f"{FOYER.insert()} ON CONFLICT (numero_allocataire, known_at_us)"
            " DO UPDATE SET payload = excluded.payload, checksum = excluded.checksum"
        )
        changed = []
        kept = self._persons.dossiers_inside(dossiers, commit.names)
        for numero, payload in zip((numero for numero, _ in dossiers), kept, strict=True):
            held = intact(FOYER, commit.session.rows(query, (numero,)))
            changed.append(not held or held[0][2] != payload)
            if changed[-1]:
                commit.session.run(upsert, with_sum((numero, commit.now_us, payload)))
                if held and held[0][1] != commit.now_us:
                    commit.session.run(FOYER.follow(1), held[0][:2])
        return KeptFoyers(tuple(changed), commit.sequence)

    def foyer(self, numero_allocataire: str, *, known_at_us: int | None = None) -> StoredFoyer | None:
        """The newest version, or the newest known at that instant."""
        if known_at_us is not None:
            # All of them, so that one whose instant is damaged is seen, rather than passed over for an older one.
            known = [one for one in self.foyer_versions(numero_allocataire) if one.known_at_us <= known_at_us]
            return known[-1] if known else None
        rows = self._reading().rows(_NEWEST_VERSION, (numero_allocataire,))
        return self._outside(rows)[0][1] if rows else None

    def foyers_between(self, after: str, up_to: str | None) -> list[tuple[str, StoredFoyer]]:
        """The newest versions of the dossiers of a range of numbers."""
        query = (
            f"SELECT {', '.join(NAMES)}, numero_allocataire, known_at_us, payload, checksum FROM"  # noqa: S608
            f" (SELECT numero_allocataire, known_at_us, payload, {FOYER.checked} AS checksum, row_number() OVER"
            " (PARTITION BY numero_allocataire ORDER BY known_at_us DESC) AS place FROM foyer"
            " WHERE numero_allocataire > ? AND numero_allocataire <= ?) AS versions"
            " WHERE place = 1 ORDER BY numero_allocataire"
        )
        return self._outside(self._reading().rows(query, (after, _LAST_NUMBER if up_to is None else up_to)))

    def _outside(self, rows: Sequence[Row]) -> list[tuple[str, StoredFoyer]]:
        """Dossiers with their numbers, of rows (`NAMES`, `FOYER.select`) read by one statement."""
        if not rows:
            return []
        names = self._persons.checked(*rows[0][: len(NAMES)])
        kept = intact(FOYER, [row[len(NAMES) :] for row in rows])
        payloads = self._persons.dossiers_outside([(numero, payload) for numero, _, payload in kept], names)
        return [(row[0], StoredFoyer(payload, row[1])) for payload, row in zip(payloads, kept, strict=True)]

    def foyer_bounds(self, step: int) -> list[str]:
        """The last number of every block of `step` dossiers."""
        query = (
            "SELECT numero_allocataire FROM (SELECT numero_allocataire, row_number() OVER"
            " (ORDER BY numero_allocataire) AS place FROM (SELECT DISTINCT numero_allocataire FROM foyer) AS numbers)"
            " AS places WHERE place % ? = 0 ORDER BY numero_allocataire"
        )
        return [row[0] for row in self._reading().rows(query, (step,))]

    # Declarations

    def keep(self, changes: Sequence[Change], lines: Sequence[AuditLine] = ()) -> list[Outcome]:
        """Keep changes with audit lines in one durable commit; the outcome of each change, in order."""
        with self._transaction() as commit:
            events = iter(declarations.append(commit, [change for change in changes if isinstance(change, NewEvent)]))
            found = [
                self._keep_foyers(commit, change.dossiers) if isinstance(change, NewFoyers) else next(events)
                for change in changes
            ]
            self._write_lines(commit, lines)
        return found

    def _write_lines(self, commit: Commit, lines: Sequence[AuditLine]) -> None:
        if lines:
            audit.append(commit, lines, self._audit_key)

    def events(
        self, numero_allocataire: str, mois_declaration: Month, *, known_at_us: int | None = None
    ) -> list[StoredEvent]:
        """The events, oldest first."""
        rows = self._reading().rows(_EVENTS, (numero_allocataire, mois_declaration.index))
        held = declarations.by_declaration(rows).get(numero_allocataire, [])
        return [event for event in held if known_at_us is None or event.known_at_us <= known_at_us]

    def events_between(self, mois_declaration: Month, after: str, up_to: str | None) -> dict[str, list[StoredEvent]]:
        """The events of a month's declarations, for a range of dossiers."""
        query = (
            f"{EVENT.select()} WHERE mois = ? AND numero_allocataire > ? AND numero_allocataire <= ?"
            " ORDER BY numero_allocataire, sequence"
        )
        bounds = (mois_declaration.index, after, _LAST_NUMBER if up_to is None else up_to)
        return declarations.by_declaration(self._reading().rows(query, bounds))

    # Campaigns

    def start_campaign(self, campaign_id: str, mois_declaration: Month, bounds: Sequence[str]) -> StoredCampaign:
        """Keep a campaign, or give the one already kept under that identifier."""
        with self._transaction() as commit:
            commit.session.run(
                "INSERT INTO campaign VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (campaign_id, mois_declaration.index, json.dumps(list(bounds))),
            )
        found = self.campaign(campaign_id)
        assert found is not None
        return found

    def campaign(self, campaign_id: str) -> StoredCampaign | None:
        """How far it is."""
        with self._snapshot() as session:
            held = session.rows("SELECT mois, bounds FROM campaign WHERE campaign_id = ?", (campaign_id,))
            query = (
                "SELECT number, done, refusals, rsa_total_cents, prime_activite_total_cents FROM campaign_block"
                " WHERE campaign_id = ? ORDER BY number"
            )
            rows = session.rows(query, (campaign_id,))
        if not held:
            return None
        blocks = [
            CampaignBlock(number, done, json.loads(refusals), *totals) for number, done, refusals, *totals in rows
        ]
        return StoredCampaign(Month.from_index(held[0][0]), tuple(json.loads(held[0][1])), tuple(blocks))

    def keep_block(self, campaign_id: str, block: CampaignBlock, rows: Sequence[CampaignRow]) -> None:
        """Keep a block and its results in one commit."""
        with self._transaction() as commit:
            kept = commit.session.run(
                "INSERT INTO campaign_block VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    campaign_id,
                    block.number,
                    block.done,
                    json.dumps(dict(block.refusals)),
                    block.rsa_total_cents,
                    block.prime_activite_total_cents,
                ),
            )
            if kept:
                commit.session.many(
                    "INSERT INTO campaign_row VALUES (?, ?, ?, ?)",
                    [(campaign_id, row.numero_allocataire, row.rsa_cents, row.prime_activite_cents) for row in rows],
                )

    def campaign_row(self, campaign_id: str, numero_allocataire: str) -> CampaignRow | None:
        """The result of one foyer."""
        query = (
            "SELECT numero_allocataire, rsa_cents, prime_activite_cents FROM campaign_row"
            " WHERE campaign_id = ? AND numero_allocataire = ?"
        )
        rows = self._reading().rows(query, (campaign_id, numero_allocataire))
        return CampaignRow(*rows[0]) if rows else None

    # Audit

    def write_audit(self, lines: Sequence[AuditLine]) -> None:
        """Add audit lines durably, each chained to the one before."""
        if lines:
            self.keep((), lines)

    def audit_lines(self, after: int = 0) -> Iterator[StoredAuditLine]:
        """The lines after a number, oldest first."""
        return audit.walk(self._reading(), after)

    def audit_anchor(self) -> AuditAnchor:
        """Where the trail ends now."""
        return audit.anchor_of(self._reading())

    def verify_audit(self, anchor: AuditAnchor | None = None) -> list[str]:
        """What is wrong with the trail, in French; empty when nothing is."""
        with self._snapshot() as session:
            return audit.verify(session, self._audit_key, anchor)

    def check(self) -> list[str]:
        """What is wrong with the store, in French; empty when nothing is."""
        with self._snapshot() as session:
            found = wrong(session)
            (kept,) = only(session.rows("SELECT renewal FROM head"))
            if (kept is None or Renewal.kept(kept).records_done) and self._holds_old_names(session):
                found.append("Des enregistrements sont restés sous une ancienne version des pseudonymes.")
        return [*found, *self.verify_audit()]


def _cut(persons: bytes) -> list[bytes]:
    return [persons[start : start + PERSON_BYTES] for start in range(0, len(persons), PERSON_BYTES)]


def only(rows: Sequence[Row]) -> Row:
    """The one row that there must be."""
    if not rows:
        raise StoreUnavailable("Le magasin est abîmé : restaurez une sauvegarde.")
    return rows[0]


def _source_numbers(session: Session, names: set[str]) -> dict[str, int]:
    for name in sorted(names):
        session.run("INSERT INTO source (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    return {name: only(session.rows("SELECT id FROM source WHERE name = ?", (name,)))[0] for name in names}


def _seal(commit: Commit, batch: Batch, source: int) -> list[Refusal]:
    refusals = []
    for index, seal in enumerate(batch.seals):
        key = (source, seal.document_id, seal.version)
        query = "SELECT record_count FROM document_seal WHERE source = ? AND document_id = ? AND version = ?"
        held = commit.session.rows(query, key)
        if not held:
            commit.session.run(
                "INSERT INTO document_seal VALUES (?, ?, ?, ?, ?)", (*key, seal.record_count, commit.now_us)
            )
        elif held[0][0] != seal.record_count:
            message = "Cette version du document est déjà close avec un autre nombre d'enregistrements."
            refusals.append(Refusal(index, True, "record_count", Reason.DOCUMENT_CONFLICT, message))
    return refusals


def _position(session: Session, key: tuple[str, str]) -> int:
    rows = intact(UPLOAD, session.rows(f"{UPLOAD.select()} WHERE source_id = ? AND upload_id = ?", key))
    return int(rows[0][2]) if rows else 0


def _advance(session: Session, batch: Batch) -> None:
    key = (batch.source_id, batch.upload_id)
    position = _position(session, key)
    if batch.batch_sequence <= position:
        return
    session.run(f"{AHEAD.insert()} ON CONFLICT DO NOTHING", with_sum((*key, batch.batch_sequence)))
    query = f"{AHEAD.select()} WHERE source_id = ? AND upload_id = ? ORDER BY batch_sequence"
    for *_, number in intact(AHEAD, session.rows(query, key)):
        if number != position + 1:
            break
        position = number
    session.run(
        "DELETE FROM upload_ahead WHERE source_id = ? AND upload_id = ? AND batch_sequence <= ?", (*key, position)
    )
    session.run(
        f"{UPLOAD.insert()} ON CONFLICT (source_id, upload_id)"
        " DO UPDATE SET position = excluded.position, checksum = excluded.checksum",
        with_sum((*key, position)),
    )


def _sealed(
    session: Session, versions: Sequence[Version], numbers: dict[str, int], horizon: int
) -> dict[tuple[str, bytes], int]:
    """Highest version sealed, known at the horizon, of each document that the records belong to."""
    query = (
        "SELECT coalesce(max(version), 0) FROM document_seal WHERE source = ? AND document_id = ? AND known_at_us <= ?"
    )
    return {
        (source, document): int(session.rows(query, (numbers[source], document, horizon))[0][0])
        for source, document in documents_of(versions)
    }
