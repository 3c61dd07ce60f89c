"""Events added to declarations: those of many callers in one commit, by as many statements as for one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from solidarite_server.domain.errors import IllegalTransition, RequestReplayed, StaleEtag, StoreUnavailable
from solidarite_server.domain.month import Month
from solidarite_server.ports import NewEvent, StoredEvent
from solidarite_server.storage.sums import EVENT, intact, with_sum

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Commit, Row, Session

_AT_ONCE = 200
"""Rows of one statement: far from what an engine accepts as parameters."""

_Key = tuple[str, int]


class _Request(NamedTuple):
    """A request that made an event."""

    sequence: int
    body_hash: bytes


_Outcome = StoredEvent | RequestReplayed | StaleEtag | IllegalTransition


def append(commit: Commit, events: Sequence[NewEvent]) -> list[_Outcome]:
    """Add the events that can be, each after those before it in the list; the outcome of each.

    Nobody else writes meanwhile: what is read here is what holds at the commit.
    """
    held = _held(commit.session, dict.fromkeys(_key(event) for event in events))
    kinds = _kinds(commit.session, dict.fromkeys(key for event in events for key in _beside(event)))
    added: dict[tuple[_Key, int], StoredEvent] = {}
    rows: list[Row] = []
    found: list[_Outcome] = []
    for event in events:
        key = _key(event)
        requests = held[key]
        same = requests.get(event.request_id)
        last = max((request.sequence for request in requests.values()), default=0)
        if same is not None:
            found.append(
                added.get((key, same.sequence)) or _stored(commit.session, key, same.sequence)
                if same.body_hash == event.body_hash
                else RequestReplayed("Cet identifiant de requête a déjà servi pour un autre contenu.")
            )
        elif last != event.expected_sequence:
            found.append(StaleEtag("La déclaration a changé depuis sa lecture : relisez-la avant de continuer."))
        elif taken := [mois for _, mois in _beside(event) if event.kind in kinds[event.numero_allocataire, mois]]:
            other = Month.from_index(taken[0])
            message = f"La déclaration de {other} couvre déjà une partie de ce trimestre."
            found.append(IllegalTransition(message, field="mois_declaration"))
        else:
            kinds[key].add(event.kind)
            kept = StoredEvent(last + 1, event.kind, event.payload, event.request_id, commit.now_us)
            requests[event.request_id] = _Request(kept.sequence, event.body_hash)
            added[key, kept.sequence] = kept
            told = (kept.kind, kept.payload, kept.request_id, event.body_hash)
            rows.append(with_sum((*key, kept.sequence, *told, commit.now_us)))
            found.append(kept)
    insert(commit.session, EVENT.into(), rows)
    before = [(numero, mois, sequence - 1) for numero, mois, sequence, *_ in rows if sequence > 1]
    for start in range(0, len(before), _AT_ONCE):
        some = before[start : start + _AT_ONCE]
        commit.session.run(EVENT.follow(len(some)), [part for key in some for part in key])
    return found


def insert(session: Session, into: str, rows: Sequence[Row]) -> None:
    """Insert rows of one length, many by one statement: Python lets another thread in at each step of a statement."""
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        one = f"({', '.join('?' * len(some[0]))})"
        values = ", ".join([one] * len(some))
        session.run(f"INSERT INTO {into} VALUES {values}", [value for row in some for value in row])  # noqa: S608


def stored(rows: Sequence[Row]) -> list[StoredEvent]:
    """The events of rows of `EVENT.select`, once their checksums are right."""
    return [
        StoredEvent(sequence, kind, payload, request_id, known_at_us)
        for _, _, sequence, kind, payload, request_id, _, known_at_us in intact(EVENT, rows)
    ]


def by_declaration(rows: Sequence[Row]) -> dict[str, list[StoredEvent]]:
    """The events of whole declarations of one month, oldest first, by dossier; StoreUnavailable when one is missing."""
    found: dict[str, list[StoredEvent]] = {}
    for row, event in zip(rows, stored(rows), strict=True):
        found.setdefault(row[0], []).append(event)
    if any(event.sequence != place for events in found.values() for place, event in enumerate(events, 1)):
        raise StoreUnavailable("Il manque un événement à une déclaration du magasin : restaurez une sauvegarde.")
    return found


def _key(event: NewEvent) -> _Key:
    return event.numero_allocataire, event.mois_declaration.index


def _beside(event: NewEvent) -> list[_Key]:
    """The declarations that must have no event of its kind."""
    return [(event.numero_allocataire, mois.index) for mois in event.alone_among]


def _kinds(session: Session, keys: Iterable[_Key]) -> defaultdict[_Key, set[str]]:
    """The kinds of the events of these declarations, each row whole."""
    found: defaultdict[_Key, set[str]] = defaultdict(set)
    for numero, mois, _, kind, *_ in intact(EVENT, _rows_of(session, [*EVENT.columns, EVENT.checked], list(keys))):
        found[numero, mois].add(kind)
    return found


def _held(session: Session, keys: Iterable[_Key]) -> dict[_Key, dict[str, _Request]]:
    """The requests that each declaration has served, by their identifier: one an event, numbered from 1."""
    held: dict[_Key, dict[str, _Request]] = {key: {} for key in keys}
    columns = ["numero_allocataire", "mois", "request_id", "sequence", "body_hash"]
    for numero, mois, request_id, *request in _rows_of(session, columns, list(held)):
        held[numero, mois][request_id] = _Request(*request)
    return held


def _rows_of(session: Session, columns: Sequence[str], keys: Sequence[_Key]) -> list[Row]:
    """These columns of every event of these declarations, many declarations by one statement."""
    found = []
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        query = (
            f"SELECT {', '.join(columns)}"  # noqa: S608
            # CROSS: SQLite then looks each declaration up, whatever it believes of the size of the table.
            f" FROM (VALUES {', '.join(['(?, ?)'] * len(some))}) AS asked CROSS JOIN declaration_event"
            " WHERE numero_allocataire = asked.column1 AND mois = asked.column2"
        )
        found += session.rows(query, [part for key in some for part in key])
    return found


def _stored(session: Session, key: _Key, sequence: int) -> StoredEvent:
    query = f"{EVENT.select()} WHERE numero_allocataire = ? AND mois = ? AND sequence = ?"
    return stored(session.rows(query, (*key, sequence)))[0]
