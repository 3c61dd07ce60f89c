"""Ingestion: batches from every stream, committed together by one writer thread (group commit)."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

from solidarite_server.domain.errors import Overloaded
from solidarite_server.ports import Batch, BatchOutcome, RecordStore, Refusal
from solidarite_server.record_columns import refusals_of

_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    kept: list[int]
    """Index in the request of each record of the batch."""
    refusals: tuple[Refusal, ...]
    future: Future[BatchOutcome]


class IngestService:
    """Validates batches and commits those that wait together; an outcome means durable."""

    def __init__(self, store: RecordStore, *, waiting_batches: int = 256, commit_records: int = 20_000) -> None:
        self._store = store
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(waiting_batches)
        self._commit_records = commit_records
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> Future[BatchOutcome]:
        """Queue a batch; its outcome comes once durable. Raises Overloaded when too much is waiting.

        The outcome's indexes are those of the batch given; the future carries StoreUnavailable when nothing was kept.
        """
        found = refusals_of(batch.records)
        refusals = tuple(Refusal(index, False, field, reason, message) for index, field, reason, message in found)
        kept = np.ones(len(batch.records), dtype=bool)
        kept[[refusal.index for refusal in refusals]] = False
        future: Future[BatchOutcome] = Future()
        # A caller whose line is cut gives up its wait, never the commit: a future that could be cancelled would stop
        # the writer when it comes to set its result.
        future.set_running_or_notify_cancel()
        waiting = _Waiting(replace(batch, records=batch.records[kept]), np.flatnonzero(kept).tolist(), refusals, future)
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise Overloaded(
                "Trop de lots attendent : réessayez dans un instant.", retry_after_seconds=_RETRY_SECONDS
            ) from None
        return waiting.future

    def close(self) -> None:
        """Commit what waits, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            group, size = [], 0
            item = self._queue.get()
            while item is not None:
                group.append(item)
                size += len(item.batch.records)
                if size >= self._commit_records or self._queue.empty():
                    break
                item = self._queue.get()
            stopping = item is None
            if group:
                self._commit(group)

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            outcomes = self._store.append([waiting.batch for waiting in group])
        except Exception as error:
            for waiting in group:
                waiting.future.set_exception(error)
            return
        for waiting, outcome in zip(group, outcomes, strict=True):
            stored = tuple(r if r.is_seal else replace(r, index=waiting.kept[r.index]) for r in outcome.refusals)
            refusals = tuple(sorted(waiting.refusals + stored, key=lambda r: (r.is_seal, r.index)))
            waiting.future.set_result(replace(outcome, refusals=refusals))
