"""Volumes, shapes, arrivals and people of the load tests."""

import random

import numpy as np
import pytest
from solidarite_server.domain.nir import is_permanent, is_valid_nir

from loadtests import people
from loadtests.arrivals import arrivals
from loadtests.national import national
from loadtests.plan import Plan, foyers_for
from loadtests.shapes import KNEE_RATIO, SHAPES


def plan(name, scale=1.0, speed_up=1.0, seconds=100.0, foyers=1_000):
    return Plan(SHAPES[name], scale, speed_up, seconds, foyers, 2 * foyers, seed=1)


def test_every_figure_has_a_source_and_the_rates_follow_from_the_volumes():
    country = national()
    for figure in [*country.volumes.values(), *country.rates.values(), *country.behaviour.values()]:
        assert figure.source
        assert figure.mark in {"V2", "V3", "V4", "S", "D", "SIM"}
    volume = {name: figure.value for name, figure in country.volumes.items()}
    declarations, hour = volume["declarations_per_month"], 3_600
    assert country.rate("records_sustained") == pytest.approx(volume["dsn_lines_per_month"] / 2 / (12 * hour), rel=0.01)
    assert country.rate("declarations_ordinary") == pytest.approx(declarations / 30 * 0.1 / hour, rel=0.01)
    assert country.rate("declarations_last_day") == pytest.approx(declarations * 0.2 / 3 * 0.2 / hour, rel=0.01)
    assert country.rate("recomputation") == pytest.approx(volume["foyers"] / (8 * hour), rel=0.01)
    share = volume["foyers"] / volume["allocataires"]
    consultations = volume["connections_per_year"] / 365 * share * 0.1 / hour
    assert country.rate("consultations") == pytest.approx(consultations, rel=0.01)


def test_the_levels_are_those_promised():
    promised = {(level.call, level.percentile, level.limit_ms) for level in national().levels}
    assert promised == {
        ("StreamResourceRecords", 99, 250),
        ("PrefillDeclaration", 99, 50),
        ("SubmitDeclaration", 99, 100),
    }


@pytest.mark.parametrize(
    ("shape", "flow", "peak"),
    [
        ("dsn-5", "records", 2_000),
        ("dsn-15", "records", 2_000),
        ("window-opening", "declarations", 50),
        ("last-day", "declarations", 7.8),
        ("national-day", "records", 2_000),
        ("national-day", "declarations", 50),
        ("breaking-point", "declarations", 50 * KNEE_RATIO**15),
    ],
)
def test_a_shape_reaches_its_national_peak_times_scale_and_speed_up(shape, flow, peak):
    assert plan(shape).peak(flow) == pytest.approx(peak)
    assert plan(shape, scale=0.1, speed_up=4).peak(flow) == pytest.approx(0.4 * peak)
    rates = [plan(shape).rate(flow, second) for second in range(101)]
    assert max(rates) == pytest.approx(peak)
    assert min(rates) < peak


def test_arrivals_are_as_many_as_the_curve_says_and_do_not_depend_on_who_answers():
    asked = plan("window-opening", seconds=1_000)
    found = list(arrivals(lambda s: asked.rate("declarations", s), asked.peak("declarations"), 1_000, random.Random(4)))
    expected = asked.expected("declarations")
    # A Poisson count: its standard deviation is the root of its mean.
    assert abs(len(found) - expected) < 4 * expected**0.5
    assert found == sorted(found)
    middle = [at for at in found if 400 <= at < 600]
    assert abs(len(middle) - 200 * 50) < 4 * (200 * 50) ** 0.5


def test_no_arrival_without_a_rate():
    assert list(arrivals(lambda second: 0.0, 0.0, 100, random.Random(1))) == []


def test_there_are_foyers_enough_for_each_to_declare_once():
    assert foyers_for(1.0, 100_000) == 130_000
    assert foyers_for(1.0, 10) == 50_000
    assert foyers_for(0.000_1, 0) == 2_000


def test_persons_have_distinct_valid_permanent_nirs_of_a_commune_that_does_not_exist():
    nirs = people.nirs(np.arange(0, 200_000_000, 1_999)).tolist()
    assert len(set(nirs)) == len(nirs)
    for nir in nirs[::50]:
        assert is_valid_nir(str(nir))
        assert is_permanent(str(nir))
        assert str(nir)[7:10] == "999"
    assert people.nir(12_345) == str(people.nirs(np.array([12_345]))[0])


@pytest.mark.parametrize("generators", [1, 3])
def test_generators_together_meet_every_foyer_once_before_any_comes_back(generators):
    foyers = 999
    draws = [people.Draw(foyers, seed=8, place=place, generators=generators) for place in range(generators)]
    met = [draw.take() for draw in draws for _ in range(foyers // generators)]
    assert sorted(met) == list(range(foyers))


def test_a_filed_batch_seals_what_its_documents_hold():
    batch = people.filed_records(500, 10_000, np.random.default_rng(3))
    held = np.bincount(np.array(batch.columns.document_indexes), minlength=len(batch.columns.documents) + 1)[1:]
    assert [seal.record_count for seal in batch.seals] == held.tolist()
    assert sum(seal.record_count for seal in batch.seals) == batch.columns.count == 500
