"""What happened to a declaration: who, what, when, from which record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from solidarite_server.domain.record import Mode, StoredRecord
from solidarite_server.ports import StoredEvent
from solidarite_server.services import codec
from solidarite_server.services.declarations import DeclarationView
from solidarite_server.services.life import (
    AMENDED,
    DECIDED,
    SUBMITTED,
    Action,
    Amended,
    Benefit,
    Cause,
    Decided,
    Difference,
    LineChange,
    Revised,
    Submitted,
)

FOYER, CAF = "foyer", "caf"


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing that happened."""

    at_us: int
    actor: str
    """A role, or the source of a record; never a person."""
    kind: str
    message_fr: str
    line_id: str = ""
    before_cents: int | None = None
    after_cents: int | None = None
    record_ids: tuple[bytes, ...] = ()


def timeline(view: DeclarationView, records: dict[str, list[StoredRecord]]) -> list[TimelineEvent]:
    """Everything that happened, oldest first. `records` are all versions behind each line, by line_id."""
    found = [event for stored in view.events for event in _of_event(stored)]
    for line_id, versions in records.items():
        found.extend(_of_record(line_id, stored) for stored in versions)
    if view.corrected:
        at = max(stored.known_at_us for versions in records.values() for stored in versions)
        found.append(TimelineEvent(at, CAF, "RECOMPUTED", "Droits recalculés : correction d'un payeur"))
        found.extend(_of_differences(at, view.differences))
    return sorted(found, key=lambda event: event.at_us)


_RECORD_TEXTS = {
    Mode.INITIAL: "Montant transmis par un payeur",
    Mode.DIFFERENTIEL: "Différence transmise par un payeur",
    Mode.ANNULATION: "Montant annulé par un payeur",
}
_LINE_KINDS = {
    Action.CONFIRM: ("LINE_CONFIRMED", "Ligne confirmée"),
    Action.RECTIFY: ("LINE_RECTIFIED", "Ligne rectifiée"),
    Action.ADD: ("LINE_ADDED", "Ligne ajoutée"),
    Action.REMOVE: ("LINE_REMOVED", "Ligne retirée"),
}
_DECISIONS = {
    Action.ACCEPT: "Rectification acceptée",
    Action.REJECT: "Rectification rejetée",
    Action.RETAIN: "Rectification acceptée en partie",
}
_CAUSES = {
    Cause.CONTROLE: "Droits recalculés après contrôle",
    Cause.INTERRUPTION_RESSOURCES: "Droits recalculés : interruption certaine de ressources",
    Cause.FIN_VIE_COUPLE: "Droits recalculés : fin de vie de couple",
    Cause.ISOLEMENT: "Droits recalculés : isolement",
}
_BENEFITS = {Benefit.RSA: "RSA", Benefit.PRIME_ACTIVITE: "Prime d'activité"}


def _of_record(line_id: str, stored: StoredRecord) -> TimelineEvent:
    record = stored.record
    corrected = record.mode is Mode.INITIAL and record.version > 1
    return TimelineEvent(
        stored.known_at_us,
        record.source_id,
        "RECORD_CORRECTED" if corrected else f"RECORD_{record.mode.name}",
        "Montant corrigé par un payeur" if corrected else _RECORD_TEXTS[record.mode],
        line_id,
        after_cents=record.montant_net_social_cents,
        record_ids=(record.record_id,),
    )


def _of_event(stored: StoredEvent) -> Iterator[TimelineEvent]:
    at = stored.known_at_us
    if stored.kind == AMENDED:
        for change in codec.loads(Amended, stored.payload).changes:
            yield _of_change(at, change)
    elif stored.kind == SUBMITTED:
        submitted = codec.loads(Submitted, stored.payload)
        text = "Déclaration validée en retard : le paiement est différé" if submitted.late else "Déclaration validée"
        yield TimelineEvent(at, FOYER, "SUBMITTED_LATE" if submitted.late else SUBMITTED, text)
    elif stored.kind == DECIDED:
        decided = codec.loads(Decided, stored.payload)
        for decision in decided.decisions:
            text = _DECISIONS[decision.action] + (f" : {decision.motif}" if decision.motif else "")
            after = decision.montant_retenu_cents if decision.action is Action.RETAIN else None
            yield TimelineEvent(at, CAF, DECIDED, text, decision.line_id, after_cents=after)
        yield from _of_differences(at, decided.differences)
    else:
        revised = codec.loads(Revised, stored.payload)
        text = _CAUSES[revised.cause] + (f" ({revised.motif})" if revised.motif else "")
        yield TimelineEvent(at, CAF, f"REVISED_{revised.cause.name}", text)
        yield from _of_differences(at, revised.differences)


def _of_change(at: int, change: LineChange) -> TimelineEvent:
    kind, text = _LINE_KINDS[change.action]
    return TimelineEvent(at, FOYER, kind, text, change.line_id, change.before_cents, change.after_cents)


def _of_differences(at: int, differences: tuple[Difference, ...]) -> Iterator[TimelineEvent]:
    for difference in differences:
        kind, word = ("RAPPEL", "rappel") if difference.rappel_cents else ("INDU", "indu")
        text = f"{_BENEFITS[difference.benefit]} de {difference.mois_droit} : {word}"
        yield TimelineEvent(
            at, CAF, kind, text, before_cents=difference.before_cents, after_cents=difference.after_cents
        )
