"""Errors on the wire: the one place where ours become statuses, and where nothing else gets out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from solidarite_server.domain.errors import (
    Conflict,
    IllegalTransition,
    InvalidRequest,
    NotFound,
    NotOffered,
    Overloaded,
    PermissionRefused,
    Reason,
    RequestReplayed,
    Retryable,
    SolidariteError,
    StaleEtag,
    TimeLimit,
    Unauthenticated,
)

DOMAIN = "solidarite.v1"

# First match wins: subclasses stand before their base.
_CODES: tuple[tuple[type[SolidariteError], int], ...] = (
    (InvalidRequest, code_pb2.INVALID_ARGUMENT),
    (NotFound, code_pb2.NOT_FOUND),
    (PermissionRefused, code_pb2.PERMISSION_DENIED),
    (Unauthenticated, code_pb2.UNAUTHENTICATED),
    (StaleEtag, code_pb2.ABORTED),
    (RequestReplayed, code_pb2.ALREADY_EXISTS),
    (Conflict, code_pb2.ALREADY_EXISTS),
    (IllegalTransition, code_pb2.FAILED_PRECONDITION),
    (Overloaded, code_pb2.RESOURCE_EXHAUSTED),
    (Retryable, code_pb2.UNAVAILABLE),
    (TimeLimit, code_pb2.DEADLINE_EXCEEDED),
    (NotOffered, code_pb2.UNIMPLEMENTED),
)


def status_of(error: SolidariteError) -> grpc.Status:
    """The rich status of one of our errors: ErrorInfo, LocalizedMessage, BadRequest or RetryInfo where they apply."""
    if type(error) is Overloaded:
        return _overloaded_status(error.message_fr, error.retry_after_seconds)
    return _status_of(error)


@lru_cache(maxsize=256)
def _overloaded_status(message_fr: str, retry_after_seconds: float) -> grpc.Status:
    """Made once: refusing must cost little when much has to be refused."""
    return _status_of(Overloaded(message_fr, retry_after_seconds=retry_after_seconds))


def _status_of(error: SolidariteError) -> grpc.Status:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), code_pb2.INTERNAL)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN),
        error_details_pb2.LocalizedMessage(locale="fr", message=error.message_fr),
    ]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message_fr)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, Retryable):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return _status(code, error.message_fr, details)


def internal_status(reference: str) -> grpc.Status:
    """What the caller learns of something unforeseen: a reference, found again in the log, and nothing else."""
    message = f"Erreur interne. Communiquez la référence {reference} à l'exploitant."
    info = error_details_pb2.ErrorInfo(reason=Reason.INTERNAL.value, domain=DOMAIN, metadata={"reference": reference})
    return _status(code_pb2.INTERNAL, message, [info, error_details_pb2.LocalizedMessage(locale="fr", message=message)])


def new_reference() -> str:
    """A short random reference, unique enough to find one line of a log."""
    return secrets.token_hex(6)


def _status(code: int, message: str, details: Sequence[Message]) -> grpc.Status:
    packed = []
    for detail in details:
        box = any_pb2.Any()
        box.Pack(detail)
        packed.append(box)
    status: grpc.Status = rpc_status.to_status(status_pb2.Status(code=code, message=message, details=packed))
    return status
