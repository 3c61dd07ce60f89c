"""Freshness tokens: read your writes without a lock (`at_least_as_fresh`)."""

from __future__ import annotations

import asyncio
import base64
import binascii

from solidarite_server.domain.errors import InvalidRequest, NotFreshEnough
from solidarite_server.ports import RecordStore

_POLL_SECONDS = 0.01
_WAITING_CALLS = 16
"""Calls of a process that wait at once for a commit. Anybody can write the token of one that never comes: no more than
these are held by it, and the others are served.
"""
_PREFIX = b"s1."


def token(commit_sequence: int) -> str:
    """The opaque name of a commit."""
    return base64.urlsafe_b64encode(_PREFIX + commit_sequence.to_bytes(8, "big")).decode()


def _sequence(text: str) -> int:
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii"))
        if len(data) != len(_PREFIX) + 8 or not data.startswith(_PREFIX):
            raise ValueError
    except (ValueError, binascii.Error):
        raise InvalidRequest("Le jeton est celui d'un accusé de réception.", field="at_least_as_fresh") from None
    return int.from_bytes(data[len(_PREFIX) :], "big")


class Freshness:
    """Lets reads wait for the commit that their token names."""

    def __init__(self, store: RecordStore, wait_seconds: float) -> None:
        self._store, self._wait_seconds = store, wait_seconds
        self._waiting = 0

    async def reached(self, text: str) -> None:
        """Wait until the commit of a token is visible; NotFreshEnough after a while, or when too many wait."""
        if not text:
            return
        wanted, deadline = _sequence(text), asyncio.get_running_loop().time() + self._wait_seconds
        late = NotFreshEnough("L'écriture attendue n'est pas encore visible : réessayez.")
        if self._waiting >= _WAITING_CALLS and self._store.commit_sequence() < wanted:
            raise late
        self._waiting += 1
        try:
            while self._store.commit_sequence() < wanted:
                if asyncio.get_running_loop().time() >= deadline:
                    raise late
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            self._waiting -= 1
