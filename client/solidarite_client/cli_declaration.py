"""`solidarite prefill`, `entitlements` and `declaration …`: a declaration over its whole life, and its rights."""

from __future__ import annotations

from datetime import UTC, date
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
    read_day,
    read_euros,
    read_month,
    read_nature,
    read_one_of,
    table,
)
from solidarite_client.models import Month, NatureRessource

if TYPE_CHECKING:
    from solidarite.v1.declaration_pb2 import (
        Amendment,
        DecideRectificationResponse,
        Declaration,
        Difference,
        LineChange,
        LineDecision,
        ReviseDeclarationResponse,
        Signal,
    )
    from solidarite.v1.entitlement_pb2 import BenefitEntitlement, ExplanationStep, MonthlyEntitlement

    from solidarite_client._sync import SolidariteClient


_CAUSES = ("CONTROLE", "INTERRUPTION_RESSOURCES", "FIN_VIE_COUPLE", "ISOLEMENT")
"""Why a frozen quarter is computed again: the contract's names."""


def _read_cause(text: str) -> str:
    return read_one_of(_CAUSES, text)


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
    life = typer.Typer(help="Mener une déclaration de bout en bout.", no_args_is_help=True)
    for verb in (confirm, rectify, add, remove, submit, accept, reject, retain, revise, watch, history):
        life.command(verb.__name__)(connected(verb))
    app.add_typer(life, name="declaration")


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
    lines = table(title, "mois", "personne", "ressource", *amounts, "état", "ligne", amounts=amounts)
    lines.columns[-1].no_wrap = True  # to be copied into the next command
    for line in declaration.lines:
        lines.add_row(
            month_name(line.mois.year, line.mois.month),
            line.personne,
            line.label_fr,
            euros(line.montant_prerempli_cents) if line.HasField("montant_prerempli_cents") else "",
            euros(line.montant_declare_cents) if line.HasField("montant_declare_cents") else "",
            euros(line.montant_retenu_cents),
            _STATUSES.get(line.status, "") + (" (ramené à zéro)" if line.zeroed else ""),
            line.line_id,
        )
    if declaration.lines:
        console().print(lines)
    else:
        console().print(f"{title} : aucune ressource n'est préremplie.", markup=False)
    for person in declaration.persons:
        if not person.prefilled:
            console().print(f"{person.personne} : {person.message_fr}", markup=False)
    for signal in declaration.signals:
        console().print(f"À vérifier{_where(signal)} : {signal.message_fr}", markup=False)


def _where(signal: Signal) -> str:
    """Whom and which month a signal speaks of, between brackets; nothing when it speaks of the whole declaration."""
    month = month_name(signal.mois.year, signal.mois.month) if signal.HasField("mois") else ""
    about = ", ".join(part for part in (signal.personne, month) if part)
    return f" ({about})" if about else ""


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


LineId = Annotated[
    str, typer.Argument(metavar="LIGNE", help="Identifiant de la ligne, par exemple Zoé/2026-07/SALAIRE.")
]
Cents = Annotated[
    int, typer.Argument(metavar="MONTANT", parser=read_euros, help="En euros, par exemple 912,40 ou 912.40.")
]
Motif = Annotated[str, typer.Option("--motif", metavar="TEXTE", help="Ce qui est dit au foyer.")]


def confirm(
    client: SolidariteClient,
    allocataire: Allocataire,
    month: DeclarationMonth,
    lines: Annotated[
        list[str] | None, typer.Argument(metavar="[LIGNE]...", help="Lignes ; sans aucune, toutes les préremplies.")
    ] = None,
    json: Json = False,
) -> None:
    """Confirmer des lignes préremplies."""
    from solidarite_client import _requests

    _amend(client, allocataire, month, _requests.confirm(*(lines or ())), json)


def rectify(
    client: SolidariteClient,
    line: LineId,
    amount: Cents,
    allocataire: Allocataire,
    month: DeclarationMonth,
    justification: Annotated[
        str, typer.Option("--justificatif", metavar="RÉF", help="Référence de la pièce justificative.")
    ],
    json: Json = False,
) -> None:
    """Rectifier une ligne préremplie, pièce justificative à l'appui."""
    from solidarite_client import _requests

    _amend(client, allocataire, month, _requests.rectify(line, amount, justification), json)


def add(
    client: SolidariteClient,
    personne: Annotated[str, typer.Argument(metavar="PERSONNE", help="Membre du foyer.")],
    mois: Annotated[Month, typer.Argument(metavar="AAAA-MM", parser=read_month, help="Mois de référence.")],
    nature: Annotated[NatureRessource, typer.Argument(metavar="NATURE", parser=read_nature, help="SALAIRE, …")],
    amount: Cents,
    allocataire: Allocataire,
    month: DeclarationMonth,
    json: Json = False,
) -> None:
    """Ajouter une ressource que personne n'a transmise."""
    from solidarite_client import _requests

    _amend(client, allocataire, month, _requests.add(personne, mois, nature, amount), json)


def remove(
    client: SolidariteClient, line: LineId, allocataire: Allocataire, month: DeclarationMonth, json: Json = False
) -> None:
    """Retirer une ligne ajoutée."""
    from solidarite_client import _requests

    _amend(client, allocataire, month, _requests.remove(line), json)


def _amend(client: SolidariteClient, allocataire: str, month: Month, amendment: Amendment, json: bool) -> None:
    etag = client.prefill_declaration(allocataire, month).etag
    _show(client.amend_declaration(allocataire, month, etag=etag, amendments=[amendment]), json)


def submit(
    client: SolidariteClient,
    allocataire: Allocataire,
    month: DeclarationMonth,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Montrer chaque étape du calcul.")] = False,
    json: Json = False,
) -> None:
    """Valider la déclaration : les droits sont calculés et figés pour trois mois."""
    etag = client.prefill_declaration(allocataire, month).etag
    submitted = client.submit_declaration(allocataire, month, etag=etag, explain=explain)
    _show(submitted, json)
    if not json:
        print_entitlements(submitted.entitlements)


def accept(
    client: SolidariteClient, line: LineId, allocataire: Allocataire, month: DeclarationMonth, json: Json = False
) -> None:
    """Accepter une rectification."""
    from solidarite_client import _requests

    _decide(client, allocataire, month, _requests.accept(line), json)


def reject(
    client: SolidariteClient,
    line: LineId,
    allocataire: Allocataire,
    month: DeclarationMonth,
    motif: Motif,
    json: Json = False,
) -> None:
    """Rejeter une rectification : le montant prérempli compte."""
    from solidarite_client import _requests

    _decide(client, allocataire, month, _requests.reject(line, motif), json)


def retain(
    client: SolidariteClient,
    line: LineId,
    amount: Cents,
    allocataire: Allocataire,
    month: DeclarationMonth,
    motif: Motif,
    json: Json = False,
) -> None:
    """Retenir un autre montant que celui d'une rectification."""
    from solidarite_client import _requests

    _decide(client, allocataire, month, _requests.retain(line, amount, motif), json)


def _decide(client: SolidariteClient, allocataire: str, month: Month, decision: LineDecision, json: bool) -> None:
    etag = client.prefill_declaration(allocataire, month).etag
    _show_recomputed(client.decide_rectification(allocataire, month, etag=etag, decisions=[decision]), json)


def revise(
    client: SolidariteClient,
    cause: Annotated[
        str,
        typer.Argument(metavar="CAUSE", parser=_read_cause, help=f"Pourquoi recalculer : {', '.join(_CAUSES)}."),
    ],
    allocataire: Allocataire,
    month: DeclarationMonth,
    event_date: Annotated[
        date | None,
        typer.Option("--date", metavar="AAAA-MM-JJ", parser=read_day, help="Jour de l'événement, sauf pour CONTROLE."),
    ] = None,
    motif: Motif = "",
    json: Json = False,
) -> None:
    """Recalculer un trimestre figé : contrôle, ou l'une des trois exceptions de l'article R262-4-1."""
    etag = client.prefill_declaration(allocataire, month).etag
    answer = client.revise_declaration(
        allocataire, month, etag=etag, cause=cause, event_date=event_date, motif_fr=motif
    )
    _show_recomputed(answer, json)


def watch(client: SolidariteClient, allocataire: Allocataire, month: DeclarationMonth, json: Json = False) -> None:
    """Attendre les corrections tardives tant que la déclaration est ouverte ; Ctrl-C pour arrêter."""
    from solidarite_client.plain import to_plain

    for notice in client.watch_declaration(allocataire, month):
        if json:
            print_json(to_plain(notice))
            continue
        for change in notice.changes:
            line = change.after if change.HasField("after") else change.before
            console().print(f"{line.line_id} : {_before(change)} devient {_after(change)}", markup=False)


def _before(change: LineChange) -> str:
    return euros(change.before.montant_prerempli_cents) if change.HasField("before") else "rien"


def _after(change: LineChange) -> str:
    return euros(change.after.montant_prerempli_cents) if change.HasField("after") else "rien"


def history(
    client: SolidariteClient,
    allocataire: Allocataire,
    month: DeclarationMonth,
    known_at: KnownAt = None,
    json: Json = False,
) -> None:
    """Montrer tout ce qui est arrivé à une déclaration : qui, quoi, quand, d'après quel enregistrement."""
    from solidarite_client.plain import to_plain

    answer = client.get_declaration(allocataire, month, known_at=known_at)
    if json:
        print_json(to_plain(answer))
        return
    events = table("Historique", "instant", "qui", "quoi", "ligne", "avant", "après", amounts=("avant", "après"))
    for event in answer.timeline:
        events.add_row(
            event.at.ToDatetime(UTC).astimezone().strftime("%d/%m/%Y %H:%M:%S"),
            event.actor,
            event.message_fr,
            event.line_id,
            euros(event.before_cents) if event.HasField("before_cents") else "",
            euros(event.after_cents) if event.HasField("after_cents") else "",
        )
    console().print(events)


def _show(declaration: Declaration, json: bool) -> None:
    from solidarite_client.plain import to_plain

    if json:
        print_json(to_plain(declaration))
    else:
        print_declaration(declaration)


def _show_recomputed(answer: DecideRectificationResponse | ReviseDeclarationResponse, json: bool) -> None:
    from solidarite_client.plain import to_plain

    if json:
        print_json(to_plain(answer))
        return
    print_declaration(answer.declaration)
    if not answer.differences:
        console().print("Les droits ne changent pas.")
        return
    amounts = ("avant", "après", "rappel", "indu")
    shown = table("Différences", "mois", "prestation", *amounts, "motif", amounts=amounts)
    for found in answer.differences:
        shown.add_row(
            month_name(found.mois_droit.year, found.mois_droit.month),
            _benefit_name(found),
            euros(found.before_cents),
            euros(found.after_cents),
            euros(found.rappel_cents) if found.rappel_cents else "",
            euros(found.indu_cents) if found.indu_cents else "",
            found.motif_fr,
        )
    console().print(shown)


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


def _benefit_name(benefit: BenefitEntitlement | Difference) -> str:
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
