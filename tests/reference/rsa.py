"""RSA of one month, exact (REGULATION §3)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from solidarite_server.domain.foyer import Foyer, Regime, RessourceMois, Role, Statut
from solidarite_server.domain.month import Month

from tests.reference import params
from tests.reference.household import Examination, age, has_status, paid_abroad
from tests.reference.income import Income


def _eligible(exam: Examination, income: Income) -> bool:
    last = exam.months[-1]
    isolated = exam.isolated(last, income.kept_dependants[last])
    person = exam.allocataire
    closed = has_status(person, exam.declaration.first_day, Statut.ETUDIANT, Statut.STAGIAIRE, Statut.CONGE)
    return _old_enough(exam) and exam.resident(person, isolated=isolated) and (isolated or not closed)


def _old_enough(exam: Examination) -> bool:
    adults = [person for person in (exam.allocataire, exam.conjoint) if person is not None]
    day = exam.declaration.first_day
    openers = adults if exam.partner_counts else [exam.allocataire]
    child = any(person.role is Role.ENFANT for person in exam.dependants(exam.declaration))
    return (
        child
        or any(exam.declaration in person.grossesse for person in adults)
        or any(age(person, day) >= 25 for person in openers)
        or any(age(p, day) >= 18 and p.heures_travail_trois_ans >= params.YOUNG_WORKER_HOURS for p in openers)
    )


def transition(exam: Examination) -> bool:
    """Whether the transition clause of décret 2025-185 holds (§2.2)."""
    first = Month(2025, 9) if exam.foyer.regime is Regime.MSA else Month(2025, 3)
    return exam.foyer.premier_examen_reforme and exam.reformed and first <= exam.declaration <= first + 2


def amount(foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month, declaration: Month) -> Fraction:
    """RSA due in cents, not rounded; 0 below the minimum paid."""
    exam = Examination(foyer, "rsa", droit, declaration)
    income = Income(exam, ressources)
    if not _eligible(exam, income) or not paid_abroad(foyer, droit):
        return Fraction(0)
    reformed_now = transition(exam)
    guaranteed = over_three = over_two = Fraction(0)
    for month in exam.months:
        counted = income.kept_dependants[month]
        guaranteed += exam.coefficient(month, counted) * exam.base("rsa")
        guaranteed -= exam.housing(month, counted) + exam.benefits(month, counted)
        for person in [*income.adults(), *counted]:
            over_three += income.mean(person)
            if reformed_now:
                over_two += income.mean(person, exam.months[1:])
    received = min(over_three, over_two) if reformed_now else over_three
    due = (guaranteed - received) / 3
    return due if due >= params.RSA_MINIMUM_CENTS else Fraction(0)


def suspended_share(foyer: Foyer, droit: Month, declaration: Month) -> Fraction:
    """Share of the RSA withheld in a month by a sanction (décret 2025-478)."""
    rates = [sanction.taux_suspension_pour_cent for sanction in foyer.sanctions if sanction.mois == droit]
    if not rates:
        return Fraction(0)
    exam = Examination(foyer, "rsa", droit, declaration)
    persons = 1 + (exam.conjoint is not None) + len(exam.dependants(droit))
    return Fraction(min(rates[0], 50) if persons > 1 else rates[0], 100)
