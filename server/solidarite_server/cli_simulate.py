"""`solidarite simulate …`: a synthetic country, its calibration, the comparison of a reform, what prefilling avoids."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from solidarite_server.cli_options import DEFAULT_MONTH, DeclarationMonth, Json, echo_json, parse_month
from solidarite_server.cli_store import KeyFile, operator
from solidarite_server.domain.month import Month

if TYPE_CHECKING:
    from solidarite_server.simulation.columns import Examen
    from solidarite_server.simulation.population import Population


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    simulate = typer.Typer(help="Une France synthétique : population, calage, réformes.", no_args_is_help=True)
    simulate.command("population")(population)
    simulate.command("calibration")(calibration)
    simulate.command("reform")(reform)
    simulate.command("prefill-errors")(prefill_errors)
    app.add_typer(simulate, name="simulate")


Foyers = Annotated[int, typer.Option("--foyers", min=1, help="Nombre de foyers synthétiques.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Graine : la même donne les mêmes foyers.")]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="FICHIER.html", help="Rapport à écrire, avec ses graphiques.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.NOMBRE=VALEUR", help="Changer une marge, par exemple recours.rsa.valeur=1."),
]
Processes = Annotated[int, typer.Option("--processes", min=1, max=64, help="Processus de cette machine.")]


def population(
    foyers: Foyers,
    seed: Seed = 1,
    month: DeclarationMonth = DEFAULT_MONTH,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FICHIER.parquet", help="Fichier à écrire.")
    ] = None,
    store: Annotated[
        str, typer.Option("--store", metavar="URL", help="Magasin à remplir : sqlite:///CHEMIN ou postgresql://….")
    ] = "",
    key: KeyFile = None,
    whole_country: Annotated[
        bool,
        typer.Option("--whole-country", help="Magasin : les enregistrements de tous, et pas des seuls déclarants."),
    ] = False,
    settings: Settings = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", min=1, max=64, help="Travaux à la fois : processus pour un magasin, fils pour un fichier."
        ),
    ] = 2,
) -> int:
    """Créer une population synthétique et ses enregistrements mensuels, dans un fichier Parquet ou dans un magasin."""
    if (output is None) == (not store):
        typer.echo("Erreur : donnez soit --output FICHIER.parquet, soit --store URL.", err=True)
        return 2
    from solidarite_server.simulation.columns import examen_of

    people = _accepted(foyers, seed, month, settings)
    if people is None:
        return 2
    examen = examen_of(people)
    if output is not None:
        return _to_parquet(people, examen, output, processes)
    return _to_store(people, examen, store, key, whole_country, processes)


def _to_parquet(people: Population, examen: Examen, output: Path, processes: int) -> int:
    try:
        from solidarite_server.simulation import arrow
    except ImportError:
        typer.echo('Erreur : les fichiers Parquet demandent pip install "solidarite-source[columnar]".', err=True)
        return 1
    from solidarite_server.simulation.parallel import in_order_by_threads

    start = time.perf_counter()
    batches = in_order_by_threads(partial(arrow.batch_of, people, examen), people.block_count, processes)
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


def _to_store(
    people: Population, examen: Examen, store: str, key: Path | None, whole_country: bool, processes: int
) -> int:
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.engine import warm_up
    from solidarite_server.ports import AuditLine
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.services.keyring import load_or_create
    from solidarite_server.simulation.fill import Filled, fill
    from solidarite_server.storage import SchemaError, key_file_of, open_store

    try:
        keys = load_or_create(key_file_of(store, key))
        opened = open_store(store, clock=SystemClock(), keys=keys)
    except (ValueError, OSError, SchemaError, SolidariteError) as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    opened.write_audit([AuditLine(operator(), "FILL_STORE", "*", "population synthétique")])
    warm_up()
    start = told = time.perf_counter()
    filled = Filled(0, 0)
    try:
        for filled in fill(opened, keys.base, people, examen, whole_country=whole_country, processes=processes):
            if time.perf_counter() - told > 2:
                told = time.perf_counter()
                typer.echo(f"{filled.foyers} dossiers, {filled.records} enregistrements", err=True)
    except SolidariteError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    finally:
        opened.close()
    if filled.refused:
        typer.echo(
            f"Attention : {filled.refused} enregistrements refusés, le magasin en tenait d'autres sous les mêmes "
            "identifiants. Une autre population demande un magasin neuf.",
            err=True,
        )
    _done(f"{filled.foyers} dossiers et {filled.records} enregistrements dans le magasin", filled.foyers, start)
    return 0


def _done(text: str, count: int, start: float) -> None:
    typer.echo(f"{text} ({count / max(time.perf_counter() - start, 1e-9):.0f} par seconde).")


def calibration(
    foyers: Foyers = 200_000,
    seed: Seed = 1,
    output: Output = None,
    json: Json = False,
    settings: Settings = None,
    processes: Processes = 1,
) -> int:
    """Comparer ce que le moteur verse au pays synthétique avec les chiffres publiés, et dire où l'on est loin."""
    from solidarite_server.engine import warm_up
    from solidarite_server.simulation import report
    from solidarite_server.simulation.calibration import calibrate

    people = _accepted(foyers, seed, DEFAULT_MONTH, settings)
    if people is None:
        return 2
    warm_up()
    found = calibrate(foyers, seed, processes=processes, marginals=people.marginals)
    if output is not None and not _written(output, report.calibration_page(found, foyers, seed)):
        return 1
    if json:
        echo_json([{**asdict(row), "mois": str(row.mois), "gap": row.gap} for row in found])
        return 0
    _print_table(
        f"Calage : {report.number(foyers)} foyers synthétiques, graine {seed}",
        ("", "publié", "année", "synthétique", "écart"),
        [
            (
                row.label,
                report.value_text(row.published, row.unit),
                str(row.year),
                report.value_text(row.found, row.unit),
                report.percent(row.gap, signed=True),
            )
            for row in found
        ],
    )
    return 0


def reform(
    overlay: Annotated[
        Path, typer.Option("--overlay", metavar="FICHIER.yaml", help="Par exemple : ppa.pente: 0.62 from 2027-01")
    ],
    month: Annotated[
        Month, typer.Option("--month", metavar="AAAA-MM", parser=parse_month, help="Mois de droit comparé.")
    ],
    foyers: Foyers = 100_000,
    seed: Seed = 1,
    output: Output = None,
    json: Json = False,
    settings: Settings = None,
    processes: Processes = 1,
) -> int:
    """Comparer le pays synthétique avant et après un changement de paramètres : coût, gagnants, perdants."""
    from solidarite_server.engine import warm_up
    from solidarite_server.legislation import LegislationError
    from solidarite_server.simulation import report
    from solidarite_server.simulation.overlay import read_overlay
    from solidarite_server.simulation.reform import MonthRefused, compare

    people = _accepted(foyers, seed, DEFAULT_MONTH, settings)
    if people is None:
        return 2
    try:
        text = overlay.read_text("utf-8")
        changed = read_overlay(text)
        warm_up()
        outcome = compare(changed, foyers, seed, month, processes=processes, marginals=people.marginals)
    except OSError:
        typer.echo(f"Erreur : {overlay.name} ne peut pas être lu.", err=True)
        return 2
    except UnicodeDecodeError:
        typer.echo(f"Erreur : {overlay.name} n'est pas un texte en UTF-8.", err=True)
        return 2
    except (LegislationError, MonthRefused) as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 2
    if output is not None and not _written(output, report.reform_page(outcome, text)):
        return 1
    if json:
        echo_json(
            {**asdict(outcome), "mois_droit": str(outcome.mois_droit), "cout_annuel_cents": outcome.cout_annuel_cents}
        )
        return 0
    for remark in outcome.remarks:
        typer.echo(f"Attention : {remark}")
    for rows in report.reform_tables(outcome):
        _print_table(*rows)
    return 0


def prefill_errors(
    foyers: Foyers = 100_000,
    seed: Seed = 1,
    month: DeclarationMonth = DEFAULT_MONTH,
    output: Output = None,
    json: Json = False,
    settings: Settings = None,
    processes: Processes = 1,
) -> int:
    """Dire ce que le préremplissage évite : erreurs, indus, rappels, sous des hypothèses d'erreur écrites."""
    from solidarite_server.engine import warm_up
    from solidarite_server.simulation import report
    from solidarite_server.simulation.prefill_errors import WITH, WITHOUT, compare_prefill

    people = _accepted(foyers, seed, month, settings)
    if people is None:
        return 2
    warm_up()
    outcome = compare_prefill(foyers, seed, month, processes=processes, marginals=people.marginals)
    if output is not None and not _written(output, report.prefill_page(outcome)):
        return 1
    if json:
        echo_json({**asdict(outcome), "mois_declaration": str(outcome.mois_declaration)})
        return 0
    _print_table(
        f"Déclarations de {month}, foyers qui demandent un droit",
        ("", WITHOUT, WITH, "évité"),
        report.prefill_rows(outcome),
    )
    return 0


def _accepted(foyers: int, seed: int, month: Month, settings: list[str] | None) -> Population | None:
    """The population asked for; None, and why, when it is out of bounds."""
    from solidarite_server.simulation.marginals import changed, load_marginals
    from solidarite_server.simulation.population import Population
    from solidarite_server.simulation.reform import FIRST_MONTH, LAST_KNOWN

    try:
        if not FIRST_MONTH <= month <= LAST_KNOWN:
            raise ValueError(f"Le mois va de {FIRST_MONTH} à {LAST_KNOWN}.")
        return Population(foyers, seed, month, changed(load_marginals(), settings or ()))
    except ValueError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return None


def _written(output: Path, text: str) -> bool:
    try:
        output.write_text(text, "utf-8")
    except OSError:
        typer.echo(f"Erreur : {output.name} ne peut pas être écrit (dossier absent, droits ou place).", err=True)
        return False
    typer.echo(f"Rapport écrit : {output}", err=True)
    return True


def _print_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)
