"""What is held on one person, month by month."""

from __future__ import annotations

from dataclasses import dataclass

from solidarite_server.domain.month import Month
from solidarite_server.domain.record import StoredRecord
from solidarite_server.ports import RecordStore


@dataclass(frozen=True, slots=True)
class HeldMonth:
    """Records of one month of attachment."""

    mois: Month
    montant_net_social_cents: int
    """Sum of those that count; not zeroed when negative."""
    records: tuple[StoredRecord, ...]


def held_months(
    store: RecordStore,
    person: bytes,
    *,
    first: Month | None,
    last: Month | None,
    known_at_us: int | None,
    include_superseded: bool,
) -> list[HeldMonth]:
    """Months with at least one record, oldest first."""
    by_month: dict[Month, list[StoredRecord]] = {}
    for stored in store.records_of([person], first, last, known_at_us=known_at_us):
        if stored.effective or include_superseded:
            by_month.setdefault(stored.record.mois_rattachement, []).append(stored)
    return [
        HeldMonth(
            mois,
            sum(s.record.montant_net_social_cents for s in records if s.effective),
            tuple(sorted(records, key=lambda s: (s.record.date_versement, s.record.record_id, s.record.version))),
        )
        for mois, records in sorted(by_month.items())
    ]
