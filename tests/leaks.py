"""NIRs and names in clear, looked for in all that the suite leaves: databases, logs, metrics, reports, backups, output.

Every test that serves something hands persons over; none of them may be found afterwards, but in the files that a
source, or the owner of the data, has on their own machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from solidarite_server.domain.nir import nir_key

WITNESS = "temoin-des-fuites.db"
"""A file with a NIR in clear, left by each run: a search that does not find it has not searched."""
_WITNESS_NIR = b"1850799999142"
NAMES = (b"BENALI", b"COLONNA", b"OKAFOR", b"OISEAUDELAMINE")
"""Of the samples, as payroll software writes them."""
OWN = (
    # What a source or a front-end hands over.
    "*.dsn", "*.DSN", "*.edi", "*.csv", "*.jsonl", "*.ndjson", "*/rows.txt", "*/test_a_dsn_is_recognised*/a*",
    "*/foyers.json", "*/truth.json", "*/canaris*/in/*",
    # The project itself and what it installs, where a test begins from a clone.
    "*/depot/*", "*/site-packages/*",
    # The journal of an upload not acknowledged.
    "*/batches",
)  # fmt: skip
"""Files of whoever may hold persons in clear."""

_IN_TEXT = re.compile(
    rb"(?<![0-9A-Za-z])[12]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{6}(?:\d{2})?(?![0-9A-Za-z])"
)
_SHORTEST = 13
_PIECE = 1 << 24
_OF_A_NIR = np.zeros(256, bool)
_OF_A_NIR[list(b"0123456789AB")] = True


def found_in(data: bytes) -> list[str]:
    """What is in clear there: the kind of it, the place and the shape of what is around, never the value."""
    found = [f"NIR at {start} in {_shape(data[max(0, start - 60) : start + 60])}" for start in _nirs(data)]
    return found + [f"name at {data.index(name)}" for name in NAMES if name in data]


def _shape(data: bytes) -> bytes:
    return re.sub(rb"[A-Z]", b"A", re.sub(rb"[a-z]", b"a", re.sub(rb"[0-9]", b"9", data)))


def _nirs(data: bytes) -> Iterator[int]:
    # Digits are rare in a database: looking for long enough runs of them first is ten times as fast.
    held = np.concatenate([[False], _OF_A_NIR[np.frombuffer(data, np.uint8)], [False]])
    edges = np.flatnonzero(held[1:] != held[:-1])
    for start, stop in edges.reshape(-1, 2)[edges[1::2] - edges[::2] >= _SHORTEST].tolist():
        for match in _IN_TEXT.finditer(data, max(0, start - 1), stop + 1):
            digits = match.group().decode()
            # A SIRET and the first digit of what follows it in a record make fifteen too, without the key.
            if len(digits) == _SHORTEST or digits[_SHORTEST:] == nir_key(digits[:_SHORTEST]):
                yield match.start()


def leave_witness(folder: Path) -> None:
    """Put the file there that a search must find."""
    (folder / WITNESS).write_bytes(b"SQLite\0" + _WITNESS_NIR + b"\0")


def leaks(folder: Path) -> list[str]:
    """What is in clear below a folder, by file; a complaint of its own when the witness was not found."""
    wrong, witnesses = [], 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = f"/{path.relative_to(folder)}"
        if any(fnmatch(name, own) for own in OWN):
            continue
        found = [place for piece in _pieces(path) for place in found_in(piece)]
        if path.name == WITNESS:
            witnesses += len(found) == 1
        elif found:
            wrong.append(f"{name} : {len(found)}, first {found[0]}")
    return wrong if witnesses else [*wrong, "the witness was not found: nothing was searched"]


def _pieces(path: Path) -> Iterator[bytes]:
    """A file by pieces that overlap: nothing hides between two."""
    with path.open("rb") as file:
        before = b""
        while piece := file.read(_PIECE):
            yield before + piece
            before = piece[-64:]
