"""Stores behind the ports: SQLite, embedded; PostgreSQL, shared by several servers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from solidarite_server.ports import Clock, Store
from solidarite_server.services.keyring import Keyring
from solidarite_server.storage.migrate import Change, EarlierSchemaError, EmptyStoreError, SchemaError
from solidarite_server.storage.sqlite import SqliteStore

__all__ = [
    "EarlierSchemaError",
    "EmptyStoreError",
    "SchemaError",
    "SqliteStore",
    "holds_fingerprint",
    "is_postgres",
    "key_file_of",
    "open_existing",
    "open_store",
    "sqlite_path",
]

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def is_postgres(url: str) -> bool:
    """Whether an address names a PostgreSQL."""
    return url.startswith(_POSTGRES)


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///PATH` address; ValueError (in French) for any other."""
    if not url.startswith(_SQLITE) or url == _SQLITE:
        raise ValueError("Le magasin s'écrit sqlite:///CHEMIN ou postgresql://….")
    return Path(url.removeprefix(_SQLITE))


def open_store(url: str, *, clock: Clock, keys: Keyring | None = None, allowed: Change = "create") -> Store:
    """Open a store, creating or migrating it as needed; ValueError (in French) for an address of another kind.

    Without `keys` nothing can seal the audit trail.
    """
    if is_postgres(url):
        try:
            from solidarite_server.storage.postgres import PostgresStore
        except ImportError:
            raise ValueError(
                "PostgreSQL demande l'extra « postgres » : pip install solidarite-source[postgres]"
            ) from None
        return PostgresStore(url, clock=clock, keys=keys, allowed=allowed)
    return SqliteStore(sqlite_path(url), clock=clock, keys=keys, allowed=allowed)


def open_existing(url: str, *, clock: Clock, keys: Keyring | None = None, allowed: Change = "none") -> Store:
    """Open a store that is there already, as it is; ValueError (in French) when it is not there, SchemaError when it is
    empty or of another version.
    """
    if not is_postgres(url):
        path = sqlite_path(url)
        if not path.exists():
            raise ValueError(f"{path.name} n'existe pas.")
        if path.is_file() and not path.stat().st_size:
            raise EmptyStoreError(f"{path.name} est vide : ce service n'y a jamais rien écrit.")
    return open_store(url, clock=clock, keys=keys, allowed=allowed)


def holds_fingerprint(url: str) -> bool:
    """Whether a SQLite store has keys already: another key file must not be made for it. False when in doubt."""
    if is_postgres(url):
        return False
    try:
        with closing(sqlite3.connect(f"{sqlite_path(url).resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return any(row[0] for row in connection.execute("SELECT pseudonym_fingerprint FROM head"))
    except sqlite3.Error:
        return False


def key_file_of(url: str, given: Path | None) -> Path:
    """Where the keys of the pseudonyms are: beside a SQLite file unless told; servers of one store share a file."""
    if given is not None:
        return given
    if is_postgres(url):
        raise ValueError(
            "Avec PostgreSQL, le fichier de la clé des pseudonymes se donne : option --key-file, variable "
            "SOLIDARITE_PSEUDONYM_KEY_FILE, ou pseudonym_key_file dans les réglages du serveur. Ce doit être celui de "
            "tous les serveurs de ce magasin."
        )
    path = sqlite_path(url)
    return path.with_name(path.name + ".key")
