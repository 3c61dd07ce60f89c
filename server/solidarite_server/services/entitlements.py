"""Entitlements of the three months that a declaration opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solidarite_server.domain.foyer import Foyer, RessourceMois
from solidarite_server.domain.month import Month
from solidarite_server.engine import Entitlement, Explanation, ExplanationStep, compute, explain, reference_quarter
from solidarite_server.legislation import LegislationOptions, load_legislation


@dataclass(frozen=True, slots=True)
class MonthlyEntitlement:
    """The rights of one month of right; the steps are there when asked for."""

    entitlement: Entitlement
    rsa_steps: tuple[ExplanationStep, ...] = ()
    ppa_steps: tuple[ExplanationStep, ...] = ()


@dataclass(frozen=True, slots=True)
class QuarterEntitlements:
    """The rights opened by a declaration."""

    mois_reference: tuple[Month, Month, Month]
    months: tuple[MonthlyEntitlement, ...]
    legislation_version: str


def quarter_entitlements(
    foyer: Foyer,
    ressources: Sequence[RessourceMois],
    mois_declaration: Month,
    *,
    options: LegislationOptions,
    with_steps: bool,
) -> QuarterEntitlements:
    """Compute M, M+1 and M+2, all examined in M: amounts frozen but for parameters by month of right (R262-4)."""
    quarter = reference_quarter(foyer, mois_declaration, options)
    months = tuple(
        _month(foyer, ressources, mois, mois_declaration, options, with_steps) for mois in quarter.mois_droit
    )
    return QuarterEntitlements(quarter.months, months, load_legislation().version)


def _month(
    foyer: Foyer,
    ressources: Sequence[RessourceMois],
    mois: Month,
    mois_declaration: Month,
    options: LegislationOptions,
    with_steps: bool,
) -> MonthlyEntitlement:
    if with_steps:
        found: Explanation = explain(foyer, ressources, mois, mois_declaration=mois_declaration, options=options)
        return MonthlyEntitlement(found.entitlement, found.rsa_steps, found.ppa_steps)
    return MonthlyEntitlement(compute(foyer, ressources, mois, mois_declaration=mois_declaration, options=options))
