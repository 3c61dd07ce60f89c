"""A lock that goes to whoever has waited longest.

The interpreter's own lock goes to whoever asks first once it is free, which is nearly always the thread that has just
let it go: while batches come one after the other, a submission would wait for the end of the flood.
"""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """As `threading.Lock` in a `with` statement, but each in turn."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False

    def __enter__(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            turn.acquire()
        except BaseException:  # the main thread may be interrupted while it waits
            self._give_up(turn)
            raise

    def __exit__(self, *error: object) -> None:
        with self._guard:
            self._next()

    def _give_up(self, turn: threading.Lock) -> None:
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._next()  # the turn came meanwhile

    def _next(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._held = False
