"""A real server process on loopback, with a store of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from solidarite_client import SolidariteClient
from solidarite_server.cli_demo import running_server


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with running_server(tmp_path) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[SolidariteClient]:
    with SolidariteClient(address) as client:
        yield client
