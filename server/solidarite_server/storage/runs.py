"""Record versions as sorted runs inside SQLite: what keeps its speed at tens of millions of records.

A B-tree keyed by person writes a page a record: persons come in no order. Here each commit adds a run, its rows sorted
by key and packed in blocks; runs of a size are merged into one in the background (storage/merging.py). A read looks at
the blocks of each run whose filter does not rule the person out; a new record is compared with what is held only where
a filter does not rule the record out.

A run is never changed: what a process knows of its blocks, fences and filter holds as long as it lives. A large merge
goes range by range: each range becomes a run of its own, and of the runs that are merged only the *part* above it is
left (`Part`). Every block has a checksum, which covers its place too.
"""

from __future__ import annotations

import struct
import threading
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

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
Places = npt.NDArray[np.intp]

_ROW_BYTES = RUN_ROW.itemsize
_OPAQUE_ROW = np.dtype(f"V{_ROW_BYTES}")
"""A row moved as it is: numpy copies it at once, and leaves the order of its bytes alone."""
_HASHED = np.dtype(
    {
        "names": ["prefix", "source", "record_high", "record_low"],
        "formats": [">u8", ">u4", "<u8", "<u8"],
        "offsets": [0, 16, 20, 28],
        "itemsize": _ROW_BYTES,
    }
)
_RECORD_BYTES, _KEY_BYTES = 36, 40
_KEY, _INSTANT, _BLOCK_END = struct.Struct(">I16sI"), struct.Struct("<q"), struct.Struct("<IQ")
_ALL_BITS = 2**64 - 1
_FEW_PERSONS = 8
BLOCK_ROWS = 66
"""As many as fill a page of 8 KiB: one page a block, to read as to write."""
_BLOCK = np.dtype([("rows", f"V{BLOCK_ROWS * _ROW_BYTES}"), ("count", "<u4"), ("checksum", "<u8")])
"""Rows, those beyond `count` all zero, and a sum of all that comes before."""
_BLOCK_WORDS = _BLOCK.itemsize // 8
_BLOCKS_AT_ONCE = 128
_BITS_A_ROW = 32
_RUN_SHIFT = 32
_PART, _PART_OF = struct.Struct("<BQQQ"), struct.Struct("<Qq")
_BEFORE = 0x80
LAST_PREFIX = _ALL_BITS
FAN_IN = 16
_SMALLEST_ROWS = 64
BUILDING, LIVE, DEAD = 0, 1, 2

# One statement for many blocks: each step of a statement lets another thread of Python in.
_INSERT_BLOCKS = (
    "WITH RECURSIVE place (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM place WHERE k + 1 < ?1)"
    " INSERT INTO run_block (id, data) SELECT ?2 + k, substr(?3, 1 + k * ?4, ?4) FROM place"
)
_JOIN_BLOCKS = "SELECT CAST(group_concat(data, '') AS BLOB) FROM (SELECT data FROM run_block WHERE {} ORDER BY id)"
_BLOCKS_BETWEEN = _JOIN_BLOCKS.format("id >= ? AND id <= ?")
_BLOCKS_AMONG = _JOIN_BLOCKS.format("id IN (SELECT value FROM json_each(?))")
_ONE_BLOCK = "SELECT data FROM run_block WHERE id = ?"
_ALL_RUNS = (
    "SELECT state, run.id, checksum, rows, part FROM run LEFT JOIN run_part ON run_part.id = run.id ORDER BY run.id"
)


def _opaque(rows: RunRows) -> npt.NDArray[np.void]:
    return np.ascontiguousarray(rows).view(_OPAQUE_ROW)


def taken(rows: RunRows, places: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> RunRows:
    """The rows at these places."""
    chosen: RunRows = _opaque(rows)[places].view(RUN_ROW)
    return chosen


def joined(parts: Sequence[RunRows]) -> RunRows:
    """The rows of each part, one part after the other."""
    # As rows with fields, concatenate would give numbers the machine's byte order, and rows another order of keys.
    return np.concatenate([np.empty(0, _OPAQUE_ROW), *(_opaque(part) for part in parts)]).view(RUN_ROW)


def _keys(rows: RunRows, width: int) -> npt.NDArray[np.bytes_]:
    data = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), _ROW_BYTES)
    return data[:, :width].copy().view(f"S{width}")[:, 0]


def sort_keys(rows: RunRows) -> npt.NDArray[np.bytes_]:
    """What rows are sorted by: person, source, record, version."""
    return _keys(rows, _KEY_BYTES)


def record_keys(rows: RunRows) -> npt.NDArray[np.bytes_]:
    """Person, source and record: the identity."""
    return _keys(rows, _RECORD_BYTES)


def prefixes(rows: RunRows) -> Words:
    """The first 8 bytes of the persons, as numbers in the order of the rows."""
    return np.ascontiguousarray(rows).view(_HASHED)["prefix"].astype(np.uint64)


def prefix_of(person: bytes) -> int:
    """The same for one person."""
    return int.from_bytes(person[:8], "big")


def in_order(rows: RunRows) -> RunRows:
    """The rows sorted by key."""
    numbers = prefixes(rows)
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    same = numbers[1:] == numbers[:-1]
    if same.any():
        # Only where the prefix does not settle it is the whole key looked at: four times faster.
        places = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
        among = order[places]
        order[places] = among[np.argsort(sort_keys(taken(rows, among)), kind="stable")]
    return taken(rows, order)


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
    parts = np.ascontiguousarray(rows).view(_HASHED)
    with np.errstate(over="ignore"):
        source = parts["source"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        low = parts["record_low"] * np.uint64(0xD1B54A32D192ED03)
        return _mixed(parts["prefix"].astype(np.uint64) ^ _mixed(parts["record_high"] + source) ^ low)


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
        return cls(hashes >> np.uint64(32), _masks(hashes))

    def at(self, places: Places) -> Probe:
        """Those of some places."""
        return Probe(self.places[places], self.masks[places])

    def words_of(self, words: Words) -> Places:
        """Where each hash is in that filter."""
        return ((self.places * np.uint64(len(words))) >> np.uint64(32)).astype(np.intp)


def add_to(words: Words, hashes: Words) -> None:
    """Add hashes to a filter."""
    probe = Probe.of(hashes)
    np.bitwise_or.at(words, probe.words_of(words), probe.masks)


def fill(words: Words, rows: RunRows) -> None:
    """Add the records and the persons of sorted rows to a filter."""
    add_to(words, record_hashes(rows))
    persons = prefixes(rows)
    add_to(words, person_hashes(persons[np.concatenate([[True], persons[1:] != persons[:-1]])]))


def perhaps(words: Words, probe: Probe) -> npt.NDArray[np.bool_]:
    """Whether each hash may be in a filter."""
    held: npt.NDArray[np.bool_] = (words[probe.words_of(words)] & probe.masks) == probe.masks
    return held


class Part(NamedTuple):
    """What counts of a run: its rows with prefixes from `first` to `last`. Those below are in another run by now."""

    level: int
    """Runs of one level are merged together."""
    rows: int
    first: int = 0
    last: int = LAST_PREFIX
    before: bool = False
    """Whether its persons stand under the names that a renewal of the pseudonyms is leaving."""

    @property
    def share(self) -> int:
        """How many prefixes it may hold, of the 2^64 that there are."""
        return max(0, self.last - self.first + 1)

    def packed(self, number: int, checksum: int) -> bytes:
        """As it is kept, for the run of that number and checksum."""
        level = self.level | _BEFORE if self.before else self.level
        data = _PART.pack(level, self.rows, self.first, self.last)
        return data + _part_sum(data, number, checksum)

    @classmethod
    def kept(cls, data: bytes, number: int, checksum: int) -> Part:
        """The inverse of `packed`; StoreUnavailable when it is damaged."""
        if data[_PART.size :] != _part_sum(data[: _PART.size], number, checksum):
            raise _damaged(number)
        level, rows, first, last = _PART.unpack_from(data)
        return cls(level & ~_BEFORE, rows, first, last, bool(level & _BEFORE))


def _part_sum(data: bytes, number: int, checksum: int) -> bytes:
    return zlib.crc32(data, zlib.crc32(_PART_OF.pack(number, checksum))).to_bytes(4, "little")


def level_of(rows: int) -> int:
    """The level of a run by its size."""
    level = 0
    while rows >= _SMALLEST_ROWS * FAN_IN:
        level, rows = level + 1, rows // FAN_IN
    return level


@dataclass(frozen=True, slots=True)
class Run:
    """A run: where its blocks begin, what it may hold, and what counts of it."""

    number: int
    fences: Words
    """Prefix of the first person of each block."""
    words: Words
    checksum: int
    """Of the rows when it was made, the fences and the filter."""
    part: Part

    @property
    def trimmed(self) -> bool:
        """Whether it may still hold rows below its part."""
        return len(self.fences) > 0 and int(self.fences[0]) < self.part.first

    def blocks_of(self, first: int, last: int) -> range:
        """Blocks that may hold the persons whose prefixes lie from `first` to `last`."""
        start = int(self.fences.searchsorted(np.uint64(first), "left"))
        stop = int(self.fences.searchsorted(np.uint64(last), "right")) if last > first else start
        while stop < len(self.fences) and self.fences[stop] == last:
            stop += 1
        return range(max(0, start - 1), stop)

    def blocks_of_each(self, numbers: Words) -> Places:
        """Blocks that may hold any of these persons, in order."""
        start = np.maximum(self.fences.searchsorted(numbers, "left") - 1, 0)
        stop = self.fences.searchsorted(numbers, "right")
        found = [start[start < stop]]
        for more in range(1, int((stop - start).max(initial=0))):  # a person over several blocks
            found.append(start[start + more < stop] + more)
        return np.unique(np.concatenate(found))

    def among(self, numbers: Words) -> Places:
        """Places of the persons whose prefixes are in its part."""
        if self.part.share > LAST_PREFIX:
            return np.arange(len(numbers))
        return np.flatnonzero((numbers >= np.uint64(self.part.first)) & (numbers <= np.uint64(self.part.last)))


class _Look(NamedTuple):
    """A run as a read of few persons looks into it: numpy costs more than it saves for one number."""

    first: int
    last: int
    words: memoryview
    size: int
    fences: memoryview
    first_block: int
    """The number of its first block."""

    @classmethod
    def into(cls, run: Run) -> _Look:
        words, fences = run.words.data, run.fences.data
        return cls(run.part.first, run.part.last, words, len(words), fences, run.number << _RUN_SHIFT)


def _blocks_of_one(fences: memoryview, first_block: int, prefix: int) -> range:
    """Numbers of the blocks that may hold a person."""
    start = stop = bisect_left(fences, prefix)
    while stop < len(fences) and fences[stop] == prefix:
        stop += 1
    return range(first_block + max(0, start - 1), first_block + stop)


class Runs:
    """The runs of a store, as one process knows them. Callers bring a session inside a transaction."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: dict[int, Run] = {}
        self._looks: list[_Look] = []
        self._made: dict[int, Run] = {}
        """Runs of this process whose commit was not seen yet; it may have been rolled back."""
        self._generation = -1

    def forget(self) -> None:
        """A transaction was rolled back: what was seen in it may never be, under the same number."""
        with self._guard:
            self._generation = -1

    @property
    def depth(self) -> int:
        """In how many runs a person was to be looked for, when they were last seen."""
        return sum(run.part.share for run in self._known.values()) >> 64

    # Reading

    def live(self, session: Session) -> list[Run]:
        """The runs that make the store, in this transaction; before it adds or removes any."""
        return self._now(session)[0]

    def _now(self, session: Session) -> tuple[list[Run], list[_Look]]:
        generation, versions = only(session.rows("SELECT run_generation, record_versions FROM head"))
        with self._guard:
            if generation != self._generation:
                known = self._seen_all(session)
                if sum(run.part.rows for run in known) != versions:
                    raise StoreUnavailable(
                        "Il manque une série d'enregistrements au magasin : restaurez une sauvegarde."
                    )
                self._known = {run.number: run for run in known}
                self._looks = [_Look.into(run) for run in known]
                newest = max(self._known, default=0)
                self._made = {number: run for number, run in self._made.items() if number > newest}
                self._generation = generation
            return list(self._known.values()), self._looks

    def _seen_all(self, session: Session) -> list[Run]:
        try:
            runs = session.rows(_ALL_RUNS)
            if any(one[1] >= following[1] for one, following in pairwise(runs)):
                # A damaged number is out of its place, or that of another run, dead ones included: that one would be
                # read twice, or its blocks in the place of others.
                raise ValueError("numbers of runs out of order")
            return [self._seen(session, *run) for state, *run in runs if state == LIVE]
        except (TypeError, ValueError, struct.error) as error:
            raise StoreUnavailable("La liste des séries du magasin est abîmée : restaurez une sauvegarde.") from error

    def _seen(self, session: Session, number: int, checksum: int, rows: int, part: bytes | None) -> Run:
        run = self._known.get(number, self._made.get(number))
        # The number of a run whose commit was rolled back serves again: the checksum tells them apart.
        if run is None or run.checksum != checksum:
            run = _loaded(session, number)
        counting = Part(level_of(rows), rows) if part is None else Part.kept(part, number, checksum)
        return run if run.part == counting else replace(run, part=counting)

    def of_persons(self, session: Session, persons: Sequence[bytes], horizon: int) -> list[Row]:
        """(person, source, record_id, version, known_at_us, content) of every version known by `horizon`."""
        if not persons:
            return []
        if len(persons) <= _FEW_PERSONS:
            return self._of_few(session, persons, horizon)
        found = []
        wanted = np.array(sorted(persons), "V16")
        numbers = wanted.view(">u8")[::2].astype(np.uint64)
        probe = Probe.of(person_hashes(numbers))
        for run in self.live(session):
            places = run.among(numbers)
            held = numbers[places[perhaps(run.words, probe.at(places))]]
            if len(held):
                found.append(_of(fetched(session, run, run.blocks_of_each(held)), held))
        exact = set(persons)
        return [row for row in joined(found).tolist() if row[0] in exact and row[4] <= horizon]

    def _of_few(self, session: Session, persons: Sequence[bytes], horizon: int) -> list[Row]:
        """The same for one household."""
        _, looks = self._now(session)
        wanted = [(person, prefix_of(person), *_probe_one(prefix_of(person))) for person in persons]
        asked = [
            (number, person)
            for first, last, words, size, fences, start in looks
            for person, prefix, place, mask in wanted
            if first <= prefix <= last and words[place * size >> 32] & mask == mask
            for number in _blocks_of_one(fences, start, prefix)
        ]
        found: list[Row] = []
        # One block after the other, in memory just used: all at once took longer.
        for number, person in asked:
            found += _of_one(session, number, person, horizon)
        return found

    def held(self, session: Session, rows: RunRows) -> list[tuple[int, int, bool]]:
        """Versions already kept of the rows' records: (place of the row, version kept, whether it is the very same)."""
        found: list[tuple[int, int, bool]] = []
        if not len(rows):
            return found
        probe, persons = Probe.of(record_hashes(rows)), prefixes(rows)
        by_person = Probe.of(person_hashes(persons))
        for run in self.live(session):
            places = run.among(persons)
            places = places[perhaps(run.words, probe if len(places) == len(rows) else probe.at(places))]
            # Most runs do not hold the person either: asked of the few that are left, it spares most reads in vain.
            places = places[perhaps(run.words, by_person.at(places))]
            if len(places):
                kept = fetched(session, run, run.blocks_of_each(persons[places]))
                found.extend(_compared(kept, rows, places))
        return found

    # Writing

    def add(self, session: Session, rows: RunRows, *, before: bool = False) -> None:
        """Keep new rows as a run, whose persons may stand under the names of `Part.before`."""
        if not len(rows):
            return
        rows = in_order(rows)
        number = new_run(session)
        words = new_filter(len(rows))
        fill(words, rows)
        write_blocks(session, number, 0, blocks_of(number, 0, rows))
        part = Part(level_of(len(rows)), len(rows), before=True) if before else None
        self.finish(session, number, len(rows), prefixes(rows[::BLOCK_ROWS]), words, part)
        session.run("UPDATE head SET record_versions = record_versions + ?", (len(rows),))

    def finish(
        self, session: Session, number: int, rows: int, fences: Words, words: Words, part: Part | None = None
    ) -> Run:
        """Make a run live, all its blocks being written; without a `part`, of any person."""
        checksum = _checksum(rows, fences.data, words.data)
        run = Run(number, fences, words, checksum, part or Part(level_of(rows), rows))
        if part is not None:
            keep_part(session, run)
        session.run(
            "UPDATE run SET state = ?, rows = ?, fences = ?, filter = ?, checksum = ? WHERE id = ?",
            (LIVE, rows, fences.data, words.data, run.checksum, number),
        )
        session.run("UPDATE head SET run_generation = run_generation + 1")
        with self._guard:
            self._made[number] = run
        return run

    def check(self, session: Session) -> list[str]:
        """What is wrong with the runs, in French: checksums, order, counts."""
        found = []
        for run in self.live(session):
            try:
                rows = rows_of(session, run)
            except StoreUnavailable as error:
                found.append(error.message_fr)
                continue
            keys = sort_keys(rows)
            if len(rows) != run.part.rows or bool((keys[1:] <= keys[:-1]).any()):
                found.append(f"La série {run.number} n'a pas ses enregistrements, ou pas dans l'ordre.")
        return found


# Blocks


def _weights() -> Words:
    """Odd numbers, all different: a word changed, or two words put in each other's place, change the sum."""
    return _mixed(np.arange(1, _BLOCK_WORDS + 1, dtype=np.uint64)) | np.uint64(1)


_WEIGHTS = _weights()
_WORD_WEIGHTS = _WEIGHTS[:-1]
_PLACE_WEIGHT = int(_WEIGHTS[-1])


def _sums(words: Words, ids: Words) -> Words:
    """The checksums of blocks: a weighted sum of their words, and of their place."""
    with np.errstate(over="ignore"):
        sums: Words = np.einsum("ij,j->i", words[:, :-1], _WEIGHTS[:-1]) + ids * _WEIGHTS[-1]
    return sums


def blocks_of(number: int, first: int, rows: RunRows) -> bytes:
    """Sorted rows as the blocks of a run, from a place on; the last one may be short."""
    full, left = divmod(len(rows), BLOCK_ROWS)
    blocks = np.zeros(full + (left > 0), _BLOCK)
    if full:
        blocks["rows"][:full] = np.ascontiguousarray(rows[: full * BLOCK_ROWS]).view(_BLOCK["rows"])
    blocks["count"] = BLOCK_ROWS
    if left:
        blocks["rows"][-1] = rows[full * BLOCK_ROWS :].tobytes().ljust(BLOCK_ROWS * _ROW_BYTES, b"\0")
        blocks["count"][-1] = left
    ids = np.arange(len(blocks), dtype=np.uint64) + np.uint64((number << _RUN_SHIFT) + first)
    blocks["checksum"] = _sums(blocks.view("<u8").reshape(len(blocks), _BLOCK_WORDS), ids)
    return blocks.tobytes()


def write_blocks(session: Session, number: int, first: int, blocks: bytes) -> None:
    """Write blocks of a run from that place on."""
    if blocks:
        count = len(blocks) // _BLOCK.itemsize
        session.run(_INSERT_BLOCKS, (count, (number << _RUN_SHIFT) + first, blocks, _BLOCK.itemsize))


def fetched(session: Session, run: Run, places: range | Places) -> RunRows:
    """The rows of these blocks, checked."""
    parts = []
    for start in range(0, len(places), _BLOCKS_AT_ONCE):
        some = np.asarray(places[start : start + _BLOCKS_AT_ONCE], np.uint64) + np.uint64(run.number << _RUN_SHIFT)
        if int(some[-1]) - int(some[0]) + 1 == len(some):
            found = session.rows(_BLOCKS_BETWEEN, (int(some[0]), int(some[-1])))
        else:
            found = session.rows(_BLOCKS_AMONG, (str(some.tolist()),))
        parts.append(_rows_in(found[0][0], some, run.number))
    return joined(parts)


def rows_of(session: Session, run: Run) -> RunRows:
    """The rows of a run that count, checked."""
    first, last = run.part.first, run.part.last
    rows = fetched(session, run, run.blocks_of(first, last))
    return between(rows, first, last)


def between(rows: RunRows, first: int, last: int) -> RunRows:
    """Those of sorted rows whose prefixes lie from `first` to `last`."""
    numbers = prefixes(rows)
    return rows[numbers.searchsorted(np.uint64(first), "left") : numbers.searchsorted(np.uint64(last), "right")]


def _rows_in(data: bytes | None, ids: Words, number: int) -> RunRows:
    if data is None or len(data) != len(ids) * _BLOCK.itemsize:
        raise _damaged(number)
    blocks = np.frombuffer(data, _BLOCK)
    if (_sums(blocks.view("<u8").reshape(len(ids), _BLOCK_WORDS), ids) != blocks["checksum"]).any():
        raise _damaged(number)
    rows = np.ascontiguousarray(blocks["rows"]).view(RUN_ROW)
    # Blocks come in order, and only the last one of a run is short.
    return rows[: (len(ids) - 1) * BLOCK_ROWS + int(blocks["count"][-1])]


def new_run(session: Session) -> int:
    """The number of a run to build."""
    number = int(session.rows("SELECT coalesce(max(id), 0) + 1 FROM run")[0][0])
    session.run(
        "INSERT INTO run (id, state, rows, fences, filter, checksum) VALUES (?, ?, 0, ?, ?, 0)",
        (number, BUILDING, b"", b""),
    )
    return number


def remove_blocks(session: Session, number: int, count: int) -> int:
    """Remove the first blocks of a run, at most `count`, and the run once it has none; the number removed."""
    start, end = number << _RUN_SHIFT, (number + 1) << _RUN_SHIFT
    first = session.rows("SELECT min(id) FROM run_block WHERE id >= ? AND id < ?", (start, end))[0][0]
    if first is not None:
        removed = session.run("DELETE FROM run_block WHERE id >= ? AND id < ?", (first, min(end, first + count)))
        if removed == count:
            return removed
    session.run("DELETE FROM run_part WHERE id = ?", (number,))
    session.run("DELETE FROM run WHERE id = ?", (number,))
    return 0 if first is None else removed


def remove_below(session: Session, run: Run, place: int, count: int) -> int:
    """Remove the blocks of a run from a place on, at most `count`, that lie below its part; how many places that is."""
    stop = min(place + count, run.blocks_of(run.part.first, run.part.first).start)
    if stop <= place:
        return 0
    start = run.number << _RUN_SHIFT
    session.run("DELETE FROM run_block WHERE id >= ? AND id < ?", (start + place, start + stop))
    return stop - place


def keep_part(session: Session, run: Run) -> None:
    """Write what counts of a run."""
    session.run(
        "INSERT INTO run_part VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET part = excluded.part",
        (run.number, run.part.packed(run.number, run.checksum)),
    )


def _loaded(session: Session, number: int) -> Run:
    rows, fences, words, checksum = only(
        session.rows("SELECT rows, fences, filter, checksum FROM run WHERE id = ?", (number,))
    )
    if _checksum(rows, fences, words) != checksum:
        raise _damaged(number)
    part = Part(level_of(rows), rows)
    return Run(number, np.frombuffer(fences, np.uint64), np.frombuffer(words, np.uint64), checksum, part)


def _checksum(rows: int, fences: bytes | memoryview, words: bytes | memoryview) -> int:
    return zlib.crc32(words, zlib.crc32(fences, rows))


def _damaged(number: int) -> StoreUnavailable:
    return StoreUnavailable(f"La série {number} du magasin est abîmée : restaurez une sauvegarde.")


# Rows of persons and of records


def _of_one(session: Session, number: int, person: bytes, horizon: int) -> list[Row]:
    """The versions of one person in one block, which is checked: `fetched` without its arrays."""
    held = session.rows(_ONE_BLOCK, (number,))
    data = held[0][0] if held else None
    if not isinstance(data, bytes) or len(data) != _BLOCK.itemsize:
        raise _damaged(number >> _RUN_SHIFT)
    rows, checksum = _BLOCK_END.unpack_from(data, BLOCK_ROWS * _ROW_BYTES)
    total = int(_WORD_WEIGHTS.dot(np.frombuffer(data, np.uint64, len(_WORD_WEIGHTS))))
    if (total + number * _PLACE_WEIGHT - checksum) & _ALL_BITS:
        raise _damaged(number >> _RUN_SHIFT)
    found = []
    end = rows * _ROW_BYTES
    start = data.find(person, 0, end)
    while start >= 0 and start % _ROW_BYTES:
        start = data.find(person, start + 1, end)  # the same bytes inside a row: not a person
    while 0 <= start < end and data.startswith(person, start):
        source, record_id, version = _KEY.unpack_from(data, start + len(person))
        (known_at,) = _INSTANT.unpack_from(data, start + _KEY_BYTES)
        if known_at <= horizon:
            content = data[start + _ROW_BYTES - CONTENT_BYTES : start + _ROW_BYTES]
            found.append((person, source, record_id, version, known_at, content))
        start += _ROW_BYTES
    return found


def _probe_one(prefix: int) -> tuple[int, int]:
    """`Probe` for one person."""
    x = prefix
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & _ALL_BITS
    x ^= x >> 29
    x = x * 0xC4CEB9FE1A85EC53 & _ALL_BITS
    x ^= x >> 32
    return x >> 32, 1 << (x & 63) | 1 << (x >> 6 & 63) | 1 << (x >> 12 & 63) | 1 << (x >> 18 & 63)


def _of(rows: RunRows, persons: Words) -> RunRows:
    """The rows of these persons (sorted prefixes)."""
    numbers = prefixes(rows)
    places = np.minimum(np.searchsorted(persons, numbers), len(persons) - 1)
    return taken(rows, persons[places] == numbers)


def _compared(kept: RunRows, rows: RunRows, places: Places) -> list[tuple[int, int, bool]]:
    """`Runs.held`, for the rows at these places and what a run keeps around them."""
    keys, wanted = record_keys(kept), record_keys(taken(rows, places))
    first, last = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
    found = []
    for place, start, stop in zip(places.tolist(), first.tolist(), last.tolist(), strict=True):
        for old in kept[start:stop]:
            version = int(old["version"])
            same = version == int(rows["version"][place]) and bytes(old["content"]) == bytes(rows["content"][place])
            found.append((place, version, same))
    return found
