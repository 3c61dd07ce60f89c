"""Health by service: ingestion may be down while the rest serves, and comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from grpc_health.v1 import health, health_pb2

from solidarite_server.domain.errors import SolidariteError
from solidarite_server.ports import Batch, BatchOutcome
from solidarite_server.services.ingest import IngestObserver, IngestService

INGESTION = "solidarite.v1.ResourceRecordService"
_PROBE_SECONDS = 1.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

_log = structlog.get_logger("solidarite.health")


class IngestHealth:
    """Announces the service of records as not serving while its store takes no write. Implements `IngestObserver`."""

    def __init__(self, servicer: health.aio.HealthServicer, metrics: IngestObserver | None) -> None:
        self._servicer, self._metrics = servicer, metrics
        self._loop = asyncio.get_running_loop()
        self._up = True
        self._closing = False

    def committed(self, batches: Sequence[Batch], outcomes: Sequence[BatchOutcome], seconds: float) -> None:
        """The store takes writes."""
        if self._metrics is not None:
            self._metrics.committed(batches, outcomes, seconds)
        if not self._up:
            self._loop.call_soon_threadsafe(self._announce, True)

    def acknowledged(self, seconds: float) -> None:
        """A batch is durable, so long after it was received."""
        if self._metrics is not None:
            self._metrics.acknowledged(seconds)

    def failed(self) -> None:
        """The store takes no write."""
        if self._metrics is not None:
            self._metrics.failed()
        if self._up:
            self._loop.call_soon_threadsafe(self._announce, False)

    def waiting(self, batches: int) -> None:
        """So many batches wait."""
        if self._metrics is not None:
            self._metrics.waiting(batches)

    async def tend(self, ingest: IngestService) -> None:
        """While the store takes no write, try one each second: a source that obeys the health sends nothing itself."""
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            if not self._up:
                try:
                    await asyncio.wrap_future(ingest.probe())
                except SolidariteError:
                    continue

    async def close(self, services: Sequence[str]) -> None:
        """Announce the end of all services."""
        self._closing = True
        for name in ("", *services):
            await self._servicer.set(name, _NOT_SERVING)

    def _announce(self, up: bool) -> None:
        if up == self._up or self._closing:
            return
        self._up = up
        if up:
            _log.info("ingestion_back", service=INGESTION)
        else:
            _log.error("ingestion_down", service=INGESTION)
        self._setting = self._loop.create_task(self._servicer.set(INGESTION, _SERVING if up else _NOT_SERVING))
