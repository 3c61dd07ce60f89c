"""D7, D8, D10: the line cut at every batch, two uploads at once, a backup taken while records arrive."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from solidarite_client import ClientSettings, ResourceRecord, SolidariteClient
from solidarite_client.models import FluxSource, NatureRessource
from solidarite_server.ports import Batch
from solidarite_server.record_columns import columns_of
from solidarite_server.storage import SqliteStore

from tests.integration.stores.records import HandClock, record, total
from tests.robustness.servers import server

NIR = "2840575999101"
PATIENT = ClientSettings(
    batch_limit_records=10, first_delay_seconds=0.01, delay_limit_seconds=0.1, attempts=30, outage_seconds=20
)


class Line:
    """A TCP relay that cuts its connections after so many bytes one way or the other, once for each entry of a plan."""

    def __init__(self, target: str, plan: list[tuple[str, int]]) -> None:
        host, _, port = target.rpartition(":")
        self.target, self.plan = (host, int(port)), plan
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.target)
            cut = self.plan.pop(0) if self.plan else ("never", 0)
            for way, source, sink in (("up", near, far), ("down", far, near)):
                threading.Thread(target=self._carry, args=(way, source, sink, cut), daemon=True).start()

    def _carry(self, way: str, source: socket.socket, sink: socket.socket, cut: tuple[str, int]) -> None:
        carried = 0
        try:
            while data := source.recv(4_096):
                carried += len(data)
                if way == cut[0] and carried > cut[1]:
                    self.cuts += 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def line(target: str, plan: list[tuple[str, int]]) -> Iterator[Line]:
    relay = Line(target, plan)
    try:
        yield relay
    finally:
        relay.listener.close()


def salary(number: int, cents: int = 1) -> ResourceRecord:
    return ResourceRecord(
        record_id=number.to_bytes(16, "big"), nir=NIR, flux_source=FluxSource.DSN, declarant="81234567800013",
        nature=NatureRessource.SALAIRE, date_versement="2026-07-28", montant_net_social_cents=cents,
    )  # fmt: skip


def held(address: str) -> int:
    with SolidariteClient(address) as client:
        return sum(month.montant_net_social_cents for month in client.list_resource_records(nir=NIR))


def test_an_upload_whose_line_is_cut_again_and_again_counts_every_record_once(tmp_path: Path):
    chance = random.Random(7)
    # Upwards: in the middle of a batch. Downwards: between the commit and its acknowledgement.
    plan = [(chance.choice(["up", "down"]), chance.randrange(300, 3_000)) for _ in range(25)]
    with (
        server(f"sqlite:///{tmp_path / 'a.db'}", tmp_path) as (address, _),
        line(address, plan) as relay,
        SolidariteClient(relay.address, PATIENT) as client,
    ):
        summary = client.ingest([salary(k) for k in range(1, 1_501)], source_id="paie", spool=tmp_path / "spool")
        assert relay.cuts >= 15
        assert (summary.records, summary.refused) == (1_500, 0)
        assert held(address) == 1_500


def test_two_uploads_of_one_source_at_once_end_as_if_one_had_come_after_the_other(tmp_path: Path):
    with server(f"sqlite:///{tmp_path / 'a.db'}", tmp_path) as (address, _):
        summaries = []

        def upload(cents: int) -> None:
            with SolidariteClient(address, PATIENT) as client:
                summaries.append((cents, client.ingest([salary(k, cents) for k in range(1, 301)], source_id="paie")))

        threads = [threading.Thread(target=upload, args=(cents,)) for cents in (1, 1_000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = {cents: summary.accepted for cents, summary in summaries}
        assert won[1] + won[1_000] == 300
        assert sum(summary.refused for _, summary in summaries) == 300
        assert held(address) == won[1] + 1_000 * won[1_000]
        reasons = {refusal.reason for _, summary in summaries for refusal in summary.refusals}
        assert reasons == {"RECORD_CONFLICT"}


def test_a_backup_taken_while_records_arrive_holds_what_was_acknowledged_before_it(tmp_path: Path):
    store = SqliteStore(tmp_path / "a.db", clock=HandClock())
    acknowledged, stop = [0], threading.Event()

    def ingest() -> None:
        while not stop.is_set():
            records = [record(1, name=f"{acknowledged[0]}-{k}") for k in range(10)]
            store.append([Batch("paie", "", 0, columns_of(records))])
            acknowledged[0] += 10

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        for number in range(5):
            while acknowledged[0] < 300 * (number + 1):
                stop.wait(0.01)
            before = acknowledged[0]
            store.backup(tmp_path / f"copy-{number}.db")
            copy = SqliteStore(tmp_path / f"copy-{number}.db", clock=HandClock())
            found = total(copy)
            assert copy.check() == []
            copy.close()
            assert before <= found
            assert found % 10 == 0
    finally:
        stop.set()
        thread.join()
        store.close()


@pytest.mark.parametrize("step", [-3_600_000_000, 365 * 86_400_000_000])
def test_a_clock_that_jumps_changes_nothing_of_what_counts(step: int, tmp_path: Path):
    clock = HandClock()
    store = SqliteStore(tmp_path / "a.db", clock=clock)
    instants = []
    for number in range(40):
        if number == 20:
            clock.us = max(1, clock.us + step)
        store.append([Batch("paie", "", 0, columns_of([record(1, name=str(number))]))])
        instants.append(store.last_instant_us())
    assert total(store) == 40
    assert instants == sorted(set(instants))
    assert total(store, known_at_us=instants[19]) == 20
    store.close()
