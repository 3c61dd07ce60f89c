"""`solidarite gateway` and `solidarite demo --web`: what front-end teams start."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import typer

_LATE_FILES = ("etoile-2026-10-avec-corrections.dsn", "opale-2026-10-neant.dsn")
_MONTH = "2026-11"


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

    given: dict[str, Any] = {
        "listen": listen,
        "server": server,
        "origins": tuple(origin) if origin else None,
        "page": page or None,
        "tls_certificate_file": tls_cert,
        "tls_key_file": tls_key,
        "server_ca_file": server_ca,
        "client_certificate_file": server_cert,
        "client_key_file": server_key,
        "allow_plaintext": allow_plaintext or None,
    }
    try:
        settings = GatewaySettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            where = ".".join(map(str, problem["loc"])) or "réglages"
            typer.echo(f"Erreur : {where} : {problem['msg'].removeprefix('Value error, ')}", err=True)
        return 2
    return _run(settings, "Passerelle prête sur {url}")


def demo_on_the_web(listen: str) -> int:
    """Server, gateway and page with the sample's households, until Ctrl-C."""
    from solidarite_server.cli_demo import SOURCE, running_server
    from solidarite_server.gateway import GatewaySettings

    with (
        as_file(files("solidarite_server") / "demo_data") as folder,
        tempfile.TemporaryDirectory(prefix="solidarite-demo-") as scratch,
        running_server(Path(scratch)) as address,
    ):
        numbers = load_samples(address, folder, Path(scratch))
        late = " ".join(str(folder / "dsn" / name) for name in _LATE_FILES)
        return _run(
            GatewaySettings(listen=listen, server=address, page=True),
            "La page de référence est prête : {url}\n"
            f"Foyers d'exemple : {', '.join(numbers)}, déclaration de {_MONTH}. Serveur gRPC : {address}.\n\n"
            "Pour voir arriver une correction tardive pendant que la page est ouverte :\n"
            f"  solidarite ingest --server {address} --source {SOURCE} {late}\n\n"
            "Ctrl-C arrête tout ; rien n'est conservé.",
            {"/exemples.json": {"foyers": numbers, "mois_declaration": _MONTH}},
        )


def load_samples(address: str, folder: Path, scratch: Path) -> list[str]:
    """Send the sample's households and its payroll files but the late ones; the numbers of the households."""
    from solidarite_client import SolidariteClient
    from solidarite_client.cli_foyer import read_dossiers

    from solidarite_server.cli_demo import SOURCE

    with SolidariteClient(address) as client:
        for path in sorted((folder / "dsn").glob("*.dsn")):
            if path.name not in _LATE_FILES:
                client.ingest_file(path, source_id=SOURCE, spool_directory=scratch / "envois")
        dossiers = read_dossiers(folder / "foyers.json")
        for dossier in dossiers:
            client.upsert_foyer(dossier)
    return [dossier.numero_allocataire for dossier in dossiers]


def _run(settings: Any, ready: str, documents: Mapping[str, Any] | None = None) -> int:
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
    except GatewayError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    return 0
