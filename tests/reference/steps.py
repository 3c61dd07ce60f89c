"""What each line of the explanation must say, computed again from the second opinion's own parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

from solidarite_server.domain.foyer import Foyer, RessourceMois
from solidarite_server.domain.month import Month

from tests.reference import params
from tests.reference.household import Examination
from tests.reference.income import Income
from tests.reference.ppa import bonus, examination
from tests.reference.rsa import transition

Lines = dict[tuple[str, Month | None, str], Fraction]
"""Cents by (what, month, person); a line that is 0 is not told."""


def rsa(foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month) -> Lines:
    """Lines of the RSA, but the last one that closes a right not due."""
    exam = Examination(foyer, "rsa", droit, droit)
    income = Income(exam, ressources)
    lines: Lines = defaultdict(Fraction)
    over_three = over_two = Fraction(0)
    for month in exam.months:
        counted = income.kept_dependants[month]
        scale, base = exam.scale(counted), exam.base("rsa")
        lines["Montant forfaitaire", month, ""] += scale * base / 3
        lines["Majoration", month, ""] += (exam.coefficient(month, counted) - scale) * base / 3
        lines["Forfait logement", month, ""] -= exam.housing(month, counted) / 3
        lines["Prestations familiales", month, ""] -= exam.benefits(month, counted) / 3
        for person in [*income.adults(), *counted]:
            lines["Ressources de la personne", None, person.personne] -= income.mean(person) / 3
            over_three += income.mean(person) / 3
            over_two += income.mean(person, exam.months[1:]) / 3
    if transition(exam):
        lines["Premier examen", None, ""] += max(Fraction(0), over_three - over_two)
    return lines


def ppa(foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month) -> Lines:
    """Lines of the prime, but those that bring a negative month, or a right not due, to zero."""
    exam = examination(foyer, ressources, droit, droit)
    income = Income(exam, ressources)
    lines: Lines = defaultdict(Fraction)
    for month in exam.months:
        counted = income.kept_dependants[month]
        scale, base = exam.scale(counted), exam.base("ppa")
        flat = exam.coefficient(month, counted) * base
        lines["Montant forfaitaire", month, ""] += scale * base / 3
        lines["Majoration", month, ""] += flat / 3 - scale * base / 3
        benefits, housing = exam.benefits(month, counted), exam.housing(month, counted)
        resources = benefits + housing
        lines["Prestations familiales", month, ""] -= benefits / 3
        lines["Forfait logement", month, ""] -= housing / 3
        for person in [*income.adults(), *counted]:
            work, rest = income.ppa(person, month)
            resources += work + rest
            lines["Ressources de la personne", month, person.personne] -= (work + rest) / 3
            lines["Part conservée", month, person.personne] += params.value("ppa.pente", exam.droit) * work / 3
            lines["Bonification", month, person.personne] += bonus(exam, month, work) / 3
        lines["Ressources du mois réputées", month, ""] += min(Fraction(0), resources - flat) / 3
    return lines
