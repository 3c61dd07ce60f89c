"""Records and batches of the stores' tests: one person, July 2026."""

from dataclasses import replace
from datetime import date

from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import DocumentRef, FluxSource, Mode, ResourceRecord
from solidarite_server.ports import Batch, RecordStore, Seal, Store, StoredEvent
from solidarite_server.record_columns import columns_of
from solidarite_server.services.declarations import DeclarationView, Proposed
from solidarite_server.services.keyring import Keyring

KEYS = Keyring(b"k" * 32, {1: b"w" * 32})
PERSON, JULY = b"p" * 16, Month(2026, 7)
DOCUMENT = b"d" * 16


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.us = 1_000_000

    def now_us(self) -> int:
        return self.us


def record(cents: int = 100_000, *, name: str = "r", version: int = 1, document: int = 0, **changes) -> ResourceRecord:
    base = ResourceRecord(
        PERSON,
        True,
        "paie",
        name.encode().ljust(16, b"-"),
        version,
        FluxSource.DSN,
        "81234567800013",
        "CDI-1",
        NatureRessource.SALAIRE,
        date(2026, 7, 31),
        JULY,
        Mode.INITIAL,
        cents,
        DocumentRef(DOCUMENT, document) if document else None,
    )
    return replace(base, **changes)


_sequence = iter(range(1, 10**9))


def batch(*records: ResourceRecord, seals: tuple[Seal, ...] = (), upload: str = "") -> Batch:
    return Batch("paie", upload, next(_sequence), columns_of(records), seals)


def kept(store: Store, proposed: Proposed) -> DeclarationView:
    """The declaration after a change committed alone."""
    (event,) = store.keep([proposed.event])
    if not isinstance(event, StoredEvent):
        raise event
    return proposed.answer(event)


def total(store: RecordStore, known_at_us: int | None = None) -> int:
    held = store.records_of([PERSON], JULY, JULY, known_at_us=known_at_us)
    return sum(s.record.montant_net_social_cents for s in held if s.effective)
