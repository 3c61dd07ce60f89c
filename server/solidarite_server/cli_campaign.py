"""`solidarite campaign …`: a whole declaration month on a store, and the controls after it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from solidarite_server.cli_options import DeclarationMonth, Json, Reading, echo_json
from solidarite_server.cli_store import KeyFile, Purpose, StoreUrl, store_without_keys, trace_act

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from solidarite_server.services.campaign import Progress


CampaignId = Annotated[str, typer.Argument(metavar="NOM", help="Nom de la campagne, de 1 à 64 caractères.")]


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
    from solidarite_server.legislation import LegislationOptions
    from solidarite_server.services.campaign import run_campaign

    if not 1 <= len(campaign_id) <= 64:
        raise typer.BadParameter("attendu : de 1 à 64 caractères", param_hint="NOM")
    progress = None
    with store_without_keys(store) as opened:
        trace_act(store, key_file, "RUN_CAMPAIGN", purpose)
        where: AbstractContextManager[Executor] = (
            campaign_workers.dask(dask) if dask else campaign_workers.processes(processes)
        )
        try:
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
        except OSError:
            typer.echo("Erreur : la grappe Dask ne répond pas.", err=True)
            return 1
    if progress is not None:
        _print(progress, json)
    return 0


def show(campaign_id: CampaignId, store: StoreUrl = "sqlite:///solidarite.db", json: Json = False) -> int:
    """Dire où en est une campagne."""
    from solidarite_server.services.campaign import campaign_progress

    with store_without_keys(store) as opened:
        _print(campaign_progress(opened, campaign_id), json)
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

    reading = LegislationOptions.read(options)
    findings: list[Finding] = []
    totals: dict[tuple[str, Benefit], ControlTotal] = {}
    compared = 0
    with store_without_keys(store) as opened:
        trace_act(store, key_file, "RUN_CONTROLS", purpose)
        service = DeclarationService(opened, SystemClock(), reading)
        for block in run_controls(opened, service, month, reading, detect_non_recours=non_recours):
            compared += block.compared
            totals_of(block.findings, totals)
            findings.extend(block.findings)
    if json:
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
        echo_json({"foyers_compared": compared, "totals": rows, "findings": listed})
        return 0
    from solidarite_client.cli_common import euros

    typer.echo(f"{compared} déclarations comparées, {len(findings)} écarts.")
    for (cause, benefit), total in sorted(totals.items()):
        typer.echo(
            f"{cause}, {benefit.name} : {total.foyers} foyers, "
            f"indus {euros(total.indu_cents)}, rappels {euros(total.rappel_cents)}"
        )
    return 0


def _print(progress: Progress, json: bool) -> None:
    if json:
        echo_json(
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
    from solidarite_client.cli_common import euros

    typer.echo(_line(progress))
    typer.echo(
        f"Premier mois de droit : RSA {euros(progress.rsa_total_cents)}, "
        f"prime d'activité {euros(progress.prime_activite_total_cents)}."
    )
    for reason, count in sorted(progress.refusals.items()):
        typer.echo(f"Non calculés ({reason}) : {count}")


def _line(progress: Progress) -> str:
    left = max(0, progress.foyers_total - progress.foyers_done - sum(progress.refusals.values()))
    return (
        f"{progress.foyers_done} foyers calculés, {sum(progress.refusals.values())} non calculés, "
        f"environ {left} restants, {progress.foyers_per_s:.0f} foyers/s"
    )
