"""Takes over the runs of migration 0001: blocks of 64 rows, each with a checksum beside it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.storage.runs import RUN_ROW, Runs

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Session

_LIVE = 1
_BLOCKS_AT_ONCE = 4_000


def take_over(session: Session) -> None:
    """Write every live run anew, in the transaction of the migration; StoreUnavailable when one is damaged."""
    runs = Runs()
    for number, expected in session.rows("SELECT id, rows FROM old_run WHERE state = ? ORDER BY id", (_LIVE,)):
        found, after = 0, number << 32
        while True:
            query = "SELECT id, checksum, data FROM old_run_block WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
            blocks = session.rows(query, (after, (number + 1) << 32, _BLOCKS_AT_ONCE))
            if any(zlib.crc32(data) != checksum for _, checksum, data in blocks):
                raise _damaged(number)
            rows = np.frombuffer(b"".join(data for _, _, data in blocks), RUN_ROW)
            runs.add(session, rows)
            found += len(rows)
            if len(blocks) < _BLOCKS_AT_ONCE:
                break
            after = blocks[-1][0] + 1
        if found != expected:
            raise _damaged(number)
    session.run("DROP TABLE old_run_block")
    session.run("DROP TABLE old_run")


def _damaged(number: int) -> StoreUnavailable:
    return StoreUnavailable(f"La série {number} du magasin est abîmée : restaurez une sauvegarde.")
