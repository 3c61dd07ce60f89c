"""Open workload: arrivals are drawn ahead, whatever the server does with the ones before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator


def arrivals(rate: Callable[[float], float], highest: float, end: float, chance: random.Random) -> Iterator[float]:
    """Instants, in seconds from 0 to `end`, of a Poisson process whose rate changes with time.

    By thinning (Lewis and Shedler, 1979): `highest` bounds `rate` over the whole run.
    """
    at = 0.0
    while highest > 0:
        at += chance.expovariate(highest)
        if at >= end:
            return
        if chance.random() * highest < rate(at):
            yield at
