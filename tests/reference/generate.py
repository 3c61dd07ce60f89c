"""Random households that reach every rule, reproducible from a seed."""

from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import date, timedelta
from random import Random
from typing import Any

from solidarite_server.domain.foyer import (
    ChiffreAffaires,
    DroitAsf,
    Foyer,
    InterruptionCertaine,
    Isolement,
    Logement,
    Membre,
    Nationalite,
    PeriodeStatut,
    PrestationsMois,
    Regime,
    RegimeNonSalarie,
    RessourceMois,
    Role,
    Sanction,
    SejourHorsFrance,
    Statut,
    StatutLogement,
    Zone,
)
from solidarite_server.domain.month import Month, months_between
from solidarite_server.domain.nature import NatureRessource

FIRST, LAST = Month(2019, 1), Month(2026, 11)
CHANGES = """
2019-01 2019-04 2020-04 2021-01 2022-04 2022-07 2022-08 2023-05 2024-10 2024-11 2025-02 2025-03 2025-04 2025-05
2025-07 2025-08 2025-09 2025-11 2026-04 2026-06 2026-07 2026-08 2026-10 2026-11
"""
"""Months of right around which something changes in the law."""
COMMON = (
    NatureRessource.SALAIRE,
    NatureRessource.SALAIRE,
    NatureRessource.SALAIRE,
    NatureRessource.SALAIRE,
    NatureRessource.CHOMAGE,
    NatureRessource.AAH,
    NatureRessource.IJSS_MALADIE,
    NatureRessource.PENSION_ALIMENTAIRE,
    NatureRessource.DONS_SECOURS,
)

Case = tuple[Foyer, list[RessourceMois], Month]


def case(seed: int, month: Month | None = None) -> Case:
    """One household, its resources and a month of right (also the month of its examination), drawn unless given."""
    return _Household(Random(seed), month).case()


class _Household:
    def __init__(self, random: Random, month: Month | None) -> None:
        self.random = random
        span = LAST.index - FIRST.index
        drawn = (
            Month.parse(random.choice(CHANGES.split())) if random.random() < 0.6 else FIRST + random.randint(0, span)
        )
        self.month = month or drawn
        self.around = list(months_between(self.month - 5, self.month + 1))
        self.alone = random.random() < 0.65

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def day(self, first: int, last: int) -> date:
        """A day that many days from the first of the month; often the first or last day of a month."""
        day = self.month.first_day + timedelta(days=self.random.randint(first, last))
        if self.chance(0.4):
            last = calendar.monthrange(day.year, day.month)[1]
            return day.replace(day=self.random.choice((1, last)))
        return day

    def born(self, youngest: int, oldest: int) -> date:
        """A birth that many years ago; sometimes exactly so many years before a month's first or last day."""
        years = self.random.randint(youngest, oldest)
        if self.chance(0.3):
            month = self.random.choice(self.around)
            day = self.random.choice((month.first_day, month.last_day, month.last_day - timedelta(days=1)))
            return day.replace(year=day.year - years, day=min(day.day, 28) if day.month == 2 else day.day)
        return self.day(-365 * years - 364, -365 * years)

    def amount(self, low: int = 0) -> int:
        euros = self.random.choice((20, 120, 350, 700, 1500, 2600))
        return self.random.randint(low, 100 * euros)

    def case(self) -> Case:
        members = [self.adult("demandeur", Role.ALLOCATAIRE)]
        if not self.alone:
            members.append(self.adult("conjoint", Role.CONJOINT))
            if self.chance(0.06):
                members[1] = replace(members[1], entree=self.day(-150, 40))
        if self.chance(0.08):
            former = self.adult("ancien", Role.CONJOINT)
            members.append(replace(former, sortie=self.day(-150, -1)))
        members += [self.dependant(f"enfant{rank}") for rank in range(self.random.choice((0, 0, 0, 1, 1, 2, 3, 4, 6)))]
        lines = [line for person in members for line in self.resources(person)]
        known = [line for line in lines if line.nature.known_to_caf]
        self.random.shuffle(lines)
        foyer = Foyer(
            numero_allocataire="0000000",
            membres=tuple(members),
            zone=self.random.choice((Zone.METROPOLE,) * 5 + (Zone.LA_REUNION, Zone.MAYOTTE)),
            regime=Regime.MSA if self.chance(0.15) else Regime.CAF,
            departement=self.random.choice(("06", "34", "10", "64", "85", "75", "13", "63", "")),
            logements=self.housing(),
            aide_logement={m: self.random.choice((0, 5000, 7821, 15641, 19356, 32000)) for m in self.around}
            if self.chance(0.6)
            else {},
            prestations={m: self.benefits() for m in self.around if self.chance(0.9)} if self.chance(0.35) else {},
            isolements=self.isolation(),
            sanctions=(Sanction(self.month, self.random.choice((30, 50, 51, 80, 100))),) if self.chance(0.05) else (),
            ressources_connues=tuple(known),
            premier_examen_reforme=self.chance(0.5),
            option_chiffre_affaires=self.chance(0.05),
            sejours_hors_france=self.stays(),
        )
        return foyer, [line for line in lines if not line.nature.known_to_caf], self.month

    def adult(self, name: str, role: Role) -> Membre:
        person = self.wealthy(
            Membre(
                personne=name,
                role=role,
                date_naissance=self.born(16, 30) if self.chance(0.3) else self.born(25, 66),
                statuts=self.statuses(),
                grossesse=tuple(self.around[self.random.randint(0, 4) :]) if self.chance(0.07) else (),
                heures_travail_trois_ans=self.random.choice((0, 3213, 3214, 5000)) if self.chance(0.15) else 0,
                date_arret_travail=self.day(-250, 0) if self.chance(0.4) else None,
                interruptions=self.interruptions(),
                benefices_annuels={
                    self.month.year - back: self.random.randint(-500000, 1500000) for back in (1, 2) if self.chance(0.7)
                }
                if self.chance(0.08)
                else {},
                chiffre_affaires=tuple(
                    ChiffreAffaires(m, self.random.choice(list(RegimeNonSalarie)[1:]), self.amount())
                    for m in self.around
                    if self.chance(0.6)
                )
                if self.chance(0.06)
                else (),
                **self.residence(),
            )
        )
        if (person.benefices_annuels or person.chiffre_affaires) and self.chance(0.2):
            nature = NatureRessource.NON_SALARIE if person.benefices_annuels else NatureRessource.MICRO_ENTREPRISE
            return replace(person, interruptions=(InterruptionCertaine(nature, self.day(-120, 0)),))
        return person

    def residence(self) -> dict[str, Any]:
        if self.chance(0.8):
            return {}
        first = self.month.first_day
        since = first.replace(year=first.year - 5) + timedelta(days=self.random.choice((-400, -1, 0, 1, 300)))
        return {
            "nationalite": self.random.choice((Nationalite.EEE_SUISSE, Nationalite.AUTRE, Nationalite.AUTRE)),
            "titre_sejour_depuis": since if self.chance(0.7) else None,
            "dispense_residence": self.chance(0.2),
            "sejour_regulier": self.chance(0.7),
            "droit_sejour_ue": self.chance(0.7),
        }

    def statuses(self) -> tuple[PeriodeStatut, ...]:
        if self.chance(0.85):
            return ()
        end = self.day(-60, 200) if self.chance(0.4) else None
        return (PeriodeStatut(self.random.choice(list(Statut)), self.day(-400, -61), end),)

    def interruptions(self) -> tuple[InterruptionCertaine, ...]:
        if self.chance(0.85):
            return ()
        natures = (*COMMON, NatureRessource.NON_SALARIE, NatureRessource.RETRAITE, NatureRessource.INVALIDITE)
        stops = []
        for _ in range(self.random.choice((1, 1, 2))):
            nature = self.random.choice(natures) if self.chance(0.7) else self.random.choice(list(NatureRessource))
            stop = self.day(-120, 20)
            back = stop + timedelta(days=self.random.randint(1, 90)) if self.chance(0.15) else None
            stops.append(InterruptionCertaine(nature, stop, self.chance(0.15), self.chance(0.1), back))
        return tuple(stops)

    def wealthy(self, person: Membre) -> Membre:
        if self.chance(0.9):
            return person
        year = self.month.year
        return replace(
            person,
            revenus_locatifs={year - back: self.amount() for back in range(4)} if self.chance(0.5) else {},
            revenus_capitaux={year - back: self.amount() for back in range(4)} if self.chance(0.5) else {},
            livret_a_cents=self.random.randint(0, 2000000),
            epargne_non_productive_cents=self.random.randint(0, 2000000),
            valeur_locative_bati_cents=self.amount(),
            valeur_locative_terrain_cents=self.amount(),
        )

    def dependant(self, name: str) -> Membre:
        child = self.chance(0.9)
        birth = self.born(0, 25) if child else self.born(15, 26)
        if child and self.chance(0.25):
            birth = self.day(-260, 25)
        return self.wealthy(
            Membre(
                personne=name,
                role=Role.ENFANT if child else Role.AUTRE_A_CHARGE,
                date_naissance=birth,
                entree=self.day(-140, 10) if self.chance(0.08) else None,
                sortie=self.day(-140, 60) if self.chance(0.08) else None,
                autonomie_financiere=self.chance(0.03),
                droit_asf=self.random.choice(list(DroitAsf)) if child else DroitAsf.AUCUN,
                interruptions=self.interruptions(),
            )
        )

    def resources(self, person: Membre) -> list[RessourceMois]:
        """Lines of one person, several a month for one nature at times, negative at times."""
        share = 0.6 if person.role in (Role.ALLOCATAIRE, Role.CONJOINT) else 0.12
        if not self.chance(share):
            return []
        lines = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            nature = self.random.choice(COMMON) if self.chance(0.6) else self.random.choice(list(NatureRessource))
            regular = self.amount() if self.chance(0.5) else None
            for month in self.around:
                if self.chance(0.85):
                    amount = self.amount() if regular is None else regular
                    if self.chance(0.07):
                        amount = -amount // 3
                    lines.append(RessourceMois(person.personne, month, nature, amount))
        return lines

    def housing(self) -> tuple[Logement, ...]:
        if self.chance(0.2):
            return ()
        starts = [self.month - 12] if self.chance(0.8) else [self.month - 12, self.random.choice(self.around)]
        return tuple(
            Logement(start, self.random.choice(list(StatutLogement)), self.random.choice((0, 0, 0, 1, 2)))
            for start in starts
        )

    def benefits(self) -> PrestationsMois:
        pick = self.random.choice
        return PrestationsMois(
            allocations_familiales_base_cents=pick((0, 15225, 34731)),
            allocations_familiales_majoration_age_cents=pick((0, 7600)),
            complement_familial_cents=pick((0, 0, 19815)),
            complement_familial_majoration_cents=pick((0, 0, 500, 9900)),
            allocation_soutien_familial_cents=pick((0, 5000, 20077, 40154)),
            paje_allocation_base_cents=pick((0, 0, 9908, 19815)),
            prepare_cents=pick((0, 0, 0, 45000)),
            aspa_cents=pick((0, 0, 0, 0, 30000)),
            autres_exclues_cents=pick((0, 0, 12000)),
        )

    def isolation(self) -> tuple[Isolement, ...]:
        """Periods of life alone; a second and a third may follow the first, overlap it or lie inside it."""
        if not self.chance(0.6 if self.alone else 0.1):
            return ()
        others = self.random.choice((0, 0, 0, 1, 2))
        return tuple(self.alone_since() for _ in range(1 + others))

    def alone_since(self) -> Isolement:
        start = self.day(-900, 20)
        end = self.day(-120, 60) if self.chance(0.15) else None
        if end is not None and end < start:
            end = None
        claim = max(start, self.day(-500, 0)) if self.chance(0.4) else None
        return Isolement(start, end, claim)

    def stays(self) -> tuple[SejourHorsFrance, ...]:
        """Stays abroad about as long as what is allowed, sometimes several a year, sometimes not ended."""
        if self.chance(0.9):
            return ()
        stays = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            start = self.day(-250, 30)
            days = self.random.choice((self.random.randint(1, 60), self.random.randint(88, 96), 200))
            stays.append(SejourHorsFrance(start, None if self.chance(0.15) else start + timedelta(days=days)))
        return tuple(stays)
