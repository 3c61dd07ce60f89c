"""Two ways of OpenFisca that no option reproduces, computed again beside our engine to explain what is left.

- `dependance_de_chaque_mois`: whether a child with resources is à charge in a reference month is judged as if that
  month were examined, its interruptions guessed from that month and the one before; we judge once, in the month of
  right.
- `indemnites_reunies`: daily allowances that were replacement income in M-1 and are work income in M have stopped:
  all replacement allowances are one amount; we look at what was paid of each nature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from solidarite_server.domain.foyer import DroitAsf, Foyer, Membre, RessourceMois, Role
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource as N
from solidarite_server.engine import Explanation, explain, reference_quarter
from solidarite_server.engine.natures import MINIMA_SOCIAUX, NEUTRALISABLE_OPENFISCA
from solidarite_server.legislation import Fenetre, LegislationOptions, load_legislation

ORACLE = LegislationOptions.openfisca()
EACH_MONTH, ALLOWANCES = "dependance_de_chaque_mois", "indemnites_reunies"
SICKNESS = (N.IJSS_MALADIE, N.IJSS_ACCIDENT_TRAVAIL, N.IJSS_MALADIE_PROFESSIONNELLE)


@dataclass(frozen=True)
class Recomputed:
    """The rights in euros as the oracle's two ways make them, with the steps, and which of the two were needed."""

    explanation: Explanation
    causes: tuple[str, ...]


def recomputed(foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month) -> Recomputed:
    """Both rights under the oracle's option set and its two ways."""
    ours = explain(foyer, ressources, droit, options=ORACLE)
    kept = _without_stopped_allowances(foyer, ressources, droit)
    causes = [ALLOWANCES] if len(kept) != len(ressources) else []
    rsa = explain(foyer, kept, droit, options=ORACLE) if causes else ours
    steps = [step for step in ours.ppa_steps if step.mois is None and step.label.startswith("Le droit")]
    open_right = not steps
    for month in reference_quarter(foyer, droit, ORACLE).months:
        judged = _judged_in(month, foyer, ressources, droit)
        found = ours
        if judged is not None:
            found = explain(*judged, droit, options=ORACLE)
            if _of(found, month) != _of(ours, month):
                causes.append(EACH_MONTH)
        steps += _of(found, month)
    total = sum((step.amount_cents for step in steps), Decimal(0)) if open_right else Decimal(0)
    due = replace(
        rsa.entitlement,
        ppa_cents=_paid(total, droit),
        ppa_nette_crds_cents=_paid(total, droit, 1 - load_legislation().value("ppa.crds", droit)),
    )
    return Recomputed(Explanation(due, rsa.rsa_steps, tuple(steps)), tuple(sorted(set(causes))))


def _paid(cents: Decimal, droit: Month, share: Any = 1) -> int:
    minimum = load_legislation().value("ppa.seuil_versement", droit) * 100
    return round(float(cents) * float(share)) if cents >= minimum else 0


def _of(found: Explanation, month: Month) -> list[Any]:
    return [step for step in found.ppa_steps if step.mois == month]


def _judged_in(
    month: Month, foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month
) -> tuple[Foyer, list[RessourceMois]] | None:
    """The household whose children with resources are in or out as the examination of that month would have them."""
    quarter = reference_quarter(foyer, droit, ORACLE)
    window = Fenetre.M4_M2 if quarter.months[2] == droit - 2 else Fenetre.M3_M1
    options = replace(ORACLE, fenetre=window)
    earning = {line.personne for line in ressources}
    membres: list[Membre] = []
    lines = list(ressources)
    expecting = False
    for membre in foyer.membres:
        if membre.role is not Role.ENFANT or membre.autonomie_financiere or membre.personne not in earning:
            membres.append(membre)
            continue
        out = replace(membre, autonomie_financiere=True)
        without = replace(foyer, membres=tuple(out if m is membre else m for m in foyer.membres))
        brings = _flat(foyer, ressources, month, options) != _flat(without, ressources, month, options)
        shift = 2 if window is Fenetre.M4_M2 else 1
        if membre.date_naissance > month.last_day and _reaches_share(membre, ressources, month, shift):
            # The higher limit of an only child is for one who is born; the majoration stays, as for a pregnancy.
            brings, expecting = False, not any(m.role is Role.CONJOINT for m in foyer.membres)
        if not brings or _beyond(membre, ressources, month, shift):
            membres.append(out)
            continue
        # Counted whatever he or she has: another, who is no dependant, keeps the resources.
        keeper = f"{membre.personne} (ressources)"
        membres += [
            replace(out, personne=keeper, droit_asf=DroitAsf.AUCUN),
            replace(membre, benefices_annuels={}, revenus_locatifs={}, revenus_capitaux={}),
        ]
        lines = [replace(line, personne=keeper) if line.personne == membre.personne else line for line in lines]
    if len(membres) == len(foyer.membres) and tuple(membres) == foyer.membres:
        return None
    if expecting:
        membres = [replace(m, grossesse=(month,)) if m.role is Role.ALLOCATAIRE else m for m in membres]
    return replace(foyer, membres=tuple(membres)), lines


def _flat(foyer: Foyer, ressources: Sequence[RessourceMois], month: Month, options: LegislationOptions) -> Decimal:
    # The oracle counts a child before birth.
    born = tuple(replace(m, date_naissance=min(m.date_naissance, month.first_day)) for m in foyer.membres)
    found = explain(replace(foyer, membres=born), ressources, month, options=options)
    return sum((s.amount_cents for s in found.rsa_steps if s.label.startswith(("Montant f", "Majoration"))), Decimal(0))


def _reaches_share(membre: Membre, ressources: Sequence[RessourceMois], month: Month, shift: int) -> bool:
    """Whether the resources of the quarter before a month reach 40 % of the base."""
    limit = load_legislation().value("rsa.montant_forfaitaire", month) * 300
    quarter = {month - shift - back for back in range(3)}
    received = sum(r.montant_cents for r in ressources if r.personne == membre.personne and r.mois in quarter)
    return received >= limit * load_legislation().value("openfisca.enfant_part_base", month)


def _beyond(membre: Membre, ressources: Sequence[RessourceMois], month: Month, shift: int) -> bool:
    """Whether what a stopped resource holds beyond three times the base reaches 40 % of it by itself."""
    base = load_legislation().value("rsa.montant_forfaitaire", month) * 100
    share = load_legislation().value("openfisca.enfant_part_base", month)
    received: dict[N, dict[Month, int]] = {}
    for line in ressources:
        if line.personne == membre.personne:
            months = received.setdefault(line.nature, {})
            months[line.mois] = months.get(line.mois, 0) + line.montant_cents
    left = 0
    for nature, months in received.items():
        stopped = months.get(month - 1, 0) > 0 and months.get(month, 0) == 0
        if stopped and not NEUTRALISABLE_OPENFISCA[nature] and not MINIMA_SOCIAUX[nature]:
            quarter = sum(months.get(month - shift - back, 0) for back in range(3))
            left += max(0, quarter - int(3 * base))
    return left >= 3 * share * base


def _without_stopped_allowances(foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month) -> list[RessourceMois]:
    """The resources of the RSA once replacement allowances that stopped are ignored, within three times the base."""
    base = load_legislation().value("rsa.montant_forfaitaire", droit) * 300
    kept = list(ressources)
    for membre in foyer.membres:
        replacing = [
            line
            for line in ressources
            if line.personne == membre.personne
            and line.nature in SICKNESS
            and line.montant_cents > 0
            and not _work(membre, line.mois, ressources)
        ]
        before = any(line.mois == droit - 1 for line in replacing)
        after = any(line.mois == droit for line in replacing)
        months = reference_quarter(foyer, droit, ORACLE).months
        ignored = [line for line in replacing if line.mois in months]
        still = any(
            line.personne == membre.personne and line.nature in SICKNESS and line.mois == droit for line in ressources
        )
        if before and not after and still and sum(line.montant_cents for line in ignored) <= base:
            kept = [line for line in kept if line not in ignored]
    return kept


def _work(membre: Membre, month: Month, ressources: Sequence[RessourceMois]) -> bool:
    """Whether the oracle holds the sick pay of a month for work income."""
    own = [line for line in ressources if line.personne == membre.personne and line.montant_cents > 0]
    if any(line.nature is N.SALAIRE and line.mois == month for line in own):
        return True
    if membre.date_arret_travail is not None:
        return Month.of(membre.date_arret_travail) >= month - 3
    return not any(line.nature in SICKNESS and line.mois == month - 3 for line in own)
