"""O1, O8, O10 and the share of each source: too much comes, the store fails, the service ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from solidarite.v1 import common_pb2, declaration_pb2, entitlement_pb2, foyer_pb2, resource_record_pb2
from solidarite_server.domain.errors import Overloaded
from solidarite_server.ports import Batch, BatchOutcome
from solidarite_server.record_columns import RECORD_DTYPE
from solidarite_server.rpc.admission import Line
from solidarite_server.services.clock import SystemClock
from solidarite_server.services.ingest import IngestService
from solidarite_server.storage import open_store

from tests.robustness.ledger import Ledger, Source, held_by
from tests.robustness.served import running
from tests.robustness.test_limits import COMPUTE, PREFILL, RECORDS, compute, details, reason, unary, waits

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
INGESTION = "solidarite.v1.ResourceRecordService"


# Queues of ingestion


class Writer:
    """Looks on while the writer of an ingestion works."""

    def __init__(self) -> None:
        self.took = threading.Event()
        """Set once it has taken batches: those that come later wait behind."""

    def waiting(self, batches: int) -> None:
        self.took.set()

    def committed(self, batches: Sequence[Batch], outcomes: Sequence[BatchOutcome], seconds: float) -> None: ...

    def acknowledged(self, seconds: float) -> None: ...

    def failed(self) -> None: ...


@contextlib.contextmanager
def held_back(folder: Path, **limits: int) -> Iterator[tuple[IngestService, Writer, Callable[[], None]]]:
    """An ingestion whose store waits, until the last value is called: another writer holds the file."""
    store = open_store(f"sqlite:///{folder / 'a.db'}", clock=SystemClock())
    other = sqlite3.connect(folder / "a.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    writer = Writer()
    ingest = IngestService(store, observer=writer, **limits)

    def release() -> None:
        if other.in_transaction:
            other.execute("COMMIT")

    try:
        yield ingest, writer, release
    finally:
        release()
        ingest.close()
        store.close()
        other.close()


def batch(source: str, sequence: int, records: int = 10) -> Batch:
    columns = np.zeros(records, RECORD_DTYPE)
    columns["record_id"] = [f"{source}/{sequence}/{n}".encode().ljust(16, b"\1") for n in range(records)]
    columns["person"] = b"p".ljust(16, b"\1")
    columns["version"] = columns["nature"] = columns["flux"] = columns["mode"] = 1
    columns["declarant"] = b"81234567800013"
    columns["mois"], columns["date_versement"], columns["montant"] = 2026 * 12 + 6, 20_660, 100_000
    return Batch(source, "u", sequence, columns)


def sent(ingest: IngestService, source: str, batches: int, first: int = 1) -> list[Future[BatchOutcome]]:
    return [ingest.submit(batch(source, sequence)) for sequence in range(first, first + batches)]


# effect: waiting_batches, source_waiting_batches
def test_each_source_and_all_of_them_may_leave_so_many_batches_waiting(tmp_path: Path):
    with held_back(tmp_path, waiting_batches=6, source_waiting_batches=4) as (ingest, writer, release):
        first = sent(ingest, "a", 1)
        assert writer.took.wait(20)
        waiting = sent(ingest, "a", 4, first=2)
        with pytest.raises(Overloaded) as own:
            sent(ingest, "a", 1, first=6)
        assert own.value.retry_after_seconds > 0
        waiting += sent(ingest, "b", 2)
        with pytest.raises(Overloaded):
            sent(ingest, "c", 1)
        release()
        assert {future.result(20).accepted for future in first + waiting} == {10}
        assert sent(ingest, "c", 1)[0].result(20).accepted == 10


def test_a_source_that_floods_makes_another_wait_one_turn_and_no_more(tmp_path: Path):
    with held_back(tmp_path, commit_records=20) as (ingest, writer, release):
        flood = sent(ingest, "a", 60)
        assert writer.took.wait(20)
        other = sent(ingest, "b", 3)
        release()
        order = sorted(
            [(f.result(20).commit_sequence, "a") for f in flood] + [(f.result(20).commit_sequence, "b") for f in other]
        )
    rank = {sequence: place for place, sequence in enumerate(sorted({sequence for sequence, _ in order}))}
    # Two batches a commit: while b has some, each commit after the first, begun before b came, holds one of each.
    assert [rank[sequence] for sequence, source in order if source == "b"] == [1, 2, 3]
    in_turn = Counter(rank[sequence] for sequence, source in order if source == "a")
    assert [in_turn[place] for place in (1, 2, 3, 4)] == [1, 1, 1, 2]


# Turns of unary calls


def test_callers_have_their_turns_one_after_the_other_and_each_in_the_order_of_its_calls():
    async def story() -> list[str]:
        line, names = Line(), {}
        for caller in "aaaab":
            names[line.join(caller)] = caller
        assert (line.ahead("a"), line.ahead("b"), line.ahead("c")) == (10, 4, 2)
        order = [names[line.take()], names[line.take()]]
        names[line.join("c")] = "c"
        order += [names[line.take()] for _ in range(len(line))]
        return order

    assert "".join(asyncio.run(story())) == "abacaa"


def compute_many(address: str, calls: int) -> Counter[str]:
    """What becomes of so many computations sent at once on one connection."""
    outcomes: Counter[str] = Counter()
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        method = channel.unary_unary(COMPUTE)
        for call in [method.future(slow_request(), timeout=60) for _ in range(calls)]:
            error = call.exception()
            outcomes["ok" if error is None else reason(error)] += 1
            if error is not None:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert details(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() >= 500
    return outcomes


# effect: waiting_seconds
def test_who_would_wait_longer_than_the_setting_is_told_when_to_come_back(tmp_path: Path):
    for name, seconds in (("court", 0.01), ("long", 10)):
        folder = tmp_path / name
        folder.mkdir()
        with running(folder, waiting_seconds=seconds, waiting_calls=500, streams_per_connection=500) as served:
            compute_many(served.address, 5)
            outcomes = compute_many(served.address, 150)
        assert outcomes["ok"] >= 1
        assert (outcomes["OVERLOADED"] > 0) == (name == "court")
        assert outcomes.total() == outcomes["ok"] + outcomes["OVERLOADED"] == 150


def test_a_caller_that_floods_is_refused_and_another_is_not(tmp_path: Path):
    stop = threading.Event()
    flood: Counter[str] = Counter()
    body = slow_request()
    with running(tmp_path, waiting_seconds=0.5, waiting_calls=500, streams_per_connection=500) as served:

        def flooder() -> None:
            while not stop.is_set():
                flood.update(compute_many(served.address, 300))

        thread = threading.Thread(target=flooder)
        thread.start()
        until(lambda: flood["OVERLOADED"] > 0)
        with grpc.insecure_channel(served.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            polite = [channel.unary_unary(COMPUTE).future(body, timeout=20).exception() for _ in range(30)]
        stop.set()
        thread.join(60)
    assert polite == [None] * 30
    assert flood["ok"] > 0


# The store fails, then not


def status(channel: grpc.Channel, service: str) -> int:
    return int(
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status
    )


def until(condition: Any, seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_ingestion_is_said_down_while_the_store_takes_nothing_the_rest_serves_and_it_comes_back_by_itself(
    tmp_path: Path,
):
    ledger = Ledger()
    with running(tmp_path) as served, grpc.insecure_channel(served.address) as channel:
        Source("a", ledger, 1).stream(served.address, 2)
        assert status(channel, INGESTION) == SERVING
        # Every write is refused by the file itself, as on a full disk; reads go on.
        with sqlite3.connect(tmp_path / "a.db") as saboteur:
            saboteur.execute("CREATE TRIGGER plein BEFORE UPDATE ON head BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        saboteur.close()
        Source("b", ledger, 2).stream(served.address, 2)
        until(lambda: status(channel, INGESTION) == NOT_SERVING)
        assert status(channel, "") == SERVING
        assert status(channel, "solidarite.v1.DeclarationService") == SERVING
        assert reason(channel.unary_unary(COMPUTE).future(compute(), timeout=10).exception()) == "INVALID_FIELD"
        with sqlite3.connect(tmp_path / "a.db") as repairer:
            repairer.execute("DROP TRIGGER plein")
        repairer.close()
        until(lambda: status(channel, INGESTION) == SERVING)
        assert not ledger.judge(held_by(served.address))
    assert "ingestion_down" in served.errors.read_text("utf-8")
    assert "ingestion_back" in served.errors.read_text("utf-8")


def test_a_slow_store_makes_acknowledgements_late_and_nothing_else(tmp_path: Path):
    ledger = Ledger()
    read = declaration_pb2.PrefillDeclarationRequest(
        numero_allocataire="1", mois_declaration=common_pb2.Month(year=2026, month=11)
    ).SerializeToString()
    with running(tmp_path) as served, grpc.insecure_channel(served.address) as channel:
        Source("a", ledger, 1).stream(served.address, 2)
        with sqlite3.connect(tmp_path / "a.db") as saboteur:
            saboteur.execute(
                "CREATE VIEW lenteur AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n "
                "WHERE x < 400000) SELECT sum(x) AS x FROM n"
            )
            saboteur.execute("CREATE TRIGGER lent BEFORE UPDATE ON head BEGIN SELECT x FROM lenteur; END")
        saboteur.close()
        before = served.memory_mib()
        sources = [Source(f"s{place}", ledger, 10 + place) for place in range(2)]
        threads = [threading.Thread(target=source.stream, args=(served.address, 12)) for source in sources]
        for thread in threads:
            thread.start()
        reads = 0
        while any(thread.is_alive() for thread in threads):
            assert reason(channel.unary_unary(PREFILL).future(read, timeout=10).exception()) == "FOYER_UNKNOWN"
            assert reason(channel.unary_unary(COMPUTE).future(compute(), timeout=10).exception()) == "INVALID_FIELD"
            assert status(channel, INGESTION) == SERVING
            reads += 1
        acknowledged = len(ledger.acknowledged)
        assert acknowledged >= sum(12 * source.batch_records for source in sources)
        assert reads > 3  # between two commits, and while they last
        assert served.memory_mib() - before < 64
        with sqlite3.connect(tmp_path / "a.db") as repairer:
            repairer.execute("DROP TRIGGER lent")
        repairer.close()
        assert not ledger.judge(held_by(served.address))


# Time passes


def unknown_dossier() -> bytes:
    """A prefill of a dossier that is not there."""
    month = common_pb2.Month(year=2026, month=11)
    return declaration_pb2.PrefillDeclarationRequest(numero_allocataire="1", mois_declaration=month).SerializeToString()


async def half_loaded(address: str, seconds: float, a_second: int) -> Counter[str]:
    """Computations and reads from a schedule, on four connections."""
    outcomes: Counter[str] = Counter()
    channels = [grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]
    bodies = {COMPUTE: slow_request(), PREFILL: unknown_dossier()}

    async def call(place: int) -> None:
        path = COMPUTE if place % 2 else PREFILL
        try:
            await channels[place % 4].unary_unary(path)(bodies[path], timeout=20)
            outcomes["OK"] += 1
        except grpc.aio.AioRpcError as error:
            outcomes[error.code().name] += 1

    loop = asyncio.get_running_loop()
    start, begun, calls = loop.time(), 0, set[asyncio.Task[None]]()
    while (passed := loop.time() - start) < seconds:
        for place in range(begun, int(passed * a_second)):
            calls.add(task := asyncio.create_task(call(place)))
            task.add_done_callback(calls.discard)
        begun = int(passed * a_second)
        await asyncio.sleep(0.01)  # the pace of a schedule
    await asyncio.gather(*calls)
    for channel in channels:
        await channel.close()
    return outcomes


async def refused_reads(address: str, count: int) -> None:
    """So many reads of dossiers that are not there, back to back: each leaves its audit line."""
    left, request = iter(range(count)), unknown_dossier()
    async with grpc.aio.insecure_channel(address) as channel:

        async def read_on() -> None:
            for _ in left:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await channel.unary_unary(PREFILL)(request, timeout=20)

        await asyncio.gather(*(read_on() for _ in range(4)))


def stays_flat(folder: Path, warm: float, seconds: float, most_mib: float, *, reads: int = 0) -> None:
    """Half load for so long: the memory, the threads and the files of the server after it are those of before.

    `reads` come first, for the store's cache of 8 MiB to be full: the pages of their audit lines stay in it.
    """
    with running(folder) as served:
        listening = len(served.seen.net_connections())
        asyncio.run(refused_reads(served.address, reads))
        asyncio.run(half_loaded(served.address, warm, 100))
        until(lambda: len(served.seen.net_connections()) == listening)
        memory, threads, files = served.memory_mib(), served.seen.num_threads(), served.seen.num_fds()
        outcomes = asyncio.run(half_loaded(served.address, seconds, 100))
        until(lambda: served.seen.num_fds() <= files)
        print(outcomes, f"{served.memory_mib() - memory:.1f} MiB", served.seen.num_threads() - threads, "threads")
        assert outcomes["OK"] + outcomes["NOT_FOUND"] > 0.9 * outcomes.total()
        assert served.memory_mib() - memory < most_mib
        assert served.seen.num_threads() <= threads + 2  # gRPC's own, which come and go


def test_seconds_at_half_load_leave_memory_threads_and_files_as_they_were(tmp_path: Path):
    stays_flat(tmp_path, 4, 6, 8)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_long_half_an_hour_at_half_load_leaves_memory_threads_and_files_as_they_were(tmp_path: Path):
    stays_flat(tmp_path, 180, 1_800, 4, reads=120_000)


# The end of service


def slow_request() -> bytes:
    """A foyer computed with its explanation: some milliseconds in the server."""
    request = entitlement_pb2.ComputeEntitlementsRequest(
        foyer=foyer_pb2.Foyer(numero_allocataire="1", zone=foyer_pb2.ZONE_METROPOLE, regime=foyer_pb2.REGIME_CAF),
        mois_declaration=common_pb2.Month(year=2026, month=11), explain=True,
    )  # fmt: skip
    request.foyer.membres.add(
        personne="a", role=foyer_pb2.ROLE_ALLOCATAIRE, nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
        date_naissance=common_pb2.Date(year=1990, month=3, day=1),
    )  # fmt: skip
    return request.SerializeToString()


# effect: drain_seconds, share_port
def test_a_server_told_to_end_under_load_fails_no_call_while_another_takes_over(tmp_path: Path):
    """Two servers on one port, as in a rolling update: the first is told to end while both are called."""
    outcomes: Counter[str] = Counter()
    stop = threading.Event()
    body = slow_request()
    # None is refused for the time it would wait, however slow the machine.
    shared = {"share_port": "true", "waiting_seconds": 10}
    with running(tmp_path, **shared) as first:
        port = first.address.rpartition(":")[2]
        with running(tmp_path, **shared, listen=f"127.0.0.1:{port}") as second:

            def caller() -> None:
                with grpc.insecure_channel(first.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                    while not stop.is_set():
                        error = channel.unary_unary(COMPUTE).future(body, timeout=10).exception()
                        outcomes["ok" if error is None else error.code().name] += 1

            threads = [threading.Thread(target=caller, daemon=True) for _ in range(8)]
            for thread in threads:
                thread.start()
            until(lambda: outcomes["ok"] > 40)
            first.process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            assert first.process.wait(20) == 0
            assert time.monotonic() - started < 12  # drain_seconds is 10
            before = outcomes["ok"]
            until(lambda: outcomes["ok"] > before + 40)
            stop.set()
            for thread in threads:
                thread.join(20)
            assert second.process.poll() is None
    assert set(outcomes) == {"ok"}, outcomes


def test_streams_are_told_to_resume_once_what_they_sent_is_acknowledged(tmp_path: Path):
    ledger = Ledger()
    source = Source("a", ledger, 3)
    go_on = threading.Event()
    with running(tmp_path) as served:

        def batches() -> Iterator[bytes]:
            for sequence in range(1, 9):
                yield source.batch(sequence).SerializeToString()
            go_on.wait(20)  # the stream stays open: the source has more to come

        with grpc.insecure_channel(served.address) as channel:
            call = channel.stream_stream(RECORDS)(batches(), timeout=30)
            acknowledged = [resource_record_pb2.StreamResourceRecordsResponse.FromString(next(call))]
            served.process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            with pytest.raises(grpc.RpcError) as error:
                acknowledged += [resource_record_pb2.StreamResourceRecordsResponse.FromString(body) for body in call]
            go_on.set()
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason(error.value) == "STREAM_ENDED"
            assert details(error.value, error_details_pb2.RetryInfo) is not None
        assert served.process.wait(20) == 0
        assert time.monotonic() - started < 8  # well before drain_seconds: nothing was left to wait for


def test_a_process_stopped_for_two_seconds_goes_on_as_if_nothing_had_happened(tmp_path: Path):
    ledger = Ledger()
    source = Source("a", ledger, 5)
    with running(tmp_path) as served:
        thread = threading.Thread(target=source.stream, args=(served.address, 200))
        thread.start()
        until(lambda: len(ledger.acknowledged) > 100)
        served.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        served.process.send_signal(signal.SIGCONT)
        thread.join(60)
        assert len(ledger.acknowledged) == 200 * source.batch_records
        assert not ledger.judge(held_by(served.address))


def test_tokens_of_commits_that_never_come_leave_room_for_the_calls_of_others(tmp_path: Path):
    """Who writes them himself would otherwise hold every place of a process, with three connections."""
    with running(tmp_path, freshness_wait_seconds=60) as served, contextlib.ExitStack() as held:
        apart = [("grpc.use_local_subchannel_pool", 1)]
        forgers = [held.enter_context(grpc.insecure_channel(served.address, apart)) for _ in range(3)]
        waiting = [waits(channel) for channel in forgers for _ in range(30)]
        limit = time.monotonic() + 30
        while sum(call.done() for call in waiting) < len(waiting) - 16:
            assert time.monotonic() < limit
            time.sleep(0.05)
        told_to_come_back = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {call.code() for call in waiting if call.done()} <= told_to_come_back
        other = held.enter_context(grpc.insecure_channel(served.address, apart))
        # A slow machine may ask this one to come back; places that are all taken would, for a minute.
        while reason(unary(other, COMPUTE, compute()).exception()) != "INVALID_FIELD":
            assert time.monotonic() < limit
            time.sleep(0.05)
        for call in waiting:
            call.cancel()
