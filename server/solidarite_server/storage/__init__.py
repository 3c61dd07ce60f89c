"""Stores behind the ports: SQLite, embedded; PostgreSQL, shared by several servers."""

from __future__ import annotations

from pathlib import Path

from solidarite_server.ports import Clock, Store
from solidarite_server.services.keyring import Keyring
from solidarite_server.storage.migrate import SchemaError
from solidarite_server.storage.sqlite import SqliteStore

__all__ = ["SchemaError", "SqliteStore", "is_postgres", "key_file_of", "open_existing", "open_store", "sqlite_path"]

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


def open_store(url: str, *, clock: Clock, keys: Keyring | None = None) -> Store:
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
        return PostgresStore(url, clock=clock, keys=keys)
    return SqliteStore(sqlite_path(url), clock=clock, keys=keys)


def open_existing(url: str, *, clock: Clock, keys: Keyring | None = None) -> Store:
    """Open a store that is there already; ValueError (in French) when it is not."""
    if not is_postgres(url) and not sqlite_path(url).exists():
        raise ValueError(f"{sqlite_path(url).name} n'existe pas.")
    return open_store(url, clock=clock, keys=keys)


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
