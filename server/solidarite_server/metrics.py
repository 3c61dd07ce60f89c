"""Prometheus metrics: calls, ingestion, store, sources. Never a person, a dossier or an amount in a label.

One process serves its own; several write theirs in files of a common folder, and their supervisor serves the sum.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from solidarite_server.ports import Batch, BatchOutcome
from solidarite_server.services.rights import RIGHTS

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client reads it when it is imported: a supervisor sets it for the processes it starts."""
OTHER_SOURCES = "autres"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RECORDS = (1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Metrics:
    """Everything that is counted in a process. Implements `CallMetrics` and `IngestObserver`."""

    def __init__(self, sources: int) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._limit = sources
        self._sources: set[str] = set()
        self._newest: dict[str, float] = {}
        self._durations: dict[str, Any] = {}
        self._ends: dict[tuple[str, str], Any] = {}

        def gauge(name: str, text: str, labels: Sequence[str] = (), mode: Any = "livesum") -> Gauge:
            return Gauge(f"solidarite_{name}", text, labels, registry=registry, multiprocess_mode=mode)

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"solidarite_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
            return Histogram(f"solidarite_{name}", text, labels, registry=registry, buckets=buckets)

        self._calls = counter("calls", "Appels terminés, par méthode et statut gRPC.", ("method", "code"))
        self._seconds = histogram("call_seconds", "Durée des appels, attente comprise.", _SECONDS, ("method",))
        self._in_progress = gauge("calls_in_progress", "Appels et flux en cours.")
        self._waiting = gauge("ingest_waiting_batches", "Lots qui attendent d'être écrits.")
        self._commit_seconds = histogram("ingest_commit_seconds", "Durée des écritures.", _SECONDS)
        self._commit_records = histogram("ingest_commit_records", "Enregistrements par écriture.", _RECORDS)
        self._ack_seconds = histogram("ingest_ack_seconds", "De la réception d'un lot à son accusé.", _SECONDS)
        self._records = counter("ingest_records", "Enregistrements reçus, par sort.", ("outcome",))
        self._failures = counter("ingest_commit_failures", "Écritures impossibles.")
        self._available = gauge("ingest_available", "1 quand le magasin accepte les écritures.", mode="livemin")
        self._memory = gauge("memory_bytes", "Mémoire résidente des processus.")
        # Of the living: a process that ended knows no more what the store holds.
        self._bytes = gauge("store_bytes", "Taille du magasin.", mode="livemax")
        self._runs = gauge("store_runs", "Séries triées du magasin SQLite.", mode="livemax")
        self._commits = gauge("store_commit_sequence", "Numéro de la dernière écriture visible.", mode="max")
        self._renewed = gauge(
            "pseudonyms_renewed_ratio",
            "Part renommée par le renouvellement des pseudonymes ; 1 sans lui.",
            mode="livemin",
        )
        self._renewed.set(1)
        self._last_batch = gauge(
            "source_last_batch_timestamp_seconds", "Dernier lot accusé d'une source.", ("source",), "max"
        )
        self._newest_payment = gauge(
            "source_newest_payment_timestamp_seconds", "Date de versement la plus récente reçue d'une source.",
            ("source",), "max",
        )  # fmt: skip
        gauge("build_info", "Version servie.", ("version",), "livemax").labels(version("solidarite-source")).set(1)
        self.available(True)
        # Prometheus sees no increase in a counter that comes up at 1: the first error must find it at 0.
        for method in RIGHTS:
            self._calls.labels(f"/{method}", "INTERNAL")

    # Calls

    def begun(self, method: str) -> None:
        """A call starts."""
        self._in_progress.inc()

    def ended(self, method: str, code: str, seconds: float) -> None:
        """A call has its status."""
        # The children are looked up once: `labels` costs as much as the counting. Methods are those of the contract,
        # since an unknown one has no handler.
        duration = self._durations.get(method)
        if duration is None:
            duration = self._durations[method] = self._seconds.labels(method)
        duration.observe(seconds)
        end = self._ends.get((method, code))
        if end is None:
            end = self._ends[method, code] = self._calls.labels(method, code)
        end.inc()
        self._in_progress.dec()  # last: with none in progress, all are counted

    # Ingestion

    def committed(self, batches: Sequence[Batch], outcomes: Sequence[BatchOutcome], seconds: float) -> None:
        """A commit is durable; it took so long."""
        self._commit_seconds.observe(seconds)
        self._commit_records.observe(sum(len(batch.records) for batch in batches))
        for outcome in outcomes:
            for name in ("accepted", "replaced", "unchanged"):
                self._records.labels(name).inc(getattr(outcome, name))
            self._records.labels("refused").inc(sum(not refusal.is_seal for refusal in outcome.refusals))
        for batch in batches:
            self._source(batch)
        self.available(True)

    def acknowledged(self, seconds: float) -> None:
        """A batch is durable, so long after it was received."""
        self._ack_seconds.observe(seconds)

    def failed(self) -> None:
        """Nothing could be committed."""
        self._failures.inc()
        self.available(False)

    def waiting(self, batches: int) -> None:
        """So many batches wait."""
        self._waiting.set(batches)

    def _source(self, batch: Batch) -> None:
        if not batch.source_id:
            return  # the server's own probe
        name = batch.source_id
        if name not in self._sources and len(self._sources) >= self._limit:
            name = OTHER_SOURCES
        self._sources.add(name)
        self._last_batch.labels(name).set_to_current_time()
        if not len(batch.records):
            return
        # A date of payment beyond tomorrow is a mistake of the source, not fresh news.
        latest = (datetime.now(UTC) + timedelta(days=1)).timestamp()
        newest = (_EPOCH + timedelta(days=int(batch.records["date_versement"].max()))).timestamp()
        if self._newest.get(name, 0.0) < newest <= latest:
            self._newest[name] = newest
            self._newest_payment.labels(name).set(newest)

    # Store

    def available(self, yes: bool) -> None:
        """Whether the store takes writes."""
        self._available.set(int(yes))

    def store(self, size_bytes: int, runs: int, commit_sequence: int, renewed: float) -> None:
        """How much the store holds, and how far a renewal of its pseudonyms is; measured now, the process's memory."""
        self._memory.set(_resident_bytes())
        self._bytes.set(size_bytes)
        self._runs.set(runs)
        self._commits.set(commit_sequence)
        self._renewed.set(renewed)


def _resident_bytes() -> float:
    """What Prometheus' own collector says of this process; it is not asked where several are summed."""
    families = {family.name: family for family in ProcessCollector(registry=None).collect()}
    found = families.get("process_resident_memory_bytes")
    return found.samples[0].value if found else 0.0  # where there is no /proc


def forget_process(pid: int) -> None:
    """What only a living process says is no longer said of one that ended."""
    mark: Any = mark_process_dead
    mark(pid, os.environ[FOLDER_VARIABLE])


def serve_metrics(address: str, registry: CollectorRegistry) -> tuple[int, Any]:
    """Answer Prometheus at `host:port`; the port, and what `shutdown()` stops. OSError or ValueError when it cannot."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host != "localhost":
        ipaddress.ip_address(host)
    server, _ = start_http_server(int(port), host, registry)
    return int(server.server_port), server


def serve_sum_of_processes(address: str, folder: str) -> tuple[int, Any]:
    """The same for all the processes that write their metrics in `folder`."""
    os.environ[FOLDER_VARIABLE] = folder
    registry = CollectorRegistry()
    collector: Any = MultiProcessCollector
    collector(registry, folder)
    return serve_metrics(address, registry)
