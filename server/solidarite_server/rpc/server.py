"""The gRPC server: options, interceptors, health, reflection; one event loop a process."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from solidarite_server.rpc.interceptors import ErrorInterceptor

MIB = 1 << 20


@dataclass(frozen=True)
class ServerLimits:
    """What one peer may ask of a server process."""

    message_mib: int = 8
    """Largest message received, in MiB: a batch of 2,000 records needs less than one."""
    streams_per_connection: int = 256
    """Calls open at once on one connection; more wait."""
    concurrent_calls: int = 2_000
    """Calls open at once in the process; more are refused with RESOURCE_EXHAUSTED."""
    idle_seconds: int = 600
    """A connection without any call is closed after that."""
    handshake_seconds: int = 10
    """A peer that has not said who it is by then is disconnected."""

    share_port: bool = False
    """Let several processes listen on one port; otherwise a port already taken is refused."""

    def options(self) -> list[tuple[str, int]]:
        """Channel options. grpcio accepts a misspelt name in silence: tests prove each by its effect."""
        return [
            ("grpc.max_receive_message_length", self.message_mib * MIB),
            ("grpc.max_concurrent_streams", self.streams_per_connection),
            ("grpc.max_connection_idle_ms", self.idle_seconds * 1000),
            ("grpc.server_handshake_timeout_ms", self.handshake_seconds * 1000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.so_reuseport", int(self.share_port)),
        ]


def is_loopback(address: str) -> bool:
    """Whether `host:port` can be reached from this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return address.startswith("unix:")


def new_server(limits: ServerLimits) -> grpc.aio.Server:
    """A server with our limits and the outermost interceptor; servicers and ports come next."""
    return grpc.aio.server(
        interceptors=[ErrorInterceptor()],
        options=limits.options(),
        maximum_concurrent_rpcs=limits.concurrent_calls,
    )


def add_health(server: grpc.aio.Server) -> health.aio.HealthServicer:
    """Serve grpc.health.v1: the whole server under "", and each service by its name."""
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer


async def set_serving(servicer: health.aio.HealthServicer, services: Sequence[str], *, serving: bool) -> None:
    """Announce all services as serving or not."""
    status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    for name in ("", *services):
        await servicer.set(name, status)


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let grpcurl and the like discover the contract."""
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
