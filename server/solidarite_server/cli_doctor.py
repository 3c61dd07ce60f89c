"""`solidarite doctor` and `solidarite store restore`: what an operator does before, and after, something goes wrong."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from solidarite_server.cli_config import ConfigFile
from solidarite_server.cli_options import Json, echo_json
from solidarite_server.cli_store import KeyFile, Purpose, trace_act
from solidarite_server.configuration import ConfigurationError, load_settings


def register(app: typer.Typer, store: typer.Typer) -> None:
    """Add the verbs."""
    app.command("doctor")(doctor)
    store.command("restore")(restore)


def doctor(
    config: ConfigFile = None,
    store: Annotated[str | None, typer.Option("--store", metavar="URL", help="Un autre magasin.")] = None,
    complete: Annotated[bool, typer.Option("--complete", help="Relire aussi tout le magasin.")] = False,
    json: Json = False,
) -> int:
    """Examiner l'installation sans rien changer : réglages, clés, TLS, adresses, disque, magasin, horloge, versions."""
    from solidarite_server.doctor import Finding, examine

    try:
        settings = load_settings({"store": store}, config)
    except ConfigurationError as error:
        findings = [Finding("réglages", "erreur", str(error), "Corrigez-les : solidarite config --explain.")]
    else:
        findings = [Finding("réglages", "ok", "lus"), *examine(settings, complete=complete)]
    if json:
        echo_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<10} {finding.name} : {finding.found}")
            if finding.advice:
                typer.echo(f"{'':<10} → {finding.advice}")
    return 1 if any(finding.state == "erreur" for finding in findings) else 0


def restore(
    copy: Annotated[Path, typer.Argument(metavar="FICHIER", help="Copie faite par « store backup ».")],
    store: Annotated[str | None, typer.Option("--store", metavar="URL", help="Magasin à rétablir.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Mettre de côté le magasin qui est là (NOM.avant) et prendre sa place.")
    ] = False,
    key_file: KeyFile = None,
    purpose: Purpose = "rétablissement",
) -> int:
    """Rétablir une copie, serveur arrêté. Elle est vérifiée avant ; la clé des pseudonymes doit être celle d'alors."""
    from solidarite_server.services import keyring
    from solidarite_server.storage import is_postgres, key_file_of, sqlite_path
    from solidarite_server.storage.restore import RestoreError, restored

    try:
        url = load_settings({"store": store}).store
        if is_postgres(url):
            raise RestoreError("Un PostgreSQL se rétablit avec ses propres outils (pg_restore).")
        # Before anything is moved: without its keys, the store could not say who put it there.
        path = key_file_of(url, key_file)
        if not path.exists():
            raise RestoreError(f"Le fichier de clés {path.name} n'existe pas (--key-file).")
        keyring.load(path)
        if not sqlite_path(url).parent.is_dir():
            raise RestoreError(f"Le répertoire de {sqlite_path(url).name} n'existe pas.")
        aside = restored(copy, sqlite_path(url), replace=replace)
    except (ConfigurationError, RestoreError, ValueError) as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    trace_act(url, key_file, "RESTORE_STORE", purpose)
    kept = f" (celui d'avant : {aside.name})" if aside else ""
    typer.echo(f"Magasin rétabli : {sqlite_path(url).name}{kept}")
    return 0
