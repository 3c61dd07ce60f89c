"""What the service answers becomes an error of the tree, by its reason or else by its status."""

import grpc
import pytest
from google.rpc import code_pb2
from solidarite.v1.error_reason_pb2 import ErrorReason
from solidarite_client import errors
from solidarite_server.domain import errors as server_errors

from tests.unit.client.fake_service import rich_status


class Answer(grpc.RpcError):
    """What gRPC raises: a status code and the trailing metadata."""

    def __init__(self, code: grpc.StatusCode, metadata=()) -> None:
        super().__init__()
        self._code, self._metadata = code, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def trailing_metadata(self):
        return self._metadata


def decoded(code: int, reason: str, **options) -> errors.CallError:
    status = rich_status(code, reason, "Phrase en français.", **options)
    return errors.decode(Answer(status.code, status.trailing_metadata))


def test_every_reason_of_the_contract_has_its_class():
    reasons = {name.removeprefix("ERROR_REASON_") for name, number in ErrorReason.items() if number}
    assert set(errors._BY_REASON) == reasons == {reason.name for reason in server_errors.Reason}


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", errors.InvalidRequest),
        (code_pb2.NOT_FOUND, "FOYER_UNKNOWN", errors.NotFound),
        (code_pb2.PERMISSION_DENIED, "PERMISSION_REFUSED", errors.PermissionRefused),
        (code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED", errors.Unauthenticated),
        (code_pb2.ALREADY_EXISTS, "REQUEST_ID_REUSED", errors.Conflict),
        (code_pb2.ABORTED, "ETAG_STALE", errors.StaleEtag),
        (code_pb2.FAILED_PRECONDITION, "WINDOW_CLOSED", errors.TransitionRefused),
        (code_pb2.UNAVAILABLE, "NOT_FRESH_ENOUGH", errors.NotFreshEnough),
        (code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", errors.Overloaded),
        (code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", errors.StoreUnavailable),
        (code_pb2.UNIMPLEMENTED, "NOT_IMPLEMENTED", errors.NotImplementedYet),
        (code_pb2.INTERNAL, "INTERNAL", errors.ServerFailure),
    ],
)
def test_a_reason_decides_the_class(code, reason, kind):
    error = decoded(code, reason)
    assert type(error) is kind
    assert (error.reason, str(error)) == (reason, "Phrase en français.")


def test_details_come_along():
    error = decoded(code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", field_path="foyer.membres[0].role", retry_after=1.5)
    assert error.field == "foyer.membres[0].role"
    assert error.fields == (errors.FieldViolation("foyer.membres[0].role", "Phrase en français."),)
    assert error.retry_after_seconds == 1.5
    assert error.reference == "abc123"


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_a_status_without_details_still_gives_a_french_sentence(code):
    error = errors.decode(Answer(code))
    assert error.status is code
    assert error.reason == ""
    assert " " in str(error)


def test_retrying_is_for_what_may_pass():
    passing = {code for code in grpc.StatusCode if isinstance(errors.decode(Answer(code)), errors.Retryable)}
    assert passing == {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_an_unknown_reason_falls_back_on_the_status():
    assert type(decoded(code_pb2.NOT_FOUND, "REASON_OF_TOMORROW")) is errors.NotFound


def test_details_that_are_no_status_are_left_out():
    error = errors.decode(Answer(grpc.StatusCode.INTERNAL, (("grpc-status-details-bin", b"\xff\xff"),)))
    assert type(error) is errors.ServerFailure


def test_the_tree_at_the_top_of_the_module_is_the_tree_of_the_classes():
    """Names and indentation of the drawing are those of the classes and their bases."""
    drawn = []
    for line in errors.__doc__.splitlines():
        name = line.lstrip(" │├└─").split(" ")[0]
        if name.isidentifier() and isinstance(getattr(errors, name, None), type):
            drawn.append(((len(line) - len(line.lstrip(" │├└─"))) // 4 - 1, name))
    for place, (depth, name) in enumerate(drawn[1:], start=1):
        parent = next(other for d, other in reversed(drawn[:place]) if d == depth - 1)
        assert getattr(errors, name).__bases__ == (getattr(errors, parent),), name
    classes = {n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.SolidariteError)}
    assert {name for _, name in drawn} == classes
