"""Plausibility signals: what a household or an agent had better look at. They inform and never block.

| code | what was seen |
| --- | --- |
| PAYER_MISSING | a payer of the first two reference months paid nothing in the third |
| LATE_CORRECTION | an amount was corrected after the declaration opened |
| DAILY_ALLOWANCES_TWICE | daily allowances of one month from the employer (subrogation) and from the social body |
| UNUSUAL_AMOUNT | a payer's amount is at least ten times that of its other months |
| RECORD_FOR_ADDED_LINE | a payer sent an amount for a line that the household had added |
| NEGATIVE_ZEROED | a negative month was brought to zero |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import FluxSource, Mode, StoredRecord
from solidarite_server.prefill.declaration import Declaration, Line, LineStatus, Signal

_UNUSUAL_RATIO = 10
_DAILY_ALLOWANCES = frozenset(nature for nature in NatureRessource if nature.name.startswith("IJSS_"))


def signals_of(declaration: Declaration, opened_at_us: int) -> tuple[Signal, ...]:
    """Signals of a declaration, by month and person; `opened_at_us` is the instant its window opened."""
    found = [
        *_zeroed(declaration),
        *_late(declaration, opened_at_us),
        *_added_and_received(declaration),
        *_daily_allowances_twice(declaration),
        *_payers(declaration),
    ]
    return tuple(sorted(found, key=lambda signal: (signal.mois, signal.personne, signal.code, signal.line_id)))


def _zeroed(declaration: Declaration) -> Iterator[Signal]:
    for line in declaration.lines:
        if line.zeroed:
            yield _of_line(line, "NEGATIVE_ZEROED", "Le total du mois est négatif : il compte pour 0 €.")


def _late(declaration: Declaration, opened_at_us: int) -> Iterator[Signal]:
    for line in declaration.lines:
        if any(_is_correction(stored) and stored.known_at_us >= opened_at_us for stored in line.records):
            yield _of_line(
                line, "LATE_CORRECTION", "Ce montant a été corrigé depuis l'ouverture de la déclaration : vérifiez-le."
            )


def _added_and_received(declaration: Declaration) -> Iterator[Signal]:
    for line in declaration.lines:
        if line.status is LineStatus.AJOUTE and line.montant_prerempli_cents is not None:
            yield _of_line(
                line,
                "RECORD_FOR_ADDED_LINE",
                "Un payeur a transmis un montant pour une ligne que vous avez ajoutée : le vôtre compte, "
                "retirez-le si l'autre est juste.",
            )


def _is_correction(stored: StoredRecord) -> bool:
    record = stored.record
    return (
        record.mode is Mode.DIFFERENTIEL
        or record.version > 1
        or (record.document is not None and record.document.version > 1)
    )


def _daily_allowances_twice(declaration: Declaration) -> Iterator[Signal]:
    sources: dict[tuple[str, Month], set[FluxSource]] = defaultdict(set)
    for line in declaration.lines:
        if line.nature in _DAILY_ALLOWANCES:
            sources[line.personne, line.mois].update(stored.record.flux for stored in line.records)
    for (personne, mois), flux in sources.items():
        if {FluxSource.DSN, FluxSource.PASRAU} <= flux:
            yield Signal(
                "DAILY_ALLOWANCES_TWICE",
                "Des indemnités journalières viennent de l'employeur et de l'assurance maladie : vérifiez qu'elles "
                "ne couvrent pas les mêmes jours.",
                personne,
                mois,
            )


class _Payer(NamedTuple):
    personne: str
    nature: NatureRessource
    declarant: str


def _payers(declaration: Declaration) -> Iterator[Signal]:
    paid: dict[_Payer, dict[Month, int]] = defaultdict(lambda: defaultdict(int))
    lines: dict[tuple[str, NatureRessource, Month], Line] = {}
    for line in declaration.lines:
        lines[line.personne, line.nature, line.mois] = line
        for stored in line.records:
            payer = _Payer(line.personne, line.nature, stored.record.declarant)
            paid[payer][line.mois] += stored.record.montant_net_social_cents
    first, second, third = declaration.mois_reference
    for payer, amounts in paid.items():
        if first in amounts and second in amounts and third not in amounts:
            yield Signal(
                "PAYER_MISSING",
                "Un payeur des deux premiers mois n'a rien transmis pour le troisième : si vous avez été payé, "
                "ajoutez ou rectifiez ce montant.",
                payer.personne,
                third,
            )
        for mois, amount in amounts.items():
            others = [other for month, other in amounts.items() if month != mois]
            if others and amount >= _UNUSUAL_RATIO * max(others) > 0:
                yield _of_line(
                    lines[payer.personne, payer.nature, mois],
                    "UNUSUAL_AMOUNT",
                    "Ce montant vaut au moins dix fois celui des autres mois du même payeur : vérifiez-le.",
                )


def _of_line(line: Line, code: str, message_fr: str) -> Signal:
    return Signal(code, message_fr, line.personne, line.mois, line.line_id)
