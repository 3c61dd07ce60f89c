"""A write that waits for the disk holds back its own caller only."""

import threading
import time
from pathlib import Path

import pytest
from solidarite.v1 import declaration_pb2
from solidarite_server import bootstrap
from solidarite_server.ports import Store

from tests.integration.server.served import served
from tests.integration.server.test_life import FOYER, M, filled


def test_reads_are_answered_while_a_submission_waits_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[Store] = []
    open_store = bootstrap.open_store

    def opening(*arguments: object, **options: object) -> Store:
        opened.append(open_store(*arguments, **options))
        return opened[0]

    monkeypatch.setattr(bootstrap, "open_store", opening)
    with served(tmp_path, "2026-11-03") as (client, _):
        filled(client, 60_000, 60_000, 60_000)
        seen = client.prefill_declaration(FOYER, M)
        done: list[declaration_pb2.Declaration] = []
        submission = threading.Thread(
            target=lambda: done.append(client.submit_declaration(FOYER, M, etag=seen.etag)), daemon=True
        )
        with opened[0]._write_lock:  # as a commit that does not end
            submission.start()
            time.sleep(0.3)  # the submission has reached the store by then; were it late, less would be shown
            assert client.prefill_declaration(FOYER, M).state == declaration_pb2.DECLARATION_STATE_PREREMPLIE
            assert not done
        submission.join(30)
        assert done[0].state == declaration_pb2.DECLARATION_STATE_VALIDEE
