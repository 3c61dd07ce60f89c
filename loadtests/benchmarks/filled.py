"""A store filled with plain households, the same for every benchmark that reads one.

Foyer n has one or two adults (half each), a tenant with or without housing benefit, and each adult one salary a month
over the three reference months of November 2026: 4.5 records a foyer on average. Persons are numbers: no NIR is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date

import numpy as np
from solidarite_server.domain.foyer import Foyer, Logement, Membre, Role, StatutLogement
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import FluxSource, Mode
from solidarite_server.ports import Batch, Store
from solidarite_server.record_columns import RECORD_DTYPE, RecordColumns, days_of
from solidarite_server.services.clock import SystemClock
from solidarite_server.services.foyers import FoyerService
from solidarite_server.services.keyring import Keyring
from solidarite_server.storage import open_store

MOIS = Month(2026, 11)
_BLOCK = 5_000


def numero(number: int) -> str:
    """The dossier number of foyer n."""
    return f"{number:08d}"


def person(number: int, adult: int) -> bytes:
    """The pseudonym of an adult: spread over all values, as keyed ones are."""
    return hashlib.blake2b(f"{number}/{adult}".encode(), digest_size=16).digest()


def foyer(number: int) -> Foyer:
    """Foyer n."""
    roles = (Role.ALLOCATAIRE, Role.CONJOINT)[: 1 + number % 2]
    members = tuple(
        Membre(role.name.lower(), role, date(1970 + number % 35, 1 + number % 12, 1), person(number, place))
        for place, role in enumerate(roles)
    )
    aid = {MOIS - k: 15_000 + number % 10_000 for k in (4, 3, 2)} if number % 3 else {}
    return Foyer(
        numero(number), members, logements=(Logement(Month(2024, 1), StatutLogement.LOCATAIRE),), aide_logement=aid
    )


def records(numbers: range) -> RecordColumns:
    """The records of these foyers, in no order of person."""
    rows = [(number, adult, k) for number in numbers for adult in range(1 + number % 2) for k in (4, 3, 2)]
    columns = np.zeros(len(rows), RECORD_DTYPE)
    columns["person"] = [person(number, adult) for number, adult, _ in rows]
    columns["record_id"] = [f"{number:010d}{adult}{k:05d}".encode() for number, adult, k in rows]
    columns["version"] = 1
    months = [MOIS - k for _, _, k in rows]
    columns["mois"] = [month.index for month in months]
    columns["date_versement"] = [days_of(month.last_day) for month in months]
    columns["montant"] = [20_000 + (number * 7_919) % 180_000 + k * 1_000 for number, _, k in rows]
    columns["declarant"] = b"81234567800013"
    columns["nature"] = NatureRessource.SALAIRE
    columns["flux"] = FluxSource.DSN
    columns["mode"] = Mode.INITIAL
    columns["certified"] = 1
    return columns


def blocks(foyers: int) -> Iterator[range]:
    """Foyers 0 to `foyers`, a block at a time."""
    return (range(start, min(start + _BLOCK, foyers)) for start in range(0, foyers, _BLOCK))


def fill(url: str, foyers: int, keys: Keyring | None = None) -> int:
    """Fill the store at `url`, wrapped under `keys` when given; returns the number of records."""
    store: Store = open_store(url, clock=SystemClock(), keys=keys)
    dossiers, count = FoyerService(store), 0
    for numbers in blocks(foyers):
        dossiers.upsert([foyer(number) for number in numbers])
        made = records(numbers)
        store.append([Batch("paie", "", 0, made)])
        count += len(made)
    store.close()
    return count
