"""Stores behind the ports: SQLite, embedded."""

from __future__ import annotations

from pathlib import Path

from solidarite_server.ports import Clock, Store
from solidarite_server.storage.migrate import SchemaError
from solidarite_server.storage.sqlite import SqliteStore

__all__ = ["SchemaError", "SqliteStore", "open_existing", "open_store", "sqlite_path"]

_SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///PATH` address; ValueError (in French) for any other."""
    if not url.startswith(_SQLITE) or url == _SQLITE:
        raise ValueError("Le magasin s'écrit sqlite:///CHEMIN (postgresql:// n'est pas encore pris en charge).")
    return Path(url.removeprefix(_SQLITE))


def open_store(url: str, *, clock: Clock) -> Store:
    """Open a store, creating or migrating it as needed."""
    return SqliteStore(sqlite_path(url), clock=clock)


def open_existing(url: str, *, clock: Clock) -> Store:
    """Open a store that is there already; ValueError (in French) when it is not."""
    path = sqlite_path(url)
    if not path.exists():
        raise ValueError(f"{path.name} n'existe pas.")
    return open_store(url, clock=clock)
