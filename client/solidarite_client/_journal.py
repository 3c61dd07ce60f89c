"""What an upload has handed over, what was acknowledged, and what came of it."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from solidarite.v1.error_reason_pb2 import ErrorReason
from solidarite.v1.resource_record_pb2 import StreamResourceRecordsRequest, StreamResourceRecordsResponse

from solidarite_client._packing import records_in
from solidarite_client.errors import ServerFailure

REFUSALS_KEPT = 1000

_Outcome = tuple[int, int, int]
"""Accepted, replaced, unchanged."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One record, or seal, that the service did not keep. It never holds the value."""

    batch_sequence: int
    index: int
    """Place in the batch, from 0; among its seals when `is_seal`."""
    record_number: int
    """Place among all records of the upload, from 1; 0 for a seal."""
    is_seal: bool
    field: str
    reason: str
    message_fr: str


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What came of an upload. accepted + replaced + unchanged + refused = records."""

    source_id: str
    upload_id: str
    batches: int
    """Batches acknowledged."""
    records: int
    """Records acknowledged."""
    records_taken: int
    """Records handed over so far; of a file, all of them before the first is sent."""
    documents: int
    """Declarations sealed: they take effect as a whole."""
    accepted: int
    replaced: int
    unchanged: int
    refused: int
    refused_by_reason: Mapping[str, int]
    """Records and seals refused, by reason of the contract."""
    refusals: tuple[Refusal, ...]
    """The first 1,000."""
    freshness_token: str
    """Give it to `at_least_as_fresh` to read your writes; empty when nothing was sent."""
    resumed: bool
    """Whether part of it had been sent by an earlier run."""

    @property
    def complete(self) -> bool:
        """Whether the service kept everything."""
        return not self.refused_by_reason


class Journal(Protocol):
    """Batches in order, numbered from 1, until the service has acknowledged them."""

    source_id: str
    upload_id: str

    @property
    def count(self) -> int:
        """How many batches were taken."""

    @property
    def acknowledged(self) -> int:
        """Every batch up to this one is acknowledged."""

    def append(self, request: StreamResourceRecordsRequest) -> None:
        """Take a batch; it gets the next number."""

    def read(self, sequence: int) -> bytes:
        """A batch taken and not forgotten, as it goes on the wire."""

    def acknowledge(self, response: StreamResourceRecordsResponse) -> None:
        """Note an acknowledgement; those already noted are ignored."""

    def rewind(self, sequence: int) -> None:
        """The service holds batches up to this one only: the next ones are to be sent again."""

    def summary(self) -> IngestSummary:
        """What came of it so far."""

    def close(self) -> None:
        """Release what is held; an unfinished journal on disk stays."""

    def discard(self) -> None:
        """Forget everything: the upload is finished."""


class Tally:
    """Counts of an upload, batch by batch, so that a batch acknowledged twice counts once."""

    def __init__(self, source_id: str, upload_id: str) -> None:
        self.source_id = source_id
        self.upload_id = upload_id
        self.acknowledged = 0
        self.resumed = False
        self.records = 0
        self._sizes: list[tuple[int, int]] = []
        """Of each batch: records and seals in it and those before it."""
        self._outcomes: list[_Outcome] = []
        self._totals: _Outcome = (0, 0, 0)
        self._refusals: dict[int, list[Refusal]] = {}
        self._refused_in: dict[int, Counter[str]] = {}
        self._refused: Counter[str] = Counter()
        self.seals = 0
        self._token = ""

    @property
    def count(self) -> int:
        return len(self._sizes)

    def append(self, records: int, seals: int) -> None:
        self.records += records
        self.seals += seals
        self._sizes.append((self.records, self.seals))

    def acknowledge(self, response: StreamResourceRecordsResponse) -> bool:
        """Note an acknowledgement; False when it was noted before. ServerFailure when it skips a batch."""
        sequence = response.batch_sequence
        if sequence <= self.acknowledged:
            return False
        if sequence != self.acknowledged + 1 or sequence > self.count:
            raise ServerFailure("le service a accusé réception d'un lot qui n'est pas le suivant")
        self.acknowledged = sequence
        self._token = response.freshness_token or self._token
        outcome = (response.accepted_count, response.replaced_count, response.unchanged_count)
        earlier: _Outcome = (0, 0, 0)
        if sequence <= len(self._outcomes):
            earlier, self._outcomes[sequence - 1] = self._outcomes[sequence - 1], outcome
        else:
            self._outcomes.append(outcome)
        self._totals = _plus(self._totals, outcome, earlier)
        self._note_refusals(response)
        return True

    def _note_refusals(self, response: StreamResourceRecordsResponse) -> None:
        sequence = response.batch_sequence
        self._refused -= self._refused_in.pop(sequence, Counter())
        self._refusals.pop(sequence, None)
        if not response.refusals:
            return
        before = self._sizes[sequence - 2][0] if sequence > 1 else 0
        refusals = [
            Refusal(
                batch_sequence=sequence,
                index=refusal.index,
                record_number=0 if refusal.is_seal else before + refusal.index + 1,
                is_seal=refusal.is_seal,
                field=refusal.field,
                reason=_reason_name(refusal.reason),
                message_fr=refusal.message_fr,
            )
            for refusal in response.refusals
        ]
        self._refused_in[sequence] = Counter(refusal.reason for refusal in refusals)
        self._refused += self._refused_in[sequence]
        room = REFUSALS_KEPT - sum(map(len, self._refusals.values()))
        if room > 0:
            self._refusals[sequence] = refusals[:room]

    def rewind(self, sequence: int) -> None:
        self.acknowledged = min(self.acknowledged, sequence)

    def summary(self) -> IngestSummary:
        accepted, replaced, unchanged = self._totals
        records, seals = self._sizes[self.acknowledged - 1] if self.acknowledged else (0, 0)
        return IngestSummary(
            source_id=self.source_id,
            upload_id=self.upload_id,
            batches=self.acknowledged,
            records=records,
            records_taken=self.records,
            documents=seals,
            accepted=accepted,
            replaced=replaced,
            unchanged=unchanged,
            refused=records - accepted - replaced - unchanged,
            refused_by_reason=dict(self._refused),
            refusals=tuple(refusal for _, group in sorted(self._refusals.items()) for refusal in group),
            freshness_token=self._token,
            resumed=self.resumed,
        )


def _plus(totals: _Outcome, new: _Outcome, old: _Outcome) -> _Outcome:
    return (totals[0] + new[0] - old[0], totals[1] + new[1] - old[1], totals[2] + new[2] - old[2])


def _reason_name(reason: ErrorReason.ValueType) -> str:
    # A newer server may know reasons that this contract does not.
    if reason in ErrorReason.values():
        return ErrorReason.Name(reason).removeprefix("ERROR_REASON_")
    return str(int(reason))


def new_upload_id() -> str:
    """An identifier that no other upload has: batches of two uploads are never taken for each other."""
    return uuid.uuid4().hex


class MemoryJournal:
    """A journal that lives and dies with the process."""

    def __init__(self, source_id: str) -> None:
        self.source_id = source_id
        self.upload_id = new_upload_id()
        self._tally = Tally(source_id, self.upload_id)
        self._batches: dict[int, bytes] = {}

    @property
    def count(self) -> int:
        return self._tally.count

    @property
    def acknowledged(self) -> int:
        return self._tally.acknowledged

    def append(self, request: StreamResourceRecordsRequest) -> None:
        sequence = self.count + 1
        self._batches[sequence] = numbered(request, self.source_id, self.upload_id, sequence)
        self._tally.append(records_in(request), len(request.seals))

    def read(self, sequence: int) -> bytes:
        return self._batches[sequence]

    def acknowledge(self, response: StreamResourceRecordsResponse) -> None:
        if self._tally.acknowledge(response):
            del self._batches[response.batch_sequence]

    def rewind(self, sequence: int) -> None:
        if sequence < self.acknowledged:
            raise ServerFailure(
                "le service ne détient plus des lots dont il avait accusé réception : reprenez l'envoi depuis le début"
            )

    def summary(self) -> IngestSummary:
        return self._tally.summary()

    def close(self) -> None:
        self._batches.clear()

    def discard(self) -> None:
        self._batches.clear()


def numbered(request: StreamResourceRecordsRequest, source_id: str, upload_id: str, sequence: int) -> bytes:
    """The batch as it goes on the wire, with its place in the upload."""
    request.source_id = source_id
    request.upload_id = upload_id
    request.batch_sequence = sequence
    return request.SerializeToString()
