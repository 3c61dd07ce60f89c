"""What each person received, month by month, in cents (REGULATION §2.1, §3.5, §3.8, §4.4, §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

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


@dataclass(frozen=True)
class Income:
    """The records of the household, read for one examination."""

    exam: Examination
    ressources: Sequence[RessourceMois]

    def _received(self, person: Membre, month: Month) -> dict[N, Fraction]:
        amounts: dict[N, Fraction] = {}
        for line in self.ressources:
            if line.personne == person.personne and line.mois == month:
                amounts[line.nature] = amounts.get(line.nature, ZERO) + line.montant_cents
        return amounts

    def self_employed(self, person: Membre) -> Fraction:
        """Monthly self-employed income (§5.1)."""
        turnover = [entry for entry in person.chiffre_affaires if entry.mois in self.exam.months]
        if self.exam.foyer.option_chiffre_affaires or turnover:
            return sum((entry.montant_cents * KEPT_AFTER_ABATEMENT[entry.regime] for entry in turnover), ZERO) / 3
        year = self.exam.declaration.year
        profits = person.benefices_annuels
        return max(ZERO, Fraction(profits.get(year - 1, profits.get(year - 2, 0)))) / 12

    def _interrupted(self, person: Membre) -> set[N]:
        """Natures whose interruption is certain at the examination, and which nothing replaced (R262-13)."""
        return {
            stop.nature
            for stop in person.interruptions
            if not stop.revenu_remplacement
            and not stop.demission_ecartee
            and stop.date_interruption <= self.exam.declaration.first_day
        }

    def rsa(self, person: Membre, month: Month) -> Fraction:
        """What counts of one person in one month for the RSA."""
        stopped = self._interrupted(person)
        base = self.exam.base("rsa")
        excluded = NOT_FOR_RSA
        if self.exam.declaration >= Month(2025, 3):
            excluded = (*excluded, N.DONS_SECOURS)
        wages = ZERO
        others = ZERO
        for nature, amount in self._received(person, month).items():
            if nature in excluded:
                continue
            if nature in stopped and nature in (*WORK, *UNEMPLOYMENT):
                continue
            if nature in WAGES:
                wages += amount
            else:
                others += max(ZERO, amount - base if nature in stopped else amount)
        own_business = ZERO if N.NON_SALARIE in stopped else self.self_employed(person)
        return max(ZERO, wages) + others + own_business + self._capital(person, month)

    def _capital(self, person: Membre, month: Month) -> Fraction:
        deemed = (
            params.SAVINGS * (person.epargne_non_productive_cents + person.livret_a_cents)
            + params.BUILDINGS * person.valeur_locative_bati_cents
            + params.LAND * person.valeur_locative_terrain_cents
        )
        drawn = person.revenus_locatifs.get(month.year, 0) + person.revenus_capitaux.get(month.year, 0)
        return (deemed + drawn) / 12

    def ppa(self, person: Membre, month: Month) -> tuple[Fraction, Fraction]:
        """Work income, then all the rest that counts, of one person in one month for the prime d'activité."""
        wages = work = rest = aah = ZERO
        for nature, amount in self._received(person, month).items():
            if nature in NOT_FOR_PPA:
                continue
            if nature in WAGES:
                wages += amount
            elif nature is N.AAH:
                aah = max(ZERO, amount)
            elif nature in WORK or (nature in SICKNESS and self._recent_sickness(person, month)):
                work += max(ZERO, amount)
            else:
                rest += max(ZERO, amount)
        work += max(ZERO, wages) + self.self_employed(person)
        if work >= params.AAH_HOURS * params.cents("smic", month):
            work += aah
        else:
            rest += aah
        year = self.exam.declaration.year - 2
        taxed = person.revenus_locatifs.get(year, 0) + person.revenus_capitaux.get(year, 0)
        return work, rest + Fraction(taxed) / 12

    @staticmethod
    def _recent_sickness(person: Membre, month: Month) -> bool:
        stop = person.date_arret_travail
        return stop is not None and month.index - Month.of(stop).index <= 2

    def kept_dependants(self) -> dict[Month, list[Membre]]:
        """Dependants of each month, without those whose resources reach the increase they bring (R262-3)."""
        kept: dict[Month, list[Membre]] = {month: [] for month in self.exam.months}
        present = {month: self.exam.dependants(month) for month in self.exam.months}
        for person in self.exam.foyer.membres:
            months = [month for month in self.exam.months if person in present[month]]
            increase = sum(
                (
                    self.exam.coefficient(month, [*kept[month], person]) - self.exam.coefficient(month, kept[month])
                    for month in months
                ),
                ZERO,
            )
            own = sum((self.rsa(person, month) for month in months), ZERO)
            if own < increase * self.exam.base("rsa"):
                for month in months:
                    kept[month].append(person)
        return kept

    def adults(self) -> list[Membre]:
        """The allocataire and the partner of the examination day, whose income counts whatever their status."""
        return [person for person in (self.exam.allocataire, self.exam.conjoint) if person is not None]
