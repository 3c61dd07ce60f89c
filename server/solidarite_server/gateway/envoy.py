"""The configuration of Envoy, as JSON values."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.rpc import error_details_pb2
from solidarite.v1 import declaration_pb2, entitlement_pb2, foyer_pb2

from solidarite_server.gateway.replies import headers, local_replies
from solidarite_server.gateway.settings import GatewaySettings

_MIB = 1 << 20
_MODULES = (foyer_pb2, declaration_pb2, entitlement_pb2)

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
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json; charset=utf-8",
}
_ENVOY = "type.googleapis.com/envoy"


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
            "http2_protocol_options": {"max_concurrent_streams": 100},
            # Nobody holds a connection by sending slowly.
            "request_headers_timeout": f"{settings.request_seconds}s",
            "request_timeout": f"{settings.request_seconds}s",
            "local_reply_config": local_replies(),
            "route_config": {
                "validate_clusters": False,
                "max_direct_response_body_size_bytes": 4 * _MIB,
                "virtual_hosts": [
                    {
                        "name": "everything",
                        "domains": ["*"],
                        "routes": [*_call_routes(), *_page_routes(pages, documents), _EVERYTHING_ELSE],
                        "typed_per_filter_config": {"envoy.filters.http.cors": _cors(settings)},
                        "response_headers_to_add": headers(
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
        "request_validation_options": {"reject_unknown_query_parameters": True},
        "max_response_body_size": settings.response_mib * _MIB,
    }


def _call_routes() -> list[dict[str, Any]]:
    # Once transcoded, a JSON call has the path of its RPC: these routes serve gRPC, gRPC-Web and JSON alike.
    no_store = headers({"cache-control": "no-store"})
    return [
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


def _page_routes(pages: Mapping[str, bytes], documents: Mapping[str, Any]) -> list[dict[str, Any]]:
    served = {**pages, **{path: json.dumps(value).encode() for path, value in documents.items()}}
    return [
        {
            "match": {"path": path},
            "direct_response": {"status": 200, "body": {"inline_bytes": base64.b64encode(content).decode()}},
            "response_headers_to_add": headers(
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


# What is not an RPC of the front-ends, preflights, and JSON calls before they are transcoded. Not a direct response:
# the CORS filter looks only at routes that lead somewhere.
_EVERYTHING_ELSE = {
    "match": {"prefix": "/"},
    "route": {"cluster": "nowhere", "cluster_not_found_response_code": "NOT_FOUND"},
}


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
