"""Audit lines on their way to the store: committed together by one thread, so that a read does not wait for a disk.

A change waits until its line is durable; a read does so when the settings say it. Otherwise the line of a read is
durable within a twentieth of a second. While lines cannot be written, nothing is read or changed any more.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.domain.nir import is_valid_nir
from solidarite_server.ports import AuditLine, AuditLog

_DELAY_SECONDS = 0.05
_RETRY_SECONDS = 0.5
_WAITING_LINES = 20_000
_MAX_SUBJECT = 64


@dataclass(slots=True)
class _Waiting:
    lines: list[AuditLine] = field(default_factory=list)
    awaited: list[Future[None]] = field(default_factory=list)


class AuditTrail:
    """Takes lines from every call in progress, and writes them in order."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._waiting = _Waiting()
        self._condition = threading.Condition()
        self._failing = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    def write(self, line: AuditLine, *, durable: bool) -> Future[None] | None:
        """Take a line; with `durable`, the future says when it is. StoreUnavailable while lines cannot be written."""
        with self._condition:
            if self._failing or len(self._waiting.lines) >= _WAITING_LINES:
                raise StoreUnavailable("La trace d'audit ne peut pas être écrite : réessayez plus tard.")
            self._waiting.lines.append(line)
            if not durable:
                if len(self._waiting.lines) == 1:
                    self._condition.notify()
                return None
            future: Future[None] = Future()
            # A caller whose line is cut gives up its wait, never the writing.
            future.set_running_or_notify_cancel()
            self._waiting.awaited.append(future)
            self._condition.notify()
            return future

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting.lines or self._closed)
                if not self._waiting.awaited and not self._closed:
                    self._condition.wait_for(lambda: self._waiting.awaited or self._closed, timeout=_DELAY_SECONDS)
                taken, self._waiting = self._waiting, _Waiting()
                closing = self._closed
            self._write(taken, closing)
            if closing:
                return

    def _write(self, taken: _Waiting, closing: bool) -> None:
        try:
            self._log.write_audit(taken.lines)
        except Exception as error:
            for future in taken.awaited:
                future.set_exception(error)
            with self._condition:
                # Calls refused from now on; the lines of those already answered are tried again.
                self._failing = True
                self._waiting.lines[:0] = taken.lines
                if not closing:
                    self._condition.wait_for(lambda: self._closed, timeout=_RETRY_SECONDS)
            return
        with self._condition:
            self._failing = False
        for future in taken.awaited:
            future.set_result(None)


def dossier_subject(numero_allocataire: str) -> str:
    """A dossier as the trail names it. Callers write what they want there: what looks like a NIR is not kept."""
    text = numero_allocataire.strip()
    compact = "".join(filter(str.isalnum, text)).upper()
    if len(text) > _MAX_SUBJECT or not text.isprintable() or is_valid_nir(compact[:13]):
        return "(illisible)"
    return text
