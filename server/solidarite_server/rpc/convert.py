"""Contract messages to domain values and back. Raises InvalidRequest with the path of the field at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from enum import IntEnum
from functools import cache, lru_cache
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from solidarite.v1 import common_pb2, foyer_pb2

from solidarite_server.domain import foyer as dossier
from solidarite_server.domain.errors import InvalidRequest
from solidarite_server.domain.money import MAX_CENTS
from solidarite_server.domain.month import FIRST_YEAR, LAST_YEAR, Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.nir import holds_nir, is_valid_nir
from solidarite_server.legislation.loader import FIRST_REPLAY

_E = TypeVar("_E", bound=IntEnum)

MAX_MEMBRES = 40
FIRST_DECLARATION = Month.of(FIRST_REPLAY)


def month(message: common_pb2.Month, field: str) -> Month:
    """Read a month; the field must be set."""
    try:
        return Month(message.year, message.month)
    except ValueError:
        raise InvalidRequest(
            f"Un mois comporte une année de {FIRST_YEAR} à {LAST_YEAR} et un mois de 1 à 12.", field=field
        ) from None


def declaration_month(message: common_pb2.Month, field: str) -> Month:
    """Read a month that can be declared: the law is known from 2019 on."""
    value = month(message, field)
    if value < FIRST_DECLARATION or value.year > LAST_YEAR - 1:
        raise InvalidRequest(f"Une déclaration va de {FIRST_DECLARATION} à {LAST_YEAR - 1}-12.", field=field)
    return value


# Months and days come back in every line and record: their messages are made once. They are copied when they enter
# another message; nobody may change them.


@cache
def month_to_proto(value: Month) -> common_pb2.Month:
    return common_pb2.Month(year=value.year, month=value.month)


def day(message: common_pb2.Date, field: str) -> date:
    """Read a day of the calendar."""
    try:
        if not FIRST_YEAR - 100 <= message.year <= LAST_YEAR:
            raise ValueError
        return date(message.year, message.month, message.day)
    except ValueError:
        raise InvalidRequest("Cette date n'existe pas au calendrier.", field=field) from None


@lru_cache(maxsize=10_000)
def day_to_proto(value: date) -> common_pb2.Date:
    return common_pb2.Date(year=value.year, month=value.month, day=value.day)


def instant_us(message: Timestamp, field: str) -> int:
    """An instant in microseconds; InvalidRequest outside the years 1 to 9999, as google.protobuf.Timestamp says."""
    if not -62_135_596_800 <= message.seconds <= 253_402_300_799 or not 0 <= message.nanos < 1_000_000_000:
        raise InvalidRequest("Un instant va de l'an 1 à l'an 9999.", field=field)
    return message.seconds * 1_000_000 + message.nanos // 1_000


def known_at_us(request: Any) -> int | None:
    """The `known_at` of a request, in microseconds; None where the caller asks for what is known now."""
    return instant_us(request.known_at, "known_at") if request.HasField("known_at") else None


@lru_cache(maxsize=1_000)
def instant_to_proto(us: int) -> Timestamp:
    return Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1_000)


def text(value: str, field: str, *, maximum: int, minimum: int = 1, names_person: bool = False) -> str:
    """Check the length of a text, in characters, and that it names nobody unless that is what it is for."""
    if not minimum <= len(value) <= maximum:
        raise InvalidRequest(f"De {minimum} à {maximum} caractères sont acceptés.", field=field)
    if "\0" in value:
        raise InvalidRequest("Le caractère nul (U+0000) n'est pas accepté dans un texte.", field=field)
    if not names_person and holds_nir(value):
        raise InvalidRequest("Ce champ est gardé en clair : il ne reçoit pas de NIR.", field=field)
    return value


def cents(value: int, field: str) -> int:
    if abs(value) > MAX_CENTS:
        raise InvalidRequest("Le montant dépasse ce que le service accepte.", field=field)
    return value


def enum(kind: type[_E], value: int, field: str, default: _E | None = None) -> _E:
    """Read an enum; 0 takes the default, and is refused when there is none."""
    if value == 0 and default is not None:
        return default
    try:
        return kind(value)
    except ValueError:
        raise InvalidRequest("Cette valeur n'est pas dans la liste du contrat.", field=field) from None


def number(value: IntEnum) -> Any:
    """The number of an enum, for a message: the stubs want a type that exists for type checkers only."""
    return int(value)


def foyer(message: foyer_pb2.Foyer, field: str, pseudonym: Callable[[str], bytes]) -> dossier.Foyer:
    """Read a dossier; each NIR becomes a pseudonym here and goes no further."""
    text(message.numero_allocataire, f"{field}.numero_allocataire", maximum=32)
    if not 1 <= len(message.membres) <= MAX_MEMBRES:
        raise InvalidRequest(f"Un foyer compte de 1 à {MAX_MEMBRES} membres.", field=f"{field}.membres")
    membres = tuple(_membre(m, f"{field}.membres[{i}]", pseudonym) for i, m in enumerate(message.membres))
    _check_membres(membres, field)
    names = {membre.personne for membre in membres}
    prestations = {month(p.mois, f"{field}.prestations[{i}].mois"): p for i, p in enumerate(message.prestations)}
    for i, p in enumerate(message.prestations):
        _check_prestations(p, f"{field}.prestations[{i}]")
    return dossier.Foyer(
        numero_allocataire=message.numero_allocataire,
        membres=membres,
        zone=enum(dossier.Zone, message.zone, f"{field}.zone", dossier.Zone.METROPOLE),
        regime=enum(dossier.Regime, message.regime, f"{field}.regime", dossier.Regime.CAF),
        departement=text(message.departement, f"{field}.departement", minimum=0, maximum=3),
        logements=tuple(
            dossier.Logement(
                debut=month(entry.debut, f"{field}.logements[{i}].debut"),
                statut=enum(dossier.StatutLogement, entry.statut, f"{field}.logements[{i}].statut"),
                personnes_non_comptees=_count(
                    entry.personnes_non_comptees, f"{field}.logements[{i}].personnes_non_comptees"
                ),
            )
            for i, entry in enumerate(message.logements)
        ),
        aide_logement={m: p.aide_logement_cents for m, p in prestations.items() if p.aide_logement_cents},
        prestations={m: _prestations(p) for m, p in prestations.items()},
        isolements=tuple(
            dossier.Isolement(
                debut=day(entry.debut, f"{field}.isolements[{i}].debut"),
                fin=_optional(entry, "fin", day, f"{field}.isolements[{i}]"),
                demande=_optional(entry, "demande", day, f"{field}.isolements[{i}]"),
            )
            for i, entry in enumerate(message.isolements)
        ),
        sejours_hors_france=tuple(
            _sejour(entry, f"{field}.sejours_hors_france[{i}]") for i, entry in enumerate(message.sejours_hors_france)
        ),
        sanctions=tuple(_sanction(entry, f"{field}.sanctions[{i}]") for i, entry in enumerate(message.sanctions)),
        premiere_demande=_optional(message, "premiere_demande", month, field),
        premier_examen_reforme=message.premier_examen_reforme,
        option_chiffre_affaires=message.option_chiffre_affaires,
        ressources_connues=tuple(
            ressource(entry, f"{field}.ressources_connues[{i}]", names)
            for i, entry in enumerate(message.ressources_connues)
        ),
    )


def ressource(message: Any, field: str, names: Iterable[str]) -> dossier.RessourceMois:
    """Read an amount of one nature, member and month."""
    if message.personne not in names:
        raise InvalidRequest("Cette personne n'est pas membre du foyer.", field=f"{field}.personne")
    return dossier.RessourceMois(
        personne=message.personne,
        mois=month(message.mois, f"{field}.mois"),
        nature=enum(NatureRessource, message.nature, f"{field}.nature"),
        montant_cents=cents(message.montant_cents, f"{field}.montant_cents"),
    )


def foyer_to_proto(value: dossier.Foyer) -> foyer_pb2.Foyer:
    """The dossier as it may be shown: no NIR, only whether a member can be prefilled."""
    months = sorted(set(value.prestations) | set(value.aide_logement))
    message = foyer_pb2.Foyer(
        numero_allocataire=value.numero_allocataire,
        membres=[_membre_to_proto(membre) for membre in value.membres],
        zone=number(value.zone),
        regime=number(value.regime),
        departement=value.departement,
        logements=[
            foyer_pb2.Logement(
                debut=month_to_proto(entry.debut),
                statut=number(entry.statut),
                personnes_non_comptees=entry.personnes_non_comptees,
            )
            for entry in value.logements
        ],
        prestations=[_prestations_to_proto(value, m) for m in months],
        isolements=[
            foyer_pb2.Isolement(
                debut=day_to_proto(entry.debut), fin=_day_or_none(entry.fin), demande=_day_or_none(entry.demande)
            )
            for entry in value.isolements
        ],
        sejours_hors_france=[
            foyer_pb2.SejourHorsFrance(depart=day_to_proto(entry.depart), retour=_day_or_none(entry.retour))
            for entry in value.sejours_hors_france
        ],
        sanctions=[
            foyer_pb2.Sanction(
                mois=month_to_proto(entry.mois), taux_suspension_pour_cent=entry.taux_suspension_pour_cent
            )
            for entry in value.sanctions
        ],
        premier_examen_reforme=value.premier_examen_reforme,
        option_chiffre_affaires=value.option_chiffre_affaires,
        ressources_connues=[
            foyer_pb2.RessourceConnue(
                personne=entry.personne,
                mois=month_to_proto(entry.mois),
                nature=number(entry.nature),
                montant_cents=entry.montant_cents,
            )
            for entry in value.ressources_connues
        ],
    )
    if value.premiere_demande is not None:
        message.premiere_demande.CopyFrom(month_to_proto(value.premiere_demande))
    return message


def _optional(message: Any, name: str, read: Callable[[Any, str], Any], field: str) -> Any:
    return read(getattr(message, name), f"{field}.{name}") if message.HasField(name) else None


def _day_or_none(value: date | None) -> common_pb2.Date | None:
    return None if value is None else day_to_proto(value)


def _count(value: int, field: str) -> int:
    if not 0 <= value <= MAX_MEMBRES:
        raise InvalidRequest(f"Un nombre de personnes va de 0 à {MAX_MEMBRES}.", field=field)
    return value


def _sejour(message: foyer_pb2.SejourHorsFrance, field: str) -> dossier.SejourHorsFrance:
    depart, retour = day(message.depart, f"{field}.depart"), _optional(message, "retour", day, field)
    if retour is not None and retour <= depart:
        raise InvalidRequest("Le retour suit le départ.", field=f"{field}.retour")
    return dossier.SejourHorsFrance(depart, retour)


def _sanction(message: foyer_pb2.Sanction, field: str) -> dossier.Sanction:
    if not 0 <= message.taux_suspension_pour_cent <= 100:
        raise InvalidRequest("Un taux va de 0 à 100 %.", field=f"{field}.taux_suspension_pour_cent")
    return dossier.Sanction(month(message.mois, f"{field}.mois"), message.taux_suspension_pour_cent)


def _check_membres(membres: tuple[dossier.Membre, ...], field: str) -> None:
    if sum(m.role is dossier.Role.ALLOCATAIRE for m in membres) != 1:
        raise InvalidRequest("Un foyer a exactement un allocataire.", field=f"{field}.membres")
    if len({m.personne for m in membres}) != len(membres):
        raise InvalidRequest("Chaque membre porte une référence différente.", field=f"{field}.membres")
    pseudonymes = [m.pseudonyme for m in membres if m.pseudonyme is not None]
    if len(set(pseudonymes)) != len(pseudonymes):
        raise InvalidRequest("Deux membres portent le même NIR.", field=f"{field}.membres")


def _years(entries: Iterable[foyer_pb2.MontantAnnuel], field: str) -> dict[int, int]:
    years: dict[int, int] = {}
    for i, entry in enumerate(entries):
        if not FIRST_YEAR <= entry.annee <= LAST_YEAR or entry.annee in years:
            raise InvalidRequest("Une année, donnée une seule fois, est attendue.", field=f"{field}[{i}].annee")
        years[entry.annee] = cents(entry.montant_cents, f"{field}[{i}].montant_cents")
    return years


def _positive(value: int, field: str) -> int:
    if value < 0:
        raise InvalidRequest("Un montant positif ou nul est attendu.", field=field)
    return cents(value, field)


def _membre(message: foyer_pb2.Membre, field: str, pseudonym: Callable[[str], bytes]) -> dossier.Membre:
    if message.nir and not is_valid_nir(message.nir):
        raise InvalidRequest("Un NIR compte 13 caractères (Corse : 2A ou 2B).", field=f"{field}.nir")
    if not 0 <= message.heures_travail_trois_ans <= 30_000:
        raise InvalidRequest("Un nombre d'heures va de 0 à 30 000.", field=f"{field}.heures_travail_trois_ans")
    capital = {
        name: _positive(getattr(message, name), f"{field}.{name}")
        for name in (
            "livret_a_cents",
            "epargne_non_productive_cents",
            "valeur_locative_bati_cents",
            "valeur_locative_terrain_cents",
        )
    }
    return dossier.Membre(
        personne=text(message.personne, f"{field}.personne", maximum=40),
        role=enum(dossier.Role, message.role, f"{field}.role"),
        date_naissance=day(message.date_naissance, f"{field}.date_naissance"),
        pseudonyme=pseudonym(message.nir) if message.nir else None,
        nir_certifie=not message.nir_non_certifie,
        entree=_optional(message, "entree", day, field),
        sortie=_optional(message, "sortie", day, field),
        nationalite=enum(
            dossier.Nationalite, message.nationalite, f"{field}.nationalite", dossier.Nationalite.FRANCAISE
        ),
        titre_sejour_depuis=_optional(message, "titre_sejour_depuis", day, field),
        dispense_residence=message.dispense_residence,
        sejour_regulier=not message.sejour_irregulier,
        droit_sejour_ue=not message.sans_droit_sejour_ue,
        statuts=tuple(
            dossier.PeriodeStatut(
                enum(dossier.Statut, entry.statut, f"{field}.statuts[{i}].statut"),
                day(entry.debut, f"{field}.statuts[{i}].debut"),
                _optional(entry, "fin", day, f"{field}.statuts[{i}]"),
            )
            for i, entry in enumerate(message.statuts)
        ),
        grossesse=tuple(month(entry, f"{field}.grossesse[{i}]") for i, entry in enumerate(message.grossesse)),
        heures_travail_trois_ans=message.heures_travail_trois_ans,
        date_arret_travail=_optional(message, "date_arret_travail", day, field),
        autonomie_financiere=message.autonomie_financiere,
        droit_asf=enum(dossier.DroitAsf, message.droit_asf, f"{field}.droit_asf"),
        interruptions=tuple(
            dossier.InterruptionCertaine(
                enum(NatureRessource, entry.nature, f"{field}.interruptions[{i}].nature"),
                day(entry.date_interruption, f"{field}.interruptions[{i}].date_interruption"),
                entry.revenu_remplacement,
                entry.demission_ecartee,
                _optional(entry, "date_reprise", day, f"{field}.interruptions[{i}]"),
            )
            for i, entry in enumerate(message.interruptions)
        ),
        benefices_annuels=_years(message.benefices_annuels, f"{field}.benefices_annuels"),
        chiffre_affaires=tuple(
            dossier.ChiffreAffaires(
                month(entry.mois, f"{field}.chiffre_affaires[{i}].mois"),
                enum(dossier.RegimeNonSalarie, entry.regime, f"{field}.chiffre_affaires[{i}].regime"),
                cents(entry.montant_cents, f"{field}.chiffre_affaires[{i}].montant_cents"),
            )
            for i, entry in enumerate(message.chiffre_affaires)
        ),
        revenus_locatifs=_years(message.revenus_locatifs, f"{field}.revenus_locatifs"),
        revenus_capitaux=_years(message.revenus_capitaux, f"{field}.revenus_capitaux"),
        **capital,
    )


def _membre_to_proto(value: dossier.Membre) -> foyer_pb2.Membre:
    message = foyer_pb2.Membre(
        personne=value.personne,
        role=number(value.role),
        date_naissance=day_to_proto(value.date_naissance),
        nir_non_certifie=not value.nir_certifie,
        entree=_day_or_none(value.entree),
        sortie=_day_or_none(value.sortie),
        nationalite=number(value.nationalite),
        titre_sejour_depuis=_day_or_none(value.titre_sejour_depuis),
        dispense_residence=value.dispense_residence,
        sejour_irregulier=not value.sejour_regulier,
        sans_droit_sejour_ue=not value.droit_sejour_ue,
        grossesse=[month_to_proto(m) for m in value.grossesse],
        heures_travail_trois_ans=value.heures_travail_trois_ans,
        date_arret_travail=_day_or_none(value.date_arret_travail),
        autonomie_financiere=value.autonomie_financiere,
        droit_asf=number(value.droit_asf),
        livret_a_cents=value.livret_a_cents,
        epargne_non_productive_cents=value.epargne_non_productive_cents,
        valeur_locative_bati_cents=value.valeur_locative_bati_cents,
        valeur_locative_terrain_cents=value.valeur_locative_terrain_cents,
        prefill_possible=value.pseudonyme is not None and value.nir_certifie,
    )
    for statut in value.statuts:
        message.statuts.add(
            statut=number(statut.statut), debut=day_to_proto(statut.debut), fin=_day_or_none(statut.fin)
        )
    for interruption in value.interruptions:
        message.interruptions.add(
            nature=number(interruption.nature),
            date_interruption=day_to_proto(interruption.date_interruption),
            revenu_remplacement=interruption.revenu_remplacement,
            demission_ecartee=interruption.demission_ecartee,
            date_reprise=_day_or_none(interruption.date_reprise),
        )
    for turnover in value.chiffre_affaires:
        message.chiffre_affaires.add(
            mois=month_to_proto(turnover.mois), regime=number(turnover.regime), montant_cents=turnover.montant_cents
        )
    for name in ("benefices_annuels", "revenus_locatifs", "revenus_capitaux"):
        for year, amount in sorted(getattr(value, name).items()):
            getattr(message, name).add(annee=year, montant_cents=amount)
    return message


_PRESTATIONS = (
    "allocations_familiales_base_cents",
    "allocations_familiales_majoration_age_cents",
    "complement_familial_cents",
    "complement_familial_majoration_cents",
    "allocation_soutien_familial_cents",
    "paje_allocation_base_cents",
    "prepare_cents",
    "aspa_cents",
    "autres_exclues_cents",
)


def _check_prestations(message: foyer_pb2.PrestationsMois, field: str) -> None:
    for name in (*_PRESTATIONS, "aide_logement_cents"):
        _positive(getattr(message, name), f"{field}.{name}")


def _prestations(message: foyer_pb2.PrestationsMois) -> dossier.PrestationsMois:
    return dossier.PrestationsMois(**{name: getattr(message, name) for name in _PRESTATIONS})


def _prestations_to_proto(value: dossier.Foyer, m: Month) -> foyer_pb2.PrestationsMois:
    held = value.prestations.get(m, dossier.PrestationsMois())
    return foyer_pb2.PrestationsMois(
        mois=month_to_proto(m),
        aide_logement_cents=value.aide_logement.get(m, 0),
        **{name: getattr(held, name) for name in _PRESTATIONS},
    )
