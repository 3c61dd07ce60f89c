"""Blocks made by several processes or threads of this machine, given back in order: the result is that of one."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")
_AHEAD = 2
"""Blocks in the air for each worker: memory stays bounded when the reader is slow."""


def in_order(work: Callable[[int], _T], count: int, processes: int) -> Iterator[_T]:
    """`work(0)` … `work(count - 1)`, in order. With several processes `work` is sent to them: it must be importable."""
    if processes <= 1 or count <= 1:
        yield from map(work, range(count))
        return
    # Started afresh: a server's threads and connections are not carried over.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from _ordered(pool, work, count, processes * _AHEAD)


def in_order_by_threads(work: Callable[[int], _T], count: int, threads: int) -> Iterator[_T]:
    """The same by threads: for results too large to be worth sending from one process to another.

    numpy, Arrow and the compiled rules leave the interpreter to the others while they work.
    """
    with ThreadPoolExecutor(threads) as pool:
        yield from _ordered(pool, work, count, threads * _AHEAD)


def _ordered(pool: Executor, work: Callable[[int], _T], count: int, ahead: int) -> Iterator[_T]:
    numbers = iter(range(count))
    waiting: deque[Future[_T]] = deque(pool.submit(work, n) for n in islice(numbers, ahead))
    try:
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, n) for n in islice(numbers, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()
