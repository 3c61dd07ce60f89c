"""Renewal of the pseudonyms of a store that serves meanwhile: begun, or taken up where it was left, and ended."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from solidarite_server.ports import AuditLine, RenewalProgress, Store
from solidarite_server.services import keyring


def begin(store: Store, key_file: Path, actor: str) -> RenewalProgress:
    """Begin a renewal under a new version of the keys, or find the one that is under way; leaves an audit line.

    The new key is on disk before anything is written under it: a server that meets an unknown version reads the file
    again.
    """
    with _alone(key_file):
        under_way = store.renewal()
        if under_way is not None:
            line = AuditLine(actor, "ROTATE_PSEUDONYMS", "*", f"reprise vers la version {under_way.version}")
            store.write_audit([line])
            return under_way
        keys = keyring.load(key_file).renewed()
        keyring.save(key_file, keys)
        store.begin_renewal(keys.newest, [AuditLine(actor, "ROTATE_PSEUDONYMS", "*", f"version {keys.newest}")])
    return store.renewal() or RenewalProgress(keys.newest, keys.newest, 1.0)


def finish(
    store: Store, version: int, actor: str, told: Callable[[RenewalProgress | None], None] = lambda _: None
) -> None:
    """Rename what is left, by short transactions, and end the renewal with an audit line.

    As long as each transaction took is left to whoever else writes.
    """
    ended = False
    while not ended:
        more = True
        while more:
            start = time.perf_counter()
            more = store.renew_some()
            told(store.renewal())
            time.sleep(time.perf_counter() - start)  # the turn of other processes: the store lets in who asks first
        ended = store.end_renewal([AuditLine(actor, "ROTATE_PSEUDONYMS_END", "*", f"version {version}")])


def forget(store: Store, key_file: Path, actor: str) -> int | None:
    """Leave in the key file the version in force alone, with an audit line; None, nothing done, during a renewal."""
    with _alone(key_file):
        if store.renewal() is not None:
            return None
        version = store.pseudonym_version()
        store.write_audit([AuditLine(actor, "FORGET_PSEUDONYMS", "*", f"avant la version {version}")])
        keyring.save(key_file, keyring.load(key_file).without_older_than(version))
    return version


@contextmanager
def _alone(key_file: Path) -> Iterator[None]:
    """One command at a time on a key file: two renewals begun at once would each write a key of the same number."""
    folder = os.open(key_file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
