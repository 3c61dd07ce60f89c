"""The use cases around a declaration: prefilled from the records, amended, submitted, decided on, revised.

What happened is a list of events (`services.life`); the declaration is what they make of the prefilled lines. The etag
is the number of the last event. A change is checked here and gives the event to commit (`Proposed`), which goes with
those of others. Every change answers with the declaration as known at the instant of its own event, so that the same
request again gives the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from solidarite_server.domain.errors import IllegalTransition, InvalidRequest, StaleEtag
from solidarite_server.domain.foyer import Foyer, Role
from solidarite_server.domain.month import Month
from solidarite_server.domain.record import StoredRecord
from solidarite_server.engine import Entitlement, reference_quarter
from solidarite_server.legislation import CorrectionTardive, LegislationOptions
from solidarite_server.ports import Clock, NewEvent, Store, StoredEvent
from solidarite_server.prefill import (
    Declaration,
    DeclarationState,
    LineStatus,
    lines_to_declare,
    prefill,
    ressources_of,
    signals_of,
)
from solidarite_server.services import codec, life
from solidarite_server.services.calendar import Window, day_of, window_of
from solidarite_server.services.entitlements import MonthlyEntitlement, QuarterEntitlements, quarter_entitlements
from solidarite_server.services.foyers import FoyerService
from solidarite_server.services.life import (
    AMENDED,
    DECIDED,
    REVISED,
    SUBMITTED,
    Amended,
    Benefit,
    Cause,
    Change,
    Decided,
    Difference,
    Exceptional,
    FrozenQuarter,
    LineDecision,
    Revised,
    Submitted,
)


@dataclass(frozen=True, slots=True)
class DeclarationView:
    """A declaration as it stands, with what goes with it."""

    declaration: Declaration
    etag: str
    entitlements: QuarterEntitlements | None
    """Those frozen by the submission, or by the last decision or revision; None before."""
    window: Window
    events: tuple[StoredEvent, ...]
    differences: tuple[Difference, ...] = ()
    """What the last decision or revision changed, or a late correction where it counts at once (doubt D4)."""
    corrected: bool = False
    """Whether the amounts follow a correction known since the last event."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the events make of a declaration."""

    state: DeclarationState
    quarter: FrozenQuarter | None
    amendments: tuple[Amended, ...]
    differences: tuple[Difference, ...] = ()
    corrected: bool = False


@dataclass(frozen=True, slots=True)
class _Current:
    """A declaration as it stands, with the dossier it stands on."""

    standing: _Standing
    foyer: Foyer
    foyer_known_at_us: int
    prefilled: Declaration
    """What the records alone make of it, at the instant that the quarter was frozen at, if it was."""
    declaration: Declaration
    etag: str
    events: tuple[StoredEvent, ...]
    kept_amounts: tuple[Entitlement, ...] = ()
    """Those of the last event, once submitted: what a further event is compared with."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """A change that the declaration, as it was read, allows."""

    event: NewEvent
    answer: Callable[[StoredEvent], DeclarationView]
    """The declaration after the event that the store kept."""


class DeclarationService:
    """Prefills, amends, submits, decides, revises. `known_at_us`, everywhere: as it was known at that instant."""

    def __init__(self, store: Store, clock: Clock, options: LegislationOptions) -> None:
        self._store = store
        self._clock = clock
        self._options = options
        self._foyers = FoyerService(store)

    # Reads

    def view(
        self, numero_allocataire: str, mois: Month, *, known_at_us: int | None = None, explain: bool = False
    ) -> DeclarationView:
        """The declaration as it stands now, or stood at an instant; NotFound without a dossier."""
        return self._view(self._current(numero_allocataire, mois, known_at_us), explain=explain)

    def _view(self, current: _Current, *, explain: bool) -> DeclarationView:
        quarter, declaration = current.standing.quarter, current.declaration
        window = window_of(declaration.mois_declaration, self._options.calendrier)
        if quarter is None:
            shown = with_empty_lines(current.foyer, declaration)
            signals = signals_of(shown, window.opens_at_us)
            shown = replace(shown, signals=signals) if signals else shown
            return DeclarationView(shown, current.etag, None, window, current.events)
        entitlements = self._frozen_entitlements(declaration, quarter, explain=explain)
        standing = current.standing
        return DeclarationView(
            declaration, current.etag, entitlements, window, current.events, standing.differences, standing.corrected
        )

    def records_behind(self, view: DeclarationView) -> dict[str, list[StoredRecord]]:
        """Every version held on the members for the reference months, as known at the view's instant, by line_id."""
        declaration = view.declaration
        foyer, _ = self._foyers.get(declaration.numero_allocataire, known_at_us=declaration.known_at_us)
        names = {m.pseudonyme: m.personne for m in foyer.membres if m.pseudonyme is not None and m.nir_certifie}
        first, _, last = declaration.mois_reference
        horizon = max([declaration.known_at_us, *(event.known_at_us for event in view.events)])
        found: dict[str, list[StoredRecord]] = {}
        for stored in self._store.records_of(list(names), first, last, known_at_us=horizon):
            record = stored.record
            line_id = f"{names[record.person]}/{record.mois_rattachement}/{record.nature.name}"
            found.setdefault(line_id, []).append(stored)
        return found

    def entitlements(
        self, numero_allocataire: str, mois: Month, *, known_at_us: int | None, explain: bool
    ) -> tuple[QuarterEntitlements, bool, str]:
        """Rights frozen by the submission, or an estimate; True for an estimate, and why it cannot be made if so."""
        current = self._current(numero_allocataire, mois, known_at_us)
        quarter, declaration = current.standing.quarter, current.declaration
        if quarter is not None:
            frozen = self._frozen_entitlements(declaration, quarter, explain=explain)
            return frozen, False, ""
        estimate = self._compute(current.foyer, declaration, explain=explain)
        return estimate, True, to_declare_by_hand(current.foyer, declaration)

    # Changes

    def amend(
        self, numero_allocataire: str, mois: Month, *, etag: str, request_id: str, changes: Sequence[Change]
    ) -> Proposed:
        """Apply changes, all or none."""

        def payload(current: _Current) -> bytes:
            self._check_filing(current.standing, mois)
            return codec.dumps(Amended(life.resolve(current.declaration, changes)))

        return self._proposed(numero_allocataire, mois, etag, request_id, AMENDED, _AsAsked(tuple(changes)), payload)

    def submit(self, numero_allocataire: str, mois: Month, *, etag: str, request_id: str, explain: bool) -> Proposed:
        """Validate the declaration: its amounts are frozen for the three months of right (R262-4)."""

        def payload(current: _Current) -> bytes:
            today = self._check_filing(current.standing, mois)
            missing = to_declare_by_hand(current.foyer, current.declaration)
            if missing:
                raise IllegalTransition(missing)
            entitlements = self._compute(current.foyer, current.declaration, explain=False)
            quarter = FrozenQuarter(
                lines=tuple(life.freeze(line) for line in current.declaration.lines),
                amounts=entitlements.amounts,
                persons=current.declaration.persons,
                known_at_us=current.declaration.known_at_us,
                foyer_known_at_us=current.foyer_known_at_us,
                legislation_version=entitlements.legislation_version,
                options=self._options.changed(),
            )
            late = window_of(mois, self._options.calendrier).is_late(today)
            return codec.dumps(Submitted(quarter, late))

        return self._proposed(
            numero_allocataire, mois, etag, request_id, SUBMITTED, _Nothing(), payload, explain=explain
        )

    def decide(
        self, numero_allocataire: str, mois: Month, *, etag: str, request_id: str, decisions: Sequence[LineDecision]
    ) -> Proposed:
        """Decide on rectified lines, all or none, and compute the whole quarter again (REGULATION §2.5)."""

        def payload(current: _Current) -> bytes:
            life.refuse_unless(current.standing.state, life.DECIDABLE, "aucune rectification n'attend de décision")
            quarter = _frozen_quarter(current.standing)
            lines = life.decided(current.declaration.lines, current.foyer, decisions, quarter.reading)
            after = self._recomputed(numero_allocataire, replace(current.declaration, lines=lines), quarter)
            motif = " ; ".join(dict.fromkeys(d.motif for d in decisions if d.motif)) or "Rectification acceptée"
            found = life.differences(current.kept_amounts, after.amounts, motif)
            return codec.dumps(Decided(tuple(decisions), after, found))

        asked = _Decisions(tuple(decisions))
        return self._proposed(numero_allocataire, mois, etag, request_id, DECIDED, asked, payload)

    def revise(
        self,
        numero_allocataire: str,
        mois: Month,
        *,
        etag: str,
        request_id: str,
        cause: Cause,
        event_date: date | None,
        motif: str,
    ) -> Proposed:
        """Compute a submitted quarter again: with what is known now, or for one of the three exceptions (R262-4-1)."""

        def payload(current: _Current) -> bytes:
            life.refuse_unless(current.standing.state, life.REVISABLE, "il n'y a rien à réviser")
            before = _frozen_quarter(current.standing)
            if cause is Cause.CONTROLE:
                declaration, base = self._controlled(numero_allocataire, current.declaration, before)
            else:
                declaration = current.declaration
                base = self._with_exception(numero_allocataire, mois, before, cause, event_date)
            after = self._recomputed(numero_allocataire, declaration, base)
            found = life.differences(current.kept_amounts, after.amounts, motif)
            return codec.dumps(Revised(cause, after, found, event_date, motif))

        asked = _Revision(cause, event_date, motif)
        return self._proposed(numero_allocataire, mois, etag, request_id, REVISED, asked, payload)

    def recomputed(
        self, declaration: Declaration, quarter: FrozenQuarter, foyer_known_at_us: int
    ) -> tuple[Entitlement, ...]:
        """The rights of a submitted quarter for other lines and another version of the dossier; nothing is kept."""
        base = replace(quarter, foyer_known_at_us=foyer_known_at_us)
        return self._recomputed(declaration.numero_allocataire, declaration, base).amounts

    # Parts

    def _proposed(
        self,
        numero_allocataire: str,
        mois: Month,
        etag: str,
        request_id: str,
        kind: str,
        asked: object,
        payload: Callable[[_Current], bytes],
        *,
        explain: bool = False,
    ) -> Proposed:
        current = self._current(numero_allocataire, mois, None)
        content = b""  # of a request already served: the store gives its event back, or refuses another body
        if not any(event.request_id == request_id for event in current.events):
            if etag != current.etag:
                raise StaleEtag("La déclaration a changé depuis sa lecture : relisez-la avant de continuer.")
            content = payload(current)
        body_hash = hashlib.sha256(kind.encode() + etag.encode() + b"\0" + codec.dumps(asked)).digest()
        last = len(current.events)

        def answer(event: StoredEvent) -> DeclarationView:
            if event.sequence != last + 1:  # an earlier answer, given again
                return self.view(numero_allocataire, mois, known_at_us=event.known_at_us, explain=explain)
            return self._view(self._after(current, event), explain=explain)

        # R262-4: a month of right is examined once; two frozen quarters never cover the same month.
        alone_among = (mois - 2, mois - 1, mois + 1, mois + 2) if kind == SUBMITTED else ()
        event = NewEvent(numero_allocataire, mois, last, kind, content, request_id, body_hash, alone_among)
        return Proposed(event, answer)

    def _current(self, numero_allocataire: str, mois: Month, known_at_us: int | None) -> _Current:
        with self._store.at_once():
            return self._read(numero_allocataire, mois, known_at_us)

    def _read(self, numero_allocataire: str, mois: Month, known_at_us: int | None) -> _Current:
        # Everything is read as known at one instant, so that it can be read again.
        horizon = self._store.last_instant_us() if known_at_us is None else known_at_us
        events = self._store.events(numero_allocataire, mois, known_at_us=horizon)
        standing = self._standing(mois, events, known_at_us)
        quarter = standing.quarter
        dossier_known_at = horizon if quarter is None else quarter.foyer_known_at_us
        foyer, foyer_known_at = self._foyers.get(numero_allocataire, known_at_us=dossier_known_at)
        fresh = self._prefilled(foyer, mois, horizon if quarter is None else quarter.known_at_us)
        return self._standing_on(standing, foyer, foyer_known_at, fresh, events, horizon)

    def _after(self, before: _Current, event: StoredEvent) -> _Current:
        """The declaration once its next event is kept. What a submission or a decision froze was read: not again."""
        mois, horizon = before.declaration.mois_declaration, event.known_at_us
        events = (*before.events, event)
        standing = self._standing(mois, events, horizon)
        read, quarter = (before.foyer_known_at_us, before.prefilled.known_at_us), standing.quarter
        if quarter is None or read != (quarter.foyer_known_at_us, quarter.known_at_us):
            return self._current(before.declaration.numero_allocataire, mois, horizon)
        return self._standing_on(standing, before.foyer, before.foyer_known_at_us, before.prefilled, events, horizon)

    def _standing_on(
        self,
        standing: _Standing,
        foyer: Foyer,
        foyer_known_at_us: int,
        prefilled: Declaration,
        events: Sequence[StoredEvent],
        horizon: int,
    ) -> _Current:
        quarter = standing.quarter
        if quarter is None:
            declaration = life.amended(prefilled, foyer, standing.amendments, self._options)
        else:
            by_id = {line.line_id: line for line in prefilled.lines}
            lines = tuple(life.thaw(line, by_id) for line in quarter.lines)
            declaration = replace(prefilled, persons=quarter.persons, lines=lines)
            if quarter.reading.correction_tardive is CorrectionTardive.RECALCUL:
                standing, declaration = self._corrected(standing, foyer, declaration, horizon)
        if declaration.state is not standing.state:
            declaration = replace(declaration, state=standing.state)
        etag = etag_of(len(events), declaration)
        kept = quarter.amounts if quarter is not None else ()
        return _Current(standing, foyer, foyer_known_at_us, prefilled, declaration, etag, tuple(events), kept)

    def _corrected(
        self, standing: _Standing, foyer: Foyer, declaration: Declaration, horizon: int
    ) -> tuple[_Standing, Declaration]:
        """The quarter as corrections known since its last event make it, in the reading that does not wait (doubt D4).

        Nothing is kept: what is known at an instant gives the same amounts each time, and the next event keeps them.
        """
        quarter = _frozen_quarter(standing)
        fresh = self._prefilled(foyer, declaration.mois_declaration, horizon)
        lines = life.carried_over(declaration.lines, fresh, foyer, quarter.reading)
        if [(line.line_id, line.montant_retenu_cents) for line in lines] == [
            (line.line_id, line.montant_retenu_cents) for line in declaration.lines
        ]:
            return standing, declaration
        declaration = replace(fresh, lines=lines)
        after = self._recomputed(declaration.numero_allocataire, declaration, quarter)
        found = life.differences(quarter.amounts, after.amounts, "Correction transmise par un payeur")
        state = standing.state
        if state is not DeclarationState.CLOSE:
            state = life.state_after(lines, recomputed=True)
        return _Standing(state, after, (), found, corrected=True), declaration

    def _standing(self, mois: Month, events: Sequence[StoredEvent], known_at_us: int | None) -> _Standing:
        today = day_of(self._clock.now_us() if known_at_us is None else known_at_us)
        window = window_of(mois, self._options.calendrier)
        frozen = [event for event in events if event.kind != AMENDED]
        if not frozen:
            changes = tuple(codec.loads(Amended, event.payload) for event in events)
            state = DeclarationState.EN_COURS if changes else DeclarationState.PREREMPLIE
            return _Standing(DeclarationState.NON_RETOURNEE if window.is_over(today) else state, None, changes)
        last = frozen[-1]
        quarter, differences = quarter_of(last), _differences_of(last)
        state = life.state_after(quarter.lines, recomputed=len(frozen) > 1)
        if window.enforced and today > window.prescription:
            state = DeclarationState.CLOSE
        return _Standing(state, quarter, (), differences)

    def _prefilled(self, foyer: Foyer, mois: Month, known_at_us: int) -> Declaration:
        months = reference_quarter(foyer, mois, self._options).months
        persons = [membre.pseudonyme for membre in foyer.membres if membre.pseudonyme is not None]
        records = self._store.records_of(persons, months[0], months[2], known_at_us=known_at_us)
        return prefill(foyer, mois, months, records, known_at_us=known_at_us)

    def _controlled(
        self, numero_allocataire: str, before: Declaration, quarter: FrozenQuarter
    ) -> tuple[Declaration, FrozenQuarter]:
        horizon = self._store.last_instant_us()
        foyer, foyer_known_at = self._foyers.get(numero_allocataire, known_at_us=horizon)
        fresh = self._prefilled(foyer, before.mois_declaration, horizon)
        lines = life.carried_over(before.lines, fresh, foyer, quarter.reading)
        declaration = replace(fresh, lines=lines)
        return declaration, replace(quarter, foyer_known_at_us=foyer_known_at)

    def _with_exception(
        self, numero_allocataire: str, mois: Month, quarter: FrozenQuarter, cause: Cause, event_date: date | None
    ) -> FrozenQuarter:
        if event_date is None:
            raise InvalidRequest("Le jour de l'événement est attendu.", field="event_date")
        foyer, foyer_known_at = self._foyers.get(numero_allocataire)
        life.check_exception(foyer, reference_quarter(foyer, mois, self._options).mois_droit, cause, event_date)
        return replace(quarter, exceptions=(*quarter.exceptions, Exceptional(cause, event_date, foyer_known_at)))

    def _recomputed(self, numero_allocataire: str, declaration: Declaration, base: FrozenQuarter) -> FrozenQuarter:
        entitlements = self._entitlements_of(numero_allocataire, declaration, base, explain=False)
        return replace(
            base,
            lines=tuple(life.freeze(line) for line in declaration.lines),
            amounts=entitlements.amounts,
            persons=declaration.persons,
            known_at_us=declaration.known_at_us,
            legislation_version=entitlements.legislation_version,
        )

    def _entitlements_of(
        self, numero_allocataire: str, declaration: Declaration, quarter: FrozenQuarter, *, explain: bool
    ) -> QuarterEntitlements:
        foyer, _ = self._foyers.get(numero_allocataire, known_at_us=quarter.foyer_known_at_us)
        mois = declaration.mois_declaration
        reading = quarter.reading
        examined: dict[Benefit, dict[Month, Foyer]] = {benefit: {} for benefit in Benefit}
        for droit in reference_quarter(foyer, mois, reading).mois_droit:
            for benefit, months in examined.items():
                held = [
                    e for e in quarter.exceptions if Month.of(e.event_date) <= droit and life.opens(benefit, e, reading)
                ]
                if held:
                    newest = max(quarter.foyer_known_at_us, *(e.foyer_known_at_us for e in held))
                    dossier, _ = self._foyers.get(numero_allocataire, known_at_us=newest)
                    months[droit] = life.as_examined(dossier, mois, held)
        return quarter_entitlements(
            foyer,
            ressources_of(declaration.lines),
            mois,
            options=reading,
            with_steps=explain,
            examined_rsa=examined[Benefit.RSA],
            examined_ppa=examined[Benefit.PRIME_ACTIVITE],
        )

    def _frozen_entitlements(
        self, declaration: Declaration, quarter: FrozenQuarter, *, explain: bool
    ) -> QuarterEntitlements:
        """The amounts as frozen. They are explained as long as the rules in force still give them."""
        kept = tuple(MonthlyEntitlement(amount) for amount in quarter.amounts)
        if explain:
            found = self._entitlements_of(declaration.numero_allocataire, declaration, quarter, explain=True)
            if found.amounts == quarter.amounts:
                kept = found.months
        return QuarterEntitlements(declaration.mois_reference, kept, quarter.legislation_version)

    def _compute(self, foyer: Foyer, declaration: Declaration, *, explain: bool) -> QuarterEntitlements:
        return quarter_entitlements(
            foyer,
            ressources_of(declaration.lines),
            declaration.mois_declaration,
            options=self._options,
            with_steps=explain,
        )

    def _check_filing(self, standing: _Standing, mois: Month) -> date:
        today = day_of(self._clock.now_us())
        window_of(mois, self._options.calendrier).check_filing(today)
        life.refuse_unless(standing.state, life.AMENDABLE, "elle ne se modifie plus")
        return today


@dataclass(frozen=True, slots=True)
class _AsAsked:
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class _Nothing:
    """A submission asks for nothing but what the etag names."""


@dataclass(frozen=True, slots=True)
class _Decisions:
    decisions: tuple[LineDecision, ...]


@dataclass(frozen=True, slots=True)
class _Revision:
    cause: Cause
    event_date: date | None
    motif: str


def quarter_of(event: StoredEvent) -> FrozenQuarter:
    """The quarter as a submission, a decision or a revision left it."""
    kinds: dict[str, type[Submitted | Decided | Revised]] = {SUBMITTED: Submitted, DECIDED: Decided, REVISED: Revised}
    return codec.loads(kinds[event.kind], event.payload).quarter


def _differences_of(event: StoredEvent) -> tuple[Difference, ...]:
    if event.kind == DECIDED:
        return codec.loads(Decided, event.payload).differences
    return codec.loads(Revised, event.payload).differences if event.kind == REVISED else ()


def with_empty_lines(foyer: Foyer, declaration: Declaration) -> Declaration:
    """The declaration with the empty lines that its persons may have to fill."""
    empty = lines_to_declare(foyer, declaration)
    if not empty:
        return declaration
    order = {membre.personne: place for place, membre in enumerate(foyer.membres)}
    lines = sorted(
        (*declaration.lines, *empty),
        key=lambda line: (line.mois, order[line.personne], line.nature),
    )
    return replace(declaration, lines=tuple(lines))


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


def _frozen_quarter(standing: _Standing) -> FrozenQuarter:
    if standing.quarter is None:
        raise IllegalTransition("La déclaration n'est pas validée.")
    return standing.quarter


def etag_of(sequence: int, declaration: Declaration) -> str:
    """Names what a reader saw: the events, and the amounts that the records gave the lines at that time.

    A change asked for with it is refused once a late correction has changed what would be validated.
    """
    digest = hashlib.blake2b(digest_size=6)
    for line in declaration.lines:
        digest.update(f"{line.line_id}={line.montant_prerempli_cents},{line.montant_retenu_cents};".encode())
    return f"{sequence}-{digest.hexdigest()}"
