"""D5: a disk of a few megabytes fills up: reads go on, ingestion says so, and goes on by itself once space returns."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import Batch
from solidarite_server.record_columns import columns_of
from solidarite_server.storage import SqliteStore

from tests.integration.stores.records import HandClock, record, total


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_loses_nothing_and_ingestion_goes_on_once_there_is_room(small_disk: Path):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(5 << 20))
    store = SqliteStore(small_disk / "a.db", clock=HandClock())
    kept = refused = 0
    for number in range(400):
        batch = Batch("paie", "u", number + 1, columns_of([record(1, name=f"{number}-{k}") for k in range(100)]))
        try:
            store.append([batch])
        except StoreUnavailable:
            refused += 1
            assert total(store) == kept  # reads go on, and see nothing of it
            if refused == 3:
                break
        else:
            kept += 100
    assert refused == 3, "the disk did not fill up"
    assert kept > 0
    ballast.unlink()
    room = time.monotonic()
    while True:
        try:
            store.append([batch])
            break
        except StoreUnavailable:
            assert time.monotonic() < room + 5, "ingestion did not go on within 5 seconds"
            time.sleep(0.05)
    assert total(store) == kept + 100
    assert store.check() == []
    store.close()
