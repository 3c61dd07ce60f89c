"""Many small calls in few writes: HTTP/2 spoken by hand, for bodies by the hundred thousand.

A call made by grpcio costs its sender nearly as much as its server. Here a call is two frames put together as bytes,
and of what comes back only the end of each call is read. Our settings switch the table of header compression off: a
block of headers then says everything by itself.
"""

from __future__ import annotations

import re
import select
import socket
import struct
from collections.abc import Iterable, Iterator

import hpack

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_LARGEST = 2**31 - 1
# No table of headers, answers of any size, and gRPC's own setting: metadata in bytes need not become base64.
_SETTINGS_SAID = ((1, 0), (4, _LARGEST), (0xFE03, 1))
_USUAL_ROOM = 65_535
_STATUS = re.compile(rb"\x0bgrpc-status[\x01\x02](\d{1,2})")
"""The header as gRPC writes it without a table: two lengths, and no Huffman coding."""
_READ_WHOLE_EVERY = 50
_SILENCE_SECONDS = 60

Ended = tuple[str, bytes, str]
"""Path and body of a call, and its grpc-status or `reset N`."""


class Hung(Exception):
    """The server closed a connection, or said nothing for long, while calls were open."""


class Volley:
    """A connection that keeps many calls open at once, each of one message."""

    def __init__(self, address: str, depth: int) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = b"".join(struct.pack(">HI", *setting) for setting in _SETTINGS_SAID)
        self.socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _more_room(_LARGEST - _USUAL_ROOM))
        self.open: dict[int, tuple[str, bytes]] = {}
        self._depth, self._next = depth, 1
        self._headers: dict[str, bytes] = {}
        self._received = b""
        self._room = _USUAL_ROOM
        """How much the server still lets us send."""
        self._taken = self._ends = 0

    def fill(self, calls: Iterator[tuple[str, bytes]]) -> None:
        """Open calls until enough are open, in one write."""
        frames = []
        while len(self.open) < self._depth and self._room > _USUAL_ROOM // 4:
            call = next(calls, None)
            if call is None:
                break
            path, body = call
            assert len(body) < _USUAL_ROOM // 4, "longer than a frame"
            headers = self._headers.get(path) or self._headers.setdefault(path, _request_headers(path))
            frames += [_frame(_HEADERS, _END_HEADERS, self._next, headers)]
            frames += [_frame(_DATA, _END_STREAM, self._next, b"\0" + len(body).to_bytes(4, "big") + body)]
            self.open[self._next] = call
            self._next += 2
            self._room -= len(body) + 5
        if frames:
            self.socket.sendall(b"".join(frames))

    def read(self) -> Iterator[Ended]:
        """The calls whose end has come."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise Hung("closed")
        data, place = self._received + data, 0
        while len(data) >= place + 9:
            high, low, kind, flags, stream = struct.unpack_from(">BHBBI", data, place)
            end = place + 9 + (high << 16) + low
            if len(data) < end:
                break
            payload = data[place + 9 : end]
            place = end
            if kind == _HEADERS and flags & _END_STREAM:
                yield (*self.open.pop(stream), self._status(payload))
            elif kind == _RESET and stream in self.open:
                yield (*self.open.pop(stream), f"reset {int.from_bytes(payload, 'big')}")
            elif kind not in (_HEADERS, _RESET):
                self._control(kind, flags, stream, payload)
        self._received = data[place:]

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._taken += len(payload)
            if self._taken > 1 << 28:
                self.socket.sendall(_more_room(self._taken))
                self._taken = 0
        elif kind == _WINDOW and not stream:
            self._room += int.from_bytes(payload, "big")
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self.socket.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _GOAWAY:
            raise Hung(payload[8:].decode("utf-8", "replace"))

    def _status(self, block: bytes) -> str:
        found = _STATUS.findall(block)
        self._ends += 1
        if len(found) != 1 or self._ends % _READ_WHOLE_EVERY == 0:
            # The short way is held to the long one.
            decoder = hpack.Decoder()
            whole = [value for name, value in decoder.decode(block, raw=True) if name == b"grpc-status"]
            assert len(found) != 1 or whole == found
            found = whole
        return str(int(found[0]))


def fired(address: str, calls: Iterable[tuple[str, bytes]], *, connections: int, depth: int) -> Iterator[Ended]:
    """Make every call, so many at a time on each of so many connections; each with its end, as it comes."""
    left = iter(calls)
    volleys = [Volley(address, depth) for _ in range(connections)]
    try:
        while True:
            for volley in volleys:
                volley.fill(left)
            if not any(volley.open for volley in volleys):
                return
            ready = select.select([volley.socket for volley in volleys], [], [], _SILENCE_SECONDS)[0]
            if not ready:
                raise Hung(f"{sum(len(volley.open) for volley in volleys)} calls without an answer")
            for volley in volleys:
                if volley.socket in ready:
                    yield from volley.read()
    finally:
        for volley in volleys:
            volley.socket.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return struct.pack(">BHBBI", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def _more_room(size: int) -> bytes:
    return _frame(_WINDOW, 0, 0, struct.pack(">I", size))


def _request_headers(path: str) -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return bytes(
        encoder.encode(
            [
                (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "essai.invalid"),
                ("te", "trailers"), ("content-type", "application/grpc"),
            ]
        )
    )  # fmt: skip
