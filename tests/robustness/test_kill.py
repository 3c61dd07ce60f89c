"""D1, D11: kill -9 at random instants while several sources stream; nothing acknowledged is lost or counted twice.

Long form, in pieces: `ROBUSTNESS_SEEDS=0-4 pytest --long tests/robustness/test_kill.py` runs the seeds 0 to 4, each a
store of its own that is killed a hundred times.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import grpc
import pytest
from solidarite.v1 import common_pb2, declaration_pb2
from solidarite.v1.declaration_pb2_grpc import DeclarationServiceStub
from solidarite_client import SolidariteClient
from solidarite_server.domain.month import Month
from solidarite_server.services.clock import SystemClock
from solidarite_server.services.keyring import load_or_create
from solidarite_server.storage import open_store

from tests.integration.server.test_life import dossier
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


# Changes of declarations, with their audit lines.

MOIS = common_pb2.Month(year=2026, month=11)


def amends_without_end(address: str, numero: str, acknowledged: list[str]) -> None:
    """Add lines to one declaration, each time in the same place, until the connection breaks."""
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = DeclarationServiceStub(channel)
        with suppress(grpc.RpcError):
            asked = declaration_pb2.PrefillDeclarationRequest(numero_allocataire=numero, mois_declaration=MOIS)
            etag = stub.PrefillDeclaration(asked, timeout=30).declaration.etag
            while True:
                request = declaration_pb2.AmendDeclarationRequest(
                    numero_allocataire=numero, mois_declaration=MOIS, etag=etag, request_id=secrets.token_hex(8)
                )
                request.amendments.add().addition.CopyFrom(
                    declaration_pb2.Addition(
                        personne="demandeur", mois=common_pb2.Month(year=2026, month=7), nature=1,
                        montant_declare_cents=len(acknowledged),
                    )
                )  # fmt: skip
                etag = stub.AmendDeclaration(request, timeout=30).declaration.etag
                acknowledged.append(request.request_id)


def changed_while_killed(url: str, folder: Path, kills: int) -> None:
    acknowledged: dict[str, list[str]] = {f"{number}": [] for number in range(6)}

    def told() -> int:
        return sum(map(len, acknowledged.values()))

    with zygote(folder) as starts:
        for round_ in range(kills):
            with starts.server(url) as server:
                if not round_:
                    with SolidariteClient(server.address) as client:
                        for numero in acknowledged:
                            client.upsert_foyer(dossier(numero_allocataire=numero))
                threads = [
                    threading.Thread(target=amends_without_end, args=(server.address, numero, done))
                    for numero, done in acknowledged.items()
                ]
                for thread in threads:
                    thread.start()
                # So many changes later, in the midst of the next ones.
                wanted, limit = told() + random.randint(2, 30), time.monotonic() + 60
                while told() < wanted and time.monotonic() < limit:
                    time.sleep(0.001)
                server.kill()
                for thread in threads:
                    thread.join()
    with closing(open_store(url, clock=SystemClock(), keys=load_or_create(folder / "key"))) as store:
        kept = {numero: store.events(numero, Month(2026, 11)) for numero in acknowledged}
        lines = [(line.subject, line.at_us) for line in store.audit_lines() if line.action == "AMEND_DECLARATION"]
        assert store.verify_audit() == []
    for numero, events in kept.items():
        held = [event.request_id for event in events]
        assert [request for request in acknowledged[numero] if request not in held] == []
        assert len(held) == len(set(held)) <= len(acknowledged[numero]) + kills  # one may be kept and not told
    # A change and its line bear the instant of their commit: neither is there without the other.
    assert sorted(lines) == sorted((numero, event.known_at_us) for numero, events in kept.items() for event in events)
    assert told() >= 2 * kills


def test_a_server_killed_while_declarations_change_keeps_each_change_with_its_line_on_sqlite(tmp_path: Path):
    changed_while_killed(f"sqlite:///{tmp_path / 'a.db'}", tmp_path, 5)


def test_a_server_killed_while_declarations_change_keeps_each_change_with_its_line_on_postgresql(
    tmp_path: Path, postgres_url: str
):
    changed_while_killed(postgres_url, tmp_path, 5)


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
