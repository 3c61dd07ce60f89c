"""What each person received, month by month, in cents (REGULATION §2.1, §3.5, §3.8, §4.4, §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from solidarite_server.domain.foyer import Membre, RegimeNonSalarie, RessourceMois
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource as N

from tests.reference import params
from tests.reference.household import Examination

WAGES = (N.SALAIRE, N.APPRENTISSAGE, N.STAGE_FORMATION, N.ACTIVITE_PARTIELLE)
WORK = (
    *WAGES,
    N.BOURSE_RECHERCHE,
    N.IJSS_MATERNITE,
    N.IJSS_PATERNITE,
    N.IJSS_ADOPTION,
    N.NON_SALARIE,
    N.MICRO_ENTREPRISE,
    N.ETRANGER_TRAVAIL,
)
SICKNESS = (N.IJSS_MALADIE, N.IJSS_ACCIDENT_TRAVAIL, N.IJSS_MALADIE_PROFESSIONNELLE)
UNEMPLOYMENT = (N.CHOMAGE, N.SECURISATION_PROFESSIONNELLE, N.ALLOCATION_SOLIDARITE_SPECIFIQUE)
NOT_FOR_PPA = (
    N.BOURSE_ETUDES,
    N.DONS_SECOURS,
    N.SECURISATION_PROFESSIONNELLE,
    N.INDEMNITE_VOLONTARIAT,
    N.GAINS_EXCEPTIONNELS,
    N.INDEMNISATION_AMIANTE,
    N.CAPITAL_FONCIER,
)
NOT_FOR_RSA = (N.BOURSE_ETUDES, N.RETRAITE_COMBATTANT)
KEPT_AFTER_ABATEMENT = {
    RegimeNonSalarie.MICRO_VENTE: Fraction("0.29"),
    RegimeNonSalarie.MICRO_SERVICES_BIC: Fraction("0.50"),
    RegimeNonSalarie.MICRO_BNC: Fraction("0.66"),
    RegimeNonSalarie.MICRO_AGRICOLE: Fraction("0.13"),
}

ZERO = Fraction(0)

Exact = Fraction | int
"""Whole cents stay whole as long as nothing divides them."""


@dataclass(frozen=True)
class Income:
    """The records of the household, read for one examination."""

    exam: Examination
    ressources: Sequence[RessourceMois]

    @cached_property
    def _by_person_and_month(self) -> dict[tuple[str, Month], dict[N, int]]:
        received: dict[tuple[str, Month], dict[N, int]] = {}
        for line in self.ressources:
            amounts = received.setdefault((line.personne, line.mois), {})
            amounts[line.nature] = amounts.get(line.nature, 0) + line.montant_cents
        return received

    def _received(self, person: Membre, month: Month) -> dict[N, int]:
        return self._by_person_and_month.get((person.personne, month), {})

    def _by_turnover(self, person: Membre) -> bool:
        return self.exam.foyer.option_chiffre_affaires or any(
            entry.mois in self.exam.months for entry in person.chiffre_affaires
        )

    def self_employed(self, person: Membre) -> Exact:
        """Monthly self-employed income (§5.1)."""
        turnover = [entry for entry in person.chiffre_affaires if entry.mois in self.exam.months]
        if self._by_turnover(person):
            return sum((entry.montant_cents * KEPT_AFTER_ABATEMENT[entry.regime] for entry in turnover), ZERO) / 3
        year = self.exam.declaration.year
        profits = person.benefices_annuels
        profit = profits.get(year - 1, profits.get(year - 2, 0))
        return Fraction(profit, 12) if profit > 0 else 0

    def _interrupted(self, person: Membre) -> set[N]:
        """Natures whose interruption is certain at the examination, and which nothing replaced (R262-13)."""
        return {
            stop.nature
            for stop in person.interruptions
            if not stop.revenu_remplacement
            and not stop.demission_ecartee
            and stop.date_interruption <= self.exam.declaration.first_day
            and (stop.date_reprise is None or stop.date_reprise > self.exam.declaration.first_day)
        }

    def rsa(self, person: Membre, month: Month) -> Exact:
        """What counts of one person in one month for the RSA."""
        stopped = self._interrupted(person)
        base = self.exam.base("rsa")
        excluded: tuple[N, ...] = NOT_FOR_RSA
        if self.exam.declaration >= Month(2025, 3):
            excluded = (*excluded, N.DONS_SECOURS)
        wages = interrupted = 0
        others: Exact = 0
        for nature, amount in self._received(person, month).items():
            if nature in excluded:
                continue
            if nature in stopped and (nature in UNEMPLOYMENT or self._is_work(person, month, nature)):
                continue
            if nature in WAGES:
                wages += amount
            elif nature in stopped:
                interrupted += max(0, amount)
            else:
                others += max(0, amount)
        # Ignored within the amount for one person, all of them together (R262-13).
        others += max(0, interrupted - base)
        business = N.MICRO_ENTREPRISE if self._by_turnover(person) else N.NON_SALARIE
        own_business = 0 if business in stopped else self.self_employed(person)
        return max(0, wages) + others + own_business + self._capital(person, month)

    def _capital(self, person: Membre, month: Month) -> Exact:
        deemed = ZERO
        for rate, capital in (
            (params.SAVINGS, person.epargne_non_productive_cents),
            (params.value("livret_a", month), person.livret_a_cents),
            (params.BUILDINGS, person.valeur_locative_bati_cents),
            (params.LAND, person.valeur_locative_terrain_cents),
        ):
            if capital:
                deemed += rate * capital
        drawn = person.revenus_locatifs.get(month.year, 0) + person.revenus_capitaux.get(month.year, 0)
        return (deemed + drawn) / 12 if deemed or drawn else 0

    def ppa(self, person: Membre, month: Month) -> tuple[Exact, Exact]:
        """Work income, then all the rest that counts, of one person in one month for the prime d'activité."""
        wages = aah = 0
        work: Exact = 0
        rest: Exact = 0
        for nature, amount in self._received(person, month).items():
            if nature in NOT_FOR_PPA:
                continue
            if nature in WAGES:
                wages += amount
            elif nature is N.AAH:
                aah = max(0, amount)
            elif self._is_work(person, month, nature):
                work += max(0, amount)
            else:
                rest += max(0, amount)
        work += max(0, wages) + self.self_employed(person)
        if aah and work >= params.AAH_HOURS * self.exam.smic(month):
            work += aah
        else:
            rest += aah
        year = month.year - 2  # of the month studied (R843-1)
        taxed = person.revenus_locatifs.get(year, 0) + person.revenus_capitaux.get(year, 0)
        return work, rest + Fraction(taxed, 12) if taxed else rest

    @staticmethod
    def _is_work(person: Membre, month: Month, nature: N) -> bool:
        """Sick pay is income in lieu of work in the three calendar months that begin with the stoppage (R844-1)."""
        stop = person.date_arret_travail
        recent = stop is not None and 0 <= month.index - Month.of(stop).index <= 2
        return nature in WORK or (nature in SICKNESS and recent)

    def mean(self, person: Membre, months: Sequence[Month] = ()) -> Fraction:
        """Mean of what counts of one person for the right examined, over the quarter unless told."""
        known = person.personne, tuple(months or self.exam.months)
        if known not in self._means:
            self._means[known] = self._mean(person, known[1])
        return self._means[known]

    @cached_property
    def _means(self) -> dict[tuple[str, tuple[Month, ...]], Fraction]:
        """Those worked out already: one examination asks for each some ten times."""
        return {}

    def _mean(self, person: Membre, months: Sequence[Month]) -> Fraction:
        if self.exam.right == "rsa":
            amounts = [self.rsa(person, month) for month in months]
        else:
            amounts = [sum(self.ppa(person, month)) for month in months]
        return Fraction(sum(amounts)) / len(months)

    @cached_property
    def kept_dependants(self) -> dict[Month, list[Membre]]:
        """Who is à charge in each reference month."""
        return {month: self._kept(month) for month in self.exam.months}

    def _kept(self, month: Month) -> list[Membre]:
        """Dependants of a month, tried from the least resources on, the youngest first: whoever has resources that
        reach the increase he or she brings is left out (R262-3)."""
        exam = self.exam
        kept: list[Membre] = []

        def order(person: Membre) -> tuple[Fraction, int, int, int]:
            return self.mean(person), -person.date_naissance.toordinal(), person.role, -person.droit_asf

        for person in sorted(exam.dependants(month), key=order):
            increase = exam.coefficient(month, [*kept, person]) - exam.coefficient(month, kept)
            if self.mean(person) < increase * exam.base(exam.right):
                kept.append(person)
        return kept

    def adults(self) -> list[Membre]:
        """The allocataire and the partner of the examination day, whose income counts whatever their status."""
        return [person for person in (self.exam.allocataire, self.exam.conjoint) if person is not None]
