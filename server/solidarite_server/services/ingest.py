"""Ingestion: batches from every stream, committed together by one writer thread (group commit), sources in turn."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from solidarite_server.domain.errors import Overloaded
from solidarite_server.ports import Batch, BatchOutcome, RecordStore, Refusal
from solidarite_server.record_columns import RECORD_DTYPE, refusals_of

_RETRY_SECONDS = 0.5


class IngestObserver(Protocol):
    """Who is told of commits; called by the writer thread."""

    def committed(self, batches: Sequence[Batch], outcomes: Sequence[BatchOutcome], seconds: float) -> None:
        """A commit is durable; it took so long."""
        ...

    def acknowledged(self, seconds: float) -> None:
        """A batch is durable, so long after it was received."""
        ...

    def failed(self) -> None:
        """Nothing could be committed."""
        ...

    def waiting(self, batches: int) -> None:
        """So many batches wait."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    kept: list[int]
    """Index in the request of each record of the batch."""
    refusals: tuple[Refusal, ...]
    future: Future[BatchOutcome]
    received: float = field(default_factory=time.perf_counter)


class FairQueue:
    """Batches that wait, a line a source: each source in turn gives one, so that none waits for another's flood."""

    def __init__(self, limit: int, source_limit: int) -> None:
        self._limit, self._source_limit = limit, source_limit
        self._lines: dict[str, deque[_Waiting]] = {}
        self._size = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return self._size

    def put(self, item: _Waiting) -> None:
        """Add at the end of the source's line; Overloaded when it, or the whole, is full."""
        with self._changed:
            line = self._lines.setdefault(item.batch.source_id, deque())
            if self._size >= self._limit or len(line) >= self._source_limit:
                if not line:
                    del self._lines[item.batch.source_id]
                raise Overloaded(
                    "Trop de lots attendent : réessayez dans un instant.", retry_after_seconds=_RETRY_SECONDS
                )
            line.append(item)
            self._size += 1
            self._changed.notify()

    def take(self, records: int) -> list[_Waiting]:
        """Wait for batches, then take them source by source until they hold so many records; empty once closed."""
        with self._changed:
            while not self._size and not self._closed:
                self._changed.wait()
            group: list[_Waiting] = []
            held = 0
            while self._size and held < records:
                source = next(iter(self._lines))
                line = self._lines.pop(source)
                group.append(line.popleft())
                held += len(group[-1].batch.records)
                self._size -= 1
                if line:
                    self._lines[source] = line  # behind the others
            return group

    def close(self) -> None:
        """Let `take` end once nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify()


class IngestService:
    """Validates batches and commits those that wait together; an outcome means durable."""

    def __init__(
        self,
        store: RecordStore,
        *,
        waiting_batches: int = 256,
        source_waiting_batches: int = 64,
        commit_records: int = 20_000,
        observer: IngestObserver | None = None,
    ) -> None:
        self._store = store
        self._queue = FairQueue(waiting_batches, source_waiting_batches)
        self._commit_records = commit_records
        self._observer = observer
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
        self._queue.put(
            _Waiting(replace(batch, records=batch.records[kept]), np.flatnonzero(kept).tolist(), refusals, future)
        )
        return future

    def probe(self) -> Future[BatchOutcome]:
        """Commit an empty batch, of a source that no caller can be: whether the store takes writes again."""
        return self.submit(Batch("", "sonde", 1, np.empty(0, RECORD_DTYPE)))

    def close(self) -> None:
        """Commit what waits, then stop."""
        self._queue.close()
        self._thread.join()

    def _run(self) -> None:
        while group := self._queue.take(self._commit_records):
            if self._observer is not None:
                self._observer.waiting(len(self._queue))
            self._commit(group)

    def _commit(self, group: list[_Waiting]) -> None:
        batches = [waiting.batch for waiting in group]
        started = time.perf_counter()
        try:
            outcomes = self._store.append(batches)
        except Exception as error:
            if self._observer is not None:
                self._observer.failed()
            for waiting in group:
                waiting.future.set_exception(error)
            return
        now = time.perf_counter()
        for waiting, outcome in zip(group, outcomes, strict=True):
            stored = tuple(r if r.is_seal else replace(r, index=waiting.kept[r.index]) for r in outcome.refusals)
            refusals = tuple(sorted(waiting.refusals + stored, key=lambda r: (r.is_seal, r.index)))
            waiting.future.set_result(replace(outcome, refusals=refusals))
            if self._observer is not None:
                self._observer.acknowledged(now - waiting.received)
        if self._observer is not None:
            self._observer.committed(batches, outcomes, now - started)
