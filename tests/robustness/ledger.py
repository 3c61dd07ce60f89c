"""Traffic, the ledger of what was acknowledged, and the judge. The ledger lives outside the server.

One sentence is judged: an acknowledged record is never lost and never counted twice.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc
from solidarite.v1 import resource_record_pb2 as pb
from solidarite.v1.resource_record_pb2_grpc import ResourceRecordServiceStub

STREAM = "/solidarite.v1.ResourceRecordService/StreamResourceRecords"
PERSONS = [f"2{year:02d}0575999{order:03d}" for year in range(60, 70) for order in range(1, 6)]


@dataclass
class Ledger:
    """What every source sent, and what was acknowledged: (person, record) to cents."""

    sent: dict[tuple[str, int], int] = field(default_factory=dict)
    acknowledged: dict[tuple[str, int], int] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, held: Iterable[tuple[str, int, int]]) -> list[str]:
        """What the promise forbids in what is held: (person, record, cents) of each effective record."""
        found, wrong = dict[tuple[str, int], int](), []
        for person, number, cents in held:
            if (person, number) in found:
                wrong.append(f"record {number} counted twice")
            found[person, number] = cents
            if self.sent.get((person, number)) != cents:
                wrong.append(f"record {number} was never sent so")
        wrong += [f"record {number} lost" for person, number in self.acknowledged if (person, number) not in found]
        return wrong


@dataclass
class Source:
    """A source that streams batches without end; what it has sent and was not acknowledged, it sends again."""

    name: str
    ledger: Ledger
    seed: int
    batch_records: int = 20
    next_batch: int = 1
    waiting: dict[int, list[tuple[str, int, int]]] = field(default_factory=dict)

    def batch(self, sequence: int) -> pb.StreamResourceRecordsRequest:
        if sequence not in self.waiting:
            chance = random.Random(f"{self.seed}/{self.name}/{sequence}")
            self.waiting[sequence] = [
                (chance.choice(PERSONS), int.from_bytes(chance.randbytes(12), "big"), chance.randrange(1, 10**6))
                for _ in range(self.batch_records)
            ]
        with self.ledger.guard:
            for person, number, cents in self.waiting[sequence]:
                self.ledger.sent[person, number] = cents
        message = pb.StreamResourceRecordsRequest(source_id=self.name, upload_id="u", batch_sequence=sequence)
        for person, number, cents in self.waiting[sequence]:
            message.records.records.add(
                record_id=number.to_bytes(16, "big"), version=1, nir=person, flux_source=pb.FLUX_SOURCE_DSN,
                declarant="81234567800013", nature=1, montant_net_social_cents=cents,
                date_versement={"year": 2026, "month": 7, "day": 28},
            )  # fmt: skip
        return message

    def stream(self, address: str, batches: int) -> int:
        """Send batches until so many are acknowledged or the connection breaks; the number acknowledged."""
        pending = sorted(self.waiting) + list(range(self.next_batch, self.next_batch + batches))
        window = threading.Semaphore(8)
        broken = threading.Event()

        def requests():  # type: ignore[no-untyped-def]
            for sequence in pending:
                while not window.acquire(timeout=0.1):
                    if broken.is_set():
                        return
                self.next_batch = max(self.next_batch, sequence + 1)
                yield self.batch(sequence).SerializeToString()

        done = 0
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                call = channel.stream_stream(STREAM, request_serializer=bytes)
                for body in call(requests(), timeout=30):
                    answer = pb.StreamResourceRecordsResponse.FromString(body)
                    assert not answer.refusals, answer
                    with self.ledger.guard:
                        for person, number, cents in self.waiting.pop(answer.batch_sequence):
                            self.ledger.acknowledged[person, number] = cents
                    done += 1
                    window.release()
            except grpc.RpcError:
                pass
            finally:
                broken.set()
        return done


def held_by(address: str) -> list[tuple[str, int, int]]:
    """What the server holds, through the public call: (person, record, cents) of each effective record."""
    found = []
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = ResourceRecordServiceStub(channel)
        for person in PERSONS:
            answer = stub.ListResourceRecords(pb.ListResourceRecordsRequest(nir=person), timeout=30)
            for month in answer.months:
                found += [
                    (person, int.from_bytes(r.record_id, "big"), r.montant_net_social_cents) for r in month.records
                ]
                assert month.montant_net_social_cents == sum(r.montant_net_social_cents for r in month.records)
    return found
