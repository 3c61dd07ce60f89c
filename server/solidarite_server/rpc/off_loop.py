"""Long work beside the event loop: other calls go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")


async def in_thread(steps: Iterator[_T]) -> AsyncGenerator[_T, None]:
    """The steps of a long work, each taken in a thread; a caller gone ends the work after the step in progress."""
    end = object()
    taken: asyncio.Future[Any] | None = None
    try:
        while True:
            taken = asyncio.ensure_future(asyncio.to_thread(next, steps, end))
            # A thread cannot be interrupted: the step in progress goes on when the caller goes.
            step = await asyncio.shield(taken)
            if step is end:
                return
            yield step
    finally:
        if taken is not None and not taken.done():
            await asyncio.wait([taken])
        close = getattr(steps, "close", None)
        if close is not None:
            await asyncio.to_thread(close)
