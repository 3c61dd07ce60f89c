"""A store filled with a population: dossiers, and the records of their members."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from solidarite_server.domain.record import FluxSource
from solidarite_server.engine import compute_columns
from solidarite_server.ports import Batch, Store
from solidarite_server.record_columns import PERSON_BYTES, RecordColumns
from solidarite_server.services import codec
from solidarite_server.services.pseudonym import HmacPseudonymizer
from solidarite_server.simulation.columns import Examen, engine_columns
from solidarite_server.simulation.dossiers import foyers_of
from solidarite_server.simulation.nir import nirs
from solidarite_server.simulation.parallel import in_order
from solidarite_server.simulation.population import Block, Population
from solidarite_server.simulation.records import SOURCES, certified, records
from solidarite_server.simulation.take_up import claims


@dataclass(frozen=True, slots=True)
class Filled:
    """What a store received so far."""

    foyers: int
    records: int
    refused: int = 0
    """Records that the store did not keep: it held other contents under the same identifiers."""


def fill(
    store: Store,
    key: bytes,
    population: Population,
    examen: Examen,
    *,
    whole_country: bool = False,
    processes: int = 1,
) -> Iterator[Filled]:
    """Put a population into a store, block by block, telling how far it is. `key` is that of the pseudonyms.

    Dossiers are those of the households that claim the RSA or the prime d'activité. Records are those of their adults,
    or of the whole country, as the real DRM; their months are the reference months. Other processes may prepare the
    blocks; this one writes them, in order.
    """
    foyers = count = refused = 0
    work = partial(_prepared, population, examen, key, whole_country)
    for dossiers, columns in in_order(work, population.block_count, processes):
        store.put_foyers(dossiers)
        batches = [Batch(source, "", 0, _of_flux(columns, flux)) for flux, source in SOURCES.items()]
        refused += sum(len(outcome.refusals) for outcome in store.append(batches))
        foyers, count = foyers + len(dossiers), count + len(columns)
        yield Filled(foyers, count, refused)


def _prepared(
    population: Population, examen: Examen, key: bytes, whole_country: bool, number: int
) -> tuple[list[tuple[str, bytes]], RecordColumns]:
    """A block as the store takes it: dossiers by number, and records."""
    block, marginals = population.block(number), population.marginals
    rows = claimants(block, population, examen)
    adults = np.isin(block.adultes.foyer, rows)
    told = np.ones_like(adults) if whole_country else adults
    persons = np.zeros(len(told), f"V{PERSON_BYTES}")
    persons[told] = HmacPseudonymizer(key).many(nirs(block)[told], certified(block, marginals)[told])
    dossiers = [
        (foyer.numero_allocataire, codec.dumps(foyer))
        for foyer in foyers_of(block, examen, marginals, rows.tolist(), persons.tolist())
    ]
    drm = records(block, examen.months, marginals)
    columns = drm.with_persons(persons)
    return dossiers, columns.compress(told[drm.adulte])


def _of_flux(columns: RecordColumns, flux: FluxSource) -> RecordColumns:
    return columns.compress(columns["flux"] == flux)


def claimants(block: Block, population: Population, examen: Examen) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Rows of the households of a block that claim a right for that declaration."""
    rights = compute_columns(engine_columns(block, examen, population.marginals), examen.options)
    return np.flatnonzero(claims(block, rights, population.marginals).either)
