"""When to try again, and after how long."""

from __future__ import annotations

import random

from solidarite_client._settings import ClientSettings
from solidarite_client.errors import CallError, Retryable


class Backoff:
    """Pauses between attempts: doubling, with chance added so that many clients do not come back together."""

    def __init__(
        self, settings: ClientSettings, *, attempts: int | None = None, chance: random.Random | None = None
    ) -> None:
        self._settings = settings
        self._attempts = attempts or settings.attempts
        self._chance = chance or random.Random()  # noqa: S311 - spreads attempts, protects nothing
        self._failures = 0

    def progressed(self) -> None:
        """Forget past failures: something went through since."""
        self._failures = 0

    def delay_after(self, error: CallError) -> float:
        """Seconds to wait before the next attempt. Raises the error when it is not worth one, or none is left."""
        self._failures += 1
        if not isinstance(error, Retryable) or self._failures >= self._attempts:
            raise error
        limit = self._settings.delay_limit_seconds
        pause = min(self._settings.first_delay_seconds * 2.0 ** (self._failures - 1), limit)
        pause *= self._chance.uniform(0.5, 1.0)
        # The server knows better than we do; never sooner than it asks, within the limit we accept.
        return min(max(pause, error.retry_after_seconds or 0.0), limit)
