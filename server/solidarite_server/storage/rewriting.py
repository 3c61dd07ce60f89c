"""Runs written anew, in the transaction of the caller: records renamed or removed. Merges begin again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from solidarite_server.record_columns import CONTENT_DTYPE
from solidarite_server.storage.runs import DEAD, Run, RunRows, Runs, between, fetched, prefix_of
from solidarite_server.storage.sql import Session

_SLICE_BLOCKS = 8_192
_RUN_SHIFT = 32
Kept = Callable[[RunRows], npt.NDArray[np.bool_]]


def rename(session: Session, runs: Runs, change: Callable[[bytes], bytes]) -> int:
    """Give the persons of every record another name; the number of records."""

    def renamed(rows: RunRows) -> RunRows:
        changed = rows.copy()
        changed["person"] = np.frombuffer(change(rows["person"].tobytes()), "V16")
        return changed

    live = runs.live(session)
    for run in live:
        _replace(session, runs, run, renamed)
    _overwrite_dead(session)
    return sum(run.part.rows for run in live)


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
        runs.add(session, changed)
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
