"""The set of versions: what a commit adds to it, and what counts of it (docs/stockage.md). The same for every store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.errors import Reason
from solidarite_server.domain.month import Month
from solidarite_server.domain.record import Mode, ResourceRecord, StoredRecord
from solidarite_server.ports import Batch, BatchOutcome, Refusal
from solidarite_server.record_columns import mois_index_of

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Row


_NO_MONTH = 1 << 31
"""Later than every month."""


class Version(NamedTuple):
    """One version of a record, and the instant it became known."""

    record: ResourceRecord
    known_at_us: int


def of_months(rows: Sequence[Row], first: Month | None, last: Month | None) -> Sequence[Row]:
    """The rows (person, source, record_id, …, content) of the records of which a version is of these months.

    What counts of a record is told by its own versions: the others need not be made, and a person has years of them.
    """
    if first is None and last is None:
        return rows
    low = 0 if first is None else first.index
    high = _NO_MONTH if last is None else last.index
    wanted = {row[:3] for row in rows if low <= mois_index_of(row[-1]) <= high}
    return [row for row in rows if row[:3] in wanted]


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


@dataclass(frozen=True, slots=True)
class Classified:
    """Places, in a commit, of the rows that replace, change nothing, or are refused; the others are new."""

    replaced: set[int]
    unchanged: set[int]
    refused: set[int]


def classified(rows: npt.NDArray[np.void], held: Iterable[Sequence[Any]]) -> Classified:
    """Classify the rows of a commit: any array with person, source, record_id, version and content.

    `held` tells of the versions already kept: (place of the row, version kept, whether it is the very same).
    """
    found = Classified(set(), set(), set())
    by_place: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for place, version, same in held:
        by_place[place].append((version, same))
    for place, versions in by_place.items():
        number = int(rows["version"][place])
        if any(same for _, same in versions):
            found.unchanged.add(place)
        elif any(version == number for version, _ in versions):
            found.refused.add(place)
        else:
            found.replaced.add(place)
    for places in _same_record(rows):
        _taken_in_turn(rows, places, found)
    return found


def outcomes(batches: Sequence[Batch], found: Classified, sequence: int) -> list[BatchOutcome]:
    """The outcome of each batch of a commit whose rows, in order, were classified."""
    ends = np.cumsum([0, *(len(batch.records) for batch in batches)]).tolist()
    told_of = []
    changes = [np.searchsorted(sorted(places), ends) for places in (found.replaced, found.unchanged)]
    for number, (start, stop) in enumerate(pairwise(ends)):
        replaced, unchanged = (int(counts[number + 1] - counts[number]) for counts in changes)
        refusals = tuple(_conflict(place - start) for place in sorted(found.refused) if start <= place < stop)
        accepted = stop - start - replaced - unchanged - len(refusals)
        told_of.append(BatchOutcome(accepted, replaced, unchanged, sequence, refusals))
    return told_of


def _conflict(index: int) -> Refusal:
    message = "Cette version existe déjà avec un autre contenu : envoyez une version plus haute."
    return Refusal(index, False, "version", Reason.RECORD_CONFLICT, message)


def _same_record(rows: npt.NDArray[np.void]) -> list[list[int]]:
    """Places of rows about one record, in order, where several are."""
    if len(rows) < 2:
        return []
    # Whole identities are compared only where a sum of their bytes is the same.
    person, record = (np.ascontiguousarray(rows[name]).view(np.uint64) for name in ("person", "record_id"))
    mixed = person[::2] ^ record[::2] ^ (record[1::2] * np.uint64(0x9E3779B97F4A7C15))
    order = np.argsort(mixed, kind="stable")
    alike = mixed[order][1:] == mixed[order][:-1]
    if not alike.any():
        return []
    groups: dict[tuple[bytes, int, bytes], list[int]] = defaultdict(list)
    for place in np.unique(np.concatenate([order[1:][alike], order[:-1][alike]])).tolist():
        row = rows[place]
        groups[bytes(row["person"]), int(row["source"]), bytes(row["record_id"])].append(place)
    return [places for places in groups.values() if len(places) > 1]


def _taken_in_turn(rows: npt.NDArray[np.void], places: Sequence[int], found: Classified) -> None:
    """Rows of one commit about one record: each as if it had come alone, after those before it."""
    kept: dict[int, bytes] = {}
    for place in places:
        if place in found.unchanged or place in found.refused:
            continue
        version, content = int(rows["version"][place]), bytes(rows["content"][place])
        if version not in kept:
            if kept:
                found.replaced.add(place)
            kept[version] = content
        else:
            found.replaced.discard(place)
            (found.unchanged if kept[version] == content else found.refused).add(place)
