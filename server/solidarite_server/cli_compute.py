"""`solidarite compute` and `solidarite cases convert`: the engine on a file of cases, without a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from solidarite_server.cases.loading import loading
from solidarite_server.cli_options import Reading

_READ = "jsonl[.gz]|arrow|parquet"


def register(app: typer.Typer) -> None:
    """Add the verbs on files of cases."""
    app.command("compute")(compute)
    cases = typer.Typer(help="Préparer des fichiers de cas pour `compute`.", no_args_is_help=True)
    cases.command("convert")(convert)
    app.add_typer(cases, name="cases")


def compute(
    input: Annotated[Path, typer.Option("--input", metavar=f"CAS.{_READ}", help="Un cas par ligne.")],
    output: Annotated[Path, typer.Option("--output", metavar=f"SORTIE.{_READ}|csv", help="Un résultat par ligne.")],
    options: Reading = "law",
    explain: Annotated[bool, typer.Option("--explain", help="Ajouter les étapes du calcul (JSON Lines).")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processus qui lisent le JSON ; un par cœur sans cela.")
    ] = None,
) -> int:
    """Calculer RSA et prime d'activité d'un fichier de cas, dans l'ordre, sans serveur.

    Un cas illisible donne une ligne « error » et un message (ligne, champ) ; les autres sont calculés. Code 1 alors.
    """
    with loading():
        from solidarite_server.cases.files import FileError, compute_file

    count = workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or 1
    try:
        refused = compute_file(input, output, options, count, _tell, explain=explain)
    except FileError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 2
    return _ended(refused, "les autres sont calculés")


def convert(
    input: Annotated[Path, typer.Option("--input", metavar="CAS.jsonl[.gz]", help="Un cas par ligne.")],
    output: Annotated[Path, typer.Option("--output", metavar="CAS.arrow|parquet", help="La table écrite.")],
) -> int:
    """Réécrire des cas JSON en table Arrow ou Parquet, que `compute` lit bien plus vite (schéma : docs/moteur.md)."""
    with loading():
        from solidarite_server.cases.files import FileError, convert_file

    try:
        refused = convert_file(input, output, _tell)
    except FileError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 2
    return _ended(refused, "les autres sont convertis")


def _tell(message: str) -> None:
    typer.echo(message, err=True)


def _ended(refused: int, others: str) -> int:
    if refused:
        typer.echo(f"{refused} cas refusés ; {others}.", err=True)
    return 1 if refused else 0
