"""`solidarite config`: the settings as the server would take them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from solidarite_server.cli_options import Json, echo_json
from solidarite_server.configuration import ConfigurationError, explain, load_settings

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FICHIER", help="Fichier de réglages (TOML) ; sinon SOLIDARITE_CONFIG."),
]


def config(
    config: ConfigFile = None,
    explain_all: Annotated[
        bool, typer.Option("--explain", help="Montrer aussi les valeurs par défaut et à quoi sert chaque réglage.")
    ] = False,
    json: Json = False,
) -> int:
    """Vérifier les réglages et montrer d'où vient chacun ; les secrets sont masqués."""
    try:
        rows = explain(load_settings(config=config))
    except ConfigurationError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 2
    shown = [row for row in rows if explain_all or row.origin != "défaut"]
    if json:
        echo_json([asdict(row) for row in shown])
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Réglages", title_justify="left", title_style="bold")
    table.add_column("réglage", no_wrap=True)
    table.add_column("valeur", overflow="fold")
    table.add_column("origine", no_wrap=True)
    if explain_all:
        table.add_column("à quoi il sert")
    for row in shown:
        table.add_row(row.name, row.value, row.origin, *([row.documentation] if explain_all else []))
    console = Console(highlight=False, markup=False)
    if shown:
        console.print(table)
    else:
        typer.echo("Tous les réglages ont leur valeur par défaut (solidarite config --explain les montre).")
    return 0
