"""I1-I3: bytes and values that no caller should send; only declared answers, and the same process at the end.

pytest --long tests/robustness/test_fuzz.py -k long      # 5 million bodies; under an hour on two cores
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from solidarite_server.domain.errors import SolidariteError
from solidarite_server.domain.month import Month
from solidarite_server.legislation import LegislationOptions
from solidarite_server.rpc import convert, convert_declarations, convert_records
from solidarite_server.services.pseudonym import HmacPseudonymizer

from tests.robustness.bodies import LONG_WORK, METHODS, extremes, mutated, new, plausible, with_unknown_field
from tests.robustness.served import Served, running
from tests.robustness.test_limits import details, reason
from tests.robustness.volley import fired

C = grpc.StatusCode
DECLARED = {
    C.OK, C.INVALID_ARGUMENT, C.NOT_FOUND, C.ALREADY_EXISTS, C.ABORTED, C.FAILED_PRECONDITION, C.PERMISSION_DENIED,
    C.RESOURCE_EXHAUSTED, C.UNAVAILABLE, C.UNIMPLEMENTED,
}  # fmt: skip
STATUSES = {str(code.value[0]): code for code in C}
SEEDS = {method.full_name: plausible(method.input_type).SerializeToString() for method in METHODS}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(
        tmp_path_factory.mktemp("bruit"), freshness_wait_seconds=0, streams_per_connection=256, waiting_calls=1_000,
        waiting_seconds=10, log_calls="none",
    ) as served:  # fmt: skip
        yield served  # every body is read: none is refused for the number of calls; a line for each costs as much


def path(method: Any) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def begun(channel: grpc.Channel, method: Any, body: bytes) -> Any:
    """A call of any kind, its answers left undecoded."""
    if method.client_streaming or method.server_streaming:
        return channel.stream_stream(path(method))(iter([body]), timeout=20)
    return channel.unary_unary(path(method)).future(body, timeout=20)


def ended(method: Any, call: Any) -> Any:
    """Its error, or None."""
    if method.client_streaming or method.server_streaming:
        try:
            for _ in call:
                pass
        except grpc.RpcError as error:
            return error
        return None
    return call.exception()


def throws(bodies: int, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """So many calls of any method: its path, and a request changed here and there or made of nothing."""
    for _ in range(bodies):
        method = chance.choice(METHODS)
        body = chance.randbytes(chance.randrange(60))
        if method.name in LONG_WORK:
            body = b"\xff" + body  # never a readable request
        elif chance.random() < 0.9:
            body = mutated(SEEDS[method.full_name], chance)
        yield path(method), body


def thrown_at(
    served: Served, bodies: int, seed: int, declared: Collection[grpc.StatusCode] = DECLARED
) -> Counter[grpc.StatusCode]:
    """Mutated bodies on eight connections, 32 calls at a time on each; the statuses met, all of them declared."""
    statuses: Counter[grpc.StatusCode] = Counter()
    for called, body, end in fired(served.address, throws(bodies, random.Random(seed)), connections=8, depth=32):
        status = STATUSES.get(end)
        assert status in declared, f"seed {seed}: {called} {end} {body.hex()}"
        statuses[status] += 1
    assert served.process.poll() is None
    assert statuses.total() == bodies
    return statuses


def test_mutated_bodies_at_a_live_server_get_declared_answers_only(served: Served):
    statuses = thrown_at(served, 200_000, random.randrange(10**6))
    assert statuses[C.INVALID_ARGUMENT] > 150_000
    assert not statuses[C.RESOURCE_EXHAUSTED]
    assert statuses[C.OK] > 0  # some changes leave a right request: the way in is really walked


def test_an_answer_that_is_not_declared_is_seen(served: Served):
    """The control."""
    with pytest.raises(AssertionError, match="seed 1: "):
        thrown_at(served, 1_000, 1, DECLARED - {C.NOT_FOUND})
    ends = list(fired(served.address, [("/essai.v1.Absent/Appel", b"")], connections=1, depth=1))
    assert [STATUSES[end] for *_, end in ends] == [C.UNIMPLEMENTED]


@pytest.mark.long
def test_long_five_million_mutated_bodies_at_a_live_server(served: Served):
    before = served.memory_mib()
    for _ in range(10):  # each tells what it found: -s shows it
        seed = random.randrange(10**6)
        statuses = thrown_at(served, 500_000, seed)
        print(seed, {code.name: count for code, count in statuses.items()}, f"{served.memory_mib() - before:.1f} MiB")
    assert served.memory_mib() - before < 256


# The conversions alone, without a network between: many more bodies a second


KEY = HmacPseudonymizer(bytes(range(32)))
OPTIONS = LegislationOptions()


def converted(name: str, body: bytes) -> None:
    """What the handler of a request does with it before it knows anything else."""
    method = next(method for method in METHODS if method.name == name)
    request: Any = new(method.input_type)
    request.ParseFromString(body)
    if name == "StreamResourceRecords":
        convert_records.batch(request, KEY, 2_000)
    elif name in ("UpsertFoyer", "StreamFoyers"):
        for foyer in [request.foyer] if name == "UpsertFoyer" else request.foyers:
            convert.foyer(foyer, "foyer", KEY.nir)
    elif name in ("ComputeEntitlements", "StreamEntitlements"):
        for case in [request] if name == "ComputeEntitlements" else request.requests:
            convert_declarations.case(case, "")
            convert_declarations.options(case.options, OPTIONS)
    elif name == "AmendDeclaration":
        convert_declarations.changes(request.amendments)
    elif name == "DecideRectification":
        convert_declarations.decisions(request.decisions)
    if hasattr(request, "mois_declaration"):
        assert isinstance(convert.declaration_month(request.mois_declaration, "mois_declaration"), Month)


CONVERTED = [
    "StreamResourceRecords", "UpsertFoyer", "StreamFoyers", "ComputeEntitlements", "StreamEntitlements",
    "AmendDeclaration", "DecideRectification", "PrefillDeclaration",
]  # fmt: skip
BODIES = {method.name: SEEDS[method.full_name] for method in METHODS if method.name in CONVERTED}


def fed(bodies: int, seed: int) -> Counter[str]:
    chance, outcomes = random.Random(seed), Counter[str]()
    for _ in range(bodies):
        name = chance.choice(CONVERTED)
        body = mutated(BODIES[name], chance)
        try:
            converted(name, body)
            outcomes["accepted"] += 1
        except DecodeError:
            outcomes["undecodable"] += 1
        except SolidariteError:
            outcomes["refused"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {name} {body.hex()}") from error
    return outcomes


def test_two_hundred_thousand_mutated_bodies_are_read_refused_or_undecodable_and_nothing_else():
    outcomes = fed(200_000, random.randrange(10**6))
    assert outcomes["refused"] > 3_000
    assert outcomes["accepted"] > 1_000


@pytest.mark.long
def test_long_five_million_mutated_bodies_through_the_conversions():
    print(fed(5_000_000, random.randrange(10**6)))


# One field at a time


def cases() -> Iterator[tuple[Any, str, bytes]]:
    for method in METHODS:
        if method.name in LONG_WORK:
            continue
        message = plausible(method.input_type)
        yield method, "inconnu", with_unknown_field(message.SerializeToString())
        for said, changed in extremes(message):
            yield method, said, changed.SerializeToString()


def test_each_field_missing_or_extreme_in_each_request_is_answered_and_refused_by_its_path(served: Served):
    wrong, refused, count = [], 0, 0
    with grpc.insecure_channel(served.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        every = list(cases())
        for start in range(0, len(every), 40):
            calls = [(method, said, begun(channel, method, body)) for method, said, body in every[start : start + 40]]
            for method, said, call in calls:
                count += 1
                error = ended(method, call)
                code = C.OK if error is None else error.code()
                if code not in DECLARED:
                    wrong.append(f"{method.name} {said} {code.name}")
                elif error is not None and reason(error) == "INVALID_FIELD":
                    refused += 1
                    found = details(error, error_details_pb2.BadRequest)
                    if found is None or not all(violation.field for violation in found.field_violations):
                        wrong.append(f"{method.name} {said}: no path")
    assert not wrong, wrong[:20]
    assert count > 1_000
    assert refused > 300
