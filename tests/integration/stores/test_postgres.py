"""What holds of the shared PostgreSQL alone: lost connections, restarts, several servers."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.storage import open_store
from solidarite_server.storage.postgres import PostgresStore

from tests.integration.stores.records import HandClock, batch, record, total


def kill_backends(url: str) -> int:
    """Terminate every other connection to the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        query = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_a_connection_killed_loses_nothing_and_the_next_call_opens_another(postgres_url: str, clock: HandClock):
    store = PostgresStore(postgres_url, clock=clock)
    store.append([batch(record(1, name="a"))])
    assert total(store) == 1
    assert kill_backends(postgres_url) >= 1
    with pytest.raises(StoreUnavailable):
        store.append([batch(record(2, name="b"))])
    store.append([batch(record(2, name="b"))])
    with pytest.raises(StoreUnavailable):
        total(store)
    assert total(store) == 3
    store.close()


def test_connections_killed_at_random_while_sending_lose_no_acknowledged_record(postgres_url: str, clock: HandClock):
    store = PostgresStore(postgres_url, clock=clock)
    acknowledged, stop, chance = set[int](), threading.Event(), random.Random(3)

    def killer() -> None:
        while not stop.wait(chance.uniform(0, 0.2)):  # some long enough for a slow machine's commit
            kill_backends(postgres_url)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        for number in range(150):
            for _ in range(200):
                try:
                    store.append([batch(record(1, name=str(number)))])
                except StoreUnavailable:
                    continue
                acknowledged.add(number)
                break
    finally:
        stop.set()
        thread.join()
    assert len(acknowledged) == 150
    store.close()
    again = PostgresStore(postgres_url, clock=clock)
    assert total(again) == 150
    again.close()


def test_an_address_that_does_not_answer_is_said_without_its_password(tmp_path: Path, clock: HandClock):
    with pytest.raises(StoreUnavailable) as refused:
        open_store(f"postgresql://someone:secret-word@/nowhere?host={tmp_path}", clock=clock)
    assert "secret-word" not in str(refused.value)
    assert "secret-word" not in repr(refused.value)


def test_two_servers_starting_at_once_on_an_empty_database_make_one_schema(postgres_url: str, clock: HandClock):
    stores: list[PostgresStore] = []
    threads = [
        threading.Thread(target=lambda: stores.append(PostgresStore(postgres_url, clock=clock))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 4
    stores[0].append([batch(record(1))])
    assert [total(store) for store in stores] == [1] * 4
    for store in stores:
        store.close()


def test_commits_are_durable_whatever_the_database_says(postgres_url: str, clock: HandClock):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("ALTER ROLE postgres SET synchronous_commit = off")
    try:
        store = PostgresStore(postgres_url, clock=clock)
        assert store._reading().rows("SHOW synchronous_commit") == [("on",)]
        store.close()
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("ALTER ROLE postgres RESET synchronous_commit")


def test_records_are_partitioned_by_person_and_read_through_the_key(postgres_url: str, clock: HandClock):
    store = PostgresStore(postgres_url, clock=clock)
    store.append([batch(record(1))])
    plan = store._reading().rows("EXPLAIN SELECT * FROM record WHERE person = ?", (UUID(bytes=b"p" * 16),))
    text = " ".join(row[0] for row in plan)
    assert text.count("record_") >= 1
    assert len({word for word in text.split() if word.startswith("record_") and word[7:].isdigit()}) == 1
    store.close()
