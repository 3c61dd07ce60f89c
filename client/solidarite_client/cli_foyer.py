"""`solidarite foyer put` and `foyer show`: household dossiers."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from solidarite_client.cli_common import (
    Allocataire,
    Json,
    KnownAt,
    connected,
    console,
    euros,
    month_name,
    print_json,
    table,
)

if TYPE_CHECKING:
    from solidarite.v1.foyer_pb2 import Foyer

    from solidarite_client._sync import SolidariteClient


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    foyer = typer.Typer(help="Enregistrer et montrer les dossiers des foyers.", no_args_is_help=True)
    foyer.command("put")(connected(put))
    foyer.command("show")(connected(show))
    app.add_typer(foyer, name="foyer")


def put(
    client: SolidariteClient,
    file: Annotated[Path, typer.Argument(metavar="FICHIER.json", help="Un dossier, ou une liste de dossiers.")],
    json: Json = False,
) -> None:
    """Créer ou remplacer des dossiers. Le même contenu ne change rien."""
    dossiers = read_dossiers(file)
    answers = [(dossier.numero_allocataire, client.upsert_foyer(dossier)) for dossier in dossiers]
    if json:
        print_json(
            {
                "foyers": [
                    {"numero_allocataire": number, "changed": answer.changed, "freshness_token": answer.freshness_token}
                    for number, answer in answers
                ]
            }
        )
        return
    for number, answer in answers:
        console().print(f"Dossier {number} : {'enregistré' if answer.changed else 'inchangé'}.", markup=False)


def read_dossiers(path: Path) -> list[Foyer]:
    """Read one dossier, or a list of them; JsonError with the path of the field at fault."""
    from solidarite.v1.foyer_pb2 import Foyer

    from solidarite_client.errors import JsonError
    from solidarite_client.plain import from_plain

    try:
        content = json_module.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise JsonError("", f"{path.name} : un fichier JSON en UTF-8 est attendu") from None
    if isinstance(content, list):
        return [from_plain(item, Foyer(), f"[{index}]") for index, item in enumerate(content)]
    return [from_plain(content, Foyer())]


def show(client: SolidariteClient, allocataire: Allocataire, known_at: KnownAt = None, json: Json = False) -> None:
    """Montrer un dossier, sans aucun NIR. La consultation est tracée."""
    from solidarite_client.plain import to_plain

    plain = to_plain(client.get_foyer(allocataire, known_at=known_at).foyer)
    if json:
        print_json(plain)
    else:
        _print(plain)


def _print(foyer: dict[str, Any]) -> None:
    members = table(
        f"Foyer {foyer['numero_allocataire']}", "personne", "rôle", "né(e) le", "présence", "préremplissage"
    )
    for member in foyer["membres"]:
        members.add_row(
            member["personne"],
            member["role"].lower().replace("_", " "),
            member.get("date_naissance", ""),
            _presence(member),
            "possible" if member["prefill_possible"] else "non",
        )
    console().print(members)
    for housing in foyer["logements"]:
        console().print(f"Logement depuis {housing['debut']} : {housing['statut'].lower().replace('_', ' ')}")
    amounts = [
        (paid["mois"], name, cents)
        for paid in foyer["prestations"]
        for name, cents in paid.items()
        if name.endswith("_cents") and cents
    ]
    if amounts:
        benefits = table("Versé par la Caf", "mois", "prestation", "montant", amounts=("montant",))
        for month, name, cents in amounts:
            year, number = map(int, month.split("-"))
            benefits.add_row(month_name(year, number), name.removesuffix("_cents").replace("_", " "), euros(cents))
        console().print(benefits)


def _presence(member: dict[str, Any]) -> str:
    since = f"depuis le {member['entree']}" if "entree" in member else ""
    until = f"jusqu'au {member['sortie']} exclu" if "sortie" in member else ""
    return " ".join(filter(None, (since, until)))
