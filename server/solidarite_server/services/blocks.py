"""Many dossiers at once: prefilled from the store in a few reads, laid out as columns, computed together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from solidarite_server.domain.foyer import Foyer
from solidarite_server.domain.month import Month
from solidarite_server.domain.record import StoredRecord
from solidarite_server.engine import Case, EntitlementColumns, columns_from, compute_columns, reference_quarter
from solidarite_server.legislation import LegislationOptions
from solidarite_server.ports import RecordStore, StoredFoyer
from solidarite_server.prefill import Declaration, prefill, ressources_of
from solidarite_server.services import codec
from solidarite_server.services.declarations import to_declare_by_hand

BLOCK_DOSSIERS = 2_000
NOT_PREFILLED, UNREADABLE = "NOT_PREFILLED", "UNREADABLE"
_FIRST_CLAIM = b'"premiere_demande":"'


def is_due(payload: bytes, mois: Month) -> bool:
    """Whether a dossier's quarterly declaration falls in that month: every third month from its first claim on.

    A dossier whose first claim is not known is due whenever it is asked for. Read from the payload, so that two
    dossiers out of three are not decoded.
    """
    start = payload.find(_FIRST_CLAIM)
    if start < 0:
        return True
    start += len(_FIRST_CLAIM)
    first = Month.parse(payload[start : start + 7].decode())
    return first <= mois and (mois.index - first.index) % 3 == 0


@dataclass(frozen=True, slots=True)
class Computed:
    """Dossiers of a block with their fresh declarations and, in the same order, their rights in the month asked for."""

    foyers: Sequence[Foyer]
    declarations: Sequence[Declaration]
    rights: EntitlementColumns
    refusals: Counter[str]
    """Dossiers left out, by reason."""


def prefilled(
    store: RecordStore, foyers: Iterable[Foyer], mois: Month, options: LegislationOptions, known_at_us: int
) -> list[Declaration]:
    """Fresh declarations of many households, from one read of the records."""
    foyers = list(foyers)
    quarters = [reference_quarter(foyer, mois, options).months for foyer in foyers]
    if not foyers:
        return []
    persons = [m.pseudonyme for foyer in foyers for m in foyer.membres if m.pseudonyme is not None]
    by_person: dict[bytes, list[StoredRecord]] = defaultdict(list)
    first, last = min(q[0] for q in quarters), max(q[2] for q in quarters)
    for stored in store.records_of(persons, first, last, known_at_us=known_at_us):
        by_person[stored.record.person].append(stored)
    return [
        prefill(
            foyer,
            mois,
            months,
            [r for m in foyer.membres if m.pseudonyme is not None for r in by_person.get(m.pseudonyme, ())],
            known_at_us=known_at_us,
        )
        for foyer, months in zip(foyers, quarters, strict=True)
    ]


def computed(
    store: RecordStore, dossiers: Iterable[StoredFoyer], mois: Month, options: LegislationOptions, known_at_us: int
) -> Computed:
    """Prefill and compute the dossiers due; what cannot be is counted by reason, and the others go on."""
    refusals: Counter[str] = Counter()
    foyers = []
    for stored in dossiers:
        try:
            if is_due(stored.payload, mois):
                foyers.append(codec.loads(Foyer, stored.payload))
        except (ValueError, KeyError, TypeError):
            refusals[UNREADABLE] += 1
    kept, declarations = [], []
    for foyer, declaration in zip(foyers, prefilled(store, foyers, mois, options, known_at_us), strict=True):
        if to_declare_by_hand(foyer, declaration):
            refusals[NOT_PREFILLED] += 1
        else:
            kept.append(foyer)
            declarations.append(declaration)
    cases = [Case(f, ressources_of(d.lines), mois, mois) for f, d in zip(kept, declarations, strict=True)]
    return Computed(kept, declarations, compute_columns(columns_from(cases, options), options), refusals)
