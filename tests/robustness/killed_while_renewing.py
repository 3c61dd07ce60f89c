"""Renews the pseudonyms of a store by processes that die by SIGKILL, one at each commit: before it, then after it.

python -m tests.robustness.killed_while_renewing URL KEY_FILE: fills the store, and after each death judges it as
another server sees it, sends and corrects records, and lets the next process go on. Prints how many deaths there were.
With `--every-statement` copies of the store die instead, each before another statement of a renewal.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import psycopg
import pytest
from solidarite_server.ports import Store
from solidarite_server.services import keyring, renewal
from solidarite_server.services.clock import SystemClock
from solidarite_server.storage import SqliteStore, is_postgres, open_store, sqlite_path
from solidarite_server.storage.postgres import PostgresStore
from solidarite_server.storage.sql import Commit

from tests.integration.stores.records import record
from tests.integration.stores.renewals import NUMBERS, PEOPLE, Model, acts, household, small_slices

ACTOR = "exploitant:essai"


def _opened(url: str, key_file: Path) -> Store:
    store = open_store(url, clock=SystemClock(), keys=keyring.load(key_file))
    if isinstance(store, SqliteStore):
        store.tidies_beside = False  # type: ignore[misc]
    return store


def _filled(url: str, key_file: Path) -> Model:
    model = Model()
    with closing(_opened(url, key_file)) as store:
        for k in range(3):
            model.send(store, [(f"r{k}", record(k, name=f"r{k}", person=person)) for person in PEOPLE])
        for k, numero in enumerate(NUMBERS):
            model.upsert(store, household(numero, PEOPLE[k : k + 2]))
    return model


def _renewed(store: Store, key_file: Path) -> None:
    renewal.finish(store, renewal.begin(store, key_file, ACTOR).version, ACTOR)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying_at_commit(store: Any, commits: int, *, after: bool) -> None:
    """Let a store die at one of its commits."""
    transaction: Callable[[], Any] = store._transaction
    left = commits

    @contextmanager
    def dying() -> Iterator[Commit]:
        nonlocal left
        left -= 1
        last = left == 0
        with transaction() as commit:
            yield commit
            if last and not after:
                _die()
        if last:
            _die()

    store._transaction = dying


def _forked(act: Callable[[], None]) -> bool:
    """Whether a process that does this reached its end."""
    child = os.fork()
    if not child:
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise AssertionError("a renewal failed by itself")
    return os.WIFEXITED(status)


def at_each_commit(url: str, key_file: Path) -> int:
    """The deaths met until a renewal ended."""
    model, deaths, commits = _filled(url, key_file), 0, 1
    while True:

        def act(commits: int = commits, after: bool = deaths % 2 == 1) -> None:
            store = _opened(url, key_file)
            _dying_at_commit(store, commits, after=after)
            _renewed(store, key_file)

        ended = _forked(act)
        deaths += not ended
        with closing(_opened(url, key_file)) as store:
            model.judge(store)
            person = PEOPLE[deaths % len(PEOPLE)]
            model.send(store, [("r0", record(0, name="r0", person=person))])
            model.send(store, [("r1", record(9, name="r1", person=person, version=2 + deaths))])
            model.judge(store, [person], [])
            going_on = store.renewal()
            if going_on is None and store.pseudonym_version() > 1:
                assert store.check() == []
                return deaths
            # The line of a renewal taken up, then a slice; in the end the look that finds nothing, and the end itself.
            commits = 1 if going_on is None else 3 if _all_renamed(store) else 2


def _all_renamed(store: Any) -> bool:
    under_way = store._persons.names(store._reading()).renewal
    return bool(under_way.records_done and under_way.dossiers >= NUMBERS[-1])


class _DyingConnection:
    """A connection, to either engine, whose process dies before one of its statements."""

    def __init__(self, connection: Any, left: list[int]) -> None:
        self.connection, self.left = connection, left

    def execute(self, *arguments: Any) -> Any:
        self._count()
        return self.connection.execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        self._count()
        return self.connection.executemany(*arguments)

    def cursor(self) -> Any:
        """What psycopg carries out many times goes through one."""
        self._count()
        return self.connection.cursor()

    def _count(self) -> None:
        self.left[0] -= 1
        if self.left[0] == 0:
            _die()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def _dying_at_statement(store: Any, statements: int) -> None:
    """Let a store die before one of its statements, whichever of its connections carries it out."""
    if isinstance(store, PostgresStore):
        store._writer = store._connect()  # it would be made at the first commit
    left = [statements]
    for session in (store._writer, store._reading()):
        session.connection = _DyingConnection(session.connection, left)


def _copied(url: str) -> str:
    """The address of a new copy of a store that nobody has open."""
    if is_postgres(url):
        server, _, database = url.partition("?")[0].rpartition("/")
        with psycopg.connect(url.replace(f"/{database}?", "/postgres?"), autocommit=True) as connection:
            for statement in (
                f"DROP DATABASE IF EXISTS {database}_copy WITH (FORCE)",
                f"CREATE DATABASE {database}_copy TEMPLATE {database}",
            ):
                connection.execute(statement)  # type: ignore[call-overload]
        return url.replace(f"{server}/{database}?", f"{server}/{database}_copy?")
    whole = sqlite_path(url)
    copy = whole.with_name("copy.db")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
    shutil.copy(whole, copy)
    return f"sqlite:///{copy}"


def at_each_statement(url: str, key_file: Path) -> int:
    """The deaths met on copies of a store, each before another statement of the process that renews.

    What is left of a copy then has a random life of its own, is renewed to the end, and is judged all along.
    """
    whole, deaths = _filled(url, key_file), 0
    keys = key_file.with_name("copy.key")
    while True:
        copy = _copied(url)
        shutil.copy(key_file, keys)

        def act(copy: str = copy, statements: int = deaths + 1) -> None:
            store = _opened(copy, keys)
            _dying_at_statement(store, statements)
            _renewed(store, keys)

        if _forked(act):
            return deaths
        deaths += 1
        model, draw = deepcopy(whole), random.Random(deaths)
        with closing(_opened(copy, keys)) as store:
            model.judge(store)
            for _ in range(6):
                draw.choice(acts(model, draw))(store)
                store.renew_some()
            model.judge(store)
            _renewed(store, keys)
            model.judge(store)
            assert store.check() == []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="an empty store")
    parser.add_argument("key_file", type=Path)
    parser.add_argument("--every-statement", action="store_true")
    asked = parser.parse_args()
    keyring.load_or_create(asked.key_file)
    with pytest.MonkeyPatch.context() as patch:
        small_slices(patch)
        print((at_each_statement if asked.every_statement else at_each_commit)(asked.url, asked.key_file))


if __name__ == "__main__":
    main()
