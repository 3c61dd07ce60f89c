"""Puts a copy of a SQLite store in its place, verified first, atomically, and never under a running server."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from solidarite_server.domain.errors import SolidariteError
from solidarite_server.services.clock import SystemClock
from solidarite_server.storage.migrate import SchemaError
from solidarite_server.storage.sqlite import SqliteStore, make_private

_BESIDE = ("-wal", "-shm")


class RestoreError(ValueError):
    """A copy that is not put in place, and why, in French."""


def restored(copy: Path, target: Path, *, replace: bool) -> Path | None:
    """Verify the copy, then put it at `target`; where what was there stays, beside it. Or RestoreError."""
    if not copy.is_file():
        raise RestoreError(f"{copy.name} n'existe pas.")
    if target.exists():
        if not replace:
            raise RestoreError(f"{target.name} existe déjà : ajoutez --replace pour le mettre de côté.")
        _unused(target)
    incoming = target.with_name(target.name + ".arrivee")
    try:
        incoming.unlink(missing_ok=True)
        make_private(incoming)
        shutil.copyfile(copy, incoming)
        _verified(incoming, copy.name)
        _synced(incoming)
        aside = _aside(target) if target.exists() else None
        if aside is not None:
            os.replace(target, aside)
        for suffix in _BESIDE:
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        os.replace(incoming, target)
        _synced(target.parent)
        return aside
    finally:
        for path in (incoming, *(incoming.with_name(incoming.name + suffix) for suffix in (*_BESIDE, ".lock"))):
            path.unlink(missing_ok=True)


def _aside(target: Path) -> Path:
    """NAME.avant, or NAME.avant2 and so on: what an earlier restore has put aside is never replaced."""
    names = (target.with_name(f"{target.name}.avant{number}") for number in ("", *range(2, 1_000)))
    return next(path for path in names if not path.exists())


def _unused(target: Path) -> None:
    """RestoreError when another process has the store open: leaving WAL needs to be alone, and makes it one file."""
    connection = sqlite3.connect(target, isolation_level=None, timeout=0.5)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError:
        mode = "wal"
    except sqlite3.DatabaseError:
        mode = "delete"  # damaged: all the more reason to restore
    finally:
        connection.close()
    if mode == "wal":
        raise RestoreError(f"{target.name} est en service : arrêtez le serveur d'abord.")


def _verified(path: Path, name: str) -> None:
    try:
        store = SqliteStore(path, clock=SystemClock(), allowed="migrate")
        try:
            wrong = store.check()
        finally:
            store.close()
    except (SolidariteError, SchemaError) as error:
        raise RestoreError(f"{name} n'est pas une copie utilisable : {error}") from error
    if wrong:
        raise RestoreError(f"{name} est abîmé : {wrong[0]}")


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
