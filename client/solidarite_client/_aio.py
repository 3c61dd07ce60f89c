"""The client for asyncio: the methods of the ordinary one, awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from solidarite.v1 import (
    campaign_pb2,
    campaign_pb2_grpc,
    declaration_pb2,
    declaration_pb2_grpc,
    entitlement_pb2,
    entitlement_pb2_grpc,
    foyer_pb2,
    foyer_pb2_grpc,
    resource_record_pb2,
    resource_record_pb2_grpc,
    simulation_pb2,
    simulation_pb2_grpc,
)

from solidarite_client import _requests
from solidarite_client._journal import IngestSummary, Journal
from solidarite_client._packing import Batcher, Item
from solidarite_client._requests import Amendment, MonthLike
from solidarite_client._retry import Backoff
from solidarite_client._settings import ClientSettings
from solidarite_client._sync import SolidariteClient, Upload
from solidarite_client._upload import Progress, dropped_when_refused, journal_of_file, journal_of_items, open_idle
from solidarite_client.errors import ClientClosed, ForkedClient, decode
from solidarite_client.spool import default_directory, unfinished

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


class AsyncSolidariteClient:
    """A connection to the service, for use by the tasks of one event loop.

        async with AsyncSolidariteClient("127.0.0.1:50051") as client:
            await client.ingest_file(Path("2026-08.dsn"), source_id="paie-libre")
            declaration = await client.prefill_declaration("0123456", "2026-11")

    As `SolidariteClient`, which says more. Create it inside the loop that uses it.
    """

    def __init__(self, target: str, settings: ClientSettings | None = None) -> None:
        """`target` is `host:port`; nothing is sent before the first call. PlaintextRefused: see `ClientSettings`."""
        self.target = target
        self.settings = settings or ClientSettings()
        credentials = self.settings.credentials_for(target)
        options = self.settings.channel_options()
        self._pid = os.getpid()
        self._closed = False
        self._uploader: SolidariteClient | None = None
        self._channel = (
            grpc.aio.insecure_channel(target, options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options)
        )
        self._records = resource_record_pb2_grpc.ResourceRecordServiceStub(self._channel)
        self._foyers = foyer_pb2_grpc.FoyerServiceStub(self._channel)
        self._declarations = declaration_pb2_grpc.DeclarationServiceStub(self._channel)
        self._entitlements = entitlement_pb2_grpc.EntitlementServiceStub(self._channel)
        self._campaigns = campaign_pb2_grpc.CampaignServiceStub(self._channel)
        self._simulations = simulation_pb2_grpc.SimulationServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls in progress are cancelled."""
        if os.getpid() == self._pid:
            await self._channel.close()
            if self._uploader is not None:
                self._uploader.close()
        self._closed = True

    # -- resource records ----------------------------------------------------------------------------------------------

    async def ingest(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        source_id: str,
        spool: Path | None = None,
        on_progress: Progress | None = None,
    ) -> IngestSummary:
        """Send records and seals in batches, and return once all of them are acknowledged.

        As `SolidariteClient.ingest`; items may also come from an asynchronous iterator. The callback is called from
        another thread.
        """
        self._guard()
        batcher = Batcher(limit=self.settings.batch_limit_records, form=self.settings.form)
        journal = await asyncio.to_thread(journal_of_items, spool, target=self.target, source_id=source_id)
        async with self._uploading(journal, on_progress) as upload:
            async for item in _asynchronous(items):
                for request in batcher.add(item):
                    await asyncio.to_thread(upload.push, request)
            for request in batcher.flush():
                await asyncio.to_thread(upload.push, request)
            return await asyncio.to_thread(upload.finish)

    async def ingest_file(
        self,
        path: Path,
        *,
        source_id: str,
        spool_directory: Path | None = None,
        on_progress: Progress | None = None,
    ) -> IngestSummary:
        """Send a DSN, CSV or JSON Lines file; nothing of a broken one. As `SolidariteClient.ingest_file`."""
        self._guard()
        journal = await asyncio.to_thread(
            journal_of_file,
            path,
            directory=spool_directory or default_directory(),
            target=self.target,
            source_id=source_id,
            settings=self.settings,
        )
        with dropped_when_refused(journal):
            return await self._send(journal, on_progress)

    async def finish_interrupted(
        self,
        *,
        source_id: str | None = None,
        spool_directory: Path | None = None,
        on_progress: Progress | None = None,
    ) -> list[IngestSummary]:
        """Send what interrupted `ingest_file` calls to this server left.

        Those that another process is sending are left to it; journals of half-read files are dropped.
        """
        self._guard()
        summaries = []
        for folder in unfinished(spool_directory or default_directory(), target=self.target, source_id=source_id):
            spool = await asyncio.to_thread(open_idle, folder)
            if spool is not None:
                summaries.append(await self._send(spool, on_progress))
        return summaries

    async def get_ingestion_position(
        self, source_id: str, upload_id: str
    ) -> resource_record_pb2.GetIngestionPositionResponse:
        """Up to which batch an upload is durable."""
        request = _requests.get_ingestion_position(source_id, upload_id)
        return await self._call(self._records.GetIngestionPosition, request)

    async def list_resource_records(
        self,
        *,
        nir: str | None = None,
        ntt: str | None = None,
        first: MonthLike | None = None,
        last: MonthLike | None = None,
        known_at: datetime | None = None,
        include_superseded: bool = False,
        at_least_as_fresh: str = "",
    ) -> Sequence[resource_record_pb2.MonthlyResources]:
        """What is held on one person, oldest month first. The read is audited."""
        request = _requests.list_resource_records(
            nir, ntt, first, last, known_at, include_superseded, at_least_as_fresh
        )
        return (await self._call(self._records.ListResourceRecords, request)).months

    # -- households ----------------------------------------------------------------------------------------------------

    async def upsert_foyer(self, foyer: foyer_pb2.Foyer) -> foyer_pb2.UpsertFoyerResponse:
        """Create or replace a dossier, durably."""
        return await self._call(self._foyers.UpsertFoyer, foyer_pb2.UpsertFoyerRequest(foyer=foyer))

    def stream_foyers(
        self, batches: Iterable[foyer_pb2.StreamFoyersRequest] | AsyncIterable[foyer_pb2.StreamFoyersRequest]
    ) -> AsyncIterator[foyer_pb2.StreamFoyersResponse]:
        """Upsert batches of at most 500 dossiers; each answer acknowledges one. Not tried again by itself."""
        return self._stream(self._foyers.StreamFoyers, batches)

    async def get_foyer(
        self, numero_allocataire: str, *, known_at: datetime | None = None
    ) -> foyer_pb2.GetFoyerResponse:
        """A dossier, without any NIR. The read is audited."""
        return await self._call(self._foyers.GetFoyer, _requests.get_foyer(numero_allocataire, known_at))

    # -- declarations --------------------------------------------------------------------------------------------------

    async def prefill_declaration(
        self,
        numero_allocataire: str,
        mois_declaration: MonthLike,
        *,
        at_least_as_fresh: str = "",
        known_at: datetime | None = None,
    ) -> declaration_pb2.Declaration:
        """The declaration in progress with its amendments, or a fresh one. It changes nothing."""
        request = _requests.prefill_declaration(numero_allocataire, mois_declaration, at_least_as_fresh, known_at)
        return (await self._call(self._declarations.PrefillDeclaration, request)).declaration

    async def get_declaration(
        self, numero_allocataire: str, mois_declaration: MonthLike, *, known_at: datetime | None = None
    ) -> declaration_pb2.GetDeclarationResponse:
        """A declaration with its history, now or as known at an instant."""
        request = _requests.get_declaration(numero_allocataire, mois_declaration, known_at)
        return await self._call(self._declarations.GetDeclaration, request)

    async def amend_declaration(
        self,
        numero_allocataire: str,
        mois_declaration: MonthLike,
        *,
        etag: str,
        amendments: Iterable[Amendment],
        request_id: str | None = None,
    ) -> declaration_pb2.Declaration:
        """Confirm, rectify, add or remove lines, all or none; see `confirm`, `rectify`, `add` and `remove`.

        StaleEtag: the declaration changed since it was read.
        """
        request = _requests.amend_declaration(numero_allocataire, mois_declaration, etag, amendments, request_id)
        return (await self._call(self._declarations.AmendDeclaration, request)).declaration

    async def submit_declaration(
        self,
        numero_allocataire: str,
        mois_declaration: MonthLike,
        *,
        etag: str,
        request_id: str | None = None,
        explain: bool = False,
    ) -> declaration_pb2.Declaration:
        """Validate the declaration and freeze the quarter; it comes back with its entitlements."""
        request = _requests.submit_declaration(numero_allocataire, mois_declaration, etag, request_id, explain)
        return (await self._call(self._declarations.SubmitDeclaration, request)).declaration

    async def decide_rectification(
        self,
        numero_allocataire: str,
        mois_declaration: MonthLike,
        *,
        etag: str,
        decisions: Iterable[declaration_pb2.LineDecision],
        request_id: str | None = None,
    ) -> declaration_pb2.DecideRectificationResponse:
        """Record the decision on rectified lines and recompute the quarter: rappel or indu."""
        request = _requests.decide_rectification(numero_allocataire, mois_declaration, etag, decisions, request_id)
        return await self._call(self._declarations.DecideRectification, request)

    async def revise_declaration(
        self,
        numero_allocataire: str,
        mois_declaration: MonthLike,
        *,
        etag: str,
        cause: str,
        event_date: date | None = None,
        motif_fr: str = "",
        request_id: str | None = None,
    ) -> declaration_pb2.ReviseDeclarationResponse:
        """Recompute a submitted quarter: rappel or indu.

        `cause` is CONTROLE (with what is known now), or one of the exceptions to the frozen quarter, on the day of
        their event: INTERRUPTION_RESSOURCES, FIN_VIE_COUPLE or ISOLEMENT (CASF R262-4-1). ValueError for another.
        """
        request = _requests.revise_declaration(
            numero_allocataire, mois_declaration, etag, cause, event_date, motif_fr, request_id
        )
        return await self._call(self._declarations.ReviseDeclaration, request)

    def watch_declaration(
        self, numero_allocataire: str, mois_declaration: MonthLike
    ) -> AsyncIterator[declaration_pb2.WatchDeclarationResponse]:
        """Notices of late corrections while a declaration is open; ServerUnreachable when the server drains."""
        request = _requests.watch_declaration(numero_allocataire, mois_declaration)
        return self._stream(self._declarations.WatchDeclaration, request)

    # -- entitlements --------------------------------------------------------------------------------------------------

    async def compute_entitlements(
        self,
        foyer: foyer_pb2.Foyer,
        ressources: Iterable[entitlement_pb2.RessourceMois],
        mois_declaration: MonthLike,
        *,
        explain: bool = True,
        options: entitlement_pb2.CalculationOptions | None = None,
    ) -> entitlement_pb2.ComputeEntitlementsResponse:
        """Compute one household from the arguments alone; nothing is kept."""
        request = _requests.compute_entitlements(foyer, ressources, mois_declaration, explain, options)
        return await self._call(self._entitlements.ComputeEntitlements, request)

    def stream_entitlements(
        self,
        batches: Iterable[entitlement_pb2.StreamEntitlementsRequest]
        | AsyncIterable[entitlement_pb2.StreamEntitlementsRequest],
    ) -> AsyncIterator[entitlement_pb2.StreamEntitlementsResponse]:
        """Compute batches of at most 2,000 households; answers come in order. Not tried again by itself."""
        return self._stream(self._entitlements.StreamEntitlements, batches)

    async def get_entitlements(
        self,
        numero_allocataire: str,
        mois_declaration: MonthLike,
        *,
        explain: bool = False,
        known_at: datetime | None = None,
    ) -> entitlement_pb2.GetEntitlementsResponse:
        """The rights frozen by a submission, or an estimate from the prefilled lines."""
        request = _requests.get_entitlements(numero_allocataire, mois_declaration, explain, known_at)
        return await self._call(self._entitlements.GetEntitlements, request)

    # -- campaigns and simulation --------------------------------------------------------------------------------------

    def run_campaign(
        self, campaign_id: str, mois_declaration: MonthLike
    ) -> AsyncIterator[campaign_pb2.CampaignProgress]:
        """Prefill and compute every foyer due in a month; started again with the same id, it goes on."""
        request = _requests.run_campaign(campaign_id, mois_declaration)
        answers = self._stream(self._campaigns.RunCampaign, request)
        return (answer.progress async for answer in answers)

    async def get_campaign(self, campaign_id: str) -> campaign_pb2.CampaignProgress:
        """How far a campaign is."""
        request = campaign_pb2.GetCampaignRequest(campaign_id=campaign_id)
        return (await self._call(self._campaigns.GetCampaign, request)).progress

    def run_controls(
        self, mois_declaration: MonthLike, *, detect_non_recours: bool = False
    ) -> AsyncIterator[campaign_pb2.RunControlsResponse]:
        """Compare what was submitted for a month with what is known now."""
        request = _requests.run_controls(mois_declaration, detect_non_recours)
        return self._stream(self._campaigns.RunControls, request)

    def generate_population(
        self, foyers: int, *, seed: int, mois_declaration: MonthLike
    ) -> AsyncIterator[simulation_pb2.GeneratePopulationResponse]:
        """Synthetic households with their records, in Arrow blocks; the same seed gives the same bytes."""
        request = _requests.generate_population(foyers, seed, mois_declaration)
        return self._stream(self._simulations.GeneratePopulation, request)

    async def compare_reform(
        self, foyers: int, *, seed: int, mois_droit: MonthLike, overlay_yaml: str
    ) -> simulation_pb2.CompareReformResponse:
        """A synthetic country before and after a change of parameters."""
        request = _requests.compare_reform(foyers, seed, mois_droit, overlay_yaml)
        return await self._call(self._simulations.CompareReform, request)

    # -- how calls are made --------------------------------------------------------------------------------------------

    def _guard(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedClient
        if self._closed:
            raise ClientClosed

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        *,
        attempts: int | None = None,
    ) -> _Response:
        self._guard()
        backoff = Backoff(self.settings, attempts=attempts)
        while True:
            try:
                return await method(
                    request, timeout=self.settings.call_timeout_seconds, metadata=self.settings.metadata()
                )
            except grpc.RpcError as error:
                failure = decode(error)
                failure.__cause__ = error
            await asyncio.sleep(backoff.delay_after(failure))

    async def _stream(
        self, method: Callable[..., AsyncIterable[_Response]], request: object
    ) -> AsyncIterator[_Response]:
        self._guard()
        call: Any = method(request, metadata=self.settings.metadata())
        try:
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise decode(error) from error
        finally:
            call.cancel()

    async def _send(self, journal: Journal, on_progress: Progress | None) -> IngestSummary:
        async with self._uploading(journal, on_progress) as upload:
            return await asyncio.to_thread(upload.finish)

    @asynccontextmanager
    async def _uploading(self, journal: Journal, on_progress: Progress | None) -> AsyncIterator[Upload]:
        # Uploads go through the ordinary client, in threads: a write of grpc.aio that meets a stream just ended by the
        # server hides the server's status and its delay (seen with grpcio 1.78), and journals block on the disk anyway.
        if self._uploader is None:
            self._uploader = SolidariteClient(self.target, self.settings)
        upload = Upload(self._uploader, journal, on_progress)
        try:
            yield upload
        finally:
            await asyncio.to_thread(upload.close)


async def _asynchronous(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
