"""The client for ordinary code: every call returns when it is done."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
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
from solidarite_client._packing import Item, batches
from solidarite_client._requests import Amendment, MonthLike
from solidarite_client._retry import Backoff
from solidarite_client._settings import ClientSettings
from solidarite_client._upload import (
    STREAM_METHOD,
    Progress,
    Window,
    dropped_when_refused,
    ended_early,
    journal_of_file,
    journal_of_items,
    open_idle,
    stalled,
)
from solidarite_client.errors import CallError, ClientClosed, ForkedClient, decode
from solidarite_client.spool import default_directory, unfinished

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


class SolidariteClient:
    """A connection to the service, for use by one process and any number of its threads.

        with SolidariteClient("127.0.0.1:50051") as client:
            client.ingest_file(Path("2026-08.dsn"), source_id="paie-libre")
            declaration = client.prefill_declaration("0123456", "2026-11")

    Calls answer with the contract's messages, or raise a `CallError`. Those that fail for a passing reason are tried
    again (every call of the contract may be). Months are `Month` or `"AAAA-MM"`. A client does not survive a fork:
    create it in the process that uses it.
    """

    def __init__(self, target: str, settings: ClientSettings | None = None) -> None:
        """`target` is `host:port`; nothing is sent before the first call. PlaintextRefused: see `ClientSettings`."""
        self.target = target
        self.settings = settings or ClientSettings()
        credentials = self.settings.credentials_for(target)
        options = self.settings.channel_options()
        self._pid = os.getpid()
        self._closed = False
        self._channel = (
            grpc.insecure_channel(target, options)
            if credentials is None
            else grpc.secure_channel(target, credentials, options)
        )
        self._records = resource_record_pb2_grpc.ResourceRecordServiceStub(self._channel)
        self._foyers = foyer_pb2_grpc.FoyerServiceStub(self._channel)
        self._declarations = declaration_pb2_grpc.DeclarationServiceStub(self._channel)
        self._entitlements = entitlement_pb2_grpc.EntitlementServiceStub(self._channel)
        self._campaigns = campaign_pb2_grpc.CampaignServiceStub(self._channel)
        self._simulations = simulation_pb2_grpc.SimulationServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in progress are cancelled."""
        if os.getpid() == self._pid:
            self._channel.close()
        self._closed = True

    # -- resource records ----------------------------------------------------------------------------------------------

    def ingest(
        self,
        items: Iterable[Item],
        *,
        source_id: str,
        spool: Path | None = None,
        on_progress: Progress | None = None,
    ) -> IngestSummary:
        """Send records and seals in batches, and return once all of them are acknowledged.

        Cuts are survived: what was not acknowledged is sent again over a new connection, as often as progress is made.
        With `spool`, a directory of its own, batches are on the disk before they are sent; after a crash the same call
        first sends what the directory holds (`Spool.records` tells how many records that is).
        """
        self._guard()
        journal = journal_of_items(spool, target=self.target, source_id=source_id)
        with self._uploading(journal, on_progress) as upload:
            for request in batches(items, limit=self.settings.batch_limit_records, form=self.settings.form):
                upload.push(request)
            return upload.finish()

    def ingest_file(
        self,
        path: Path,
        *,
        source_id: str,
        spool_directory: Path | None = None,
        on_progress: Progress | None = None,
    ) -> IngestSummary:
        """Send a DSN, CSV or JSON Lines file; nothing of a broken one (FileError).

        The file is read to its end into a journal below `spool_directory` (by default in the user's state directory),
        then sent. Interrupted, even by kill -9, the same call goes on where it stopped.
        """
        self._guard()
        journal = journal_of_file(
            path,
            directory=spool_directory or default_directory(),
            target=self.target,
            source_id=source_id,
            settings=self.settings,
        )
        with dropped_when_refused(journal):
            return self._send(journal, on_progress)

    def finish_interrupted(
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
            spool = open_idle(folder)
            if spool is not None:
                summaries.append(self._send(spool, on_progress))
        return summaries

    def get_ingestion_position(
        self, source_id: str, upload_id: str
    ) -> resource_record_pb2.GetIngestionPositionResponse:
        """Up to which batch an upload is durable."""
        request = _requests.get_ingestion_position(source_id, upload_id)
        return self._call(self._records.GetIngestionPosition, request)

    def list_resource_records(
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
        return self._call(self._records.ListResourceRecords, request).months

    # -- households ----------------------------------------------------------------------------------------------------

    def upsert_foyer(self, foyer: foyer_pb2.Foyer) -> foyer_pb2.UpsertFoyerResponse:
        """Create or replace a dossier, durably."""
        return self._call(self._foyers.UpsertFoyer, foyer_pb2.UpsertFoyerRequest(foyer=foyer))

    def stream_foyers(
        self, batches: Iterable[foyer_pb2.StreamFoyersRequest]
    ) -> Iterator[foyer_pb2.StreamFoyersResponse]:
        """Upsert batches of at most 500 dossiers; each answer acknowledges one. Not tried again by itself."""
        return self._stream(self._foyers.StreamFoyers, iter(batches))

    def get_foyer(self, numero_allocataire: str, *, known_at: datetime | None = None) -> foyer_pb2.GetFoyerResponse:
        """A dossier, without any NIR. The read is audited."""
        return self._call(self._foyers.GetFoyer, _requests.get_foyer(numero_allocataire, known_at))

    # -- declarations --------------------------------------------------------------------------------------------------

    def prefill_declaration(
        self,
        numero_allocataire: str,
        mois_declaration: MonthLike,
        *,
        at_least_as_fresh: str = "",
        known_at: datetime | None = None,
    ) -> declaration_pb2.Declaration:
        """The declaration in progress with its amendments, or a fresh one. It changes nothing."""
        request = _requests.prefill_declaration(numero_allocataire, mois_declaration, at_least_as_fresh, known_at)
        return self._call(self._declarations.PrefillDeclaration, request).declaration

    def get_declaration(
        self, numero_allocataire: str, mois_declaration: MonthLike, *, known_at: datetime | None = None
    ) -> declaration_pb2.GetDeclarationResponse:
        """A declaration with its history, now or as known at an instant."""
        request = _requests.get_declaration(numero_allocataire, mois_declaration, known_at)
        return self._call(self._declarations.GetDeclaration, request)

    def amend_declaration(
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
        return self._call(self._declarations.AmendDeclaration, request).declaration

    def submit_declaration(
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
        return self._call(self._declarations.SubmitDeclaration, request).declaration

    def decide_rectification(
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
        return self._call(self._declarations.DecideRectification, request)

    def revise_declaration(
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
        return self._call(self._declarations.ReviseDeclaration, request)

    def watch_declaration(
        self, numero_allocataire: str, mois_declaration: MonthLike
    ) -> Iterator[declaration_pb2.WatchDeclarationResponse]:
        """Notices of late corrections while a declaration is open; ServerUnreachable when the server drains."""
        request = _requests.watch_declaration(numero_allocataire, mois_declaration)
        return self._stream(self._declarations.WatchDeclaration, request)

    # -- entitlements --------------------------------------------------------------------------------------------------

    def compute_entitlements(
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
        return self._call(self._entitlements.ComputeEntitlements, request)

    def stream_entitlements(
        self, batches: Iterable[entitlement_pb2.StreamEntitlementsRequest]
    ) -> Iterator[entitlement_pb2.StreamEntitlementsResponse]:
        """Compute batches of at most 2,000 households; answers come in order. Not tried again by itself."""
        return self._stream(self._entitlements.StreamEntitlements, iter(batches))

    def get_entitlements(
        self,
        numero_allocataire: str,
        mois_declaration: MonthLike,
        *,
        explain: bool = False,
        known_at: datetime | None = None,
    ) -> entitlement_pb2.GetEntitlementsResponse:
        """The rights frozen by a submission, or an estimate from the prefilled lines."""
        request = _requests.get_entitlements(numero_allocataire, mois_declaration, explain, known_at)
        return self._call(self._entitlements.GetEntitlements, request)

    # -- campaigns and simulation --------------------------------------------------------------------------------------

    def run_campaign(self, campaign_id: str, mois_declaration: MonthLike) -> Iterator[campaign_pb2.CampaignProgress]:
        """Prefill and compute every foyer due in a month; started again with the same id, it goes on."""
        request = _requests.run_campaign(campaign_id, mois_declaration)
        answers = self._stream(self._campaigns.RunCampaign, request)
        return (answer.progress for answer in answers)

    def get_campaign(self, campaign_id: str) -> campaign_pb2.CampaignProgress:
        """How far a campaign is."""
        request = campaign_pb2.GetCampaignRequest(campaign_id=campaign_id)
        return self._call(self._campaigns.GetCampaign, request).progress

    def run_controls(
        self, mois_declaration: MonthLike, *, detect_non_recours: bool = False
    ) -> Iterator[campaign_pb2.RunControlsResponse]:
        """Compare what was submitted for a month with what is known now."""
        request = _requests.run_controls(mois_declaration, detect_non_recours)
        return self._stream(self._campaigns.RunControls, request)

    def generate_population(
        self, foyers: int, *, seed: int, mois_declaration: MonthLike
    ) -> Iterator[simulation_pb2.GeneratePopulationResponse]:
        """Synthetic households with their records, in Arrow blocks; the same seed gives the same bytes."""
        request = _requests.generate_population(foyers, seed, mois_declaration)
        return self._stream(self._simulations.GeneratePopulation, request)

    def compare_reform(
        self, foyers: int, *, seed: int, mois_droit: MonthLike, overlay_yaml: str
    ) -> simulation_pb2.CompareReformResponse:
        """A synthetic country before and after a change of parameters."""
        request = _requests.compare_reform(foyers, seed, mois_droit, overlay_yaml)
        return self._call(self._simulations.CompareReform, request)

    # -- how calls are made --------------------------------------------------------------------------------------------

    def _guard(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedClient
        if self._closed:
            raise ClientClosed

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        *,
        attempts: int | None = None,
    ) -> _Response:
        self._guard()
        backoff = Backoff(self.settings, attempts=attempts)
        while True:
            try:
                return method(request, timeout=self.settings.call_timeout_seconds, metadata=self.settings.metadata())
            except grpc.RpcError as error:
                failure = decode(error)
                failure.__cause__ = error
            time.sleep(backoff.delay_after(failure))

    def _stream(self, method: Callable[..., Iterator[_Response]], request: object) -> Iterator[_Response]:
        self._guard()
        call: Any = method(request, metadata=self.settings.metadata())
        try:
            yield from call
        except grpc.RpcError as error:
            raise decode(error) from error
        finally:
            call.cancel()

    def _send(self, journal: Journal, on_progress: Progress | None) -> IngestSummary:
        with self._uploading(journal, on_progress) as upload:
            return upload.finish()

    @contextmanager
    def _uploading(self, journal: Journal, on_progress: Progress | None) -> Iterator[Upload]:
        upload = Upload(self, journal, on_progress)
        try:
            yield upload
        finally:
            upload.close()

    def _position(self, journal: Journal) -> resource_record_pb2.GetIngestionPositionResponse:
        # One attempt: the upload that asks has its own patience.
        request = _requests.get_ingestion_position(journal.source_id, journal.upload_id)
        return self._call(self._records.GetIngestionPosition, request, attempts=1)

    def _raw_stream(self) -> Any:
        """The ingestion stream over serialised batches, so that a journal's bytes go out as they are."""
        return self._channel.stream_stream(
            STREAM_METHOD,
            request_serializer=None,
            response_deserializer=resource_record_pb2.StreamResourceRecordsResponse.FromString,
        )


class Upload:
    """Sends a journal: the caller's thread adds batches and reconnects, a thread of each connection takes answers."""

    def __init__(self, client: SolidariteClient, journal: Journal, on_progress: Progress | None) -> None:
        self.client = client
        self.on_progress = on_progress
        self.changed = threading.Condition()
        self.window = Window(journal, client.settings.batches_in_flight)
        self.backoff = Backoff(client.settings)
        self._link: _Link | None = None
        # A journal with a past may be ahead of what the service holds.
        self._check_position = journal.count > 0
        self._closed = False

    def push(self, request: resource_record_pb2.StreamResourceRecordsRequest) -> None:
        """Take a batch; wait while too many are unacknowledged."""
        self._run_until(lambda: self.window.room)
        with self.changed:
            self.window.journal.append(request)
            self.changed.notify_all()

    def finish(self) -> IngestSummary:
        """Wait until everything is acknowledged, then forget the journal."""
        with self.changed:
            self.window.fill()
            self.changed.notify_all()
        if not self.window.done:
            self._run_until(lambda: self.window.done)
        summary = self.window.journal.summary()
        self.window.journal.discard()
        return summary

    def close(self) -> None:
        """Let go of the connection, and of a journal that stays for another day. Whoever still waits gets an error."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        self._disconnect(graceful=self.window.done)
        self.window.journal.close()

    def _run_until(self, reached: Callable[[], bool]) -> None:
        while (failure := self._advance(reached)) is not None:
            self._disconnect()
            if not isinstance(failure, CallError):
                raise failure
            time.sleep(self.backoff.delay_after(failure))

    def _advance(self, reached: Callable[[], bool]) -> Exception | None:
        """Wait until something is reached over one connection; return what went wrong with it instead."""
        patience = self.client.settings.acknowledgement_timeout_seconds
        try:
            link = self._connected()
        except CallError as error:
            return error
        with self.changed:
            while link.failure is None and not reached():
                if self._closed:
                    return ClientClosed()
                left = link.last_progress + patience - time.monotonic() if self.window.awaiting else patience
                if left <= 0:
                    return stalled(patience)
                self.changed.wait(left)
            # The service ends the stream once all is acknowledged: no failure, though nothing more can be sent on it.
            return None if self.window.finished else link.failure

    def _connected(self) -> _Link:
        if self._link is None:
            if self._check_position:
                position = self.client._position(self.window.journal)
                with self.changed:
                    self.window.restart(position.batch_sequence)
            self._link = _Link(self)
        return self._link

    def _disconnect(self, *, graceful: bool = False) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close(graceful=graceful)
            self._check_position = True


class _Link:
    """One connection of an upload: gRPC's thread takes batches from the window, ours takes acknowledgements."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._dead = False
        self.failure: Exception | None = None
        self.last_progress = time.monotonic()
        stream = upload.client._raw_stream()
        self._call: Any = stream(self._batches(), metadata=upload.client.settings.metadata())
        self._thread = threading.Thread(target=self._take_answers, name="solidarite-acknowledgements", daemon=True)
        self._thread.start()

    def close(self, *, graceful: bool) -> None:
        """Stop both directions; gracefully, once the service has closed its side."""
        if graceful:
            self._thread.join(timeout=1.0)
        with self._upload.changed:
            self._dead = True
            self._upload.changed.notify_all()
        self._call.cancel()
        self._thread.join(timeout=5.0)

    def _batches(self) -> Iterator[bytes]:
        changed, window = self._upload.changed, self._upload.window
        while True:
            with changed:
                while not (self._dead or window.sendable or window.exhausted):
                    changed.wait()
                if self._dead or not window.sendable:
                    return
                if not window.awaiting:
                    self.last_progress = time.monotonic()
                try:
                    payload = window.take()
                except OSError as error:
                    self._fail(error)
                    return
            yield payload

    def _take_answers(self) -> None:
        upload = self._upload
        try:
            for response in self._call:
                with upload.changed:
                    if self._dead:
                        return
                    upload.window.acknowledge(response)
                    upload.backoff.progressed()
                    self.last_progress = time.monotonic()
                    upload.changed.notify_all()
                    summary = upload.window.journal.summary()
                if upload.on_progress is not None:
                    upload.on_progress(summary)
            failure: Exception = ended_early()
        except grpc.RpcError as error:
            failure = decode(error)
        except Exception as error:
            # Whatever it is (the journal's disk, the caller's callback), the caller's thread raises it.
            failure = error
        with upload.changed:
            self._fail(failure)

    def _fail(self, failure: Exception) -> None:
        self.failure = self.failure or failure
        self._upload.changed.notify_all()
