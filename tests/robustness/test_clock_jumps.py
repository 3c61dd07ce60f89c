"""I4: the wall clock of a real server jumps while it serves; what counts, and in which order, does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from solidarite_client import SolidariteClient
from solidarite_server.services import keyring
from solidarite_server.services.clock import SystemClock
from solidarite_server.services.keyring import Keyring
from solidarite_server.services.pseudonym import HmacPseudonymizer
from solidarite_server.storage import SqliteStore

from tests.robustness.ledger import PERSONS, Ledger, Source
from tests.robustness.servers import environment

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
BATCHES = 5
_YEAR_US = 365 * 86_400 * 1_000_000
JUMPS = ["-1h", "+400d", "-800d", "+0"]

pytestmark = pytest.mark.skipif(
    LIBRARY is None, reason="libfaketime is not installed (apt-get install faketime): no process's clock can be moved"
)


@contextmanager
def served_with_a_clock(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server whose wall clock is moved by writing to a file; its monotonic clock goes on, as the kernel's does."""
    moved = folder / "ecart"
    moved.write_text("+0\n")
    faked = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(moved),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    command = [
        sys.executable,
        "-m",
        "solidarite_client",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        f"sqlite:///{folder / 'a.db'}",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment(folder), **faked}
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" sur ")[1].split()[0], moved
        finally:
            process.kill()
            process.wait(30)


def test_a_server_whose_clock_jumps_loses_nothing_doubles_nothing_and_keeps_its_order(tmp_path: Path):
    ledger = Ledger()
    source = Source("source", ledger, 1)
    with served_with_a_clock(tmp_path) as (address, moved):
        for jump in JUMPS:
            assert source.stream(address, BATCHES) == BATCHES
            moved.write_text(f"{jump}\n")
            with SolidariteClient(address) as client:
                assert client.list_resource_records(nir=PERSONS[0])
        assert source.stream(address, BATCHES) == BATCHES
    assert len(ledger.acknowledged) == BATCHES * source.batch_records * (len(JUMPS) + 1)
    keys = keyring.load(tmp_path / "key")
    store = SqliteStore(tmp_path / "a.db", clock=SystemClock(), keys=keys)
    assert ledger.judge(held_in(store, keys)) == []
    assert store.check() == []
    assert store.verify_audit() == []
    audited = [line.at_us for line in store.audit_lines()]
    newest = store.last_instant_us()
    store.close()
    assert len(audited) == len(JUMPS)
    assert audited == sorted(audited)
    # The control: the clock was really a year ahead for a while. What was known then stays before what came later.
    assert newest > SystemClock().now_us() + _YEAR_US


def held_in(store: SqliteStore, keys: Keyring) -> list[tuple[str, int, int]]:
    """(person, record, cents) of each effective record."""
    nirs = {HmacPseudonymizer(keys.base).nir(nir): nir for nir in PERSONS}
    return [
        (nirs[held.record.person], int.from_bytes(held.record.record_id, "big"), held.record.montant_net_social_cents)
        for held in store.records_of(list(nirs))
        if held.effective
    ]
