"""The synthetic population: the same seed gives the same bytes, and the engine reads the same households both ways."""

import hashlib
from functools import partial

import numpy as np
import pytest
from solidarite_server.domain.month import Month
from solidarite_server.domain.nir import is_permanent, is_valid_nir, nir_key
from solidarite_server.domain.record import Mode
from solidarite_server.engine import Case, columns_from, compute_columns
from solidarite_server.simulation.arrow import batch_of, ipc_stream
from solidarite_server.simulation.careers import PREFILLED, ressources
from solidarite_server.simulation.columns import engine_columns, examen_of
from solidarite_server.simulation.dossiers import foyers_of, ressources_of
from solidarite_server.simulation.marginals import load_marginals
from solidarite_server.simulation.nir import nirs, sirets
from solidarite_server.simulation.parallel import in_order, in_order_by_threads
from solidarite_server.simulation.population import BLOCK_FOYERS, Population
from solidarite_server.simulation.records import records

NOVEMBER = Month(2026, 11)
SMALL = Population(2_000, 11, NOVEMBER)


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_processes_or_threads():
    population = Population(2 * BLOCK_FOYERS + 500, 7, NOVEMBER)
    work = partial(batch_of, population, examen_of(population))
    alone, by_processes, by_threads = (
        [hashlib.sha256(ipc_stream(batch)).hexdigest() for batch in batches(work, population.block_count, workers)]
        for batches, workers in ((in_order, 1), (in_order, 2), (in_order_by_threads, 3))
    )
    assert alone == by_processes == by_threads
    assert len(set(alone)) == 3


def test_a_block_made_alone_is_that_of_the_whole_and_another_seed_gives_another():
    large, small = Population(3 * BLOCK_FOYERS, 7, NOVEMBER), Population(BLOCK_FOYERS + 100, 7, NOVEMBER)
    examen = examen_of(large)
    beginning = engine_columns(large.block(1).head(100), examen, large.marginals)
    alone = engine_columns(small.block(1), examen, small.marginals)
    assert beginning.lines.tobytes() == alone.lines.tobytes()
    assert beginning.persons.tobytes() == alone.persons.tobytes()
    other = engine_columns(Population(100, 8, NOVEMBER).block(0), examen, large.marginals)
    assert other.lines.tobytes() != engine_columns(large.block(0).head(100), examen, large.marginals).lines.tobytes()


@pytest.mark.parametrize("mois", [NOVEMBER, Month(2025, 8), Month(2025, 4), Month(2023, 6)], ids=str)
def test_the_engine_gives_the_same_cents_from_columns_and_from_dossiers(mois: Month):
    population = Population(2_000, 5, mois)
    examen, block = examen_of(population), population.block(0)
    from_columns = compute_columns(engine_columns(block, examen, population.marginals), examen.options)
    foyers = foyers_of(block, examen, population.marginals)
    cases = [
        Case(foyer, received, mois, mois)
        for foyer, received in zip(foyers, ressources_of(block, examen, population.marginals), strict=True)
    ]
    from_dossiers = compute_columns(columns_from(cases, examen.options), examen.options)
    assert from_columns.rsa_cents.tolist() == from_dossiers.rsa_cents.tolist()
    assert from_columns.ppa_cents.tolist() == from_dossiers.ppa_cents.tolist()
    assert from_columns.rsa_codes.tolist() == from_dossiers.rsa_codes.tolist()
    assert from_columns.ppa_codes.tolist() == from_dossiers.ppa_codes.tolist()
    assert 0 < np.count_nonzero(from_columns.rsa_cents) < np.count_nonzero(from_columns.ppa_cents)


def test_a_nir_is_well_formed_permanent_of_no_commune_and_of_one_adult_only():
    population = Population(BLOCK_FOYERS * 200, 3, NOVEMBER)
    numbers = [nir.decode() for number in (0, 1, 199) for nir in nirs(population.block(number)).tolist()]
    assert len(set(numbers)) == len(numbers)
    assert all(is_valid_nir(nir, nir_key(nir)) and is_permanent(nir) and nir[7:9] == "99" for nir in numbers)


def test_a_siret_names_its_employer_and_is_of_no_real_firm():
    numbers = np.array([0, 7, 999, 1_000, 54_321, 2_000_006, 3_000_004, 9_999_999])
    found = [siret.decode() for siret in sirets(numbers).tolist()]
    assert [siret[:13] for siret in found] == [f"{8_000_000_000_000 + n * 100_000 + 1}" for n in numbers.tolist()]
    for siret in found:
        luhn = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(siret))
        assert luhn % 10 != 0
        assert siret.isdecimal()


def test_records_without_flaws_add_up_to_what_each_adult_received():
    perfect = dict.fromkeys(load_marginals()["imperfections"], 0.0)
    marginals = load_marginals().with_values({"imperfections": perfect})
    block, months = SMALL.block(0), examen_of(SMALL).months
    drm = records(block, months, marginals)
    received = np.zeros(len(block.adultes.foyer), np.int64)
    np.add.at(received, drm.adulte, drm.columns["montant"])
    assert received.tolist() == ressources(block, months, marginals).cents[:, list(PREFILLED)].sum((1, 2)).tolist()
    assert set(drm.columns["mode"].tolist()) == {Mode.INITIAL}


def test_the_records_of_a_month_do_not_depend_on_the_others_asked_for():
    block = SMALL.block(0)
    both = records(block, [NOVEMBER - 4, NOVEMBER - 3], SMALL.marginals)
    alone = records(block, [NOVEMBER - 3], SMALL.marginals)
    assert both.columns[-len(alone) :].tobytes() == alone.columns.tobytes()
