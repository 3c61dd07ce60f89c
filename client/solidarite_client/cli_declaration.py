"""`solidarite prefill` and `solidarite entitlements`: the declaration of a month and the rights that it opens."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from solidarite_client.cli_common import (
    Allocataire,
    DeclarationMonth,
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
    from solidarite.v1.declaration_pb2 import Declaration
    from solidarite.v1.entitlement_pb2 import BenefitEntitlement, ExplanationStep, MonthlyEntitlement

    from solidarite_client._sync import SolidariteClient


# LineStatus of the contract, in the words of the household.
_STATUSES = {
    1: "prérempli",
    2: "confirmé",
    3: "rectifié, en vérification",
    4: "rectification acceptée",
    5: "rectification rejetée",
    6: "rectification acceptée en partie",
    7: "ajouté",
    8: "à déclarer",
    9: "connu de la Caf",
}


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("prefill")(connected(prefill))
    app.command("entitlements")(connected(entitlements))


def prefill(
    client: SolidariteClient,
    allocataire: Allocataire,
    month: DeclarationMonth,
    known_at: KnownAt = None,
    json: Json = False,
) -> None:
    """Préremplir la déclaration trimestrielle d'un foyer. Rien n'est changé."""
    from solidarite_client.plain import to_plain

    declaration = client.prefill_declaration(allocataire, month, known_at=known_at)
    if json:
        print_json(to_plain(declaration))
    else:
        print_declaration(declaration)


def print_declaration(declaration: Declaration) -> None:
    """Show a declaration as tables: its lines, then what its reader should know."""
    month = declaration.mois_declaration
    title = f"Déclaration de {month_name(month.year, month.month)}, dossier {declaration.numero_allocataire}"
    amounts = ("prérempli", "déclaré", "retenu")
    lines = table(title, "mois", "personne", "ressource", *amounts, "état", amounts=amounts)
    for line in declaration.lines:
        lines.add_row(
            month_name(line.mois.year, line.mois.month),
            line.personne,
            line.label_fr,
            euros(line.montant_prerempli_cents) if line.HasField("montant_prerempli_cents") else "",
            euros(line.montant_declare_cents) if line.HasField("montant_declare_cents") else "",
            euros(line.montant_retenu_cents),
            _STATUSES.get(line.status, "") + (" (ramené à zéro)" if line.zeroed else ""),
        )
    if declaration.lines:
        console().print(lines)
    else:
        console().print(f"{title} : aucune ressource n'est préremplie.", markup=False)
    for person in declaration.persons:
        if not person.prefilled:
            console().print(f"{person.personne} : {person.message_fr}", markup=False)
    for signal in declaration.signals:
        console().print(f"À vérifier : {signal.message_fr}", markup=False)


def entitlements(
    client: SolidariteClient,
    allocataire: Allocataire,
    month: DeclarationMonth,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Montrer chaque étape du calcul.")] = True,
    known_at: KnownAt = None,
    json: Json = False,
) -> None:
    """Montrer le RSA et la prime d'activité d'un foyer, étape par étape."""
    from solidarite_client.plain import to_plain

    answer = client.get_entitlements(allocataire, month, explain=explain, known_at=known_at)
    if json:
        print_json(to_plain(answer))
        return
    if answer.estimate:
        console().print("Estimation : la déclaration n'est pas validée, les montants peuvent changer.")
    print_entitlements(answer.months)


def print_entitlements(months: Any) -> None:
    """Show the rights of each month, then how they come about; equal explanations are shown once."""
    rights = table(
        "Droits", "mois", "prestation", "dû", "net de CRDS", "versé", "motif", amounts=("dû", "net de CRDS", "versé")
    )
    for month in months:
        for benefit in month.benefits:
            rights.add_row(
                month_name(month.mois_droit.year, month.mois_droit.month),
                _benefit_name(benefit),
                euros(benefit.montant_cents),
                euros(benefit.montant_net_crds_cents),
                euros(benefit.montant_verse_cents),
                benefit.motif,
            )
    console().print(rights)
    _print_explanations(months)


def _print_explanations(months: list[MonthlyEntitlement]) -> None:
    shown: list[bytes] = []
    for month in months:
        for benefit in month.benefits:
            content = b"".join(step.SerializeToString(deterministic=True) for step in benefit.steps)
            if not content or content in shown:
                continue
            shown.append(content)
            title = f"{_benefit_name(benefit)}, {month_name(month.mois_droit.year, month.mois_droit.month)}"
            steps = table(title, "étape", "montant", "texte", amounts=("montant",))
            for step in benefit.steps:
                steps.add_row("  " * step.depth + _step_label(step), _step_amount(step), step.article)
            steps.add_row("Dû", euros(benefit.montant_cents), "", style="bold")
            console().print(steps)


def _benefit_name(benefit: BenefitEntitlement) -> str:
    from solidarite.v1.common_pb2 import BENEFIT_RSA

    return "RSA" if benefit.benefit == BENEFIT_RSA else "Prime d'activité"


def _step_label(step: ExplanationStep) -> str:
    month = month_name(step.mois.year, step.mois.month) if step.HasField("mois") else ""
    where = ", ".join(filter(None, (step.personne, month)))
    return f"{step.label} ({where})" if where else step.label


def _step_amount(step: ExplanationStep) -> str:
    """Steps are not rounded yet: parts of a cent are shown where there are some, so that the lines add up."""
    if not step.amount_cents:
        return ""
    cents = Decimal(step.amount_cents)
    if cents == cents.to_integral_value():
        return euros(int(cents))
    whole, fraction = divmod(abs(int(cents * 100)), 10_000)
    sign = "−" if cents < 0 else ""
    return f"{sign}{whole:,}".replace(",", "\u202f") + f",{fraction:04d}\xa0€"
