"""What the use cases need from outside. Storage implements the stores; tests may implement them by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from solidarite_server.domain.errors import IllegalTransition, Reason, RequestReplayed, StaleEtag
from solidarite_server.domain.month import Month
from solidarite_server.domain.record import StoredRecord
from solidarite_server.record_columns import RecordColumns


class Clock(Protocol):
    """The instant, as an argument: tests move it."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Seal:
    """A document version is complete: see `domain.record.DocumentRef`."""

    document_id: bytes
    version: int
    record_count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What a source sends at once, validated and pseudonymised."""

    source_id: str
    upload_id: str
    batch_sequence: int
    records: RecordColumns
    seals: tuple[Seal, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one record (or seal) of a batch was not kept. Never holds the value."""

    index: int
    is_seal: bool
    field: str
    reason: Reason
    message_fr: str


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What a durable commit did with a batch: accepted + replaced + unchanged + refused records = records sent."""

    accepted: int
    replaced: int
    unchanged: int
    commit_sequence: int
    refusals: tuple[Refusal, ...] = field(default=())


class RecordStore(Protocol):
    """The set of record versions received (docs/stockage.md). Nothing is overwritten or deleted by a correction."""

    def append(self, batches: Sequence[Batch]) -> list[BatchOutcome]:
        """Commit batches durably, all or none, and classify each record. At most one caller at a time in each process.

        Raises StoreUnavailable when nothing could be committed; the store stays usable.
        """
        ...

    def position(self, source_id: str, upload_id: str) -> int:
        """Highest batch sequence up to which every batch of the upload is durable; 0 when none is."""
        ...

    def commit_sequence(self) -> int:
        """The newest commit visible to readers here."""
        ...

    def last_instant_us(self) -> int:
        """The instant of that commit, 0 before the first: what is read as known then can be read again."""
        ...

    def records_of(
        self,
        persons: Sequence[bytes],
        first: Month | None = None,
        last: Month | None = None,
        *,
        known_at_us: int | None = None,
    ) -> list[StoredRecord]:
        """Every version held on these persons for these months, each marked effective or not at that instant.

        With `known_at_us`, versions that became known later are not returned. Ordered by person, month, record_id,
        version.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredFoyer:
    """A version of a dossier."""

    payload: bytes
    known_at_us: int


@dataclass(frozen=True, slots=True)
class NewFoyers:
    """Dossiers of one request: (numero_allocataire, payload) of each."""

    dossiers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class KeptFoyers:
    """What a durable commit did with them."""

    changed: tuple[bool, ...]
    """True where the content is new."""
    commit_sequence: int


class FoyerStore(Protocol):
    """Versions of dossiers; earlier ones stay readable."""

    def put_foyers(self, dossiers: Sequence[tuple[str, bytes]]) -> KeptFoyers:
        """Keep (numero_allocataire, payload) in a durable commit of their own, without an audit line."""
        ...

    def foyer(self, numero_allocataire: str, *, known_at_us: int | None = None) -> StoredFoyer | None:
        """The newest version, or the newest known at that instant."""
        ...

    def foyers_between(self, after: str, up_to: str | None) -> list[tuple[str, StoredFoyer]]:
        """The newest versions of the dossiers numbered after `after`, up to and with `up_to` (None: to the end)."""
        ...

    def foyer_bounds(self, step: int) -> list[str]:
        """The last number of every block of `step` dossiers in order of number: how a campaign cuts them."""
        ...


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One thing that happened to a declaration."""

    sequence: int
    """1 for the first event of a declaration."""
    kind: str
    payload: bytes
    request_id: str
    known_at_us: int


@dataclass(frozen=True, slots=True)
class NewEvent:
    """What is to happen to a declaration."""

    numero_allocataire: str
    mois_declaration: Month
    expected_sequence: int
    """Number of the last event that its author knows of."""
    kind: str
    payload: bytes
    request_id: str
    body_hash: bytes
    alone_among: tuple[Month, ...] = ()
    """Months of which no declaration of the dossier may have an event of this kind."""


Change = NewEvent | NewFoyers
Outcome = StoredEvent | KeptFoyers | RequestReplayed | StaleEtag | IllegalTransition


class ChangeStore(Protocol):
    """What is changed on somebody's behalf, with the audit line that says so."""

    def keep(self, changes: Sequence[Change], lines: Sequence[AuditLine] = ()) -> list[Outcome]:
        """Keep changes with audit lines in one durable commit, all or none; the outcome of each change, in order.

        The same request_id with the same body_hash gives the event already stored. An event is refused, and the other
        changes are kept, when its id was used with another body (RequestReplayed), its declaration has moved on
        (StaleEtag) or it is not alone (IllegalTransition). The lines are written whatever becomes of the changes.
        """
        ...


class DeclarationStore(Protocol):
    """Append-only events of declarations, keyed by (numero_allocataire, mois_declaration)."""

    def events(
        self, numero_allocataire: str, mois_declaration: Month, *, known_at_us: int | None = None
    ) -> list[StoredEvent]:
        """The events, oldest first."""
        ...

    def events_between(self, mois_declaration: Month, after: str, up_to: str | None) -> dict[str, list[StoredEvent]]:
        """The events of a month's declarations, for dossiers numbered after `after`, up to and with `up_to`."""
        ...


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """What prefilling gives one foyer for the first month of right, in cents."""

    numero_allocataire: str
    rsa_cents: int
    prime_activite_cents: int


@dataclass(frozen=True, slots=True)
class CampaignBlock:
    """A block computed and stored."""

    number: int
    done: int
    refusals: Mapping[str, int]
    """Foyers that could not be computed, by reason."""
    rsa_total_cents: int
    prime_activite_total_cents: int


@dataclass(frozen=True, slots=True)
class StoredCampaign:
    """A campaign as kept: its blocks end at `bounds`, in order; the last one is open-ended."""

    mois_declaration: Month
    bounds: tuple[str, ...]
    blocks: tuple[CampaignBlock, ...]
    """Those done, in order of number."""


class CampaignStore(Protocol):
    """Campaigns, cut in blocks, each kept with its results in one commit: a campaign stopped goes on where it was."""

    def start_campaign(self, campaign_id: str, mois_declaration: Month, bounds: Sequence[str]) -> StoredCampaign:
        """Keep a campaign, or give the one already kept under that identifier."""
        ...

    def campaign(self, campaign_id: str) -> StoredCampaign | None:
        """How far a campaign is; None when it was never begun."""
        ...

    def keep_block(self, campaign_id: str, block: CampaignBlock, rows: Sequence[CampaignRow]) -> None:
        """Keep a block and its results durably; a block already kept is left as it is."""
        ...

    def campaign_row(self, campaign_id: str, numero_allocataire: str) -> CampaignRow | None:
        """The result of one foyer; None when the campaign has none for it."""
        ...


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who read or changed what, about whom, and why."""

    actor: str
    action: str
    subject: str
    """A dossier number, or the trace of a pseudonym; never a NIR."""
    purpose: str


@dataclass(frozen=True, slots=True)
class StoredAuditLine:
    """A line of the trail, with the hash that chains it to the one before."""

    number: int
    at_us: int
    actor: str
    action: str
    subject: str
    purpose: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditAnchor:
    """Where the trail ended at some time: kept elsewhere, it shows that the trail was not put back or written anew."""

    number: int
    hash: bytes


class AuditLog(Protocol):
    """The audit trail, append-only; each line chained to the one before."""

    def write_audit(self, lines: Sequence[AuditLine]) -> None:
        """Add lines durably, all or none."""
        ...

    def audit_lines(self, after: int = 0) -> Iterator[StoredAuditLine]:
        """The lines after a number, oldest first."""
        ...

    def audit_anchor(self) -> AuditAnchor:
        """Where the trail ends now."""
        ...

    def verify_audit(self, anchor: AuditAnchor | None = None) -> list[str]:
        """What is wrong with the trail, in French; empty when nothing is. Its seal is checked when keys were given."""
        ...


@dataclass(frozen=True, slots=True)
class Volume:
    """How much a store holds."""

    size_bytes: int
    runs: int
    """Sorted runs not yet merged; 0 for a store that has none."""


@dataclass(frozen=True, slots=True)
class RenewalProgress:
    """A renewal of the pseudonyms under way."""

    before: int
    """The version of the keys that is being left."""
    version: int
    """The one in force."""
    records: float
    """Which share of the records is renewed, from 0 to 1; dossiers follow."""


class PersonalData(Protocol):
    """What is done for the persons held. Nothing else in a store changes or removes what is there."""

    def begin_renewal(self, version: int, lines: Sequence[AuditLine] = ()) -> bool:
        """Wrap persons under a version of the keys from now on; what is there already follows by `renew_some`.

        The audit lines come with it. False, and nothing done, when a renewal is under way already.
        """
        ...

    def renew_some(self) -> bool:
        """Rename some records or dossiers in one short durable transaction; False when nothing is left."""
        ...

    def end_renewal(self, lines: Sequence[AuditLine] = ()) -> bool:
        """End the renewal, with audit lines, once nothing is under the old names, freed pages included; False while
        something is. True as well when none is under way, and then the lines are not written.
        """
        ...

    def renewal(self) -> RenewalProgress | None:
        """How far the renewal under way is; None when there is none."""
        ...

    def pseudonym_version(self) -> int:
        """The version of the keys under which persons are written."""
        ...

    def dossiers_of(self, person: bytes) -> list[str]:
        """The dossiers of which a version names that person."""
        ...

    def foyer_versions(self, numero_allocataire: str) -> list[StoredFoyer]:
        """Every version of a dossier, oldest first."""
        ...

    def declared_months(self, numero_allocataire: str) -> list[Month]:
        """The months of which a dossier has a declaration."""
        ...

    def campaign_rows_of(self, numero_allocataire: str) -> list[tuple[str, CampaignRow]]:
        """What campaigns computed for a dossier, by campaign."""
        ...

    def erase_records(self, person: bytes) -> int:
        """Remove every record of a person; their number."""
        ...

    def erase_dossier(self, numero_allocataire: str) -> None:
        """Remove a dossier with all its versions, its declarations and its results."""
        ...

    def replace_versions(self, numero_allocataire: str, versions: Sequence[StoredFoyer]) -> None:
        """Write other contents in the place of versions of a dossier, which keep their instants."""
        ...

    def purge_records(self, before_day: int) -> int:
        """Remove the records paid before a day (since 1970-01-01); their number."""
        ...

    def purge_declarations(self, before_us: int, before_month: Month) -> int:
        """Remove the declarations whose last event is older than an instant, and the results of campaigns of earlier
        months; the number of events.
        """
        ...

    def purge_dossiers(self, before_us: int) -> int:
        """Remove the versions replaced before an instant, and the dossiers that have no declaration and did not change
        since; the number of versions.
        """
        ...

    def purge_audit(self, before_us: int) -> int:
        """Remove the audit lines older than an instant; their number. The chain goes on from the first one kept."""
        ...

    def wipe(self) -> None:
        """Overwrite what was erased or purged, as far as the engine can: to be called once after them.

        StoreUnavailable while a long read still uses what was there before: call again after it.
        """
        ...


class Store(RecordStore, FoyerStore, ChangeStore, DeclarationStore, CampaignStore, AuditLog, PersonalData, Protocol):
    """One place that keeps everything; safe for several threads and processes."""

    def at_once(self) -> AbstractContextManager[object]:
        """Inside the block this thread reads the state of one commit, in one transaction: cheaper than one a read."""
        ...

    def check(self) -> list[str]:
        """What is wrong with it, in French; empty when nothing is."""
        ...

    def volume(self) -> Volume:
        """How much it holds: quick, for metrics."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
