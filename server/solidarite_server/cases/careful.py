"""Cases of JSON as households of the domain: this module alone says what a case may hold.

The format is that of the file of the oracle's answers (tests/rules/data).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, TypeVar

from solidarite_server.domain.foyer import (
    DroitAsf,
    Foyer,
    Isolement,
    Logement,
    Membre,
    Nationalite,
    PeriodeStatut,
    PrestationsMois,
    RessourceMois,
    Role,
    SejourHorsFrance,
    Statut,
    StatutLogement,
    Zone,
)
from solidarite_server.domain.money import MAX_CENTS
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource as N
from solidarite_server.legislation.loader import FIRST_REPLAY


class CaseError(ValueError):
    """A case that cannot be read: `field` is the path of what is wrong, the text says what is accepted."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} : {message}")
        self.field = field


NATURES = {
    "salaire": N.SALAIRE,
    "remuneration_apprenti": N.APPRENTISSAGE,
    "remuneration_stage_formation_professionnelle": N.STAGE_FORMATION,
    "bourse_recherche": N.BOURSE_RECHERCHE,
    "indemnite_volontariat": N.INDEMNITE_VOLONTARIAT,
    "indemnite_activite_partielle": N.ACTIVITE_PARTIELLE,
    "benefice_micro_entrepreneur": N.MICRO_ENTREPRISE,
    "allocation_chomage": N.CHOMAGE,
    "allocation_securisation_professionnelle": N.SECURISATION_PROFESSIONNELLE,
    "allocation_solidarite_specifique": N.ALLOCATION_SOLIDARITE_SPECIFIQUE,
    "prime_forfaitaire_reprise_activite": N.PRIME_REPRISE_ACTIVITE,
    "ij_maladie": N.IJSS_MALADIE,
    "ij_accident_travail": N.IJSS_ACCIDENT_TRAVAIL,
    "ij_maladie_professionnelle": N.IJSS_MALADIE_PROFESSIONNELLE,
    "ij_maternite": N.IJSS_MATERNITE,
    "ij_paternite": N.IJSS_PATERNITE,
    "ij_adoption": N.IJSS_ADOPTION,
    "pension_retraite": N.RETRAITE,
    "pension_invalidite": N.INVALIDITE,
    "allocation_supplementaire_invalidite": N.ALLOCATION_SUPPLEMENTAIRE_INVALIDITE,
    "retraite_combattant": N.RETRAITE_COMBATTANT,
    "pension_alimentaire_percue": N.PENSION_ALIMENTAIRE,
    "prestation_compensatoire": N.PRESTATION_COMPENSATOIRE,
    "gains_exceptionnels": N.GAINS_EXCEPTIONNELS,
    "indemnisation_amiante": N.INDEMNISATION_AMIANTE,
    "aah": N.AAH,
    "complement_aah": N.COMPLEMENT_AAH,
}
LOGEMENTS = {
    "locataire": StatutLogement.LOCATAIRE,
    "proprietaire": StatutLogement.PROPRIETAIRE,
    "accedant": StatutLogement.ACCEDANT,
    "heberge_gratuit": StatutLogement.HEBERGE_GRATUIT,
    "heberge_avec_participation": StatutLogement.HEBERGE_PARTICIPATION,
    "sans_domicile": StatutLogement.SANS_DOMICILE,
}
ROLES = {"demandeur": Role.ALLOCATAIRE, "conjoint": Role.CONJOINT, "enfant": Role.ENFANT}
ZONES = {zone.name.lower(): zone for zone in Zone}
NATIONALITES = {"FR": Nationalite.FRANCAISE, "ES": Nationalite.EEE_SUISSE, "MA": Nationalite.AUTRE}
_STATUTS = {"etudiant": Statut.ETUDIANT, "apprenti": Statut.APPRENTI, "stagiaire": Statut.STAGIAIRE}
HEURES_JEUNE_ACTIF = 3_214
LONG_AGO = date(1990, 1, 1)
LAST_YEAR = 2098
UE_YEARS = 0.25
_T = TypeVar("_T")


def case_from(case: Mapping[str, Any]) -> tuple[Foyer, list[RessourceMois], Month]:
    """Read a case; CaseError names the field at fault."""
    _mapping(case, "cas")
    mois = _month(case.get("entitlement_month"), "entitlement_month")
    if mois.first_day < FIRST_REPLAY or mois.year > LAST_YEAR:
        raise CaseError("entitlement_month", f"un mois de 2019-01 à {LAST_YEAR}-12 est attendu")
    household = _mapping(case.get("household"), "household")
    persons = case.get("persons")
    if not isinstance(persons, list) or not 1 <= len(persons) <= 40:
        raise CaseError("persons", "une liste de 1 à 40 personnes est attendue")
    ressources: list[RessourceMois] = []
    membres = [_membre(_mapping(p, f"persons[{i}]"), f"persons[{i}]", mois, ressources) for i, p in enumerate(persons)]
    if sum(membre.role is Role.ALLOCATAIRE for membre in membres) != 1:
        raise CaseError("persons", "exactement une personne a le rôle demandeur")
    if len({membre.personne for membre in membres}) != len(membres):
        raise CaseError("persons", "chaque personne porte un identifiant différent")
    zone = _choice(ZONES, household.get("zone", "metropole"), "household.zone")
    logement = _mapping(household.get("logement", {}), "household.logement")
    statut = _choice(LOGEMENTS, logement.get("statut", "locataire"), "household.logement.statut")
    aide = _series(logement.get("aide_logement", {}), "household.logement.aide_logement")
    foyer = Foyer(
        str(case.get("id", "")),
        tuple(membres),
        zone=zone,
        departement="06" if household.get("experimentation_declaration_preremplie") else "",
        logements=(Logement(Month(1990, 1), statut),),
        aide_logement=aide,
        prestations=_prestations(household),
        isolements=() if household.get("couple") else _isolements(household, mois),
        sejours_hors_france=_sejours(household),
    )
    return foyer, ressources, mois


def _membre(person: Mapping[str, Any], field: str, mois: Month, ressources: list[RessourceMois]) -> Membre:
    name = person.get("id")
    if not isinstance(name, str) or not name:
        raise CaseError(f"{field}.id", "un identifiant est attendu")
    role = _choice(ROLES, person.get("role"), f"{field}.role")
    nationalite = _choice(NATIONALITES, person.get("nationalite", "FR"), f"{field}.nationalite")
    for nature, series in _mapping(person.get("ressources", {}), f"{field}.ressources").items():
        if nature not in NATURES:
            raise CaseError(f"{field}.ressources.{nature}", "nature de ressource inconnue")
        for month, cents in _series(series, f"{field}.ressources.{nature}").items():
            ressources.append(RessourceMois(name, month, NATURES[nature], cents))
    annees = person.get("duree_titre_sejour_annees", 0)
    if isinstance(annees, bool) or not isinstance(annees, (int, float)) or not 0 <= annees <= 100:
        raise CaseError(f"{field}.duree_titre_sejour_annees", "un nombre d'années de 0 à 100 est attendu")
    grossesse = person.get("grossesse", [])
    if not isinstance(grossesse, list):
        raise CaseError(f"{field}.grossesse", "une liste de mois est attendue")
    return Membre(
        name,
        role,
        day_of(person.get("date_naissance"), f"{field}.date_naissance"),
        nationalite=nationalite,
        titre_sejour_depuis=date(mois.year - int(annees), mois.month, 1) if annees else None,
        # Three months' residence, for a citizen of the Union (L262-6).
        droit_sejour_ue=annees >= UE_YEARS,
        statuts=tuple(PeriodeStatut(s, LONG_AGO) for key, s in _STATUTS.items() if person.get(key)),
        grossesse=tuple(_month(m, f"{field}.grossesse[{i}]") for i, m in enumerate(grossesse)),
        heures_travail_trois_ans=HEURES_JEUNE_ACTIF if person.get("rsa_jeune_heures_travail") else 0,
        date_arret_travail=day_of(person["date_arret_travail"], f"{field}.date_arret_travail")
        if person.get("date_arret_travail")
        else None,
        autonomie_financiere=bool(person.get("autonomie_financiere")),
        droit_asf=DroitAsf.UN_PARENT if person.get("ouvre_droit_asf") else DroitAsf.AUCUN,
        benefices_annuels=_years(person, "benefices_non_salaries", field),
        revenus_locatifs=_years(person, "revenus_locatifs", field),
        revenus_capitaux=_years(person, "revenus_capitaux_mobiliers", field),
        livret_a_cents=_cents(person.get("livret_a", 0), f"{field}.livret_a"),
        epargne_non_productive_cents=_cents(person.get("epargne_non_productive", 0), f"{field}.epargne_non_productive"),
    )


def _isolements(household: Mapping[str, Any], mois: Month) -> tuple[Isolement, ...]:
    """Alone for long, and since the start of a recent isolation when months of one are listed."""
    recents = household.get("isolement_recent", [])
    if not isinstance(recents, list):
        raise CaseError("household.isolement_recent", "une liste de mois est attendue")
    months = sorted(_month(m, f"household.isolement_recent[{i}]") for i, m in enumerate(recents))
    if not months:
        return (Isolement(LONG_AGO),)
    start = Month.from_index(isolation_start(months[0].index, months[-1].index, mois.index))
    return (Isolement(LONG_AGO), Isolement(start.first_day))


def _sejours(household: Mapping[str, Any]) -> tuple[SejourHorsFrance, ...]:
    """Stays abroad of the claimant: ours, the oracle has none."""
    field = "household.sejours_hors_france"
    stays = household.get("sejours_hors_france", [])
    if not isinstance(stays, list):
        raise CaseError(field, "une liste de séjours est attendue")
    found = []
    for i, given in enumerate(stays):
        place = f"{field}[{i}]"
        stay = _mapping(given, place)
        depart, retour = day_of(stay.get("depart"), f"{place}.depart"), stay.get("retour")
        found.append(stay_of(depart, None if retour is None else day_of(retour, f"{place}.retour"), place))
    return tuple(found)


def stay_of(depart: date, retour: date | None, field: str) -> SejourHorsFrance:
    """A stay abroad; CaseError when it ends before it begins."""
    if retour is not None and retour <= depart:
        raise CaseError(f"{field}.retour", "le retour suit le départ")
    return SejourHorsFrance(depart, retour)


def isolation_start(first: int, last: int, droit: int) -> int:
    """Month.index of the recent isolation whose months listed go from `first` to `last`.

    Listed up to the right, it began with the list; else it ended 18 months after it began.
    """
    return first if last >= droit else last - 17


def _prestations(household: Mapping[str, Any]) -> dict[Month, PrestationsMois]:
    field = "household.prestations_familiales"
    held = _mapping(household.get("prestations_familiales", {}), field)
    series = {name: _series(values, f"{field}.{name}") for name, values in held.items()}
    series["aspa"] = _series(household.get("aspa", {}), "household.aspa")
    months = {month for values in series.values() for month in values}

    def of(name: str, month: Month) -> int:
        return series.get(name, {}).get(month, 0)

    return {
        month: PrestationsMois(
            allocations_familiales_base_cents=of("allocations_familiales_base", month),
            allocations_familiales_majoration_age_cents=max(
                0, of("allocations_familiales_total", month) - of("allocations_familiales_base", month)
            ),
            complement_familial_cents=of("complement_familial_non_majore", month),
            complement_familial_majoration_cents=max(
                0, of("complement_familial_total", month) - of("complement_familial_non_majore", month)
            ),
            allocation_soutien_familial_cents=of("allocation_soutien_familial", month),
            paje_allocation_base_cents=of("paje_allocation_base", month),
            prepare_cents=of("prepare", month),
            aspa_cents=of("aspa", month),
        )
        for month in months
    }


def _choice(table: Mapping[str, _T], value: Any, field: str) -> _T:
    if not isinstance(value, str) or value not in table:
        raise CaseError(field, f"une de ces valeurs est attendue : {', '.join(table)}")
    return table[value]


def _mapping(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CaseError(field, "un objet est attendu")
    return value


def _month(value: Any, field: str) -> Month:
    try:
        return Month.parse(value)
    except (TypeError, ValueError):
        raise CaseError(field, "un mois s'écrit AAAA-MM") from None


def day_of(value: Any, field: str) -> date:
    """A date of birth or of leave; CaseError names the field."""
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        raise CaseError(field, "une date s'écrit AAAA-MM-JJ") from None
    if not 1900 <= day.year <= LAST_YEAR:
        raise CaseError(field, f"une date de 1900 à {LAST_YEAR} est attendue")
    return day


def _cents(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) * 100 <= MAX_CENTS:
        raise CaseError(field, "un montant en euros est attendu, au plus 100 milliards")
    return round(value * 100)


def _series(value: Any, field: str) -> dict[Month, int]:
    return {_month(m, f"{field}.{m}"): _cents(v, f"{field}.{m}") for m, v in _mapping(value, field).items()}


def _years(person: Mapping[str, Any], name: str, field: str) -> dict[int, int]:
    years = _mapping(person.get(name, {}), f"{field}.{name}")
    out = {}
    for year, value in years.items():
        if not (isinstance(year, str) and year.isdigit() and len(year) == 4):
            raise CaseError(f"{field}.{name}.{year}", "une année s'écrit AAAA")
        out[int(year)] = _cents(value, f"{field}.{name}.{year}")
    return out
