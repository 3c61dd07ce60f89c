"""Declarations, entitlements and their explanation, as messages; requests to compute, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from solidarite.v1 import campaign_pb2, common_pb2, declaration_pb2, entitlement_pb2

from solidarite_server.domain.errors import InvalidRequest
from solidarite_server.domain.foyer import Foyer, RessourceMois
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.engine import ExplanationStep
from solidarite_server.legislation import LegislationOptions, ParamDate
from solidarite_server.prefill import Line, Signal
from solidarite_server.rpc import convert
from solidarite_server.rpc.convert_records import held_record
from solidarite_server.services.campaign import Progress
from solidarite_server.services.controls import ControlTotal, Finding
from solidarite_server.services.declarations import DeclarationView
from solidarite_server.services.entitlements import MonthlyEntitlement, QuarterEntitlements
from solidarite_server.services.life import Action, Benefit, Change, Difference, LineDecision
from solidarite_server.services.timeline import TimelineEvent

_MAX_RESSOURCES = 20_000


def declaration(view: DeclarationView) -> declaration_pb2.Declaration:
    """A declaration as it stands."""
    value = view.declaration
    message = declaration_pb2.Declaration(
        numero_allocataire=value.numero_allocataire,
        mois_declaration=convert.month_to_proto(value.mois_declaration),
        mois_reference=[convert.month_to_proto(month) for month in value.mois_reference],
        state=convert.number(value.state),
        etag=view.etag,
        persons=[
            declaration_pb2.PersonPrefill(
                personne=person.personne, prefilled=person.prefilled, message_fr=person.message_fr
            )
            for person in value.persons
        ],
        lines=[_line(line) for line in value.lines],
        signals=[_signal(signal) for signal in value.signals],
        window_opens=convert.day_to_proto(view.window.opens),
        window_closes=convert.day_to_proto(view.window.closes),
        known_at=convert.instant_to_proto(value.known_at_us),
    )
    if view.entitlements is not None:
        message.entitlements.extend(months(view.entitlements))
        message.legislation_version = view.entitlements.legislation_version
    return message


def timeline(events: Sequence[TimelineEvent]) -> list[declaration_pb2.TimelineEvent]:
    """What happened, oldest first."""
    return [
        declaration_pb2.TimelineEvent(
            at=convert.instant_to_proto(event.at_us),
            actor=event.actor,
            kind=event.kind,
            message_fr=event.message_fr,
            line_id=event.line_id,
            before_cents=event.before_cents,
            after_cents=event.after_cents,
            record_ids=event.record_ids,
        )
        for event in events
    ]


def differences(found: Sequence[Difference]) -> list[declaration_pb2.Difference]:
    """Money owed one way or the other."""
    return [
        declaration_pb2.Difference(
            mois_droit=convert.month_to_proto(difference.mois_droit),
            benefit=convert.number(difference.benefit),
            before_cents=difference.before_cents,
            after_cents=difference.after_cents,
            rappel_cents=difference.rappel_cents,
            indu_cents=difference.indu_cents,
            motif_fr=difference.motif,
        )
        for difference in found
    ]


def line_changes(before: Sequence[Line], after: Sequence[Line]) -> list[declaration_pb2.LineChange]:
    """Prefilled lines that differ, with the amounts before and after."""
    old, new = ({line.line_id: line for line in lines} for lines in (before, after))
    found = []
    for line_id in dict.fromkeys([*old, *new]):
        was, now = old.get(line_id), new.get(line_id)
        if _prefilled_amounts(was) != _prefilled_amounts(now):
            found.append(
                declaration_pb2.LineChange(before=_line(was) if was else None, after=_line(now) if now else None)
            )
    return found


def _prefilled_amounts(line: Line | None) -> tuple[int | None, bool] | None:
    if line is None or line.montant_prerempli_cents is None:
        return None
    return line.montant_prerempli_cents, line.zeroed


def campaign_progress(progress: Progress) -> campaign_pb2.CampaignProgress:
    """How far a campaign is."""
    return campaign_pb2.CampaignProgress(
        foyers_total=progress.foyers_total,
        foyers_done=progress.foyers_done,
        foyers_refused=sum(progress.refusals.values()),
        refusals_by_reason=progress.refusals,
        foyers_per_s=progress.foyers_per_s,
        rsa_total_cents=progress.rsa_total_cents,
        prime_activite_total_cents=progress.prime_activite_total_cents,
        finished=progress.finished,
    )


def findings(found: Sequence[Finding]) -> list[campaign_pb2.ControlFinding]:
    """Foyers that would be paid otherwise."""
    return [
        campaign_pb2.ControlFinding(
            numero_allocataire=finding.numero_allocataire,
            benefit=convert.number(finding.benefit),
            cause=finding.cause,
            due_cents=finding.due_cents,
            known_cents=finding.known_cents,
        )
        for finding in found
    ]


def control_totals(totals: Mapping[tuple[str, Benefit], ControlTotal]) -> list[campaign_pb2.ControlTotal]:
    """Findings summed by cause and benefit, in that order."""
    return [
        campaign_pb2.ControlTotal(
            cause=cause,
            benefit=convert.number(benefit),
            foyers=total.foyers,
            indu_cents=total.indu_cents,
            rappel_cents=total.rappel_cents,
        )
        for (cause, benefit), total in sorted(totals.items())
    ]


def decisions(messages: Sequence[declaration_pb2.LineDecision]) -> list[LineDecision]:
    """Read what the agency decides."""
    if not 1 <= len(messages) <= 200:
        raise InvalidRequest("De 1 à 200 décisions sont acceptées.", field="decisions")
    return [_decision(message, f"decisions[{place}]") for place, message in enumerate(messages)]


_DECISIONS = {
    declaration_pb2.DECISION_ACCEPTEE: Action.ACCEPT,
    declaration_pb2.DECISION_REJETEE: Action.REJECT,
    declaration_pb2.DECISION_PARTIELLE: Action.RETAIN,
}


def _decision(message: declaration_pb2.LineDecision, field: str) -> LineDecision:
    if message.decision not in _DECISIONS:
        raise InvalidRequest("Une décision du contrat est attendue.", field=f"{field}.decision")
    return LineDecision(
        message.line_id,
        _DECISIONS[message.decision],
        convert.cents(message.montant_retenu_cents, f"{field}.montant_retenu_cents"),
        convert.text(message.motif_fr, f"{field}.motif_fr", minimum=0, maximum=500),
    )


def changes(amendments: Sequence[declaration_pb2.Amendment]) -> list[Change]:
    """Read the changes asked for."""
    if not 1 <= len(amendments) <= 200:
        raise InvalidRequest("De 1 à 200 changements sont acceptés.", field="amendments")
    return [_change(amendment, f"amendments[{place}]") for place, amendment in enumerate(amendments)]


def case(message: entitlement_pb2.ComputeEntitlementsRequest, prefix: str) -> tuple[Foyer, list[RessourceMois], Month]:
    """Read a household to compute; no NIR is needed, and one given is not kept."""
    foyer = convert.foyer(message.foyer, f"{prefix}foyer", lambda nir: nir.encode().ljust(16, b"\0")[:16])
    if len(message.ressources) > _MAX_RESSOURCES:
        raise InvalidRequest(f"Au plus {_MAX_RESSOURCES} ressources.", field=f"{prefix}ressources")
    names = {membre.personne for membre in foyer.membres}
    ressources = [
        convert.ressource(entry, f"{prefix}ressources[{place}]", names)
        for place, entry in enumerate(message.ressources)
    ]
    return foyer, ressources, convert.declaration_month(message.mois_declaration, f"{prefix}mois_declaration")


def options(message: entitlement_pb2.CalculationOptions, default: LegislationOptions) -> LegislationOptions:
    """Read the options of a calculation; the server's own where none is given."""
    named = dict(message.named)
    if message.parameter_date:
        named["param_date"] = convert.enum(ParamDate, message.parameter_date, "options.parameter_date").name
    if not named:
        return default
    try:
        return LegislationOptions.named(named)
    except KeyError:
        raise InvalidRequest("Option inconnue : voir la documentation.", field="options.named") from None
    except ValueError as error:
        raise InvalidRequest("Valeur d'option inconnue.", field=f"options.named[{error}]") from None


def months(value: QuarterEntitlements, missing_fr: str = "") -> list[entitlement_pb2.MonthlyEntitlement]:
    """Rights by month; with `missing_fr`, nothing can be told yet, and that is why."""
    return [_month(month, missing_fr) for month in value.months]


def _month(value: MonthlyEntitlement, missing_fr: str) -> entitlement_pb2.MonthlyEntitlement:
    due = value.entitlement
    message = entitlement_pb2.MonthlyEntitlement(mois_droit=convert.month_to_proto(due.mois_droit))
    if missing_fr:
        for benefit in (common_pb2.BENEFIT_RSA, common_pb2.BENEFIT_PRIME_ACTIVITE):
            message.benefits.add(benefit=benefit, motif=missing_fr)
        return message
    message.benefits.add(
        benefit=common_pb2.BENEFIT_RSA,
        montant_cents=due.rsa_cents,
        montant_net_crds_cents=due.rsa_cents,
        montant_verse_cents=due.rsa_verse_cents,
        eligible=due.rsa_eligible,
        motif=due.rsa_motif,
        steps=[_step(step) for step in value.rsa_steps],
    )
    message.benefits.add(
        benefit=common_pb2.BENEFIT_PRIME_ACTIVITE,
        montant_cents=due.ppa_cents,
        montant_net_crds_cents=due.ppa_nette_crds_cents,
        montant_verse_cents=due.ppa_nette_crds_cents,
        eligible=due.ppa_eligible,
        motif=due.ppa_motif,
        steps=[_step(step) for step in value.ppa_steps],
    )
    return message


def _step(step: ExplanationStep) -> entitlement_pb2.ExplanationStep:
    message = entitlement_pb2.ExplanationStep(
        label=step.label,
        amount_cents=str(step.amount_cents.quantize(Decimal("0.0001"))),
        article=step.article,
        personne=step.personne,
        depth=1,
        counts=True,
        parameters=[
            entitlement_pb2.DatedParameter(
                name=parameter.name,
                value=parameter.value,
                unit=parameter.unit,
                since=convert.day_to_proto(parameter.since),
                source=parameter.source,
                label=parameter.label,
            )
            for parameter in step.parameters
        ],
    )
    if step.mois is not None:
        message.mois.CopyFrom(convert.month_to_proto(step.mois))
    return message


def _line(line: Line) -> declaration_pb2.DeclarationLine:
    return declaration_pb2.DeclarationLine(
        line_id=line.line_id,
        personne=line.personne,
        mois=convert.month_to_proto(line.mois),
        nature=convert.number(line.nature),
        label_fr=line.nature.label,
        status=convert.number(line.status),
        montant_prerempli_cents=line.montant_prerempli_cents,
        montant_declare_cents=line.montant_declare_cents,
        montant_retenu_cents=line.montant_retenu_cents,
        records=[held_record(stored) for stored in line.records],
        justification_reference=line.justification_reference,
        zeroed=line.zeroed,
    )


def _signal(signal: Signal) -> declaration_pb2.Signal:
    return declaration_pb2.Signal(
        code=signal.code,
        message_fr=signal.message_fr,
        personne=signal.personne,
        mois=convert.month_to_proto(signal.mois),
        line_id=signal.line_id,
    )


def _change(message: declaration_pb2.Amendment, field: str) -> Change:
    kind = message.WhichOneof("change")
    if kind == "confirmation":
        return Change(Action.CONFIRM, line_ids=tuple(message.confirmation.line_ids))
    if kind == "rectification":
        asked = message.rectification
        return Change(
            Action.RECTIFY,
            line_ids=(asked.line_id,),
            montant_cents=convert.cents(asked.montant_declare_cents, f"{field}.rectification.montant_declare_cents"),
            justification_reference=convert.text(
                asked.justification_reference, f"{field}.rectification.justification_reference", minimum=0, maximum=100
            ),
        )
    if kind == "addition":
        added = message.addition
        return Change(
            Action.ADD,
            personne=added.personne,
            mois=convert.month(added.mois, f"{field}.addition.mois"),
            nature=convert.enum(NatureRessource, added.nature, f"{field}.addition.nature"),
            montant_cents=convert.cents(added.montant_declare_cents, f"{field}.addition.montant_declare_cents"),
        )
    if kind == "removed_line_id":
        return Change(Action.REMOVE, line_ids=(message.removed_line_id,))
    raise InvalidRequest("Une confirmation, une rectification, un ajout ou un retrait est attendu.", field=field)
