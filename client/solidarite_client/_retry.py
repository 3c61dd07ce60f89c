"""When to try again, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from solidarite_client._settings import ClientSettings
from solidarite_client.errors import CallError, Retryable


class Backoff:
    """Pauses between attempts: doubling, with chance added so that many clients do not come back together."""

    def __init__(
        self,
        settings: ClientSettings,
        *,
        attempts: int | None = None,
        chance: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._attempts = attempts or settings.attempts
        self._chance = chance or random.Random()  # noqa: S311 - spreads attempts, protects nothing
        self._clock = clock
        self._failures = 0
        self._last_progress: float | None = None

    def progressed(self) -> None:
        """Forget past failures: something went through since."""
        self._failures = 0
        self._last_progress = self._clock()

    def delay_after(self, error: CallError) -> float:
        """Seconds to wait before the next attempt. Raises the error when it is not worth one, or none is left."""
        self._failures += 1
        if not isinstance(error, Retryable) or (self._failures >= self._attempts and not self._patient()):
            raise error
        limit = self._settings.delay_limit_seconds
        # The exponent is bounded: a long outage must not overflow it.
        pause = min(self._settings.first_delay_seconds * 2.0 ** min(self._failures - 1, 60), limit)
        pause *= self._chance.uniform(0.5, 1.0)
        # The server knows better than we do; never sooner than it asks, within the limit we accept.
        return min(max(pause, error.retry_after_seconds or 0.0), limit)

    def _patient(self) -> bool:
        """Whether a service that has answered before is given more time: it may be restarting."""
        if self._last_progress is None:
            return False
        return self._clock() - self._last_progress < self._settings.outage_seconds
