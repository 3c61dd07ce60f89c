"""Three times too much: what the calls that are accepted keep, and how the others are refused.

    python -m loadtests.benchmarks.overload [--seconds 8] [--connections 16] [--factor 3]

A server process computes entitlements with their explanation (the heaviest unary call, so that the generator is not
what is measured). Its peak is found by a closed loop, its level by a schedule at half of it, then calls come at several
times the peak from a schedule; latencies are counted from the intended start. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from solidarite.v1 import entitlement_pb2

from loadtests.benchmarks.rpc import calls, server

PATH = "/solidarite.v1.EntitlementService/ComputeEntitlements"
_PATIENCE_SECONDS = 5.0


@contextmanager
def _served() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="overload-") as folder, server(f"sqlite:///{Path(folder) / 'a.db'}") as at:
        yield at


def _body() -> bytes:
    """The case of the benchmark of unary calls, asked with its explanation."""
    sent: list[bytes] = []

    class Catch:
        def unary_unary(self, *_: Any, **__: Any) -> Any:
            return lambda request, timeout: sent.append(request) or b""  # type: ignore[func-returns-value]

    import random

    calls(1)["compute"](Catch(), random.Random(0))  # type: ignore[arg-type]
    request = entitlement_pb2.ComputeEntitlementsRequest.FromString(sent[0])
    request.explain = True
    return request.SerializeToString()


class Outcomes:
    """What became of the calls of one measure."""

    def __init__(self) -> None:
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.statuses: Counter[str] = Counter()

    def summary(self, seconds: float) -> dict[str, object]:
        """Rates a second, latencies in milliseconds."""
        found: dict[str, object] = {
            "accepted_per_s": round(len(self.accepted) / seconds, 1),
            "statuses": dict(self.statuses),
        }
        for name, values in (("accepted_ms", self.accepted), ("refused_ms", self.refused)):
            if values:
                p50, p99 = np.percentile(np.array(values) * 1_000, [50, 99])
                found[name] = {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}
        return found


async def _one(method: Any, body: bytes, intended: float, outcomes: Outcomes) -> None:
    try:
        await method(body, timeout=_PATIENCE_SECONDS)
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)
        told = status is not None and any(d.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for d in status.details)
        outcomes.statuses[error.code().name + (" + RetryInfo" if told else "")] += 1
        outcomes.refused.append(time.perf_counter() - intended)
    else:
        outcomes.statuses["OK"] += 1
        outcomes.accepted.append(time.perf_counter() - intended)


async def _closed(methods: list[Any], body: bytes, seconds: float) -> tuple[Outcomes, float]:
    outcomes, start = Outcomes(), time.perf_counter()

    async def loop(method: Any) -> None:
        while time.perf_counter() - start < seconds:
            await _one(method, body, time.perf_counter(), outcomes)

    await asyncio.gather(*(loop(method) for method in methods))
    return outcomes, time.perf_counter() - start


async def _scheduled(methods: list[Any], body: bytes, seconds: float, rate: float) -> tuple[Outcomes, float]:
    outcomes, start = Outcomes(), time.perf_counter()
    tasks: set[asyncio.Task[None]] = set()
    sent = 0
    while (now := time.perf_counter() - start) < seconds:
        while sent < rate * now:
            task = asyncio.create_task(_one(methods[sent % len(methods)], body, start + sent / rate, outcomes))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.001)
    await asyncio.gather(*tasks)
    return outcomes, time.perf_counter() - start


async def measure(address: str, seconds: float, connections: int, factor: float) -> dict[str, object]:
    """Peak, level and overload of a server."""
    body = _body()
    channels = [grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(connections)]
    methods = [channel.unary_unary(PATH, bytes, bytes) for channel in channels]
    await asyncio.gather(*(method(body) for method in methods))
    peak, took = await _closed(methods, body, seconds)
    peak_rate = len(peak.accepted) / took
    level, level_took = await _scheduled(methods, body, seconds, peak_rate / 2)
    over, over_took = await _scheduled(methods, body, seconds, peak_rate * factor)
    for channel in channels:
        await channel.close()
    p99 = {name: float(np.percentile(found.accepted, 99)) for name, found in (("peak", peak), ("over", over))}
    told = sum(count for name, count in over.statuses.items() if name.endswith("RetryInfo"))
    return {
        "peak": peak.summary(took),
        "half": level.summary(level_took),
        f"times_{factor:g}": over.summary(over_took),
        "ratios": {
            "useful_to_peak": round(len(over.accepted) / over_took / peak_rate, 3),
            "p99_to_p99_at_peak": round(p99["over"] / p99["peak"], 2),
            "refusals_that_say_when_to_come_back": round(
                told / max(1, sum(over.statuses.values()) - over.statuses["OK"]), 3
            ),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each of the three measures")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--factor", type=float, default=3.0)
    asked = parser.parse_args()
    with _served() as address:
        print(json.dumps(uvloop.run(measure(address, asked.seconds, asked.connections, asked.factor))), flush=True)


if __name__ == "__main__":
    main()
