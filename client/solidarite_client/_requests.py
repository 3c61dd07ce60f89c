"""The contract's requests, from ordinary Python arguments. What the sync and asyncio clients share."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import date, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from solidarite.v1 import (
    campaign_pb2,
    common_pb2,
    declaration_pb2,
    entitlement_pb2,
    foyer_pb2,
    resource_record_pb2,
    simulation_pb2,
)

from solidarite_client.models import Month, NatureRessource

MonthLike = Month | str
"""A `Month`, or `AAAA-MM`."""

Amendment = declaration_pb2.Amendment
LineDecision = declaration_pb2.LineDecision


def month(value: MonthLike) -> common_pb2.Month:
    parsed = Month.parse(value) if isinstance(value, str) else value
    return common_pb2.Month(year=parsed.year, month=parsed.month)


def _month_or_none(value: MonthLike | None) -> common_pb2.Month | None:
    return None if value is None else month(value)


def _instant(value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("known_at : un instant avec son fuseau horaire est attendu, par exemple datetime.now(UTC)")
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp


def new_request_id() -> str:
    """Makes a change repeatable: the same request again gives the same answer."""
    return uuid.uuid4().hex


# -- amendments --------------------------------------------------------------------------------------------------------


def confirm(*line_ids: str) -> Amendment:
    """Accept lines as they are; without any, all prefilled ones."""
    return Amendment(confirmation=declaration_pb2.Confirmation(line_ids=line_ids))


def rectify(line_id: str, montant_declare_cents: int, justification_reference: str) -> Amendment:
    """Change a line; the reference names the supporting document."""
    return Amendment(
        rectification=declaration_pb2.Rectification(
            line_id=line_id,
            montant_declare_cents=montant_declare_cents,
            justification_reference=justification_reference,
        )
    )


def add(personne: str, mois: MonthLike, nature: NatureRessource, montant_declare_cents: int) -> Amendment:
    """Add a resource that the records cannot know, or fill an empty line."""
    return Amendment(
        addition=declaration_pb2.Addition(
            personne=personne,
            mois=month(mois),
            nature=common_pb2.NatureRessource.ValueType(nature),
            montant_declare_cents=montant_declare_cents,
        )
    )


def remove(line_id: str) -> Amendment:
    """Take an added line back."""
    return Amendment(removed_line_id=line_id)


# -- decisions --------------------------------------------------------------------------------------------------------


def accept(line_id: str) -> LineDecision:
    """Decide that the declared amount of a rectified line counts."""
    return LineDecision(line_id=line_id, decision=declaration_pb2.DECISION_ACCEPTEE)


def reject(line_id: str, motif_fr: str) -> LineDecision:
    """Decide that the prefilled amount of a rectified line counts; the reason is told to the household."""
    return LineDecision(line_id=line_id, decision=declaration_pb2.DECISION_REJETEE, motif_fr=motif_fr)


def retain(line_id: str, montant_retenu_cents: int, motif_fr: str) -> LineDecision:
    """Decide that another amount of a rectified line counts, in cents."""
    return LineDecision(
        line_id=line_id,
        decision=declaration_pb2.DECISION_PARTIELLE,
        montant_retenu_cents=montant_retenu_cents,
        motif_fr=motif_fr,
    )


# -- requests ----------------------------------------------------------------------------------------------------------


def get_ingestion_position(source_id: str, upload_id: str) -> resource_record_pb2.GetIngestionPositionRequest:
    return resource_record_pb2.GetIngestionPositionRequest(source_id=source_id, upload_id=upload_id)


def list_resource_records(
    nir: str | None,
    ntt: str | None,
    first: MonthLike | None,
    last: MonthLike | None,
    known_at: datetime | None,
    include_superseded: bool,
    at_least_as_fresh: str,
) -> resource_record_pb2.ListResourceRecordsRequest:
    if (nir is None) == (ntt is None):
        raise ValueError("soit nir, soit ntt")
    request = resource_record_pb2.ListResourceRecordsRequest(
        to=_month_or_none(last),
        known_at=_instant(known_at),
        include_superseded=include_superseded,
        at_least_as_fresh=at_least_as_fresh,
    )
    if first is not None:
        # `from` is a keyword of Python.
        getattr(request, "from").CopyFrom(month(first))
    if nir is not None:
        request.nir = nir
    else:
        request.ntt = ntt or ""
    return request


def get_foyer(numero_allocataire: str, known_at: datetime | None) -> foyer_pb2.GetFoyerRequest:
    return foyer_pb2.GetFoyerRequest(numero_allocataire=numero_allocataire, known_at=_instant(known_at))


def prefill_declaration(
    numero_allocataire: str, mois_declaration: MonthLike, at_least_as_fresh: str, known_at: datetime | None
) -> declaration_pb2.PrefillDeclarationRequest:
    return declaration_pb2.PrefillDeclarationRequest(
        numero_allocataire=numero_allocataire,
        mois_declaration=month(mois_declaration),
        at_least_as_fresh=at_least_as_fresh,
        known_at=_instant(known_at),
    )


def get_declaration(
    numero_allocataire: str, mois_declaration: MonthLike, known_at: datetime | None
) -> declaration_pb2.GetDeclarationRequest:
    return declaration_pb2.GetDeclarationRequest(
        numero_allocataire=numero_allocataire, mois_declaration=month(mois_declaration), known_at=_instant(known_at)
    )


def amend_declaration(
    numero_allocataire: str,
    mois_declaration: MonthLike,
    etag: str,
    amendments: Iterable[Amendment],
    request_id: str | None,
) -> declaration_pb2.AmendDeclarationRequest:
    return declaration_pb2.AmendDeclarationRequest(
        numero_allocataire=numero_allocataire,
        mois_declaration=month(mois_declaration),
        etag=etag,
        request_id=request_id or new_request_id(),
        amendments=amendments,
    )


def submit_declaration(
    numero_allocataire: str, mois_declaration: MonthLike, etag: str, request_id: str | None, explain: bool
) -> declaration_pb2.SubmitDeclarationRequest:
    return declaration_pb2.SubmitDeclarationRequest(
        numero_allocataire=numero_allocataire,
        mois_declaration=month(mois_declaration),
        etag=etag,
        request_id=request_id or new_request_id(),
        explain=explain,
    )


def decide_rectification(
    numero_allocataire: str,
    mois_declaration: MonthLike,
    etag: str,
    decisions: Iterable[declaration_pb2.LineDecision],
    request_id: str | None,
) -> declaration_pb2.DecideRectificationRequest:
    return declaration_pb2.DecideRectificationRequest(
        numero_allocataire=numero_allocataire,
        mois_declaration=month(mois_declaration),
        etag=etag,
        request_id=request_id or new_request_id(),
        decisions=decisions,
    )


def revise_declaration(
    numero_allocataire: str,
    mois_declaration: MonthLike,
    etag: str,
    cause: str,
    event_date: date | None,
    motif_fr: str,
    request_id: str | None,
) -> declaration_pb2.ReviseDeclarationRequest:
    message = declaration_pb2.ReviseDeclarationRequest(
        numero_allocataire=numero_allocataire,
        mois_declaration=month(mois_declaration),
        etag=etag,
        request_id=request_id or new_request_id(),
        cause=declaration_pb2.RevisionCause.Value(f"REVISION_CAUSE_{cause}"),
        motif_fr=motif_fr,
    )
    if event_date is not None:
        message.event_date.CopyFrom(common_pb2.Date(year=event_date.year, month=event_date.month, day=event_date.day))
    return message


def watch_declaration(numero_allocataire: str, mois_declaration: MonthLike) -> declaration_pb2.WatchDeclarationRequest:
    return declaration_pb2.WatchDeclarationRequest(
        numero_allocataire=numero_allocataire, mois_declaration=month(mois_declaration)
    )


def compute_entitlements(
    foyer: foyer_pb2.Foyer,
    ressources: Iterable[entitlement_pb2.RessourceMois],
    mois_declaration: MonthLike,
    explain: bool,
    options: entitlement_pb2.CalculationOptions | None,
) -> entitlement_pb2.ComputeEntitlementsRequest:
    return entitlement_pb2.ComputeEntitlementsRequest(
        foyer=foyer,
        ressources=ressources,
        mois_declaration=month(mois_declaration),
        explain=explain,
        options=options,
    )


def get_entitlements(
    numero_allocataire: str, mois_declaration: MonthLike, explain: bool, known_at: datetime | None
) -> entitlement_pb2.GetEntitlementsRequest:
    return entitlement_pb2.GetEntitlementsRequest(
        numero_allocataire=numero_allocataire,
        mois_declaration=month(mois_declaration),
        explain=explain,
        known_at=_instant(known_at),
    )


def run_campaign(campaign_id: str, mois_declaration: MonthLike) -> campaign_pb2.RunCampaignRequest:
    return campaign_pb2.RunCampaignRequest(campaign_id=campaign_id, mois_declaration=month(mois_declaration))


def run_controls(mois_declaration: MonthLike, detect_non_recours: bool) -> campaign_pb2.RunControlsRequest:
    return campaign_pb2.RunControlsRequest(
        mois_declaration=month(mois_declaration), detect_non_recours=detect_non_recours
    )


def generate_population(
    foyers: int, seed: int, mois_declaration: MonthLike
) -> simulation_pb2.GeneratePopulationRequest:
    return simulation_pb2.GeneratePopulationRequest(foyers=foyers, seed=seed, mois_declaration=month(mois_declaration))


def compare_reform(
    foyers: int, seed: int, mois_droit: MonthLike, overlay_yaml: str
) -> simulation_pb2.CompareReformRequest:
    return simulation_pb2.CompareReformRequest(
        foyers=foyers, seed=seed, mois_droit=month(mois_droit), overlay_yaml=overlay_yaml
    )
