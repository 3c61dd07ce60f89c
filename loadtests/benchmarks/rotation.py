"""Pseudonyms of a million persons renewed while others read and write: `python -m loadtests.benchmarks.rotation`.

`solidarite pseudonyms rotate` runs in a process of its own, as an operator starts it beside a server. Prints JSON: how
long it takes, how long reads and each kind of write last with it and without it, and what failed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from solidarite_server.domain.errors import Retryable
from solidarite_server.ports import AuditLine, Batch, NewEvent, Store
from solidarite_server.services import keyring
from solidarite_server.services.clock import SystemClock
from solidarite_server.services.foyers import FoyerService
from solidarite_server.storage import open_store

from loadtests.benchmarks.filled import MOIS, fill, foyer, numero, person, records
from loadtests.benchmarks.ingest import address_of

_WITHOUT_SECONDS = 20
_LINE = AuditLine("agent:mesure", "AMEND_DECLARATION", "*", "mesure")


class Callers:
    """Who reads and writes, each at a pace of its own: back to back they would take the processor from the rest."""

    def __init__(self, store: Store, foyers: int) -> None:
        self._store = store
        self._foyers = foyers
        self._stop = threading.Event()
        self.seconds: dict[str, list[float]] = {}
        self.failed: dict[str, int] = {}
        self._threads = [
            threading.Thread(target=self._run, args=arguments)
            for arguments in (
                ("read", self._read, 0.005),
                ("ingest", self._ingest, 0.05),
                ("foyer", self._foyer, 0.05),
                ("declaration", self._declaration, 0.05),
            )
        ]
        self._newest: dict[int, int] = {}

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def told(self) -> dict[str, dict[str, float]]:
        """How long each kind of call took since the last time this was asked, in milliseconds."""
        taken, self.seconds = self.seconds, {}
        return {
            name: {
                "calls": len(values),
                "median": round(statistics.median(values) * 1e3, 2),
                "p99": round(statistics.quantiles(values, n=100)[98] * 1e3, 1),
                "longest": round(max(values) * 1e3, 1),
            }
            for name, values in sorted(taken.items())
        }

    def _run(self, name: str, act: Callable[[int], None], pause: float) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            start = time.perf_counter()
            try:
                act(number * 7_919 % (self._foyers - 2))
            except Retryable:
                self.failed[name] = self.failed.get(name, 0) + 1
            self.seconds.setdefault(name, []).append(time.perf_counter() - start)
            time.sleep(pause)

    def _read(self, at: int) -> None:
        if len(self._store.records_of([person(at, 0)])) != 3:
            raise AssertionError("a person lost its records")

    def _ingest(self, at: int) -> None:
        # Sent again: each must be known again, under whatever version.
        sent = records(range(at, at + 2))
        (outcome,) = self._store.append([Batch("paie", "again", 0, sent)])
        if outcome.unchanged != len(sent):
            raise AssertionError("a record was not known again")

    def _foyer(self, at: int) -> None:
        departement = self._newest[at] = 1 + self._newest.get(at, 0) % 95
        FoyerService(self._store).upsert([replace(foyer(at), departement=f"{departement:02d}")])

    def _declaration(self, at: int) -> None:
        held = len(self._store.events(numero(at), MOIS))
        event = NewEvent(numero(at), MOIS, held, "AMENDED", b"{}", f"q{held}", b"h")
        self._store.keep([event], [_LINE])


def measured(url: str, foyers: int, key_file: Path) -> dict[str, object]:
    """Fill a store, renew its pseudonyms, and tell what readers and writers met."""
    count = fill(url, foyers, keyring.load_or_create(key_file))
    store = open_store(url, clock=SystemClock(), keys=keyring.load(key_file))
    with Callers(store, foyers) as callers:
        # What they meet without a renewal, for long enough that the store merges once or twice.
        time.sleep(_WITHOUT_SECONDS)
        without = callers.told()
        verb = ["pseudonyms", "rotate", "--store", url, "--key-file", str(key_file)]
        start = time.perf_counter()
        rotate = subprocess.run([sys.executable, "-m", "solidarite_client", *verb], capture_output=True, text=True)  # noqa: S603
        seconds = time.perf_counter() - start
        during = callers.told()
    problems = store.check()
    version = store.pseudonym_version()
    store.close()
    return {
        "records": count,
        "seconds": round(seconds, 1),
        "rotate": rotate.returncode or f"version {version}",
        "without_ms": without,
        "during_ms": during,
        "ratio": {
            name: {what: round(during[name][what] / without[name][what], 2) for what in ("median", "p99", "longest")}
            for name in during
        },
        "longest_write_ms": max(told["longest"] for name, told in during.items() if name != "read"),
        "failed": callers.failed,
        "problems": problems,
        "said": rotate.stderr.splitlines()[-3:],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--foyers", type=int, default=670_000, help="one and a half persons each")
    parser.add_argument("--store", default="sqlite", help="sqlite, postgresql, or the address of an empty store")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rotation-")))
        url = address_of(arguments.store, folder, stack)
        print(json.dumps(measured(url, arguments.foyers, folder / "keys"), indent=2))


if __name__ == "__main__":
    main()
