"""Unary calls: prefill, submit and compute, against a no-op of the same server.

    python -m loadtests.benchmarks.rpc [--foyers 1000000] [--seconds 10] [--clients 8]

A server process serves a SQLite store of that many foyers; client threads, a channel each, call it in a closed loop
for the peak rate, in turn with the no-op (grpc.health.v1 Check), then at half of the peak from a schedule: latencies
are counted from the intended start. Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2
from solidarite.v1 import common_pb2, declaration_pb2, entitlement_pb2, foyer_pb2

from loadtests.benchmarks import filled

ROUNDS = 3
MOIS = common_pb2.Month(year=filled.MOIS.year, month=filled.MOIS.month)
Call = Callable[[grpc.Channel, random.Random], tuple[int, int]]
"""One operation: sizes of the requests and of the answers, in bytes."""


@contextmanager
def server(url: str) -> Iterator[str]:
    """A server process; yields its address."""
    command = [sys.executable, "-m", "solidarite_client", "serve", "--listen", "127.0.0.1:0", "--store", url]
    environment = {**os.environ, "SOLIDARITE_DECLARATION_CALENDAR": "LIBRE"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" sur ")[1].split()[0]
        finally:
            process.terminate()


def unary(path: str, make: Callable[[random.Random], bytes]) -> Call:
    """A call whose answer is left undecoded: the client is not what is measured."""

    def call(channel: grpc.Channel, chance: random.Random) -> tuple[int, int]:
        request = make(chance)
        answer = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)(request, timeout=30)
        return len(request), len(answer)

    return call


def submission(foyers: int) -> Call:
    """Prefill, then submit, a foyer that no one has submitted yet."""
    taken = iter(random.Random(7).sample(range(foyers), min(foyers, 200_000)))
    guard = threading.Lock()
    path = "/solidarite.v1.DeclarationService/"

    def call(channel: grpc.Channel, chance: random.Random) -> tuple[int, int]:
        with guard:
            number = filled.numero(next(taken))
        asked = declaration_pb2.PrefillDeclarationRequest(numero_allocataire=number, mois_declaration=MOIS)
        seen = channel.unary_unary(
            path + "PrefillDeclaration",
            request_serializer=declaration_pb2.PrefillDeclarationRequest.SerializeToString,
            response_deserializer=declaration_pb2.PrefillDeclarationResponse.FromString,
        )(asked, timeout=30)
        request = declaration_pb2.SubmitDeclarationRequest(
            numero_allocataire=number, mois_declaration=MOIS, etag=seen.declaration.etag, request_id="mesure"
        ).SerializeToString()
        answer = channel.unary_unary(path + "SubmitDeclaration", request_serializer=bytes, response_deserializer=bytes)(
            request, timeout=30
        )
        return len(request), len(answer)

    return call


def computation() -> entitlement_pb2.ComputeEntitlementsRequest:
    """What is asked of the rules: a person alone with three months of wages."""
    alone = foyer_pb2.Foyer(numero_allocataire="1", zone=foyer_pb2.ZONE_METROPOLE, regime=foyer_pb2.REGIME_CAF)
    alone.membres.add(
        personne="a", role=foyer_pb2.ROLE_ALLOCATAIRE, nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
        date_naissance=common_pb2.Date(year=1990, month=3, day=1),
    )  # fmt: skip
    request = entitlement_pb2.ComputeEntitlementsRequest(foyer=alone, mois_declaration=MOIS)
    for month in (7, 8, 9):
        request.ressources.add(
            personne="a", mois=common_pb2.Month(year=2026, month=month),
            nature=common_pb2.NATURE_RESSOURCE_SALAIRE, montant_cents=90_000,
        )  # fmt: skip
    return request


def calls(foyers: int) -> dict[str, Call]:
    """What is measured, by name; the no-op first."""

    def prefill(chance: random.Random) -> bytes:
        number = filled.numero(chance.randrange(foyers))
        return declaration_pb2.PrefillDeclarationRequest(
            numero_allocataire=number, mois_declaration=MOIS
        ).SerializeToString()

    body = computation().SerializeToString()
    check = health_pb2.HealthCheckRequest().SerializeToString()
    return {
        "no_op": unary("/grpc.health.v1.Health/Check", lambda _: check),
        "prefill": unary("/solidarite.v1.DeclarationService/PrefillDeclaration", prefill),
        "compute": unary("/solidarite.v1.EntitlementService/ComputeEntitlements", lambda _: body),
        "prefill_and_submit": submission(foyers),
    }


def run(address: str, call: Call, clients: int, seconds: float, rate: float | None) -> tuple[float, list[float]]:
    """Calls a second and latencies in ms; from a schedule when a rate is given, in a closed loop otherwise."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    start = time.perf_counter() + 0.2
    failures: list[BaseException] = []

    def client(place: int) -> None:
        chance = random.Random(f"{place}/{start}")
        try:
            with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                grpc.channel_ready_future(channel).result(10)
                turn = 0
                while True:
                    intended = max(time.perf_counter(), start)
                    if rate is not None:
                        intended = start + (turn * clients + place) / rate
                    if intended >= start + seconds:
                        return
                    time.sleep(max(0.0, intended - time.perf_counter()))
                    call(channel, chance)
                    latencies[place].append((time.perf_counter() - intended) * 1000)
                    turn += 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=client, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    flat = [latency for own in latencies for latency in own]
    return len(flat) / seconds, flat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foyers", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measure")
    parser.add_argument("--clients", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rpc-") as folder:
        url = f"sqlite:///{Path(folder) / 'rpc.db'}"
        filled.fill(url, asked.foyers)
        with server(url) as address:
            measured = calls(asked.foyers)
            peaks: dict[str, list[float]] = {name: [] for name in measured}
            for _ in range(ROUNDS):
                for name, call in measured.items():
                    peaks[name].append(run(address, call, asked.clients, asked.seconds / ROUNDS, None)[0])
            no_op = float(np.median(peaks["no_op"]))
            for name, call in measured.items():
                peak = float(np.median(peaks[name]))
                _, latencies = run(address, call, asked.clients, asked.seconds, peak / 2)
                with grpc.insecure_channel(address) as channel:
                    request_bytes, answer_bytes = call(channel, random.Random(1))
                p50, p99 = np.percentile(latencies, [50, 99])
                print(
                    json.dumps(
                        {
                            "call": name,
                            "per_s": round(peak),
                            "ratio_to_no_op": round(peak / no_op, 3),
                            "at_half_load_ms": {"p50": round(float(p50), 2), "p99": round(float(p99), 2)},
                            "request_bytes": request_bytes,
                            "answer_bytes": answer_bytes,
                            "foyers": asked.foyers,
                        }
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
