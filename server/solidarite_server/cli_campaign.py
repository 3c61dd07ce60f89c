"""`solidarite campaign …`: a whole declaration month on a store, and the controls after it."""

from __future__ import annotations

import json as json_module
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from solidarite_server.cli_options import Reading, parse_month
from solidarite_server.cli_store import KeyFile, Purpose, StoreUrl, trace_act
from solidarite_server.domain.month import Month

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from solidarite_server.ports import Store
    from solidarite_server.services.campaign import Progress


CampaignId = Annotated[str, typer.Argument(metavar="NOM", help="Nom de la campagne, de 1 à 64 caractères.")]
DeclarationMonth = Annotated[
    Month, typer.Option("--month", metavar="AAAA-MM", parser=parse_month, help="Mois de la déclaration.")
]
Json = Annotated[bool, typer.Option("--json", help="Écrire du JSON.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    campaign = typer.Typer(help="Préremplir et calculer tout un mois de déclaration.", no_args_is_help=True)
    campaign.command("run")(run)
    campaign.command("show")(show)
    campaign.command("controls")(controls)
    app.add_typer(campaign, name="campaign")


def run(
    campaign_id: CampaignId,
    month: DeclarationMonth,
    store: StoreUrl = "sqlite:///solidarite.db",
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Processus de cette machine.")] = 2,
    dask: Annotated[
        str, typer.Option("--dask", metavar="ADRESSE", help="Grappe Dask, par exemple tcp://10.0.0.1:8786.")
    ] = "",
    options: Reading = "law",
    key_file: KeyFile = None,
    purpose: Purpose = "campagne",
    json: Json = False,
) -> int:
    """Préremplir et calculer les foyers dus ; relancée sous le même nom, la campagne reprend où elle en était."""
    from solidarite_server import campaign_workers
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.legislation import LegislationOptions
    from solidarite_server.services.campaign import run_campaign

    if not 1 <= len(campaign_id) <= 64:
        raise typer.BadParameter("attendu : de 1 à 64 caractères", param_hint="NOM")
    opened = _open(store)
    if opened is None:
        return 1
    trace_act(store, key_file, "RUN_CAMPAIGN", purpose)
    progress = None
    try:
        where: AbstractContextManager[Executor] = (
            campaign_workers.dask(dask) if dask else campaign_workers.processes(processes)
        )
        with where as executor:
            steps = run_campaign(
                opened,
                campaign_id,
                month,
                LegislationOptions.read(options),
                executor=executor,
                work=campaign_workers.work_on(store),
            )
            for progress in steps:
                if not json:
                    typer.echo(_line(progress), err=True)
    except SolidariteError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    except OSError:
        typer.echo("Erreur : la grappe Dask ne répond pas.", err=True)
        return 1
    finally:
        opened.close()
    if progress is not None:
        _print(progress, json)
    return 0


def show(campaign_id: CampaignId, store: StoreUrl = "sqlite:///solidarite.db", json: Json = False) -> int:
    """Dire où en est une campagne."""
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.services.campaign import campaign_progress

    opened = _open(store)
    if opened is None:
        return 1
    try:
        _print(campaign_progress(opened, campaign_id), json)
    except SolidariteError as error:
        typer.echo(f"Erreur : {error}", err=True)
        return 1
    finally:
        opened.close()
    return 0


def controls(
    month: DeclarationMonth,
    store: StoreUrl = "sqlite:///solidarite.db",
    non_recours: Annotated[
        bool, typer.Option("--non-recours", help="Chercher aussi les foyers sans déclaration qui auraient des droits.")
    ] = False,
    options: Reading = "law",
    key_file: KeyFile = None,
    purpose: Purpose = "contrôle",
    json: Json = False,
) -> int:
    """Comparer ce qui a été validé avec ce qui est connu maintenant ; rien n'est changé."""
    from solidarite_server.legislation import LegislationOptions
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.services.controls import ControlTotal, Finding, run_controls, totals_of
    from solidarite_server.services.declarations import DeclarationService
    from solidarite_server.services.life import Benefit

    opened = _open(store)
    if opened is None:
        return 1
    trace_act(store, key_file, "RUN_CONTROLS", purpose)
    reading = LegislationOptions.read(options)
    service = DeclarationService(opened, SystemClock(), reading)
    findings: list[Finding] = []
    totals: dict[tuple[str, Benefit], ControlTotal] = {}
    compared = 0
    for block in run_controls(opened, service, month, reading, detect_non_recours=non_recours):
        compared += block.compared
        totals_of(block.findings, totals)
        findings.extend(block.findings)
    opened.close()
    rows = [
        {
            "cause": cause,
            "benefit": benefit.name,
            "foyers": total.foyers,
            "indu_cents": total.indu_cents,
            "rappel_cents": total.rappel_cents,
        }
        for (cause, benefit), total in sorted(totals.items())
    ]
    if json:
        listed = [
            {
                "numero_allocataire": f.numero_allocataire,
                "benefit": f.benefit.name,
                "cause": f.cause,
                "due_cents": f.due_cents,
                "known_cents": f.known_cents,
            }
            for f in findings
        ]
        _echo_json({"foyers_compared": compared, "totals": rows, "findings": listed})
        return 0
    typer.echo(f"{compared} déclarations comparées, {len(findings)} écarts.")
    for row in rows:
        typer.echo(
            f"{row['cause']}, {row['benefit']} : {row['foyers']} foyers, "
            f"indus {_euros(row['indu_cents'])}, rappels {_euros(row['rappel_cents'])}"
        )
    return 0


def _open(url: str) -> Store | None:
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.storage import SchemaError, open_existing

    try:
        return open_existing(url, clock=SystemClock())
    except (ValueError, SchemaError, SolidariteError) as error:
        typer.echo(f"Erreur : {error}", err=True)
        return None


def _print(progress: Progress, json: bool) -> None:
    if json:
        _echo_json(
            {
                "foyers_done": progress.foyers_done,
                "refusals_by_reason": dict(progress.refusals),
                "rsa_total_cents": progress.rsa_total_cents,
                "prime_activite_total_cents": progress.prime_activite_total_cents,
                "foyers_per_s": round(progress.foyers_per_s),
                "blocks_done": progress.blocks_done,
                "blocks_total": progress.blocks_total,
                "finished": progress.finished,
            }
        )
        return
    typer.echo(_line(progress))
    typer.echo(
        f"Premier mois de droit : RSA {_euros(progress.rsa_total_cents)}, "
        f"prime d'activité {_euros(progress.prime_activite_total_cents)}."
    )
    for reason, count in sorted(progress.refusals.items()):
        typer.echo(f"Non calculés ({reason}) : {count}")


def _line(progress: Progress) -> str:
    left = max(0, progress.foyers_total - progress.foyers_done - sum(progress.refusals.values()))
    return (
        f"{progress.foyers_done} foyers calculés, {sum(progress.refusals.values())} non calculés, "
        f"environ {left} restants, {progress.foyers_per_s:.0f} foyers/s"
    )


def _euros(cents: Any) -> str:
    whole, fraction = divmod(int(cents), 100)
    return f"{whole:,}".replace(",", "\u202f") + f",{fraction:02d}\xa0€"


def _echo_json(value: object) -> None:
    typer.echo(json_module.dumps(value, ensure_ascii=False, indent=2))
