"""A journal on disk of the batches not acknowledged yet: an upload survives the death of its process.

    <directory>/lock      held while a process uses the journal
    <directory>/batches   a header, then the batches as they go on the wire, then END once all of them are there
    <directory>/acks      the acknowledgements received

Each file is a series of frames: length, checksum of the bytes, number of records, number of seals, checksum of these
four (little-endian 32-bit integers), then the bytes. A batch is taken once it is on the disk (fsync).
Acknowledgements are not forced to the disk: one that is lost is asked for again by sending its batch again, which
changes nothing.

The batches hold NIRs in clear: directory and files belong to their owner only, and are deleted once everything is
acknowledged.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from google.protobuf.message import DecodeError
from solidarite.v1.resource_record_pb2 import StreamResourceRecordsRequest, StreamResourceRecordsResponse

from solidarite_client._journal import IngestSummary, Tally, new_upload_id, numbered
from solidarite_client._os_errors import os_error_text
from solidarite_client._packing import records_in
from solidarite_client.errors import ServerFailure, SpoolBusy, SpoolDamaged, SpoolError

try:
    import fcntl
except ImportError:  # pragma: no cover - no advisory locks on this system
    fcntl = None  # type: ignore[assignment]

_FRAME = struct.Struct("<IIIII")
_FIELDS = struct.Struct("<IIII")
_LONGEST_FRAME = 64 << 20
_END = b"END"
_FORMAT = "solidarite-spool-1"


def default_directory() -> Path:
    """Where uploads are spooled unless told otherwise: under the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "solidarite" / "spool"


def file_key(path: Path, *, target: str, source_id: str) -> str:
    """Names the upload of a file's content by a source to a server: started again, it is found again."""
    digest = hashlib.sha256(f"{target}\x1f{source_id}\x1f".encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


def unfinished(directory: Path, *, target: str, source_id: str | None = None) -> list[Path]:
    """Journals below a directory that were started for this server, oldest first; some may be incomplete."""
    found = []
    for batches in sorted(directory.glob("*/batches"), key=lambda path: path.stat().st_mtime):
        header = _header_of(batches)
        if header is None or header.get("target") != target:
            continue
        if source_id is None or header.get("source_id") == source_id:
            found.append(batches.parent)
    return found


class Spool:
    """One upload on disk. Create it or open it; one process at a time.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Spool.create(Path(folder) / "august", source_id="paie") as spool:
    ...         spool.append(StreamResourceRecordsRequest())
    ...     with Spool.open(Path(folder) / "august") as spool:
    ...         (spool.count, spool.acknowledged, spool.complete)
    (1, 0, False)
    """

    def __init__(self, directory: Path, lock: BinaryIO | None) -> None:
        """Use `create` or `open`."""
        self.directory = directory
        self.source_id = self.upload_id = self.label = ""
        self.complete = False
        """Whether every batch of the upload is in the journal."""
        self._lock_file = lock
        self._guard = threading.Lock()
        self._offsets: list[tuple[int, int]] = []
        self._end = 0

    @classmethod
    def create(cls, directory: Path, *, source_id: str, target: str = "", label: str = "") -> Self:
        """Start a journal, replacing an incomplete one. SpoolBusy when another process holds it."""
        spool = cls(directory, _lock(directory))
        header = {
            "format": _FORMAT,
            "source_id": source_id,
            "upload_id": new_upload_id(),
            "target": target,
            "label": label,
        }
        try:
            for name in ("batches", "acks"):
                (directory / name).unlink(missing_ok=True)
            spool._open_files()
            spool._write(json.dumps(header).encode(), 0, 0, sync=True)
            _sync_directory(directory)
            spool._adopt(header)
        except OSError as error:
            spool.close()
            raise _unwritable(error) from error
        return spool

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open a journal left by an earlier run.

        What a crash left half written at its end is dropped: it was never taken. SpoolDamaged when anything else is
        not as written.
        """
        if not (directory / "batches").exists():
            raise SpoolError("aucun envoi n'est en attente dans ce répertoire")
        spool = cls(directory, _lock(directory))
        try:
            spool._open_files()
            spool._load()
        except OSError as error:
            spool.close()
            raise _unwritable(error) from error
        except BaseException:
            spool.close()
            raise
        return spool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def count(self) -> int:
        return self._tally.count

    @property
    def acknowledged(self) -> int:
        return self._tally.acknowledged

    @property
    def records(self) -> int:
        """How many records were taken: where to go on after a crash while filling the journal."""
        return self._tally.records

    def append(self, request: StreamResourceRecordsRequest, *, sync: bool = True) -> None:
        """Take a batch. With `sync` it is on the disk on return; without, once `mark_complete` returns."""
        payload = numbered(request, self.source_id, self.upload_id, self.count + 1)
        records, seals = records_in(request), len(request.seals)
        with self._guard:
            try:
                offset = self._write(payload, records, seals, sync=sync)
            except OSError as error:
                raise _unwritable(error) from error
            self._offsets.append((offset, len(payload)))
            self._tally.append(records, seals)

    def mark_complete(self) -> None:
        """Say that every batch is there; from now on an interrupted upload is finished rather than started again."""
        with self._guard:
            try:
                self._write(_END, 0, 0, sync=True)
            except OSError as error:
                raise _unwritable(error) from error
            self.complete = True

    def read(self, sequence: int) -> bytes:
        with self._guard:
            offset, length = self._offsets[sequence - 1]
            self._batches.seek(offset)
            return self._batches.read(length)

    def acknowledge(self, response: StreamResourceRecordsResponse) -> None:
        with self._guard:
            if self._tally.acknowledge(response):
                payload = response.SerializeToString()
                self._acks.write(_frame(payload))
                self._acks.flush()

    def rewind(self, sequence: int) -> None:
        self._tally.rewind(sequence)

    def summary(self) -> IngestSummary:
        return self._tally.summary()

    def close(self) -> None:
        """Release the journal; it stays on the disk."""
        for file in (getattr(self, "_batches", None), getattr(self, "_acks", None), self._lock_file):
            if file is not None:
                file.close()

    def discard(self) -> None:
        """Delete the journal: everything is acknowledged, or nothing of it is wanted."""
        for name in ("batches", "acks", "lock"):
            (self.directory / name).unlink(missing_ok=True)
        self.close()
        self.directory.rmdir()

    def _adopt(self, header: dict[str, str]) -> None:
        self.source_id, self.upload_id = header["source_id"], header["upload_id"]
        self.label = header.get("label", "")
        self._tally = Tally(self.source_id, self.upload_id)

    def _open_files(self) -> None:
        self._batches = _open_private(self.directory / "batches")
        self._acks = _open_private(self.directory / "acks")

    def _write(self, payload: bytes, records: int, seals: int, *, sync: bool) -> int:
        """Append a frame; leave no half of it behind on failure. Returns where the payload stands."""
        try:
            self._batches.seek(self._end)
            self._batches.write(_frame(payload, records, seals))
            self._batches.flush()
            if sync:
                os.fsync(self._batches.fileno())
        except OSError:
            os.ftruncate(self._batches.fileno(), self._end)
            raise
        offset = self._end + _FRAME.size
        self._end = offset + len(payload)
        return offset

    def _load(self) -> None:
        frames = _frames(self._batches)
        header = _parse_header(next(frames, (0, b"", 0, 0))[1])
        if header is None:
            raise _damaged(self.directory)
        self._adopt(header)
        self._end = self._batches.tell()
        for offset, payload, records, seals in frames:
            self._end = offset + len(payload)
            if payload == _END:
                self.complete = True
                continue
            self._offsets.append((offset, len(payload)))
            self._tally.append(records, seals)
        os.ftruncate(self._batches.fileno(), self._end)
        self._load_acks()
        self._tally.resumed = True

    def _load_acks(self) -> None:
        end = 0
        for offset, payload, _, _ in _frames(self._acks):
            try:
                self._tally.acknowledge(StreamResourceRecordsResponse.FromString(payload))
            except (DecodeError, ServerFailure):  # not an answer, or one for a batch that is not there
                raise _damaged(self.directory) from None
            end = offset + len(payload)
        os.ftruncate(self._acks.fileno(), end)
        self._acks.seek(end)


def _frame(payload: bytes, records: int = 0, seals: int = 0) -> bytes:
    fields = _FIELDS.pack(len(payload), zlib.crc32(payload), records, seals)
    return fields + zlib.crc32(fields).to_bytes(4, "little") + payload


def _frames(file: BinaryIO) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield (offset of the payload, payload, records, seals); stop before a half-written end, refuse other damage."""
    size = os.fstat(file.fileno()).st_size
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(_FRAME.size)
        if len(head) < _FRAME.size:
            return
        length, checksum, records, seals, own_checksum = _FRAME.unpack(head)
        if zlib.crc32(head[: _FIELDS.size]) != own_checksum:
            # A crash may leave zeros where its last write should be; anything else was changed afterwards.
            if not any(head) and not any(file.read(_LONGEST_FRAME)):
                return
            raise _damaged(Path(file.name).parent)
        end = offset + _FRAME.size + length
        payload = file.read(length)
        if len(payload) != length or zlib.crc32(payload) != checksum:
            if end >= size:
                return
            raise _damaged(Path(file.name).parent)
        yield offset + _FRAME.size, payload, records, seals
        offset = end


def _parse_header(payload: bytes) -> dict[str, str] | None:
    try:
        header = json.loads(payload)
    except ValueError:
        return None
    if not isinstance(header, dict) or header.get("format") != _FORMAT or not header.get("upload_id"):
        return None
    return header


def _header_of(batches: Path) -> dict[str, str] | None:
    try:
        with batches.open("rb") as file:
            return _parse_header(next(_frames(file), (0, b"", 0, 0))[1])
    except (OSError, SpoolDamaged):
        return None


def _lock(directory: Path) -> BinaryIO | None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = _open_private(directory / "lock")
    except OSError as error:
        raise _unwritable(error) from error
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise SpoolBusy("un autre processus est en train de faire cet envoi") from None
    return file


def _open_private(path: Path) -> BinaryIO:
    """Open for reading and writing, created for its owner only."""
    path.touch(mode=0o600)
    return path.open("r+b")


def _sync_directory(directory: Path) -> None:
    """Make the names of new files durable; systems that cannot open a directory do it by themselves."""
    if os.name != "posix":
        return
    for folder in (directory, directory.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _damaged(directory: Path) -> SpoolDamaged:
    return SpoolDamaged(f"le journal {directory} est abîmé : supprimez ce répertoire et relancez l'envoi du fichier")


def _unwritable(error: OSError) -> SpoolError:
    return SpoolError(f"le journal de l'envoi ne peut pas être écrit ({os_error_text(error)})")
