"""D9: one byte of the file changed: what is wrong is detected, or has no effect. A wrong answer is never given."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from solidarite_server.domain.errors import SolidariteError
from solidarite_server.ports import Batch
from solidarite_server.record_columns import columns_of
from solidarite_server.storage import SchemaError, SqliteStore

from tests.integration.stores.records import HandClock, record
from tests.robustness.seeds import seeds

PEOPLE = [bytes([k]) * 16 for k in range(1, 30)]


def filled(path: Path) -> dict[bytes, int]:
    """A store with some runs, merged and not; the sum of each person."""
    from dataclasses import replace

    store = SqliteStore(path, clock=HandClock())
    sums = dict.fromkeys(PEOPLE, 0)
    for number in range(20):
        records = []
        for k, person in enumerate(PEOPLE):
            cents = 100 * number + k
            records.append(replace(record(cents, name=f"{number}-{k}"), person=person))
            sums[person] += cents
        store.append([Batch("paie", "", 0, columns_of(records))])
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    return sums


def answers(path: Path) -> dict[bytes, int] | None:
    """The sum of each person, or None when the store says that it is damaged."""
    try:
        store = SqliteStore(path, clock=HandClock())
        try:
            return {
                person: sum(s.record.montant_net_social_cents for s in store.records_of([person]) if s.effective)
                for person in PEOPLE
            }
        finally:
            store.close()
    except (SolidariteError, SchemaError):
        return None


def flips(folder: Path, times: int, seed: int) -> tuple[int, int]:
    """Changes seen, and changes without effect; a wrong answer fails."""
    expected = filled(folder / "a.db")
    assert answers(folder / "a.db") == expected
    content = (folder / "a.db").read_bytes()
    chance = random.Random(seed)
    seen = harmless = 0
    for _ in range(times):
        place, bit = chance.randrange(len(content)), 1 << chance.randrange(8)
        shutil.copy(folder / "a.db", folder / "b.db")
        with (folder / "b.db").open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ bit]))
        found = answers(folder / "b.db")
        for leftover in ("b.db-wal", "b.db-shm"):
            (folder / leftover).unlink(missing_ok=True)
        if found is None:
            seen += 1
        else:
            assert found == expected, f"seed {seed}: a wrong answer after a change at byte {place}"
            harmless += 1
    return seen, harmless


def test_a_byte_changed_anywhere_never_gives_a_wrong_amount(tmp_path: Path):
    seen, _ = flips(tmp_path, 200, random.randrange(10**6))
    assert seen > 20  # the control: damage is there, and is seen


def test_a_store_without_its_head_is_refused_when_it_is_opened(tmp_path: Path):
    filled(tmp_path / "a.db")
    with sqlite3.connect(tmp_path / "a.db") as raw:
        raw.execute("DELETE FROM head")
    raw.close()
    assert answers(tmp_path / "a.db") is None


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(10))
def test_a_thousand_bytes_changed_never_give_a_wrong_amount(seed: int, tmp_path: Path):
    """A hundred for each seed."""
    flips(tmp_path, 100, seed)
