"""Which seeds a long test runs: all, or those that the environment asks for, so that it can be run in pieces."""

import os


def seeds(count: int) -> range:
    """0 to `count` − 1, or the part of it that ROBUSTNESS_SEEDS names: `12` or `0-99`."""
    first, _, last = os.environ.get("ROBUSTNESS_SEEDS", f"0-{count - 1}").partition("-")
    return range(int(first), min(int(last or first), count - 1) + 1)
