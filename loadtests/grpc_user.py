"""A Locust user that speaks gRPC: unary calls, answers in a stream, and streams of acknowledged batches.

What makes it honest: a latency counts from the *intended* start of the call, given by whoever planned it, so that a
server (or a generator) that falls behind cannot hide its delay. What makes it work under Locust: gRPC is told about
gevent before anything else of it exists; every user opens its own channel, after Locust has forked its processes; and
calls go through the channel's one waiting thread. A blocking call of a stub holds a thread of gevent's pool until it is
answered, the pool has ten, and the eleventh call waits in the client as if the server were slow: measured here, 27 s of
it behind a server that used a third of a core.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import gevent
import grpc
from gevent.queue import Queue
from grpc.experimental import gevent as grpc_gevent
from locust import User
from solidarite_client.errors import decode

grpc_gevent.init_gevent()

_THREADS = 512


class Recorder(Protocol):
    """Where calls are counted."""

    def call(self, name: str, intended: float, ended: float, *, failure: str | None = None, items: int = 0) -> None:
        """One call ended; instants are those of `time.perf_counter`."""


class CallFailure(Exception):
    """A call that failed, named by its reason: that of ErrorInfo, or else the status code."""


def reason_of(error: grpc.RpcError) -> str:
    """The `reason` of the service's error, or the name of the status when there is none."""
    decoded = decode(error)
    return decoded.reason or (decoded.status.name if decoded.status is not None else "UNKNOWN")


class GrpcUser(User):
    """A client with a channel of its own. `self.host` is the address, `host:port`."""

    abstract = True
    timeout_seconds = 10.0
    recorder: Recorder | None = None
    """Set by the locustfile; without one only Locust's own statistics are kept."""

    def on_start(self) -> None:
        """Open the channel: here, because a channel does not outlive a fork."""
        # One thread for each channel, and some for the streams of answers.
        gevent.get_hub().threadpool.maxsize = _THREADS
        # Without its own pool of connections, users of a process would share one, and so one server process.
        self.channel = grpc.insecure_channel(address_of(self.host), [("grpc.use_local_subchannel_pool", 1)])

    def on_stop(self) -> None:
        """Close the channel."""
        self.channel.close()

    def unary(
        self,
        method: Any,
        request: Any,
        *,
        intended: float | None = None,
        expected: tuple[str, ...] = (),
        items: int = 1,
    ) -> Any:
        """Make a call of a generated stub; None when it failed.

        `intended` is when it should have started (now, unless told). A refusal whose reason is `expected` is an answer
        like another: the call counts as good.
        """
        started = time.perf_counter() if intended is None else intended
        failure: str | None = None
        answer = None
        try:
            answer = method.future(request, timeout=self.timeout_seconds).result()
        except grpc.RpcError as error:
            failure = reason_of(error)
            failure = None if failure in expected else failure
        self.count(name_of(method), started, failure=failure, items=items)
        return answer

    def answers(
        self,
        method: Callable[..., Any],
        request: Any,
        *,
        timeout: float,
        intended: float | None = None,
        expected: tuple[str, ...] = (),
    ) -> Iterator[Any]:
        """The answers of a call that streams them; the call is counted once, at its end."""
        started = time.perf_counter() if intended is None else intended
        failure: str | None = None
        try:
            yield from method(request, timeout=timeout)
        except grpc.RpcError as error:
            failure = reason_of(error)
            failure = None if failure in expected else failure
        self.count(name_of(method), started, failure=failure)

    def count(self, name: str, intended: float, *, failure: str | None = None, items: int = 0) -> None:
        """Tell Locust and the recorder about a call that ends now."""
        ended = time.perf_counter()
        if self.recorder is not None:
            self.recorder.call(name, intended, ended, failure=failure, items=items)
        self.environment.events.request.fire(
            request_type="grpc",
            name=name,
            response_time=(ended - intended) * 1000,
            response_length=0,
            exception=None if failure is None else CallFailure(failure),
            context={},
        )


class BatchStream:
    """A bidirectional stream whose every message is answered by one, in order.

    Each batch counts as one call, from its intended start to its answer. When the stream breaks, what was not answered
    counts as failed, by the reason of the break.
    """

    def __init__(
        self,
        user: GrpcUser,
        method: Callable[..., Any],
        items_of: Callable[[Any], int],
        refusals_of: Callable[[Any], list[str]],
    ) -> None:
        self._user, self._method = user, method
        self._items_of, self._refusals_of = items_of, refusals_of
        self._requests: Queue[Any] = Queue()
        self._waiting: list[float] = []
        self._call: Any = method(iter(self._requests.get, None))
        self._reader = gevent.spawn(self._read)
        self.broken = False

    @property
    def in_flight(self) -> int:
        """Batches sent and not answered."""
        return len(self._waiting)

    def send(self, request: Any, intended: float) -> None:
        """Send a batch; its answer is counted when it comes."""
        self._waiting.append(intended)
        self._requests.put(request)

    def close(self, timeout_seconds: float) -> None:
        """Wait for the answers still due; those that do not come count as failed."""
        self._requests.put(None)
        self._reader.join(timeout_seconds)
        if not self._reader.ready():
            self._call.cancel()
            self._reader.join(1)
        self._fail("UNFINISHED")

    def _read(self) -> None:
        try:
            for answer in self._call:
                refusals = self._refusals_of(answer)
                self._user.count(
                    name_of(self._method),
                    self._waiting.pop(0),
                    failure=f"refused: {refusals[0]}" if refusals else None,
                    items=self._items_of(answer),
                )
        except grpc.RpcError as error:
            self.broken = True
            reason = reason_of(error)
            self._fail("UNFINISHED" if reason == "CANCELLED" else reason)

    def _fail(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for intended in waiting:
            self._user.count(name_of(self._method), intended, failure=reason)


def address_of(host: str | None) -> str:
    """The address that Locust's host stands for, with or without the http:// that its page suggests."""
    address = (host or "").removeprefix("http://").rstrip("/")
    if not address.rpartition(":")[2].isdecimal():
        raise ValueError("the host is the address of the service, for example --host 127.0.0.1:50051")
    return address


def name_of(method: Any) -> str:
    """The name of an RPC, from a method of a generated stub: `PrefillDeclaration`."""
    path: bytes = method._method
    return path.rpartition(b"/")[2].decode()
