"""Resource records: facts with an identity, a version and two clocks (docs/stockage.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import IntEnum

from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource


class FluxSource(IntEnum):
    """Where a record comes from."""

    DSN = 1
    PASRAU = 2
    TI = 3


class Mode(IntEnum):
    """What a record does."""

    INITIAL = 1
    DIFFERENTIEL = 2
    """A signed difference, a record of its own, attached to the month of the payment that it corrects."""
    ANNULATION = 3
    """This version cancels the record: it counts for nothing from then on."""


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """The document (for instance one DSN declaration of one employer, month and fraction) a record belongs to.

    `document_id` is 16 bytes chosen by the source. Records of a version count once that version is sealed; a higher
    sealed version supersedes every record of the lower ones, whichever arrives first.
    """

    document_id: bytes
    version: int


@dataclass(frozen=True, slots=True)
class ResourceRecord:
    """One amount paid to one person by one payer, as a source states it.

    Identity: `(person, source_id, record_id)`; `version` orders what the source says of it. A record belongs to one
    person for good: to move an amount to somebody else, cancel it and send another record.
    """

    person: bytes
    """16-byte keyed pseudonym; never the NIR."""
    certified: bool
    """False for a person known by a temporary number (NTT) only: kept apart, never prefilled."""
    source_id: str
    record_id: bytes
    """16 bytes."""
    version: int
    flux: FluxSource
    declarant: str
    """SIRET (14 digits) or the payer's code, at most 14 characters."""
    numero_contrat: str
    nature: NatureRessource
    date_versement: date
    mois_rattachement: Month
    mode: Mode
    montant_net_social_cents: int
    document: DocumentRef | None = None


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record with the instant it became known, and whether it counts at the instant of the read."""

    record: ResourceRecord
    known_at_us: int
    """Microseconds since 1970-01-01 UTC, given by the store at commit."""
    effective: bool
    """False when a higher version, a cancellation or a later document supersedes it, or its document is not sealed."""
