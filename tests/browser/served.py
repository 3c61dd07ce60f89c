"""The sample households behind a real server and a real gateway, each a process of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from solidarite_server.cli_demo import running_server
from solidarite_server.cli_gateway import load_samples
from solidarite_server.gateway import GatewaySettings, running_gateway

DEMO_DATA = Path(__file__).parents[2] / "server" / "solidarite_server" / "demo_data"


@dataclass(frozen=True)
class Served:
    """Where to reach them."""

    server: str
    """`host:port` of the gRPC server."""
    gateway: str
    """URL of the gateway."""


@contextmanager
def served(scratch: Path, documents: Mapping[str, Any] | None = None, **settings: Any) -> Iterator[Served]:
    with (
        as_file(files("solidarite_server") / "demo_data") as folder,
        running_server(scratch) as address,
        running_gateway(GatewaySettings(listen="127.0.0.1:0", server=address, **settings), documents) as gateway,
    ):
        load_samples(address, folder, scratch)
        yield Served(address, gateway.url)
