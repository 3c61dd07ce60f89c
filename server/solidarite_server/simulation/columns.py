"""A block laid out as the engine's columns.

The columns hold what the law reads (`LegislationOptions.law`): the simplifications of OpenFisca look further back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.foyer import Foyer, Nationalite, Regime, RegimeNonSalarie, StatutLogement, Zone
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.engine import FoyerColumns
from solidarite_server.engine.columns import (
    AF,
    AIDE_LOGEMENT,
    ASF,
    ASPA,
    CA_BNC,
    CA_SERVICES_BIC,
    CA_VENTE,
    CF,
    F_MAYOTTE,
    FOYER_DTYPE,
    GROUP_DTYPE,
    LINE_DTYPE,
    P_ACTUEL,
    P_DROIT_UE,
    P_ETUDIANT,
    P_REGULIER,
    PAJE,
    PERSON_DTYPE,
    PROFIT,
    WINDOW,
    decalages,
    group_of,
    months_alone,
)
from solidarite_server.engine.natures import RANG
from solidarite_server.legislation import LegislationOptions, load_legislation
from solidarite_server.simulation.careers import NATURES, Prestations, Ressources, prestations, ressources
from solidarite_server.simulation.marginals import Marginals
from solidarite_server.simulation.population import ETUDIANT, Block, Population

_ALL = (1 << WINDOW) - 1
_FOYER_CATEGORIES = (AF, CF, ASF, PAJE, ASPA, AIDE_LOGEMENT)
_MICRO = {
    RegimeNonSalarie.MICRO_VENTE: CA_VENTE,
    RegimeNonSalarie.MICRO_SERVICES_BIC: CA_SERVICES_BIC,
    RegimeNonSalarie.MICRO_BNC: CA_BNC,
}


@dataclass(frozen=True, slots=True)
class Examen:
    """The declaration for which households are laid out."""

    mois_declaration: Month
    mois_droit: Month
    options: LegislationOptions

    @property
    def months(self) -> tuple[Month, ...]:
        """Every month whose resources one of the schemes reads."""
        shifts = {shift for regime in Regime for shift in self.shifts(regime)}
        last, first = self.mois_declaration - min(shifts), self.mois_declaration - max(shifts) - 2
        return tuple(Month.from_index(i) for i in range(first.index, last.index + 1))

    def shifts(self, regime: Regime) -> tuple[int, int]:
        """Months between the last reference month and the declaration, for RSA and PPA."""
        return decalages(Foyer("", (), regime=regime), self.mois_declaration, self.options)


def examen_of(population: Population, options: LegislationOptions | None = None) -> Examen:
    """The declaration of the population's own month, for its first month of right."""
    return Examen(population.mois, population.mois, options or LegislationOptions.law())


def resources_for(block: Block, examen: Examen, marginals: Marginals) -> Ressources:
    """The amounts that the declaration reads."""
    return ressources(block, examen.months, marginals)


def engine_columns(
    block: Block, examen: Examen, marginals: Marginals, amounts: Ressources | None = None
) -> FoyerColumns:
    """Lay a block out for the engine; `amounts` replace what the adults truly receive (a declaration with errors)."""
    amounts = amounts or resources_for(block, examen, marginals)
    f, a, c = block.foyers, block.adultes, block.enfants
    n, window = len(block), examen.mois_declaration.index - (WINDOW - 1)
    adults = np.bincount(a.foyer, minlength=n)
    sizes = adults + f.enfants
    first_person = _starts(sizes)
    lines, first_line, line_counts = _lines(block, examen, marginals, amounts, window)

    foyers = np.zeros(n, FOYER_DTYPE)
    foyers["group"] = f.regime - 1
    foyers["person"], foyers["persons"] = first_person, sizes
    foyers["line"], foyers["lines"] = first_line, line_counts
    foyers["isolement"] = months_alone(f.isolement, window)
    foyers["isole"] = np.where(f.isolement > 0, _bits_from(f.isolement - window), 0)
    foyers["gratuit"] = np.where(f.logement == StatutLogement.HEBERGE_GRATUIT, _ALL, 0)
    foyers["proprietaire"] = np.where(f.logement == StatutLogement.PROPRIETAIRE, _ALL, 0)
    foyers["flags"] = np.where(f.zone == Zone.MAYOTTE, F_MAYOTTE, 0)

    persons = np.zeros(int(sizes.sum()), PERSON_DTYPE)
    rows = first_person[a.foyer] + a.place
    common = P_ACTUEL | P_REGULIER | P_DROIT_UE
    persons["flags"], persons["present"], persons["nationalite"] = common, _ALL, Nationalite.FRANCAISE
    persons["naissance"][rows], persons["jour"][rows] = a.naissance, a.jour
    persons["role"][rows] = 1 + a.place
    persons["nationalite"][rows], persons["titre_annees"][rows] = a.nationalite, a.titre_annees
    persons["flags"][rows] = common | np.where(a.activite == ETUDIANT, P_ETUDIANT, 0)
    persons["arret"][rows] = a.arret
    ended = (a.interrompu > 0) & (a.interrompu <= examen.mois_declaration.index)
    persons["interrompues"][rows] = np.where(ended, 1 << int(RANG[NatureRessource.SALAIRE]), 0)
    rows = first_person[c.foyer] + adults[c.foyer] + np.arange(len(c.foyer)) - f.enfant[c.foyer]
    persons["naissance"][rows], persons["jour"][rows] = c.naissance, c.jour
    persons["role"][rows], persons["asf"][rows] = 3, c.asf
    persons["present"][rows] = _bits_from(c.naissance - window)
    return FoyerColumns(foyers, persons, lines, _groups(examen), narrow=True)


def _groups(examen: Examen) -> npt.NDArray[np.void]:
    """One row per scheme: the households of a population differ by nothing else that a group holds."""
    rows = [
        group_of(Foyer("", (), regime=regime), examen.mois_droit, examen.mois_declaration, examen.options)
        for regime in Regime
    ]
    return np.array(rows, GROUP_DTYPE)


def _starts(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts)))[:-1]


def _bits_from(places: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Masks whose bits are set from a place of the window on."""
    return (_ALL << np.clip(places, 0, WINDOW)) & _ALL


@lru_cache(maxsize=32)
def bmaf_of(months: tuple[Month, ...]) -> tuple[float, ...]:
    """The base of the family benefits of each month, in euros."""
    return tuple(float(load_legislation().value("prestations.bmaf", mois)) for mois in months)


def family_benefits(block: Block, months: tuple[Month, ...], marginals: Marginals) -> Prestations:
    """Family benefits of the households of a block, at the base of each month."""
    return prestations(block, months, marginals, bmaf_of(months))


def _lines(
    block: Block, examen: Examen, marginals: Marginals, amounts: Ressources, window: int
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Lines sorted by foyer, person, category and month; first line and count of each household."""
    a, n, months = block.adultes, len(block), examen.months
    paid = family_benefits(block, months, marginals)
    shared = np.empty((n, len(_FOYER_CATEGORIES), len(months)), np.int64)
    for place, amount in enumerate((paid.af, paid.cf, paid.asf, paid.paje, paid.aspa)):
        shared[:, place] = amount
    shared[:, len(_FOYER_CATEGORIES) - 1] = block.foyers.aide_logement[:, None]
    own, categories, places = _person_amounts(block, amounts, months, window)
    shared_categories = np.repeat(np.array(_FOYER_CATEGORIES, np.uint8), len(months))
    shared_places = np.tile(np.array([mois.index - window for mois in months], np.int8), len(_FOYER_CATEGORIES))

    flat = shared.reshape(n, -1)
    shared_at, own_at = np.flatnonzero(flat), np.flatnonzero(own)
    shared_foyer, shared_column = np.divmod(shared_at, flat.shape[1])
    own_adult, own_column = np.divmod(own_at, own.shape[1])
    shared_counts = np.bincount(shared_foyer, minlength=n)
    own_counts = np.bincount(own_adult, minlength=len(a.foyer))
    counts = shared_counts + np.bincount(a.foyer, own_counts, n).astype(np.int64)
    first = _starts(counts)
    lines = np.empty(int(counts.sum()), LINE_DTYPE)
    _put(
        lines,
        np.arange(len(shared_at)) + np.repeat(first - _starts(shared_counts), shared_counts),
        shared_categories[shared_column],
        shared_places[shared_column],
        np.int16(-1),
        flat.ravel()[shared_at],
    )
    # Adults follow each other in the order of their households: their lines come after those of the household.
    before = first[a.foyer] + shared_counts[a.foyer] - _starts(own_counts)
    partner = np.flatnonzero(a.place == 1)
    before[partner] += own_counts[partner - 1]
    _put(
        lines,
        np.arange(len(own_at)) + np.repeat(before, own_counts),
        categories[own_adult, own_column],
        places[own_column],
        a.place[own_adult],
        own.ravel()[own_at],
    )
    return lines, first, counts


def _put(
    lines: npt.NDArray[np.void],
    rows: npt.NDArray[np.int64],
    category: npt.NDArray[np.uint8],
    mois: npt.NDArray[np.int8],
    person: npt.NDArray[np.uint8] | np.int16,
    cents: npt.NDArray[np.int64],
) -> None:
    lines["category"][rows], lines["mois"][rows] = category, mois
    lines["person"][rows], lines["cents"][rows] = person, cents


def _person_amounts(
    block: Block, amounts: Ressources, months: Sequence[Month], window: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """Amounts of the adults [adult, column], the category of each cell and the place in the window of each column."""
    a, width = block.adultes, len(months)
    natures = len(NATURES) * width
    own = np.empty((len(a.foyer), natures + 1 + width), np.int64)
    own[:, :natures] = amounts.cents.reshape(len(a.foyer), -1)
    own[:, natures] = a.benefice
    own[:, natures + 1 :] = amounts.chiffre
    in_window = np.array([mois.index - window for mois in months], np.int8)
    places = np.concatenate((np.tile(in_window, len(NATURES)), [-1], in_window)).astype(np.int8)
    fixed = np.repeat(np.array(NATURES, np.uint8), width)
    categories = np.empty(own.shape, np.uint8)
    categories[:, :natures] = fixed
    categories[:, natures] = PROFIT
    turnover = np.zeros(8, np.uint8)
    turnover[list(_MICRO)] = list(_MICRO.values())
    categories[:, natures + 1 :] = turnover[a.regime_micro][:, None]
    return own, categories, places
