"""Opens copies of a store of an earlier schema; each time the process dies by SIGKILL before another statement.

python -m tests.robustness.killed_while_migrating STORE FOLDER: FOLDER/n.db is what the death before statement n left.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from solidarite_server.storage import SqliteStore
from solidarite_server.storage.sqlite import _SqliteSession

from tests.integration.stores.records import HandClock


class _DyingConnection:
    def __init__(self, connection: sqlite3.Connection, statements: int) -> None:
        self.connection, self.left = connection, statements

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.connection.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def _open_and_die(path: Path, statements: int) -> None:
    class Store(SqliteStore):
        def _connect(self) -> _SqliteSession:
            session = super()._connect()
            session.connection = _DyingConnection(session.connection, statements)  # type: ignore[assignment]
            return session

    Store(path, clock=HandClock())


def main(store: Path, folder: Path) -> None:
    statements = 0
    while True:
        statements += 1
        path = folder / f"{statements}.db"
        shutil.copy(store, path)
        child = os.fork()
        if not child:
            _open_and_die(path, statements)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            path.unlink()
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
