"""The outermost interceptor: admits a call, limits its time, maps our errors, hides everything else, tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

import grpc
import structlog
from google.protobuf.message import DecodeError

from solidarite_server.domain.errors import InvalidRequest, Reason, Retryable, SolidariteError, StreamEnded, TimeLimit
from solidarite_server.logs import place_of
from solidarite_server.rpc.admission import Admission, Closing
from solidarite_server.rpc.errors import internal_status, new_reference, status_of
from solidarite_server.rpc.observation import Call, Observer

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

_log = structlog.get_logger("solidarite.rpc")
_TOO_LONG = "Cet appel a dépassé le temps que le serveur accorde."


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


async def _only_request(context: Context) -> Any:
    request = await context.read()
    return _checked(_UNDECODABLE if request is grpc.aio.EOF else request)


async def _request_within(seconds: float, context: Context) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await _only_request(context)
    except TimeoutError:
        raise TimeLimit(_TOO_LONG) from None


@dataclass(slots=True)
class CallRules:
    """What holds of every call of a process."""

    admission: Admission = field(default_factory=lambda: Admission(64, 0.03, 500, 2_000))
    closing: Closing = field(default_factory=Closing)
    observer: Observer = field(default_factory=Observer)
    unary_seconds: float = 30.0
    stream_seconds: float = 3_600.0


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Lets only our own errors leave a handler; what was not foreseen becomes INTERNAL with a reference.

    Every handler is given to grpcio as one that reads a stream of requests: an only request is then read here, once the
    call was admitted and within its time. grpcio itself would wait for it for ever, and read it before a refusal.
    """

    def __init__(self, rules: CallRules | None = None) -> None:
        self._rules = rules or CallRules()
        self._handlers: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = handler_call_details.method
        made = self._handlers.get(method)
        if made is None:
            # The stubs describe the handlers of the synchronous server: those of asyncio are left to Any.
            handler: Any = await continuation(handler_call_details)
            if handler is None:
                return None
            # A handler depends on its method alone: made once, a call that is refused costs a third less.
            made = self._handlers[method] = self._made(method, handler)
        return made

    def _made(self, method: str, handler: Any) -> Any:
        if handler.response_streaming:
            make, behavior = grpc.stream_stream_rpc_method_handler, self._streaming(method, handler)
        else:
            make, behavior = grpc.stream_unary_rpc_method_handler, self._single(method, handler)
        decode = _tolerant(handler.request_deserializer)
        return make(behavior, request_deserializer=decode, response_serializer=handler.response_serializer)

    def _single(self, method: str, handler: Any) -> Any:
        inner, rules, reads = handler.unary_unary or handler.stream_unary, self._rules, handler.request_streaming

        async def single(requests: AsyncIterator[Any], context: Context) -> Any:
            call = Call(method, context)
            async with _Told(call, context, rules, streaming=reads):
                try:
                    async with asyncio.timeout(rules.stream_seconds if reads else rules.unary_seconds) as limit:
                        if reads:
                            return await inner(self._read(requests), context)
                        request = await _only_request(context)
                        if not call.counted:
                            return await inner(request, context)
                        rules.admission.enter(call.caller)
                        try:
                            await rules.admission.turn(call.caller)
                            if context.time_remaining() == 0:
                                # Its caller has left: the work would only delay those who still wait.
                                raise TimeLimit("Le délai de l'appelant est passé avant que vienne son tour.")
                            return await inner(request, context)
                        finally:
                            rules.admission.leave()
                except TimeoutError:
                    if limit.expired():
                        raise TimeLimit(_TOO_LONG) from None
                    raise

        return single

    def _streaming(self, method: str, handler: Any) -> Any:
        inner, rules, reads = handler.unary_stream or handler.stream_stream, self._rules, handler.request_streaming

        async def reading(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            # It ends by its requests, in time or at the end of service: what was taken in is answered first.
            async with _Told(Call(method, context), context, rules, streaming=True):
                async for response in inner(self._read(requests), context):
                    yield response

        async def writing(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            call = Call(method, context)
            async with _Told(call, context, rules, streaming=True):
                task = asyncio.current_task()
                assert task is not None
                rules.closing.writing(task)
                try:
                    async with asyncio.timeout(rules.stream_seconds if call.counted else None) as limit:
                        answers = inner(await _request_within(rules.unary_seconds, context), context)
                        if not hasattr(answers, "__aiter__"):
                            await answers  # grpc's own Health.Watch writes to the context itself
                            return
                        async for response in answers:
                            yield response
                except TimeoutError:
                    if limit.expired():
                        raise StreamEnded from None
                    raise
                except asyncio.CancelledError:
                    if not rules.closing.begun:
                        raise
                    task.uncancel()
                    raise StreamEnded from None

        return reading if reads else writing

    def _read(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return _checked_stream(self._rules.closing.until(requests, self._rules.stream_seconds))


class _Told:
    """Around a call: it is admitted or refused, its end is counted and told, its errors are mapped."""

    __slots__ = ("_call", "_context", "_entered", "_rules", "_streaming")

    def __init__(self, call: Call, context: Context, rules: CallRules, *, streaming: bool) -> None:
        self._call, self._context, self._rules, self._streaming = call, context, rules, streaming
        self._entered = False

    async def __aenter__(self) -> None:
        self._rules.observer.begun(self._call)
        if not self._call.counted:
            return
        try:
            self._rules.admission.begin(self._call.caller, streaming=self._streaming)
        except Retryable as error:
            await self.__aexit__(type(error), error, None)
        self._entered = True

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        code = grpc.StatusCode.OK
        try:
            if isinstance(error, grpc.aio.AbortError):
                code = self._context.code() or grpc.StatusCode.UNKNOWN
            elif isinstance(error, Exception) or _is_a_handlers_own(error):
                status = self._status(error)
                code = status.code
                try:
                    await self._context.abort_with_status(status)
                except grpc.aio.AbortError as aborted:
                    asyncio.get_running_loop().call_soon(_forget, aborted)
                    raise
            elif error is not None:
                code = grpc.StatusCode.CANCELLED
        finally:
            if self._entered:
                self._rules.admission.end()
            self._rules.observer.ended(self._call, code)

    def _status(self, error: BaseException) -> grpc.Status:
        if isinstance(error, SolidariteError):
            self._call.reason = error.reason.value
            return status_of(error)
        reference = self._call.reference = new_reference()
        # The type and the place, not the text: an exception's text may hold personal data.
        place, kind = place_of(error.__traceback__), type(error).__name__
        _log.error("unforeseen", reference=reference, method=self._call.method, exception=kind, place=place)
        return internal_status(reference)


def _is_a_handlers_own(error: BaseException | None) -> TypeGuard[asyncio.CancelledError]:
    """A cancellation that nobody asked for: grpcio would send no status at all, and the caller would wait."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()


def _forget(aborted: BaseException) -> None:
    """Drop what an exception saw. grpcio keeps it with the call, and its traceback keeps the call: a refused call would
    hold its place on its connection until the collector passes.
    """
    aborted.__traceback__ = aborted.__context__ = None
