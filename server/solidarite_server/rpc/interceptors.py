"""The outermost interceptor: maps our errors once, hides everything else, answers undecodable bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError

from solidarite_server.domain.errors import InvalidRequest, Reason, SolidariteError
from solidarite_server.rpc.errors import internal_status, new_reference, status_of

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

_log = structlog.get_logger("solidarite.rpc")


class _Undecodable:
    """Stands for a request whose bytes are not the message."""


_UNDECODABLE = _Undecodable()


def _tolerant(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    # grpcio answers UNKNOWN with the exception's text when a deserializer raises: catch it before.
    if deserializer is None:
        return None

    def decode(data: bytes) -> Any:
        try:
            return deserializer(data)
        except (DecodeError, UnicodeDecodeError, ValueError):
            return _UNDECODABLE

    return decode


def _checked(request: Any) -> Any:
    if request is _UNDECODABLE:
        raise InvalidRequest(
            "Le corps de la requête n'est pas un message lisible de ce service.", reason=Reason.UNDECODABLE_REQUEST
        )
    return request


async def _checked_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Lets only our own errors leave a handler; what was not foreseen becomes INTERNAL with a reference."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        # The stubs describe the handlers of the synchronous server: those of asyncio are left to Any.
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        prepare = _checked_stream if handler.request_streaming else _checked
        decode = _tolerant(handler.request_deserializer)
        if handler.response_streaming:
            inner_stream = handler.unary_stream or handler.stream_stream

            async def streaming(request: Any, context: Context) -> AsyncIterator[Any]:
                try:
                    answers = inner_stream(prepare(request), context)
                    if not hasattr(answers, "__aiter__"):
                        await answers  # grpc's own Health.Watch writes to the context itself
                        return
                    async for response in answers:
                        yield response
                except (asyncio.CancelledError, grpc.aio.AbortError):
                    raise
                except Exception as error:
                    await _abort(context, method, error)

            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(streaming, request_deserializer=decode, response_serializer=handler.response_serializer)
        inner = handler.unary_unary or handler.stream_unary

        async def single(request: Any, context: Context) -> Any:
            try:
                return await inner(prepare(request), context)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception as error:
                await _abort(context, method, error)

        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(single, request_deserializer=decode, response_serializer=handler.response_serializer)


async def _abort(context: Context, method: str, error: Exception) -> NoReturn:
    if isinstance(error, SolidariteError):
        await context.abort_with_status(status_of(error))
    reference = new_reference()
    # The type and the place, not the text: an exception's text may hold personal data.
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else ""
    _log.error("unforeseen", reference=reference, method=method, exception=type(error).__name__, place=place)
    await context.abort_with_status(internal_status(reference))
    raise AssertionError("abort_with_status always raises")
