"""`solidarite simulate …`: a synthetic country, its calibration, the comparison of a reform, what prefilling avoids."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from solidarite_server.cli_options import parse_month
from solidarite_server.domain.month import Month

if TYPE_CHECKING:
    from solidarite_server.simulation.columns import Examen
    from solidarite_server.simulation.population import Population


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    simulate = typer.Typer(help="Une France synthétique : population, calage, réformes.", no_args_is_help=True)
    simulate.command("population")(population)
    app.add_typer(simulate, name="simulate")


Foyers = Annotated[int, typer.Option("--foyers", min=1, help="Nombre de foyers synthétiques.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Graine : la même donne les mêmes foyers.")]
DeclarationMonth = Annotated[
    Month, typer.Option("--month", metavar="AAAA-MM", parser=parse_month, help="Mois de la déclaration.")
]
Processes = Annotated[int, typer.Option("--processes", min=1, max=64, help="Processus de cette machine.")]


def population(
    foyers: Foyers,
    seed: Seed = 1,
    month: DeclarationMonth = Month(2026, 11),  # noqa: B008 - a constant
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FICHIER.parquet", help="Fichier à écrire.")
    ] = None,
    store: Annotated[
        str, typer.Option("--store", metavar="URL", help="Magasin à remplir : sqlite:///CHEMIN ou postgresql://….")
    ] = "",
    key: Annotated[
        Path | None,
        typer.Option("--pseudonym-key-file", metavar="FICHIER", help="Clé des pseudonymes, avec PostgreSQL."),
    ] = None,
    whole_country: Annotated[
        bool,
        typer.Option("--whole-country", help="Magasin : les enregistrements de tous, et pas des seuls déclarants."),
    ] = False,
    processes: Processes = 2,
) -> int:
    """Créer une population synthétique et ses enregistrements mensuels, dans un fichier Parquet ou dans un magasin."""
    if (output is None) == (not store):
        typer.echo("Erreur : donnez soit --output FICHIER.parquet, soit --store URL.", err=True)
        return 2
    from solidarite_server.simulation.columns import examen_of
    from solidarite_server.simulation.population import Population

    try:
        people = Population(foyers, seed, month)
    except ValueError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 2
    examen = examen_of(people)
    if output is not None:
        return _to_parquet(people, examen, output, processes)
    return _to_store(people, examen, store, key, whole_country)


def _to_parquet(people: Population, examen: Examen, output: Path, processes: int) -> int:
    try:
        from solidarite_server.simulation import arrow
    except ImportError:
        typer.echo('Erreur : les fichiers Parquet demandent pip install "solidarite-source[columnar]".', err=True)
        return 1
    from solidarite_server.simulation.parallel import in_order

    start = time.perf_counter()
    batches = in_order(partial(arrow.batch_of, people, examen), people.block_count, processes)
    try:
        count = arrow.write_parquet(_told(batches, people.foyers, start), output)
    except OSError:
        typer.echo(f"Erreur : {output.name} ne peut pas être écrit (dossier absent, droits ou place).", err=True)
        return 1
    _done(f"{count} foyers écrits dans {output}", count, start)
    return 0


def _told(batches: Any, foyers: int, start: float) -> Any:
    done, told = 0, start
    for batch in batches:
        yield batch
        done += batch.num_rows
        if time.perf_counter() - told > 2:
            told = time.perf_counter()
            typer.echo(f"{done} foyers sur {foyers}", err=True)


def _to_store(people: Population, examen: Examen, store: str, key: Path | None, whole_country: bool) -> int:
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.engine import warm_up
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.services.keyring import load_or_create
    from solidarite_server.services.pseudonym import HmacPseudonymizer
    from solidarite_server.simulation.fill import Filled, fill
    from solidarite_server.storage import SchemaError, key_file_of, open_store

    try:
        keys = load_or_create(key_file_of(store, key))
        opened = open_store(store, clock=SystemClock(), keys=keys)
    except (ValueError, OSError, SchemaError, SolidariteError) as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    warm_up()
    start = told = time.perf_counter()
    filled = Filled(0, 0)
    try:
        for filled in fill(opened, HmacPseudonymizer(keys.base), people, examen, whole_country=whole_country):
            if time.perf_counter() - told > 2:
                told = time.perf_counter()
                typer.echo(f"{filled.foyers} dossiers, {filled.records} enregistrements", err=True)
    except SolidariteError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    finally:
        opened.close()
    _done(f"{filled.foyers} dossiers et {filled.records} enregistrements dans le magasin", filled.foyers, start)
    return 0


def _done(text: str, count: int, start: float) -> None:
    typer.echo(f"{text} ({count / max(time.perf_counter() - start, 1e-9):.0f} par seconde).")
