"""`solidarite demo`: the whole path once, through a real server, checked against the sample's published truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import typer

_STOP_SECONDS = 30
SOURCE = "demonstration"
_MONTHS = ("2026-07", "2026-08", "2026-09", "2026-10")
# Four households: interpreting the rules is quicker than compiling them the first time, to the same cents.
# The sample's months stay what they are: its declarations can be filed whatever the day.
DEMO_ENVIRONMENT = {
    "NUMBA_DISABLE_JIT": "1",
    "SOLIDARITE_DECLARATION_CALENDAR": "LIBRE",
    "SOLIDARITE_LOG_CALLS": "none",  # the terminal is for what the demonstration says
}
_STAGES = (
    (
        "three_monthly_files_of_each_employer",
        "Trois mois de paie de chaque employeur",
        tuple(f"{employer}-2026-{month:02d}.dsn" for month in (7, 8, 9) for employer in ("etoile", "opale")),
    ),
    (
        "then_annule_et_remplace_of_august",
        "Puis une DSN annule et remplace d'août",
        ("etoile-2026-08-annule-et-remplace.dsn",),
    ),
    (
        "then_october_with_corrections",
        "Puis octobre, avec des corrections de juillet et septembre",
        ("etoile-2026-10-avec-corrections.dsn", "opale-2026-10-neant.dsn"),
    ),
)


def demo(
    web: Annotated[bool, typer.Option("--web", help="Ouvrir la page de référence sur ces foyers.")] = False,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HÔTE:PORT", help="Adresse de la page, avec --web.")
    ] = "127.0.0.1:8080",
) -> int:
    """Montrer le parcours entier : fichiers de paie, déclaration préremplie, droits expliqués."""
    from solidarite_client import SolidariteClient

    if web:
        from solidarite_server.cli_demo_web import demo_on_the_web

        return demo_on_the_web(listen)

    data = files("solidarite_server") / "demo_data"
    wrong: list[str] = []
    with (
        as_file(data) as folder,
        tempfile.TemporaryDirectory(prefix="solidarite-demo-") as scratch,
        running_server(Path(scratch)) as address,
        SolidariteClient(address) as client,
    ):
        typer.echo(f"Serveur de démonstration sur {address}, magasin temporaire.\n")
        wrong += _ingest(client, folder, Path(scratch))
        wrong += _declare(client, folder)
    if wrong:
        for line in wrong:
            typer.echo(f"Écart : {line}", err=True)
        return 1
    typer.echo("Tous les montants sont ceux attendus, au centime.\n")
    typer.echo(_NEXT)
    return 0


_NEXT = """Et maintenant :
  solidarite serve --listen 127.0.0.1:50051 --store sqlite:///solidarite.db    démarrer un serveur
  solidarite ingest --server 127.0.0.1:50051 FICHIER.dsn                       lui envoyer des fichiers de paie
  solidarite foyer put --server 127.0.0.1:50051 DOSSIER.json                   enregistrer un foyer
  solidarite prefill --server 127.0.0.1:50051 --allocataire N --month 2026-11  voir sa déclaration
  solidarite demo --web                                                        la page de référence, dans un navigateur
  solidarite --help                                                            tout le reste"""


@contextmanager
def running_server(scratch: Path) -> Iterator[str]:
    """A server process on a free loopback port with a store of its own; yields its address."""
    environment = {**os.environ, **DEMO_ENVIRONMENT}
    store = f"sqlite:///{scratch / 'demo.db'}"
    with server_process(["--listen", "127.0.0.1:0", "--store", store], environment) as addresses:
        yield addresses[0]


@contextmanager
def server_process(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[list[str]]:
    """`solidarite serve` as a process, stopped at the end; yields the addresses that it serves."""
    command = [sys.executable, "-m", "solidarite_client", "serve", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603 - our own
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if " sur " not in line:
                raise RuntimeError("le serveur de démonstration n'a pas démarré")
            yield line.split(" sur ")[1].split(" (")[0].split(" et ")
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def _ingest(client: Any, folder: Path, scratch: Path) -> list[str]:
    from solidarite_client.cli_common import console, euros, table

    truth = json.loads((folder / "dsn" / "truth.json").read_text("utf-8"))
    wrong = []
    for stage, title, names in _STAGES:
        records = 0
        for name in names:
            summary = client.ingest_file(folder / "dsn" / name, source_id=SOURCE, spool_directory=scratch / "envois")
            records += summary.records
            if summary.refused:
                wrong.append(f"{name} : {summary.refused} enregistrements refusés")
        shown = table(
            f"{title} ({_fichiers(len(names))}, {records} enregistrements)", "personne", *_MONTHS, amounts=_MONTHS
        )
        for person, expected in truth["stages"][stage].items():
            nir = truth["persons"][person]["nir13"]
            held = _held_months(client, nir)
            shown.add_row(person, *(euros(held.get(month, 0)) for month in _MONTHS))
            wrong += [
                f"{person}, {month} : {held.get(month, 0)} centimes, {expected[month]} attendus"
                for month in _MONTHS
                if held.get(month, 0) != expected[month]
            ]
        console().print(shown)
    return wrong


def _fichiers(count: int) -> str:
    return f"{count} fichier{'s' if count > 1 else ''}"


def _held_months(client: Any, nir: str) -> dict[str, int]:
    answer = client.list_resource_records(nir=nir)
    return {f"{m.mois.year}-{m.mois.month:02d}": m.montant_net_social_cents for m in answer}


def _declare(client: Any, folder: Path) -> list[str]:
    from solidarite_client.cli_declaration import print_declaration, print_entitlements
    from solidarite_client.cli_foyer import read_dossiers

    expected = json.loads((folder / "attendu.json").read_text("utf-8"))
    month = expected["mois_declaration"]
    wrong = []
    for dossier in read_dossiers(folder / "foyers.json"):
        number = dossier.numero_allocataire
        client.upsert_foyer(dossier)
        declaration = client.prefill_declaration(number, month)
        print_declaration(declaration)
        if expected["foyers"][number] is None:
            typer.echo("Rien n'est calculé avant la déclaration manuelle.\n")
            continue
        submitted = client.submit_declaration(number, month, etag=declaration.etag, explain=True)
        print_entitlements(submitted.entitlements)
        due = [benefit.montant_cents for benefit in submitted.entitlements[0].benefits]
        if due != list(expected["foyers"][number].values()):
            wrong.append(f"dossier {number} : {due} centimes, {expected['foyers'][number]} attendus")
    return wrong
