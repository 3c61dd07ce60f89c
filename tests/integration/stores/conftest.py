"""Every store of the project, real: a SQLite file, and a PostgreSQL started once a run, a database for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from solidarite_server.ports import Store
from solidarite_server.storage import open_store

from tests.integration.stores.records import KEYS, HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def opened(url: str, clock: HandClock) -> Iterator[Callable[[], Store]]:
    """Opens the test's store, each time anew, as another server would."""
    stores: list[Store] = []

    def open_it() -> Store:
        stores.append(open_store(url, clock=clock, keys=KEYS))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()
