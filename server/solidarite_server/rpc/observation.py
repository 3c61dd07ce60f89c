"""What is told of each call: counters, a line of the log, a trace. Never what the call carries."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import grpc
import structlog

from solidarite_server.rpc.errors import new_reference

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

_log = structlog.get_logger("solidarite.calls")
_COUNTED_ONLY = frozenset({grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED})
"""Left to the metrics by `errors`: a flood of calls must not become a flood of lines."""
_REQUEST_ID = "x-request-id"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Call:
    """One call, from its arrival to its status."""

    __slots__ = ("_context", "caller", "counted", "method", "reason", "reference", "span", "started")

    def __init__(self, method: str, context: Context) -> None:
        self.method, self._context = method, context
        self.caller: str = context.peer()
        """The connection: every caller has its own, and the turns are shared between them."""
        # Health and reflection are always admitted, or a busy server would look dead.
        self.counted = not method.startswith("/grpc.")
        self.started = time.perf_counter()
        self.reason = self.reference = ""
        self.span: Any = None

    @property
    def metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """What the caller sent beside its request."""
        return self._context.invocation_metadata() or ()

    def request_id(self) -> str:
        """The caller's `x-request-id` when it is a UUID, and nothing else: a number could be a person's."""
        for name, value in self.metadata:
            if name == _REQUEST_ID and isinstance(value, str) and _UUID.fullmatch(value):
                return value
        return self.reference or new_reference()


class CallMetrics(Protocol):
    """Where calls are counted."""

    def begun(self, method: str) -> None:
        """A call starts."""
        ...

    def ended(self, method: str, code: str, seconds: float) -> None:
        """A call has its status."""
        ...


class Tracer(Protocol):
    """Where spans go."""

    def begun(self, call: Call) -> None:
        """Open the call's span, under the caller's when it sent one."""
        ...

    def ended(self, call: Call, code: str) -> None:
        """Close it with its status."""
        ...


class Observer:
    """Tells metrics, log and traces of the calls."""

    def __init__(
        self,
        metrics: CallMetrics | None = None,
        tracer: Tracer | None = None,
        log_calls: Literal["all", "errors", "none"] = "errors",
    ) -> None:
        self._metrics, self._tracer, self._log_calls = metrics, tracer, log_calls

    def begun(self, call: Call) -> None:
        """A call starts."""
        if self._metrics is not None:
            self._metrics.begun(call.method)
        if self._tracer is not None:
            self._tracer.begun(call)

    def ended(self, call: Call, code: grpc.StatusCode) -> None:
        """A call has its status."""
        seconds = time.perf_counter() - call.started
        if self._metrics is not None:
            self._metrics.ended(call.method, code.name, seconds)
        if self._tracer is not None:
            self._tracer.ended(call, code.name)
        if self._log_calls == "all" or (self._log_calls == "errors" and code not in _COUNTED_ONLY):
            _log.info(
                "call",
                request_id=call.request_id(),
                method=call.method,
                status=code.name,
                reason=call.reason or None,
                reference=call.reference or None,
                duration_ms=round(seconds * 1000, 2),
            )
