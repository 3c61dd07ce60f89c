"""D1, D11: kill -9 at random instants while several sources stream; nothing acknowledged is lost or counted twice."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from tests.robustness.ledger import Ledger, Source, held_by
from tests.robustness.servers import server


def killed_over_and_over(url: str, folder: Path, kills: int, seed: int) -> Ledger:
    chance = random.Random(seed)
    ledger = Ledger()
    sources = [Source(f"source-{k}", ledger, seed) for k in range(3)]
    for round_ in range(kills):
        with server(url, folder) as (address, process):
            threads = [threading.Thread(target=source.stream, args=(address, 2_000)) for source in sources]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.05, 0.6))
            process.kill()
            for thread in threads:
                thread.join()
        assert len(ledger.acknowledged) > 0 or round_ < 3
    with server(url, folder) as (address, _):
        wrong = ledger.judge(held_by(address))
    assert not wrong, f"seed {seed}: {wrong[:5]}"
    return ledger


def test_a_server_killed_again_and_again_on_sqlite_loses_nothing_acknowledged(tmp_path: Path):
    seed = random.randrange(10**6)
    ledger = killed_over_and_over(f"sqlite:///{tmp_path / 'a.db'}", tmp_path, 12, seed)
    assert len(ledger.acknowledged) > 500


def test_a_server_killed_again_and_again_on_postgresql_loses_nothing_acknowledged(tmp_path: Path, postgres_url: str):
    seed = random.randrange(10**6)
    ledger = killed_over_and_over(postgres_url, tmp_path, 8, seed)
    assert len(ledger.acknowledged) > 200


@pytest.mark.long
def test_five_hundred_kills_on_sqlite(tmp_path: Path):
    killed_over_and_over(f"sqlite:///{tmp_path / 'a.db'}", tmp_path, 500, random.randrange(10**6))


def test_control_the_judge_sees_a_loss_a_double_and_an_invention():
    ledger = Ledger()
    ledger.sent = {("a", 1): 10, ("a", 2): 20}
    ledger.acknowledged = {("a", 1): 10}
    assert ledger.judge([("a", 1, 10)]) == []
    assert ledger.judge([("a", 1, 10), ("a", 2, 20)]) == []  # sent, committed, killed before the acknowledgement
    assert ledger.judge([("a", 2, 20)]) == ["record 1 lost"]
    assert ledger.judge([("a", 1, 10), ("a", 1, 10)]) == ["record 1 counted twice"]
    assert ledger.judge([("a", 1, 11)]) == ["record 1 was never sent so"]
