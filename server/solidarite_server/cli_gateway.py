"""`solidarite gateway`: open the service to browsers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from solidarite_server.gateway import GatewaySettings


_OPTIONS = {
    "origins": "--origin",
    "tls_certificate_file": "--tls-cert",
    "tls_key_file": "--tls-key",
    "server_ca_file": "--server-ca",
    "client_certificate_file": "--server-cert",
    "client_key_file": "--server-key",
}


def gateway(
    listen: Annotated[str, typer.Option("--listen", metavar="HÔTE:PORT", help="Adresse écoutée.")] = "127.0.0.1:8080",
    server: Annotated[
        str,
        typer.Option("--server", metavar="HÔTE:PORT", help="Serveur gRPC derrière."),
    ] = "127.0.0.1:50051",
    origin: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="URL", help="Origine d'un autre site qui peut appeler ; répétable."),
    ] = None,
    page: Annotated[bool, typer.Option("--page", help="Servir aussi la page de référence.")] = False,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificat montré aux navigateurs (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Sa clé privée (PEM).")] = None,
    server_ca: Annotated[
        Path | None, typer.Option("--server-ca", help="Autorités du serveur (PEM) ; active TLS vers lui.")
    ] = None,
    server_cert: Annotated[
        Path | None, typer.Option("--server-cert", help="Certificat de la passerelle montré au serveur (PEM).")
    ] = None,
    server_key: Annotated[Path | None, typer.Option("--server-key", help="Sa clé privée (PEM).")] = None,
    allow_plaintext: Annotated[
        bool, typer.Option("--allow-plaintext", help="Parler sans TLS au-delà de la machine, si le réseau chiffre.")
    ] = False,
) -> int:
    """Ouvrir le service aux navigateurs : gRPC-Web, JSON et CORS, par Envoy."""
    from pydantic import ValidationError

    from solidarite_server.gateway import GatewaySettings

    try:
        settings = GatewaySettings(
            listen=listen,
            server=server,
            origins=tuple(origin or ()),
            page=page,
            tls_certificate_file=tls_cert,
            tls_key_file=tls_key,
            server_ca_file=server_ca,
            client_certificate_file=server_cert,
            client_key_file=server_key,
            allow_plaintext=allow_plaintext,
        )
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            name = str(problem["loc"][0]) if problem["loc"] else ""
            where = f"{_OPTIONS.get(name, f'--{name}')} : " if name else ""
            typer.echo(f"Erreur : {where}{problem['msg'].removeprefix('Value error, ')}", err=True)
        return 2
    return run_gateway(settings, "Passerelle prête sur {url}")


def run_gateway(
    settings: GatewaySettings,
    ready: str,
    documents: Mapping[str, Any] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> int:
    """Run until SIGTERM or Ctrl-C; `ready` is said with its {url}, `meanwhile` is called several times a second."""
    from solidarite_server.gateway import GatewayError, running_gateway

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with running_gateway(settings, documents) as running:
            typer.echo(ready.format(url=running.url))
            while not stop.wait(0.2):
                if running.process.poll() is not None:
                    typer.echo("Erreur : Envoy s'est arrêté de lui-même.", err=True)
                    return 1
                if meanwhile is not None:
                    meanwhile()
    except GatewayError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    return 0
