"""O2-O7: every limit is shown by its effect on a peer that goes beyond it, and by its absence at the default."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import h2.exceptions
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status
from solidarite.v1 import common_pb2, declaration_pb2, entitlement_pb2, foyer_pb2, resource_record_pb2

from tests.robustness.peers import ENHANCE_YOUR_CALM, REFUSED_STREAM, WATCH, Peer, bomb, peer
from tests.robustness.served import NEVER, Served, running

PREFILL = "/solidarite.v1.DeclarationService/PrefillDeclaration"
COMPUTE = "/solidarite.v1.EntitlementService/ComputeEntitlements"
STREAM = "/solidarite.v1.EntitlementService/StreamEntitlements"
RECORDS = "/solidarite.v1.ResourceRecordService/StreamResourceRecords"
M = common_pb2.Month(year=2026, month=11)
"""The token of a commit that will not come."""


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(
        tmp_path_factory.mktemp("serre"), message_mib=1, metadata_kib=4, streams_per_connection=4, connections=60,
        idle_seconds=1, handshake_seconds=1, ping_interval_seconds=1, ping_strikes=1, keepalive_seconds=1,
        keepalive_timeout_seconds=1, unary_seconds=3, stream_seconds=2, waiting_calls=2, open_streams=3,
        concurrent_calls=12, freshness_wait_seconds=1, batch_limit_records=10, reflection="false",
    ) as served:  # fmt: skip
        yield served


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The control: the limits as they are by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # a thousand connections, at both ends
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4_096)), hard))
    with running(tmp_path_factory.mktemp("defaut")) as served:
        yield served


@pytest.fixture
def channel(tight: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(tight.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def unary(channel: grpc.Channel, path: str, body: bytes, **more: Any) -> Any:
    return channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes).future(
        body, timeout=20, **more
    )


def waits(channel: grpc.Channel) -> Any:
    """A call that waits inside the server, for a commit that will not come."""
    request = declaration_pb2.PrefillDeclarationRequest(
        numero_allocataire="1", mois_declaration=M, at_least_as_fresh=NEVER
    )
    return unary(channel, PREFILL, request.SerializeToString())


def details(error: Any, kind: type[Any]) -> Any:
    for packed in getattr(rpc_status.from_call(error), "details", ()):
        found = kind()
        if packed.Unpack(found):
            return found
    return None


def reason(error: Any) -> str:
    found = details(error, error_details_pb2.ErrorInfo)
    return found.reason if found is not None else ""


def compute(name: str = "1") -> bytes:
    return entitlement_pb2.ComputeEntitlementsRequest(
        foyer=foyer_pb2.Foyer(numero_allocataire=name), mois_declaration=M
    ).SerializeToString()


# Sizes


# effect: message_mib
def test_a_message_over_the_limit_is_refused_and_memory_does_not_grow(channel: grpc.Channel, tight: Served):
    before = tight.memory_mib()
    for _ in range(1_000):
        error = unary(channel, COMPUTE, bytes((1 << 20) + 1)).exception()
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert unary(channel, COMPUTE, compute("9" * 900_000)).exception().code() is grpc.StatusCode.INVALID_ARGUMENT
    assert tight.memory_mib() - before < 32


def test_a_compressed_bomb_is_refused_unopened(tight: Served, plain: Served):
    body = bomb(1_024)
    assert len(body) < 2 << 20
    for served in (tight, plain):
        before = served.memory_mib()
        with peer(served.address) as caller:
            stream = caller.open(COMPUTE, encoding="gzip")
            caller.send(stream, body, end=True, compressed=True)
            assert caller.status_of(stream) == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
        assert served.memory_mib() - before < 32


# effect: metadata_kib
def test_metadata_over_the_limit_are_refused(channel: grpc.Channel):
    accepted = unary(channel, COMPUTE, compute(), metadata=[("x-essai", "a" * 2_000)]).exception()
    assert accepted.code() is grpc.StatusCode.INVALID_ARGUMENT
    refused = unary(channel, COMPUTE, compute(), metadata=[("x-essai", "a" * 6_000)]).exception()
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# effect: batch_limit_records
def test_a_batch_over_the_limit_is_refused_whole(channel: grpc.Channel):
    request = resource_record_pb2.StreamResourceRecordsRequest(source_id="s", batch_sequence=1)
    request.columns.count = 11
    call = channel.stream_stream(RECORDS)(iter([request.SerializeToString()]), timeout=10)
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    assert reason(error.value) == "BATCH_TOO_LARGE"


# Numbers


# effect: streams_per_connection
def test_calls_beyond_those_of_a_connection_are_sent_back_unread(tight: Served, plain: Served):
    with peer(tight.address) as caller:
        held = [caller.open(COMPUTE) for _ in range(4)]
        assert caller.status_of(caller.open(COMPUTE)) in (
            f"reset {REFUSED_STREAM}",
            f"reset {ENHANCE_YOUR_CALM}",  # once the peer has been told the limit
        )
        assert not any(stream in caller.statuses for stream in held)
    with peer(plain.address) as caller:
        assert caller.status_of([caller.open(COMPUTE) for _ in range(5)][-1], 0.3) == "open"


# effect: connections
def test_connections_beyond_the_limit_are_closed_at_once_and_the_others_answer(tight: Served):
    held = [Peer(tight.address) for _ in range(80)]
    try:
        limit, ended = time.monotonic() + 20, 0
        while ended < 15 and time.monotonic() < limit:
            ended = sum(caller.end(0.01) is not None for caller in held)
        assert 15 <= ended < 80
    finally:
        for caller in held:
            caller.close()


def refused_behind(channel: grpc.Channel, waiting: list[Any]) -> Any:
    """The refusal of a call that comes while the others wait; None when they ended first."""
    while not any(call.done() for call in waiting):
        error = unary(channel, COMPUTE, compute()).exception()
        if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
            return error
    return None


# effect: waiting_calls
def test_calls_beyond_those_that_may_wait_are_refused_with_the_moment_to_come_back(channel: grpc.Channel):
    for _ in range(10):  # a slow machine may let the second they wait go by
        waiting = [waits(channel) for _ in range(2)]
        error = refused_behind(channel, waiting)
        if error is not None:
            break
    assert error is not None
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(error) == "OVERLOADED"
    assert details(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() >= 500
    assert {reason(call.exception()) for call in waiting} == {"NOT_FRESH_ENOUGH"}
    assert reason(unary(channel, COMPUTE, compute()).exception()) == "INVALID_FIELD"


# effect: freshness_wait_seconds
def test_a_read_waits_for_the_commit_of_its_token_as_long_as_the_setting_says(channel: grpc.Channel):
    started = time.monotonic()
    error = waits(channel).exception()
    assert reason(error) == "NOT_FRESH_ENOUGH"
    assert time.monotonic() - started >= 1


# effect: open_streams
def test_streams_beyond_the_limit_are_refused_with_the_moment_to_come_back(tight: Served):
    with peer(tight.address) as caller:
        held = [caller.open(STREAM) for _ in range(3)]
        refused = caller.open(STREAM)
        assert caller.status_of(refused) == str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
        assert not any(stream in caller.statuses for stream in held)


# effect: concurrent_calls
def test_calls_whose_request_never_comes_are_bounded_too(tight: Served, channel: grpc.Channel):
    silent = [Peer(tight.address) for _ in range(4)]
    try:
        for caller in silent:
            for _ in range(4):
                caller.open(COMPUTE)
        limit = time.monotonic() + 20
        error = unary(channel, COMPUTE, compute()).exception()
        while reason(error) == "INVALID_FIELD" and time.monotonic() < limit:  # not all of them are there yet
            error = unary(channel, COMPUTE, compute()).exception()
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason(error) == "OVERLOADED"
        assert details(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() >= 500
    finally:
        for caller in silent:
            caller.close()
    for _ in range(50):
        if reason(unary(channel, COMPUTE, compute()).exception()) == "INVALID_FIELD":
            return
        time.sleep(0.1)
    raise AssertionError("the places were not given back")


# Times


# effect: unary_seconds
def test_a_call_whose_request_never_comes_ends_in_the_time_of_the_server(tight: Served):
    with peer(tight.address) as caller:
        stream = caller.open(COMPUTE)
        assert caller.status_of(stream) == str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])


# effect: stream_seconds
@pytest.mark.parametrize("kind", ["reads", "writes"])
def test_a_stream_that_lasts_is_told_to_resume(kind: str, channel: grpc.Channel):
    if kind == "reads":
        silent = threading.Event()
        call = channel.stream_stream(STREAM)((b"" for _ in iter(silent.wait, True)), timeout=20)
    else:
        asked = declaration_pb2.WatchDeclarationRequest(numero_allocataire="1", mois_declaration=M)
        asked.numero_allocataire = "7"
        dossier = foyer_pb2.Foyer(numero_allocataire="7", zone=foyer_pb2.ZONE_METROPOLE, regime=foyer_pb2.REGIME_CAF)
        dossier.membres.add(personne="a", role=foyer_pb2.ROLE_ALLOCATAIRE, nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
                            nir="2840575999101", date_naissance=common_pb2.Date(year=1990, month=3, day=1))  # fmt: skip
        put = foyer_pb2.UpsertFoyerRequest(foyer=dossier).SerializeToString()
        unary(channel, "/solidarite.v1.FoyerService/UpsertFoyer", put).result()
        call = channel.unary_stream("/solidarite.v1.DeclarationService/WatchDeclaration")(
            asked.SerializeToString(), timeout=20
        )
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(error.value) == "STREAM_ENDED"
    assert details(error.value, error_details_pb2.RetryInfo) is not None


@pytest.mark.parametrize("milliseconds", [0, 1, 100])
def test_a_call_ends_at_the_deadline_of_its_caller_and_gives_its_place_back(milliseconds: int, channel: grpc.Channel):
    asked = declaration_pb2.PrefillDeclarationRequest(
        numero_allocataire="1", mois_declaration=M, at_least_as_fresh=NEVER
    ).SerializeToString()
    for _ in range(5):  # more than may wait: each gives its place back at its deadline
        error = channel.unary_unary(PREFILL).future(asked, timeout=milliseconds / 1000).exception()
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reason(unary(channel, COMPUTE, compute()).exception()) == "INVALID_FIELD"


# effect: idle_seconds
def test_a_connection_without_a_call_is_closed(tight: Served, plain: Served):
    with peer(plain.address) as control, peer(tight.address) as caller:
        assert caller.end(6) is not None
        assert control.end(0) is None


# effect: handshake_seconds
def test_a_peer_that_does_not_say_who_it_is_is_disconnected(tight: Served, plain: Served):
    ended = {}
    for name, served in (("tight", tight), ("plain", plain)):
        host, port = served.address.split(":")
        with socket.create_connection((host, int(port)), 5) as silent:
            silent.settimeout(4 if name == "tight" else 2)
            try:
                while silent.recv(1_000):
                    pass
                ended[name] = True
            except TimeoutError:
                ended[name] = False
    assert ended == {"tight": True, "plain": False}


# effect: keepalive_seconds, keepalive_timeout_seconds
def test_a_peer_that_is_gone_without_a_word_is_noticed(tight: Served, plain: Served):
    watched = health_pb2.HealthCheckRequest().SerializeToString()
    with peer(tight.address) as gone, peer(plain.address) as control:
        for caller in (gone, control):
            caller.send(caller.open(WATCH), watched, end=True)
        assert gone.end(6, answer=False) is not None
        assert control.end(0, answer=False) is None


# effect: ping_interval_seconds, ping_strikes
def test_a_peer_that_pings_too_often_is_told_to_calm_down_and_nobody_else(tight: Served, plain: Served):
    watched = health_pb2.HealthCheckRequest().SerializeToString()
    with peer(tight.address) as steady, peer(tight.address) as nervous:
        for caller in (steady, nervous):
            caller.send(caller.open(WATCH), watched, end=True)
        for _ in range(4):
            nervous.h2.ping(b"essai..1")
            nervous.flush()
        assert nervous.end(5) == ENHANCE_YOUR_CALM
        for _ in range(3):
            steady.h2.ping(b"essai..2")
            steady.flush()
            assert steady.end(1.1) is None
    with peer(plain.address) as control:  # at the default, three pings in three seconds are one too many
        control.send(control.open(WATCH), watched, end=True)
        codes = []
        for _ in range(6):
            control.h2.ping(b"essai..3")
            control.flush()
            codes.append(control.end(0.3))
            if codes[-1] is not None:
                break
        assert codes[0] is None
        assert codes[-1] == ENHANCE_YOUR_CALM


# effect: reflection
def test_reflection_is_a_switch(tight: Served, plain: Served):
    path, asked = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"\x3a\0"
    with grpc.insecure_channel(plain.address) as on, grpc.insecure_channel(tight.address) as off:
        assert b"solidarite.v1.DeclarationService" in next(iter(on.stream_stream(path)(iter([asked]), timeout=10)))
        with pytest.raises(grpc.RpcError) as error:
            list(off.stream_stream(path)(iter([asked]), timeout=10))
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


# Crowds: the others are still answered, and the server is the same afterwards


def answered(served: Served) -> None:
    with grpc.insecure_channel(served.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert reason(unary(channel, COMPUTE, compute()).exception()) == "INVALID_FIELD"


def test_a_thousand_silent_connections_change_nothing_for_the_others(plain: Served):
    before = plain.seen.num_fds()
    host, port = plain.address.split(":")
    silent = [socket.create_connection((host, int(port)), 5) for _ in range(500)]
    started = [Peer(plain.address) for _ in range(500)]
    try:
        answered(plain)
    finally:
        for caller in (*silent, *started):
            caller.close()
    for _ in range(100):
        if plain.seen.num_fds() <= before + 5:
            return
        time.sleep(0.1)
    raise AssertionError("file handles were not given back")


def test_a_hundred_clients_that_never_read_hold_little_memory(plain: Served):
    requests = entitlement_pb2.StreamEntitlementsRequest(
        requests=[entitlement_pb2.ComputeEntitlementsRequest() for _ in range(1_000)]
    ).SerializeToString()
    before = plain.memory_mib()
    deaf = [Peer(plain.address) for _ in range(100)]
    try:
        for caller in deaf:
            stream = caller.open(STREAM)
            data = b"\0" + len(requests).to_bytes(4, "big") + requests
            for _ in range(8):  # each asks for an answer of tens of kilobytes, and reads none
                room = min(caller.h2.local_flow_control_window(stream), caller.h2.max_outbound_frame_size)
                if room >= len(data):
                    caller.h2.send_data(stream, data)
                    caller.flush()
        answered(plain)
        assert plain.memory_mib() - before < 64
    finally:
        for caller in deaf:
            caller.close()


def test_ten_thousand_calls_opened_and_cancelled_slow_nobody_and_leave_nothing(plain: Served):
    before, opened, connections = plain.memory_mib(), 0, 0
    while opened < 10_000:
        connections += 1
        with peer(plain.address) as hasty:
            try:
                for _ in range(10_000 - opened):
                    stream = hasty.open(COMPUTE)
                    hasty.h2.reset_stream(stream, 8)
                    hasty.flush()
                    opened += 1
                    list(hasty.events(0))
            except (OSError, h2.exceptions.ProtocolError):
                pass  # the server ended this connection: the next one goes on
        answered(plain)
    print(connections, "connections")
    assert plain.memory_mib() - before < 32


def test_a_flood_of_settings_ends_its_own_connection_at_most(plain: Served):
    with peer(plain.address) as noisy:
        try:
            for _ in range(2_000):
                noisy.socket.sendall(b"\0\0\0\x04\0\0\0\0\0")
        except OSError:
            pass
        answered(plain)
