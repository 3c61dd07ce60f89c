"""D2: power cuts. What was not synced when power fails may be on the disk or not, in any part and order, torn or whole.

The store runs on a file system written in Python (apsw) that notes every write and every sync. For each seed a cut is
drawn in that history, the files are rebuilt as they might be found, and the store is opened on them as usual. With
`synchronous=NORMAL` acknowledged records must get lost: otherwise the test proves nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.ports import Batch
from solidarite_server.record_columns import columns_of
from solidarite_server.storage import SqliteStore, merging
from solidarite_server.storage.runs import BLOCK_ROWS

from tests.integration.stores.records import JULY, HandClock, record
from tests.robustness.seeds import seeds

SECTOR = 512
PEOPLE = [bytes([8 * k + 1]) * 16 for k in range(30)]
Operation = tuple[str, str, int, bytes]
"""(kind, file, offset, data): kind is write, truncate, sync or delete."""


class Disk(apsw.VFS):
    """Passes everything on to the real file system, and notes it."""

    def __init__(self, name: str) -> None:
        self.history: list[Operation] = []
        super().__init__(name, "unix", exclude={"xNextSystemCall", "xSetSystemCall", "xGetSystemCall"})

    def xOpen(self, name: Any, flags: list[int]) -> File:
        return File(self, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:
        self.history.append(("delete", Path(name).name, 0, b""))
        super().xDelete(name, sync_directory)


class File(apsw.VFSFile):
    """A file that notes what is done to it."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        self.name = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name)).name
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.history.append(("write", self.name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self.disk.history.append(("truncate", self.name, size, b""))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self.disk.history.append(("sync", self.name, 0, b""))
        super().xSync(flags)


class ApswSession:
    """The store's statements, on apsw."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return list(self.connection.execute(statement, tuple(parameters)))
        except apsw.Error as error:
            raise StoreUnavailable("apsw") from error

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        self.rows(statement, parameters)
        return self.connection.changes()

    def many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        for one in parameters:
            self.rows(statement, one)


class StoreOnDisk(SqliteStore):
    """The project's store, its connections going through that file system."""

    tidies_beside = False
    synchronous = "FULL"
    disk = ""

    def _connect(self) -> Any:
        connection = apsw.Connection(str(self._path), vfs=self.disk)
        # One process, no shared memory: the file system above has none.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 250")
        self._connections.append(connection)  # type: ignore[arg-type]
        return ApswSession(connection)

    def _reading(self) -> Any:
        return self._writer

    def _connected_tidier(self) -> Any:
        return self._writer

    def tidy(self) -> None:
        # As on its own connection: not synced until the next acknowledged commit.
        self._writer.run("PRAGMA synchronous = NORMAL")
        super().tidy()
        self._writer.run(f"PRAGMA synchronous = {self.synchronous}")


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merges of some hundred records go range by range, as large ones do."""
    monkeypatch.setattr(merging, "_SLICE_ROWS", BLOCK_ROWS)
    monkeypatch.setattr(merging, "_RANGE_ROWS", 3 * BLOCK_ROWS)


def lived(folder: Path, name: str, synchronous: str, commits: int) -> tuple[list[Operation], list[tuple[int, int]]]:
    """A history of the disk, and for each acknowledged commit (place in the history, commits so far)."""
    disk = Disk(name)
    kind = type("Store", (StoreOnDisk,), {"synchronous": synchronous, "disk": name})
    store = kind(folder / "a.db", clock=HandClock())
    acknowledged = []
    for number in range(commits):
        records = [record(1, name=f"{number}-{k}", person=person) for k, person in enumerate(PEOPLE)]
        (outcome,) = store.append([Batch("paie", "u", number + 1, columns_of(records))])
        assert outcome.accepted == 30
        acknowledged.append((len(disk.history), number + 1))
    history = list(disk.history)
    assert store._writer.rows("SELECT 1 FROM run_part"), "a merge went by ranges"
    store.close()
    disk.unregister()
    return history, acknowledged


def found_after(history: Sequence[Operation], chance: random.Random, folder: Path) -> None:
    """Write the files as they may be found when power fails after that history."""
    files: dict[str, bytearray] = {}
    pending: dict[str, list[Operation]] = {}
    for operation in history:
        kind, name, _, _ = operation
        if kind == "sync":
            for waiting in pending.pop(name, []):
                apply(files, waiting)
        elif kind == "delete":
            pending.pop(name, None)
            files.pop(name, None)
        else:
            pending.setdefault(name, []).append(operation)
    for waiting_list in pending.values():
        kept = [operation for operation in waiting_list if chance.random() < 0.5]
        chance.shuffle(kept)
        for operation in kept:
            kind, name, offset, data = operation
            if kind == "write" and chance.random() < 0.3:
                operation = (kind, name, offset, data[: SECTOR * chance.randrange(1 + len(data) // SECTOR)])
            apply(files, operation)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def apply(files: dict[str, bytearray], operation: Operation) -> None:
    kind, name, offset, data = operation
    content = files.setdefault(name, bytearray())
    if kind == "truncate":
        del content[offset:]
        content.extend(bytes(max(0, offset - len(content))))
    else:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def cut(folder: Path, history: Sequence[Operation], acknowledged: Sequence[tuple[int, int]], seed: int) -> int:
    """Commits acknowledged before a cut drawn by the seed that are not found after it; raises when half of one is."""
    chance = random.Random(seed)
    place = chance.randrange(acknowledged[0][0], len(history) + 1)
    folder.mkdir()
    found_after(history[:place], chance, folder)
    for name in ("a.db", "a.db-wal"):
        (folder / name).touch()
    store = SqliteStore(folder / "a.db", clock=HandClock())
    found = len([s for s in store.records_of(PEOPLE, JULY, JULY) if s.effective])
    position = store.position("paie", "u")
    assert not store.check()
    store.close()
    assert found % 30 == 0, f"seed {seed}: half a commit"
    assert position * 30 == found, f"seed {seed}: the position is not that of the records"
    due = max((commits for at, commits in acknowledged if at <= place), default=0)
    return max(0, due - found // 30)


def cuts(folder: Path, synchronous: str, seeds: range, commits: int = 40) -> list[int]:
    """What each cut lost."""
    history, acknowledged = lived(folder, f"disk-{synchronous}-{seeds.start}", synchronous, commits)
    return [cut(folder / f"cut-{seed}", history, acknowledged, seed) for seed in seeds]


def test_power_cuts_lose_nothing_acknowledged(tmp_path: Path):
    lost = cuts(tmp_path, "FULL", range(100))
    assert sum(lost) == 0, [seed for seed, number in enumerate(lost) if number]


def test_control_without_full_sync_acknowledged_records_are_lost(tmp_path: Path):
    lost = cuts(tmp_path, "NORMAL", range(40))
    assert sum(number > 0 for number in lost) >= 20


@pytest.mark.long
@pytest.mark.parametrize("hundred", seeds(50))
def test_five_thousand_power_cuts_lose_nothing_acknowledged(hundred: int, tmp_path: Path):
    """A history of a hundred commits and merges of its own for each hundred of seeds."""
    found = range(100 * hundred, 100 * hundred + 100)
    assert sum(cuts(tmp_path, "FULL", found, commits=100)) == 0
