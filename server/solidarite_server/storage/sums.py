"""Checksums of rows: dossiers, events of declarations and positions of uploads, as blocks of records have theirs.

A row whose bytes changed on the disk is reported, and never used. The sum covers the key as well: a row found under
another key does not pass. Rows of dossiers and events also say whether another follows: when damage to a key hides the
newest one, the one before it is not taken for the newest.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from solidarite_server.domain.errors import StoreUnavailable

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Row, Session

_ROWS_AT_ONCE = 5_000


class Summed(NamedTuple):
    """A table whose last column is the checksum of the others."""

    name: str
    damage: str
    """What is said, in French, of a damaged row."""
    columns: tuple[str, ...]
    """Those that the checksum covers, the key first, in the order in which they are summed."""
    key: int
    """How many of them make the key."""
    chained: bool = False
    """Whether rows that share all columns of the key but the last form a sequence, and say whether another follows."""

    @property
    def checked(self) -> str:
        """The checksum as a SELECT reads it: NULL where the row that should follow is missing."""
        if not self.chained:
            return "checksum"
        *same, last = self.columns[: self.key]
        chain = " AND ".join(f"later.{column} = {self.name}.{column}" for column in same)
        # The checksum is asked for so that the row itself is looked at: an index may still hold its key as it was.
        later = (
            f"SELECT 1 FROM {self.name} AS later WHERE {chain}"  # noqa: S608
            f" AND later.{last} > {self.name}.{last} AND later.checksum >= 0"
        )
        return f"CASE WHEN followed = EXISTS ({later}) THEN checksum END"

    def follow(self, rows: int) -> str:
        """The UPDATE that marks so many rows, given by their keys, as followed by another."""
        key = self.columns[: self.key]
        one = f"({', '.join('?' * self.key)})"
        values = ", ".join([one] * rows)
        return f"UPDATE {self.name} SET followed = TRUE WHERE ({', '.join(key)}) IN (VALUES {values})"  # noqa: S608

    def into(self) -> str:
        """The table and columns into which rows of `with_sum` are inserted."""
        return f"{self.name} ({', '.join(self.columns)}, checksum)"

    def insert(self) -> str:
        """The INSERT of a row of `with_sum`."""
        return f"INSERT INTO {self.into()} VALUES (?{', ?' * len(self.columns)})"  # noqa: S608

    def select(self, *before: str) -> str:
        """The SELECT, without a condition, of rows for `intact`; other columns may come before."""
        return f"SELECT {', '.join((*before, *self.columns))}, {self.checked} FROM {self.name}"  # noqa: S608


_POSITION = "La position d'un envoi est abîmée dans le magasin"
FOYER = Summed("foyer", "Un dossier du magasin est abîmé", ("numero_allocataire", "known_at_us", "payload"), 2, True)
EVENT = Summed(
    "declaration_event",
    "Un événement de déclaration du magasin est abîmé",
    ("numero_allocataire", "mois", "sequence", "kind", "payload", "request_id", "body_hash", "known_at_us"),
    3,
    True,
)
UPLOAD = Summed("upload", _POSITION, ("source_id", "upload_id", "position"), 2)
AHEAD = Summed("upload_ahead", _POSITION, ("source_id", "upload_id", "batch_sequence"), 3)
_ALL = (FOYER, EVENT, UPLOAD, AHEAD)


def row_sum(columns: Sequence[Any]) -> int:
    """The checksum of a row: CRC-32, which sees every change of up to four bytes in a row.

    Each column goes in with its kind and its length: SQLite may find a text where a number was, and what passes from
    one column to the next is a change.
    """
    parts: list[bytes] = []
    for column in columns:
        kind, data = _bytes_of(column)
        parts += (b"%b%d " % (kind, len(data)), data)
    return zlib.crc32(b"".join(parts))


def _bytes_of(column: Any) -> tuple[bytes, bytes]:
    if isinstance(column, bytes):
        return b"b", column
    if isinstance(column, str):
        return b"t", column.encode("utf-8", "surrogatepass")
    return b"n", str(column).encode()


def with_sum(columns: Row) -> Row:
    """The row as it is written, its checksum last."""
    return (*columns, row_sum(columns))


def intact(table: Summed, rows: Sequence[Row]) -> list[Row]:
    """The rows without their checksums, once each is right; StoreUnavailable when one is not."""
    found = [row[:-1] for row in rows]
    if any(row_sum(columns) != row[-1] for columns, row in zip(found, rows, strict=True)):
        raise StoreUnavailable(f"{table.damage} : restaurez une sauvegarde.")
    return found


def write_sums(session: Session, table: Summed, rows: Iterable[Row]) -> None:
    """Write the checksums of rows, given by all their columns."""
    key = " AND ".join(f"{column} = ?" for column in table.columns[: table.key])
    session.many(
        f"UPDATE {table.name} SET checksum = ? WHERE {key}",  # noqa: S608
        [(row_sum(row), *row[: table.key]) for row in rows],
    )


def sum_all(session: Session) -> None:
    """Give every row that is there already its checksum, in the transaction of the migration."""
    for table in _ALL:
        # The column `followed` came with a later migration.
        for rows in _walked(session, table._replace(chained=False)):
            write_sums(session, table, [row[:-1] for row in rows])


def wrong(session: Session) -> list[str]:
    """What is wrong with the rows, in French; empty when nothing is. Reads all of them, in one snapshot."""
    found = []
    for table in _ALL:
        try:
            damaged = sum(row_sum(row[:-1]) != row[-1] for rows in _walked(session, table) for row in rows)
        except StoreUnavailable:
            found.append(f"La table {table.name} ne se lit pas en entier.")
        else:
            if damaged:
                found.append(f"La table {table.name} a {damaged} ligne(s) abîmée(s).")
    return found


def _walked(session: Session, table: Summed) -> Iterator[list[Row]]:
    """Every row, some at a time; StoreUnavailable when there are more or fewer of them than are counted.

    A damaged key may be out of its place: rows would be met twice, or without end.
    """
    ((count,),) = session.rows(f"SELECT count(*) FROM {table.name}")  # noqa: S608
    key = ", ".join(table.columns[: table.key])
    after = f"WHERE ({key}) > ({', '.join('?' * table.key)})"
    order = f"ORDER BY {key} LIMIT {_ROWS_AT_ONCE}"
    rows = session.rows(f"{table.select()} {order}")
    met = 0
    while rows:
        met += len(rows)
        if met > count:
            break
        yield rows
        rows = session.rows(f"{table.select()} {after} {order}", rows[-1][: table.key])
    if met != count:
        raise StoreUnavailable(f"La table {table.name} du magasin est abîmée : restaurez une sauvegarde.")
