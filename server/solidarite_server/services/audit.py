"""Changes and audit lines on their way to the store: one thread commits together all that wait.

A change, of dossiers or of a declaration, and its lines are in one commit: both are durable when the change is told, or
neither is there. The line of a read is awaited when the settings say it; otherwise it is durable within a twentieth of
a second. While nothing can be written, nothing is read or changed any more.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, overload

from solidarite_server.domain.errors import StoreUnavailable
from solidarite_server.domain.nir import is_valid_nir
from solidarite_server.ports import (
    AuditLine,
    Change,
    ChangeStore,
    KeptFoyers,
    NewEvent,
    NewFoyers,
    Outcome,
    StoredEvent,
)

_DELAY_SECONDS = 0.05
_RETRY_SECONDS = 0.5
_WAITING_LINES = 20_000
_MAX_SUBJECT = 64


@dataclass(frozen=True, slots=True)
class _Waiting:
    lines: tuple[AuditLine, ...]
    change: Change | None = None
    future: Future[Any] | None = None
    """Of whoever waits for the commit."""


class AuditTrail:
    """Takes changes and lines from every call in progress, and writes them in order."""

    def __init__(self, store: ChangeStore) -> None:
        self._store = store
        self._waiting: list[_Waiting] = []
        self._awaited = False
        self._condition = threading.Condition()
        self._failing = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    def write(self, line: AuditLine, *, durable: bool) -> Future[None] | None:
        """Take a line; with `durable`, the future says when it is. StoreUnavailable while lines cannot be written."""
        future: Future[None] | None = Future() if durable else None
        self._take(_Waiting((line,), None, future))
        return future

    @overload
    def change(self, change: NewEvent, *lines: AuditLine) -> Future[StoredEvent]: ...

    @overload
    def change(self, change: NewFoyers, *lines: AuditLine) -> Future[KeptFoyers]: ...

    def change(self, change: Change, *lines: AuditLine) -> Future[Any]:
        """Take a change with its lines. The future gives what was kept, or carries why it was refused."""
        future: Future[Any] = Future()
        self._take(_Waiting(lines, change, future))
        return future

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _take(self, item: _Waiting) -> None:
        if item.future is not None:
            # A caller whose line is cut gives up its wait, never the writing.
            item.future.set_running_or_notify_cancel()
        with self._condition:
            if self._failing or len(self._waiting) >= _WAITING_LINES:
                raise StoreUnavailable("La trace d'audit ne peut pas être écrite : réessayez plus tard.")
            self._waiting.append(item)
            self._awaited |= item.future is not None
            if self._awaited or len(self._waiting) == 1:
                self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._closed)
                self._condition.wait_for(lambda: self._awaited or self._closed, timeout=_DELAY_SECONDS)
                taken, self._waiting, self._awaited = self._waiting, [], False
                closing = self._closed
            self._write(taken, closing)
            if closing:
                return

    def _write(self, taken: Sequence[_Waiting], closing: bool) -> None:
        changes = [item.change for item in taken if item.change is not None]
        try:
            outcomes = self._store.keep(changes, [line for item in taken for line in item.lines])
        except StoreUnavailable as error:
            self._failed(taken, error, closing)
        except Exception as error:
            if len(taken) > 1:
                # What one of them cannot do, its neighbours may: each goes alone.
                for item in taken:
                    self._write([item], closing)
            elif changes:
                _settle(taken[0], error)
            else:
                self._failed(taken, error, closing)
        else:
            with self._condition:
                self._failing = False
            kept = iter(outcomes)
            for item in taken:
                _settle(item, None if item.change is None else next(kept))

    def _failed(self, taken: Sequence[_Waiting], error: Exception, closing: bool) -> None:
        for item in taken:
            _settle(item, error)
        with self._condition:
            # Calls are refused from now on. The lines of reads already answered are tried again; a change that failed
            # is told so, and left to whoever asked for it.
            self._failing = True
            self._waiting[:0] = [_Waiting(item.lines) for item in taken if item.change is None]
            if not closing:
                self._condition.wait_for(lambda: self._closed, timeout=_RETRY_SECONDS)
            # With no line left to try again with, the next call is the trial.
            self._failing = bool(self._waiting)


def _settle(item: _Waiting, outcome: Outcome | Exception | None) -> None:
    if item.future is None:
        return
    if isinstance(outcome, Exception):
        item.future.set_exception(outcome)
    else:
        item.future.set_result(outcome)


def dossier_subject(numero_allocataire: str) -> str:
    """A dossier as the trail names it. Callers write what they want there: what may hold a NIR is not kept."""
    text = numero_allocataire.strip()
    if len(text) > _MAX_SUBJECT or not text.isprintable() or _may_hold_nir(text):
        return "(illisible)"
    return text


def _may_hold_nir(text: str) -> bool:
    # Wherever it stands, cut or not: no dossier has a number that long (seven digits and a letter).
    compact = "".join(filter(str.isalnum, text)).upper()
    return any(is_valid_nir(compact[start : start + 13]) for start in range(len(compact)))
