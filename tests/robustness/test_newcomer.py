"""A newcomer streams a DSN, the line is cut twice, and starts the command again: every record is there once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.robustness.servers import environment, zygote
from tests.unit.client.test_dsn_volume import write_file


def command(address: str, folder: Path, *files: Path) -> subprocess.Popen[str]:
    """`solidarite ingest`, as somebody would type it."""
    arguments = ["ingest", "--server", address, "--spool", str(folder / "spool"), *map(str, files)]
    return subprocess.Popen(
        [sys.executable, "-m", "solidarite_client", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(folder),
    )  # fmt: skip


def held(path: Path) -> int:
    """Versions of records that the store's file counts; 0 before the first."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=10)) as raw:
        return int(raw.execute("SELECT record_versions FROM head").fetchone()[0])


def wait_until_half_way(path: Path, ingest: subprocess.Popen[str], more_than: int) -> None:
    limit = time.monotonic() + 60
    while held(path) <= more_than:
        assert ingest.poll() is None, "it was over before the cut"
        assert time.monotonic() < limit, "nothing arrives"
        time.sleep(0.005)


@pytest.mark.long
def test_a_dsn_cut_by_the_server_then_by_the_client_ends_with_every_record_once(tmp_path: Path):
    dsn, store = tmp_path / "paie.dsn", tmp_path / "a.db"
    persons = write_file(dsn, 8 << 20)
    assert persons > 10_000
    with zygote(tmp_path) as starts:
        with starts.server(f"sqlite:///{store}") as server:
            ingest = command(server.address, tmp_path, dsn)
            wait_until_half_way(store, ingest, 0)
            server.kill()
            # It goes on trying; a newcomer stops it.
            ingest.send_signal(signal.SIGINT)
            ingest.communicate(timeout=60)
            assert 0 < held(store) < persons
        with starts.server(f"sqlite:///{store}") as server:
            before = held(store)
            ingest = command(server.address, tmp_path, dsn)
            wait_until_half_way(store, ingest, before)
            os.kill(ingest.pid, signal.SIGKILL)
            ingest.communicate(timeout=60)
            assert held(store) < persons
            ingest = command(server.address, tmp_path, dsn)
            said, _ = ingest.communicate(timeout=120)
            assert ingest.returncode == 0, said
            assert held(store) == persons
            again, _ = command(server.address, tmp_path, dsn).communicate(timeout=120)
    assert held(store) == persons
    assert "interrompu" in said
    assert str(persons) in again.replace("\u202f", "").replace(" ", "")
