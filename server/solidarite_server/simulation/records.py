"""The monthly records (DRM) of a block: what the DSN and PASRAU flows say of its adults, with the flaws of real flows.

The records of a month do not depend on the other months asked for, and add up to what the adults truly received, but
for those that never arrive.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import FluxSource, Mode
from solidarite_server.record_columns import RECORD_DTYPE, RecordColumns, days_of
from solidarite_server.simulation.careers import NATURES, PREFILLED, noise_of, ressources
from solidarite_server.simulation.marginals import Marginals
from solidarite_server.simulation.nir import sirets
from solidarite_server.simulation.population import Block

SOURCES = {FluxSource.DSN: "simulation-dsn", FluxSource.PASRAU: "simulation-pasrau"}
"""Who sends each flow."""
_BODIES = {
    NatureRessource.IJSS_MALADIE: 3_000_001,
    NatureRessource.IJSS_MATERNITE: 3_000_001,
    NatureRessource.CHOMAGE: 3_000_002,
    NatureRessource.ALLOCATION_SOLIDARITE_SPECIFIQUE: 3_000_002,
    NatureRessource.RETRAITE: 3_000_003,
    NatureRessource.INVALIDITE: 3_000_004,
}
_ID_DTYPE = np.dtype([("foyer", "<u8"), ("place", "u1"), ("nature", "u1"), ("mois", "<u2"), ("rank", "<u4")])
(_LATE, _MISSING, _CORRECTED, _DIFFERENCE, _DOUBLED, _NEGATIVE, _UNCERTIFIED, _DELAY) = range(1, 9)
"""What a draw decides: each has its own, so that a rate changes nothing else."""


@dataclass(frozen=True, slots=True)
class DrmRecords:
    """Records of a block, by month and day of arrival."""

    columns: RecordColumns
    """RECORD_DTYPE; `person` is left at zero: pseudonyms are made where the key is."""
    adulte: npt.NDArray[np.int32]
    """Row of the adult in the block."""
    reception: npt.NDArray[np.int32]
    """Day on which the record arrives, in days since 1970-01-01."""

    def __len__(self) -> int:
        return len(self.columns)

    def with_persons(self, pseudonyms: npt.NDArray[np.void]) -> RecordColumns:
        """The columns, ready for a store; `pseudonyms` are those of the adults of the block, in order."""
        columns = self.columns.copy()
        columns["person"] = pseudonyms[self.adulte]
        return columns


def certified(block: Block, marginals: Marginals) -> npt.NDArray[np.bool_]:
    """Adults whose NIR is certified; the others are known by a temporary number, and never prefilled."""
    rate = marginals["imperfections"]["non_certifies"]
    return np.asarray(noise_of(block.adultes.graine, np.uint64(_UNCERTIFIED)) >= rate)


def records(block: Block, months: Sequence[Month], marginals: Marginals) -> DrmRecords:
    """The records of these months."""
    parts = [_month_records(block, mois, marginals) for mois in months]
    return DrmRecords(
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.adulte for part in parts]),
        np.concatenate([part.reception for part in parts]),
    )


def _month_records(block: Block, mois: Month, marginals: Marginals) -> DrmRecords:
    """One month: a record an amount and payer, then what goes wrong with it."""
    cents = ressources(block, [mois], marginals).cents[:, list(PREFILLED), 0]
    adulte, column = np.divmod(np.flatnonzero(cents), len(PREFILLED))
    amount = cents[adulte, column]
    nature = np.array(NATURES, np.uint8)[column]
    job = np.zeros(len(adulte), np.int64)
    two = (nature == NatureRessource.SALAIRE) & (block.adultes.employeurs[adulte] == 2)
    second = np.rint(amount[two] * marginals["salaires.plusieurs_employeurs"]["part_du_second"]).astype(np.int64)
    amount[two] -= second
    rows = np.concatenate((np.arange(len(adulte)), np.flatnonzero(two)))
    adulte, nature = adulte[rows], nature[rows]
    amount = np.concatenate((amount, second))
    job = np.concatenate((job, np.ones(len(second), np.int64)))
    base = _base(block, mois, adulte.astype(np.int32), nature, job, amount)
    return _with_flaws(block, mois, base, marginals)


def _base(
    block: Block,
    mois: Month,
    adulte: npt.NDArray[np.int32],
    nature: npt.NDArray[np.uint8],
    job: npt.NDArray[np.int64],
    amount: npt.NDArray[np.int64],
) -> DrmRecords:
    a = block.adultes
    columns = np.zeros(len(adulte), RECORD_DTYPE)
    wages = nature == NatureRessource.SALAIRE
    bodies = np.zeros(256, np.int64)
    for code, number in _BODIES.items():
        bodies[code] = number
    employer = np.where(wages, a.employeur[adulte] + job * 7, bodies[nature])
    columns["version"] = 1
    columns["mois"] = mois.index
    columns["date_versement"] = np.where(wages, days_of(mois.last_day), days_of(date(mois.year, mois.month, 5)))
    columns["montant"] = amount
    columns["declarant"] = sirets(employer)
    columns["contrat"] = np.array([b"00001", b"00002"], "S20").view("V20")[job]
    columns["nature"] = nature
    columns["flux"] = np.where(wages, FluxSource.DSN, FluxSource.PASRAU)
    columns["mode"] = Mode.INITIAL
    columns["certified"] = 1
    columns["record_id"] = _ids(block, mois, adulte, nature, job)
    return DrmRecords(columns, adulte, _arrival(mois, wages, employer))


def _ids(
    block: Block,
    mois: Month,
    adulte: npt.NDArray[np.int32],
    nature: npt.NDArray[np.uint8],
    rank: npt.NDArray[np.int64],
) -> npt.NDArray[np.void]:
    ids = np.zeros(len(adulte), _ID_DTYPE)
    ids["foyer"] = block.first + block.adultes.foyer[adulte]
    ids["place"], ids["nature"] = block.adultes.place[adulte], nature
    ids["mois"], ids["rank"] = mois.index, rank
    return ids.view("V16")


def _arrival(mois: Month, wages: npt.NDArray[np.bool_], employer: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """DSN: the 5th of the next month for large firms, the 15th for the others; PASRAU: the 10th."""
    after = mois + 1
    fifth, tenth, fifteenth = (days_of(date(after.year, after.month, day)) for day in (5, 10, 15))
    # The numbers of employers are drawn so that the lowest have the most jobs.
    return np.where(wages, np.where(employer < 50_000, fifth, fifteenth), tenth).astype(np.int32)


def _with_flaws(block: Block, mois: Month, base: DrmRecords, marginals: Marginals) -> DrmRecords:
    rates = marginals["imperfections"]
    seeds = block.adultes.graine[base.adulte]
    salt = base.columns["nature"].astype(np.uint64) * np.uint64(4_096) + np.uint64(mois.index * 1_048_576)
    salt += np.frombuffer(base.columns["record_id"].tobytes(), _ID_DTYPE)["rank"].astype(np.uint64) * np.uint64(64)

    def happens(kind: int, rate: float) -> npt.NDArray[np.bool_]:
        return noise_of(seeds, salt + np.uint64(kind)) < rate

    columns, reception = base.columns.copy(), base.reception.copy()
    columns["certified"] = certified(block, marginals)[base.adulte]
    late = happens(_LATE, rates["en_retard"])
    reception[late] += 30 + (60 * noise_of(seeds[late], salt[late] + np.uint64(_DELAY))).astype(np.int32)
    corrected = happens(_CORRECTED, rates["corriges"])
    difference = happens(_DIFFERENCE, rates["differentiels"]) & ~corrected
    error = np.rint(columns["montant"] * rates["erreur_relative"]).astype(np.int64)
    month_length = calendar.monthrange(mois.year, mois.month)[1]

    second = columns[corrected]
    second["version"] = 2
    columns["montant"][corrected] -= error[corrected]
    added = columns[difference]
    columns["montant"][difference] -= error[difference]
    added["montant"], added["mode"] = error[difference], Mode.DIFFERENTIEL
    added["record_id"] = _other_ids(added["record_id"], 16)
    doubled = happens(_DOUBLED, rates["doubles"])
    sent = ~happens(_MISSING, rates["manquants"])
    recovery = _recoveries(block, mois, marginals)
    parts = (
        (columns[sent], base.adulte[sent], reception[sent]),
        (columns[sent & doubled], base.adulte[sent & doubled], reception[sent & doubled] + 1),
        (second, base.adulte[corrected], reception[corrected] + month_length),
        (added, base.adulte[difference], reception[difference] + month_length),
        (recovery.columns, recovery.adulte, recovery.reception),
    )
    return DrmRecords(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]).astype(np.int32),
    )


def _other_ids(ids: npt.NDArray[np.void], shift: int) -> npt.NDArray[np.void]:
    changed = np.frombuffer(ids.tobytes(), _ID_DTYPE).copy()
    changed["rank"] += shift
    return changed.view("V16")


def _recoveries(block: Block, mois: Month, marginals: Marginals) -> DrmRecords:
    """Overpaid wages taken back in a month without work: the sum of that month is negative and counts for zero."""
    a = block.adultes
    idle = (a.periode > 0) & ((mois.index + a.phase.astype(np.int32)) % np.maximum(a.periode, 1) >= a.en_emploi)
    chosen = idle & (
        noise_of(a.graine, np.uint64(mois.index * 1_048_576 + _NEGATIVE)) < marginals["imperfections"]["negatifs"]
    )
    adulte = np.flatnonzero(chosen).astype(np.int32)
    nature = np.full(len(adulte), NatureRessource.SALAIRE, np.uint8)
    rank = np.full(len(adulte), 32, np.int64)
    found = _base(
        block,
        mois,
        adulte,
        nature,
        np.zeros(len(adulte), np.int64),
        np.full(len(adulte), -round(marginals["imperfections"]["reprise"] * 100), np.int64),
    )
    found.columns["record_id"] = _ids(block, mois, adulte, nature, rank)
    found.columns["mode"] = Mode.DIFFERENTIEL
    found.columns["certified"] = certified(block, marginals)[adulte]
    return found
