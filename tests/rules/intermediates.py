"""The amounts on the way to the two rights, as our explanation tells them, beside those that the oracle gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from solidarite_server.engine import Explanation, ExplanationStep

MONTHS = 3
CLOSE_EUROS = 0.01
"""The oracle computes in 32-bit floats."""

FORFAIT, MAJORATION = "Montant forfaitaire", "Majoration pour isolement"
LOGEMENT, PRESTATIONS = "Forfait logement", "Prestations familiales"
PERSONNE, AUTRES = "Ressources de la personne", "Autres ressources interrompues"
PENTE, BONIFICATION = "Part conservée", "Bonification"


def intermediates_apart(due: Explanation, expected: Mapping[str, Any]) -> list[str]:
    """One line for each intermediate that differs, and the two amounts in euros."""
    told = [*_rsa(due, expected["rsa_detail"]), *_ppa(due, expected["ppa_detail"]["months"])]
    return [f"{name}: {ours:.4f} instead of {theirs:.4f}" for name, ours, theirs in told if _apart(ours, theirs)]


def _apart(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) > CLOSE_EUROS


def _euros(steps: Iterable[ExplanationStep], *labels: str) -> float:
    return float(sum(step.amount_cents for step in steps if step.label.startswith(labels))) / 100


def _rsa(due: Explanation, detail: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    guaranteed = max(detail["montant_forfaitaire"], detail["montant_forfaitaire_majore"])
    if not guaranteed:  # the oracle gives 0 for a right that is closed
        return
    yield "montant forfaitaire", _euros(due.rsa_steps, FORFAIT, MAJORATION), guaranteed
    majored = bool(_euros(due.rsa_steps, MAJORATION))
    yield "majoration", majored, detail["montant_forfaitaire_majore"] > detail["montant_forfaitaire"]
    yield "forfait logement", -_euros(due.rsa_steps, LOGEMENT), detail["forfait_logement"]
    yield "base ressources", -_euros(due.rsa_steps, PRESTATIONS, PERSONNE, AUTRES), detail["base_ressources"]


def _ppa(due: Explanation, months: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float, float]]:
    by_month: dict[str, list[ExplanationStep]] = defaultdict(list)
    for step in due.ppa_steps:
        if step.mois is not None:
            by_month[str(step.mois)].append(step)
    for month, theirs in months.items():
        if not theirs["eligible"]:
            continue
        steps = by_month[month]
        majored = bool(_euros(steps, MAJORATION))
        yield f"{month} majoration", majored, theirs["majoration_isolement"]
        yield f"{month} montant forfaitaire", MONTHS * _euros(steps, FORFAIT, MAJORATION), theirs["montant_forfaitaire"]
        yield f"{month} forfait logement", -MONTHS * _euros(steps, LOGEMENT), theirs["forfait_logement"]
        received = theirs["revenus_activite"] + theirs["ressources_hors_activite"]
        yield f"{month} ressources", -MONTHS * _euros(steps, PRESTATIONS, PERSONNE), received
        yield f"{month} bonification", MONTHS * _euros(steps, BONIFICATION), theirs["bonification"]
        yield f"{month} prime", MONTHS * float(sum(step.amount_cents for step in steps)) / 100, theirs["prime"]
