"""The monthly records (DRM) of a block: what the DSN and PASRAU flows say of its adults, with the flaws of real flows.

The records of a month do not depend on the other months asked for, and add up to what the adults truly received, but
for those that never arrive.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import FluxSource, Mode
from solidarite_server.record_columns import RECORD_DTYPE, RecordColumns, days_of
from solidarite_server.simulation.careers import NATURES, PREFILLED, Ressources, noise_of, ressources
from solidarite_server.simulation.marginals import Marginals
from solidarite_server.simulation.nir import sirets
from solidarite_server.simulation.population import Block

SOURCES = {FluxSource.DSN: "simulation-dsn", FluxSource.PASRAU: "simulation-pasrau"}
"""Who sends each flow."""
_BODY_OF = np.zeros(256, np.int64)
"""Number of the body that pays each nature."""
for _nature, _body in {
    NatureRessource.IJSS_MALADIE: 3_000_001,
    NatureRessource.IJSS_MATERNITE: 3_000_001,
    NatureRessource.CHOMAGE: 3_000_002,
    NatureRessource.ALLOCATION_SOLIDARITE_SPECIFIQUE: 3_000_002,
    NatureRessource.RETRAITE: 3_000_003,
    NatureRessource.INVALIDITE: 3_000_004,
}.items():
    _BODY_OF[_nature] = _body
_CONTRACTS = np.array([b"00001", b"00002"], "S20").view("V20")
_PREFILLED_NATURES = np.array(NATURES, np.uint8)[list(PREFILLED)]
_SALAIRE = NATURES.index(NatureRessource.SALAIRE)
_DIFFERENCE_RANK, _RECOVERY_RANK = 16, 32
_ID_DTYPE = np.dtype([("foyer", "<u8"), ("place", "u1"), ("nature", "u1"), ("mois", "<u2"), ("rank", "<u4")])
_T = TypeVar("_T", bound=np.generic)
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


def records(
    block: Block, months: Sequence[Month], marginals: Marginals, amounts: Ressources | None = None
) -> DrmRecords:
    """The records of these months; `amounts` are what the adults receive in them, when the caller has them."""
    amounts = amounts or ressources(block, months, marginals)
    known = certified(block, marginals)
    parts = [
        _month_records(block, mois, amounts.cents[:, list(PREFILLED), place], known, marginals)
        for place, mois in enumerate(months)
    ]
    return DrmRecords(
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.adulte for part in parts]),
        np.concatenate([part.reception for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """What sets the records of a month apart: one row each. The columns of the store are laid out from them, once."""

    adulte: npt.NDArray[np.int32]
    nature: npt.NDArray[np.uint8]
    job: npt.NDArray[np.uint8]
    """0, or 1 for the second employer."""
    rank: npt.NDArray[np.uint32]
    """Tells apart the records of an adult, month and nature."""
    version: npt.NDArray[np.uint8]
    mode: npt.NDArray[np.uint8]
    cents: npt.NDArray[np.int64]
    delay: npt.NDArray[np.int32]
    """Days after the day on which it should arrive."""


def _month_records(
    block: Block,
    mois: Month,
    cents: npt.NDArray[np.int64],
    known: npt.NDArray[np.bool_],
    marginals: Marginals,
) -> DrmRecords:
    """One month: a record an amount and payer, then what goes wrong with it."""
    adulte, column = np.divmod(np.flatnonzero(cents), len(PREFILLED))
    amount = cents[adulte, column]
    nature = _PREFILLED_NATURES[column]
    two = np.flatnonzero((column == _SALAIRE) & (block.adultes.employeurs[adulte] == 2))
    second = np.rint(amount[two] * marginals["salaires.plusieurs_employeurs"]["part_du_second"]).astype(np.int64)
    amount[two] -= second
    rows = np.concatenate((np.arange(len(adulte)), two))
    job = np.repeat(np.array([0, 1], np.uint8), (len(adulte), len(two)))
    flawed = _with_flaws(
        block, mois, adulte[rows].astype(np.int32), nature[rows], job, np.concatenate((amount, second)), marginals
    )
    return _laid_out(block, mois, flawed, known)


def _with_flaws(
    block: Block,
    mois: Month,
    adulte: npt.NDArray[np.int32],
    nature: npt.NDArray[np.uint8],
    job: npt.NDArray[np.uint8],
    cents: npt.NDArray[np.int64],
    marginals: Marginals,
) -> _Rows:
    """The perfect records of a month, less those never sent, then doubles, corrections, differences, recoveries."""
    rates = marginals["imperfections"]
    seeds = block.adultes.graine[adulte]
    salt = nature.astype(np.uint64) * np.uint64(4_096) + job * np.uint64(64) + np.uint64(mois.index * 1_048_576)

    def happens(kind: int, rate: float) -> npt.NDArray[np.bool_]:
        return noise_of(seeds, salt + np.uint64(kind)) < rate

    delay = np.zeros(len(adulte), np.int32)
    late = happens(_LATE, rates["en_retard"])
    delay[late] = 30 + (60 * noise_of(seeds[late], salt[late] + np.uint64(_DELAY))).astype(np.int32)
    corrected = happens(_CORRECTED, rates["corriges"])
    difference = happens(_DIFFERENCE, rates["differentiels"]) & ~corrected
    doubled = happens(_DOUBLED, rates["doubles"])
    sent = ~happens(_MISSING, rates["manquants"])
    error = np.where(corrected | difference, np.rint(cents * rates["erreur_relative"]), 0).astype(np.int64)
    first = cents - error
    month_length = calendar.monthrange(mois.year, mois.month)[1]
    recovered = _recovered(block, mois, marginals)

    kinds = [np.flatnonzero(mask) for mask in (sent, sent & doubled, corrected, difference)]
    counts = [*map(len, kinds), len(recovered)]
    origin = np.concatenate(kinds)

    def each(*values: int) -> npt.NDArray[np.int64]:
        return np.repeat(values, counts)

    def then(values: npt.NDArray[_T], recovery: int) -> npt.NDArray[_T]:
        return np.append(values, np.full(len(recovered), recovery, values.dtype))

    return _Rows(
        adulte=np.append(adulte[origin], recovered),
        nature=then(nature[origin], NatureRessource.SALAIRE),
        job=then(job[origin], 0),
        rank=(then(job[origin], 0) + each(0, 0, 0, _DIFFERENCE_RANK, _RECOVERY_RANK)).astype(np.uint32),
        version=each(1, 1, 2, 1, 1).astype(np.uint8),
        mode=each(*[Mode.INITIAL] * 3, *[Mode.DIFFERENTIEL] * 2).astype(np.uint8),
        cents=np.concatenate(
            (
                *(first[rows] for rows in kinds[:2]),
                cents[corrected],
                error[difference],
                np.full(len(recovered), -round(rates["reprise"] * 100)),
            )
        ),
        delay=(then(delay[origin], 0) + each(0, 1, month_length, month_length, 0)).astype(np.int32),
    )


def _recovered(block: Block, mois: Month, marginals: Marginals) -> npt.NDArray[np.int32]:
    """Adults from whom overpaid wages are taken back in a month without work: the sum of that month is negative and
    counts for zero.
    """
    a = block.adultes
    idle = (a.periode > 0) & ((mois.index + a.phase.astype(np.int32)) % np.maximum(a.periode, 1) >= a.en_emploi)
    draw = noise_of(a.graine, np.uint64(mois.index * 1_048_576 + _NEGATIVE))
    return np.flatnonzero(idle & (draw < marginals["imperfections"]["negatifs"])).astype(np.int32)


def _laid_out(block: Block, mois: Month, rows: _Rows, known: npt.NDArray[np.bool_]) -> DrmRecords:
    a = block.adultes
    columns = np.zeros(len(rows.adulte), RECORD_DTYPE)
    wages = rows.nature == NatureRessource.SALAIRE
    employer = np.where(wages, a.employeur[rows.adulte] + rows.job * 7, _BODY_OF[rows.nature])
    columns["version"] = rows.version
    columns["mois"] = mois.index
    columns["date_versement"] = np.where(wages, days_of(mois.last_day), days_of(date(mois.year, mois.month, 5)))
    columns["montant"] = rows.cents
    columns["declarant"] = sirets(employer)
    columns["contrat"] = _CONTRACTS[rows.job]
    columns["nature"] = rows.nature
    columns["flux"] = np.where(wages, FluxSource.DSN, FluxSource.PASRAU)
    columns["mode"] = rows.mode
    columns["certified"] = known[rows.adulte]
    ids = np.zeros(len(columns), _ID_DTYPE)
    ids["foyer"] = block.first + a.foyer[rows.adulte]
    ids["place"], ids["nature"] = a.place[rows.adulte], rows.nature
    ids["mois"], ids["rank"] = mois.index, rows.rank
    columns["record_id"] = ids.view("V16")
    return DrmRecords(columns, rows.adulte, _arrival(mois, wages, employer) + rows.delay)


def _arrival(mois: Month, wages: npt.NDArray[np.bool_], employer: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """DSN: the 5th of the next month for large firms, the 15th for the others; PASRAU: the 10th."""
    after = mois + 1
    fifth, tenth, fifteenth = (days_of(date(after.year, after.month, day)) for day in (5, 10, 15))
    # The numbers of employers are drawn so that the lowest have the most jobs.
    return np.where(wages, np.where(employer < 50_000, fifth, fifteenth), tenth).astype(np.int32)
