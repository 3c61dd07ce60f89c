"""The gRPC servers of a process: options, interceptors, health, reflection; one port, one event loop."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from solidarite_server.listening import AddressError, refuse_contradictory, refuse_unusable
from solidarite_server.rpc.identity import IdentityInterceptor
from solidarite_server.rpc.interceptors import CallInterceptor, CallRules
from solidarite_server.rpc.tls import TlsFiles
from solidarite_server.settings import Settings

MIB = 1 << 20
_IDENTITY_ONLY = 1
_LISTENERS = 4
"""grpcio asks a server for one call at a time, and its thread takes 0.15 ms or more to hand it over: in an overload
the next ones stay in gRPC's buffers meanwhile. Several servers on one port are asked side by side. Useful rate at three
times the peak, quiet machine: 0.72 and 0.88 of it with one, 0.82 and 0.99 with four; eight did no better.
"""


def _listeners(settings: Settings) -> int:
    # Only Linux shares the connections of a port between those who listen.
    addresses = (settings.listen, settings.listen_portals)
    shareable = sys.platform == "linux" and not any(address.startswith("unix:") for address in addresses)
    return _LISTENERS if shareable else 1


def server_options(settings: Settings) -> list[tuple[str, int]]:
    """Channel options. grpcio accepts a misspelt name in silence: tests prove each by its effect."""
    listeners = _listeners(settings)
    return [
        ("grpc.max_receive_message_length", settings.message_mib * MIB),
        ("grpc.max_concurrent_streams", settings.streams_per_connection),
        ("grpc.max_allowed_incoming_connections", -(-settings.connections // listeners)),
        ("grpc.max_metadata_size", settings.metadata_kib << 10),
        ("grpc.absolute_max_metadata_size", settings.metadata_kib << 10),
        ("grpc.max_connection_idle_ms", settings.idle_seconds * 1000),
        ("grpc.server_handshake_timeout_ms", settings.handshake_seconds * 1000),
        ("grpc.keepalive_time_ms", settings.keepalive_seconds * 1000),
        ("grpc.keepalive_timeout_ms", settings.keepalive_timeout_seconds * 1000),
        # Any ping left without an answer counts, also those by which gRPC measures the line: while one is out, it sends
        # no keepalive.
        ("grpc.http2.ping_timeout_ms", settings.keepalive_timeout_seconds * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", settings.ping_interval_seconds * 1000),
        ("grpc.http2.max_ping_strikes", settings.ping_strikes),
        ("grpc.so_reuseport", int(settings.share_port or listeners > 1)),
        # A compressed megabyte can be a gigabyte, which grpc unpacks whole before it compares it with the limit.
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
    ]


def new_servers(settings: Settings, rules: CallRules, identities: IdentityInterceptor) -> list[grpc.aio.Server]:
    """Servers with our limits and interceptors, errors outermost; servicers and ports come next, the same for all."""
    interceptors = [CallInterceptor(rules), identities]
    return [
        grpc.aio.server(
            interceptors=interceptors,
            options=server_options(settings),
            maximum_concurrent_rpcs=2 * settings.concurrent_calls,
        )
        for _ in range(_listeners(settings))
    ]


def add_health(servers: Sequence[grpc.aio.Server]) -> health.aio.HealthServicer:
    """Serve grpc.health.v1: the whole server under "", and each service by its name."""
    servicer = health.aio.HealthServicer()
    for server in servers:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer


async def announce(servicer: health.aio.HealthServicer, services: Sequence[str], *, serving: bool) -> None:
    """Announce all services as serving, or not."""
    answer = health_pb2.HealthCheckResponse
    for name in ("", *services):
        await servicer.set(name, answer.SERVING if serving else answer.NOT_SERVING)


def add_reflection(servers: Sequence[grpc.aio.Server], services: Sequence[str]) -> None:
    """Let grpcurl and the like discover the contract."""
    for server in servers:
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


def refuse_unsafe(settings: Settings) -> None:
    """Raise AddressError for addresses that are taken, or that the settings leave open: before anything is opened.

    TlsError for a certificate and a key that do not fit together.
    """
    refuse_contradictory(settings)
    certificate, key, client_ca = settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
    if certificate is not None and key is not None:
        TlsFiles(certificate, key, client_ca)
    refuse_unusable(settings.listen, "--listen, ou listen dans les réglages", shared=settings.share_port)
    refuse_unusable(settings.listen_portals, "listen_portals", shared=settings.share_port)
    refuse_unusable(settings.metrics_listen, "metrics_listen")
    refuse_unusable(settings.gateway_listen, "gateway_listen")


def add_ports(servers: Sequence[grpc.aio.Server], settings: Settings) -> list[str]:
    """Listen where the settings say, with TLS when they give a certificate; the addresses, with their ports.

    `refuse_unsafe` comes first. Raises AddressError, or TlsError for files that do not fit together.
    """
    certificate, key, client_ca = settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
    if certificate is None or key is None:
        return [_listen(servers, settings.listen, None)]
    addresses = [_listen(servers, settings.listen, TlsFiles(certificate, key, client_ca))]
    if settings.listen_portals:
        addresses.append(_listen(servers, settings.listen_portals, TlsFiles(certificate, key)))
    return addresses


def _listen(servers: Sequence[grpc.aio.Server], address: str, files: TlsFiles | None) -> str:
    bound = address
    for server in servers:
        try:
            if files is None:
                port = server.add_insecure_port(bound)
            else:
                port = server.add_secure_port(bound, files.credentials())
        except RuntimeError:
            port = 0
        if not port:
            raise AddressError(f"L'adresse {address} ne peut pas être écoutée : elle est mal écrite ou déjà prise.")
        if not address.startswith("unix:"):
            bound = f"{address.rpartition(':')[0]}:{port}"  # where 0 stood for a free one
    return bound
