"""O11: three sources and a reader behind a network that delays, loses, splits, cuts and falls silent."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from solidarite_client import CallError, ClientSettings, SolidariteClient
from solidarite_client.errors import DeadlineExceeded, Retryable

from tests.robustness.ledger import PERSONS, Ledger, Source, held_by
from tests.robustness.network import network
from tests.robustness.served import running

BATCHES = 60
SECONDS = 90.0


def sent_to_the_end(source: Source, address: str, limit: float) -> None:
    """Connect again after each cut until everything is acknowledged: a source as it should be."""
    while (source.next_batch <= BATCHES or source.waiting) and time.monotonic() < limit:
        source.stream(address, BATCHES - source.next_batch + 1)


def test_over_a_bad_network_every_record_arrives_once_and_every_error_says_what_happened(tmp_path: Path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, ledger = random.Random(seed), Ledger()
    sources = [Source(f"source-{k}", ledger, seed) for k in range(3)]
    answered, met, stop = [0], list[CallError](), threading.Event()

    def read(address: str) -> None:
        impatient = ClientSettings(attempts=1, call_timeout_seconds=2)
        with SolidariteClient(address, impatient) as client:
            while not stop.is_set():
                try:
                    client.list_resource_records(nir=PERSONS[answered[0] % len(PERSONS)])
                    answered[0] += 1
                except CallError as error:
                    met.append(error)

    with running(tmp_path) as served, network(served.address, seed=seed) as between:
        reader = threading.Thread(target=read, args=(between.address,))
        limit = time.monotonic() + SECONDS
        threads = [
            threading.Thread(target=sent_to_the_end, args=(source, between.address, limit)) for source in sources
        ]
        for thread in (reader, *threads):
            thread.start()
        for round_ in range(6):
            time.sleep(chance.uniform(0.2, 0.5))  # anywhere in what is being sent
            if round_ == 3:
                between.silence()
                time.sleep(0.5)  # how long the line is mute
                between.heal()
            else:
                between.cut()
        for thread in threads:
            thread.join()
        stop.set()
        reader.join()
        assert ledger.judge(held_by(served.address)) == [], f"seed {seed}"
        assert len(ledger.acknowledged) == 3 * BATCHES * sources[0].batch_records, f"seed {seed}"
    # The control: the network was as bad as it should be, and the reader met it.
    assert between.cuts >= 4
    assert between.lost > 0
    assert answered[0] > 0
    assert met
    for error in met:
        assert isinstance(error, Retryable | DeadlineExceeded), type(error)
        assert "le service ne répond pas" in str(error) or "temps accordé" in str(error) or "ferme la" in str(error)


def test_a_line_that_falls_silent_costs_a_caller_its_time_limit_and_no_more(tmp_path: Path):
    quick = ClientSettings(attempts=1, call_timeout_seconds=0.5)
    with (
        running(tmp_path) as served,
        network(served.address, loss=0.0) as between,
        SolidariteClient(between.address, quick) as client,
    ):
        client.list_resource_records(nir=PERSONS[0])
        between.silence()
        with pytest.raises(DeadlineExceeded, match="pas de réponse dans le temps accordé"):
            client.list_resource_records(nir=PERSONS[0])
        between.heal()
        client.list_resource_records(nir=PERSONS[0])
