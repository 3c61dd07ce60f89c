"""Three times too much: what the calls that are accepted keep, and how the others are refused.

    python -m loadtests.benchmarks.overload [--seconds 8] [--connections 16] [--factor 3] [--rounds 1]

A server process computes entitlements with their explanation (the heaviest unary call, so that the generator is not
what is measured). Its peak is found by a closed loop, its level by a schedule at half of it, then calls come at several
times the peak from a schedule; latencies are counted from the intended start. Prints one JSON object a round, then the
median of their ratios. `late_ms` is the generator's own delay: it shares the machine with the server. What is asked: at
least 0.8 of the peak, p99 within twice the level of a prefill (`national.toml`), refusals within 50 ms that say when to
come back.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
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
from google.rpc import error_details_pb2, status_pb2

from loadtests.benchmarks.rpc import computation, server
from loadtests.national import national

PATH = "/solidarite.v1.EntitlementService/ComputeEntitlements"
_PATIENCE_SECONDS = 5.0
_LEVEL_SECONDS = next(level.limit_ms for level in national().levels if level.name == "prefill") / 1_000
_STATUS = "grpc-status-details-bin"


@contextmanager
def _served() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="overload-") as folder, server(f"sqlite:///{Path(folder) / 'a.db'}") as at:
        yield at


def _body() -> bytes:
    """The case of the benchmark of unary calls, asked with its explanation."""
    request = computation()
    request.explain = True
    return request.SerializeToString()


class Outcomes:
    """What became of the calls of one measure."""

    def __init__(self) -> None:
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.late: list[float] = []
        """From the intended start to the sending."""
        self.ends: Counter[tuple[str, bytes]] = Counter()
        """How many of each code and packed status that are not OK."""

    def statuses(self) -> Counter[str]:
        """How many of each status; read once the measure is over, not to slow it."""
        found = Counter({"OK": len(self.accepted)})
        for (code, packed), count in self.ends.items():
            told = any(
                d.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for d in status_pb2.Status.FromString(packed).details
            )
            found[code + (" + RetryInfo" if told else "")] += count
        return found

    def summary(self, seconds: float) -> dict[str, object]:
        """Rates a second, latencies in milliseconds."""
        found: dict[str, object] = {
            "accepted_per_s": round(len(self.accepted) / seconds, 1),
            "statuses": dict(self.statuses()),
        }
        measured = (("accepted_ms", self.accepted), ("refused_ms", self.refused), ("late_ms", self.late))
        for name, values in measured:
            if values:
                p50, p99 = np.percentile(np.array(values) * 1_000, [50, 99])
                found[name] = {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}
        return found


async def _one(method: Any, body: bytes, intended: float, outcomes: Outcomes) -> None:
    outcomes.late.append(time.perf_counter() - intended)
    try:
        await method(body, timeout=_PATIENCE_SECONDS)
    except grpc.aio.AioRpcError as error:
        outcomes.refused.append(time.perf_counter() - intended)
        packed = (value for key, value in error.trailing_metadata() if key == _STATUS)
        outcomes.ends[error.code().name, bytes(next(packed, b""))] += 1  # type: ignore[arg-type]
    else:
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


async def measure(address: str, seconds: float, connections: int, factor: float) -> dict[str, Any]:
    """Peak, level and overload of a server."""
    body = _body()
    channels = [grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(connections)]
    methods = [channel.unary_unary(PATH, bytes, bytes) for channel in channels]
    for method in methods:
        await method(body)
    peak, took = await _closed(methods, body, seconds)
    peak_rate = len(peak.accepted) / took
    level, level_took = await _scheduled(methods, body, seconds, peak_rate / 2)
    over, over_took = await _scheduled(methods, body, seconds, peak_rate * factor)
    for channel in channels:
        await channel.close()
    p99 = {name: float(np.percentile(found.accepted, 99)) for name, found in (("peak", peak), ("over", over))}
    statuses = over.statuses()
    told = sum(count for name, count in statuses.items() if name.endswith("RetryInfo"))
    return {
        "peak": peak.summary(took),
        "half": level.summary(level_took),
        f"times_{factor:g}": over.summary(over_took),
        "ratios": {
            "useful_to_peak": round(len(over.accepted) / over_took / peak_rate, 3),
            "p99_to_level": round(p99["over"] / _LEVEL_SECONDS, 2),
            "p99_to_p99_at_peak": round(p99["over"] / p99["peak"], 2),
            "refusals_that_say_when_to_come_back": round(told / max(1, statuses.total() - statuses["OK"]), 3),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each of the three measures")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--factor", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    gc.disable()  # the collector stops the generator for 0.2 s, and everything is then sent at once
    ratios: list[dict[str, float]] = []
    with _served() as address:
        for _ in range(asked.rounds):
            found = uvloop.run(measure(address, asked.seconds, asked.connections, asked.factor))
            print(json.dumps(found), flush=True)
            ratios.append(found["ratios"])
    if len(ratios) > 1:
        medians = {name: float(np.median([ratio[name] for ratio in ratios])) for name in ratios[0]}
        print(json.dumps({"medians": medians}), flush=True)


if __name__ == "__main__":
    main()
