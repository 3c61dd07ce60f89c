"""The life of a declaration: prefilled from the records, amended by the household, submitted and frozen.

What happened is a list of events; the declaration is what they make of the prefilled lines. The etag is the number of
the last event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from solidarite_server.domain.errors import IllegalTransition, InvalidRequest, Reason
from solidarite_server.domain.foyer import Foyer, Role
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.engine import reference_quarter
from solidarite_server.legislation import LegislationOptions
from solidarite_server.ports import Clock, Store, StoredEvent
from solidarite_server.prefill import (
    Declaration,
    DeclarationState,
    Line,
    LineStatus,
    PersonPrefill,
    prefill,
    ressources_of,
)
from solidarite_server.services import codec
from solidarite_server.services.entitlements import QuarterEntitlements, quarter_entitlements
from solidarite_server.services.foyers import FoyerService

AMENDED, SUBMITTED = "AMENDED", "SUBMITTED"


@dataclass(frozen=True, slots=True)
class Change:
    """One change asked by the household; which fields hold depends on the kind."""

    kind: str
    """CONFIRM (lines, or all prefilled ones), RECTIFY, ADD or REMOVE."""
    line_ids: tuple[str, ...] = ()
    line_id: str = ""
    montant_cents: int = 0
    justification_reference: str = ""
    personne: str = ""
    mois: Month | None = None
    nature: NatureRessource | None = None


@dataclass(frozen=True, slots=True)
class Amended:
    """Payload of an AMENDED event."""

    changes: tuple[Change, ...]


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


@dataclass(frozen=True, slots=True)
class FrozenAmount:
    """The rights of one month as submitted, in cents."""

    mois_droit: Month
    rsa_cents: int
    ppa_cents: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """Payload of a SUBMITTED event: all that founds the frozen amounts."""

    lines: tuple[FrozenLine, ...]
    amounts: tuple[FrozenAmount, ...]
    persons: tuple[PersonPrefill, ...]
    known_at_us: int
    foyer_known_at_us: int
    legislation_version: str


@dataclass(frozen=True, slots=True)
class DeclarationView:
    """A declaration as it stands, with what goes with it."""

    declaration: Declaration
    etag: str
    entitlements: QuarterEntitlements | None
    """Those frozen by the submission; None before."""
    window: tuple[date, date]
    events: tuple[StoredEvent, ...]


class DeclarationService:
    """Prefills, amends and submits declarations."""

    def __init__(self, store: Store, clock: Clock, options: LegislationOptions) -> None:
        self._store = store
        self._clock = clock
        self._options = options
        self._foyers = FoyerService(store)

    def view(
        self, numero_allocataire: str, mois: Month, *, known_at_us: int | None = None, explain: bool = False
    ) -> DeclarationView:
        """The declaration as it stands now, or stood at an instant; NotFound without a dossier."""
        events = self._store.events(numero_allocataire, mois, known_at_us=known_at_us)
        submitted = next((event for event in events if event.kind == SUBMITTED), None)
        etag = str(events[-1].sequence if events else 0)
        window = (mois.first_day, mois.last_day)
        if submitted is None:
            declaration = self._open(numero_allocataire, mois, events, known_at_us)
            return DeclarationView(declaration, etag, None, window, tuple(events))
        frozen = codec.loads(Submitted, submitted.payload)
        foyer, _ = self._foyers.get(numero_allocataire, known_at_us=frozen.foyer_known_at_us)
        declaration = _from_frozen(numero_allocataire, mois, foyer, frozen, self._options)
        entitlements = self._compute(foyer, declaration, explain=explain)
        return DeclarationView(declaration, etag, entitlements, window, tuple(events))

    def amend(
        self, numero_allocataire: str, mois: Month, *, etag: str, request_id: str, changes: Sequence[Change]
    ) -> DeclarationView:
        """Apply changes, all or none; the same request again changes nothing."""
        payload = codec.dumps(Amended(tuple(changes)))
        if not self._replayed(numero_allocataire, mois, request_id):
            events = self._store.events(numero_allocataire, mois)
            declaration = self._open(numero_allocataire, mois, events, None)
            _apply(declaration, changes)  # refuses here what the events must never hold
        self._store.append_event(
            numero_allocataire,
            mois,
            expected_sequence=_sequence(etag),
            kind=AMENDED,
            payload=payload,
            request_id=request_id,
            body_hash=hashlib.sha256(AMENDED.encode() + etag.encode() + payload).digest(),
        )
        return self.view(numero_allocataire, mois)

    def submit(
        self, numero_allocataire: str, mois: Month, *, etag: str, request_id: str, explain: bool
    ) -> DeclarationView:
        """Validate the declaration: its amounts are frozen for the three months of right (R262-4)."""
        if not self._replayed(numero_allocataire, mois, request_id):
            events = self._store.events(numero_allocataire, mois)
            declaration = self._open(numero_allocataire, mois, events, None)
            foyer, foyer_known_at = self._foyers.get(numero_allocataire)
            missing = to_declare_by_hand(foyer, declaration)
            if missing:
                raise IllegalTransition(missing)
            entitlements = self._compute(foyer, declaration, explain=False)
            payload = codec.dumps(_freeze(declaration, entitlements, foyer_known_at))
        else:
            payload = b""
        self._store.append_event(
            numero_allocataire,
            mois,
            expected_sequence=_sequence(etag),
            kind=SUBMITTED,
            payload=payload,
            request_id=request_id,
            # The body of a submission is its etag: the amounts follow from it.
            body_hash=hashlib.sha256(SUBMITTED.encode() + etag.encode()).digest(),
        )
        return self.view(numero_allocataire, mois, explain=explain)

    def entitlements(
        self, numero_allocataire: str, mois: Month, *, known_at_us: int | None, explain: bool
    ) -> tuple[QuarterEntitlements, bool, str]:
        """Rights frozen by the submission, or an estimate; True for an estimate, and why it cannot be made if so."""
        seen = self.view(numero_allocataire, mois, known_at_us=known_at_us, explain=explain)
        if seen.entitlements is not None:
            return seen.entitlements, False, ""
        foyer, _ = self._foyers.get(numero_allocataire, known_at_us=known_at_us)
        return (
            self._compute(foyer, seen.declaration, explain=explain),
            True,
            to_declare_by_hand(foyer, seen.declaration),
        )

    def _compute(self, foyer: Foyer, declaration: Declaration, *, explain: bool) -> QuarterEntitlements:
        return quarter_entitlements(
            foyer,
            ressources_of(declaration.lines),
            declaration.mois_declaration,
            options=self._options,
            with_steps=explain,
        )

    def _open(
        self, numero_allocataire: str, mois: Month, events: Sequence[StoredEvent], known_at_us: int | None
    ) -> Declaration:
        if any(event.kind == SUBMITTED for event in events):
            raise IllegalTransition("La déclaration est validée : elle ne se modifie plus.")
        foyer, _ = self._foyers.get(numero_allocataire, known_at_us=known_at_us)
        months = reference_quarter(foyer, mois, self._options).months
        persons = [membre.pseudonyme for membre in foyer.membres if membre.pseudonyme is not None]
        records = self._store.records_of(persons, months[0], months[2], known_at_us=known_at_us)
        known_at = self._clock.now_us() if known_at_us is None else known_at_us
        declaration = prefill(foyer, mois, months, records, known_at_us=known_at)
        for event in events:
            declaration = _apply(declaration, codec.loads(Amended, event.payload).changes)
        return declaration

    def _replayed(self, numero_allocataire: str, mois: Month, request_id: str) -> bool:
        return any(event.request_id == request_id for event in self._store.events(numero_allocataire, mois))


def to_declare_by_hand(foyer: Foyer, declaration: Declaration) -> str:
    """Why the declaration cannot stand yet: an adult could not be prefilled and declared nothing. Empty otherwise."""
    adults = {m.personne for m in foyer.membres if m.role in (Role.ALLOCATAIRE, Role.CONJOINT)}
    declared = {line.personne for line in declaration.lines if line.status is LineStatus.AJOUTE}
    for person in declaration.persons:
        if person.personne in adults and not person.prefilled and person.personne not in declared:
            return (
                "Une personne n'a pas pu être préremplie : déclarez d'abord ses ressources, mois par mois "
                "(0 € si elle n'en a pas eu)."
            )
    return ""


def _sequence(etag: str) -> int:
    if not etag.isascii() or not etag.isdigit() or len(etag) > 9:
        raise InvalidRequest("L'etag est celui de la dernière lecture de la déclaration.", field="etag")
    return int(etag)


def _apply(declaration: Declaration, changes: Iterable[Change]) -> Declaration:
    lines = {line.line_id: line for line in declaration.lines}
    for place, change in enumerate(changes):
        field = f"amendments[{place}]"
        if change.kind == "CONFIRM":
            for line_id in change.line_ids or [i for i, line in lines.items() if line.status is LineStatus.PREREMPLI]:
                line = _line(lines, line_id, f"{field}.confirmation.line_ids")
                if line.status is LineStatus.PREREMPLI:
                    lines[line_id] = replace(line, status=LineStatus.CONFIRME)
        elif change.kind == "RECTIFY":
            lines[change.line_id] = _rectified(lines, change, f"{field}.rectification")
        elif change.kind == "ADD":
            added = _added(declaration, change, f"{field}.addition")
            if added.line_id in lines and lines[added.line_id].status is not LineStatus.AJOUTE:
                raise InvalidRequest("Cette ligne existe déjà : rectifiez-la.", field=f"{field}.addition")
            lines[added.line_id] = added
        elif change.kind == "REMOVE":
            line = _line(lines, change.line_id, f"{field}.removed_line_id")
            if line.status is not LineStatus.AJOUTE:
                raise InvalidRequest("Seule une ligne ajoutée se retire.", field=f"{field}.removed_line_id")
            del lines[change.line_id]
        else:
            raise InvalidRequest(
                "Une confirmation, une rectification, un ajout ou un retrait est attendu.", field=field
            )
    ordered = tuple(sorted(lines.values(), key=lambda line: (line.mois, line.personne, line.nature)))
    return replace(declaration, lines=ordered, state=DeclarationState.EN_COURS)


def _line(lines: dict[str, Line], line_id: str, field: str) -> Line:
    if line_id not in lines:
        raise InvalidRequest("Cette ligne n'est pas dans la déclaration.", field=field)
    return lines[line_id]


def _rectified(lines: dict[str, Line], change: Change, field: str) -> Line:
    line = _line(lines, change.line_id, f"{field}.line_id")
    if line.status not in (LineStatus.PREREMPLI, LineStatus.CONFIRME, LineStatus.RECTIFIE):
        raise InvalidRequest("Seule une ligne préremplie se rectifie.", field=f"{field}.line_id")
    if not change.justification_reference:
        raise InvalidRequest(
            "Une rectification s'accompagne d'une pièce justificative.",
            field=f"{field}.justification_reference",
            reason=Reason.JUSTIFICATION_MISSING,
        )
    return replace(
        line,
        status=LineStatus.RECTIFIE,
        montant_declare_cents=_positive(change, field),
        montant_retenu_cents=change.montant_cents,
        zeroed=False,
        justification_reference=change.justification_reference,
    )


def _added(declaration: Declaration, change: Change, field: str) -> Line:
    if change.personne not in {person.personne for person in declaration.persons}:
        raise InvalidRequest("Cette personne n'est pas membre du foyer.", field=f"{field}.personne")
    if change.mois not in declaration.mois_reference:
        raise InvalidRequest("Un mois de référence est attendu.", field=f"{field}.mois")
    if change.nature is None or change.nature.known_to_caf:
        raise InvalidRequest("Une nature de ressource à déclarer est attendue.", field=f"{field}.nature")
    amount = _positive(change, field)
    return Line(change.personne, change.mois, change.nature, LineStatus.AJOUTE, amount, montant_declare_cents=amount)


def _positive(change: Change, field: str) -> int:
    if change.montant_cents < 0:
        raise InvalidRequest("Un montant positif ou nul est attendu.", field=f"{field}.montant_declare_cents")
    return change.montant_cents


def _freeze(declaration: Declaration, entitlements: QuarterEntitlements, foyer_known_at_us: int) -> Submitted:
    lines = tuple(
        FrozenLine(
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
        )
        for line in declaration.lines
    )
    amounts = tuple(
        FrozenAmount(m.entitlement.mois_droit, m.entitlement.rsa_cents, m.entitlement.ppa_cents)
        for m in entitlements.months
    )
    return Submitted(
        lines,
        amounts,
        declaration.persons,
        declaration.known_at_us,
        foyer_known_at_us,
        entitlements.legislation_version,
    )


def _from_frozen(
    numero_allocataire: str, mois: Month, foyer: Foyer, frozen: Submitted, options: LegislationOptions
) -> Declaration:
    lines = tuple(
        Line(
            line.personne,
            line.mois,
            line.nature,
            line.status,
            line.montant_retenu_cents,
            line.montant_prerempli_cents,
            line.montant_declare_cents,
            (),
            line.zeroed,
            line.justification_reference,
        )
        for line in frozen.lines
    )
    rectified = any(line.status is LineStatus.RECTIFIE for line in lines)
    return Declaration(
        numero_allocataire,
        mois,
        reference_quarter(foyer, mois, options).months,
        DeclarationState.EN_VERIFICATION if rectified else DeclarationState.VALIDEE,
        frozen.persons,
        lines,
        frozen.known_at_us,
    )
