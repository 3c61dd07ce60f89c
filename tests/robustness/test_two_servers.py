"""Two servers started by hand on one SQLite file: as safe as the processes of `--workers`, which share a file too."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

from solidarite_server.storage import SqliteStore
from solidarite_server.storage.runs import FAN_IN

from tests.integration.stores.records import HandClock
from tests.robustness.ledger import Ledger, Source, held_by
from tests.robustness.servers import server


def test_two_servers_on_one_file_lose_and_double_nothing_and_one_goes_on_when_the_other_is_killed(tmp_path: Path):
    seed = random.randrange(10**6)
    ledger, url = Ledger(), f"sqlite:///{tmp_path / 'a.db'}"
    sources = [Source(f"source-{k}", ledger, seed) for k in range(4)]
    with server(url, tmp_path) as (first, process), server(url, tmp_path) as (second, _):

        def stream(source: Source, address: str) -> None:
            source.stream(address, 60)  # the line is cut when its server is killed
            while source.waiting or source.next_batch <= 120:
                source.stream(second, max(0, 121 - source.next_batch))

        threads = [
            threading.Thread(target=stream, args=(source, (first, second)[k % 2])) for k, source in enumerate(sources)
        ]
        for thread in threads:
            thread.start()
        while len(ledger.acknowledged) < 1_000:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)  # in the midst of commits, and of merges if it has begun them
        for thread in threads:
            thread.join()
        wrong = ledger.judge(held_by(second))
    assert not wrong, f"seed {seed}: {wrong[:5]}"
    assert len(ledger.acknowledged) == 4 * 120 * 20
    store = SqliteStore(tmp_path / "a.db", clock=HandClock())
    try:
        assert store.commit_sequence() > FAN_IN  # enough commits for merges, by the one or the other
        store.tidy()
        assert store.check() == []
    finally:
        store.close()
