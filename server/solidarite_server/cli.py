"""Verbs of the server: `serve`, `legislation`, `store`; each of the others has a module of its own, `cli_*`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from solidarite_server.cli_config import ConfigFile, config
from solidarite_server.cli_options import DEFAULT_MONTH, Json, echo_json, parse_month
from solidarite_server.cli_store import KeyFile, Purpose, StoreUrl, opened_store, store_without_keys
from solidarite_server.domain.month import Month
from solidarite_server.legislation import load_legislation

if TYPE_CHECKING:
    from solidarite_server.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the server's verbs to the command."""
    from solidarite_server import (
        cli_audit,
        cli_auth,
        cli_campaign,
        cli_compute,
        cli_doctor,
        cli_personal,
        cli_simulate,
    )
    from solidarite_server.cli_demo import demo
    from solidarite_server.cli_gateway import gateway
    from solidarite_server.cli_readings import options

    app.command("demo")(demo)
    app.command("serve")(serve)
    app.command("gateway")(gateway)
    app.command("config")(config)
    legislation = typer.Typer(help="Consulter les paramètres datés de la loi.", no_args_is_help=True)
    legislation.command("show")(show)
    legislation.command("diff")(diff)
    legislation.command("options")(options)
    app.add_typer(legislation, name="legislation")
    store = typer.Typer(help="Vérifier et sauvegarder un magasin.", no_args_is_help=True)
    store.command("check")(check)
    store.command("backup")(backup)
    store.command("migrate")(migrate)
    cli_doctor.register(app, store)
    app.add_typer(store, name="store")
    cli_compute.register(app)
    cli_campaign.register(app)
    cli_simulate.register(app)
    cli_auth.register(app)
    cli_audit.register(app)
    cli_personal.register(app)


At = Annotated[Month, typer.Option("--at", metavar="AAAA-MM", parser=parse_month, help="Mois de la valeur.")]


def serve(
    listen: Annotated[str | None, typer.Option("--listen", metavar="HÔTE:PORT", help="Adresse écoutée.")] = None,
    store: Annotated[
        str | None, typer.Option("--store", metavar="URL", help="sqlite:///CHEMIN ou postgresql://….")
    ] = None,
    # Read as text: a wrong number is refused by the settings, in French like the others.
    workers: Annotated[str | None, typer.Option("--workers", metavar="N", help="Processus sur le même port.")] = None,
    allow_plaintext: Annotated[
        bool | None,
        typer.Option("--allow-plaintext", help="Servir sans TLS au-delà de la machine, derrière un relais."),
    ] = None,
    with_gateway: Annotated[
        bool,
        typer.Option("--with-gateway", help="Ouvrir aussi la passerelle des navigateurs et sa page, pour développer."),
    ] = False,
    config: ConfigFile = None,
) -> int:
    """Démarrer le serveur ; il s'arrête proprement sur SIGTERM ou Ctrl-C. Les réglages : `solidarite config`."""
    from solidarite_server.configuration import ConfigurationError, load_settings
    from solidarite_server.listening import AddressError, refuse_contradictory

    flags = {"listen": listen, "store": store, "workers": workers, "allow_plaintext": allow_plaintext}
    try:
        settings = load_settings(flags, config)
    except ConfigurationError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 2
    if with_gateway and not settings.gateway_listen:
        settings = settings.model_copy(update={"gateway_listen": "127.0.0.1:8080"})
    try:
        refuse_contradictory(settings)
    except AddressError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 2
    return _serve_together(settings) if settings.workers > 1 else _serve_alone(settings)


def _serve_alone(settings: Settings) -> int:
    import uvloop

    from solidarite_server.bootstrap import SettingsError
    from solidarite_server.bootstrap import serve as run
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.storage import SchemaError

    try:
        uvloop.run(run(settings))
    except (SettingsError, SchemaError, SolidariteError) as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    return 0


def _serve_together(settings: Settings) -> int:
    from solidarite_server.listening import AddressError, refuse_unusable
    from solidarite_server.settings import NO_IDENTITY
    from solidarite_server.supervisor import Supervisor

    def announce(address: str) -> None:
        typer.echo(f"Serveur prêt sur {address} ({settings.workers} processus).")
        if not settings.asks_for_identities:
            typer.echo(NO_IDENTITY)

    try:
        # Processes of this service may share the port, with those of another supervisor too: one takes over so.
        refuse_unusable(settings.listen, "--listen, ou listen dans les réglages", shared=True)
        refuse_unusable(settings.metrics_listen, "metrics_listen")
        return Supervisor(settings, announce).run()
    except AddressError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    except (ValueError, OSError):
        typer.echo("Erreur : cette adresse ne peut pas être écoutée : elle est mal écrite ou déjà prise.", err=True)
        return 1


def show(
    path: Annotated[str, typer.Argument(metavar="PARAMÈTRE", help="Par exemple rsa.montant_forfaitaire.")] = "",
    at: At = DEFAULT_MONTH,
    json: Json = False,
) -> int:
    """Montrer la valeur d'un paramètre un mois donné, avec son texte ; sans paramètre, tous."""
    legislation = load_legislation()
    if path and path not in legislation.paths:
        close = ", ".join(known for known in legislation.paths if path.split(".")[-1] in known)
        typer.echo(f"Erreur : paramètre inconnu{f' (peut-être {close})' if close else ''}.", err=True)
        return 2
    rows = []
    for name in [path] if path else legislation.paths:
        parameter = legislation.parameter(name)
        try:
            value = parameter.at(at)
        except KeyError:
            typer.echo(f"Erreur : aucune valeur de {name} en {at}.", err=True)
            return 1
        rows.append(
            {
                "parameter": name,
                "description": parameter.description,
                "value": value.text,
                "unit": parameter.unit,
                "since": value.since.isoformat(),
                "applies": value.applies,
                "source": value.source,
            }
        )
    _print(rows, json, f"Législation en {at}", ("parameter", "value", "unit", "since", "source"))
    return 0


def diff(
    before: Annotated[Month, typer.Argument(metavar="AAAA-MM", parser=parse_month)],
    after: Annotated[Month, typer.Argument(metavar="AAAA-MM", parser=parse_month)],
    json: Json = False,
) -> int:
    """Montrer ce qui change entre deux mois."""
    try:
        changes = load_legislation().diff(before, after)
    except KeyError:
        typer.echo("Erreur : des paramètres n'ont pas de valeur à ces dates (première : 2019-01).", err=True)
        return 1
    rows = [
        {
            "parameter": change.path,
            "before": change.before.text,
            "after": change.after.text,
            "since": change.after.since.isoformat(),
            "source": change.after.source,
        }
        for change in changes
    ]
    _print(rows, json, f"De {before} à {after}", ("parameter", "before", "after", "since", "source"))
    return 0


def _print(rows: list[dict[str, str]], json: bool, title: str, shown: tuple[str, ...]) -> None:
    if json:
        echo_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    names = {
        "parameter": "paramètre",
        "value": "valeur",
        "unit": "unité",
        "since": "depuis",
        "source": "texte",
        "before": "avant",
        "after": "après",
    }
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in shown:
        table.add_column(names[name], justify="right" if name in ("value", "before", "after") else "left")
    for row in rows:
        table.add_row(*(row[name] for name in shown))
    Console(highlight=False).print(table)


def check(store: StoreUrl = "sqlite:///solidarite.db") -> int:
    """Vérifier l'intégrité du magasin et de sa chaîne d'audit."""
    with store_without_keys(store) as opened:
        found = opened.check()
    for line in found:
        typer.echo(f"Erreur : {line}", err=True)
    if not found:
        typer.echo("Le magasin est intact.")
    return 1 if found else 0


def backup(
    target: Annotated[Path, typer.Argument(metavar="FICHIER", help="Copie à créer.")],
    store: StoreUrl = "sqlite:///solidarite.db",
    key_file: KeyFile = None,
    purpose: Purpose = "sauvegarde",
) -> int:
    """Copier le magasin pendant qu'il sert. La clé des pseudonymes se sauvegarde à part."""
    from solidarite_server.storage import SqliteStore, is_postgres

    if is_postgres(store):
        typer.echo("Erreur : un PostgreSQL se sauvegarde avec ses propres outils (pg_dump).", err=True)
        return 1
    if target.exists():
        typer.echo(f"Erreur : {target.name} existe déjà.", err=True)
        return 1
    if not target.parent.is_dir():
        typer.echo(f"Erreur : le répertoire de {target.name} n'existe pas.", err=True)
        return 1
    with opened_store(store, key_file) as opened:
        assert isinstance(opened.store, SqliteStore)
        opened.trace_act("BACKUP_STORE", purpose)
        opened.store.backup(target)
    typer.echo(f"Copie écrite : {target}")
    return 0


def migrate(
    store: StoreUrl = "sqlite:///solidarite.db", key_file: KeyFile = None, purpose: Purpose = "nouvelle version"
) -> int:
    """Porter le magasin au schéma de cette version."""
    with opened_store(store, key_file, migrating=True) as opened:
        opened.trace_act("MIGRATE_STORE", purpose)
    typer.echo("Le schéma est à jour.")
    return 0
