"""Every error of the client, so that one `except` says what one can do about it.

    SolidariteError
    ├── CallError                     the service answered with an error
    │   ├── InvalidRequest            a field does not hold what is accepted: see `fields`
    │   ├── NotFound                  nothing under that identifier, or nothing that you may see
    │   ├── PermissionRefused         your identity does not carry the right
    │   ├── Unauthenticated           no identity, or one that is not accepted
    │   ├── Conflict                  something else stands already
    │   │   └── StaleEtag             the declaration changed since you read it: read it again
    │   ├── TransitionRefused         the declaration's state, or the calendar, does not allow it
    │   ├── Retryable                 the same call may succeed later: see `retry_after_seconds`
    │   │   ├── NotFreshEnough        the commit of your token is not visible yet
    │   │   ├── Overloaded            too much work is waiting
    │   │   ├── StoreUnavailable      the store cannot commit; nothing was kept
    │   │   └── ServerUnreachable     no answer came: server down, or network cut
    │   ├── HandshakeFailed           somebody listens there, but TLS or a certificate keeps the two apart
    │   ├── DeadlineExceeded          no answer in the time allowed; the call may have been done
    │   ├── NotImplementedYet         the contract announces it, this server does not do it
    │   └── ServerFailure             unforeseen on the server: `reference` finds it in the server's log
    ├── FileError                     a file cannot be read as meant; nothing of it was sent
    │   ├── DsnError                  a DSN file: line, rubric, what is expected
    │   ├── TableError                replacement income: line, column, what is expected
    │   └── JsonError                 a dossier in JSON: path of the field, what is expected
    ├── SpoolError                    the journal of unacknowledged batches cannot be used
    │   ├── SpoolBusy                 another process is sending it
    │   └── SpoolDamaged              its bytes are not those that were written
    └── ClientMisuse                  the client itself is used in a way that cannot work
        ├── ForkedClient              it was created before a fork
        ├── ClientClosed              it was closed
        └── PlaintextRefused          plain text to another machine, without saying so

Messages are in French and never hold a person's data nor the value refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS = "grpc-status-details-bin"
DOMAIN = "solidarite.v1"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field at fault: its path in the request, and what is accepted."""

    path: str
    message_fr: str


class SolidariteError(Exception):
    """Base of every error of the client; `str(error)` is a French sentence for whoever reads it."""


class CallError(SolidariteError):
    """The service answered with an error."""

    def __init__(
        self,
        message_fr: str,
        *,
        reason: str = "",
        status: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        fields: Sequence[FieldViolation] = (),
        retry_after_seconds: float | None = None,
        reference: str = "",
    ) -> None:
        super().__init__(message_fr)
        self.message_fr = message_fr
        self.reason = reason
        """Name in the contract's ErrorReason, without its prefix; empty when no answer came."""
        self.status = status
        self.fields = tuple(fields)
        self.retry_after_seconds = retry_after_seconds
        """Delay asked for by the server; None when it asks for none."""
        self.reference = reference
        """What to quote to the operator of the server."""

    @property
    def field(self) -> str:
        """Path of the first field at fault; empty when none is."""
        return self.fields[0].path if self.fields else ""


class InvalidRequest(CallError):
    """A field does not hold what is accepted: correct it; the same call again fails again."""


class NotFound(CallError):
    """Nothing under that identifier, or nothing that you may see: both look the same."""


class PermissionRefused(CallError):
    """Your identity is known but does not carry the right."""


class Unauthenticated(CallError):
    """No identity, or one that is not accepted."""


class Conflict(CallError):
    """Something else stands already under the same identifier."""


class StaleEtag(Conflict):
    """The declaration changed since you read it: read it again, then decide."""


class TransitionRefused(CallError):
    """The declaration's state, or the calendar, does not allow it."""


class Retryable(CallError):
    """The same call may succeed later."""


class NotFreshEnough(Retryable):
    """The store read has not yet seen the commit that your token names."""


class Overloaded(Retryable):
    """More work is waiting than the server accepts."""


class StoreUnavailable(Retryable):
    """The store cannot commit now: nothing of the call was kept."""


class ServerUnreachable(Retryable):
    """No answer came: the server is down, or the network is cut."""


class HandshakeFailed(CallError):
    """Somebody listens at that address, but TLS or a certificate keeps the two apart: trying again changes nothing."""


class DeadlineExceeded(CallError):
    """No answer in the time allowed. The call may have been done: repeat it only if it is repeatable."""


class NotImplementedYet(CallError):
    """The contract announces it; this server does not do it."""


class ServerFailure(CallError):
    """Unforeseen on the server; `reference` finds the details in its log."""


class FileError(SolidariteError):
    """A file cannot be read as meant; nothing of it was sent."""


class DsnError(FileError):
    """A DSN file is not what the norm says: line, rubric and what is expected. Never the value."""

    def __init__(self, line: int, rubric: str, expected: str) -> None:
        where = f"ligne {line}, rubrique {rubric}" if rubric else f"ligne {line}"
        super().__init__(f"{where} : {expected}")
        self.line = line
        """From 1."""
        self.rubric = rubric
        """For example `S21.G00.50.001`; empty when the line does not even name one."""
        self.expected = expected


class TableError(FileError):
    """A file of replacement income is not what its documentation says: line, column and what is expected."""

    def __init__(self, line: int, column: str, expected: str) -> None:
        where = f"ligne {line}, colonne {column}" if column else f"ligne {line}"
        super().__init__(f"{where} : {expected}")
        self.line = line
        self.column = column
        self.expected = expected


class JsonError(FileError):
    """A JSON text is not the message that it stands for: path of the field and what is expected."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"champ {path} : {expected}" if path else expected)
        self.path = path
        """For example `membres[0].role`; empty when it is the whole text."""
        self.expected = expected


class SpoolError(SolidariteError):
    """The journal of unacknowledged batches cannot be used."""


class SpoolBusy(SpoolError):
    """Another process is sending this journal."""


class SpoolDamaged(SpoolError):
    """The bytes of the journal are not those that were written."""


class ClientMisuse(SolidariteError):
    """The client is used in a way that cannot work."""


class ForkedClient(ClientMisuse):
    """The client was created before a fork: gRPC's threads do not exist in the child. Create it after the fork."""

    def __init__(self) -> None:
        super().__init__(
            "ce client a été créé avant un fork : créez-le dans le processus qui s'en sert (par exemple dans "
            "l'initialisation du worker)"
        )


class ClientClosed(ClientMisuse):
    """The client was closed: create another one."""

    def __init__(self) -> None:
        super().__init__("ce client est fermé : créez-en un autre")


class PlaintextRefused(ClientMisuse):
    """Plain text would cross the network: give certificates, or say that it is meant."""


_BY_REASON: dict[str, type[CallError]] = {
    "INVALID_FIELD": InvalidRequest,
    "UNDECODABLE_REQUEST": InvalidRequest,
    "BATCH_TOO_LARGE": InvalidRequest,
    "JUSTIFICATION_MISSING": InvalidRequest,
    "FOYER_UNKNOWN": NotFound,
    "DECLARATION_UNKNOWN": NotFound,
    "CAMPAIGN_UNKNOWN": NotFound,
    "NOT_FOUND": NotFound,
    "PERMISSION_REFUSED": PermissionRefused,
    "UNAUTHENTICATED": Unauthenticated,
    "RECORD_CONFLICT": Conflict,
    "DOCUMENT_CONFLICT": Conflict,
    "REQUEST_ID_REUSED": Conflict,
    "ETAG_STALE": StaleEtag,
    "TRANSITION_REFUSED": TransitionRefused,
    "WINDOW_CLOSED": TransitionRefused,
    "NOT_FRESH_ENOUGH": NotFreshEnough,
    "OVERLOADED": Overloaded,
    "STORE_UNAVAILABLE": StoreUnavailable,
    "NOT_IMPLEMENTED": NotImplementedYet,
    "INTERNAL": ServerFailure,
    "SERVER_UNREACHABLE": ServerUnreachable,
    "STREAM_ENDED": ServerUnreachable,
    "TIME_LIMIT": DeadlineExceeded,
}

# What a status means when no detail comes with it: a proxy, another server, or no server at all.
_BY_STATUS: dict[grpc.StatusCode, tuple[type[CallError], str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (InvalidRequest, "la demande a été refusée comme invalide"),
    grpc.StatusCode.NOT_FOUND: (NotFound, "rien ne correspond à cette demande"),
    grpc.StatusCode.PERMISSION_DENIED: (PermissionRefused, "ces identifiants n'en donnent pas le droit"),
    grpc.StatusCode.UNAUTHENTICATED: (Unauthenticated, "des identifiants valides sont nécessaires"),
    grpc.StatusCode.ALREADY_EXISTS: (Conflict, "autre chose existe déjà sous cet identifiant"),
    grpc.StatusCode.ABORTED: (Conflict, "l'état a changé depuis la dernière lecture"),
    grpc.StatusCode.FAILED_PRECONDITION: (TransitionRefused, "l'état actuel ne le permet pas"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (Overloaded, "le service est saturé, réessayez plus tard"),
    grpc.StatusCode.UNAVAILABLE: (
        ServerUnreachable,
        "le service ne répond pas : vérifiez l'adresse et que le serveur est démarré",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (DeadlineExceeded, "pas de réponse dans le temps accordé"),
    grpc.StatusCode.UNIMPLEMENTED: (NotImplementedYet, "ce serveur ne propose pas cette opération"),
}

# What gRPC says of a connection that could not be made: the only place where the cause can be read.
_NO_CONNECTION = "failed to connect to all addresses"
_CAUSES: tuple[tuple[str, type[CallError], str], ...] = (
    (
        "WRONG_VERSION_NUMBER",
        HandshakeFailed,
        "le serveur de cette adresse parle en clair et ce client en TLS : retirez --tls-ca, --tls-cert et --tls-key "
        "(en Python, tls), ou donnez l'adresse qui sert en TLS",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        HandshakeFailed,
        "le certificat du serveur n'est pas signé par les autorités données, ou n'est plus valable : donnez l'autorité "
        "de ce serveur (--tls-ca ; en Python, Tls(root_certificates=…))",
    ),
    (
        "Hostname Verification",
        HandshakeFailed,
        "le certificat du serveur n'est pas au nom de cette adresse : appelez-le par un nom que le certificat porte",
    ),
    (
        "security handshaker",
        HandshakeFailed,
        "un des fichiers de certificats n'est pas du PEM, ou la clé n'est pas celle du certificat (--tls-ca, "
        "--tls-cert, --tls-key)",
    ),
    # A server at its limit of connections closes them too: this one may pass.
    (
        "Socket closed",
        ServerUnreachable,
        "le serveur de cette adresse ferme la connexion aussitôt : il attend sans doute TLS (--tls-ca ; en Python, "
        "tls), ou le certificat d'une source signé par son autorité (--tls-cert, --tls-key)",
    ),
    ("DNS resolution failed", ServerUnreachable, "le nom du serveur est inconnu : vérifiez l'adresse, hôte:port"),
)


def _unavailable(text: str) -> tuple[type[CallError], str]:
    """Why there is no connection, as far as gRPC's text tells."""
    if _NO_CONNECTION in text or "DNS" in text:
        for mark, kind, message in _CAUSES:
            if mark in text:
                return kind, message
    return _BY_STATUS[grpc.StatusCode.UNAVAILABLE]


def decode(error: grpc.RpcError) -> CallError:
    """Turn what gRPC raises into an error of the tree, by its reason or else by its status.

    The transport's own text is left out of the message (it may name hosts and files) and stays in `__cause__` when
    raised `from` the original.
    """
    status = error.code() if isinstance(error, grpc.Call) or hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    kind, message = _BY_STATUS.get(status, (ServerFailure, "le service a rencontré une erreur imprévue"))
    if status is grpc.StatusCode.UNAVAILABLE and hasattr(error, "details"):
        kind, message = _unavailable(error.details() or "")
    try:
        return _from_details(_status_details(error), status, kind, message)
    except DecodeError:  # a proxy's details, not ours
        return kind(message, status=status)


def _from_details(
    details: status_pb2.Status | None, status: grpc.StatusCode, kind: type[CallError], message: str
) -> CallError:
    reason = reference = ""
    fields: list[FieldViolation] = []
    retry_after: float | None = None
    for packed in details.details if details is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry, localized = error_details_pb2.RetryInfo(), error_details_pb2.LocalizedMessage()
        if packed.Unpack(info) and info.domain == DOMAIN:
            reason, reference = info.reason, info.metadata.get("reference", "")
        elif packed.Unpack(bad):
            fields += [FieldViolation(item.field, item.description) for item in bad.field_violations]
        elif packed.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif packed.Unpack(localized):
            message = localized.message
    kind = _BY_REASON.get(reason, kind)
    return kind(
        message, reason=reason, status=status, fields=fields, retry_after_seconds=retry_after, reference=reference
    )


def _status_details(error: Any) -> status_pb2.Status | None:
    """The google.rpc.Status that came with the error, or None; DecodeError when its bytes are not one."""
    metadata = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    for key, value in metadata or ():
        if key == _DETAILS:
            return status_pb2.Status.FromString(value)
    return None
