"""The audit trail in a store: each line's hash covers the one before, and a sealed head says where the chain ends.

Hashes alone would let somebody who writes in the store cut the end off, or write the whole chain anew. The head is
sealed with a key that is not in the store. A store put back as it was at an earlier time is only seen by an *anchor*:
the head as it was exported, and kept elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import AuditAnchor, AuditLine, StoredAuditLine
from solidarite_server.storage.declarations import insert

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Commit, Session

_PAGE = 10_000
_COLUMNS = "id, at_us, actor, action, subject, purpose, hash"


class _Head(NamedTuple):
    first: int
    """Number of the first line kept: earlier ones were removed at the end of their retention."""
    before: bytes
    """Hash of the line before it."""
    last: int
    """Number of the last line; first − 1 when there is none."""
    hash: bytes
    seal: bytes


def begin(session: Session, key: bytes) -> None:
    """Seal the empty chain of a new store."""
    head = _head(session)
    session.run("UPDATE audit_head SET seal = ? WHERE last = 0", (_seal(key, head),))


def append(commit: Commit, lines: Sequence[AuditLine], key: bytes | None) -> None:
    """Add lines to the chain, and seal its end."""
    head = _head(commit.session)
    if key is None and head.seal:
        raise StoreUnavailable("La trace d'audit ne s'écrit qu'avec le fichier de clés des pseudonymes.")
    number, before, rows = head.last, head.hash, []
    for line in lines:
        number += 1
        before = _hash(before, commit.now_us, line.actor, line.action, line.subject, line.purpose)
        rows.append((number, commit.now_us, line.actor, line.action, line.subject, line.purpose, before))
    insert(commit.session, f"audit ({_COLUMNS})", rows)
    _put(commit.session, head, head._replace(last=number, hash=before), key)


def purge(commit: Commit, before_us: int, key: bytes | None) -> int:
    """Remove the lines older than an instant; the chain goes on from the first one kept."""
    head = _head(commit.session)
    found = commit.session.rows("SELECT max(id) FROM audit WHERE at_us < ?", (before_us,))
    last = found[0][0]
    if last is None or last < head.first:
        return 0
    ((digest,),) = commit.session.rows("SELECT hash FROM audit WHERE id = ?", (last,))
    commit.session.run("DELETE FROM audit WHERE id <= ?", (last,))
    _put(commit.session, head, head._replace(first=last + 1, before=digest), key)
    return int(last) - head.first + 1


def verify(session: Session, key: bytes | None, anchor: AuditAnchor | None) -> list[str]:
    """What is wrong with the chain, in French; empty when nothing is."""
    head = _head(session)
    number, before = head.first - 1, head.before
    of_anchor = before if anchor is not None and anchor.number == number else None
    for line in walk(session, 0):
        number += 1
        expected = _hash(before, line.at_us, line.actor, line.action, line.subject, line.purpose)
        if line.number != number or line.hash != expected:
            return [f"La chaîne d'audit est rompue à la ligne {number}."]
        before = line.hash
        if anchor is not None and anchor.number == number:
            of_anchor = before
    if (number, before) != (head.last, head.hash):
        return [f"La chaîne d'audit est rompue à la ligne {min(number, head.last) + 1} : sa fin manque ou a changé."]
    if key is not None and not _is_sealed(key, head):
        return ["La fin de la chaîne d'audit ne porte pas le sceau de cette clé."]
    return [] if anchor is None else _compared(anchor, head, of_anchor)


def _compared(anchor: AuditAnchor, head: _Head, digest: bytes | None) -> list[str]:
    """What an anchor says against a chain that is whole; `digest` is the hash there of the anchor's line."""
    if anchor.number > head.last:
        return [f"La chaîne d'audit s'arrête à la ligne {head.last}, avant l'ancre ({anchor.number})."]
    if digest is None:
        return [
            f"L'ancre (ligne {anchor.number}) est plus ancienne que la première ligne gardée ({head.first}) : elle ne "
            "prouve plus rien. Vérifiez avec une ancre plus récente ; s'il n'y en a pas, la chaîne a pu être récrite."
        ]
    if digest != anchor.hash:
        return [f"La ligne d'audit {anchor.number} n'est pas celle de l'ancre : la chaîne a été récrite."]
    return []


def anchor_of(session: Session) -> AuditAnchor:
    """Where the chain ends now."""
    head = _head(session)
    return AuditAnchor(head.last, head.hash)


def walk(session: Session, after: int) -> Iterator[StoredAuditLine]:
    """The lines after a number, oldest first, a page at a time."""
    while True:
        rows = session.rows(f"SELECT {_COLUMNS} FROM audit WHERE id > ? ORDER BY id LIMIT {_PAGE}", (after,))  # noqa: S608
        for row in rows:
            yield StoredAuditLine(*row)
        if len(rows) < _PAGE:
            return
        after = rows[-1][0]


def _head(session: Session) -> _Head:
    rows = session.rows("SELECT first, before, last, hash, seal FROM audit_head")
    # Without its head the chain cannot be trusted: it is reported as broken, never begun again.
    return _Head(*rows[0]) if rows else _Head(1, b"", -1, b"", b"")


def _is_sealed(key: bytes, head: _Head) -> bool:
    return hmac.compare_digest(head.seal, _seal(key, head))


def _put(session: Session, held: _Head, head: _Head, key: bytes | None) -> None:
    # A chain whose seal is broken stays so: the next line must not make a forgery good.
    seal = _seal(key, head) if key is not None and _is_sealed(key, held) else b""
    session.run(
        "UPDATE audit_head SET first = ?, before = ?, last = ?, hash = ?, seal = ?",
        (head.first, head.before, head.last, head.hash, seal),
    )


def _seal(key: bytes, head: _Head) -> bytes:
    digest = hmac.new(key, digestmod="sha256")
    for part in (str(head.first).encode(), head.before, str(head.last).encode(), head.hash):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def _hash(before: bytes, at_us: int, actor: str, action: str, subject: str, purpose: str) -> bytes:
    digest = hashlib.sha256(before)
    for part in (str(at_us), actor, action, subject, purpose):
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()
