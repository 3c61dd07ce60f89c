"""A reform on the synthetic country: what it costs, who gains and who loses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.foyer import Regime
from solidarite_server.domain.month import Month
from solidarite_server.engine import EntitlementColumns, compute_columns
from solidarite_server.legislation import LegislationOptions, load_legislation
from solidarite_server.simulation.careers import Ressources
from solidarite_server.simulation.columns import Examen, engine_columns, family_benefits, resources_for
from solidarite_server.simulation.marginals import Marginals, load_marginals
from solidarite_server.simulation.overlay import Overlay
from solidarite_server.simulation.parallel import in_order
from solidarite_server.simulation.population import MONOPARENTAL, SEUL, Block, Population
from solidarite_server.simulation.take_up import claims

FIRST_MONTH = Month(2019, 1)
LAST_KNOWN = Month(2026, 12)
"""The law is read up to the end of 2026; later months need a reform dated up to then."""

TYPES = (
    "Personne seule",
    "Couple sans enfant",
    "Couple, un enfant",
    "Couple, deux enfants",
    "Couple, trois enfants ou plus",
    "Parent isolé, un enfant",
    "Parent isolé, deux enfants ou plus",
)
DECILE, FAMILLE = "decile", "famille"
_BIN_CENTS, _BINS = 1_000, 4_000
"""Standards of living are counted by ten euros, up to 40,000 a month: deciles without keeping every household."""
_FOYERS, _PERSONNES, _GAGNANTS, _PERDANTS, _VARIATION, _NIVEAU = range(6)
Counts = npt.NDArray[np.int64]


class MonthRefused(ValueError):
    """A month for which nothing can be compared, said in French."""


@dataclass(frozen=True, slots=True)
class Group:
    """The outcome for one group of households. Counts are those of the country."""

    dimension: str
    label: str
    foyers: int
    gagnants: int
    perdants: int
    variation_moyenne_cents: int
    """Mean change of a month, over all the households of the group."""
    cout_annuel_cents: int
    niveau_de_vie_cents: int
    """Mean standard of living before, by month."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A month of right before and after, in cents of that month for the country."""

    mois_droit: Month
    foyers: int
    seed: int
    rsa_before: int
    rsa_after: int
    ppa_before: int
    ppa_after: int
    beneficiaires_before: int
    beneficiaires_after: int
    groups: tuple[Group, ...]
    remarks: tuple[str, ...]

    @property
    def cout_annuel_cents(self) -> int:
        """Twelve times the change of the month."""
        return 12 * (self.rsa_after + self.ppa_after - self.rsa_before - self.ppa_before)


def months_allowed(overlay: Overlay) -> tuple[Month, Month]:
    """First and last month that can be compared: the law's, or the year that follows the reform's last date."""
    last = overlay.last
    return FIRST_MONTH, max(LAST_KNOWN, last + 11) if last else LAST_KNOWN


def steps(
    overlay: Overlay,
    foyers: int,
    seed: int,
    mois_droit: Month,
    *,
    processes: int = 1,
    marginals: Marginals | None = None,
) -> Iterator[Comparison | None]:
    """Compare, giving None after each block and the outcome last. MonthRefused for a month out of reach."""
    first, last = months_allowed(overlay)
    if not first <= mois_droit <= last:
        raise MonthRefused(
            f"Le mois comparé va de {first} à {last}"
            + (" (l'année qui suit la réforme)." if last > LAST_KNOWN else " ; au-delà, datez la réforme.")
        )
    population = Population(foyers, seed, mois_droit, marginals or load_marginals())
    examen = Examen(mois_droit, mois_droit, LegislationOptions.law())
    totals = np.zeros(6, np.int64)
    counts = np.zeros((len(TYPES), _BINS, 6), np.int64)
    for part_totals, bins, part in in_order(
        partial(_block, population, examen, overlay), population.block_count, processes
    ):
        totals += part_totals
        counts[:, bins] += part
        yield None
    yield _comparison(population, overlay, examen, totals, counts)


def compare(
    overlay: Overlay,
    foyers: int,
    seed: int,
    mois_droit: Month,
    *,
    processes: int = 1,
    marginals: Marginals | None = None,
) -> Comparison:
    """The outcome of a reform; the same arguments give the same answer, whatever the number of processes."""
    *_, outcome = steps(overlay, foyers, seed, mois_droit, processes=processes, marginals=marginals)
    assert outcome is not None
    return outcome


def _block(
    population: Population, examen: Examen, overlay: Overlay, number: int
) -> tuple[Counts, npt.NDArray[np.int64], Counts]:
    block, marginals = population.block(number), population.marginals
    amounts = resources_for(block, examen, marginals)
    columns = engine_columns(block, examen, marginals, amounts)
    before = compute_columns(columns, examen.options, load_legislation())
    after = compute_columns(columns, examen.options, overlay.legislation)
    rsa_before, ppa_before = _paid(block, before, marginals)
    rsa_after, ppa_after = _paid(block, after, marginals)
    paid_before, paid_after = rsa_before + ppa_before, rsa_after + ppa_after
    change = paid_after - paid_before
    persons = np.bincount(block.adultes.foyer, minlength=len(block)) + block.foyers.enfants
    living = standard_of_living(block, examen, marginals, amounts, paid_before)
    place = np.clip(living // _BIN_CENTS, 0, _BINS - 1)
    # Only the bins met travel between processes.
    bins, row = np.unique(place, return_inverse=True)
    found = np.zeros((len(TYPES), len(bins), 6), np.int64)
    for column, values in (
        (_FOYERS, np.ones(len(block), np.int64)),
        (_PERSONNES, persons),
        (_GAGNANTS, change > 0),
        (_PERDANTS, change < 0),
        (_VARIATION, change),
        (_NIVEAU, living),
    ):
        np.add.at(found[:, :, column], (family_types(block), row), values)
    totals = [rsa_before.sum(), rsa_after.sum(), ppa_before.sum(), ppa_after.sum()]
    totals += [np.count_nonzero(paid_before), np.count_nonzero(paid_after)]
    return np.array(totals, np.int64), bins, found


def _paid(block: Block, rights: EntitlementColumns, marginals: Marginals) -> tuple[Counts, Counts]:
    """What is paid once take-up has its say: the RSA, and the prime gross of CRDS."""
    claimed = claims(block, rights, marginals)
    return np.where(claimed.rsa, rights.rsa_cents, 0), np.where(claimed.ppa, rights.ppa_cents, 0)


def family_types(block: Block) -> npt.NDArray[np.intp]:
    """Place of each household in TYPES."""
    f = block.foyers
    children = f.enfants.astype(np.intp)
    couples = np.where(children == 0, 1, 1 + np.minimum(children, 3))
    return np.where(f.famille == SEUL, 0, np.where(f.famille == MONOPARENTAL, 4 + np.clip(children, 1, 2), couples))


def consumption_units(block: Block, mois: Month) -> npt.NDArray[np.float64]:
    """Insee's scale: 1, then 0.5 from fourteen years on, 0.3 below."""
    n = len(block)
    children = block.enfants
    grown = np.bincount(children.foyer, mois.index - children.naissance >= 14 * 12, n)
    adults = np.bincount(block.adultes.foyer, minlength=n)
    return np.asarray(1 + 0.5 * (adults - 1 + grown) + 0.3 * (block.foyers.enfants - grown))


def standard_of_living(block: Block, examen: Examen, marginals: Marginals, amounts: Ressources, paid: Counts) -> Counts:
    """Monthly income before taxes, benefits and rights paid before the reform included, by consumption unit, in cents.

    Resources are the mean of the reference months; profits count for a twelfth, turnovers after the tax allowance.
    """
    a, n = block.adultes, len(block)
    width = len(examen.months)
    kept = marginals["independants"]["part_nette_du_chiffre"]
    received = amounts.cents.sum((1, 2)) / width + a.benefice / 12 + kept * amounts.chiffre.sum(1) / width
    benefits = family_benefits(block, examen.months, marginals)
    family = sum((getattr(benefits, name).sum(1) for name in ("af", "cf", "asf", "paje", "aspa")), np.zeros(n)) / width
    total = np.bincount(a.foyer, received, n) + family + block.foyers.aide_logement + paid
    return (total / consumption_units(block, examen.mois_droit)).astype(np.int64)


def _comparison(population: Population, overlay: Overlay, examen: Examen, totals: Counts, counts: Counts) -> Comparison:
    weight = population.weight
    rsa_before, rsa_after, ppa_before, ppa_after, paid_before, paid_after = (round(v * weight) for v in totals.tolist())
    groups = [_group(DECILE, f"D{rank + 1}", part, weight) for rank, part in enumerate(_deciles(counts.sum(0)))]
    groups += [_group(FAMILLE, label, part.sum(0), weight) for label, part in zip(TYPES, counts, strict=True)]
    shift = max(examen.shifts(regime)[1] for regime in Regime)
    return Comparison(
        examen.mois_droit,
        population.foyers,
        population.seed,
        rsa_before,
        rsa_after,
        ppa_before,
        ppa_after,
        paid_before,
        paid_after,
        tuple(groups),
        tuple(overlay.remarks(examen.mois_droit, examen.mois_declaration - shift - 2)),
    )


def _deciles(bins: Counts) -> list[Counts]:
    """Sums by tenth of the persons, from the poorest; a bin goes whole to the tenth in which its middle falls."""
    persons = bins[:, _PERSONNES]
    middle = np.cumsum(persons) - persons / 2
    rank = np.minimum((middle * 10 / max(1, persons.sum())).astype(np.intp), 9)
    return [bins[rank == place].sum(0) for place in range(10)]


def _group(dimension: str, label: str, sums: Counts, weight: float) -> Group:
    foyers = int(sums[_FOYERS])
    return Group(
        dimension,
        label,
        round(foyers * weight),
        round(int(sums[_GAGNANTS]) * weight),
        round(int(sums[_PERDANTS]) * weight),
        round(int(sums[_VARIATION]) / max(1, foyers)),
        round(12 * int(sums[_VARIATION]) * weight),
        round(int(sums[_NIVEAU]) / max(1, foyers)),
    )
