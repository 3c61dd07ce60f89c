"""Peers that do not behave: HTTP/2 spoken by hand, so that each rule can be broken alone."""

from __future__ import annotations

import select
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import h2.config
import h2.connection
import h2.events
import h2.exceptions

WATCH = "/grpc.health.v1.Health/Watch"
REFUSED_STREAM = 7
ENHANCE_YOUR_CALM = 11


class Peer:
    """A connection whose every frame is the test's own doing."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 10)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self._received = b""
        self.statuses: dict[int, str] = {}
        """How the calls ended, by stream: their grpc-status, or `reset N`."""
        self.flush()

    def flush(self) -> None:
        """Send what was prepared."""
        self.socket.sendall(self.h2.data_to_send())

    def open(self, path: str, *, end: bool = False, encoding: str = "") -> int:
        """Open a call and send nothing of its request; the number of its stream."""
        stream = self.h2.get_next_available_stream_id()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "essai.invalid"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ]  # fmt: skip
        if encoding:
            headers.append(("grpc-encoding", encoding))
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def send(self, stream: int, body: bytes, *, end: bool, compressed: bool = False, seconds: float = 20) -> None:
        """Send a message of a call as flow control allows, until the server wants no more of it."""
        data = bytes([compressed]) + len(body).to_bytes(4, "big") + body
        limit = time.monotonic() + seconds
        while data and stream not in self.statuses and time.monotonic() < limit:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            list(self.events(0.0 if room else 0.2))
            if room and stream not in self.statuses:
                self.h2.send_data(stream, data[:room], end_stream=end and len(data) <= room)
                data = data[room:]
                self.flush()

    def events(self, seconds: float, *, answer: bool = True) -> Iterator[h2.events.Event]:
        """What comes for so long, or until the end of the connection."""
        limit = time.monotonic() + seconds
        while select.select([self.socket], [], [], max(0.0, limit - time.monotonic()))[0]:
            try:
                data = self.socket.recv(65_536)
            except ConnectionError:
                data = b""
            if not data:
                yield Closed()
                return
            self._received += data
            for frame in self._frames():
                try:
                    found = self.h2.receive_data(frame)
                except h2.exceptions.ProtocolError:
                    continue  # what still comes after a GOAWAY
                for event in found:
                    self._note(event)
                    yield event
            if answer:
                self.flush()

    def _frames(self) -> Iterator[bytes]:
        while len(self._received) >= 9:
            size = 9 + int.from_bytes(self._received[:3], "big")
            if len(self._received) < size:
                return
            yield self._received[:size]
            self._received = self._received[size:]

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            status = dict(event.headers or ()).get("grpc-status")
            if status is not None:
                self.statuses[event.stream_id] = str(status)
        elif isinstance(event, h2.events.StreamReset):
            self.statuses.setdefault(event.stream_id, f"reset {event.error_code:d}")

    def status_of(self, stream: int, seconds: float = 10) -> str:
        """The grpc-status of a call, `reset N` when it was reset so, `closed` with its connection, or `open`."""
        events = self.events(seconds)
        while stream not in self.statuses:
            event = next(events, None)
            if event is None:
                return "open"
            if isinstance(event, Closed):
                return "closed"
        return self.statuses[stream]

    def end(self, seconds: float = 10, *, answer: bool = True) -> int | None:
        """Wait for the end of the connection: the code of its GOAWAY, -1 without one, None when it stays open."""
        code = -1
        for event in self.events(seconds, answer=answer):
            if isinstance(event, h2.events.ConnectionTerminated):
                code = int(event.error_code or 0)
            if isinstance(event, Closed):
                return code
        return code if code >= 0 else None

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class Closed(h2.events.Event):
    """The server hung up."""


@contextmanager
def peer(address: str) -> Iterator[Peer]:
    """A peer for the length of the block."""
    found = Peer(address)
    try:
        yield found
    finally:
        found.close()


def bomb(mib: int) -> bytes:
    """A gzip of so many MiB of zeros: about a thousandth of it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    # A flushed block starts from nothing: it can be said again and again without being computed again.
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    body = piece + again * (mib - 1)
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(bytes(1 << 20), checksum)
    tail = packer.flush(zlib.Z_FINISH)
    return (
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        + body
        + tail
        + checksum.to_bytes(4, "little")
        + (mib << 20).to_bytes(4, "little")
    )
