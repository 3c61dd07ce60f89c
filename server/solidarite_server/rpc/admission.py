"""Who may start now, and for how long: bounded work, early refusal, time limits, and the end of service.

Where calls queue (measured, docs/exploitation.md): the handlers run to their end in the event loop, so that never more
than one unary call is half done, and grpcio takes in one call a turn of the loop. The queue of an overload would be in
gRPC's own buffers, out of sight, seconds long. Between two handlers the loop is therefore given a few turns to take in
what came: the queue stands here, where it is bounded and refused from in time.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator

from solidarite_server.domain.errors import Overloaded, StreamEnded

_ARRIVALS_A_TURN = 4
"""Calls taken in between two handlers, at most: more would let a flood of refusals stop the work itself."""
_RETRY_SECONDS = 1.0
_QUIET_SECONDS, _HOLD_SECONDS = 0.03, 0.5


class Admission:
    """Bounds of what a process does at once."""

    def __init__(self, waiting_calls: int, open_streams: int) -> None:
        self._waiting_calls, self._open_streams = waiting_calls, open_streams
        self.calls = 0
        """Unary calls waiting or running."""
        self.streams = 0
        """Streams open."""
        self._turns: deque[asyncio.Future[None]] = deque()
        self._arrivals = 0
        self._pump: asyncio.Task[None] | None = None
        self._warm = False
        self._going = asyncio.Event()
        self._going.set()

    def check(self, *, streaming: bool) -> None:
        """Overloaded when the bound is reached: said before the request is read, it costs little."""
        self._arrivals += 1
        if streaming:
            if self.streams >= self._open_streams:
                raise _overloaded("Trop de flux sont ouverts : réessayez dans un instant.")
        elif self.calls >= self._waiting_calls and self._going.is_set():
            raise _overloaded("Trop d'appels attendent : réessayez dans un instant.")

    def enter(self, *, streaming: bool) -> None:
        """Count a call in; Overloaded when the bound is reached. `leave` follows each call counted in."""
        self.check(streaming=streaming)
        if streaming:
            self.streams += 1
        else:
            self.calls += 1

    def leave(self, *, streaming: bool) -> None:
        """Count a call out."""
        if streaming:
            self.streams -= 1
        else:
            self.calls -= 1

    async def turn(self) -> None:
        """Wait for one's turn, first come first served; at once when nothing else ran in this turn of the loop."""
        loop = asyncio.get_running_loop()
        if not self._warm and self._pump is None and self._going.is_set():
            self._warm = True
            loop.call_soon(self._cool)
            return
        waiting: asyncio.Future[None] = loop.create_future()
        self._turns.append(waiting)
        if self._pump is None:
            self._pump = loop.create_task(self._give_turns())
        await waiting

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

    def _cool(self) -> None:
        self._warm = False

    async def _give_turns(self) -> None:
        try:
            while self._turns:
                await self._going.wait()
                for _ in range(_ARRIVALS_A_TURN):
                    seen = self._arrivals
                    await asyncio.sleep(0)
                    if self._arrivals == seen:
                        break
                waiting = self._turns.popleft()
                if not waiting.done():
                    waiting.set_result(None)
                    await asyncio.sleep(0)
        finally:
            self._pump = None


def _overloaded(message_fr: str) -> Overloaded:
    # Not all at the same instant: those refused together would come back together.
    return Overloaded(message_fr, retry_after_seconds=_RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


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
