"""Freshness tokens: read your writes without a lock (`at_least_as_fresh`)."""

from __future__ import annotations

import asyncio
import base64
import binascii

from solidarite_server.domain.errors import InvalidRequest, NotFreshEnough
from solidarite_server.ports import RecordStore

_POLL_SECONDS = 0.01
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


async def wait_for(store: RecordStore, text: str, seconds: float) -> None:
    """Wait until the commit of a token is visible; NotFreshEnough after `seconds`."""
    if not text:
        return
    wanted, deadline = _sequence(text), asyncio.get_running_loop().time() + seconds
    while store.commit_sequence() < wanted:
        if asyncio.get_running_loop().time() >= deadline:
            raise NotFreshEnough("L'écriture attendue n'est pas encore visible : réessayez.")
        await asyncio.sleep(_POLL_SECONDS)
