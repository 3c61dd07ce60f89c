"""Runs written anew, in the transaction of the caller: records renamed, some at a time, or removed.

Merges begin again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.record_columns import CONTENT_DTYPE
from solidarite_server.storage.merging import slice_end
from solidarite_server.storage.runs import (
    BUILDING,
    DEAD,
    LAST_PREFIX,
    Run,
    RunRows,
    Runs,
    between,
    fetched,
    joined,
    keep_part,
    prefix_of,
    remove_below,
)
from solidarite_server.storage.sql import Session

_SLICE_BLOCKS = 8_192
_RUN_SHIFT = 32
RENEWED_ROWS = 16_384
"""Renamed at once: some 50 ms."""
Kept = Callable[[RunRows], npt.NDArray[np.bool_]]


def begin_renewal(session: Session, runs: Runs) -> None:
    """Note that all runs are under the old names, and drop what merges were building."""
    session.run("UPDATE run SET state = ? WHERE state = ?", (DEAD, BUILDING))
    for run in runs.live(session):
        keep_part(session, replace(run, part=run.part._replace(before=True)))
    _changed(session)


def renew_some(session: Session, runs: Runs, change: Callable[[bytes], bytes]) -> int:
    """Give new names to the first persons that are under old ones; returns the prefix from which others are left,
    2^64 when none is.

    As in a merge by ranges: what is renamed becomes a run, and of those that held it the part above it is left.
    """
    old = [run for run in runs.live(session) if run.part.before]
    first = min((run.part.first for run in old), default=LAST_PREFIX + 1)
    if not old:
        return first
    last = slice_end(old, first, RENEWED_ROWS)
    found = []
    for run in old:
        if run.part.first <= last:
            rows = fetched(session, run, run.blocks_of(run.part.first, last))
            found.append(between(rows, run.part.first, min(last, run.part.last)))
            _leave_above(session, run, last, len(found[-1]))
    renamed = joined(found)
    renamed["person"] = np.frombuffer(change(renamed["person"].tobytes()), "V16")
    runs.add(session, renamed)
    session.run("UPDATE head SET record_versions = record_versions - ?", (len(renamed),))
    _changed(session)
    return last + 1


def _leave_above(session: Session, run: Run, last: int, taken: int) -> None:
    """Leave of a run what lies above a prefix; so many of its rows were taken. What it held of them is overwritten."""
    left = replace(run, part=run.part._replace(rows=run.part.rows - taken, first=last + 1))
    if not left.part.rows:
        session.run("UPDATE run SET state = ? WHERE id = ?", (DEAD, run.number))
        return
    if left.part.rows < 0 or last >= run.part.last:
        raise StoreUnavailable("Un renouvellement n'a pas retrouvé tous ses enregistrements : vérifiez le magasin.")
    keep_part(session, left)
    place = run.blocks_of(run.part.first, run.part.first).start
    remove_below(session, left, place, len(run.fences))


def _changed(session: Session) -> None:
    session.run("UPDATE head SET run_generation = run_generation + 1")


def remove_person(session: Session, runs: Runs, person: bytes) -> int:
    """Remove the records of a person; their number. Runs that do not hold the person stay as they are."""
    name, prefix = np.void(person), prefix_of(person)
    holding = [
        run
        for run in runs.live(session)
        # Below its part a run may still hold rows that are elsewhere by now.
        if run.trimmed or (fetched(session, run, run.blocks_of(prefix, prefix))["person"] == name).any()
    ]
    removed = sum(_filter(session, runs, run, lambda rows: rows["person"] != name) for run in holding)
    _overwrite_dead(session)
    return removed


def remove_paid_before(session: Session, runs: Runs, day: int) -> int:
    """Remove the records paid before a day; their number."""

    def kept(rows: RunRows) -> npt.NDArray[np.bool_]:
        contents = np.ascontiguousarray(rows["content"]).view(CONTENT_DTYPE)
        mask: npt.NDArray[np.bool_] = contents["date_versement"] >= day
        return mask

    live = runs.live(session)
    old = [run for run in live if run.trimmed or not all(kept(rows).all() for rows in _slices(session, run))]
    removed = sum(_filter(session, runs, run, kept) for run in old)
    _overwrite_dead(session)
    return removed


def _filter(session: Session, runs: Runs, run: Run, kept: Kept) -> int:
    return run.part.rows - _replace(session, runs, run, lambda rows: rows[kept(rows)])


def _replace(session: Session, runs: Runs, run: Run, change: Callable[[RunRows], RunRows]) -> int:
    """Put new runs in the place of one; the number of their rows."""
    count = 0
    for rows in _slices(session, run):
        changed = change(rows)
        runs.add(session, changed, before=run.part.before)
        count += len(changed)
    session.run("UPDATE run SET state = ? WHERE id = ?", (DEAD, run.number))
    session.run(
        "UPDATE head SET record_versions = record_versions - ?, run_generation = run_generation + 1", (run.part.rows,)
    )
    return count


def _overwrite_dead(session: Session) -> None:
    # What is no longer to be known is overwritten in its place, also where a merge had left it behind: pages only freed
    # would keep it.
    for (number,) in session.rows("SELECT id FROM run WHERE state = ?", (DEAD,)):
        first = number << _RUN_SHIFT
        session.run(
            "UPDATE run_block SET data = zeroblob(length(data)) WHERE id >= ? AND id < ?",
            (first, first + (1 << _RUN_SHIFT)),
        )


def _slices(session: Session, run: Run) -> Iterator[RunRows]:
    first, last = run.part.first, run.part.last
    blocks = run.blocks_of(first, last)
    for start in blocks[::_SLICE_BLOCKS]:
        yield between(fetched(session, run, range(start, min(start + _SLICE_BLOCKS, blocks.stop))), first, last)
