"""Merging of runs: how many runs of a size become one, a slice at a time, beside the commits.

A slice is read and sorted without any lock, then written by a short transaction. A merge is known to the process that
makes it alone: lost with it, and begun again. What it replaces stays live until its last slice is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.storage.runs import (
    BLOCK_ROWS,
    BUILDING,
    DEAD,
    LIVE,
    RUN_ROW,
    Run,
    RunRows,
    Runs,
    Words,
    blocks_of,
    fetched,
    fill,
    in_order,
    joined,
    new_filter,
    new_run,
    prefixes,
    remove_blocks,
    write_blocks,
)
from solidarite_server.storage.sql import Session

FAN_IN = 16
_SMALLEST_ROWS = 64
_SLICE_ROWS = 32_768
_PURGED_BLOCKS = 600
_LAST = 2**64 - 1


def size_class(rows: int) -> int:
    """Runs of one class are merged together."""
    size = 0
    while rows >= _SMALLEST_ROWS * FAN_IN:
        size, rows = size + 1, rows // FAN_IN
    return size


@dataclass(slots=True)
class _Merge:
    number: int
    sources: tuple[Run, ...]
    words: Words
    next_prefix: int = 0
    blocks: int = 0
    rows: int = 0
    fences: list[Words] = field(default_factory=list)
    left: RunRows = field(default_factory=lambda: np.empty(0, RUN_ROW))
    """Rows that did not fill a block: they begin the next slice."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Blocks ready to be written by `Merging.write`."""

    merge: _Merge
    blocks: bytes
    fences: Words
    rows: int
    left: RunRows
    last: int
    """Prefix of the last person it may hold."""


class Merging:
    """The merges that one process makes."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._merges: dict[int, _Merge] = {}

    def abandon(self, session: Session) -> None:
        """What this process or another was building is dead."""
        self._merges = {}
        session.run("UPDATE run SET state = ? WHERE state = ?", (DEAD, BUILDING))

    def due(self, session: Session) -> tuple[int, tuple[Run, ...]] | None:
        """A class of size, the smallest first, with runs to merge, and those runs; none when a merge is begun."""
        by_class: dict[int, list[Run]] = {size: [] for size in self._merges}
        taken_up = {run.number for merge in self._merges.values() for run in merge.sources}
        for run in self._runs.live(session):
            if run.number not in taken_up:
                by_class.setdefault(size_class(run.rows), []).append(run)
        for size in sorted(by_class):
            if size in self._merges:
                return size, ()
            if len(by_class[size]) >= FAN_IN:
                return size, tuple(sorted(by_class[size], key=lambda run: run.number))
        return None

    def begin(self, session: Session, size: int, sources: tuple[Run, ...]) -> None:
        """Begin to merge these runs."""
        words = new_filter(sum(run.rows for run in sources))
        self._merges[size] = _Merge(new_run(session), sources, words)

    def prepare(self, session: Session, size: int) -> Slice:
        """Read, sort and pack the next slice of a merge begun: nothing is written, no lock is needed."""
        merge = self._merges[size]
        last = _slice_end(merge)
        parts = []
        for run in merge.sources:
            rows = fetched(session, run, run.blocks_of(merge.next_prefix, last))
            numbers = prefixes(rows)
            # Rows are in order: those of the slice are between two places.
            start = numbers.searchsorted(np.uint64(merge.next_prefix), "left")
            parts.append(rows[start : numbers.searchsorted(np.uint64(last), "right")])
        rows = joined([merge.left, in_order(joined(parts))])
        whole = len(rows) if last == _LAST else len(rows) // BLOCK_ROWS * BLOCK_ROWS
        rows, left = rows[:whole], rows[whole:]
        if len(rows):
            fill(merge.words, rows)
        blocks = blocks_of(merge.number, merge.blocks, rows)
        return Slice(merge, blocks, prefixes(rows[::BLOCK_ROWS]), len(rows), left, last)

    def write(self, session: Session, piece: Slice) -> int:
        """Write a slice, and with the last one put the merged run in the place of its sources; rows written."""
        merge = piece.merge
        write_blocks(session, merge.number, merge.blocks, piece.blocks)
        merge.fences.append(piece.fences)
        merge.blocks += len(piece.fences)
        merge.rows += piece.rows
        merge.left = piece.left
        if piece.last == _LAST:
            self._finish(session, merge)
        else:
            merge.next_prefix = piece.last + 1
        return piece.rows

    def _finish(self, session: Session, merge: _Merge) -> None:
        if merge.rows != sum(run.rows for run in merge.sources):
            raise StoreUnavailable("Une fusion n'a pas retrouvé tous ses enregistrements : vérifiez le magasin.")
        for run in merge.sources:
            if not session.run("UPDATE run SET state = ? WHERE id = ? AND state = ?", (DEAD, run.number, LIVE)):
                raise StoreUnavailable("Une série a été remplacée pendant sa fusion : la fusion recommencera.")
        self._runs.finish(session, merge.number, merge.rows, np.concatenate(merge.fences), merge.words)
        self._merges = {size: one for size, one in self._merges.items() if one is not merge}


def purge(session: Session) -> int:
    """Remove some blocks of a dead run, then the run; a number that is 0 when none is dead."""
    dead = session.rows("SELECT id FROM run WHERE state = ? LIMIT 1", (DEAD,))
    return remove_blocks(session, int(dead[0][0]), _PURGED_BLOCKS) + 1 if dead else 0


def _slice_end(merge: _Merge) -> int:
    """A prefix such that about `_SLICE_ROWS` rows lie up to it: whole persons, whatever their number of records."""
    ahead = [run.fences[np.searchsorted(run.fences, np.uint64(merge.next_prefix), "right") :] for run in merge.sources]
    fences = np.sort(np.concatenate([part[: _SLICE_ROWS // BLOCK_ROWS + 1] for part in ahead]))
    place = _SLICE_ROWS // BLOCK_ROWS
    return int(fences[place]) if len(fences) > place else _LAST
