"""From the set of versions held to what counts (DESIGN §6.1): the same for every store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from solidarite_server.domain.month import Month
from solidarite_server.domain.record import Mode, ResourceRecord, StoredRecord


class Version(NamedTuple):
    """One version of a record, and the instant it became known."""

    record: ResourceRecord
    known_at_us: int


def documents_of(versions: Sequence[Version]) -> set[tuple[str, bytes]]:
    """The documents, by source, that the records belong to."""
    return {(v.record.source_id, v.record.document.document_id) for v in versions if v.record.document is not None}


def told(
    versions: Sequence[Version],
    sealed: Mapping[tuple[str, bytes], int],
    first: Month | None,
    last: Month | None,
) -> list[StoredRecord]:
    """Tell of each version whether it counts; those of the months asked for, by person, month, record and version.

    `sealed` gives the highest sealed version of every document, 0 when none is. A record of a document counts with
    that version only: until a new version is sealed, the records that it brings replace nothing.
    """
    newest: dict[tuple[bytes, str, bytes], int] = {}
    counted = []
    for record, _ in versions:
        document = record.document
        counts = document is None or document.version == sealed[record.source_id, document.document_id]
        counted.append(counts)
        if counts:
            key = (record.person, record.source_id, record.record_id)
            newest[key] = max(newest.get(key, 0), record.version)
    found = []
    for (record, known_at), counts in zip(versions, counted, strict=True):
        mois = record.mois_rattachement
        if (first is None or mois >= first) and (last is None or mois <= last):
            top = newest.get((record.person, record.source_id, record.record_id))
            effective = counts and record.version == top and record.mode is not Mode.ANNULATION
            found.append(StoredRecord(record, known_at, effective))
    found.sort(key=lambda s: (s.record.person, s.record.mois_rattachement, s.record.record_id, s.record.version))
    return found
