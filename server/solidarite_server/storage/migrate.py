"""Numbered SQL migrations with checksums: the schema of a store is the one this version was written for."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Session


_OLD_BLOCKS = ("sqlite", 4)
_SUMS = {("sqlite", 7), ("postgresql", 5)}


class SchemaError(RuntimeError):
    """The store's schema is not one that this version knows."""


def migrations(dialect: str) -> list[tuple[int, str, str]]:
    """(number, SQL, checksum) of every migration of a dialect, in order."""
    folder = files("solidarite_server.storage") / "migrations" / dialect
    found = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if PurePath(entry.name).suffix == ".sql":
            sql = entry.read_text("utf-8")
            found.append((int(entry.name[:4]), sql, hashlib.sha256(sql.encode()).hexdigest()))
    return found


class EarlierSchemaError(SchemaError):
    """The store's schema is of an earlier version, and nobody asked to change it."""


class EmptyStoreError(SchemaError):
    """A database where no store was ever made, and nobody asked to make one."""


Change = Literal["create", "migrate", "none"]
"""What opening a store may do to its schema: make it, bring it to this version's, or nothing."""


def migrate(session: Session, dialect: str, allowed: Change = "create") -> None:
    """Bring a store to this version's schema, in the caller's transaction, which keeps other servers out.

    SchemaError when the store comes from a later or altered version; EarlierSchemaError when it would have to change
    more than is allowed: servers of the version that made it may still be serving.
    """
    session.run("CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, checksum TEXT NOT NULL)")
    known = migrations(dialect)
    applied = {row[0]: row[1] for row in session.rows("SELECT number, checksum FROM migration")}
    if allowed != "create" and not applied:
        raise EmptyStoreError("Ce magasin est vide : ce service n'y a jamais rien écrit.")
    checksums = {number: checksum for number, _, checksum in known}
    for number, checksum in applied.items():
        if checksums.get(number) != checksum:
            raise SchemaError(
                f"La migration {number} de cette base n'est pas celle de cette version : mettez le logiciel à jour."
            )
    if allowed == "none" and (due := len(checksums.keys() - applied.keys())):
        raise EarlierSchemaError(
            f"Ce magasin est d'une version précédente ({due} migrations à faire) : arrêtez ses serveurs, copiez-le, "
            "puis « solidarite store migrate »."
        )
    for number, sql, checksum in known:
        if number not in applied:
            for statement in _statements(sql):
                session.run(statement)
            if (dialect, number) == _OLD_BLOCKS:
                from solidarite_server.storage.old_blocks import take_over

                take_over(session)
            if (dialect, number) in _SUMS:
                from solidarite_server.storage.sums import sum_all

                sum_all(session)
            session.run("INSERT INTO migration VALUES (?, ?)", (number, checksum))


def _statements(sql: str) -> list[str]:
    # executescript would commit on its own; our files hold no semicolon but the ends of statements and of comments.
    lines = [line.split("--")[0] for line in sql.splitlines()]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]
