"""The life of a declaration as pure rules: what each action does to its lines, and what each event keeps.

Declarations:

| state | amend | submit | decide | revise | then |
| --- | --- | --- | --- | --- | --- |
| PREREMPLIE | EN_COURS | VALIDEE or EN_VERIFICATION | - | - | NON_RETOURNEE once late filing is over |
| EN_COURS | EN_COURS | VALIDEE or EN_VERIFICATION | - | - | NON_RETOURNEE once late filing is over |
| VALIDEE | - | - | - | REVISEE | CLOSE two years on (CASF L262-45) |
| EN_VERIFICATION | - | - | EN_VERIFICATION or REVISEE | EN_VERIFICATION | CLOSE two years on |
| REVISEE | - | - | - | REVISEE | CLOSE two years on |
| NON_RETOURNEE, CLOSE | - | - | - | - | |

A declaration is EN_VERIFICATION as long as a rectified line awaits its decision. Lines: see `LINE_TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum, IntEnum

from solidarite_server.domain.errors import IllegalTransition, InvalidRequest, Reason
from solidarite_server.domain.foyer import Foyer, Membre, Role
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.engine import Entitlement
from solidarite_server.legislation import ExceptionsPpa, LegislationOptions, RectificationEnAttente
from solidarite_server.prefill import Declaration, DeclarationState, Line, LineStatus, PersonPrefill, settled


class Action(Enum):
    """What happens to a line."""

    CONFIRM = "CONFIRM"
    RECTIFY = "RECTIFY"
    ADD = "ADD"
    REMOVE = "REMOVE"
    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    RETAIN = "RETAIN"
    """The agency retains another amount than the two in question."""


LINE_TRANSITIONS: Mapping[tuple[LineStatus | None, Action], LineStatus | None] = {
    (LineStatus.PREREMPLI, Action.CONFIRM): LineStatus.CONFIRME,
    (LineStatus.CONFIRME, Action.CONFIRM): LineStatus.CONFIRME,
    (LineStatus.RECTIFIE, Action.CONFIRM): LineStatus.CONFIRME,
    (LineStatus.PREREMPLI, Action.RECTIFY): LineStatus.RECTIFIE,
    (LineStatus.CONFIRME, Action.RECTIFY): LineStatus.RECTIFIE,
    (LineStatus.RECTIFIE, Action.RECTIFY): LineStatus.RECTIFIE,
    (None, Action.ADD): LineStatus.AJOUTE,
    (LineStatus.AJOUTE, Action.ADD): LineStatus.AJOUTE,
    (LineStatus.AJOUTE, Action.REMOVE): None,
    (LineStatus.RECTIFIE, Action.ACCEPT): LineStatus.ACCEPTE,
    (LineStatus.RECTIFIE, Action.REJECT): LineStatus.REJETE,
    (LineStatus.RECTIFIE, Action.RETAIN): LineStatus.PARTIEL,
}
"""Status of a line after an action; None: no such line. What is not listed is refused."""

_REFUSALS = {
    Action.CONFIRM: "Seule une ligne préremplie se confirme.",
    Action.RECTIFY: "Seule une ligne préremplie se rectifie ; une ligne vide se remplit par un ajout.",
    Action.ADD: "Cette ligne existe déjà : rectifiez-la.",
    Action.REMOVE: "Seule une ligne ajoutée se retire.",
}

AMENDABLE = frozenset({DeclarationState.PREREMPLIE, DeclarationState.EN_COURS})
DECIDABLE = frozenset({DeclarationState.EN_VERIFICATION})
REVISABLE = frozenset({DeclarationState.VALIDEE, DeclarationState.EN_VERIFICATION, DeclarationState.REVISEE})


class Benefit(IntEnum):
    """The numbers of the contract."""

    RSA = 1
    PRIME_ACTIVITE = 2


class Cause(IntEnum):
    """Why a frozen quarter is computed again. The numbers are those of the contract."""

    CONTROLE = 1
    INTERRUPTION_RESSOURCES = 2
    """Certain interruption of resources (R262-4-1 1°)."""
    FIN_VIE_COUPLE = 3
    """End of couple life (R262-4-1 2°)."""
    ISOLEMENT = 4
    """Entry into isolation (R262-4-1 3°)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change asked by the household; which fields hold depends on the action."""

    action: Action
    line_ids: tuple[str, ...] = ()
    """CONFIRM: the lines, or all prefilled ones when empty. RECTIFY and REMOVE: the line."""
    montant_cents: int = 0
    justification_reference: str = ""
    personne: str = ""
    mois: Month | None = None
    nature: NatureRessource | None = None


@dataclass(frozen=True, slots=True)
class LineChange:
    """What happened to one line, as kept."""

    action: Action
    personne: str
    mois: Month
    nature: NatureRessource
    before_cents: int | None = None
    """The amount that stood for the line, before a negative month is zeroed; None when there was no line."""
    after_cents: int | None = None
    justification_reference: str = ""

    @property
    def line_id(self) -> str:
        return f"{self.personne}/{self.mois}/{self.nature.name}"


@dataclass(frozen=True, slots=True)
class FrozenLine:
    """A line as submitted, with the identifiers of the records behind it."""

    personne: str
    mois: Month
    nature: NatureRessource
    status: LineStatus
    montant_retenu_cents: int
    montant_prerempli_cents: int | None = None
    montant_declare_cents: int | None = None
    record_ids: tuple[bytes, ...] = ()
    zeroed: bool = False
    justification_reference: str = ""
    montant_decide_cents: int | None = None
    motif: str = ""


@dataclass(frozen=True, slots=True)
class Exceptional:
    """One of the three events that open a frozen quarter (R262-4-1), with the instant of the dossier that holds it."""

    cause: Cause
    event_date: date
    foyer_known_at_us: int


@dataclass(frozen=True, slots=True)
class FrozenQuarter:
    """All that founds the amounts of three months of right, and the amounts."""

    lines: tuple[FrozenLine, ...]
    amounts: tuple[Entitlement, ...]
    persons: tuple[PersonPrefill, ...]
    known_at_us: int
    """Instant of knowledge of the records."""
    foyer_known_at_us: int
    legislation_version: str
    options: Mapping[str, str]
    exceptions: tuple[Exceptional, ...] = ()

    @property
    def reading(self) -> LegislationOptions:
        """The reading of the law it was submitted under."""
        return LegislationOptions.named(self.options)


@dataclass(frozen=True, slots=True)
class Difference:
    """Money owed one way or the other for one month and benefit, in cents."""

    mois_droit: Month
    benefit: Benefit
    before_cents: int
    """Was to be paid before: net of CRDS, and of a suspended share of the RSA."""
    after_cents: int
    motif: str = ""

    @property
    def rappel_cents(self) -> int:
        """Owed to the household."""
        return max(0, self.after_cents - self.before_cents)

    @property
    def indu_cents(self) -> int:
        """Owed by the household."""
        return max(0, self.before_cents - self.after_cents)


@dataclass(frozen=True, slots=True)
class LineDecision:
    """What the agency decides on a rectified line."""

    line_id: str
    action: Action
    montant_retenu_cents: int = 0
    motif: str = ""


# What an event of a declaration keeps, by its kind.


@dataclass(frozen=True, slots=True)
class Amended:
    """AMENDED: the household changed lines."""

    changes: tuple[LineChange, ...]


@dataclass(frozen=True, slots=True)
class Submitted:
    """SUBMITTED: the household validated, the quarter is frozen."""

    quarter: FrozenQuarter
    late: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """DECIDED: the agency decided on rectified lines."""

    decisions: tuple[LineDecision, ...]
    quarter: FrozenQuarter
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Revised:
    """REVISED: the quarter was computed again."""

    cause: Cause
    quarter: FrozenQuarter
    differences: tuple[Difference, ...]
    event_date: date | None = None
    motif: str = ""


AMENDED, SUBMITTED, DECIDED, REVISED = "AMENDED", "SUBMITTED", "DECIDED", "REVISED"


# The household's changes


def resolve(declaration: Declaration, changes: Sequence[Change]) -> tuple[LineChange, ...]:
    """Check the changes asked for against the declaration, all or none: InvalidRequest names the field at fault."""
    resolved: list[LineChange] = []
    lines = {line.line_id: line for line in declaration.lines}
    for place, change in enumerate(changes):
        for step in _line_changes(declaration, lines, change, f"amendments[{place}]"):
            _replay(lines, step)
            resolved.append(step)
    return tuple(resolved)


def lines_counted(lines: Iterable[Line], foyer: Foyer, options: LegislationOptions) -> tuple[Line, ...]:
    """What counts of each line, under the reading of doubt D3."""
    waits = options.rectification_en_attente is RectificationEnAttente.MONTANT_PREREMPLI
    return settled(lines, foyer, prefilled_until_decided=waits)


def amended(
    declaration: Declaration, foyer: Foyer, events: Sequence[Amended], options: LegislationOptions
) -> Declaration:
    """Replay the household's changes over freshly prefilled lines. Whatever the records became, none is refused."""
    if not events:
        return declaration
    lines = {line.line_id: line for line in declaration.lines}
    for event in events:
        for change in event.changes:
            _replay(lines, change)
    return replace(declaration, lines=lines_counted(lines.values(), foyer, options))


def _line_changes(declaration: Declaration, lines: Mapping[str, Line], change: Change, field: str) -> list[LineChange]:
    if change.action is Action.CONFIRM:
        ids = change.line_ids or [key for key, line in lines.items() if line.status is LineStatus.PREREMPLI]
        return [_confirmed(_line(lines, key, f"{field}.confirmation.line_ids"), field) for key in ids]
    if change.action is Action.RECTIFY:
        return [_rectified(_line(lines, change.line_ids[0], f"{field}.rectification.line_id"), change, field)]
    if change.action is Action.ADD:
        return [_added(declaration, lines, change, f"{field}.addition")]
    line = _line(lines, change.line_ids[0], f"{field}.removed_line_id")
    _check(line.status, Action.REMOVE, f"{field}.removed_line_id")
    return [LineChange(Action.REMOVE, line.personne, line.mois, line.nature, line.signed_cents)]


def _confirmed(line: Line, field: str) -> LineChange:
    _check(line.status, Action.CONFIRM, f"{field}.confirmation.line_ids")
    return LineChange(
        Action.CONFIRM, line.personne, line.mois, line.nature, line.signed_cents, line.montant_prerempli_cents
    )


def _rectified(line: Line, change: Change, field: str) -> LineChange:
    field = f"{field}.rectification"
    _check(line.status, Action.RECTIFY, f"{field}.line_id")
    if not change.justification_reference:
        raise InvalidRequest(
            "Une rectification s'accompagne d'une pièce justificative.",
            field=f"{field}.justification_reference",
            reason=Reason.JUSTIFICATION_MISSING,
        )
    return LineChange(
        Action.RECTIFY,
        line.personne,
        line.mois,
        line.nature,
        line.signed_cents,
        _positive(change.montant_cents, f"{field}.montant_declare_cents"),
        change.justification_reference,
    )


def _added(declaration: Declaration, lines: Mapping[str, Line], change: Change, field: str) -> LineChange:
    if change.personne not in {person.personne for person in declaration.persons}:
        raise InvalidRequest("Cette personne n'est pas membre du foyer.", field=f"{field}.personne")
    if change.mois is None or change.mois not in declaration.mois_reference:
        raise InvalidRequest("Un mois de référence est attendu.", field=f"{field}.mois")
    if change.nature is None:
        raise InvalidRequest("Une nature de ressource est attendue.", field=f"{field}.nature")
    if change.nature.known_to_caf:
        raise InvalidRequest(
            "La Caf verse cette ressource et la connaît : elle ne se déclare pas.", field=f"{field}.nature"
        )
    amount = _positive(change.montant_cents, f"{field}.montant_declare_cents")
    added = LineChange(Action.ADD, change.personne, change.mois, change.nature, None, amount)
    before = lines.get(added.line_id)
    _check(before.status if before else None, Action.ADD, field)
    return replace(added, before_cents=before.signed_cents) if before else added


def _line(lines: Mapping[str, Line], line_id: str, field: str) -> Line:
    if line_id not in lines:
        raise InvalidRequest("Cette ligne n'est pas dans la déclaration, ou elle est encore vide.", field=field)
    return lines[line_id]


def _check(status: LineStatus | None, action: Action, field: str) -> None:
    if (status, action) not in LINE_TRANSITIONS:
        raise InvalidRequest(_REFUSALS[action], field=field)


def _positive(cents: int, field: str) -> int:
    if cents < 0:
        raise InvalidRequest("Un montant positif ou nul est attendu.", field=field)
    return cents


def _replay(lines: dict[str, Line], change: LineChange) -> None:
    """Apply a change kept earlier to the lines as the records make them now."""
    line = lines.get(change.line_id)
    if change.action is Action.CONFIRM:
        if line is None or line.montant_prerempli_cents is None:
            lines.pop(change.line_id, None)  # the record was cancelled: nothing is left to confirm
        else:
            # What was confirmed is an amount: once the records say otherwise, the line is to be looked at again.
            same = line.montant_prerempli_cents == change.after_cents
            status = LineStatus.CONFIRME if same else LineStatus.PREREMPLI
            lines[change.line_id] = replace(line, status=status, montant_declare_cents=None, justification_reference="")
    elif change.action is Action.REMOVE:
        if line is not None and line.montant_prerempli_cents is not None:
            lines[change.line_id] = replace(line, status=LineStatus.PREREMPLI, montant_declare_cents=None)
        else:
            lines.pop(change.line_id, None)
    else:
        line = line or Line(change.personne, change.mois, change.nature, LineStatus.AJOUTE, 0)
        lines[change.line_id] = replace(
            line,
            status=LineStatus.RECTIFIE if change.action is Action.RECTIFY else LineStatus.AJOUTE,
            montant_declare_cents=change.after_cents,
            justification_reference=change.justification_reference,
        )


# After the submission


def decided(
    lines: Sequence[Line], foyer: Foyer, decisions: Sequence[LineDecision], options: LegislationOptions
) -> tuple[Line, ...]:
    """Apply decisions, all or none. A rejected line falls back on its prefilled amount (REGULATION §2.5)."""
    by_id = {line.line_id: line for line in lines}
    for place, decision in enumerate(decisions):
        field = f"decisions[{place}]"
        line = by_id.get(decision.line_id)
        status = LINE_TRANSITIONS.get((line.status if line else None, decision.action))
        if line is None or status is None:
            raise InvalidRequest(
                "Seule une ligne rectifiée, encore sans décision, peut en recevoir une.", field=f"{field}.line_id"
            )
        if decision.action is not Action.ACCEPT and not decision.motif:
            raise InvalidRequest("Un motif est dit au foyer.", field=f"{field}.motif_fr")
        by_id[decision.line_id] = replace(line, status=status, motif=decision.motif)
        if decision.action is Action.RETAIN:
            amount = _positive(decision.montant_retenu_cents, f"{field}.montant_retenu_cents")
            by_id[decision.line_id] = replace(by_id[decision.line_id], montant_decide_cents=amount)
    return lines_counted(by_id.values(), foyer, options)


def carried_over(
    before: Sequence[Line], fresh: Declaration, foyer: Foyer, options: LegislationOptions
) -> tuple[Line, ...]:
    """The lines of a control: what the records say now, under what the household and the agency said of each line."""
    lines = {line.line_id: line for line in fresh.lines}
    for old in before:
        new = lines.get(old.line_id)
        if old.status in (LineStatus.PREREMPLI, LineStatus.CONNU):
            continue
        if old.status is LineStatus.CONFIRME:
            if new is not None and new.montant_prerempli_cents == old.montant_prerempli_cents:
                lines[old.line_id] = replace(new, status=LineStatus.CONFIRME)
            continue
        lines[old.line_id] = replace(
            old,
            montant_prerempli_cents=new.montant_prerempli_cents if new else None,
            records=new.records if new else (),
        )
    return lines_counted(lines.values(), foyer, options)


def state_after(lines: Iterable[Line | FrozenLine], *, recomputed: bool) -> DeclarationState:
    """Where a submitted declaration stands."""
    if any(line.status is LineStatus.RECTIFIE for line in lines):
        return DeclarationState.EN_VERIFICATION
    return DeclarationState.REVISEE if recomputed else DeclarationState.VALIDEE


def differences(before: Sequence[Entitlement], after: Sequence[Entitlement], motif: str = "") -> tuple[Difference, ...]:
    """Months and benefits whose payment changes; both sides in order of month of right."""
    found = []
    for old, new in zip(before, after, strict=True):
        for benefit, was, now in (
            (Benefit.RSA, old.rsa_verse_cents, new.rsa_verse_cents),
            (Benefit.PRIME_ACTIVITE, old.ppa_nette_crds_cents, new.ppa_nette_crds_cents),
        ):
            if was != now:
                found.append(Difference(new.mois_droit, benefit, was, now, motif))
    return tuple(found)


def check_exception(foyer: Foyer, mois_droit: Sequence[Month], cause: Cause, event_date: date) -> None:
    """Refuse an exception outside the quarter, or that the dossier does not hold: InvalidRequest on `event_date`."""
    month = Month.of(event_date)
    if month not in mois_droit:
        raise InvalidRequest("Un jour du trimestre de droit est attendu.", field="event_date")
    held = {
        Cause.INTERRUPTION_RESSOURCES: [i.date_interruption for m in foyer.membres for i in m.interruptions],
        Cause.FIN_VIE_COUPLE: [m.sortie for m in foyer.membres if m.role is Role.CONJOINT and m.sortie],
        Cause.ISOLEMENT: [isolement.debut for isolement in foyer.isolements],
    }[cause]
    if month not in {Month.of(day) for day in held}:
        raise InvalidRequest("Le dossier ne porte pas cet événement ce mois-là : mettez-le à jour.", field="event_date")


def as_examined(foyer: Foyer, mois_declaration: Month, exceptions: Iterable[Exceptional]) -> Foyer:
    """The household as R262-4-1 has it examined from the month of the events on, on the resources declared in M.

    A partner gone is ignored for the three reference months, isolation holds for them all, an interruption neutralises
    as if it had happened before the declaration.
    """
    for exception in exceptions:
        end = Month.of(exception.event_date).last_day
        if exception.cause is Cause.INTERRUPTION_RESSOURCES:
            foyer = replace(foyer, membres=tuple(_interrupted(m, end, mois_declaration) for m in foyer.membres))
            continue
        gone = {m.personne for m in foyer.membres if m.role is Role.CONJOINT and m.sortie and m.sortie <= end}
        foyer = replace(
            foyer,
            membres=tuple(m for m in foyer.membres if m.personne not in gone),
            ressources_connues=tuple(r for r in foyer.ressources_connues if r.personne not in gone),
        )
        if exception.cause is Cause.ISOLEMENT:
            start = (mois_declaration - 4).first_day
            foyer = replace(
                foyer,
                isolements=tuple(
                    replace(i, debut=min(i.debut, start)) if i.debut <= end else i for i in foyer.isolements
                ),
            )
    return foyer


def opens(benefit: Benefit, exception: Exceptional, options: LegislationOptions) -> bool:
    """Whether an event opens a frozen benefit: the RSA by R262-4-1, the prime by the reading of doubt D10 (R843-2)."""
    if benefit is Benefit.RSA:
        return True
    if options.exceptions_ppa is ExceptionsPpa.AUCUNE:
        return False
    return exception.cause is not Cause.INTERRUPTION_RESSOURCES


def _interrupted(membre: Membre, end: date, mois_declaration: Month) -> Membre:
    return replace(
        membre,
        interruptions=tuple(
            replace(i, date_interruption=min(i.date_interruption, mois_declaration.first_day))
            if i.date_interruption <= end
            else i
            for i in membre.interruptions
        ),
    )


def freeze(line: Line) -> FrozenLine:
    """A line without its records, but for their identifiers."""
    return FrozenLine(
        line.personne,
        line.mois,
        line.nature,
        line.status,
        line.montant_retenu_cents,
        line.montant_prerempli_cents,
        line.montant_declare_cents,
        tuple(stored.record.record_id for stored in line.records),
        line.zeroed,
        line.justification_reference,
        line.montant_decide_cents,
        line.motif,
    )


def thaw(frozen: FrozenLine, fresh: Mapping[str, Line]) -> Line:
    """The line again, with its records from lines prefilled at the same instant of knowledge."""
    line = Line(
        frozen.personne,
        frozen.mois,
        frozen.nature,
        frozen.status,
        frozen.montant_retenu_cents,
        frozen.montant_prerempli_cents,
        frozen.montant_declare_cents,
        (),
        frozen.zeroed,
        frozen.justification_reference,
        frozen.montant_decide_cents,
        frozen.motif,
    )
    same = fresh.get(line.line_id)
    return replace(line, records=same.records) if same else line


def refuse_unless(state: DeclarationState, allowed: frozenset[DeclarationState], what: str) -> None:
    """IllegalTransition, in the words of the state, unless it is among those allowed."""
    if state not in allowed:
        raise IllegalTransition(f"La déclaration est {_STATES[state]} : {what}.")


_STATES = {
    DeclarationState.PREREMPLIE: "préremplie et pas encore validée",
    DeclarationState.EN_COURS: "en cours et pas encore validée",
    DeclarationState.VALIDEE: "validée",
    DeclarationState.EN_VERIFICATION: "validée, en cours de vérification",
    DeclarationState.REVISEE: "validée et révisée",
    DeclarationState.NON_RETOURNEE: "non retournée dans les délais",
    DeclarationState.CLOSE: "close",
}
