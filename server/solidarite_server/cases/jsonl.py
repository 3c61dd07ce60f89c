"""Lines of JSON as facts, without an object of the domain a case.

Only what is plainly right is read here. Whatever else, right or wrong, is left to `cases.careful.case_from`: one
place says what a case may hold and what is told of a wrong one.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np

from solidarite_server.cases import careful, codes
from solidarite_server.cases.facts import AMOUNT_DTYPE, CASE_DTYPE, FACT_PERSON_DTYPE, Facts
from solidarite_server.cases.lines import BENEFICE, REVENUS_CAPITAL
from solidarite_server.domain.money import MAX_CENTS
from solidarite_server.domain.month import Month, months_between
from solidarite_server.engine.columns import (
    AIDE_LOGEMENT,
    ASPA,
    CF_MAJORATION,
    EPARGNE,
    LIVRET_A,
    P_APPRENTI,
    P_AUTONOME,
    P_DROIT_UE,
    P_ETUDIANT,
    P_STAGIAIRE,
    WINDOW,
    jours_hors_france,
)

Series = dict[str, float]


class _Logement(msgspec.Struct):
    statut: Literal[
        "locataire", "proprietaire", "accedant", "heberge_gratuit", "heberge_avec_participation", "sans_domicile"
    ] = "locataire"
    aide_logement: Series = {}


class _Sejour(msgspec.Struct):
    depart: str
    retour: str | None = None


class _Household(msgspec.Struct):
    zone: Literal["metropole", "guadeloupe", "martinique", "guyane", "la_reunion", "mayotte"] = "metropole"
    couple: bool = False
    logement: _Logement = msgspec.field(default_factory=_Logement)
    prestations_familiales: dict[str, Series] = {}
    aspa: Series = {}
    isolement_recent: list[str] = []
    sejours_hors_france: list[_Sejour] = []
    experimentation_declaration_preremplie: bool = False


class _Person(msgspec.Struct):
    id: str
    role: Literal["demandeur", "conjoint", "enfant"]
    date_naissance: str
    nationalite: Literal["FR", "ES", "MA"] = "FR"
    duree_titre_sejour_annees: float = 0.0
    etudiant: bool = False
    apprenti: bool = False
    stagiaire: bool = False
    grossesse: list[str] = []
    date_arret_travail: str | None = None
    rsa_jeune_heures_travail: bool = False
    autonomie_financiere: bool = False
    ouvre_droit_asf: bool = False
    ressources: dict[str, Series] = {}
    benefices_non_salaries: Series = {}
    revenus_locatifs: Series = {}
    revenus_capitaux_mobiliers: Series = {}
    livret_a: float = 0.0
    epargne_non_productive: float = 0.0


class _Case(msgspec.Struct):
    entitlement_month: str
    household: _Household
    persons: list[_Person]
    id: str | None = None


class Unsure(Exception):
    """This case is for the careful reader."""


_decode = msgspec.json.Decoder(_Case).decode
_MONTHS = {str(m): m.index for m in months_between(Month(1990, 1), Month(2099, 12))}
_FIRST, _LAST = _MONTHS["2019-01"], _MONTHS[f"{careful.LAST_YEAR}-12"]
_LONG_AGO = Month.of(careful.LONG_AGO).index
_MAX_EUROS = MAX_CENTS / 100


class Reader:
    """Gathers the facts of cases read one after the other."""

    def __init__(self) -> None:
        self._cases: list[tuple[int, ...]] = []
        self._persons: list[tuple[int, ...]] = []
        # Columns of AMOUNT_DTYPE, euros in place of cents.
        self._owner, self._category, self._period = array("h"), array("B"), array("i")
        self._euros = array("d")

    def read(self, line: bytes) -> str | None:
        """Add the case of a line and return its identifier; `Unsure` leaves everything as it was."""
        before = len(self._persons), len(self._euros)
        try:
            return self._add(_decode(line))
        except (Unsure, KeyError, ValueError, msgspec.MsgspecError):
            del self._persons[before[0] :]
            for column in (self._owner, self._category, self._period, self._euros):
                del column[before[1] :]
            raise Unsure from None

    def facts(self) -> Facts:
        """The cases read so far."""
        amounts = np.empty(len(self._euros), AMOUNT_DTYPE)
        amounts["person"], amounts["category"], amounts["period"] = self._owner, self._category, self._period
        amounts["cents"] = np.rint(np.frombuffer(self._euros) * 100) if self._euros else 0
        return Facts(np.array(self._cases, CASE_DTYPE), np.array(self._persons, FACT_PERSON_DTYPE), amounts)

    def _add(self, case: _Case) -> str | None:
        mois = _MONTHS[case.entitlement_month]
        persons, household = case.persons, case.household
        if not (_FIRST <= mois <= _LAST and 1 <= len(persons) <= 40):
            raise Unsure
        if len({person.id for person in persons}) != len(persons):
            raise Unsure
        start = len(self._euros)
        self._household(household)
        adults = 1
        for rank, person in enumerate(persons):
            role = codes.ROLES[person.role]
            if (role == 1) != (rank == 0) or not person.id:
                raise Unsure
            if role == 2:
                # Partners follow the allocataire, as the columns want them.
                if rank != adults:
                    raise Unsure
                adults += 1
            self._person(rank, role, person, mois)
        euros = self._euros[start:]
        if euros and not -_MAX_EUROS <= min(euros) <= max(euros) <= _MAX_EUROS:
            raise Unsure
        self._cases.append(
            (
                mois,
                len(persons),
                len(euros),
                0 if household.couple else _isolement(household.isolement_recent, mois),
                _hors_france(household.sejours_hors_france, mois) if household.sejours_hors_france else 0,
                codes.ZONES[household.zone],
                codes.LOGEMENTS[household.logement.statut],
                household.experimentation_declaration_preremplie,
            )
        )
        return case.id

    def _household(self, household: _Household) -> None:
        if household.logement.aide_logement:
            self._series(-1, AIDE_LOGEMENT, household.logement.aide_logement)
        if household.aspa:
            self._series(-1, ASPA, household.aspa)
        benefits = household.prestations_familiales
        for name, series in benefits.items():
            if name in codes.BENEFITS:
                self._series(-1, codes.BENEFITS[name], series)
            elif name == "complement_familial_total":
                self._majoration(series, benefits.get("complement_familial_non_majore", {}))
            else:
                for month, euros in series.items():
                    _MONTHS[month], _checked(euros)

    def _majoration(self, total: Series, ordinary: Series) -> None:
        """What the increased rate adds to the ordinary one, both in whole cents."""
        for month, euros in total.items():
            more = round(_checked(euros) * 100) - round(_checked(ordinary.get(month, 0.0)) * 100)
            if more > 0:
                self._amount(-1, CF_MAJORATION, _MONTHS[month], more / 100)

    def _person(self, rank: int, role: int, person: _Person, mois: int) -> None:
        birth = _day(person.date_naissance)
        years = person.duree_titre_sejour_annees
        if not 0 <= years <= 100:
            raise Unsure
        pregnant = 0
        for month in person.grossesse:
            k = _MONTHS[month] - mois + WINDOW - 1
            if 0 <= k < WINDOW:
                pregnant |= 1 << k
        flags = (
            (P_ETUDIANT if person.etudiant else 0)
            | (P_APPRENTI if person.apprenti else 0)
            | (P_STAGIAIRE if person.stagiaire else 0)
            | (P_AUTONOME if person.autonomie_financiere else 0)
            | (P_DROIT_UE if years >= careful.UE_YEARS else 0)
        )
        self._persons.append(
            (
                birth[0],
                birth[1],
                role,
                codes.NATIONALITES[person.nationalite],
                person.ouvre_droit_asf,
                int(years),
                flags,
                pregnant,
                _day(person.date_arret_travail)[0] if person.date_arret_travail else 0,
                careful.HEURES_JEUNE_ACTIF if person.rsa_jeune_heures_travail else 0,
            )
        )
        for name, series in person.ressources.items():
            self._series(rank, codes.NATURES[name], series)
        for category, values in (
            (BENEFICE, person.benefices_non_salaries),
            (REVENUS_CAPITAL, person.revenus_locatifs),
            (REVENUS_CAPITAL, person.revenus_capitaux_mobiliers),
        ):
            for year, euros in values.items():
                if not (len(year) == 4 and year.isdecimal() and year.isascii()):
                    raise Unsure
                self._amount(rank, category, int(year), euros)
        if person.livret_a:
            self._amount(rank, LIVRET_A, 0, person.livret_a)
        if person.epargne_non_productive:
            self._amount(rank, EPARGNE, 0, person.epargne_non_productive)

    def _series(self, owner: int, category: int, series: Series) -> None:
        count = len(series)
        self._owner.extend((owner,) * count)
        self._category.extend((category,) * count)
        self._period.extend([_MONTHS[month] for month in series])
        self._euros.extend(series.values())

    def _amount(self, owner: int, category: int, period: int, euros: float) -> None:
        self._owner.append(owner)
        self._category.append(category)
        self._period.append(period)
        self._euros.append(euros)


def normalised(content: dict[str, Any]) -> bytes:
    """The same case, once `case_from` has accepted it, as plainly as `Reader` wants it."""
    household = dict(content["household"])
    for name in ("couple", "experimentation_declaration_preremplie"):
        household[name] = bool(household.get(name))
    persons = []
    for person in sorted(content["persons"], key=lambda p: list(careful.ROLES).index(p["role"])):
        plain = {name: value for name, value in person.items() if name in _Person.__struct_fields__}
        plain |= {name: bool(person.get(name)) for name in _BOOLEANS}
        plain["date_arret_travail"] = person.get("date_arret_travail") or None
        persons.append(plain)
    return msgspec.json.encode(
        {"entitlement_month": content["entitlement_month"], "household": household, "persons": persons}
    )


_BOOLEANS = (
    "etudiant",
    "apprenti",
    "stagiaire",
    "rsa_jeune_heures_travail",
    "autonomie_financiere",
    "ouvre_droit_asf",
)


def _checked(euros: float) -> float:
    if not -_MAX_EUROS <= euros <= _MAX_EUROS:
        raise Unsure
    return euros


@lru_cache(maxsize=100_000)
def _day(text: str) -> tuple[int, int]:
    """Month.index and day of a date."""
    day = careful.day_of(text, "")
    return day.year * 12 + day.month - 1, day.day


def _hors_france(stays: Sequence[_Sejour], mois: int) -> int:
    """Days abroad that touch the month of right, as `careful` reads the stays."""
    day = careful.day_of
    read = [careful.stay_of(day(s.depart, ""), None if s.retour is None else day(s.retour, ""), "") for s in stays]
    return jours_hors_france(read, Month.from_index(mois))


def _isolement(recent: Sequence[str], mois: int) -> int:
    """The last isolation to begin by the month of right, as `careful` reads the list."""
    if not recent:
        return _LONG_AGO
    months = sorted(_MONTHS[month] for month in recent)
    start = careful.isolation_start(months[0], months[-1], mois)
    if start < _LONG_AGO:
        raise Unsure
    return start if start <= mois else _LONG_AGO
