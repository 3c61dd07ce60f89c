"""Every error of our own, each with a reason of the contract and a sentence in French for whoever reads it.

    SolidariteError
    ├── InvalidRequest            the request cannot be read as meant: field path and what is accepted
    ├── NotFound                  nothing under that identifier (or nothing that the caller may see)
    ├── PermissionRefused         the identity does not carry the right
    ├── Unauthenticated           no identity, or one that is not accepted
    ├── Conflict                  something else stands already
    │   ├── RequestReplayed       same request id, other body
    │   └── StaleEtag             the declaration changed since it was read
    ├── IllegalTransition         the declaration's state does not allow it
    ├── Retryable                 the same request may succeed later: carries the delay
    │   ├── NotFreshEnough        the store has not yet seen the commit asked for
    │   ├── Overloaded            more work is waiting than the server accepts
    │   ├── Starting              the server is there, its rules are not compiled yet
    │   ├── StoreUnavailable      the store cannot commit (disk full, lost connection)
    │   └── StreamEnded           the server ends the stream: open another and resume
    ├── TimeLimit                 the call lasted longer than the server lets it
    └── NotOffered                the contract has it, this installation has not

Texts never hold a person's data nor the rejected value. A record or a document that conflicts with the one kept is no
error of the call: its own reply says RECORD_CONFLICT or DOCUMENT_CONFLICT, and the rest of the batch stands.
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Machine-readable reasons; the contract's ErrorReason enum has the same names."""

    INVALID_FIELD = "INVALID_FIELD"
    UNDECODABLE_REQUEST = "UNDECODABLE_REQUEST"
    BATCH_TOO_LARGE = "BATCH_TOO_LARGE"
    FOYER_UNKNOWN = "FOYER_UNKNOWN"
    DECLARATION_UNKNOWN = "DECLARATION_UNKNOWN"
    CAMPAIGN_UNKNOWN = "CAMPAIGN_UNKNOWN"
    NOT_FOUND = "NOT_FOUND"
    PERMISSION_REFUSED = "PERMISSION_REFUSED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    RECORD_CONFLICT = "RECORD_CONFLICT"
    DOCUMENT_CONFLICT = "DOCUMENT_CONFLICT"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    ETAG_STALE = "ETAG_STALE"
    TRANSITION_REFUSED = "TRANSITION_REFUSED"
    WINDOW_CLOSED = "WINDOW_CLOSED"
    JUSTIFICATION_MISSING = "JUSTIFICATION_MISSING"
    NOT_FRESH_ENOUGH = "NOT_FRESH_ENOUGH"
    OVERLOADED = "OVERLOADED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    INTERNAL = "INTERNAL"
    SERVER_UNREACHABLE = "SERVER_UNREACHABLE"
    """Said by the gateway, when no server answers behind it, and by a server that starts."""
    STREAM_ENDED = "STREAM_ENDED"
    TIME_LIMIT = "TIME_LIMIT"


class SolidariteError(Exception):
    """Base of our errors: what leaves a handler otherwise is unforeseen and becomes INTERNAL."""

    reason: Reason = Reason.INTERNAL

    def __init__(self, message_fr: str, *, field: str = "") -> None:
        super().__init__(message_fr)
        self.message_fr = message_fr
        self.field = field
        """Path of the field at fault in the request, for example `batch.records[3].nir`; empty when none is."""


class InvalidRequest(SolidariteError):
    """A field does not hold what is accepted."""

    reason = Reason.INVALID_FIELD

    def __init__(self, message_fr: str, *, field: str = "", reason: Reason = Reason.INVALID_FIELD) -> None:
        super().__init__(message_fr, field=field)
        self.reason = reason


class NotFound(SolidariteError):
    """Nothing under that identifier, or nothing that the caller may see: both look the same."""

    def __init__(self, message_fr: str, *, reason: Reason = Reason.NOT_FOUND, field: str = "") -> None:
        super().__init__(message_fr, field=field)
        self.reason = reason


class PermissionRefused(SolidariteError):
    """The identity is known but does not carry the right."""

    reason = Reason.PERMISSION_REFUSED


class Unauthenticated(SolidariteError):
    """No identity, or one that is not accepted."""

    reason = Reason.UNAUTHENTICATED


class Conflict(SolidariteError):
    """Something else stands already under the same identifier."""


class RequestReplayed(Conflict):
    """A request id already used with another body."""

    reason = Reason.REQUEST_ID_REUSED


class StaleEtag(Conflict):
    """The declaration changed since it was read: read it again, then decide."""

    reason = Reason.ETAG_STALE


class IllegalTransition(SolidariteError):
    """The declaration's state, or the calendar, does not allow it."""

    def __init__(self, message_fr: str, *, reason: Reason = Reason.TRANSITION_REFUSED, field: str = "") -> None:
        super().__init__(message_fr, field=field)
        self.reason = reason


class Retryable(SolidariteError):
    """The same request may succeed later; `retry_after_seconds` says when to try."""

    def __init__(self, message_fr: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message_fr)
        self.retry_after_seconds = retry_after_seconds


class NotFreshEnough(Retryable):
    """The store read has not yet seen the commit that the caller's token names."""

    reason = Reason.NOT_FRESH_ENOUGH


class Overloaded(Retryable):
    """More work is waiting than the server accepts."""

    reason = Reason.OVERLOADED


class Starting(Retryable):
    """The server is there, its rules are not compiled yet: nothing of the request was read."""

    reason = Reason.SERVER_UNREACHABLE

    def __init__(self) -> None:
        super().__init__(
            "Le service démarre et prépare ses règles de calcul : réessayez dans un instant.", retry_after_seconds=2.0
        )


class StoreUnavailable(Retryable):
    """The store cannot commit now: nothing of the request was kept."""

    reason = Reason.STORE_UNAVAILABLE


class StreamEnded(Retryable):
    """The server stops, or the stream lasted long enough. What was acknowledged stands: open another and resume."""

    reason = Reason.STREAM_ENDED

    def __init__(self) -> None:
        super().__init__("Le serveur termine ce flux : ouvrez-en un autre et reprenez.", retry_after_seconds=0.2)


class TimeLimit(SolidariteError):
    """The call lasted longer than the server lets it."""

    reason = Reason.TIME_LIMIT


class NotOffered(SolidariteError):
    """The contract has it, this installation has not: an optional dependency is missing."""

    reason = Reason.NOT_IMPLEMENTED
