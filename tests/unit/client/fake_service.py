"""A small ingestion service on a real port: the rules of docs/stockage.md in a dictionary, and faults on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from solidarite.v1 import error_reason_pb2, resource_record_pb2, resource_record_pb2_grpc

Request = resource_record_pb2.StreamResourceRecordsRequest
Response = resource_record_pb2.StreamResourceRecordsResponse


def rich_status(code: int, reason: str, message: str, retry_after: float | None = None, field_path: str = ""):
    """What the real server sends: ErrorInfo, LocalizedMessage, and RetryInfo or BadRequest."""
    details = [
        error_details_pb2.ErrorInfo(reason=reason, domain="solidarite.v1", metadata={"reference": "abc123"}),
        error_details_pb2.LocalizedMessage(locale="fr", message=message),
    ]
    if retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if field_path:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field_path, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    packed = []
    for detail in details:
        box = any_pb2.Any()
        box.Pack(detail)
        packed.append(box)
    return rpc_status.to_status(status_pb2.Status(code=code, message="not for people", details=packed))


@dataclass
class Faults:
    """What goes wrong, and when. Each fault is used up once."""

    cut_before_commit_of: list[int] = field(default_factory=list)
    """Batch sequences: the connection fails instead of the commit."""
    cut_after_commit_of: list[int] = field(default_factory=list)
    """Batch sequences: the commit is done, its acknowledgement is lost."""
    overload_at: list[int] = field(default_factory=list)
    """Batch sequences: RESOURCE_EXHAUSTED with RetryInfo instead of the commit."""
    silent_at: list[int] = field(default_factory=list)
    """Batch sequences: no commit, no answer, no end."""
    end_at: list[int] = field(default_factory=list)
    """Batch sequences: the server ends the stream in good order instead of the commit."""
    retry_after: float = 0.0
    unavailable_calls: int = 0
    """How many unary calls fail first."""
    answer_bytes: int = 0
    """Size of the answers of ListResourceRecords; 0 for an error."""
    restored_from_an_older_backup: bool = False
    """At the next question for a position, everything is forgotten."""
    refuse: Callable[[Request], list[resource_record_pb2.RecordRefusal]] = lambda request: []


class FakeService(resource_record_pb2_grpc.ResourceRecordServiceServicer):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.faults = Faults()
        self.records: dict[tuple[str, bytes], tuple[int, int]] = {}
        """(identifier, record_id) → version, amount."""
        self.seals: dict[bytes, tuple[int, int]] = {}
        self.positions: dict[tuple[str, str], int] = {}
        self.received: list[int] = []
        self.metadata: dict[str, str] = {}
        self.hold = threading.Event()
        """Cleared, batches received wait before their commit."""
        self.hold.set()
        self.committed_batches = 0

    def StreamResourceRecords(self, request_iterator, context) -> Iterator[Response]:
        self.metadata = dict(context.invocation_metadata())
        for request in request_iterator:
            sequence = request.batch_sequence
            self.received.append(sequence)
            if not self.hold.wait(timeout=30):
                return
            if _use(self.faults.cut_before_commit_of, sequence):
                context.abort_with_status(rich_status(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "coupé"))
            if _use(self.faults.overload_at, sequence):
                delay = self.faults.retry_after
                context.abort_with_status(rich_status(code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", "saturé", delay))
            if _use(self.faults.end_at, sequence):
                return
            if _use(self.faults.silent_at, sequence):
                ended = threading.Event()
                context.add_callback(ended.set)
                ended.wait(30)
                return
            answer = self._commit(request)
            if _use(self.faults.cut_after_commit_of, sequence):
                context.abort_with_status(rich_status(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "coupé"))
            yield answer

    def _commit(self, request: Request) -> Response:
        with self.lock:
            self.committed_batches += 1
            refusals = self.faults.refuse(request)
            refused = {refusal.index for refusal in refusals if not refusal.is_seal}
            counts = {"accepted": 0, "replaced": 0, "unchanged": 0}
            for index, (key, version, amount) in enumerate(_rows(request)):
                if index in refused:
                    continue
                held = self.records.get(key)
                if held is None:
                    counts["accepted"] += 1
                elif held == (version, amount):
                    counts["unchanged"] += 1
                    continue
                else:
                    counts["replaced"] += 1
                self.records[key] = (version, amount)
            for seal in request.seals:
                self.seals[seal.document.document_id] = (seal.document.version, seal.record_count)
            upload = (request.source_id, request.upload_id)
            if request.batch_sequence == self.positions.get(upload, 0) + 1:
                self.positions[upload] = request.batch_sequence
            return Response(
                upload_id=request.upload_id,
                batch_sequence=request.batch_sequence,
                accepted_count=counts["accepted"],
                replaced_count=counts["replaced"],
                unchanged_count=counts["unchanged"],
                refusals=refusals,
                freshness_token=f"token-{request.batch_sequence}",
            )

    def GetIngestionPosition(self, request, context):
        if self.faults.unavailable_calls > 0:
            self.faults.unavailable_calls -= 1
            context.abort_with_status(rich_status(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "indisponible", 0.01))
        if self.faults.restored_from_an_older_backup:
            self.faults.restored_from_an_older_backup = False
            self.positions.clear()
            self.records.clear()
        position = self.positions.get((request.source_id, request.upload_id), 0)
        return resource_record_pb2.GetIngestionPositionResponse(batch_sequence=position)

    def ListResourceRecords(self, request, context):
        if self.faults.answer_bytes:
            record = resource_record_pb2.HeldRecord(declarant="x" * self.faults.answer_bytes)
            month = resource_record_pb2.MonthlyResources(records=[record])
            return resource_record_pb2.ListResourceRecordsResponse(months=[month])
        self.hold.wait(timeout=30)
        return context.abort_with_status(
            rich_status(code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", "Un NIR compte 13 caractères.", field_path="nir")
        )

    @property
    def total(self) -> int:
        return sum(amount for _, amount in self.records.values())


def refusal(index: int, *, is_seal: bool = False) -> resource_record_pb2.RecordRefusal:
    return resource_record_pb2.RecordRefusal(
        index=index,
        is_seal=is_seal,
        field="version",
        reason=error_reason_pb2.ERROR_REASON_RECORD_CONFLICT,
        message_fr="Une autre version existe.",
    )


def _use(faults: list[int], sequence: int) -> bool:
    if sequence in faults:
        faults.remove(sequence)
        return True
    return False


def _rows(request: Request) -> Iterator[tuple[tuple[str, bytes], int, int]]:
    if request.HasField("records"):
        for record in request.records.records:
            yield (record.nir or record.ntt, record.record_id), record.version, record.montant_net_social_cents
    columns = request.columns
    width = columns.person_identifier_width or 13
    for row in range(columns.count):
        identifier = columns.person_identifiers[row * width : (row + 1) * width].rstrip(b"\0").decode()
        record_id = columns.record_ids[row * 16 : (row + 1) * 16]
        version = columns.versions[row] if columns.versions else 1
        yield (identifier, record_id), version, columns.montants_net_social_cents[row]


@contextmanager
def serving(service: FakeService, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """Serve on a loopback port, with TLS when credentials are given; yields the address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
    resource_record_pb2_grpc.add_ResourceRecordServiceServicer_to_server(service, server)
    address = f"127.0.0.1:{port}"
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    service.stop = lambda: server.stop(grace=0).wait()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        service.hold.set()
        server.stop(grace=0).wait()
