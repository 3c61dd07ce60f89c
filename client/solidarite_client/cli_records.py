"""`solidarite records`: what is held on one person, month by month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from solidarite_client.cli_common import (
    Json,
    KnownAt,
    connected,
    console,
    euros,
    month_name,
    print_json,
    read_month,
    table,
)
from solidarite_client.models import Month

if TYPE_CHECKING:
    from solidarite.v1.resource_record_pb2 import HeldRecord, MonthlyResources

    from solidarite_client._sync import SolidariteClient


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("records")(connected(records))


def records(
    client: SolidariteClient,
    nir: Annotated[
        str | None, typer.Option("--nir", help="NIR de 13 caractères ; « - » pour le saisir sans qu'il s'affiche.")
    ] = None,
    ntt: Annotated[str | None, typer.Option("--ntt", help="Numéro temporaire, à la place du NIR.")] = None,
    month: Annotated[
        Month | None, typer.Option("--month", metavar="AAAA-MM", parser=read_month, help="Ce mois seulement.")
    ] = None,
    known_at: KnownAt = None,
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Montrer aussi ce qui ne compte plus, ou pas encore.")
    ] = False,
    json: Json = False,
) -> None:
    """Montrer les ressources détenues sur une personne. La consultation est tracée."""
    if (nir is None) == (ntt is None):
        raise typer.BadParameter("donnez soit --nir, soit --ntt")
    if nir == "-":
        nir = typer.prompt("NIR", hide_input=True)
    months = client.list_resource_records(
        nir=nir, ntt=ntt, first=month, last=month, known_at=known_at, include_superseded=superseded
    )
    if json:
        print_json({"months": [_plain_month(held) for held in months]})
    elif not months:
        console().print("Rien n'est détenu sur cette personne pour ces mois.")
    else:
        for held in months:
            _print_month(held)


def _plain_month(held: MonthlyResources) -> dict[str, Any]:
    from solidarite_client.plain import to_plain

    return {
        "month": str(Month(held.mois.year, held.mois.month)),
        "montant_net_social_cents": held.montant_net_social_cents,
        "records": [to_plain(record) for record in held.records],
    }


def _print_month(held: MonthlyResources) -> None:
    from solidarite.v1.common_pb2 import NatureRessource

    from solidarite_client.plain import short_name

    title = f"{month_name(held.mois.year, held.mois.month)} : {euros(held.montant_net_social_cents)}"
    lines = table(title, "versé le", "déclarant", "contrat", "nature", "montant", "état", amounts=("montant",))
    for record in held.records:
        paid = record.date_versement
        lines.add_row(
            f"{paid.day:02d}/{paid.month:02d}/{paid.year}",
            record.declarant,
            record.numero_contrat,
            short_name(NatureRessource.DESCRIPTOR, NatureRessource.Name(record.nature)),
            euros(record.montant_net_social_cents),
            _state(record),
        )
    console().print(lines)


def _state(record: HeldRecord) -> str:
    from solidarite.v1.resource_record_pb2 import RECORD_MODE_DIFFERENTIEL

    words = [f"version {record.version}"]
    if record.mode == RECORD_MODE_DIFFERENTIEL:
        words.append("correction")
    if not record.certified:
        words.append("identité non certifiée")
    if not record.effective:
        words.append("ne compte pas")
    return ", ".join(words)
