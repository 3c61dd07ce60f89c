"""Handlers: each one converts, calls a use case, converts. Errors are mapped once, by the interceptor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
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

from solidarite_server.domain.errors import InvalidRequest, Reason, SolidariteError
from solidarite_server.domain.month import Month
from solidarite_server.domain.nir import is_valid_nir
from solidarite_server.engine import columns_from, compute_columns
from solidarite_server.engine.columns import Case
from solidarite_server.legislation import LegislationOptions
from solidarite_server.ports import AuditLine, BatchOutcome, Clock, KeptFoyers, NewFoyers, Store
from solidarite_server.rpc import convert, convert_declarations, convert_records
from solidarite_server.rpc.freshness import Freshness, token
from solidarite_server.rpc.identity import caller, lines_of_the_change, written
from solidarite_server.rpc.off_loop import in_thread
from solidarite_server.rpc.simulation import SimulationServicer
from solidarite_server.services.audit import AuditTrail
from solidarite_server.services.campaign import Progress, campaign_progress
from solidarite_server.services.controls import ControlTotal, run_controls, totals_of
from solidarite_server.services.declarations import DeclarationService, DeclarationView, Proposed
from solidarite_server.services.entitlements import quarter_entitlements
from solidarite_server.services.foyers import FoyerService, proposed
from solidarite_server.services.ingest import IngestService
from solidarite_server.services.life import Benefit, Cause
from solidarite_server.services.pseudonym import HmacPseudonymizer
from solidarite_server.services.records import held_months
from solidarite_server.services.timeline import timeline

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

_FINDINGS_A_MESSAGE = 1_000
_IN_FLIGHT_BATCHES = 16
_FOYERS_A_BATCH = 500
_REQUESTS_A_BATCH = 2_000
_WATCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers call."""

    clock: Clock
    store: Store
    ingest: IngestService
    foyers: FoyerService
    declarations: DeclarationService
    pseudonyms: HmacPseudonymizer
    trail: AuditTrail
    options: LegislationOptions
    batch_limit_records: int
    freshness: Freshness
    run_campaign: Callable[[str, Month], Iterator[Progress]]
    simulations_at_once: int


class ResourceRecordServicer(resource_record_pb2_grpc.ResourceRecordServiceServicer):
    """Takes in records, and shows what is held."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def StreamResourceRecords(  # noqa: N802 - the contract's name
        self,
        requests: AsyncIterator[resource_record_pb2.StreamResourceRecordsRequest],
        context: Context,
    ) -> AsyncIterator[resource_record_pb2.StreamResourceRecordsResponse]:
        # Acknowledgements leave in the order of the batches; the queue's bound stops reading when commits fall behind.
        waiting: asyncio.Queue[Any] = asyncio.Queue(_IN_FLIGHT_BATCHES)
        reader = asyncio.create_task(self._read(requests, waiting))
        try:
            while (entry := await waiting.get()) is not None:
                message, outcome = entry
                yield _acknowledgement(message, await outcome)
            await reader
        finally:
            reader.cancel()

    async def _read(self, requests: AsyncIterator[Any], waiting: asyncio.Queue[Any]) -> None:
        try:
            async for message in requests:
                batch = convert_records.batch(message, self._services.pseudonyms, self._services.batch_limit_records)
                future = asyncio.wrap_future(self._services.ingest.submit(batch))
                await waiting.put((message, future))
        except SolidariteError as error:
            await waiting.put((None, _failed(error)))
        finally:
            await waiting.put(None)

    async def GetIngestionPosition(  # noqa: N802
        self, request: resource_record_pb2.GetIngestionPositionRequest, context: Context
    ) -> resource_record_pb2.GetIngestionPositionResponse:
        convert.text(request.source_id, "source_id", maximum=64)
        convert.text(request.upload_id, "upload_id", maximum=64, minimum=0)
        store = self._services.store
        return resource_record_pb2.GetIngestionPositionResponse(
            batch_sequence=store.position(request.source_id, request.upload_id),
            freshness_token=token(store.commit_sequence()),
        )

    async def ListResourceRecords(  # noqa: N802
        self, request: resource_record_pb2.ListResourceRecordsRequest, context: Context
    ) -> resource_record_pb2.ListResourceRecordsResponse:
        person = self._person(request)
        identity = caller()
        line = AuditLine(
            identity.actor,
            "LIST_RECORDS",
            self._services.pseudonyms.trace(person),
            identity.purpose or "consultation",
        )
        await written(self._services.trail, line, durable=True)
        first = convert.month(getattr(request, "from"), "from") if request.HasField("from") else None
        last = convert.month(request.to, "to") if request.HasField("to") else None
        known_at = convert.known_at_us(request)
        await self._services.freshness.reached(request.at_least_as_fresh)
        months = held_months(
            self._services.store,
            person,
            first=first,
            last=last,
            known_at_us=known_at,
            include_superseded=request.include_superseded,
        )
        return resource_record_pb2.ListResourceRecordsResponse(
            months=[
                resource_record_pb2.MonthlyResources(
                    mois=convert.month_to_proto(month.mois),
                    montant_net_social_cents=month.montant_net_social_cents,
                    records=[convert_records.held_record(stored) for stored in month.records],
                )
                for month in months
            ]
        )

    def _person(self, request: resource_record_pb2.ListResourceRecordsRequest) -> bytes:
        kind = request.WhichOneof("person")
        if kind == "ntt":
            return self._services.pseudonyms.ntt(
                convert.text(request.ntt, "ntt", minimum=11, maximum=40, names_person=True)
            )
        if kind != "nir" or not is_valid_nir(request.nir):
            raise InvalidRequest("Un NIR compte 13 caractères (Corse : 2A ou 2B).", field="nir")
        return self._services.pseudonyms.nir(request.nir)


async def _failed(error: Exception) -> BatchOutcome:
    raise error


def _acknowledgement(
    message: resource_record_pb2.StreamResourceRecordsRequest, outcome: BatchOutcome
) -> resource_record_pb2.StreamResourceRecordsResponse:
    return resource_record_pb2.StreamResourceRecordsResponse(
        upload_id=message.upload_id,
        batch_sequence=message.batch_sequence,
        accepted_count=outcome.accepted,
        replaced_count=outcome.replaced,
        unchanged_count=outcome.unchanged,
        refusals=[
            resource_record_pb2.RecordRefusal(
                index=refusal.index,
                is_seal=refusal.is_seal,
                field=refusal.field,
                reason=f"ERROR_REASON_{refusal.reason.value}",  # type: ignore[arg-type]
                message_fr=refusal.message_fr,
            )
            for refusal in outcome.refusals
        ],
        freshness_token=token(outcome.commit_sequence),
    )


class FoyerServicer(foyer_pb2_grpc.FoyerServiceServicer):
    """Holds household dossiers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def UpsertFoyer(  # noqa: N802
        self, request: foyer_pb2.UpsertFoyerRequest, context: Context
    ) -> foyer_pb2.UpsertFoyerResponse:
        foyer = convert.foyer(request.foyer, "foyer", self._services.pseudonyms.nir)
        kept = await self._kept(proposed([foyer]))
        return foyer_pb2.UpsertFoyerResponse(changed=kept.changed[0], freshness_token=token(kept.commit_sequence))

    async def StreamFoyers(  # noqa: N802
        self, requests: AsyncIterator[foyer_pb2.StreamFoyersRequest], context: Context
    ) -> AsyncIterator[foyer_pb2.StreamFoyersResponse]:
        async for request in requests:
            dossiers, refusals = await asyncio.to_thread(self._batch, request)
            kept = await self._kept(dossiers)
            yield foyer_pb2.StreamFoyersResponse(
                batch_sequence=request.batch_sequence,
                changed_count=sum(kept.changed),
                unchanged_count=len(kept.changed) - sum(kept.changed),
                refusals=refusals,
                freshness_token=token(kept.commit_sequence),
            )

    async def _kept(self, dossiers: NewFoyers) -> KeptFoyers:
        return await asyncio.wrap_future(self._services.trail.change(dossiers, *lines_of_the_change()))

    def _batch(self, request: foyer_pb2.StreamFoyersRequest) -> tuple[NewFoyers, list[foyer_pb2.FoyerRefusal]]:
        if len(request.foyers) > _FOYERS_A_BATCH:
            raise InvalidRequest(
                f"Un lot compte au plus {_FOYERS_A_BATCH} dossiers.", field="foyers", reason=Reason.BATCH_TOO_LARGE
            )
        foyers, refusals = [], []
        for index, message in enumerate(request.foyers):
            try:
                foyers.append(convert.foyer(message, f"foyers[{index}]", self._services.pseudonyms.nir))
            except InvalidRequest as error:
                refusals.append(foyer_pb2.FoyerRefusal(index=index, field=error.field, message_fr=error.message_fr))
        return proposed(foyers), refusals

    async def GetFoyer(  # noqa: N802
        self, request: foyer_pb2.GetFoyerRequest, context: Context
    ) -> foyer_pb2.GetFoyerResponse:
        known_at = convert.known_at_us(request)
        foyer, since = self._services.foyers.get(request.numero_allocataire, known_at_us=known_at)
        return foyer_pb2.GetFoyerResponse(foyer=convert.foyer_to_proto(foyer), known_at=convert.instant_to_proto(since))


class DeclarationServicer(declaration_pb2_grpc.DeclarationServiceServicer):
    """Prefills, amends and submits declarations."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def PrefillDeclaration(  # noqa: N802
        self, request: declaration_pb2.PrefillDeclarationRequest, context: Context
    ) -> declaration_pb2.PrefillDeclarationResponse:
        mois = convert.declaration_month(request.mois_declaration, "mois_declaration")
        known_at = convert.known_at_us(request)
        await self._services.freshness.reached(request.at_least_as_fresh)
        view = self._services.declarations.view(request.numero_allocataire, mois, known_at_us=known_at)
        return declaration_pb2.PrefillDeclarationResponse(declaration=convert_declarations.declaration(view))

    async def GetDeclaration(  # noqa: N802
        self, request: declaration_pb2.GetDeclarationRequest, context: Context
    ) -> declaration_pb2.GetDeclarationResponse:
        mois = convert.declaration_month(request.mois_declaration, "mois_declaration")
        known_at = convert.known_at_us(request)
        view = self._services.declarations.view(request.numero_allocataire, mois, known_at_us=known_at)
        return declaration_pb2.GetDeclarationResponse(
            declaration=convert_declarations.declaration(view),
            timeline=convert_declarations.timeline(timeline(view, self._services.declarations.records_behind(view))),
        )

    async def AmendDeclaration(  # noqa: N802
        self, request: declaration_pb2.AmendDeclarationRequest, context: Context
    ) -> declaration_pb2.AmendDeclarationResponse:
        view = await self._changed(
            self._services.declarations.amend,
            request.numero_allocataire,
            convert.declaration_month(request.mois_declaration, "mois_declaration"),
            etag=request.etag,
            request_id=convert.text(request.request_id, "request_id", maximum=64),
            changes=convert_declarations.changes(request.amendments),
        )
        return declaration_pb2.AmendDeclarationResponse(declaration=convert_declarations.declaration(view))

    async def SubmitDeclaration(  # noqa: N802
        self, request: declaration_pb2.SubmitDeclarationRequest, context: Context
    ) -> declaration_pb2.SubmitDeclarationResponse:
        view = await self._changed(
            self._services.declarations.submit,
            request.numero_allocataire,
            convert.declaration_month(request.mois_declaration, "mois_declaration"),
            etag=request.etag,
            request_id=convert.text(request.request_id, "request_id", maximum=64),
            explain=request.explain,
        )
        return declaration_pb2.SubmitDeclarationResponse(declaration=convert_declarations.declaration(view))

    async def DecideRectification(  # noqa: N802
        self, request: declaration_pb2.DecideRectificationRequest, context: Context
    ) -> declaration_pb2.DecideRectificationResponse:
        view = await self._changed(
            self._services.declarations.decide,
            request.numero_allocataire,
            convert.declaration_month(request.mois_declaration, "mois_declaration"),
            etag=request.etag,
            request_id=convert.text(request.request_id, "request_id", maximum=64),
            decisions=convert_declarations.decisions(request.decisions),
        )
        return declaration_pb2.DecideRectificationResponse(
            declaration=convert_declarations.declaration(view),
            differences=convert_declarations.differences(view.differences),
        )

    async def ReviseDeclaration(  # noqa: N802
        self, request: declaration_pb2.ReviseDeclarationRequest, context: Context
    ) -> declaration_pb2.ReviseDeclarationResponse:
        view = await self._changed(
            self._services.declarations.revise,
            request.numero_allocataire,
            convert.declaration_month(request.mois_declaration, "mois_declaration"),
            etag=request.etag,
            request_id=convert.text(request.request_id, "request_id", maximum=64),
            cause=convert.enum(Cause, request.cause, "cause"),
            event_date=convert.day(request.event_date, "event_date") if request.HasField("event_date") else None,
            motif=convert.text(request.motif_fr, "motif_fr", minimum=0, maximum=500),
        )
        return declaration_pb2.ReviseDeclarationResponse(
            declaration=convert_declarations.declaration(view),
            differences=convert_declarations.differences(view.differences),
        )

    async def _changed(self, change: Callable[..., Proposed], *arguments: Any, **named: Any) -> DeclarationView:
        # Prepared in a thread: in the event loop, the slowest of them held every other call back (docs/charge.md).
        proposed = await asyncio.to_thread(change, *arguments, **named)
        kept = self._services.trail.change(proposed.event, *lines_of_the_change())
        return proposed.answer(await asyncio.wrap_future(kept))

    async def WatchDeclaration(  # noqa: N802
        self, request: declaration_pb2.WatchDeclarationRequest, context: Context
    ) -> AsyncIterator[declaration_pb2.WatchDeclarationResponse]:
        mois = convert.declaration_month(request.mois_declaration, "mois_declaration")
        seen = None
        commit = -1
        while True:
            newest = self._services.store.commit_sequence()
            if newest != commit:
                commit = newest
                view = self._services.declarations.view(request.numero_allocataire, mois)
                if seen is None or view.etag != seen.etag:
                    yield declaration_pb2.WatchDeclarationResponse(
                        etag=view.etag,
                        changes=convert_declarations.line_changes(seen.declaration.lines, view.declaration.lines)
                        if seen
                        else (),
                        at=convert.instant_to_proto(view.declaration.known_at_us),
                    )
                    seen = view
                if view.entitlements is not None:
                    return  # frozen: what arrives later changes nothing by itself (REGULATION §2.6)
            await asyncio.sleep(_WATCH_SECONDS)


class EntitlementServicer(entitlement_pb2_grpc.EntitlementServiceServicer):
    """Computes rights."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def ComputeEntitlements(  # noqa: N802
        self, request: entitlement_pb2.ComputeEntitlementsRequest, context: Context
    ) -> entitlement_pb2.ComputeEntitlementsResponse:
        foyer, ressources, mois = convert_declarations.case(request, "")
        options = convert_declarations.options(request.options, self._services.options)
        found = quarter_entitlements(foyer, ressources, mois, options=options, with_steps=request.explain)
        return entitlement_pb2.ComputeEntitlementsResponse(
            months=convert_declarations.months(found),
            legislation_version=found.legislation_version,
            mois_reference=[convert.month_to_proto(month) for month in found.mois_reference],
        )

    async def StreamEntitlements(  # noqa: N802
        self, requests: AsyncIterator[entitlement_pb2.StreamEntitlementsRequest], context: Context
    ) -> AsyncIterator[entitlement_pb2.StreamEntitlementsResponse]:
        async for request in requests:
            # A batch takes tens of milliseconds: beside the loop, other calls go on.
            yield await asyncio.to_thread(self._compute_batch, request)

    def _compute_batch(
        self, request: entitlement_pb2.StreamEntitlementsRequest
    ) -> entitlement_pb2.StreamEntitlementsResponse:
        if len(request.requests) > _REQUESTS_A_BATCH:
            raise InvalidRequest(
                f"Un lot compte au plus {_REQUESTS_A_BATCH} foyers.", field="requests", reason=Reason.BATCH_TOO_LARGE
            )
        n = len(request.requests)
        rsa, ppa, net, errors = [0] * n, [0] * n, [0] * n, [""] * n
        by_options: dict[LegislationOptions, list[tuple[int, Case]]] = {}
        for place, message in enumerate(request.requests):
            try:
                foyer, ressources, mois = convert_declarations.case(message, f"requests[{place}].")
                options = convert_declarations.options(message.options, self._services.options)
                by_options.setdefault(options, []).append((place, Case(foyer, ressources, mois, mois)))
            except InvalidRequest as error:
                errors[place] = f"{error.field} : {error.message_fr}"
        for options, cases in by_options.items():
            result = compute_columns(columns_from([case for _, case in cases], options), options)
            for row, (place, _) in enumerate(cases):
                rsa[place] = int(result.rsa_cents[row])
                ppa[place] = int(result.ppa_cents[row])
                net[place] = int(result.ppa_nette_crds_cents[row])
        return entitlement_pb2.StreamEntitlementsResponse(
            batch_sequence=request.batch_sequence,
            rsa_cents=rsa,
            prime_activite_cents=ppa,
            prime_activite_nette_crds_cents=net,
            errors_fr=errors,
        )

    async def GetEntitlements(  # noqa: N802
        self, request: entitlement_pb2.GetEntitlementsRequest, context: Context
    ) -> entitlement_pb2.GetEntitlementsResponse:
        mois = convert.declaration_month(request.mois_declaration, "mois_declaration")
        known_at = convert.known_at_us(request)
        found, estimate, missing = self._services.declarations.entitlements(
            request.numero_allocataire, mois, known_at_us=known_at, explain=request.explain
        )
        return entitlement_pb2.GetEntitlementsResponse(
            numero_allocataire=request.numero_allocataire,
            mois_declaration=request.mois_declaration,
            mois_reference=[convert.month_to_proto(month) for month in found.mois_reference],
            months=convert_declarations.months(found, missing),
            estimate=estimate,
            legislation_version=found.legislation_version,
            computed_at=convert.instant_to_proto(known_at or self._services.clock.now_us()),
        )


class CampaignServicer(campaign_pb2_grpc.CampaignServiceServicer):
    """Runs whole declaration months, and controls after them. The work is done in threads, off the event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def RunCampaign(  # noqa: N802
        self, request: campaign_pb2.RunCampaignRequest, context: Context
    ) -> AsyncIterator[campaign_pb2.RunCampaignResponse]:
        campaign_id = convert.text(request.campaign_id, "campaign_id", maximum=64)
        mois = convert.declaration_month(request.mois_declaration, "mois_declaration")
        async for progress in in_thread(self._services.run_campaign(campaign_id, mois)):
            yield campaign_pb2.RunCampaignResponse(progress=convert_declarations.campaign_progress(progress))

    async def GetCampaign(  # noqa: N802
        self, request: campaign_pb2.GetCampaignRequest, context: Context
    ) -> campaign_pb2.GetCampaignResponse:
        campaign_id = convert.text(request.campaign_id, "campaign_id", maximum=64)
        progress = campaign_progress(self._services.store, campaign_id)
        return campaign_pb2.GetCampaignResponse(progress=convert_declarations.campaign_progress(progress))

    async def RunControls(  # noqa: N802
        self, request: campaign_pb2.RunControlsRequest, context: Context
    ) -> AsyncIterator[campaign_pb2.RunControlsResponse]:
        mois = convert.declaration_month(request.mois_declaration, "mois_declaration")
        services = self._services
        blocks = run_controls(
            services.store, services.declarations, mois, services.options,
            detect_non_recours=request.detect_non_recours,
        )  # fmt: skip
        compared, totals = 0, dict[tuple[str, Benefit], ControlTotal]()
        async for block in in_thread(blocks):
            compared += block.compared
            totals_of(block.findings, totals)
            for start in range(0, len(block.findings), _FINDINGS_A_MESSAGE) or (0,):
                yield campaign_pb2.RunControlsResponse(
                    findings=convert_declarations.findings(block.findings[start : start + _FINDINGS_A_MESSAGE]),
                    foyers_compared=compared,
                )
        yield campaign_pb2.RunControlsResponse(
            totals=convert_declarations.control_totals(totals), foyers_compared=compared, finished=True
        )


def add_servicers(servers: Sequence[grpc.aio.Server], services: Services) -> list[str]:
    """Register every service of the contract with each server, the same servicers for all; their full names."""
    records, foyers = ResourceRecordServicer(services), FoyerServicer(services)
    declarations, entitlements = DeclarationServicer(services), EntitlementServicer(services)
    campaigns, simulations = CampaignServicer(services), SimulationServicer(services.simulations_at_once)
    for server in servers:
        resource_record_pb2_grpc.add_ResourceRecordServiceServicer_to_server(records, server)
        foyer_pb2_grpc.add_FoyerServiceServicer_to_server(foyers, server)
        declaration_pb2_grpc.add_DeclarationServiceServicer_to_server(declarations, server)
        entitlement_pb2_grpc.add_EntitlementServiceServicer_to_server(entitlements, server)
        campaign_pb2_grpc.add_CampaignServiceServicer_to_server(campaigns, server)
        simulation_pb2_grpc.add_SimulationServiceServicer_to_server(simulations, server)
    modules = (resource_record_pb2, foyer_pb2, declaration_pb2, entitlement_pb2, campaign_pb2, simulation_pb2)
    return [s.full_name for module in modules for s in module.DESCRIPTOR.services_by_name.values()]
