"""RSA of one month, exact (REGULATION §3)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from solidarite_server.domain.foyer import Foyer, Membre, Regime, RessourceMois, Role, Statut
from solidarite_server.domain.month import Month
from tests.reference import params
from tests.reference.household import Examination, age, has_status
from tests.reference.income import Income

Kept = dict[Month, list[Membre]]


def _eligible(exam: Examination, kept: Kept) -> bool:
    last = exam.months[-1]
    isolated = exam.isolated(last, kept[last])
    person = exam.allocataire
    closed = has_status(person, exam.declaration.first_day, Statut.ETUDIANT, Statut.STAGIAIRE, Statut.CONGE)
    return _old_enough(exam) and exam.resident(person, isolated=isolated) and (isolated or not closed)


def _old_enough(exam: Examination) -> bool:
    adults = [person for person in (exam.allocataire, exam.conjoint) if person is not None]
    day = exam.droit.first_day
    child = any(
        person.role is Role.ENFANT and person.present_on(exam.declaration.last_day) for person in exam.foyer.membres
    )
    return (
        child
        or any(exam.declaration in person.grossesse for person in adults)
        or any(age(person, day) >= 25 for person in adults)
        or any(age(p, day) >= 18 and p.heures_travail_trois_ans >= params.YOUNG_WORKER_HOURS for p in adults)
    )


def _transition(exam: Examination) -> bool:
    first = Month(2025, 9) if exam.foyer.regime is Regime.MSA else Month(2025, 3)
    return exam.foyer.premier_examen_reforme and exam.reformed and first <= exam.declaration <= first + 2


def amount(foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month, declaration: Month) -> Fraction:
    """RSA due in cents, not rounded; 0 below the minimum paid."""
    exam = Examination(foyer, "rsa", droit, declaration)
    income = Income(exam, ressources)
    kept = income.kept_dependants()
    if not _eligible(exam, kept):
        return Fraction(0)
    guaranteed = Fraction(0)
    received: list[Fraction] = []
    for month in exam.months:
        counted = kept[month]
        guaranteed += exam.coefficient(month, counted) * exam.base("rsa")
        guaranteed -= exam.housing(month, counted) + exam.benefits(month, counted)
        received.append(sum((income.rsa(person, month) for person in [*income.adults(), *counted]), Fraction(0)))
    mean = sum(received, Fraction(0)) / 3
    if _transition(exam):
        mean = min(mean, (received[1] + received[2]) / 2)
    due = guaranteed / 3 - mean
    return due if due >= params.RSA_MINIMUM_CENTS else Fraction(0)


def suspended_share(foyer: Foyer, droit: Month) -> Fraction:
    """Share of the RSA withheld in a month by a sanction (décret 2025-478)."""
    rates = [sanction.taux_suspension_pour_cent for sanction in foyer.sanctions if sanction.mois == droit]
    if not rates:
        return Fraction(0)
    persons = sum(1 for person in foyer.membres if person.present_on(droit.first_day))
    return Fraction(min(rates[0], 50) if persons > 1 else rates[0], 100)
