"""What any caller sees of an error: declared statuses, reasons, French messages, and nothing else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from solidarite.v1 import (
    campaign_pb2,
    declaration_pb2,
    entitlement_pb2,
    error_reason_pb2,
    foyer_pb2,
    resource_record_pb2,
    simulation_pb2,
)
from solidarite_server.cli_demo import running_server
from solidarite_server.domain.errors import Reason
from solidarite_server.rpc.interceptors import CallInterceptor

MODULES = (resource_record_pb2, foyer_pb2, declaration_pb2, entitlement_pb2, campaign_pb2, simulation_pb2)
METHODS = [
    (service.full_name, method)
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
SECRET = "2840575999101"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    with running_server(tmp_path_factory.mktemp("server")) as address, grpc.insecure_channel(address) as channel:
        yield channel


def call(channel: grpc.Channel, service: str, method: Any, body: bytes) -> grpc.RpcError:
    path, raw = f"/{service}/{method.name}", {"request_serializer": bytes, "response_deserializer": bytes}
    try:
        if method.client_streaming and method.server_streaming:
            list(channel.stream_stream(path, **raw)(iter([body]), timeout=10))
        elif method.server_streaming:
            list(channel.unary_stream(path, **raw)(body, timeout=10))
        else:
            channel.unary_unary(path, **raw)(body, timeout=10)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"{path} accepted it")


def details(error: grpc.RpcError, kind: type[Any]) -> Any:
    for packed in rpc_status.from_call(error).details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


@pytest.mark.parametrize(("service", "method"), METHODS, ids=lambda value: getattr(value, "name", ""))
def test_bytes_that_are_not_the_message_are_an_invalid_argument(service: str, method: Any, channel: grpc.Channel):
    error = call(channel, service, method, b"\xff" * 40)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error, error_details_pb2.ErrorInfo).reason == "UNDECODABLE_REQUEST"


@pytest.mark.parametrize(("service", "method"), METHODS, ids=lambda value: getattr(value, "name", ""))
def test_an_empty_request_gets_a_declared_answer_in_french(service: str, method: Any, channel: grpc.Channel):
    if method.name in ("StreamFoyers", "StreamEntitlements"):
        return  # an empty batch is a batch
    if method.name == "StreamResourceRecords" or not method.client_streaming:
        error = call(channel, service, method, b"")
        info = details(error, error_details_pb2.ErrorInfo)
        assert info.domain == "solidarite.v1"
        assert f"ERROR_REASON_{info.reason}" in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
        assert details(error, error_details_pb2.LocalizedMessage).locale == "fr"
        assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


def test_every_reason_of_the_server_is_in_the_contract():
    declared = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name}
    assert {reason.value for reason in Reason} == declared - {"UNSPECIFIED"}


def test_a_wrong_month_is_refused_with_its_path(channel: grpc.Channel):
    method = declaration_pb2.DESCRIPTOR.services_by_name["DeclarationService"].methods_by_name["PrefillDeclaration"]
    request = declaration_pb2.PrefillDeclarationRequest(numero_allocataire="1")
    request.mois_declaration.year, request.mois_declaration.month = 2026, 13
    error = call(channel, "solidarite.v1.DeclarationService", method, request.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error, error_details_pb2.BadRequest).field_violations[0].field == "mois_declaration"


def test_a_batch_over_the_limit_is_refused_whole(channel: grpc.Channel):
    method = METHODS[0][1]
    request = resource_record_pb2.StreamResourceRecordsRequest(source_id="s", batch_sequence=1)
    request.columns.count = 2_001
    error = call(channel, "solidarite.v1.ResourceRecordService", method, request.SerializeToString())
    assert details(error, error_details_pb2.ErrorInfo).reason == "BATCH_TOO_LARGE"


def test_a_refused_nir_is_never_repeated(channel: grpc.Channel):
    method = METHODS[2][1]
    request = resource_record_pb2.ListResourceRecordsRequest(nir=SECRET + "9")
    error = call(channel, "solidarite.v1.ResourceRecordService", method, request.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert SECRET not in str(error) + str(rpc_status.from_call(error))


@pytest.mark.parametrize("raised", [ValueError(SECRET), KeyError(SECRET), RuntimeError(SECRET), RecursionError(SECRET)])
def test_what_was_not_foreseen_is_internal_with_a_reference_and_no_text(raised: Exception, capfd, tmp_path: Path):
    async def broken(request: bytes, context: Any) -> bytes:
        raise raised

    async def scenario() -> grpc.aio.AioRpcError:
        server = grpc.aio.server(interceptors=[CallInterceptor()])
        handlers = {"Break": grpc.unary_unary_rpc_method_handler(broken)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await channel.unary_unary("/test.Service/Break")(b"")
        except grpc.aio.AioRpcError as error:
            return error
        finally:
            await server.stop(None)
        raise AssertionError("the call succeeded")

    error = asyncio.run(scenario())
    assert error.code() is grpc.StatusCode.INTERNAL
    reference = details(error, error_details_pb2.ErrorInfo).metadata["reference"]
    assert SECRET not in str(error) + str(rpc_status.from_call(error))
    logged = "".join(capfd.readouterr())
    assert reference in logged
    assert SECRET not in logged
