"""The engine and the second opinion agree to the cent on random households."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from solidarite_server import engine

from tests import reference
from tests.reference.generate import Case, case

CHUNK = 25_000
DEFAULT_CHUNKS, LONG_CHUNKS = 2, 40
OUTPUTS = ("rsa_cents", "rsa_verse_cents", "ppa_cents", "ppa_nette_crds_cents")


def apart(seeds: Sequence[int], cases: Sequence[Case]) -> list[str]:
    """One line a household on which the two differ, with the seed that rebuilds it."""
    found = []
    for seed, given, computed in zip(seeds, cases, engine.compute_many(cases), strict=True):
        expected = reference.compute(*given)
        differences = [
            f"{name} {getattr(computed, name)} instead of {getattr(expected, name)}"
            for name in OUTPUTS
            if getattr(computed, name) != getattr(expected, name)
        ]
        if differences:
            found.append(f"case({seed}): {', '.join(differences)}")
    return found


@pytest.mark.parametrize(
    "chunk",
    [pytest.param(rank, marks=pytest.mark.long if rank >= DEFAULT_CHUNKS else ()) for rank in range(LONG_CHUNKS)],
)
def test_the_engine_and_the_second_opinion_are_not_one_cent_apart(chunk: int):
    seeds = range(chunk * CHUNK, (chunk + 1) * CHUNK)
    found = apart(seeds, [case(seed) for seed in seeds])
    assert not found, f"{len(found)} households differ, for example:\n" + "\n".join(found[:10])


def test_the_random_households_open_each_right_often_enough_to_prove_something():
    rights = [reference.compute(*case(seed)) for seed in range(1_000)]
    assert sum(right.rsa_cents > 0 for right in rights) > 300
    assert sum(right.ppa_cents > 0 for right in rights) > 150
    assert sum(right.rsa_verse_cents != right.rsa_cents for right in rights) > 10


@pytest.mark.parametrize("later", [1, 2])
def test_the_second_and_third_months_of_a_declaration_agree_too(later: int):
    differing = []
    for seed in range(1_000):
        foyer, lines, month = case(seed)
        computed = engine.compute(foyer, lines, month + later, mois_declaration=month)
        expected = reference.compute(foyer, lines, month + later, mois_declaration=month)
        if any(getattr(computed, name) != getattr(expected, name) for name in OUTPUTS):
            differing.append(seed)
    assert differing == []
