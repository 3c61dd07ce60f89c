"""Persons as they stand in a store: wrapped under the version of the keys in force there (services/keyring.py).

Outside the store a person has one pseudonym for good; what is on disk changes with each renewal. The version is read in
the transaction of each read and write, so that a renewal changes nothing for whoever is served meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.services.keyring import KeyFileError, Keyring
from solidarite_server.storage import audit

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Session

PERSON_BYTES = 16
PSEUDONYM_VERSION = "(SELECT pseudonym_version FROM head)"
"""As a column: the version that persons are wrapped under in what the same statement reads."""
_HOLDING = ("source", "foyer", "declaration_event", "audit")
"""Tables that hold something in a store that was ever used."""
_IN_DOSSIER = re.compile(rb'(?<="pseudonyme":")[0-9a-f]{32}(?=")')
"""A pseudonym in the JSON of a dossier: no text of a dossier can hold these quotes unescaped."""


class Persons:
    """Wraps and unwraps what goes in and out of one store. Without keys, what is on disk passes as it is."""

    def __init__(self, keys: Keyring | None) -> None:
        self._keys = keys
        self._pinned: int | None = None

    def adopt(self, session: Session) -> None:
        """Check that the keys are those of the store; while it is empty it takes their newest version. KeyFileError."""
        heads = session.rows("SELECT pseudonym_version, pseudonym_fingerprint, commit_sequence FROM head")
        if len(heads) != 1:
            raise StoreUnavailable("Le magasin est endommagé : sa tête manque. Restaurez une copie.")
        ((version, fingerprint, commits),) = heads
        if self._keys is None:
            return
        if not fingerprint:
            is_new = not commits and not any(session.rows(f"SELECT 1 FROM {name} LIMIT 1") for name in _HOLDING)  # noqa: S608
            self.put_version(session, self._keys.newest if is_new else version)
            if is_new:
                audit.begin(session, self._keys.audit_key)
        elif fingerprint != self._keys.knowing(version).fingerprint(version):
            raise KeyFileError("Ce fichier de clés n'est pas celui de ce magasin : restaurez le sien.")

    def put_version(self, session: Session, version: int) -> None:
        """Write which version is in force."""
        session.run(
            "UPDATE head SET pseudonym_version = ?, pseudonym_fingerprint = ?",
            (version, self._known(version).fingerprint(version)),
        )

    def version(self, session: Session) -> int:
        """The version in force in this transaction."""
        return self.checked(int(session.rows("SELECT pseudonym_version FROM head")[0][0]))

    def checked(self, version: int) -> int:
        """The version, once what was read before still holds."""
        if self._keys is None:
            # What passes as it is must not change on the way: a dossier read, then its records.
            if self._pinned is None:
                self._pinned = version
            if version != self._pinned:
                raise StoreUnavailable("Les pseudonymes ont été renouvelés pendant ce travail : relancez-le.")
        return version

    def inside(self, persons: bytes, version: int, *, writing: bool = False) -> bytes:
        """Persons as they stand on disk."""
        if self._keys is None:
            if writing and version:
                raise StoreUnavailable("Ce magasin ne s'écrit qu'avec son fichier de clés des pseudonymes.")
            return persons
        return self._known(version).wrapped(persons, version)

    def outside(self, persons: bytes, version: int) -> bytes:
        """Persons as everything but the store knows them."""
        return persons if self._keys is None else self._known(version).unwrapped(persons, version)

    def dossiers_inside(self, payloads: Sequence[bytes], version: int) -> list[bytes]:
        """Dossiers as they stand on disk."""
        return with_persons(payloads, lambda persons: self.inside(persons, version, writing=True))

    def dossiers_outside(self, payloads: Sequence[bytes], version: int) -> list[bytes]:
        """Dossiers as the use cases read them."""
        if self._keys is None or not version:
            return list(payloads)
        return with_persons(payloads, lambda persons: self.outside(persons, version))

    def _known(self, version: int) -> Keyring:
        assert self._keys is not None
        try:
            self._keys = self._keys.knowing(version)
        except (KeyFileError, OSError) as error:
            raise StoreUnavailable(
                f"La version {version} des clés de pseudonymes manque à ce serveur : donnez-lui le fichier à jour."
            ) from error
        return self._keys


def with_persons(payloads: Sequence[bytes], change: Callable[[bytes], bytes]) -> list[bytes]:
    """Dossiers whose pseudonyms are changed, all at once."""
    found = [bytes.fromhex(match.decode()) for payload in payloads for match in _IN_DOSSIER.findall(payload)]
    if not found:
        return list(payloads)
    changed = change(b"".join(found))
    texts = iter([changed[start : start + PERSON_BYTES] for start in range(0, len(changed), PERSON_BYTES)])
    return [_IN_DOSSIER.sub(lambda _: next(texts).hex().encode(), payload) for payload in payloads]
