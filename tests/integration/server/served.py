"""A real server in this process, on loopback, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from solidarite_client import SolidariteClient
from solidarite_server.bootstrap import start_server
from solidarite_server.settings import Settings


@dataclass
class MovedClock:
    """An instant that only the test moves."""

    now: datetime

    def now_us(self) -> int:
        return int(self.now.timestamp() * 1_000_000)

    def set(self, text: str) -> None:
        """Move to an instant written `AAAA-MM-JJ` or `AAAA-MM-JJTHH:MM`, in UTC."""
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC)


@contextmanager
def served(folder: Path, day: str, **settings: object) -> Iterator[tuple[SolidariteClient, MovedClock]]:
    """Serve a store in `folder`; yields a client and the clock."""
    clock = MovedClock(datetime.now(UTC))
    clock.set(day)
    # However slow the machine, no call is refused for the time it would wait.
    given: dict[str, object] = {"waiting_seconds": 10, **settings}
    chosen = Settings(listen="127.0.0.1:0", store=f"sqlite:///{folder / 'vie.db'}", **given)  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = asyncio.run_coroutine_threadsafe(start_server(chosen, clock), loop).result(60)
    try:
        with SolidariteClient(running.address) as client:
            yield client, clock
    finally:
        asyncio.run_coroutine_threadsafe(running.stop(0.2), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
