"""The demonstration as front-ends meet it: a server with identities behind a gateway, each a process of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solidarite_server.cli_demo_web import DemoService, demo_service
from solidarite_server.gateway import GatewaySettings, running_gateway


@dataclass(frozen=True)
class Served:
    """What is running."""

    service: DemoService
    gateway: str
    """URL of the gateway."""

    def bearer(self, number: str) -> dict[str, str]:
        """The header of a portal that acts for one household."""
        return {"authorization": f"Bearer {self.service.token(number)}"}


@contextmanager
def served(scratch: Path, documents: Mapping[str, Any] | None = None, **settings: Any) -> Iterator[Served]:
    with demo_service(scratch) as service:
        chosen = GatewaySettings(
            listen="127.0.0.1:0", server=service.portals, server_ca_file=service.ca_file, **settings
        )
        with running_gateway(chosen, documents or {"/exemples.json": service.examples()}) as gateway:
            yield Served(service, gateway.url)
