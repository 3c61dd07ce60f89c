"""What a server answers while its rules are being compiled."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from solidarite_server import bootstrap
from solidarite_server.bootstrap import start_server
from solidarite_server.settings import Settings

from tests.robustness.test_limits import COMPUTE, STREAM, compute, details, reason

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("", "solidarite.v1.EntitlementService", "solidarite.v1.ResourceRecordService")


def chosen(folder: Path, **more: object) -> Settings:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return Settings(**{"listen": address, "store": f"sqlite:///{folder / 'a.db'}", **more})  # type: ignore[arg-type]


async def health(channel: grpc.aio.Channel) -> set[int]:
    stub = health_pb2_grpc.HealthStub(channel)
    asked = [health_pb2.HealthCheckRequest(service=service) for service in SERVICES]
    return {(await stub.Check(request, timeout=30, wait_for_ready=True)).status for request in asked}


async def refusal(call: Callable[[], Awaitable[object]]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call()
    return error.value


def new_channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


def test_while_the_rules_compile_the_health_says_so_and_every_call_is_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    compiled = threading.Event()
    monkeypatch.setattr(bootstrap, "warm_up", compiled.wait)
    settings = chosen(tmp_path)

    async def story() -> None:
        starting = asyncio.create_task(start_server(settings))
        try:
            async with new_channel(settings.listen) as channel:
                assert await health(channel) == {NOT_SERVING}
                for call in (
                    lambda: channel.unary_unary(COMPUTE)(compute(), timeout=10),
                    lambda: channel.stream_stream(STREAM)(iter([b""]), timeout=10).read(),
                ):
                    error = await refusal(call)
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
                    assert reason(error) == "SERVER_UNREACHABLE"
                    assert "Le service démarre" in (error.details() or "")
                    assert details(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 2_000
                assert not starting.done()
                compiled.set()
                running = await starting
                assert await health(channel) == {SERVING}
                assert (
                    reason(await refusal(lambda: channel.unary_unary(COMPUTE)(compute(), timeout=10)))
                    == "INVALID_FIELD"
                )
                await running.stop(1)
        finally:
            compiled.set()

    asyncio.run(story())


def test_a_server_that_joins_a_port_already_served_opens_it_once_it_can_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = chosen(tmp_path, share_port=True)
    begun, compiled = threading.Event(), threading.Event()

    def long_compilation() -> None:
        begun.set()
        compiled.wait()

    async def story() -> None:
        first = await start_server(settings)
        monkeypatch.setattr(bootstrap, "warm_up", long_compilation)
        joining = asyncio.create_task(start_server(settings))
        try:
            await asyncio.to_thread(begun.wait)
            for _ in range(30):  # one connection in two would reach a second listener
                async with new_channel(settings.listen) as channel:
                    assert await health(channel) == {SERVING}
            compiled.set()
            second = await joining
            await first.stop(1)
            async with new_channel(settings.listen) as channel:
                assert await health(channel) == {SERVING}
            await second.stop(1)
        finally:
            compiled.set()

    asyncio.run(story())
