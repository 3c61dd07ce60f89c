"""Merging of runs: how many runs of a size become one, a slice at a time, beside the commits.

A slice is read and sorted without any lock, then written by a short transaction. A large merge makes several runs, each
of a range of persons: what it takes over stays live until the range is written, and its blocks are removed while the
next one is. A merge is known to the process that makes it alone: lost with it, and begun again, but for the ranges that
it had made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.storage.runs import (
    BLOCK_ROWS,
    BUILDING,
    DEAD,
    FAN_IN,
    LAST_PREFIX,
    LIVE,
    RUN_ROW,
    Part,
    Run,
    RunRows,
    Runs,
    Words,
    between,
    blocks_of,
    fetched,
    fill,
    in_order,
    joined,
    keep_part,
    level_of,
    new_filter,
    new_run,
    prefixes,
    remove_below,
    remove_blocks,
    write_blocks,
)
from solidarite_server.storage.sql import Session, only

_SLICE_ROWS = 32_768
_PURGED_BLOCKS = 600
_RANGES = 16
"""How many a large merge makes: what it takes over is freed after each, so that the file does not grow by all of it."""
_RANGE_ROWS = 200_000
"""No range is made smaller than that."""


@dataclass(slots=True)
class _Merge:
    """A merge, and the run that it makes of the present range."""

    level: int
    sources: tuple[Run, ...]
    range_rows: int
    number: int
    words: Words
    first: int = 0
    """Where the present range begins."""
    next_prefix: int = 0
    blocks: int = 0
    rows: int = 0
    fences: list[Words] = field(default_factory=list)
    left: RunRows = field(default_factory=lambda: np.empty(0, RUN_ROW))
    """Rows that did not fill a block: they begin the next slice."""
    taken: Counter[int] = field(default_factory=Counter)
    """Rows of each source that are in the present range."""
    freed: Counter[int] = field(default_factory=Counter)
    """Blocks of each source removed so far."""

    @property
    def rows_left(self) -> int:
        return sum(run.part.rows for run in self.sources)


@dataclass(frozen=True, slots=True)
class Slice:
    """Blocks ready to be written by `Merging.write`."""

    merge: _Merge
    blocks: bytes
    fences: Words
    rows: int
    left: RunRows
    taken: Mapping[int, int]
    last: int
    """Prefix of the last person it may hold."""
    ends: bool
    """Whether the range ends with it."""


class Merging:
    """The merges that one process makes."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._merges: dict[int, _Merge] = {}
        self._names = 0
        """The version of the pseudonyms when they were begun."""

    def abandon(self, session: Session) -> None:
        """What this process or another was building is dead."""
        self._merges = {}
        session.run("UPDATE run SET state = ? WHERE state = ?", (DEAD, BUILDING))
        self._names = _names(session)

    def _go_on(self, session: Session) -> None:
        """StoreUnavailable when a renewal has begun: it ended all merges (`rewriting.begin_renewal`)."""
        if _names(session) != self._names:
            raise StoreUnavailable("Les pseudonymes sont renouvelés : les fusions recommencent.")

    def due(self, session: Session) -> tuple[int, tuple[Run, ...]] | None:
        """A level, the lowest first, with runs to merge, and those runs; none when a merge is begun.

        Runs that a renewal has still to rename wait: a run is under one version of the names.
        """
        self._go_on(session)
        by_level: dict[int, list[Run]] = {level: [] for level in self._merges}
        taken_up = {run.number for merge in self._merges.values() for run in merge.sources}
        for run in self._runs.live(session):
            if run.number not in taken_up and not run.part.before:
                by_level.setdefault(run.part.level, []).append(run)
        for level in sorted(by_level):
            if level in self._merges:
                return level, ()
            # Runs of ranges side by side are as one.
            if sum(run.part.share for run in by_level[level]) >= FAN_IN << 64:
                return level, tuple(by_level[level])
        return None

    def begin(self, session: Session, level: int, sources: tuple[Run, ...]) -> None:
        """Begin to merge these runs."""
        self._go_on(session)
        rows = sum(run.part.rows for run in sources)
        range_rows = -(-rows // max(1, min(_RANGES, rows // _RANGE_ROWS)))
        self._merges[level] = _Merge(level_of(rows), sources, range_rows, new_run(session), new_filter(range_rows))

    def prepare(self, session: Session, level: int) -> Slice:
        """Read, sort and pack the next slice of a merge begun: nothing is written, no lock is needed."""
        merge = self._merges[level]
        last = slice_end(merge.sources, merge.next_prefix, _SLICE_ROWS)
        parts, taken = [], {}
        for run in merge.sources:
            first = max(merge.next_prefix, run.part.first)
            if first <= min(last, run.part.last):
                parts.append(between(fetched(session, run, run.blocks_of(first, last)), first, last))
                taken[run.number] = len(parts[-1])
        rows = joined([merge.left, in_order(joined(parts))])
        if merge.rows + len(rows) == merge.rows_left:
            last = LAST_PREFIX  # nothing is left for another range
        ends = last == LAST_PREFIX or merge.rows + len(rows) >= merge.range_rows
        whole = len(rows) if ends else len(rows) // BLOCK_ROWS * BLOCK_ROWS
        rows, left = rows[:whole], rows[whole:]
        if len(rows):
            fill(merge.words, rows)
        blocks = blocks_of(merge.number, merge.blocks, rows)
        return Slice(merge, blocks, prefixes(rows[::BLOCK_ROWS]), len(rows), left, taken, last, ends)

    def write(self, session: Session, piece: Slice) -> int:
        """Write a slice, and with the last one of a range put the merged run in the place of its sources; rows written.

        Removes as much as it writes of what is no longer needed: otherwise the file would grow for nothing.
        """
        self._go_on(session)
        merge = piece.merge
        write_blocks(session, merge.number, merge.blocks, piece.blocks)
        merge.fences.append(piece.fences)
        merge.blocks += len(piece.fences)
        merge.rows += piece.rows
        merge.left = piece.left
        merge.taken.update(piece.taken)
        if piece.ends:
            self._end_range(session, merge, piece.last)
        merge.next_prefix = piece.last + 1
        _trim(session, merge, _PURGED_BLOCKS - purge(session))
        return piece.rows

    def _end_range(self, session: Session, merge: _Merge, last: int) -> None:
        """Make the run of the present range live, and leave of the sources what is above it."""
        if merge.rows != merge.taken.total():
            raise StoreUnavailable("Une fusion n'a pas retrouvé tous ses enregistrements : vérifiez le magasin.")
        left = [
            # A source may already begin above: an earlier merge, interrupted, has left it so.
            replace(
                run,
                part=run.part._replace(
                    rows=run.part.rows - merge.taken[run.number], first=max(run.part.first, last + 1)
                ),
            )
            for run in merge.sources
        ]
        finished = last == LAST_PREFIX
        for run in left:
            if finished and run.part.rows:
                raise StoreUnavailable("Une fusion n'a pas retrouvé tous ses enregistrements : vérifiez le magasin.")
            state = DEAD if finished else LIVE
            if not session.run("UPDATE run SET state = ? WHERE id = ? AND state = ?", (state, run.number, LIVE)):
                raise StoreUnavailable("Une série a été remplacée pendant sa fusion : la fusion recommencera.")
            if not finished:
                keep_part(session, run)
        part = None if (merge.first, last) == (0, LAST_PREFIX) else Part(merge.level, merge.rows, merge.first, last)
        self._runs.finish(session, merge.number, merge.rows, np.concatenate(merge.fences), merge.words, part)
        if finished:
            self._merges = {level: one for level, one in self._merges.items() if one is not merge}
            return
        merge.sources = tuple(left)
        merge.number, merge.words = new_run(session), new_filter(min(merge.range_rows, merge.rows_left))
        merge.first, merge.blocks, merge.rows, merge.fences = last + 1, 0, 0, []
        merge.taken.clear()


def _names(session: Session) -> int:
    return int(only(session.rows("SELECT pseudonyms FROM head"))[0])


def purge(session: Session) -> int:
    """Remove some blocks of dead runs, and those that have none left; how many were removed, runs counted with them."""
    removed = 0
    while removed < _PURGED_BLOCKS:
        dead = session.rows("SELECT id FROM run WHERE state = ? LIMIT 1", (DEAD,))
        if not dead:
            break
        removed += remove_blocks(session, int(dead[0][0]), _PURGED_BLOCKS - removed) + 1
    return removed


def _trim(session: Session, merge: _Merge, count: int) -> None:
    """Remove some blocks of the sources that lie below the present range."""
    for run in merge.sources:
        if count <= 0:
            return
        removed = remove_below(session, run, merge.freed[run.number], count)
        merge.freed[run.number] += removed
        count -= removed


def slice_end(runs: Sequence[Run], first: int, rows: int) -> int:
    """A prefix such that about so many rows lie from `first` to it: whole persons, whatever their number of records."""
    place = rows // BLOCK_ROWS
    ahead = [run.fences[np.searchsorted(run.fences, np.uint64(first), "right") :] for run in runs]
    fences = np.sort(np.concatenate([part[: place + 1] for part in ahead]))
    return int(fences[place]) if len(fences) > place else LAST_PREFIX
