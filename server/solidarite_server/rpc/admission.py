"""Who may start now, and for how long: bounded work, early refusal, time limits, and the end of service.

Where calls queue (measured, docs/exploitation.md): the handlers run to their end in the event loop, so that never more
than one unary call is half done, and grpcio takes in one call a turn of the loop. The queue of an overload would be in
gRPC's own buffers, out of sight, seconds long. Between two handlers the loop is therefore left to take in what came,
as long as more comes: the queue stands here, where callers are served in turn, and who would wait too long is told so
at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from solidarite_server.domain.errors import Overloaded, Starting, StreamEnded

_FEW_TURNS = 2
"""Turns of the loop in which grpcio takes one call and asks for the next: fewer would leave it for after the work."""
_MORE_SECONDS = 150e-6
"""Time in which gRPC's thread usually hands over the next of the calls it holds (0.4 ms at most)."""
_VAIN_SHARE = 0.05
"""Share of the time that may be lost in waiting for calls that do not come."""
_IDLE_SECONDS = 0.001
_SMOOTHING = 0.1
_RETRY_SECONDS = tuple(0.5 + step / 16 for step in range(17))
"""Not all at the same instant: those refused together would come back together."""
_QUIET_SECONDS, _HOLD_SECONDS = 0.03, 0.5


class Line:
    """Calls that wait for their turn: callers are served one after the other, each in the order of its own calls."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def join(self, caller: str) -> asyncio.Future[None]:
        """Wait at the end of the caller's own calls; the future is done when the turn comes."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._callers.setdefault(caller, deque()).append(waiting)
        self._length += 1
        return waiting

    def take(self) -> asyncio.Future[None]:
        """The next call, of the caller who waited longest since its last turn."""
        caller, own = self._callers.popitem(last=False)
        waiting = own.popleft()
        if own:
            self._callers[caller] = own
        self._length -= 1
        return waiting

    def ahead(self, caller: str) -> int:
        """How many turns come before that of a call that this caller would add now."""
        return len(self._callers) * (len(self._callers.get(caller, ())) + 1)


class Admission:
    """Bounds of what a process does at once."""

    def __init__(self, waiting_calls: int, waiting_seconds: float, open_streams: int, open_calls: int) -> None:
        self._waiting_calls, self._waiting_seconds = waiting_calls, waiting_seconds
        self._open_streams, self._open_calls = open_streams, open_calls
        self._open = 0
        self._streams: Counter[str] = Counter()
        """Streams open, by whom they are for."""
        self._calls = 0
        """Unary calls whose request is here, waiting or running."""
        self._line = Line()
        self._arrivals = 0
        self._patience = 0.0
        self._turn_seconds = 0.001
        self._last_at_work = 0.0
        self._pump: asyncio.Task[None] | None = None
        self._going = asyncio.Event()
        self._going.set()
        self.starting = False
        """Whether the process listens and cannot serve yet: every call is told to come back."""

    def begin(self, caller: str, *, streaming: bool) -> None:
        """Count a call or a stream that opens; Overloaded when a bound is reached, Starting when it is too early.
        `end` follows each one counted.

        Said before the request is read, a refusal costs little.
        """
        self._arrivals += 1
        if self.starting:
            raise Starting
        if self._open >= self._open_calls:
            raise _overloaded("Trop d'appels sont ouverts : réessayez dans un instant.")
        if not streaming:
            self._check_line(caller)
        else:
            self._check_streams()
        self._open += 1

    def end(self) -> None:
        """Count out what `begin` counted."""
        self._open -= 1

    @contextmanager
    def stream(self, holder: str, *, alone: bool = False) -> Iterator[None]:
        """Hold the place of a stream, once it is known whom it is for: who does not say so takes nobody's place.

        Overloaded when there is no place left, or when the holder has half of them: nobody keeps all others out. One
        who is `alone`, where no identities are configured, may have them all.
        """
        self._check_streams()
        if not alone and self._streams[holder] >= (self._open_streams + 1) // 2:
            raise _overloaded("Vous tenez déjà la moitié des flux de ce serveur : fermez-en, ou réessayez plus tard.")
        self._streams[holder] += 1
        try:
            yield
        finally:
            self._streams[holder] -= 1
            if not self._streams[holder]:
                del self._streams[holder]

    def enter(self, caller: str) -> None:
        """Count a unary call whose request is here: who sends none takes nobody's place. `leave` follows.

        Overloaded when others took the place while the request came.
        """
        self._check_line(caller)
        self._calls += 1

    def leave(self) -> None:
        """Count out what `enter` counted."""
        self._calls -= 1
        self._last_at_work = time.perf_counter()

    async def turn(self, caller: str) -> None:
        """Wait for one's turn; at once when the loop had nothing to do."""
        now = time.perf_counter()
        if self._pump is None:
            if now - self._last_at_work > _IDLE_SECONDS and self._going.is_set():
                self._last_at_work = now
                return
            self._pump = asyncio.get_running_loop().create_task(self._give_turns())
        await self._line.join(caller)

    async def take_in_what_is_on_its_way(self) -> None:
        """Let calls in and let none run, until no more comes: then none is left in gRPC's buffers.

        gRPC cancels what it holds there when a server ends. `go_on` follows.
        """
        self._going.clear()
        loop = asyncio.get_running_loop()
        limit = loop.time() + _HOLD_SECONDS
        while loop.time() < limit:
            seen = self._arrivals
            await asyncio.sleep(_QUIET_SECONDS)
            if self._arrivals == seen:
                return

    def go_on(self) -> None:
        """Let calls run again."""
        self._going.set()

    def _check_streams(self) -> None:
        if self._streams.total() >= self._open_streams:
            raise _overloaded("Trop de flux sont ouverts : réessayez dans un instant.")

    def _check_line(self, caller: str) -> None:
        wait = self._line.ahead(caller) * self._turn_seconds
        if self._going.is_set() and (self._calls >= self._waiting_calls or wait > self._waiting_seconds):
            raise _overloaded("Trop d'appels attendent : réessayez dans un instant.")

    async def _give_turns(self) -> None:
        worked = 0.0
        try:
            while self._line:
                await self._going.wait()
                waiting = self._line.take()
                if waiting.done():  # its caller has left
                    continue
                started = time.perf_counter()
                await self._take_in(worked)
                if not waiting.done():
                    begun = time.perf_counter()
                    waiting.set_result(None)
                    await asyncio.sleep(0)
                    ended = time.perf_counter()
                    worked = ended - begun
                    # One call that lasts, as the first ones do, says nothing of those that follow.
                    usual = self._turn_seconds
                    self._turn_seconds += _SMOOTHING * (min(ended - started, 2 * usual) - usual)
        finally:
            self._pump = None

    async def _take_in(self, worked: float) -> None:
        """Let the loop take in what came between two turns.

        As long as more comes, and never for longer than the last call worked: half of the time is left to what was
        accepted, whatever comes. Waiting in vain for more is done for a small share of the time only.
        """
        self._patience = min(self._patience + _VAIN_SHARE * worked, _MORE_SECONDS)
        patient, arrivals = self._patience >= _MORE_SECONDS, self._arrivals
        start = last = now = time.perf_counter()
        turns = 0
        while turns < _FEW_TURNS or (patient and now - last < _MORE_SECONDS and now - start < worked):
            await asyncio.sleep(0)
            now = time.perf_counter()
            turns += 1
            if self._arrivals != arrivals:
                arrivals, last = self._arrivals, now
        if patient and now - last >= _MORE_SECONDS:
            self._patience = 0.0


def _overloaded(message_fr: str) -> Overloaded:
    return Overloaded(message_fr, retry_after_seconds=random.choice(_RETRY_SECONDS))  # noqa: S311 - no secret


class Closing:
    """The end of service: streams are told to resume elsewhere, whether they read or only write."""

    def __init__(self) -> None:
        self._closed = asyncio.Event()
        self._writers: set[asyncio.Task[None]] = set()

    @property
    def begun(self) -> bool:
        """Whether the service ends."""
        return self._closed.is_set()

    def begin(self) -> None:
        """End every stream: readers take no new message and answer what they took, writers stop at once."""
        self._closed.set()
        for task in tuple(self._writers):
            task.cancel()

    def writing(self, task: asyncio.Task[None]) -> None:
        """Remember a stream that only writes, until it is done."""
        self._writers.add(task)
        task.add_done_callback(self._writers.discard)

    async def until(self, requests: AsyncIterator[object], seconds: float) -> AsyncIterator[object]:
        """The requests of a stream; StreamEnded at the end of service, or after so many seconds."""
        limit = asyncio.get_running_loop().time() + seconds
        closed = asyncio.ensure_future(self._closed.wait())
        iterator = aiter(requests)
        following: asyncio.Future[object] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(iterator))
                left = limit - asyncio.get_running_loop().time()
                await asyncio.wait((following, closed), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not following.done() or closed.done():
                    raise StreamEnded
                try:
                    request = following.result()
                except StopAsyncIteration:
                    return
                yield request
        finally:
            closed.cancel()
            if following is not None:
                following.cancel()
