"""D10: a store of an earlier schema opens with all it held; a migration killed anywhere leaves a store that opens."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.storage import SqliteStore
from solidarite_server.storage import migrate as migrating
from solidarite_server.storage.migrate import migrate, migrations
from solidarite_server.storage.sqlite import _SqliteSession

from tests.integration.stores.records import JULY, HandClock, batch, record, total

STORES = Path(__file__).parent.parent / "data" / "stores"
OLDEST = 2
"""Before migration 4 records lay in blocks of another form: the store kept here was written by the code of then."""


def old_store(folder: Path) -> Path:
    """150 records of 15 persons in ten commits, one more in a sealed document, a dossier, an event, a campaign."""
    path = folder / "old.db"
    path.write_bytes(gzip.decompress((STORES / f"sqlite-{OLDEST:04d}.db.gz").read_bytes()))
    return path


def judge(path: Path) -> None:
    """Everything is there once, and more can be added."""
    with closing(SqliteStore(path, clock=HandClock())) as store:
        assert store.check() == []
        for k in range(15):
            held = store.records_of([bytes([1 + k]) * 16])
            # Ten records of 100 n + k cents.
            assert sum(s.record.montant_net_social_cents for s in held if s.effective) == 100 * 45 + 10 * k
            assert len(held) == 10
        assert total(store) == 7
        assert store.position("paie", "u") == 11
        foyer = store.foyer("1")
        assert foyer is not None
        assert foyer.payload == b"dossier"
        assert [event.kind for event in store.events("1", JULY)] == ["K"]
        assert store.campaign_row("c", "7") is not None
        store.append([batch(record(3, name="new"))])
        assert total(store) == 10


def test_a_store_of_an_earlier_schema_opens_with_all_it_held(tmp_path: Path):
    judge(old_store(tmp_path))


@pytest.mark.parametrize("number", [number for number, *_ in migrations("sqlite") if number > OLDEST])
def test_a_store_of_each_later_schema_opens_with_all_it_held(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The oldest one, brought to that schema by its migrations and no further."""
    path = old_store(tmp_path)
    with monkeypatch.context() as patch, closing(sqlite3.connect(path, isolation_level=None)) as raw:
        patch.setattr(migrating, "migrations", lambda dialect: migrations(dialect)[:number])
        raw.execute("BEGIN")
        migrate(_SqliteSession(raw), "sqlite")
        raw.execute("COMMIT")
        assert raw.execute("SELECT max(number) FROM migration").fetchone() == (number,)
    judge(path)


def test_a_migration_killed_before_any_statement_leaves_a_store_that_opens(tmp_path: Path):
    script = "tests.robustness.killed_while_migrating"
    subprocess.run([sys.executable, "-m", script, str(old_store(tmp_path)), str(tmp_path)], check=True)
    left = [path for path in tmp_path.glob("*.db") if path.stem.isdigit()]
    assert len(left) > 20  # as many as the statements of the migrations
    for path in left:
        judge(path)


def test_an_old_store_that_is_damaged_is_refused_and_left_as_it_was(tmp_path: Path):
    path = old_store(tmp_path)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE run_block SET data = substr(data, 1, 40) || X'FF' || substr(data, 42) WHERE id = 9 << 32")
    with pytest.raises(StoreUnavailable):
        SqliteStore(path, clock=HandClock())
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT max(number) FROM migration").fetchone() == (OLDEST,)


def test_every_migration_of_a_dialect_has_a_number_of_its_own():
    for dialect in ("sqlite", "postgresql"):
        numbers = [number for number, _, _ in migrations(dialect)]
        assert numbers == sorted(set(numbers))
