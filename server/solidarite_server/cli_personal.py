"""`solidarite person`, `retention` and `pseudonyms`: rights of persons, time limits, renewal of the keys."""

from __future__ import annotations

import json as json_module
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from solidarite_server.cli_store import KeyFile, Purpose, StoreUrl, ask_nir, opened_store, operator

_SHOWN_SECONDS = 2.0


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    person = typer.Typer(help="Exporter ou effacer ce qui est détenu sur une personne.", no_args_is_help=True)
    person.command("export")(export)
    person.command("erase")(erase)
    app.add_typer(person, name="person")
    retention = typer.Typer(help="Appliquer les durées de conservation.", no_args_is_help=True)
    retention.command("apply")(apply)
    app.add_typer(retention, name="retention")
    pseudonyms = typer.Typer(help="Renouveler les clés des pseudonymes.", no_args_is_help=True)
    pseudonyms.command("rotate")(rotate)
    pseudonyms.command("forget")(forget)
    app.add_typer(pseudonyms, name="pseudonyms")


def export(
    output: Annotated[Path, typer.Argument(metavar="FICHIER", help="Fichier JSON à créer, lisible par vous seul.")],
    store: StoreUrl = "sqlite:///solidarite.db",
    key_file: KeyFile = None,
    purpose: Purpose = "droit d'accès",
) -> int:
    """Écrire tout ce qui est détenu sur une personne ; son NIR est demandé sans s'afficher."""
    from solidarite_server.authority import write_private
    from solidarite_server.services.personal import export_person

    if output.exists():
        typer.echo(f"Erreur : {output.name} existe déjà.", err=True)
        return 1
    nir = ask_nir()
    with opened_store(store, key_file) as opened:
        trace = opened.trace(nir)
        opened.trace_act("EXPORT_PERSON", purpose, trace)
        found = export_person(opened.store, opened.person(nir), trace)
    try:
        write_private(output, json_module.dumps(found, ensure_ascii=False, indent=2).encode())
    except OSError:
        typer.echo(f"Erreur : {output.name} ne peut pas être écrit.", err=True)
        return 1
    typer.echo(f"{len(found['ressources'])} enregistrements et {len(found['dossiers'])} dossiers écrits : {output}")
    return 0


def erase(
    store: StoreUrl = "sqlite:///solidarite.db",
    key_file: KeyFile = None,
    purpose: Purpose = "droit à l'effacement",
    yes: Annotated[bool, typer.Option("--yes", help="Ne pas demander de confirmation.")] = False,
) -> int:
    """Effacer ce qui est détenu sur une personne, sans retour ; son NIR est demandé sans s'afficher."""
    from solidarite_server.ports import AuditLine
    from solidarite_server.services.personal import erase_person

    nir = ask_nir()
    if not yes:
        typer.confirm("Effacer sans retour ce qui est détenu sur cette personne ?", abort=True)
    with opened_store(store, key_file) as opened:
        line = AuditLine(operator(), "ERASE_PERSON", opened.trace(nir), purpose)
        done = erase_person(opened.store, opened.person(nir), line)
    typer.echo(f"{done.records} enregistrements effacés.")
    if done.dossiers:
        typer.echo(f"Dossiers effacés en entier : {', '.join(done.dossiers)}.")
    if done.unlinked:
        typer.echo(f"Dossiers gardés pour les autres membres, sans lien avec la personne : {', '.join(done.unlinked)}.")
    typer.echo("Les sauvegardes la contiennent encore : rejouez l'effacement après toute restauration.")
    return 0


def apply(
    store: StoreUrl = "sqlite:///solidarite.db",
    key_file: KeyFile = None,
    records_months: Annotated[
        int, typer.Option("--records-months", min=3, help="Enregistrements : mois après le versement.")
    ] = 36,
    declarations_months: Annotated[
        int,
        typer.Option("--declarations-months", min=24, help="Déclarations, dossiers : mois après le dernier acte."),
    ] = 36,
    audit_months: Annotated[
        int, typer.Option("--audit-months", min=6, max=36, help="Trace d'audit : mois après l'accès.")
    ] = 12,
    today: Annotated[str, typer.Option("--today", metavar="AAAA-MM-JJ", help="Jour de référence ; aujourd'hui.")] = "",
) -> int:
    """Effacer ce dont la durée de conservation est passée, au jour près."""
    from solidarite_server.services.calendar import day_of
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.services.personal import Retention, apply_retention

    now = day_of(SystemClock().now_us())
    try:
        day = date.fromisoformat(today) if today else now
    except ValueError:
        raise typer.BadParameter("--today attend un jour écrit AAAA-MM-JJ") from None
    if day > now:
        raise typer.BadParameter("--today ne peut pas être dans l'avenir : il effacerait trop")
    with opened_store(store, key_file) as opened:
        retention = Retention(records_months, declarations_months, audit_months)
        done = apply_retention(opened.store, retention, day, operator())
    for what, count in done.items():
        typer.echo(f"{count} {what}")
    return 0


def rotate(store: StoreUrl = "sqlite:///solidarite.db", key_file: KeyFile = None) -> int:
    """Renouveler les pseudonymes du magasin, pendant qu'il sert ; reprend un renouvellement interrompu."""
    from solidarite_server.ports import RenewalProgress
    from solidarite_server.services import renewal

    shown = time.monotonic()

    def told(progress: RenewalProgress | None) -> None:
        nonlocal shown
        if progress is not None and time.monotonic() - shown > _SHOWN_SECONDS:
            shown = time.monotonic()
            done = f"{int(progress.records * 100)} % des enregistrements renommés."
            typer.echo(done if progress.records < 1 else "Enregistrements renommés ; les dossiers suivent.")

    with opened_store(store, key_file) as opened:
        begun = renewal.begin(opened.store, opened.key_file, operator())
        typer.echo(f"Renouvellement vers la version {begun.version} des pseudonymes : le service continue.")
        renewal.finish(opened.store, begun.version, operator(), told)
    typer.echo(f"Tout est renommé : version {begun.version} des pseudonymes.")
    typer.echo(
        "Sauvegardez le fichier de clés. Les anciennes versions ne servent plus qu'aux anciennes sauvegardes : "
        "« solidarite pseudonyms forget » les retire."
    )
    return 0


def forget(store: StoreUrl = "sqlite:///solidarite.db", key_file: KeyFile = None) -> int:
    """Retirer du fichier les clés que le magasin n'emploie plus : ses anciennes copies ne nomment plus personne."""
    from solidarite_server.services import renewal

    with opened_store(store, key_file) as opened:
        version = renewal.forget(opened.store, opened.key_file, operator())
    if version is None:
        typer.echo(
            "Erreur : un renouvellement est en cours, et l'ancienne clé sert encore. Finissez-le : "
            "solidarite pseudonyms rotate.",
            err=True,
        )
        return 1
    typer.echo(f"Le fichier de clés ne garde que la version {version}.")
    return 0
