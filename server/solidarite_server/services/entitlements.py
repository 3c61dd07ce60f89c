"""Entitlements of the three months that a declaration opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from solidarite_server.domain.foyer import Foyer, RessourceMois
from solidarite_server.domain.month import Month
from solidarite_server.engine import (
    Case,
    Entitlement,
    ExplanationStep,
    columns_from,
    compute_columns,
    explain,
    reference_quarter,
)
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

    @property
    def amounts(self) -> tuple[Entitlement, ...]:
        """The rights alone, by month of right."""
        return tuple(month.entitlement for month in self.months)


def quarter_entitlements(
    foyer: Foyer,
    ressources: Sequence[RessourceMois],
    mois_declaration: Month,
    *,
    options: LegislationOptions,
    with_steps: bool,
    examined_rsa: Mapping[Month, Foyer] | None = None,
    examined_ppa: Mapping[Month, Foyer] | None = None,
) -> QuarterEntitlements:
    """Compute M, M+1 and M+2, all examined in M: amounts frozen but for parameters by month of right (R262-4).

    `examined_rsa` and `examined_ppa` give, for the months of right touched by one of the exceptions (R262-4-1, R843-2),
    the household as it is then examined; resources of persons who are not in it are left out.
    """
    quarter = reference_quarter(foyer, mois_declaration, options)

    def rights(examined: Mapping[Month, Foyer]) -> tuple[MonthlyEntitlement, ...]:
        cases = [_case(examined.get(mois, foyer), ressources, mois, mois_declaration) for mois in quarter.mois_droit]
        if with_steps:
            return tuple(_explained(case, options) for case in cases)
        due = compute_columns(columns_from(cases, options), options)
        return tuple(MonthlyEntitlement(due.entitlement(row, case.mois_droit)) for row, case in enumerate(cases))

    rsa, ppa = examined_rsa or {}, examined_ppa or {}
    months = rights(rsa)
    if ppa != rsa:
        months = tuple(_joined(one, other) for one, other in zip(months, rights(ppa), strict=True))
    return QuarterEntitlements(quarter.months, months, load_legislation().version)


def _joined(rsa: MonthlyEntitlement, ppa: MonthlyEntitlement) -> MonthlyEntitlement:
    """The RSA of one examination and the prime of another."""
    prime = ppa.entitlement
    amounts = replace(
        rsa.entitlement,
        ppa_cents=prime.ppa_cents,
        ppa_nette_crds_cents=prime.ppa_nette_crds_cents,
        ppa_code=prime.ppa_code,
    )
    return MonthlyEntitlement(amounts, rsa.rsa_steps, ppa.ppa_steps)


def _case(foyer: Foyer, ressources: Sequence[RessourceMois], mois_droit: Month, mois_declaration: Month) -> Case:
    present = {membre.personne for membre in foyer.membres}
    counted = [ressource for ressource in ressources if ressource.personne in present]
    return Case(foyer, counted, mois_droit, mois_declaration)


def _explained(case: Case, options: LegislationOptions) -> MonthlyEntitlement:
    found = explain(
        case.foyer, case.ressources, case.mois_droit, mois_declaration=case.mois_declaration, options=options
    )
    return MonthlyEntitlement(found.entitlement, found.rsa_steps, found.ppa_steps)
