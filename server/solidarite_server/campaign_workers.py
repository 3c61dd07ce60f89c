"""Where the blocks of a campaign are computed: processes of this machine, or a Dask cluster over a shared store."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial

from solidarite_server.engine import warm_up
from solidarite_server.ports import CampaignBlock, CampaignRow, Store
from solidarite_server.services.campaign import BlockTask, Work, compute_block
from solidarite_server.services.clock import SystemClock
from solidarite_server.storage import open_store


@cache
def opened(url: str) -> Store:
    """The store at `url`, opened once a process."""
    return open_store(url, clock=SystemClock())


def ready(_: int) -> None:
    """Load the compiled rules, so that no block waits for them."""
    warm_up()


def compute_block_of(url: str, task: BlockTask) -> tuple[CampaignBlock, list[CampaignRow]]:
    """Compute a block from the store at `url`."""
    return compute_block(opened(url), task)


def work_on(url: str) -> Work:
    """The work of a block on that store, ready to travel to another process."""
    return partial(compute_block_of, url)


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """Processes of this machine, started afresh: a server's threads and connections are not carried over."""
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@contextmanager
def dask(address: str) -> Iterator[Executor]:
    """The workers of a Dask cluster; the store must be one that they all reach. OSError when it does not answer."""
    from distributed import Client

    with Client(address, timeout="10s") as client:  # type: ignore[no-untyped-call]
        yield client.get_executor()
