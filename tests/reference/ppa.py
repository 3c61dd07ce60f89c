"""Prime d'activité of one month, exact (REGULATION §4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from solidarite_server.domain.foyer import Foyer, Membre, RessourceMois, Statut
from solidarite_server.domain.month import Month

from tests.reference import params
from tests.reference.household import Examination, age, has_status, paid_abroad
from tests.reference.income import ZERO, Exact, Income
from tests.reference.rounding import round_half_up


def bonus(exam: Examination, month: Month, work: Exact) -> Fraction:
    """Bonification individuelle of one person in one month, in cents (D843-2)."""
    if not work:
        return ZERO
    smic = exam.smic(month)
    floor, top = params.BONUS_FLOOR_HOURS, params.value("ppa.bonus.top_hours", month)
    if exam.mayotte:
        floor, top = params.MAYOTTE_BONUS_HOURS
    most = round_half_up(params.value("ppa.bonus.rate", month) * exam.base("ppa"))
    share = (work - floor * smic) / ((top - floor) * smic)
    return most * min(max(share, ZERO), Fraction(1))


def _works(exam: Examination, income: Income, person: Membre, isolated: bool) -> bool:
    """Whether one adult opens the right (L842-1, L842-2)."""
    day = exam.declaration.first_day
    work = [income.ppa(person, month)[0] for month in exam.months]
    if age(person, day) < 18 or sum(work) <= 0 or has_status(person, day, Statut.DETACHE):
        return False
    if isolated or not has_status(person, day, Statut.ETUDIANT, Statut.APPRENTI, Statut.STAGIAIRE):
        return True
    hours = params.MAYOTTE_STUDENT_HOURS if exam.mayotte else params.STUDENT_HOURS
    return all(amount > hours * exam.smic(month) for amount, month in zip(work, exam.months, strict=True))


def examination(foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month, declaration: Month) -> Examination:
    """The declaration as the prime reads it: a partner on leave who works is counted."""
    alone = Examination(foyer, "ppa", droit, declaration)
    partner = alone.conjoint
    earns = partner is not None and any(Income(alone, ressources).ppa(partner, month)[0] > 0 for month in alone.months)
    return replace(alone, partner_earns=earns)


def amount(foyer: Foyer, ressources: Sequence[RessourceMois], droit: Month, declaration: Month) -> Fraction:
    """Prime due in cents, gross of CRDS, not rounded; 0 below the minimum paid."""
    exam = examination(foyer, ressources, droit, declaration)
    income = Income(exam, ressources)
    last = exam.months[-1]
    isolated = exam.isolated(last, income.kept_dependants[last])
    if not exam.resident(exam.allocataire, isolated=isolated) or not paid_abroad(foyer, droit):
        return ZERO
    if not any(_works(exam, income, person, isolated) for person in income.adults()):
        return ZERO
    due = sum((_month(exam, income, month, income.kept_dependants[month]) for month in exam.months), ZERO) / 3
    return due if due >= params.PPA_MINIMUM_CENTS else ZERO


def _month(exam: Examination, income: Income, month: Month, counted: Sequence[Membre]) -> Fraction:
    flat = exam.coefficient(month, counted) * exam.base("ppa")
    work = rest = bonuses = ZERO
    for person in [*income.adults(), *counted]:
        earned, other = income.ppa(person, month)
        work += earned
        rest += other
        bonuses += bonus(exam, month, earned)
    resources = work + rest + exam.benefits(month, counted) + exam.housing(month, counted)
    return max(ZERO, flat + params.value("ppa.pente", exam.droit) * work + bonuses - max(resources, flat))
