"""What the gateway says by itself, when no answer of the server came: in the form of the server's errors."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from google.protobuf import any_pb2, duration_pb2, json_format
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

_DOMAIN = "solidarite.v1"


@dataclass(frozen=True)
class _Reply:
    """What the gateway says by itself for some HTTP statuses, in the form of the server's errors."""

    http_statuses: tuple[int, ...]
    code: int
    reason: str
    message: str

    def status(self) -> status_pb2.Status:
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=_DOMAIN),
            error_details_pb2.LocalizedMessage(locale="fr", message=self.message),
        ]
        if self.code == code_pb2.UNAVAILABLE:
            details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1)))
        packed = [any_pb2.Any() for _ in details]
        for box, detail in zip(packed, details, strict=True):
            box.Pack(detail)
        return status_pb2.Status(code=self.code, message=self.message, details=packed)


_UNREACHABLE = _Reply(
    (502, 503, 504),
    code_pb2.UNAVAILABLE,
    "SERVER_UNREACHABLE",
    "Le service ne répond pas pour le moment : réessayez dans un instant.",
)
_TOO_LARGE = _Reply((413,), code_pb2.INVALID_ARGUMENT, "UNDECODABLE_REQUEST", "La demande est trop grande.")
_TOO_SLOW = _Reply((408,), code_pb2.DEADLINE_EXCEEDED, "TIME_LIMIT", "La demande n'est pas arrivée en entier à temps.")
_JSON_REPLIES = (
    _TOO_SLOW,
    _Reply(
        (400, 415, 422),
        code_pb2.INVALID_ARGUMENT,
        "UNDECODABLE_REQUEST",
        "La demande n'est pas le JSON attendu de cette opération : vérifiez les noms et les formes des champs "
        "dans la référence du contrat.",
    ),
    _TOO_LARGE,
    _Reply(
        (404, 405),
        code_pb2.NOT_FOUND,
        "NOT_FOUND",
        "Rien ne répond à cette adresse : vérifiez la méthode et le chemin dans la référence du contrat.",
    ),
    _UNREACHABLE,
)
_GRPC_REPLIES = (
    _TOO_SLOW,
    _TOO_LARGE,
    _Reply((404,), code_pb2.UNIMPLEMENTED, "NOT_IMPLEMENTED", "La passerelle ne donne pas accès à cette opération."),
    _UNREACHABLE,
)


def local_replies() -> dict[str, Any]:
    # Envoy's own words are replaced: they are English, and may repeat what was sent.
    is_json = _header_filter("x-envoy-original-path", present_match=True)  # added when JSON was recognised
    is_grpc_web = _header_filter("x-grpc-web", present_match=True)
    is_grpc = _header_filter("content-type", string_match={"prefix": "application/grpc"})
    json_replies = [(http_status, reply) for reply in _JSON_REPLIES for http_status in reply.http_statuses]
    grpc_replies = [(http_status, reply) for reply in _GRPC_REPLIES for http_status in reply.http_statuses]
    mappers = [
        *({"filter": _both(_http_status_is(number), is_json), **_as_json(reply)} for number, reply in json_replies),
        *(
            {"filter": _both(_http_status_is(number), is_grpc_web), **_as_grpc_web(reply)}
            for number, reply in grpc_replies
        ),
        *({"filter": _both(_http_status_is(number), is_grpc), **_as_grpc(reply)} for number, reply in grpc_replies),
        *({"filter": _http_status_is(number), **_as_json(reply)} for number, reply in json_replies),
    ]
    return {"mappers": mappers}


def _both(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": list(filters)}}


def _http_status_is(number: int) -> dict[str, Any]:
    value = {"default_value": number, "runtime_key": "none"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _header_filter(name: str, **match: Any) -> dict[str, Any]:
    return {"header_filter": {"header": {"name": name, **match}}}


def _details_header(reply: _Reply) -> str:
    return base64.b64encode(reply.status().SerializeToString()).decode().rstrip("=")


def _as_grpc(reply: _Reply) -> dict[str, Any]:
    # Envoy takes the text for grpc-message, and derives grpc-status from the HTTP status.
    return {
        "body_format_override": {"text_format_source": {"inline_string": reply.message}},
        "headers_to_add": headers({"grpc-status-details-bin": _details_header(reply)}),
    }


def _as_grpc_web(reply: _Reply) -> dict[str, Any]:
    # Clients read the details of an error only under HTTP 200, as gRPC-Web wants.
    return {
        "status_code": 200,
        "body_format_override": {"text_format_source": {"inline_string": ""}},
        "headers_to_add": headers(
            {
                "grpc-status": str(reply.code),
                "grpc-message": quote(reply.message).replace("%", "%%"),
                "grpc-status-details-bin": _details_header(reply),
            }
        ),
    }


def _as_json(reply: _Reply) -> dict[str, Any]:
    value = json_format.MessageToDict(reply.status(), preserving_proto_field_name=True)
    body = json.dumps(value, ensure_ascii=False).replace("%", "%%")
    return {
        "body_format_override": {
            "text_format_source": {"inline_string": body},
            "content_type": "application/json; charset=utf-8",
        },
    }


def headers(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in values.items()
    ]
