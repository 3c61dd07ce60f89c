"""How many calls the generator itself can make: the same user class against a server that does nothing.

    locust -f loadtests/ceiling.py --headless --host HOST:PORT --seconds 5 --measures FILE

A closed loop: each user calls again as soon as it is answered. Unary calls and batches in turn, half of the time each.
"""

from __future__ import annotations

from loadtests.grpc_user import BatchStream, GrpcUser  # isort: skip

import json
import time
from pathlib import Path
from typing import Any

import gevent
import locust.runners
import numpy as np
from locust import LoadTestShape, events, runners, task
from solidarite.v1 import declaration_pb2, declaration_pb2_grpc, resource_record_pb2_grpc

from loadtests import people

_USERS = 32
_BATCHES_AT_ONCE = 4
_LEAD_SECONDS, _LAST_REPORT_SECONDS = 2.0, 2.0
locust.runners.WORKER_REPORT_INTERVAL = 0.5  # what a worker has not reported when it is stopped is lost
_counts = {"calls": 0, "batches": 0}


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    """How long, and where the result goes."""
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each of the two measures")
    parser.add_argument("--measures", default="", help="file to write the result to")


@events.init.add_listener
def prepare(environment: Any, **_: Any) -> None:
    """The master adds up what the workers send."""
    environment.stop_timeout = 2
    if isinstance(environment.runner, runners.MasterRunner):
        events.worker_report.add_listener(lambda client_id, data: _add(data.get("ceiling", {})))


@events.test_start.add_listener
def start(environment: Any, **_: Any) -> None:
    """Users begin together."""
    Caller.begins = time.perf_counter() + _LEAD_SECONDS


@events.report_to_master.add_listener
def send(client_id: str, data: dict[str, Any]) -> None:
    """Hand over and begin again."""
    data["ceiling"] = dict(_counts)
    _counts.update(calls=0, batches=0)


@events.test_stop.add_listener
def stop(environment: Any, **_: Any) -> None:
    """Write both rates."""
    options = environment.parsed_options
    if options.measures and not isinstance(environment.runner, runners.WorkerRunner):
        rates = {f"{name}_per_s": count / options.seconds for name, count in _counts.items()}
        Path(options.measures).write_text(json.dumps(rates), encoding="utf-8")


def _add(counts: dict[str, int]) -> None:
    for name, count in counts.items():
        _counts[name] += count


class Caller(GrpcUser):
    """Calls as fast as it is answered, first one kind, then the other."""

    fixed_count = _USERS
    begins = 0.0

    def on_start(self) -> None:
        """Make a request of each kind."""
        super().on_start()
        self.declarations = declaration_pb2_grpc.DeclarationServiceStub(self.channel)
        self.records = resource_record_pb2_grpc.ResourceRecordServiceStub(self.channel)
        self.numbers = np.random.default_rng(people.seed_of("ceiling"))

    @task
    def both(self) -> None:
        """Unary calls, then batches."""
        seconds = self.environment.parsed_options.seconds
        request = declaration_pb2.PrefillDeclarationRequest(
            numero_allocataire=people.numero(1), mois_declaration=people.MOIS
        )
        if time.perf_counter() > self.begins + seconds:
            gevent.sleep(0.5)
            return
        gevent.sleep(max(0.0, self.begins - time.perf_counter()))
        while time.perf_counter() < self.begins + seconds:
            self.unary(self.declarations.PrefillDeclaration, request)
            _counts["calls"] += 1
        stream = BatchStream(self, self.records.StreamResourceRecords, lambda answer: 0, lambda answer: [])
        while time.perf_counter() < self.begins + 2 * seconds:
            if stream.in_flight >= _BATCHES_AT_ONCE:
                gevent.sleep(0.001)
                continue
            stream.send(people.filed_records(500, 1_000_000, self.numbers), time.perf_counter())
            _counts["batches"] += 1
            gevent.sleep(0)
        stream.close(1)


class Together(LoadTestShape):
    """All users, for twice the time."""

    use_common_options = False

    def tick(self) -> tuple[int, float] | None:
        """Called every second by Locust."""
        environment: Any = self.runner.environment if self.runner else None
        end = Caller.begins + 2 * environment.parsed_options.seconds + _LAST_REPORT_SECONDS
        over = Caller.begins and time.perf_counter() > end
        return None if over else (_USERS, 100.0)
