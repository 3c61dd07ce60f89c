"""Simulations through a real server: blocks, limits, refusals, and other calls going on meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from solidarite.v1 import common_pb2, simulation_pb2, simulation_pb2_grpc
from solidarite_server.cli_demo import running_server
from solidarite_server.domain.month import Month
from solidarite_server.simulation.arrow import batch_of
from solidarite_server.simulation.columns import examen_of
from solidarite_server.simulation.overlay import read_overlay
from solidarite_server.simulation.population import Population
from solidarite_server.simulation.reform import compare

NOVEMBER = common_pb2.Month(year=2026, month=11)
JANUARY = common_pb2.Month(year=2027, month=1)
SLOPE = "ppa.pente: {2027-01-01: 0.62}"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    folder: Path = tmp_path_factory.mktemp("server")
    with running_server(folder) as address, grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> simulation_pb2_grpc.SimulationServiceStub:
    return simulation_pb2_grpc.SimulationServiceStub(channel)


def reform(**changes: Any) -> simulation_pb2.CompareReformRequest:
    fields = {"foyers": 1_000, "seed": 1, "mois_droit": JANUARY, "overlay_yaml": SLOPE}
    return simulation_pb2.CompareReformRequest(**(fields | changes))


def field_of(error: grpc.RpcError) -> tuple[str, str]:
    """The field refused, and the French text."""
    for packed in rpc_status.from_call(error).details:
        found = error_details_pb2.BadRequest()
        if packed.Unpack(found):
            return found.field_violations[0].field, found.field_violations[0].description
    raise AssertionError("no field is named")


def test_blocks_of_a_population_are_those_made_here(stub: simulation_pb2_grpc.SimulationServiceStub):
    request = simulation_pb2.GeneratePopulationRequest(foyers=2_100, seed=9, mois_declaration=NOVEMBER)
    messages = list(stub.GeneratePopulation(request, timeout=60))
    assert [message.foyers for message in messages] == [2_000, 100]
    received = pa.concat_tables([pa.ipc.open_stream(message.arrow_ipc).read_all() for message in messages])
    population = Population(2_100, 9, Month(2026, 11))
    assert received.to_pylist() == batch_of(population, examen_of(population), 0).to_pylist()


def test_a_reform_is_the_one_computed_here(stub: simulation_pb2_grpc.SimulationServiceStub):
    answer = stub.CompareReform(reform(), timeout=60)
    expected = compare(read_overlay(SLOPE), 1_000, 1, Month(2027, 1))
    assert answer.prime_activite_after_cents == expected.ppa_after > answer.prime_activite_before_cents
    assert answer.yearly_cost_cents == expected.cout_annuel_cents
    assert [group.winners for group in answer.groups] == [group.gagnants for group in expected.groups]
    assert [group.dimension for group in answer.groups] == ["decile"] * 10 + ["famille"] * 7


@pytest.mark.parametrize(
    ("request_", "field", "expected"),
    [
        (reform(foyers=0), "foyers", "De 1 à 1000000 foyers"),
        (reform(foyers=1_000_001), "foyers", "De 1 à 1000000 foyers"),
        (reform(seed=2**63), "seed", "Une graine va de 0"),
        (reform(overlay_yaml="ppa.pent: 0.6 from 2027-01"), "overlay_yaml", "peut-être ppa.pente"),
        (reform(overlay_yaml="a" * 20_000), "overlay_yaml", "dépasse"),
        (reform(overlay_yaml=""), "mois_droit", "de 2019-01 à 2026-12"),
        (reform(mois_droit=common_pb2.Month(year=2027, month=13)), "mois_droit", "mois"),
    ],
)
def test_a_refusal_names_the_field_in_french(
    stub: simulation_pb2_grpc.SimulationServiceStub, request_: Any, field: str, expected: str
):
    with pytest.raises(grpc.RpcError) as refused:
        stub.CompareReform(request_, timeout=30)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field_of(refused.value)[0] == field
    assert expected in field_of(refused.value)[1]


def test_a_population_beyond_the_known_law_or_too_large_is_refused(stub: simulation_pb2_grpc.SimulationServiceStub):
    for changes, field in (({"mois_declaration": JANUARY}, "mois_declaration"), ({"foyers": 1_000_001}, "foyers")):
        request = {"foyers": 10, "mois_declaration": NOVEMBER} | changes
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.GeneratePopulation(simulation_pb2.GeneratePopulationRequest(**request), timeout=30))
        assert field_of(refused.value)[0] == field


# effect: simulations_at_once
def test_other_calls_go_on_during_a_simulation_and_a_second_one_is_told_when_to_come_back(
    channel: grpc.Channel, stub: simulation_pb2_grpc.SimulationServiceStub
):
    health = health_pb2_grpc.HealthStub(channel)
    long = stub.CompareReform.future(reform(foyers=1_000_000), timeout=200)
    answered = 0
    while not long.done() and answered < 50:
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=30).status
        answered += 1
    assert answered == 50, "the simulation ended before fifty calls were answered"
    with pytest.raises(grpc.RpcError) as refused:
        stub.CompareReform(reform(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    long.cancel()
    # The place is given back once the step in progress has ended.
    while not _accepted(stub):
        pass


def _accepted(stub: simulation_pb2_grpc.SimulationServiceStub) -> bool:
    try:
        stub.CompareReform(reform(), timeout=30)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
    return True
