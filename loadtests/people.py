"""The people of a load test: numbered foyers and persons, made on the fly, the same at every run.

Foyer n has one adult, or two when n is odd, and n modulo 3 children; its adults are persons 2n and 2n + 1. The other
persons have records and no dossier, as most of those that the DRM knows. Nothing is looked up: a load generator on any
machine knows the people of the store. NIRs carry a commune (999) that does not exist.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from solidarite.v1 import common_pb2, entitlement_pb2, foyer_pb2
from solidarite.v1 import resource_record_pb2 as pb

MOIS = common_pb2.Month(year=2026, month=11)
"""The declaration month of the load tests."""
REFERENCE = tuple(common_pb2.Month(year=2026, month=month) for month in (7, 8, 9))
_PAYDAYS = {(2026, 7): 20665, (2026, 8): 20696, (2026, 9): 20726, (2026, 10): 20757}
"""Last day of each month, in days since 1970-01-01."""
_FILED = (2026, 10)
"""The month whose pay the DSN of the load tests carry: after the quarter that is declared meanwhile."""
_PERSONS_A_DSN = 13
"""30 M lines for 2.2 M DSN a month (national.toml)."""
MEMBERS = ("allocataire", "conjoint")

Number = TypeVar("Number", int, npt.NDArray[np.int64])
"""One person, or many at once."""


def numero(foyer: int) -> str:
    """The dossier number of foyer n."""
    return f"{foyer:08d}"


def nirs(persons: Number) -> Number:
    """Synthetic NIRs, one for each person up to 200 million."""
    order, rest = persons % 999 + 1, persons // 999
    month, rest = rest % 12 + 1, rest // 12
    department, rest = rest % 95 + 1, rest // 95
    department += (department == 20) * 78  # Corsica is 2A and 2B
    year, rest = rest % 100, rest // 100
    return ((((1 + rest % 2) * 100 + year) * 100 + month) * 100 + department) * 1_000_000 + 999_000 + order


def nir(person: int) -> str:
    """The NIR of one person."""
    return str(nirs(person))


def adults(foyer: int) -> int:
    """How many adults foyer n has."""
    return 1 + foyer % 2


def dossier(foyer: int) -> foyer_pb2.Foyer:
    """The dossier of foyer n, with the NIR of its adults."""
    message = foyer_pb2.Foyer(
        numero_allocataire=numero(foyer), zone=foyer_pb2.ZONE_METROPOLE, regime=foyer_pb2.REGIME_CAF
    )
    for place in range(adults(foyer)):
        message.membres.add(
            personne=MEMBERS[place],
            role=foyer_pb2.ROLE_CONJOINT if place else foyer_pb2.ROLE_ALLOCATAIRE,
            nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
            date_naissance=common_pb2.Date(year=1970 + foyer % 30, month=1 + foyer % 12, day=1),
            nir=nir(2 * foyer + place),
        )
    for child in range(foyer % 3):
        message.membres.add(
            personne=f"enfant-{child + 1}",
            role=foyer_pb2.ROLE_ENFANT,
            nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
            date_naissance=common_pb2.Date(year=2010 + foyer % 12, month=1 + foyer % 12, day=2 + child),
        )
    message.logements.add(debut=common_pb2.Month(year=2024, month=1), statut=foyer_pb2.STATUT_LOGEMENT_LOCATAIRE)
    for month in REFERENCE:
        message.prestations.add(
            mois=month,
            aide_logement_cents=15_000 + foyer % 10_000,
            allocations_familiales_base_cents=15_301 if foyer % 3 == 2 else 0,
        )
    return message


def computation(foyer: int, *, explain: bool) -> entitlement_pb2.ComputeEntitlementsRequest:
    """What an analyst asks about a foyer like n: everything is in the request."""
    request = entitlement_pb2.ComputeEntitlementsRequest(foyer=dossier(foyer), mois_declaration=MOIS, explain=explain)
    for member in request.foyer.membres:
        member.ClearField("nir")
    for place in range(adults(foyer)):
        for month in REFERENCE:
            request.ressources.add(
                personne=MEMBERS[place],
                mois=month,
                nature=common_pb2.NATURE_RESSOURCE_SALAIRE,
                montant_cents=_amounts(2 * foyer + place, month.month),
            )
    return request


def _amounts(persons: Number, month: int | npt.NDArray[np.int64]) -> Number:
    return 20_000 + persons * 7_919 % 180_000 + month * 100  # type: ignore[return-value]


def held_records(persons: range) -> pb.ResourceRecordColumns:
    """What the store holds about persons before a run: one salary in each of the three reference months."""
    count = len(persons) * len(REFERENCE)
    numbers = np.repeat(np.arange(persons.start, persons.stop), len(REFERENCE))
    months = np.tile(np.array([month.month for month in REFERENCE]), len(persons))
    keys = np.zeros(count, [("person", ">u8"), ("month", ">u8")])
    keys["person"], keys["month"] = numbers, months
    return pb.ResourceRecordColumns(
        count=count,
        record_ids=keys.tobytes(),
        person_identifiers=nirs(numbers).astype("S13").tobytes(),
        flux_source=pb.FLUX_SOURCE_DSN,
        declarants=b"".join(b"%014d" % (81_234_567_800_000 + n % 50_000) for n in numbers.tolist()),
        natures=b"\1" * count,
        dates_versement=[_PAYDAYS[2026, month] for month in months.tolist()],
        montants_net_social_cents=_amounts(numbers, months).tolist(),
    )


def filed_records(count: int, persons: int, chance: np.random.Generator) -> pb.StreamResourceRecordsRequest:
    """A batch as payroll files it: DSN of thirteen employees on average, each sealed, about any of the persons.

    The source, the upload and the sequence are left to the sender.
    """
    numbers = chance.integers(0, persons, count)
    documents = max(1, round(count / _PERSONS_A_DSN))
    places = np.sort(chance.integers(0, documents, count))
    declarants = chance.integers(0, 2_200_000, documents)
    names = [chance.bytes(16) for _ in range(documents)]
    columns = pb.ResourceRecordColumns(
        count=count,
        record_ids=chance.bytes(16 * count),
        person_identifiers=nirs(numbers).astype("S13").tobytes(),
        flux_source=pb.FLUX_SOURCE_DSN,
        declarants=b"".join([b"%014d" % (81_234_567_800_000 + n) for n in declarants[places].tolist()]),
        natures=b"\1" * count,
        dates_versement=[_PAYDAYS[_FILED]] * count,
        montants_net_social_cents=_amounts(numbers, _FILED[1]).tolist(),
        document_indexes=(places + 1).tolist(),
        documents=[pb.DocumentRef(document_id=name, version=1) for name in names],
    )
    sizes = np.bincount(places, minlength=documents).tolist()
    seals = [
        pb.DocumentSeal(document=document, record_count=size)
        for document, size in zip(columns.documents, sizes, strict=True)
    ]
    return pb.StreamResourceRecordsRequest(columns=columns, seals=seals)


class Draw:
    """Foyers in an order that meets each of them once before any comes back, shared between generators.

    Generator `place` of `generators` takes every so many places of one pseudo-random permutation.
    """

    def __init__(self, foyers: int, seed: int, place: int = 0, generators: int = 1) -> None:
        self._foyers = foyers
        chance = random.Random(f"draw/{seed}")
        self._start = chance.randrange(foyers)
        self._step = next(step for step in _steps(foyers, chance) if math.gcd(step, foyers) == 1)
        self._next, self._jump = place, generators

    def take(self) -> int:
        """The next foyer."""
        foyer = (self._start + self._next * self._step) % self._foyers
        self._next += self._jump
        return foyer


def _steps(foyers: int, chance: random.Random) -> Iterator[int]:
    while True:
        yield chance.randrange(1, foyers + 1)


def seed_of(*parts: object) -> int:
    """A seed of 64 bits from anything that names a generator."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest(), "big")
