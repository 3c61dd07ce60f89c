"""A store filled with a population: dossiers, and the records of their members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from solidarite_server.domain.month import Month
from solidarite_server.engine import compute_columns
from solidarite_server.ports import Batch, Store
from solidarite_server.services.foyers import FoyerService
from solidarite_server.services.pseudonym import HmacPseudonymizer
from solidarite_server.simulation.columns import Examen, engine_columns
from solidarite_server.simulation.dossiers import foyers_of
from solidarite_server.simulation.nir import nirs
from solidarite_server.simulation.population import Block, Population
from solidarite_server.simulation.records import SOURCES, certified, records
from solidarite_server.simulation.take_up import claims

_DOSSIERS_A_COMMIT = 2_000


@dataclass(frozen=True, slots=True)
class Filled:
    """What a store received so far."""

    foyers: int
    records: int
    refused: int = 0
    """Records that the store did not keep: it held other contents under the same identifiers."""


def fill(
    store: Store,
    pseudonyms: HmacPseudonymizer,
    population: Population,
    examen: Examen,
    *,
    months: Sequence[Month] | None = None,
    whole_country: bool = False,
) -> Iterator[Filled]:
    """Put a population into a store, block by block, telling how far it is.

    Dossiers are those of the households that claim the RSA or the prime d'activité. Records are those of their adults,
    or of the whole country, as the real DRM; their months are the reference months unless told.
    """
    foyers = count = refused = 0
    service = FoyerService(store)
    for block in population.blocks():
        rows = claimants(block, population, examen)
        persons = pseudonyms.many(nirs(block), certified(block, population.marginals))
        dossiers = list(foyers_of(block, examen, population.marginals, rows.tolist(), persons.tolist()))
        for start in range(0, len(dossiers), _DOSSIERS_A_COMMIT):
            service.upsert(dossiers[start : start + _DOSSIERS_A_COMMIT])
        drm = records(block, months or examen.months, population.marginals)
        columns = drm.with_persons(persons)
        if not whole_country:
            columns = columns[np.isin(block.adultes.foyer[drm.adulte], rows)]
        for flux, source in SOURCES.items():
            outcomes = store.append([Batch(source, "", 0, columns[columns["flux"] == flux])])
            refused += sum(len(outcome.refusals) for outcome in outcomes)
        foyers, count = foyers + len(dossiers), count + len(columns)
        yield Filled(foyers, count, refused)


def claimants(block: Block, population: Population, examen: Examen) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Rows of the households of a block that claim a right for that declaration."""
    rights = compute_columns(engine_columns(block, examen, population.marginals), examen.options)
    return np.flatnonzero(claims(block, rights, population.marginals).either)
