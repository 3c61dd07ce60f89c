"""Whatever a handler raises, in each RPC of the contract: no text of it reaches the caller, the log finds it."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf import empty_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from solidarite_server.domain import errors
from solidarite_server.rpc.interceptors import CallInterceptor

from tests.contract.test_errors import METHODS, SECRET, details


def raisable() -> Iterator[type[BaseException]]:
    """Every exception of the language that takes a text, and a cancellation that nobody asked for."""
    for kind in vars(builtins).values():
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning):
            try:
                kind(SECRET)
            except TypeError:
                continue
            yield kind
    yield asyncio.CancelledError


KINDS = {kind.__name__: kind for kind in raisable()}


def _raising(method: Any) -> Any:
    def raised(context: Any) -> BaseException:
        return KINDS[dict(context.invocation_metadata())["x-raise"]](SECRET)

    # A stream is read first: grpc's own asyncio client takes an early end for a failure of its writing.
    async def single(request: Any, context: Any) -> Any:
        raise raised(context)

    async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
        if method.client_streaming:
            await anext(request)
        raise raised(context)
        yield

    kind = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
    make = getattr(grpc, f"{kind[0]}_{kind[1]}_rpc_method_handler")
    return make(streamed if method.server_streaming else single)


async def _every_error() -> list[tuple[str, str, grpc.aio.AioRpcError]]:
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    by_service: dict[str, dict[str, Any]] = {}
    for service, method in METHODS:
        by_service.setdefault(service, {})[method.name] = _raising(method)
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, handlers) for name, handlers in by_service.items())
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for service, method in METHODS:
            for name in KINDS:
                call = channel.stream_stream(f"/{service}/{method.name}")(
                    iter([b""]), metadata=(("x-raise", name),), timeout=10
                )
                try:
                    await call.read()
                    raise AssertionError("the call succeeded")
                except grpc.aio.AioRpcError as error:
                    found.append((method.name, name, error))
    await server.stop(None)
    return found


def test_each_exception_in_each_handler_is_internal_with_a_reference_that_the_log_finds_and_no_text():
    with structlog.testing.capture_logs() as lines:
        found = asyncio.run(_every_error())
    assert len(found) == len(METHODS) * len(KINDS) > 500
    logged = {line["reference"]: line for line in lines if line["event"] == "unforeseen"}
    for method, name, error in found:
        assert error.code() is grpc.StatusCode.INTERNAL, (method, name, error)
        assert rpc_status.from_call(error) is not None, (method, name, str(error))
        assert SECRET not in str(error) + str(rpc_status.from_call(error))
        reference = details(error, error_details_pb2.ErrorInfo).metadata["reference"]
        assert logged[reference]["method"].endswith(f"/{method}")
    assert SECRET not in str(lines)


def test_each_error_of_our_own_has_its_status_its_reason_and_its_french_message():
    async def scenario() -> dict[str, grpc.aio.AioRpcError]:
        kinds = {
            kind.__name__: kind
            for kind in vars(errors).values()
            if isinstance(kind, type)
            and issubclass(kind, errors.SolidariteError)
            and kind is not errors.SolidariteError
        }

        async def single(request: Any, context: Any) -> Any:
            kind = kinds[dict(context.invocation_metadata())["x-raise"]]
            raise kind() if kind in (errors.StreamEnded, errors.Starting) else kind("Une phrase.")

        server = grpc.aio.server(interceptors=[CallInterceptor()])
        handler = grpc.unary_unary_rpc_method_handler(single, empty_pb2.Empty.FromString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.S", {"M": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        found = {}
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for name in kinds:
                try:
                    await channel.unary_unary("/t.S/M")(b"", metadata=(("x-raise", name),))
                except grpc.aio.AioRpcError as error:
                    found[name] = error
        await server.stop(None)
        assert set(found) == set(kinds)
        return found

    for name, error in asyncio.run(scenario()).items():
        reason = details(error, error_details_pb2.ErrorInfo).reason
        if name not in ("Retryable", "Conflict"):  # bases, never raised by themselves
            assert error.code() is not grpc.StatusCode.INTERNAL, name
            assert reason != "INTERNAL", name
        assert details(error, error_details_pb2.LocalizedMessage).message
        retry = details(error, error_details_pb2.RetryInfo)
        assert (retry is not None) == issubclass(getattr(errors, name), errors.Retryable)


@pytest.mark.parametrize("body", [b"", b"\0"])
def test_a_request_that_never_comes_is_an_undecodable_one(body: bytes):
    """A caller that half-closes without a message, or sends one that is not the contract's."""

    async def scenario() -> grpc.aio.AioRpcError:
        async def single(request: Any, context: Any) -> Any:
            return b""

        server = grpc.aio.server(interceptors=[CallInterceptor()])
        handler = grpc.unary_unary_rpc_method_handler(single, empty_pb2.Empty.FromString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.S", {"M": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await channel.stream_unary("/t.S/M")(iter([body] if body else []), timeout=10)
        except grpc.aio.AioRpcError as error:
            return error
        finally:
            await server.stop(None)
        raise AssertionError("accepted")

    error = asyncio.run(scenario())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error, error_details_pb2.ErrorInfo).reason == "UNDECODABLE_REQUEST"
