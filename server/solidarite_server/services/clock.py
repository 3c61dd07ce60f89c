"""The system's clock."""

import time


class SystemClock:
    """Implements `ports.Clock`."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000
