"""A network between a client and a server: delay, jitter, loss, packets of any size, cuts, silence.

A relay above TCP: the kernel's own (`tc netem`) is a module that many machines lack. A lost packet is what TCP makes of
it: it and all that follows come a retransmission later.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_RETRANSMISSION_SECONDS = 0.2
"""Least time after which Linux sends a lost packet again."""
_LARGEST_PACKET = 1_448


@dataclass
class Network:
    """Carries the bytes of every connection to `target`, badly."""

    target: str
    delay_seconds: float = 0.02
    loss: float = 0.01
    seed: int = 1
    lost: int = 0
    cuts: int = 0
    address: str = ""
    _links: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._loop = asyncio.new_event_loop()
        self._carries = asyncio.Event()
        self._carries.set()

    def cut(self) -> None:
        """End every connection at once, without a word."""

        def abort() -> None:
            self.cuts += len(self._links) > 0
            for link in list(self._links):
                link.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    def silence(self) -> None:
        """Carry nothing any more; connections stay open."""
        self._loop.call_soon_threadsafe(self._carries.clear)

    def heal(self) -> None:
        """Carry again, what waited first."""
        self._loop.call_soon_threadsafe(self._carries.set)

    async def _serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        self._links |= {writer, far_writer}
        ways = ((reader, far_writer), (far_reader, writer))
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(*(self._carry(*way) for way in ways))
        for end in (writer, far_writer):
            self._links.discard(end)
            end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packets: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(self._deliver(packets, writer))
        self._tasks.add(delivering)
        try:
            while data := await reader.read(65_536):
                while data:
                    size = self._chance.randint(1, _LARGEST_PACKET)
                    packets.put_nowait((self._loop.time() + self._pause(), data[:size]))
                    data = data[size:]
            await packets.join()
            if writer.can_write_eof():
                writer.write_eof()
        finally:
            delivering.cancel()
            self._tasks.discard(delivering)

    async def _deliver(self, packets: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, packet = await packets.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._carries.wait()
            if not writer.is_closing():
                writer.write(packet)
            packets.task_done()

    def _pause(self) -> float:
        pause = self.delay_seconds * self._chance.uniform(0.5, 1.5)
        if self._chance.random() < self.loss:
            self.lost += 1
            return pause + _RETRANSMISSION_SECONDS
        return pause


@contextmanager
def network(target: str, **quality: float) -> Iterator[Network]:
    """A network of that quality, until the block ends."""
    relay = Network(target, **quality)  # type: ignore[arg-type]
    thread = threading.Thread(target=relay._loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(relay._serve(), relay._loop).result(10)

    async def end() -> None:
        server.close()
        for link in list(relay._links):
            link.transport.abort()
        for task in list(relay._tasks):
            task.cancel()
        await asyncio.sleep(0)

    try:
        yield relay
    finally:
        asyncio.run_coroutine_threadsafe(end(), relay._loop).result(10)
        relay._loop.call_soon_threadsafe(relay._loop.stop)
        thread.join(10)
        relay._loop.close()
