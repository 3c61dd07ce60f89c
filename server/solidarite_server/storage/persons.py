"""Persons as they stand in a store: wrapped under the version of the keys in force there (services/keyring.py).

Outside the store a person has one pseudonym for good; what is on disk changes with each renewal. The versions in use
are read in the transaction of each read and write, so that a renewal changes nothing for whoever is served meanwhile.

A renewal goes on by short transactions (storage/personal.py). Until it ends a record is under the old or the new name
of its person, and is looked for under both; everything is written under the new one. A dossier has the new names once
the renewal has passed its number.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.services.keyring import KeyFileError, Keyring, load
from solidarite_server.storage import audit

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Session

PERSON_BYTES = 16
HEAD_NAMES = "pseudonyms, pseudonym_fingerprint, renewal"
"""What `head` says of the names of persons, for `Persons.checked`."""
NAMES = tuple(f"(SELECT {column} FROM head)" for column in HEAD_NAMES.split(", "))  # noqa: S608
"""As columns: how persons are named in what the same statement reads, for `Persons.checked`."""
ALL_PERSONS = 1 << 8 * PERSON_BYTES
_HOLDING = ("source", "foyer", "declaration_event", "audit")
"""Tables that hold something in a store that was ever used."""
_IN_DOSSIER = re.compile(rb'(?<="pseudonyme":")[0-9a-f]{32}(?=")')
"""A pseudonym in the JSON of a dossier: no text of a dossier can hold these quotes unescaped."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """How far a renewal of the pseudonyms is, as `head` keeps it while one is under way."""

    before: int
    """The version that is being left."""
    persons: int = 0
    """Old names below it, read as numbers of 128 bits, have no record left."""
    dossiers: str = ""
    """The dossiers numbered up to it are renewed, those after it are not."""

    @property
    def records_done(self) -> bool:
        """Whether no record is left under an old name."""
        return self.persons >= ALL_PERSONS

    def packed(self) -> bytes:
        """As it is kept, with a checksum."""
        data = json.dumps([self.before, self.persons, self.dossiers]).encode()
        return data + zlib.crc32(data).to_bytes(4, "little")

    @classmethod
    def kept(cls, packed: bytes) -> Renewal:
        """The inverse of `packed`; StoreUnavailable when it is damaged."""
        data, checksum = packed[:-4], packed[-4:]
        if zlib.crc32(data).to_bytes(4, "little") != checksum:
            raise StoreUnavailable(
                "L'avancement du renouvellement des pseudonymes est abîmé : restaurez une sauvegarde."
            )
        return cls(*json.loads(data))


@dataclass(frozen=True, slots=True)
class Names:
    """Under which versions of the keys persons are on disk, at one commit."""

    version: int
    """The one in force: persons are written under it."""
    renewal: Renewal | None = None

    @property
    def of_records(self) -> tuple[int, ...]:
        """The versions under which a record may be, the one in force first."""
        if self.renewal is None or self.renewal.records_done:
            return (self.version,)
        return self.version, self.renewal.before

    @property
    def of_dossiers(self) -> tuple[int, ...]:
        """The versions under which a dossier may be."""
        return (self.version,) if self.renewal is None else (self.version, self.renewal.before)

    def of_dossier(self, numero_allocataire: str) -> int:
        """The version under which the persons of a dossier are."""
        if self.renewal is None or numero_allocataire <= self.renewal.dossiers:
            return self.version
        return self.renewal.before


class Persons:
    """Wraps and unwraps what goes in and out of one store. Without keys, what is on disk passes as it is."""

    def __init__(self, keys: Keyring | None) -> None:
        self._keys = keys
        self._pinned: int | None = None
        self._trusted: bytes | None = None
        """Fingerprint of the version last met, once it was found to be that of the keys."""

    def adopt(self, session: Session) -> None:
        """Check that the keys are those of the store; while it is empty it takes their newest version. KeyFileError."""
        heads = session.rows("SELECT pseudonyms, pseudonym_fingerprint, commit_sequence FROM head")
        if len(heads) != 1:
            raise StoreUnavailable("Le magasin est abîmé, sa tête manque : restaurez une sauvegarde.")
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
            "UPDATE head SET pseudonyms = ?, pseudonym_fingerprint = ?",
            (version, self._known(version).fingerprint(version)),
        )

    @staticmethod
    def put_renewal(session: Session, renewal: Renewal | None) -> None:
        """Write how far a renewal is; None when none is under way."""
        session.run("UPDATE head SET renewal = ?", (None if renewal is None else renewal.packed(),))

    def names(self, session: Session) -> Names:
        """How persons are named in this transaction."""
        return self.checked(*session.rows(f"SELECT {HEAD_NAMES} FROM head")[0])  # noqa: S608

    def checked(self, version: int, fingerprint: bytes, renewal: bytes | None) -> Names:
        """How persons are named, from what `head` says, once what was read before still holds."""
        if self._keys is None:
            # What passes as it is must not change on the way: a dossier read, then its records.
            if self._pinned is None:
                self._pinned = version
            if version != self._pinned:
                raise StoreUnavailable("Les pseudonymes ont été renouvelés pendant ce travail : relancez-le.")
            if renewal is not None:
                raise StoreUnavailable(
                    "Les pseudonymes de ce magasin sont en cours de renouvellement : relancez ce travail quand il est "
                    "fini (« solidarite pseudonyms rotate » reprend un renouvellement interrompu)."
                )
        elif fingerprint != self._trusted:
            self._trust(version, fingerprint)
        return Names(version, None if renewal is None else Renewal.kept(renewal))

    def _trust(self, version: int, fingerprint: bytes) -> None:
        """Check that the version met is that of the store: another key under its number would name nobody it knows."""
        keys = self._known(version)
        if fingerprint and fingerprint != keys.fingerprint(version):
            try:
                read = keys if keys.path is None else load(keys.path)  # the file may have been put right
            except (KeyFileError, OSError) as error:
                raise _missing(version) from error
            if fingerprint != read.fingerprint(version):
                raise _missing(version)
            self._keys = read
        self._trusted = fingerprint

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

    def renamed(self, persons: bytes, before: int, version: int) -> bytes:
        """Persons that stand on disk under a version, under another."""
        return self.inside(self.outside(persons, before), version, writing=True)

    def dossiers_inside(self, dossiers: Sequence[tuple[str, bytes]], names: Names) -> list[bytes]:
        """The contents of dossiers (number, content) as they stand on disk."""
        return _changed(dossiers, names, partial(self.inside, writing=True))

    def dossiers_outside(self, dossiers: Sequence[tuple[str, bytes]], names: Names) -> list[bytes]:
        """The contents of dossiers (number, content) as the use cases read them."""
        if self._keys is None or names == Names(0):
            return [payload for _, payload in dossiers]
        return _changed(dossiers, names, self.outside)

    def _known(self, version: int) -> Keyring:
        assert self._keys is not None
        try:
            self._keys = self._keys.knowing(version)
        except (KeyFileError, OSError) as error:
            raise _missing(version) from error
        return self._keys


def _missing(version: int) -> StoreUnavailable:
    return StoreUnavailable(
        f"La version {version} des clés de pseudonymes manque à ce serveur : donnez-lui le fichier à jour."
    )


def _changed(dossiers: Sequence[tuple[str, bytes]], names: Names, change: Callable[..., bytes]) -> list[bytes]:
    if names.renewal is None:
        return with_persons([payload for _, payload in dossiers], partial(change, version=names.version))
    return [
        with_persons([payload], partial(change, version=names.of_dossier(numero)))[0] for numero, payload in dossiers
    ]


def with_persons(payloads: Sequence[bytes], change: Callable[[bytes], bytes]) -> list[bytes]:
    """Dossiers whose pseudonyms are changed, all at once."""
    found = [bytes.fromhex(match.decode()) for payload in payloads for match in _IN_DOSSIER.findall(payload)]
    if not found:
        return list(payloads)
    changed = change(b"".join(found))
    texts = iter([changed[start : start + PERSON_BYTES] for start in range(0, len(changed), PERSON_BYTES)])
    return [_IN_DOSSIER.sub(lambda _: next(texts).hex().encode(), payload) for payload in payloads]
