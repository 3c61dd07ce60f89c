"""`solidarite ingest`: hand files over, and see what became of each record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from solidarite_client._os_errors import os_error_text
from solidarite_client.cli_common import Json, connected, console, print_json, table

if TYPE_CHECKING:
    from solidarite_client._journal import IngestSummary
    from solidarite_client._sync import SolidariteClient
    from solidarite_client.errors import CallError

_REFUSALS_SHOWN = 20
_WHO = "Rien n'a été envoyé : une source se présente par son certificat (--tls-cert, --tls-key), --source est son nom."
_COUNTS = ("accepted", "replaced", "unchanged", "refused")


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("ingest")(connected(ingest))


def ingest(
    client: SolidariteClient,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FICHIER…", help="DSN, CSV ou JSON Lines. Sans fichier : finir les envois interrompus."),
    ] = None,
    source: Annotated[
        str,
        typer.Option("--source", envvar="SOLIDARITE_SOURCE", help="Nom du système qui envoie, toujours le même."),
    ] = "cli",
    spool: Annotated[
        Path | None,
        typer.Option("--spool", envvar="SOLIDARITE_SPOOL", help="Répertoire où garder un envoi jusqu'à son accusé."),
    ] = None,
    json: Json = False,
) -> int:
    """Envoyer des fichiers de paie (DSN) ou de revenus de remplacement (CSV, JSON Lines).

    Un fichier invalide n'envoie rien : l'erreur dit la ligne, la rubrique et ce qui est attendu.

    Un envoi coupé reprend où il en était quand la commande est relancée.

    Envoyer deux fois le même fichier ne change rien.
    """
    with _progress() as show:
        outcomes = _ingest_all(client, files or [], source, spool, show)
    if json:
        totals = {count: sum(outcome[count] for outcome in outcomes) for count in _COUNTS}
        print_json({**totals, "files": outcomes})
    else:
        _print(outcomes)
    return 1 if any(outcome["error"] or outcome["refused_by_reason"] for outcome in outcomes) else 0


def _ingest_all(
    client: SolidariteClient,
    files: list[Path],
    source: str,
    spool: Path | None,
    show: Callable[[str], Callable[[IngestSummary], None]],
) -> list[dict[str, Any]]:
    from solidarite_client.errors import CallError, FileError, SpoolError

    finished = client.finish_interrupted(source_id=source, spool_directory=spool, on_progress=show("envoi interrompu"))
    outcomes = [_outcome("(envoi interrompu)", summary) for summary in finished]
    for path in files:
        try:
            summary = client.ingest_file(path, source_id=source, spool_directory=spool, on_progress=show(path.name))
        except OSError as error:
            outcomes.append(_failure(path, os_error_text(error)))
        except (FileError, SpoolError) as error:
            outcomes.append(_failure(path, str(error)))
        except CallError as error:
            # The files that follow would meet the same server; what is journalled waits for the next run.
            outcomes.append(_failure(path, _what_to_do(error)))
            break
        else:
            outcomes.append(_outcome(str(path), summary))
    return outcomes


def _what_to_do(error: CallError) -> str:
    """The error, then what helps: the same command again only where it may go through."""
    from solidarite_client.errors import DeadlineExceeded, HandshakeFailed, PermissionRefused, Retryable

    said = str(error).rstrip(".")
    if isinstance(error, Retryable | DeadlineExceeded):
        return f"{said} ; relancez la même commande pour reprendre l'envoi"
    if isinstance(error, PermissionRefused):
        return f"{said}. {_WHO}"
    if isinstance(error, HandshakeFailed):
        return f"{said}. Rien n'a été envoyé."
    return f"{said}. La même commande serait refusée de même : corrigez d'abord."


def _outcome(name: str, summary: IngestSummary) -> dict[str, Any]:
    return {
        "file": name,
        "error": None,
        **{count: getattr(summary, count) for count in _COUNTS},
        "documents": summary.documents,
        "resumed": summary.resumed,
        "refused_by_reason": dict(summary.refused_by_reason),
        "refusals": [
            {
                "record": refusal.record_number,
                "is_seal": refusal.is_seal,
                "field": refusal.field,
                "reason": refusal.reason,
                "message": refusal.message_fr,
            }
            for refusal in summary.refusals
        ],
        "freshness_token": summary.freshness_token,
    }


def _failure(path: Path, message: str) -> dict[str, Any]:
    return {
        "file": str(path),
        "error": message,
        **dict.fromkeys(_COUNTS, 0),
        "documents": 0,
        "resumed": False,
        "refused_by_reason": {},
        "refusals": [],
        "freshness_token": "",
    }


def _print(outcomes: list[dict[str, Any]]) -> None:
    sent = [outcome for outcome in outcomes if not outcome["error"]]
    if sent:
        titles = ("nouveaux", "remplacés", "inchangés", "refusés", "déclarations")
        lines = table("Envoi", "fichier", *titles, amounts=titles)
        for outcome in sent:
            name = Path(outcome["file"]).name + (" (repris)" if outcome["resumed"] else "")
            lines.add_row(name, *[_count(outcome[count]) for count in (*_COUNTS, "documents")])
        console().print(lines)
    elif not outcomes:
        console().print("Rien à envoyer : aucun fichier donné, aucun envoi interrompu.")
    for outcome in outcomes:
        if outcome["error"]:
            typer.echo(f"Erreur : {outcome['file']} : {outcome['error']}", err=True)
        _print_refusals(outcome)


def _print_refusals(outcome: dict[str, Any]) -> None:
    for refusal in outcome["refusals"][:_REFUSALS_SHOWN]:
        what = "déclaration" if refusal["is_seal"] else f"enregistrement {refusal['record']}"
        field = f", {refusal['field']}" if refusal["field"] else ""
        typer.echo(f"Refus : {outcome['file']} : {what}{field} : {refusal['message']} [{refusal['reason']}]", err=True)
    more = sum(outcome["refused_by_reason"].values()) - _REFUSALS_SHOWN
    if more > 0:
        typer.echo(f"… et {_count(more)} autres refus ; --json en montre jusqu'à 1 000", err=True)


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


class _Rate(ProgressColumn):
    """Records acknowledged a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{_count(int(speed))} enregistrements/s", style="progress.data.speed")


@contextmanager
def _progress() -> Iterator[Callable[[str], Callable[[IngestSummary], None]]]:
    """A bar for each file on stderr, where somebody is looking; the answer gives a file's callback."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield lambda name: lambda summary: None
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        console=errors,
    )

    def show(name: str) -> Callable[[IngestSummary], None]:
        bar = bars.add_task(f"{name} : lecture", total=None, visible=name != "envoi interrompu")

        def update(summary: IngestSummary) -> None:
            bars.update(bar, description=name, total=summary.records_taken, completed=summary.records, visible=True)

        return update

    with bars:
        yield show
