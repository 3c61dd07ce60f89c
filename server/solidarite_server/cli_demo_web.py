"""`solidarite demo --web`: server, gateway and page with the sample's households, each caller with its identity."""

from __future__ import annotations

import os
import select
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from solidarite_server.cli_demo import DEMO_ENVIRONMENT, SOURCE, server_process

if TYPE_CHECKING:
    from solidarite.v1 import foyer_pb2

LATE_FILES = ("etoile-2026-10-avec-corrections.dsn", "opale-2026-10-neant.dsn")
"""October, with corrections of July and September: what arrives while somebody looks."""
_MONTH = "2026-11"
_SECONDS = 8 * 3600
_AGENT_SCOPES = ("foyers.write", "foyers.read", "benefit.rsa", "benefit.prime_activite")
_PORTAL_SCOPES = (
    "foyers.read", "declarations.read", "declarations.write", "entitlements.read", "entitlements.compute",
    "benefit.rsa", "benefit.prime_activite",
)  # fmt: skip


@dataclass(frozen=True)
class DemoService:
    """A server with TLS: sources present a certificate, portals and agents a token."""

    sources: str
    """Address of the sources."""
    portals: str
    """Address of portals and agents: the gateway's."""
    authority: Path
    """Directory of the development authority."""
    data: Path
    """Directory of the sample."""
    dossiers: list[foyer_pb2.Foyer]

    @property
    def ca_file(self) -> Path:
        return self.authority / "authority.pem"

    def token(self, number: str) -> str:
        """The token of a portal that acts for one household."""
        return _token(self.authority, "portail", _PORTAL_SCOPES, number)

    def examples(self) -> dict[str, Any]:
        """What the page offers: each household with its members and its token."""
        return {
            "mois_declaration": _MONTH,
            "foyers": [
                {
                    "numero_allocataire": dossier.numero_allocataire,
                    "membres": ", ".join(membre.personne for membre in dossier.membres),
                    "jeton": self.token(dossier.numero_allocataire),
                }
                for dossier in self.dossiers
            ],
        }

    def send(self, *names: str) -> None:
        """Send payroll files of the sample, as their source."""
        from solidarite_client import ClientSettings, SolidariteClient, Tls

        key = self.authority / "sources" / f"{SOURCE}.key"
        tls = Tls(root_certificates=self.ca_file, certificate_chain=key.with_suffix(".pem"), private_key=key)
        with SolidariteClient(self.sources, ClientSettings(tls=tls)) as client:
            for name in names:
                client.ingest_file(
                    self.data / "dsn" / name, source_id=SOURCE, spool_directory=self.authority.parent / "envois"
                )


@contextmanager
def demo_service(scratch: Path) -> Iterator[DemoService]:
    """The sample's households on a server process, with all the payroll files but the late ones."""
    from pydantic import SecretStr
    from solidarite_client import ClientSettings, SolidariteClient, Tls
    from solidarite_client.cli_foyer import read_dossiers

    from solidarite_server import authority

    directory = scratch / "autorite"
    authority.create(directory, ["localhost", "127.0.0.1"], scratch / "demo.db")
    authority.certify_source(directory, SOURCE, 1)
    environment = {**os.environ, **DEMO_ENVIRONMENT, "SOLIDARITE_LISTEN_PORTALS": "127.0.0.1:0"}
    arguments = ["--config", str(directory / authority.SETTINGS), "--listen", "127.0.0.1:0"]
    with (
        as_file(files("solidarite_server") / "demo_data") as data,
        server_process(arguments, environment) as (sources, portals),
    ):
        service = DemoService(sources, portals, directory, data, read_dossiers(data / "foyers.json"))
        service.send(*sorted(path.name for path in (data / "dsn").glob("*.dsn") if path.name not in LATE_FILES))
        agent = ClientSettings(
            tls=Tls(root_certificates=service.ca_file), token=SecretStr(_token(directory, "agent", _AGENT_SCOPES, None))
        )
        with SolidariteClient(portals, agent) as client:
            for dossier in service.dossiers:
                client.upsert_foyer(dossier)
        yield service


def demo_on_the_web(listen: str) -> int:
    """Run all of it until Ctrl-C; Enter sends the late correction."""
    from solidarite_server.cli_gateway import run_gateway
    from solidarite_server.gateway import GatewaySettings, page_files

    if not page_files():
        typer.echo("Erreur : la page n'est pas construite (npm ci puis npm run build dans client/web).", err=True)
        return 1
    with tempfile.TemporaryDirectory(prefix="solidarite-demo-") as scratch, demo_service(Path(scratch)) as service:
        settings = GatewaySettings(listen=listen, server=service.portals, server_ca_file=service.ca_file, page=True)
        numbers = ", ".join(dossier.numero_allocataire for dossier in service.dossiers)
        return run_gateway(
            settings,
            f"La page de référence : {{url}}\n"
            f"Foyers d'exemple : {numbers} ; leurs jetons sont proposés sur la page (valables 8 heures).\n"
            f"{_PRESS_ENTER if sys.stdin.isatty() else ''}"
            "Ctrl-C arrête tout ; rien n'est conservé.",
            {"/exemples.json": service.examples()},
            _LateCorrection(service),
        )


_PRESS_ENTER = "Entrée : un payeur corrige juillet et septembre, pendant que la page est ouverte.\n"


class _LateCorrection:
    """Sends the late files the first time that Enter is pressed."""

    def __init__(self, service: DemoService) -> None:
        self._service = service
        self._waiting = sys.stdin.isatty()

    def __call__(self) -> None:
        if not self._waiting or not select.select([sys.stdin], [], [], 0)[0]:
            return
        self._waiting = False
        self._service.send(*LATE_FILES)
        typer.echo("Correction tardive envoyée : la page l'annonce.")


def _token(directory: Path, kind: str, scopes: tuple[str, ...], dossier: str | None) -> str:
    from solidarite_server import authority

    return authority.make_token(
        directory, kind=kind, subject="demonstration", scopes=scopes, dossier=dossier, purpose="", seconds=_SECONDS
    )
