"""Several real processes on one port: they answer, they come back, they leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from solidarite_client import ResourceRecord, SolidariteClient
from solidarite_client.models import FluxSource, NatureRessource

from tests.robustness.served import running


@contextmanager
def workers(folder: Path, count: int = 2) -> Iterator[tuple[str, psutil.Process]]:
    """A supervisor and its processes; yields the address and the supervisor."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "SOLIDARITE_DRAIN_SECONDS": "2"}
    command = [sys.executable, "-m", "solidarite_client", "serve", "--listen", "127.0.0.1:0", "--workers", str(count),
               "--store", f"sqlite:///{folder / 'a.db'}"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" sur ")[1].split()[0], psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def serving(address: str) -> bool:
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def until(condition: object, seconds: float = 20) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def record(number: int) -> ResourceRecord:
    return ResourceRecord(
        record_id=number.to_bytes(16, "big"), nir="2840575999101", flux_source=FluxSource.DSN,
        declarant="81234567800013", nature=NatureRessource.SALAIRE, date_versement="2026-07-28",
        montant_net_social_cents=100,
    )  # fmt: skip


def held(client: SolidariteClient) -> int:
    return sum(month.montant_net_social_cents for month in client.list_resource_records(nir="2840575999101"))


# effect: workers, listen, store
def test_two_processes_share_a_port_and_a_store_and_one_killed_comes_back_having_lost_nothing(tmp_path: Path):
    with workers(tmp_path) as (address, supervisor):
        first = supervisor.children()
        assert len(first) == 2
        for number in range(1, 9):  # connections are spread over the processes
            with SolidariteClient(address) as client:
                assert client.ingest([record(number)], source_id="paie").accepted == 1
        first[0].send_signal(signal.SIGKILL)
        assert until(lambda: len([c for c in supervisor.children() if c.status() != psutil.STATUS_ZOMBIE]) == 2)
        assert until(lambda: all(serving(address) for _ in range(6)))
        with SolidariteClient(address) as client:
            assert held(client) == 800
    assert not [child for child in first if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


# effect: supervisor
def test_the_processes_end_with_their_supervisor_even_killed(tmp_path: Path):
    with workers(tmp_path) as (_, supervisor):
        children = supervisor.children()
        supervisor.send_signal(signal.SIGKILL)
        assert until(lambda: not any(child.is_running() for child in children))


def test_sigterm_ends_the_supervisor_and_its_processes(tmp_path: Path):
    with workers(tmp_path) as (_, supervisor):
        children = supervisor.children()
        supervisor.terminate()
        assert until(lambda: not any(child.is_running() for child in children))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_terminal_that_closes_ends_the_service_as_sigterm_does_unless_it_was_to_outlive_it(
    workers: int, tmp_path: Path
):
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        pytest.skip("these tests were started to outlive their terminal, and so is what they start")
    with running(tmp_path, workers=workers) as served:
        served.process.send_signal(signal.SIGHUP)
        assert served.process.wait(30) == 0
    command = [sys.executable, "-c", "from solidarite_server.supervisor import stop_signals; print(*stop_signals())"]
    told = [
        subprocess.run([*before, *command], capture_output=True, text=True, check=True).stdout.split()
        for before in ([], ["nohup"])
    ]
    assert ["1" in numbers for numbers in told] == [True, False]


@pytest.mark.parametrize(
    ("listen", "code", "said"), [("127.0.0.1:x", 2, "s'écrit hôte:port"), ("203.0.113.1:0", 1, "n'est pas une adresse")]
)
def test_an_address_that_cannot_be_listened_on_is_said(listen: str, code: int, said: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "solidarite_client", "serve", "--listen", listen, "--workers", "2",
         "--store", f"sqlite:///{tmp_path / 'a.db'}", "--allow-plaintext"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "SOLIDARITE_ALLOW_ANONYMOUS": "true"},
    )  # fmt: skip
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
