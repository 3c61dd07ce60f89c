"""Record versions as sorted runs inside SQLite: what keeps its speed at tens of millions of records.

A B-tree keyed by person writes a page a record: persons come in no order. Here each commit adds a run, its rows sorted
by key and packed in blocks; eight runs of a size are merged into one, a slice at a time, after the commits. A read
looks at the blocks of each run whose filter does not rule the person out; a new record is compared with what is held
only where a filter does not rule the record out.

Runs are never changed: what a process knows of one holds as long as the run lives. Every block has a checksum.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.record_columns import CONTENT_DTYPE
from solidarite_server.storage.sql import Row, Session, only

CONTENT_BYTES = CONTENT_DTYPE.itemsize
RUN_ROW = np.dtype(
    [
        ("person", "V16"),
        ("source", ">u4"),
        ("record_id", "V16"),
        ("version", ">u4"),
        ("known_at_us", "<i8"),
        ("content", f"V{CONTENT_BYTES}"),
    ]
)
"""The key comes first and sorts by its bytes."""
RunRows = npt.NDArray[np.void]
Words = npt.NDArray[np.uint64]

_RECORD_BYTES, _KEY_BYTES = 36, 40
_KEY, _INSTANT = struct.Struct(">I16sI"), struct.Struct("<q")
_ALL_BITS = 2**64 - 1
_FEW_PERSONS = 8
_BLOCK_ROWS = 64
_FAN_IN = 8
_SMALLEST_ROWS = 2_048
_SLICE_ROWS = 32_768
_PURGED_BLOCKS = 512
_BITS_A_ROW = 32
_RUN_SHIFT = 32
BUILDING, LIVE, DEAD = 0, 1, 2


def raw(rows: RunRows) -> npt.NDArray[np.uint8]:
    """The bytes of the rows, a line each."""
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), RUN_ROW.itemsize)


def sort_keys(rows: RunRows) -> npt.NDArray[np.bytes_]:
    """What rows are sorted by: person, source, record, version."""
    return raw(rows)[:, :_KEY_BYTES].copy().view(f"S{_KEY_BYTES}")[:, 0]


def record_keys(rows: RunRows) -> npt.NDArray[np.bytes_]:
    """Person, source and record: the identity."""
    return raw(rows)[:, :_RECORD_BYTES].copy().view(f"S{_RECORD_BYTES}")[:, 0]


def prefixes(rows: RunRows) -> Words:
    """The first 8 bytes of the persons, as numbers in the order of the rows."""
    return raw(rows)[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)


def prefix_of(person: bytes) -> int:
    """The same for one person."""
    return int.from_bytes(person[:8], "big")


# Filters: a set of hashes that may say « perhaps » of what it does not hold, never « no » of what it does. Each hash
# sets four bits of one 64-bit word, so that a test costs one read of memory.


def _mixed(numbers: Words) -> Words:
    x: Words
    with np.errstate(over="ignore"):
        x = numbers ^ (numbers >> np.uint64(33))
        x = x * np.uint64(0xFF51AFD7ED558CCD)
        x = x ^ (x >> np.uint64(29))
        x = x * np.uint64(0xC4CEB9FE1A85EC53)
        x = x ^ (x >> np.uint64(32))
    return x


def person_hashes(persons: Words) -> Words:
    """Hashes of persons, from their prefixes."""
    return _mixed(persons)


def record_hashes(rows: RunRows) -> Words:
    """Hashes of identities."""
    data = raw(rows)
    high, low = (data[:, a : a + 8].copy().view("<u8")[:, 0] for a in (20, 28))
    with np.errstate(over="ignore"):
        source = rows["source"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return _mixed(prefixes(rows) ^ _mixed(high + source) ^ _mixed(low ^ np.uint64(0xD1B54A32D192ED03)))


def _masks(hashes: Words) -> Words:
    one, six = np.uint64(1), np.uint64(63)
    masks = one << (hashes & six)
    for shift in (6, 12, 18):
        masks |= one << ((hashes >> np.uint64(shift)) & six)
    return masks


def new_filter(rows: int) -> Words:
    """An empty filter for that many rows."""
    return np.zeros(max(1, rows * _BITS_A_ROW // 64), np.uint64)


class Probe(NamedTuple):
    """Hashes ready to be looked for in any filter."""

    places: Words
    masks: Words

    @classmethod
    def of(cls, hashes: Words) -> Probe:
        """Prepare hashes."""
        return cls(hashes >> np.uint64(24), _masks(hashes))

    def words_of(self, words: Words) -> npt.NDArray[np.intp]:
        """Where each hash is in that filter."""
        return (self.places % np.uint64(len(words))).astype(np.intp)


def add_to(words: Words, hashes: Words) -> None:
    """Add hashes to a filter."""
    probe = Probe.of(hashes)
    np.bitwise_or.at(words, probe.words_of(words), probe.masks)


def perhaps(words: Words, probe: Probe) -> npt.NDArray[np.bool_]:
    """Whether each hash may be in a filter."""
    held: npt.NDArray[np.bool_] = (words[probe.words_of(words)] & probe.masks) == probe.masks
    return held


@dataclass(frozen=True, slots=True)
class Run:
    """A run: where its blocks begin, and what it may hold."""

    number: int
    rows: int
    fences: Words
    """Prefix of the first person of each block."""
    words: Words
    checksum: int
    """Of the fences and the filter."""

    @property
    def size(self) -> int:
        """Its class: runs of one class are merged together."""
        size, rows = 0, self.rows
        while rows >= _SMALLEST_ROWS * _FAN_IN:
            size, rows = size + 1, rows // _FAN_IN
        return size

    def blocks_of(self, first: int, last: int) -> range:
        """Blocks that may hold the persons whose prefixes lie from `first` to `last`."""
        start = int(self.fences.searchsorted(np.uint64(first), "left")) - 1
        return range(max(0, start), int(self.fences.searchsorted(np.uint64(last), "right")))


@dataclass(slots=True)
class Merge:
    """A merge in progress: known to this process alone; lost with it, and begun again."""

    number: int
    sources: tuple[Run, ...]
    next_prefix: int = 0
    blocks: int = 0
    rows: int = 0
    words: Words = field(default_factory=lambda: np.zeros(1, np.uint64))
    fences: list[Words] = field(default_factory=list)


class Runs:
    """The runs of a store, as one process knows them. Callers bring a session inside a transaction."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: dict[int, Run] = {}
        self._merge: Merge | None = None

    # Reading

    def live(self, session: Session) -> list[Run]:
        """The runs that make the store, in this transaction."""
        # One statement for both: every read of a household begins here.
        query = "SELECT run.id, run.checksum, run.rows, head.record_versions FROM head LEFT JOIN run ON run.state = ?"
        held = session.rows(query, (LIVE,))
        versions = only(held)[3]
        held = [row for row in held if row[0] is not None]
        if sum(row[2] for row in held) != versions:
            raise StoreUnavailable("Il manque une série d'enregistrements au magasin : restaurez une sauvegarde.")
        with self._guard:
            # The number of a run whose commit was rolled back serves again: the checksum tells them apart.
            self._known = {
                number: run if run is not None and run.checksum == checksum else _loaded(session, number)
                for number, checksum, _, _ in held
                for run in (self._known.get(number),)
            }
            return list(self._known.values())

    def of_persons(self, session: Session, persons: Sequence[bytes], horizon: int) -> list[Row]:
        """(person, source, record_id, version, known_at_us, content) of every version known by `horizon`."""
        if not persons:
            return []
        runs = self.live(session)
        if len(persons) <= _FEW_PERSONS:
            # One household: numpy costs more than it saves.
            return [
                row
                for person in persons
                for place, mask in (_probe_one(person),)
                for run in runs
                if int(run.words[place % len(run.words)]) & mask == mask
                for row in _of_one(session, run, person, horizon)
            ]
        found = []
        wanted = np.array(sorted(persons), "V16")
        numbers = wanted.view(">u8")[::2].astype(np.uint64)
        probe = Probe.of(person_hashes(numbers))
        for run in runs:
            held = numbers[perhaps(run.words, probe)]
            if len(held):
                blocks = sorted({block for prefix in held.tolist() for block in run.blocks_of(prefix, prefix)})
                found.append(_of(_fetched(session, run.number, blocks), held))
        exact = set(persons)
        return [row for row in _joined(found).tolist() if row[0] in exact and row[4] <= horizon]

    def held(self, session: Session, rows: RunRows) -> list[tuple[int, int, bool]]:
        """Versions already kept of the rows' records: (place of the row, version kept, whether it is the very same)."""
        found: list[tuple[int, int, bool]] = []
        probe, persons = Probe.of(record_hashes(rows)), prefixes(rows)
        for run in self.live(session):
            places = np.flatnonzero(perhaps(run.words, probe))
            if len(places):
                found.extend(_compared(session, run, rows, persons, places))
        return found

    # Writing

    def add(self, session: Session, rows: RunRows) -> None:
        """Keep new rows as a run."""
        if not len(rows):
            return
        rows = rows[np.argsort(sort_keys(rows), kind="stable")]
        number = _new_run(session, BUILDING)
        words = new_filter(len(rows))
        _fill(words, rows)
        fences = _written(session, number, 0, rows)
        self._finish(session, number, len(rows), fences, words)
        session.run("UPDATE head SET record_versions = record_versions + ?", (len(rows),))

    def _finish(self, session: Session, number: int, rows: int, fences: Words, words: Words) -> None:
        run = Run(number, rows, fences, words, _checksum(rows, fences.tobytes(), words.tobytes()))
        session.run(
            "UPDATE run SET state = ?, rows = ?, fences = ?, filter = ?, checksum = ? WHERE id = ?",
            (LIVE, rows, fences.tobytes(), words.tobytes(), run.checksum, number),
        )
        with self._guard:
            self._known[number] = run

    def forget_merge(self) -> None:
        """The transaction of a step was rolled back: begin the merge again."""
        self._merge = None

    def abandon_unfinished(self, session: Session) -> None:
        """What another process was building when it ended is dead."""
        self._merge = None
        session.run("UPDATE run SET state = ? WHERE state = ?", (DEAD, BUILDING))

    def step(self, session: Session) -> int:
        """A slice of a merge, or of the removal of dead runs; the number of rows moved, 0 when nothing is left."""
        if self._merge is None:
            self._merge = self._begun(session)
        if self._merge is None:
            return _purged(session)
        return self._slice(session, self._merge)

    def _begun(self, session: Session) -> Merge | None:
        by_size: dict[int, list[Run]] = {}
        for run in self.live(session):
            by_size.setdefault(run.size, []).append(run)
        for size in sorted(by_size):
            if len(by_size[size]) >= _FAN_IN:
                sources = tuple(sorted(by_size[size], key=lambda run: run.number))
                merge = Merge(_new_run(session, BUILDING), sources)
                merge.words = new_filter(sum(run.rows for run in sources))
                return merge
        return None

    def _slice(self, session: Session, merge: Merge) -> int:
        last = _slice_end(merge)
        parts = []
        for run in merge.sources:
            rows = _fetched(session, run.number, run.blocks_of(merge.next_prefix, last))
            numbers = prefixes(rows)
            parts.append(rows[(numbers >= np.uint64(merge.next_prefix)) & (numbers <= np.uint64(last))])
        rows = _joined(parts)
        rows = rows[np.argsort(sort_keys(rows), kind="stable")]
        if len(rows):
            _fill(merge.words, rows)
            merge.fences.append(_written(session, merge.number, merge.blocks, rows))
            merge.blocks += len(merge.fences[-1])
            merge.rows += len(rows)
        if last == 2**64 - 1:
            if merge.rows != sum(run.rows for run in merge.sources):
                raise StoreUnavailable("Une fusion n'a pas retrouvé tous ses enregistrements : vérifiez le magasin.")
            self._finish(session, merge.number, merge.rows, np.concatenate(merge.fences), merge.words)
            for run in merge.sources:
                session.run("UPDATE run SET state = ? WHERE id = ?", (DEAD, run.number))
            self._merge = None
        else:
            merge.next_prefix = last + 1
        return len(rows) + 1

    def check(self, session: Session) -> list[str]:
        """What is wrong with the runs, in French: checksums, order, counts."""
        found = []
        for run in self.live(session):
            try:
                rows = _fetched(session, run.number, range(len(run.fences)))
            except StoreUnavailable as error:
                found.append(error.message_fr)
                continue
            keys = sort_keys(rows)
            if len(rows) != run.rows or bool((keys[1:] <= keys[:-1]).any()):
                found.append(f"La série {run.number} n'a pas ses enregistrements, ou pas dans l'ordre.")
        return found


def _slice_end(merge: Merge) -> int:
    """A prefix such that about `_SLICE_ROWS` rows lie up to it: whole persons, whatever their number of records."""
    ahead = [run.fences[np.searchsorted(run.fences, np.uint64(merge.next_prefix), "right") :] for run in merge.sources]
    fences = np.sort(np.concatenate(ahead))
    place = _SLICE_ROWS // _BLOCK_ROWS
    return int(fences[place]) if len(fences) > place else 2**64 - 1


def _new_run(session: Session, state: int) -> int:
    number = int(session.rows("SELECT coalesce(max(id), 0) + 1 FROM run")[0][0])
    session.run(
        "INSERT INTO run (id, state, rows, fences, filter, checksum) VALUES (?, ?, 0, ?, ?, 0)",
        (number, state, b"", b""),
    )
    return number


def _fill(words: Words, rows: RunRows) -> None:
    add_to(words, record_hashes(rows))
    persons = prefixes(rows)  # sorted, as the rows are
    add_to(words, person_hashes(persons[np.concatenate([[True], persons[1:] != persons[:-1]])]))


def _written(session: Session, number: int, first: int, rows: RunRows) -> Words:
    """Write sorted rows as blocks; their fences."""
    data, width = rows.tobytes(), RUN_ROW.itemsize * _BLOCK_ROWS
    blocks = [data[start : start + width] for start in range(0, len(data), width)]
    session.many(
        "INSERT INTO run_block (id, checksum, data) VALUES (?, ?, ?)",
        [((number << _RUN_SHIFT) + first + place, zlib.crc32(block), block) for place, block in enumerate(blocks)],
    )
    return prefixes(rows[::_BLOCK_ROWS])


def _loaded(session: Session, number: int) -> Run:
    rows, fences, words, checksum = session.rows(
        "SELECT rows, fences, filter, checksum FROM run WHERE id = ?", (number,)
    )[0]
    if _checksum(rows, fences, words) != checksum:
        raise _damaged(number)
    return Run(number, rows, np.frombuffer(fences, np.uint64), np.frombuffer(words, np.uint64), checksum)


def _checksum(rows: int, fences: bytes, words: bytes) -> int:
    return zlib.crc32(words, zlib.crc32(fences, rows))


def _fetched(session: Session, number: int, blocks: Sequence[int]) -> RunRows:
    """The rows of these blocks."""
    return np.frombuffer(b"".join(_blocks(session, number, blocks)), RUN_ROW)


def _blocks(session: Session, number: int, blocks: Sequence[int]) -> list[bytes]:
    """The bytes of these blocks, checked."""
    if not len(blocks):
        return []
    start = number << _RUN_SHIFT
    if blocks[-1] - blocks[0] + 1 == len(blocks):
        query = "SELECT checksum, data FROM run_block WHERE id >= ? AND id <= ? ORDER BY id"
        rows = session.rows(query, (start + blocks[0], start + blocks[-1]))
    else:
        query = "SELECT checksum, data FROM run_block WHERE id = ?"
        rows = [row for block in blocks for row in session.rows(query, (start + block,))]
    if len(rows) != len(blocks) or any(
        zlib.crc32(data) != checksum or len(data) % RUN_ROW.itemsize for checksum, data in rows
    ):
        raise _damaged(number)
    return [data for _, data in rows]


def _joined(parts: Sequence[RunRows]) -> RunRows:
    # Without its type named, concatenate would give numbers the machine's byte order, and rows another order of keys.
    return np.concatenate([np.empty(0, RUN_ROW), *parts], dtype=RUN_ROW)


def _damaged(number: int) -> StoreUnavailable:
    return StoreUnavailable(f"La série {number} du magasin est abîmée : restaurez une sauvegarde.")


def _of_one(session: Session, run: Run, person: bytes, horizon: int) -> list[Row]:
    """The versions of one person in a run."""
    prefix = prefix_of(person)
    found = []
    for data in _blocks(session, run.number, run.blocks_of(prefix, prefix)):
        start = data.find(person)
        while start >= 0 and start % RUN_ROW.itemsize:
            start = data.find(person, start + 1)  # the same bytes inside a row: not a person
        while start >= 0 and data.startswith(person, start):
            source, record_id, version = _KEY.unpack_from(data, start + len(person))
            (known_at,) = _INSTANT.unpack_from(data, start + _KEY_BYTES)
            if known_at <= horizon:
                content = data[start + RUN_ROW.itemsize - CONTENT_BYTES : start + RUN_ROW.itemsize]
                found.append((person, source, record_id, version, known_at, content))
            start += RUN_ROW.itemsize
    return found


def _probe_one(person: bytes) -> tuple[int, int]:
    """`Probe` for one person."""
    x = prefix_of(person)
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & _ALL_BITS
    x ^= x >> 29
    x = x * 0xC4CEB9FE1A85EC53 & _ALL_BITS
    x ^= x >> 32
    return x >> 24, 1 << (x & 63) | 1 << (x >> 6 & 63) | 1 << (x >> 12 & 63) | 1 << (x >> 18 & 63)


def _of(rows: RunRows, persons: Words) -> RunRows:
    """The rows of these persons (sorted prefixes)."""
    numbers = prefixes(rows)
    places = np.minimum(np.searchsorted(persons, numbers), len(persons) - 1)
    kept: RunRows = rows[persons[places] == numbers]
    return kept


def _compared(
    session: Session, run: Run, rows: RunRows, persons: Words, places: npt.NDArray[np.intp]
) -> list[tuple[int, int, bool]]:
    blocks = sorted({block for prefix in persons[places].tolist() for block in run.blocks_of(prefix, prefix)})
    kept = _fetched(session, run.number, blocks)
    keys, wanted = record_keys(kept), record_keys(rows[places])
    first, last = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
    found = []
    for place, start, stop in zip(places.tolist(), first.tolist(), last.tolist(), strict=True):
        for old in kept[start:stop]:
            version = int(old["version"])
            same = version == int(rows["version"][place]) and bytes(old["content"]) == bytes(rows["content"][place])
            found.append((place, version, same))
    return found


def _purged(session: Session) -> int:
    """Remove some blocks of a dead run, then the run; the number of blocks removed, 0 when none is dead."""
    dead: list[Any] = session.rows("SELECT id FROM run WHERE state = ? LIMIT 1", (DEAD,))
    if not dead:
        return 0
    start = int(dead[0][0]) << _RUN_SHIFT
    removed = session.run(
        "DELETE FROM run_block WHERE id IN (SELECT id FROM run_block WHERE id >= ? AND id < ? LIMIT ?)",
        (start, start + (1 << _RUN_SHIFT), _PURGED_BLOCKS),
    )
    if removed < _PURGED_BLOCKS:
        session.run("DELETE FROM run WHERE id = ?", (dead[0][0],))
    return removed + 1
