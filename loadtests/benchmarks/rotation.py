"""Pseudonyms of a million persons renewed while others read and write: `python -m loadtests.benchmarks.rotation`.

Prints JSON: how long it takes, the longest read and the longest write met meanwhile, and what failed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from solidarite_server.domain.errors import Retryable
from solidarite_server.ports import Batch, Store
from solidarite_server.services import keyring
from solidarite_server.services.clock import SystemClock
from solidarite_server.storage import open_store

from loadtests.benchmarks.filled import fill, person, records


def measured(url: str, foyers: int, key_file: Path) -> dict[str, object]:
    """Fill a store, renew its pseudonyms, and tell what readers and writers met."""
    count = fill(url, foyers, keyring.load_or_create(key_file))
    met: dict[str, list[float]] = {"read": [], "write": []}
    failed = {"read": 0, "write": 0}
    stop = threading.Event()

    def run(name: str, act: Callable[[Store, int], object], pause: float) -> None:
        store, number = open_store(url, clock=SystemClock(), keys=keyring.load(key_file)), 0
        while not stop.is_set():
            start = time.perf_counter()
            try:
                act(store, number)
            except Retryable:
                failed[name] += 1
            met[name].append(time.perf_counter() - start)
            number += 1
            # Callers that come at a pace: back to back they would take the processor from what is measured.
            time.sleep(pause)
        store.close()

    def read(store: Store, number: int) -> None:
        at = number * 7_919 % foyers
        found = store.records_of([person(at, 0)])
        assert len(found) == 3, "a person lost its records"

    def write(store: Store, number: int) -> None:
        # Sent again: each must be known again, under whatever version.
        start = number * 2 % (foyers - 2)
        sent = records(range(start, start + 2))
        (outcome,) = store.append([Batch("paie", "again", number + 1, sent)])
        assert outcome.unchanged == len(sent), "a record was not known again"

    threads = [
        threading.Thread(target=run, args=("read", read, 0.005)),
        threading.Thread(target=run, args=("write", write, 0.05)),
    ]
    for thread in threads:
        thread.start()
    # What they meet without a renewal, for long enough that the store merges once or twice.
    time.sleep(5)
    before = {name: max(values) for name, values in met.items()}
    for values in met.values():
        values.clear()
    store = open_store(url, clock=SystemClock(), keys=keyring.load(key_file))
    keys = keyring.load(key_file).renewed()
    keyring.save(key_file, keys)
    start = time.perf_counter()
    renamed = store.renew_pseudonyms(keys.newest)
    seconds = time.perf_counter() - start
    stop.set()
    for thread in threads:
        thread.join()
    problems = store.check()
    store.close()
    return {
        "records": count,
        "renamed": renamed,
        "seconds": round(seconds, 1),
        "longest_read_ms": {"before": round(before["read"] * 1e3, 1), "during": round(max(met["read"]) * 1e3, 1)},
        "longest_write_s": {"before": round(before["write"], 2), "during": round(max(met["write"]), 2)},
        "reads_during": len(met["read"]),
        "failed": failed,
        "problems": problems,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--foyers", type=int, default=670_000, help="one and a half persons each")
    parser.add_argument("--store", default="", help="an empty PostgreSQL; otherwise a SQLite of its own")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.store or f"sqlite:///{folder}/rotation.db"
        print(json.dumps(measured(url, arguments.foyers, Path(folder) / "keys"), indent=2))


if __name__ == "__main__":
    main()
