"""Who lives in the household, month by month, and what follows from it alone (REGULATION §3.1 to §3.3, §3.5, §3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import cached_property

from solidarite_server.domain.foyer import (
    Foyer,
    Isolement,
    Membre,
    Nationalite,
    PrestationsMois,
    Regime,
    Role,
    Statut,
    StatutLogement,
    Zone,
)
from solidarite_server.domain.month import Month

from tests.reference import params
from tests.reference.rounding import round_half_up

Dependants = Sequence[Membre]


def age(person: Membre, day: date) -> int:
    """Full years on a day."""
    born = person.date_naissance
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def majoration_end(period: Isolement) -> Month:
    """First month without the majoration: 12 months are received from the claim, less what it is late beyond six months
    (§3.3)."""
    event = Month.of(period.debut)
    claim = Month.of(period.demande) if period.demande else event
    waited = max(0, claim.index - event.index)
    return event + waited + 12 - max(0, waited - 6)


def has_status(person: Membre, day: date, *statuses: Statut) -> bool:
    return any(period.statut in statuses and period.holds_on(day) for period in person.statuts)


def paid_abroad(foyer: Foyer, month: Month) -> bool:
    """Whether stays abroad let a month of right be paid (R262-5), by the calendar of the days of absence."""
    absent: set[date] = set()
    for stay in foyer.sejours_hors_france:
        day = stay.depart
        while day < (stay.retour or month.last_day + timedelta(days=1)):
            absent.add(day)
            day += timedelta(days=1)
    inside = [day for day in absent if Month.of(day) == month]
    if not inside:
        return True  # a whole month of presence
    if sum(day.year == month.year for day in absent) > params.DAYS_ABROAD:
        return False
    return all(_unbroken(absent, day) <= params.DAYS_ABROAD for day in inside)


def _unbroken(absent: set[date], day: date) -> int:
    """Days of the absence without a break around a day."""
    first = last = day
    while first - timedelta(days=1) in absent:
        first -= timedelta(days=1)
    while last + timedelta(days=1) in absent:
        last += timedelta(days=1)
    return (last - first).days + 1


@dataclass(frozen=True)
class Examination:
    """One declaration looked at for one month of right, by the rules of one of the two rights."""

    foyer: Foyer
    right: str
    """`rsa` or `ppa`."""
    droit: Month
    declaration: Month
    partner_earns: bool = False
    """Whether the partner has work income in the quarter: leave then does not matter to the prime (§4.1)."""

    @cached_property
    def mayotte(self) -> bool:
        return self.foyer.zone is Zone.MAYOTTE

    @cached_property
    def reformed(self) -> bool:
        """Whether the quarter is M-4..M-2 (§1.1, §2.2)."""
        if self.foyer.regime is Regime.MSA:
            return self.declaration >= (Month(2025, 9) if self.right == "rsa" else Month(2025, 7))
        pilot = self.foyer.departement in ("06", "10", "34", "64", "85")
        return self.declaration >= (Month(2024, 10) if pilot else Month(2025, 3))

    @cached_property
    def months(self) -> tuple[Month, Month, Month]:
        last = self.declaration - (2 if self.reformed else 1)
        return last - 2, last - 1, last

    def base(self, right: str) -> Fraction:
        """Amount for one person, in cents, half in Mayotte (§3.10, §4.7)."""
        amount = params.cents(f"{right}.base", self.droit)
        return Fraction(round_half_up(amount / 2)) if self.mayotte else amount

    def smic(self, month: Month) -> Fraction:
        """Hourly SMIC of a month, in cents; Mayotte has its own (§4.7)."""
        return params.cents("smic.mayotte" if self.mayotte else "smic", month)

    @cached_property
    def allocataire(self) -> Membre:
        return next(person for person in self.foyer.membres if person.role is Role.ALLOCATAIRE)

    @cached_property
    def conjoint(self) -> Membre | None:
        """The partner of the examination day, deemed present for the three months; a former one is ignored."""
        day = self.declaration.first_day
        partners = (p for p in self.foyer.membres if p.role is Role.CONJOINT and p.present_on(day))
        return next(partners, None)

    def dependants(self, month: Month) -> list[Membre]:
        """Those à charge on the last day of a month, before their resources are looked at."""
        day = month.last_day
        return [
            person
            for person in self.foyer.membres
            if person.role in (Role.ENFANT, Role.AUTRE_A_CHARGE)
            and person.present_on(day)
            and age(person, day) < 25
            and not person.autonomie_financiere
        ]

    def isolated(self, month: Month, counted: Dependants) -> bool:
        """Whether the majoration pour isolement is due in a month (L262-9)."""
        if self.mayotte or self.conjoint is not None:
            return False
        pregnant = month in self.allocataire.grossesse
        day = month.last_day
        children = [person for person in counted if person.role is Role.ENFANT]
        young_child = bool(children) and min(age(child, day) for child in children) < 3
        return any(
            period.debut <= day
            and (period.fin is None or day <= period.fin)
            and (pregnant or young_child or (bool(counted) and month < majoration_end(period)))
            for period in self.foyer.isolements
        )

    @cached_property
    def partner_counts(self) -> bool:
        """Whether the partner enters the scale (L262-5)."""
        partner = self.conjoint
        if partner is None or not self.resident(partner, isolated=False):
            return False
        if self.right == "ppa" and self.partner_earns:
            return True
        return not has_status(partner, self.declaration.first_day, Statut.CONGE)

    def resident(self, person: Membre, *, isolated: bool) -> bool:
        """Nationality and residence permit (L262-4 2°, L262-6)."""
        if person.nationalite is Nationalite.FRANCAISE:
            return True
        if person.nationalite is Nationalite.EEE_SUISSE:
            return person.droit_sejour_ue
        day = self.declaration.first_day
        since = person.titre_sejour_depuis
        five_years = since is not None and since <= day.replace(year=day.year - 5)
        return five_years or person.dispense_residence or (isolated and person.sejour_regulier)

    def scale(self, counted: Dependants) -> Fraction:
        """The household scale, without the majoration (§3.3)."""
        adults = 1 + self.partner_counts
        scale = Fraction(1) + (params.SECOND_PERSON if adults == 2 else 0)
        for rank in range(1, len(counted) + 1):
            if self.mayotte and rank >= 4:
                scale += params.MAYOTTE_FOURTH_DEPENDANT
            elif not self.mayotte and rank >= 3:
                scale += params.THIRD_DEPENDANT
            elif adults + rank == 2:
                scale += params.SECOND_PERSON
            else:
                scale += params.NEXT_PERSON
        return scale

    def coefficient(self, month: Month, counted: Dependants) -> Fraction:
        """The household scale, the majored one when it is due and larger (§3.3)."""
        scale = self.scale(counted)
        if self.isolated(month, counted):
            scale = max(scale, params.ISOLATED + params.ISOLATED_BY_DEPENDANT * len(counted))
        return scale

    def housing(self, month: Month, counted: Dependants) -> Fraction:
        """Forfait logement of a month, in cents (§3.6)."""
        entries = [entry for entry in self.foyer.logements if entry.debut <= month]
        entry = max(entries, key=lambda entry: entry.debut, default=None)
        persons = 1 + self.partner_counts + len(counted) - (entry.personnes_non_comptees if entry else 0)
        forfait = params.HOUSING[min(max(persons, 1), 3)] * self.base(self.right)
        aid = Fraction(self.foyer.aide_logement.get(month, 0))
        if entry and entry.statut is StatutLogement.HEBERGE_GRATUIT:
            return forfait
        if entry and entry.statut is StatutLogement.PROPRIETAIRE and not aid:
            return forfait
        return min(aid, forfait)

    def benefits(self, month: Month, counted: Dependants) -> Fraction:
        """Family benefits that count in a month, in cents (§3.5)."""
        paid = self.foyer.prestations.get(month, PrestationsMois())
        bmaf = params.cents("bmaf", self.droit)
        cf_ordinary = Fraction(paid.complement_familial_cents)
        cf = cf_ordinary + paid.complement_familial_majoration_cents
        asf = Fraction(paid.allocation_soutien_familial_cents)
        if not self.mayotte:
            cf = min(cf, max(cf_ordinary, params.CF_CAP * bmaf))
            caps = [params.ASF_CAP[child.droit_asf] * bmaf for child in counted if child.droit_asf]
            asf = min(asf, sum(caps, Fraction(0)))
        total = cf + asf + paid.allocations_familiales_base_cents + paid.prepare_cents + paid.aspa_cents
        return total if self._paje_excluded(month, counted) else total + paid.paje_allocation_base_cents

    def _paje_excluded(self, month: Month, counted: Dependants) -> bool:
        births = [Month.of(person.date_naissance) for person in counted if person.role is Role.ENFANT]
        if not births:
            return False
        youngest = max(births)
        return month == youngest or (self.isolated(month, counted) and month <= youngest + 3)
