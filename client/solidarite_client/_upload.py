"""The part of an upload that knows nothing of threads, tasks or sockets, and how a file becomes a journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from solidarite.v1.resource_record_pb2 import StreamResourceRecordsResponse

from solidarite_client._journal import IngestSummary, Journal, MemoryJournal
from solidarite_client._packing import batches
from solidarite_client._settings import ClientSettings
from solidarite_client.errors import PermissionRefused, ServerUnreachable, SpoolBusy, SpoolDamaged, SpoolError
from solidarite_client.files import read_file
from solidarite_client.spool import Spool, file_key

STREAM_METHOD = "/solidarite.v1.ResourceRecordService/StreamResourceRecords"

Progress = Callable[[IngestSummary], None]
"""Called after each acknowledgement, from the thread that received it."""


class Window:
    """Which batch to send next, and whether there is room for one more."""

    def __init__(self, journal: Journal, in_flight: int) -> None:
        self.journal = journal
        self._in_flight = in_flight
        self._next = journal.acknowledged + 1
        self._filled = False

    def fill(self) -> None:
        """No batch will be added."""
        self._filled = True

    @property
    def room(self) -> bool:
        """Whether the journal may take another batch before the service acknowledges more."""
        return self.journal.count - self.journal.acknowledged < self._in_flight

    @property
    def done(self) -> bool:
        return self.journal.acknowledged == self.journal.count

    @property
    def finished(self) -> bool:
        """Whether all is acknowledged and nothing will be added."""
        return self._filled and self.done

    @property
    def awaiting(self) -> bool:
        """Whether batches are sent and not acknowledged."""
        return self._next > self.journal.acknowledged + 1

    @property
    def sendable(self) -> bool:
        sent_unacknowledged = self._next - self.journal.acknowledged - 1
        return self._next <= self.journal.count and sent_unacknowledged < self._in_flight

    @property
    def exhausted(self) -> bool:
        """Whether everything that will ever be there is sent."""
        return self._filled and self._next > self.journal.count

    def take(self) -> bytes:
        """The next batch to send."""
        payload = self.journal.read(self._next)
        self._next += 1
        return payload

    def acknowledge(self, response: StreamResourceRecordsResponse) -> None:
        self.journal.acknowledge(response)

    def restart(self, position: int) -> None:
        """Go on over a new connection, the service holding every batch up to `position`.

        Batches that are durable but whose acknowledgement was lost are sent again: it changes nothing, and their
        refusals are learnt. A service that holds less than it acknowledged (restored from a backup) gets it again.
        """
        if position < self.journal.acknowledged:
            self.journal.rewind(position)
        self._next = self.journal.acknowledged + 1


def ended_early() -> ServerUnreachable:
    return ServerUnreachable("le service a mis fin à l'envoi avant d'en avoir tout accusé réception")


def stalled(seconds: float) -> ServerUnreachable:
    return ServerUnreachable(f"aucun accusé de réception depuis {seconds:g} s")


def journal_of_items(spool: Path | None, *, target: str, source_id: str) -> Journal:
    """A journal in memory, or in the directory given: the one that an earlier run left there, if any."""
    if spool is None:
        return MemoryJournal(source_id)
    if not (spool / "batches").exists():
        return Spool.create(spool, source_id=source_id, target=target)
    journal = Spool.open(spool)
    if journal.source_id != source_id:
        journal.close()
        raise SpoolError("ce répertoire contient l'envoi d'une autre source : terminez-le, ou choisissez-en un autre")
    return journal


def journal_of_file(path: Path, *, directory: Path, target: str, source_id: str, settings: ClientSettings) -> Spool:
    """The journal of a file's upload: the one that an interrupted run left, or else a new one, filled from the file.

    Nothing is sent before the whole file is read and found good: FileError leaves no journal behind.
    """
    folder = directory / file_key(path, target=target, source_id=source_id)
    interrupted = _interrupted(folder)
    if interrupted is not None:
        return interrupted
    spool = Spool.create(folder, source_id=source_id, target=target, label=path.name)
    try:
        items = read_file(path, check_first=False)
        for request in batches(items, limit=settings.batch_limit_records, form=settings.form):
            spool.append(request, sync=False)
        spool.mark_complete()
    except BaseException:
        spool.discard()
        raise
    return spool


@contextmanager
def dropped_when_refused(spool: Spool) -> Iterator[None]:
    """Leave no journal of a file that its sender had no right to send: the file is at hand, its NIRs need no copy."""
    try:
        yield
    except PermissionRefused:
        if spool.acknowledged == 0:
            spool.discard()
        raise


def open_idle(folder: Path) -> Spool | None:
    """A journal ready to be sent, or None: another process has it, or the reading of its file was cut short."""
    try:
        spool = Spool.open(folder)
    except SpoolBusy:
        return None
    if spool.complete:
        return spool
    spool.discard()
    return None


def _interrupted(folder: Path) -> Spool | None:
    if not (folder / "batches").exists():
        return None
    try:
        spool = Spool.open(folder)
    except SpoolDamaged:
        return None  # the file itself is at hand: its upload starts again, which changes nothing of what was sent
    if spool.complete:
        return spool
    spool.close()
    return None
