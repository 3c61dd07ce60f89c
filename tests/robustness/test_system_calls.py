"""D3: between the last write of a batch's commit and its acknowledgement the log is synced to the disk.

The server runs under strace. An acknowledgement is what it sends to the client's socket; its commit is what it writes
to the log before. With `synchronous=NORMAL` the same trace must show acknowledgements that nothing was synced for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from pathlib import Path
from solidarite_server.ports import Batch
from solidarite_server.record_columns import columns_of
from solidarite_server.services.ingest import IngestService
from solidarite_server.storage import SqliteStore
from tests.integration.stores.records import HandClock, record
store = SqliteStore(Path(sys.argv[1]), clock=HandClock())
store._writer.run(f"PRAGMA synchronous = {sys.argv[2]}")
service = IngestService(store)
print(service._thread.native_id)
acknowledgements = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT)
for number in range(int(sys.argv[4])):
    records = columns_of([record(1, name=f"{number}-{k}") for k in range(5)])
    service.submit(Batch("paie", "u", number + 1, records)).result(10)
    os.write(acknowledgements, b"%d\\n" % number)
service.close()
store.close()
"""
_CALL = re.compile(r"^(\d+) .*?(pwrite64|pwritev|write|fdatasync|fsync)\((\d+)<([^>]*)>")


def unsynced(folder: Path, synchronous: str, acknowledgements: int) -> tuple[int, int]:
    """Acknowledgements seen, and those given while something written to the log was not synced."""
    trace = folder / f"trace-{synchronous}"
    command = [
        "strace", "-f", "-y", "-e", "trace=pwrite64,pwritev,write,fdatasync,fsync", "-o", str(trace),
        sys.executable, "-c", SCRIPT, str(folder / f"{synchronous}.db"), synchronous,
        str(folder / "acknowledgements"), str(acknowledgements),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True)
    if "ptrace" in ended.stderr and ended.returncode:
        pytest.skip("this machine does not let a process be traced (ptrace refused)")
    assert ended.returncode == 0, ended.stderr[-500:]
    writer = ended.stdout.strip()  # merges write too, from another thread: nobody waits for them
    seen = wrong = 0
    waiting = False
    for line in trace.read_text("utf-8", "replace").splitlines():
        found = _CALL.search(line)
        if found is None:
            continue
        thread, call, path = found[1], found[2], found[4]
        if path.endswith("-wal") and thread == writer:
            waiting = call not in ("fdatasync", "fsync")
        elif path.endswith("acknowledgements"):
            seen += 1
            wrong += waiting
    return seen, wrong


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@needs_strace
def test_every_acknowledgement_comes_after_its_commit_was_synced(tmp_path: Path):
    assert unsynced(tmp_path, "FULL", 300) == (300, 0)


@needs_strace
@pytest.mark.long
def test_a_thousand_acknowledgements_come_after_their_commit_was_synced(tmp_path: Path):
    assert unsynced(tmp_path, "FULL", 1_000) == (1_000, 0)


@needs_strace
def test_control_without_full_sync_acknowledgements_come_before(tmp_path: Path):
    seen, wrong = unsynced(tmp_path, "NORMAL", 100)
    assert seen == 100
    assert wrong >= 90
