"""Controls after a declaration month: what was submitted against what is known now, and who never declared.

| cause | what differs |
| --- | --- |
| RECTIFICATION_PENDING | a rectified line waits for its decision: what if it were rejected |
| MISSING_LINE | records now tell of a resource that the declaration does not have |
| LATE_CORRECTION | the records behind a declared line have changed |
| DOSSIER_CHANGED | the household's dossier has changed |
| NON_RECOURS | no declaration, and rights if there had been one |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from solidarite_server.domain.foyer import Foyer
from solidarite_server.domain.month import Month
from solidarite_server.engine import Entitlement
from solidarite_server.legislation import CorrectionTardive, LegislationOptions
from solidarite_server.ports import Store, StoredEvent
from solidarite_server.prefill import Line, LineStatus, ressources_of
from solidarite_server.services import codec, life
from solidarite_server.services.blocks import BLOCK_DOSSIERS, computed, prefilled
from solidarite_server.services.declarations import DeclarationService, quarter_of
from solidarite_server.services.entitlements import quarter_entitlements
from solidarite_server.services.life import AMENDED, Benefit, FrozenQuarter

RECTIFICATION_PENDING, MISSING_LINE = "RECTIFICATION_PENDING", "MISSING_LINE"
LATE_CORRECTION, DOSSIER_CHANGED, NON_RECOURS = "LATE_CORRECTION", "DOSSIER_CHANGED", "NON_RECOURS"


@dataclass(frozen=True, slots=True)
class Finding:
    """One foyer and benefit whose three months would be paid otherwise, in cents."""

    numero_allocataire: str
    benefit: Benefit
    cause: str
    due_cents: int
    known_cents: int


@dataclass(slots=True)
class ControlTotal:
    """Findings of a cause and benefit, summed."""

    foyers: int = 0
    indu_cents: int = 0
    rappel_cents: int = 0


@dataclass(slots=True)
class ControlBlock:
    """What one block of dossiers gave."""

    compared: int = 0
    findings: list[Finding] = field(default_factory=list)


def run_controls(
    store: Store, service: DeclarationService, mois: Month, options: LegislationOptions, *, detect_non_recours: bool
) -> Iterator[ControlBlock]:
    """Compare every declaration submitted for a month, block by block; nothing is changed."""
    bounds = store.foyer_bounds(BLOCK_DOSSIERS)
    starts: list[str] = ["", *bounds]
    ends: list[str | None] = [*bounds, None]
    for after, up_to in zip(starts, ends, strict=True):
        yield _controlled_block(store, service, mois, options, after, up_to, detect_non_recours)


def totals_of(findings: Sequence[Finding], totals: dict[tuple[str, Benefit], ControlTotal]) -> None:
    """Add findings to the totals by cause and benefit."""
    for finding in findings:
        total = totals.setdefault((finding.cause, finding.benefit), ControlTotal())
        total.foyers += 1
        total.indu_cents += max(0, finding.due_cents - finding.known_cents)
        total.rappel_cents += max(0, finding.known_cents - finding.due_cents)


def _controlled_block(
    store: Store,
    service: DeclarationService,
    mois: Month,
    options: LegislationOptions,
    after: str,
    up_to: str | None,
    detect_non_recours: bool,
) -> ControlBlock:
    known_at = store.last_instant_us()
    dossiers = dict(store.foyers_between(after, up_to))
    quarters = _submitted(store.events_between(mois, after, up_to))
    block = ControlBlock(compared=len(quarters))
    foyers = [codec.loads(Foyer, dossiers[numero].payload) for numero in quarters]
    fresh = prefilled(store, foyers, mois, options, known_at)
    for foyer, declaration, (numero, quarter) in zip(foyers, fresh, quarters.items(), strict=True):
        before = [life.thaw(line, {}) for line in quarter.lines]
        pending = [line for line in before if line.status is LineStatus.RECTIFIE]
        lines = life.carried_over(before, declaration, foyer, quarter.reading)
        changed = dossiers[numero].known_at_us > quarter.foyer_known_at_us
        if not pending and not changed and _amounts(lines) == _amounts(before):
            continue  # nothing has changed: neither have the rights
        if pending:
            rejected = [replace(line, status=LineStatus.REJETE) if line in pending else line for line in before]
            lines = life.carried_over(rejected, declaration, foyer, quarter.reading)
        cause = _cause(before, lines, pending=bool(pending))
        at_once = quarter.reading.correction_tardive is CorrectionTardive.RECALCUL
        if at_once and cause in (MISSING_LINE, LATE_CORRECTION):
            continue  # already paid on what is known now
        due = service.recomputed(replace(declaration, lines=lines), quarter, dossiers[numero].known_at_us)
        block.findings.extend(_findings(numero, cause, quarter.amounts, due))
    if detect_non_recours:
        silent = [stored for numero, stored in dossiers.items() if numero not in quarters]
        done = computed(store, silent, mois, options, known_at)
        rights = zip(done.rights.rsa_cents.tolist(), done.rights.ppa_cents.tolist(), strict=True)
        for foyer, declaration, (rsa, prime) in zip(done.foyers, done.declarations, rights, strict=True):
            if rsa or prime:
                found = quarter_entitlements(
                    foyer, ressources_of(declaration.lines), mois, options=options, with_steps=False
                )
                block.findings.extend(_findings(foyer.numero_allocataire, NON_RECOURS, (), found.amounts))
    return block


def _submitted(events: Mapping[str, Sequence[StoredEvent]]) -> dict[str, FrozenQuarter]:
    found = {}
    for numero, held in events.items():
        if held[-1].kind != AMENDED:
            found[numero] = quarter_of(held[-1])
    return found


def _amounts(lines: Sequence[Line]) -> dict[str, int]:
    return {line.line_id: line.montant_retenu_cents for line in lines if line.montant_retenu_cents}


def _cause(before: Sequence[Line], after: Sequence[Line], *, pending: bool) -> str:
    if pending:
        return RECTIFICATION_PENDING
    old, new = _amounts(before), _amounts(after)
    if new.keys() - old.keys():
        return MISSING_LINE
    return DOSSIER_CHANGED if new == old else LATE_CORRECTION


def _findings(
    numero: str, cause: str, before: Sequence[Entitlement], after: Sequence[Entitlement]
) -> Iterator[Finding]:
    for benefit, paid in (
        (Benefit.RSA, lambda amount: amount.rsa_verse_cents),
        (Benefit.PRIME_ACTIVITE, lambda amount: amount.ppa_nette_crds_cents),
    ):
        due, known = sum(map(paid, before)), sum(map(paid, after))
        if due != known:
            yield Finding(numero, benefit, cause, due, known)
