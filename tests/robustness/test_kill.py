"""D1, D11: kill -9 at random instants while several sources stream; nothing acknowledged is lost or counted twice.

Long form, in pieces: `ROBUSTNESS_SEEDS=0-4 pytest --long tests/robustness/test_kill.py` runs the seeds 0 to 4, each a
store of its own that is killed a hundred times.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from tests.robustness.ledger import Ledger, Source, held_by
from tests.robustness.seeds import seeds
from tests.robustness.servers import zygote


def killed_over_and_over(url: str, folder: Path, kills: int, seed: int) -> Ledger:
    chance = random.Random(seed)
    ledger = Ledger()
    sources = [Source(f"source-{k}", ledger, seed) for k in range(3)]
    with zygote(folder) as starts:
        for round_ in range(kills):
            with starts.server(url) as server:
                threads = [threading.Thread(target=source.stream, args=(server.address, 2_000)) for source in sources]
                for thread in threads:
                    thread.start()
                time.sleep(chance.uniform(0.05, 0.6))
                server.kill()
                for thread in threads:
                    thread.join()
            assert len(ledger.acknowledged) > 0 or round_ < 5
        with starts.server(url) as server:
            wrong = ledger.judge(held_by(server.address))
    assert not wrong, f"seed {seed}: {wrong[:5]}"
    return ledger


def test_a_server_killed_again_and_again_on_sqlite_loses_nothing_acknowledged(tmp_path: Path):
    seed = random.randrange(10**6)
    ledger = killed_over_and_over(f"sqlite:///{tmp_path / 'a.db'}", tmp_path, 20, seed)
    assert len(ledger.acknowledged) > 500


def test_a_server_killed_again_and_again_on_postgresql_loses_nothing_acknowledged(tmp_path: Path, postgres_url: str):
    seed = random.randrange(10**6)
    ledger = killed_over_and_over(postgres_url, tmp_path, 20, seed)
    assert len(ledger.acknowledged) > 200


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds(5))
def test_a_hundred_kills_on_sqlite(seed: int, tmp_path: Path):
    killed_over_and_over(f"sqlite:///{tmp_path / 'a.db'}", tmp_path, 100, seed)


def test_control_the_judge_sees_a_loss_a_double_and_an_invention():
    ledger = Ledger()
    ledger.sent = {("a", 1): 10, ("a", 2): 20}
    ledger.acknowledged = {("a", 1): 10}
    assert ledger.judge([("a", 1, 10)]) == []
    assert ledger.judge([("a", 1, 10), ("a", 2, 20)]) == []  # sent, committed, killed before the acknowledgement
    assert ledger.judge([("a", 2, 20)]) == ["record 1 lost"]
    assert ledger.judge([("a", 1, 10), ("a", 1, 10)]) == ["record 1 counted twice"]
    assert ledger.judge([("a", 1, 11)]) == ["record 1 was never sent so"]
