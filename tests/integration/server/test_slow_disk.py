"""A write that waits for the disk holds back its own caller only."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from solidarite.v1 import declaration_pb2
from solidarite_server.ports import AuditLine, Change, NewEvent
from solidarite_server.storage.sqlite import SqliteStore

from tests.integration.server.served import served
from tests.integration.server.test_life import FOYER, M, filled


def test_reads_are_answered_while_a_submission_waits_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reached, goes_on = threading.Event(), threading.Event()
    keep = SqliteStore.keep

    def slow(store: SqliteStore, changes: Sequence[Change], lines: Sequence[AuditLine] = ()) -> object:
        if any(isinstance(change, NewEvent) for change in changes):
            reached.set()
            assert goes_on.wait(30)
        return keep(store, changes, lines)

    monkeypatch.setattr(SqliteStore, "keep", slow)
    with served(tmp_path, "2026-11-03") as (client, _):
        filled(client, 60_000, 60_000, 60_000)
        seen = client.prefill_declaration(FOYER, M)
        done: list[declaration_pb2.Declaration] = []
        submission = threading.Thread(
            target=lambda: done.append(client.submit_declaration(FOYER, M, etag=seen.etag)), daemon=True
        )
        submission.start()
        assert reached.wait(30)
        assert client.prefill_declaration(FOYER, M).state == declaration_pb2.DECLARATION_STATE_PREREMPLIE
        assert not done
        goes_on.set()
        submission.join(30)
        assert done[0].state == declaration_pb2.DECLARATION_STATE_VALIDEE
