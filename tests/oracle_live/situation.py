"""Cases in the schema of the oracle's file, as situations for the web API of OpenFisca, and its answers back.

Only names of variables are used here; nothing of OpenFisca is imported or copied (it is under the AGPL).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from solidarite_server.domain.month import Month, months_between

RESSOURCES = {
    "salaire": "salaire_net",
    "remuneration_apprenti": "remuneration_apprenti",
    "remuneration_stage_formation_professionnelle": "revenus_stage_formation_pro",
    "bourse_recherche": "bourse_recherche",
    "indemnite_volontariat": "indemnites_volontariat",
    "indemnite_activite_partielle": "indemnites_chomage_partiel",
    "benefice_micro_entrepreneur": "rpns_auto_entrepreneur_benefice",
    "allocation_chomage": "chomage_net",
    "allocation_securisation_professionnelle": "allocation_securisation_professionnelle",
    "allocation_solidarite_specifique": "ass",
    "prime_forfaitaire_reprise_activite": "prime_forfaitaire_mensuelle_reprise_activite",
    "ij_maladie": "indemnites_journalieres_maladie",
    "ij_accident_travail": "indemnites_journalieres_accident_travail",
    "ij_maladie_professionnelle": "indemnites_journalieres_maladie_professionnelle",
    "ij_maternite": "indemnites_journalieres_maternite",
    "ij_paternite": "indemnites_journalieres_paternite",
    "ij_adoption": "indemnites_journalieres_adoption",
    "pension_retraite": "retraite_nette",
    "pension_invalidite": "pensions_invalidite",
    "allocation_supplementaire_invalidite": "asi",
    "retraite_combattant": "retraite_combattant",
    "pension_alimentaire_percue": "pensions_alimentaires_percues",
    "prestation_compensatoire": "prestation_compensatoire",
    "gains_exceptionnels": "gains_exceptionnels",
    "indemnisation_amiante": "dedommagement_victime_amiante",
    "aah": "aah",
    "complement_aah": "caah",
}
PRESTATIONS = {
    "allocations_familiales_base": "af_base",
    "allocations_familiales_total": "af",
    "complement_familial_non_majore": "cf_non_majore_avant_cumul",
    "complement_familial_total": "cf",
    "allocation_soutien_familial": "asf",
    "paje_allocation_base": "paje_base",
    "prepare": "paje_prepare",
}
LOGEMENT = {
    "locataire": "locataire_vide",
    "proprietaire": "proprietaire",
    "accedant": "primo_accedant",
    "heberge_gratuit": "loge_gratuitement",
    "heberge_avec_participation": "loge_gratuitement",
    "sans_domicile": "sans_domicile",
}
ASKED_OF_FAMILY = (
    "rsa",
    "rsa_socle",
    "rsa_socle_majore",
    "rsa_forfait_logement",
    "rsa_base_ressources",
    "rsa_majore_eligibilite",
    "ppa",
    "ppa_nette_crds",
)
ASKED_BY_MONTH = (
    "ppa_eligibilite",
    "ppa_revenu_activite",
    "ppa_ressources_hors_activite",
    "ppa_fictive",
    "ppa_forfait_logement",
    "ppa_fictive_montant_forfaitaire",
    "rsa_majore_eligibilite",
)
Values = dict[str, Any]


def situation(cases: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Values]]:
    """One situation for many cases; entities carry the case's identifier."""
    body: dict[str, dict[str, Values]] = {"individus": {}, "familles": {}, "menages": {}, "foyers_fiscaux": {}}
    for case in cases:
        _add(body, case)
    return body


def _add(body: dict[str, dict[str, Values]], case: Mapping[str, Any]) -> None:
    key, droit = case["id"], Month.parse(case["entitlement_month"])
    months = [str(month) for month in months_between(droit - 8, droit)]
    reference = case["reference_period"]["months"]
    household = case["household"]

    def series(given: Mapping[str, float] | None) -> dict[str, float]:
        return {month: (given or {}).get(month, 0) for month in months}

    def constant(value: Any) -> dict[str, Any]:
        return dict.fromkeys(months, value)

    names = {person["id"]: f"{key}:{person['id']}" for person in case["persons"]}
    for person in case["persons"]:
        body["individus"][names[person["id"]]] = _person(person, droit, months, reference)
    adults = [names[p["id"]] for p in case["persons"] if p["role"] != "enfant"]
    children = [names[p["id"]] for p in case["persons"] if p["role"] == "enfant"]
    benefits = household.get("prestations_familiales", {})
    recent = household.get("isolement_recent", [])
    housing = household.get("logement", {})
    status = housing.get("statut", "locataire")
    family: Values = {"parents": adults, "enfants": children}
    family |= {variable: series(benefits.get(name)) for name, variable in PRESTATIONS.items()}
    family |= {name: constant(0) for name in ("paje_clca", "paje_colca")}
    family["aide_logement"] = series(housing.get("aide_logement"))
    family["aspa"] = series(household.get("aspa"))
    family["rsa_isolement_recent"] = {month: month in recent for month in months}
    family["departement_experimentation_rsa"] = constant(case["reference_period"]["rule"] == "M-4..M-2")
    family |= {name: {str(droit): None} for name in ASKED_OF_FAMILY}
    for name in ASKED_BY_MONTH:
        family.setdefault(name, {}).update(dict.fromkeys(reference))
    body["familles"][key] = family
    body["menages"][key] = {
        "personne_de_reference": adults[:1],
        "conjoint": adults[1:],
        "enfants": children,
        "statut_occupation_logement": constant(LOGEMENT[status]),
        "loyer": constant(housing.get("loyer", 0)),
        "participation_frais": constant(status == "heberge_avec_participation"),
    }
    body["foyers_fiscaux"][key] = {"declarants": adults, "personnes_a_charge": children}


def _person(person: Mapping[str, Any], droit: Month, months: list[str], reference: list[str]) -> Values:
    received = person.get("ressources", {})
    values: Values = {
        variable: {month: received.get(name, {}).get(month, 0) for month in months}
        for name, variable in RESSOURCES.items()
    }

    def constant(value: Any) -> dict[str, Any]:
        return dict.fromkeys(months, value)

    values["date_naissance"] = {"ETERNITY": person["date_naissance"]}
    values["nationalite"] = constant(person.get("nationalite", "FR"))
    values["duree_possession_titre_sejour"] = constant(person.get("duree_titre_sejour_annees", 0))
    for name, variable in (
        ("etudiant", "etudiant"),
        ("apprenti", "apprenti"),
        ("stagiaire", "stagiaire"),
        ("rsa_jeune_heures_travail", "rsa_jeune_condition_heures_travail_remplie"),
        ("autonomie_financiere", "autonomie_financiere"),
        ("ouvre_droit_asf", "asf_elig_enfant"),
    ):
        values[variable] = constant(bool(person.get(name)))
    values["enceinte"] = {month: month in person.get("grossesse", []) for month in months}
    if person.get("date_arret_travail"):
        values["date_arret_de_travail"] = {"ETERNITY": person["date_arret_travail"]}
    values["livret_a"] = constant(person.get("livret_a", 0))
    values["epargne_revenus_non_imposables"] = constant(person.get("epargne_non_productive", 0))
    years = range(droit.year - 3, droit.year + 1)
    values["rpns_autres_revenus"] = {str(y): person.get("benefices_non_salaries", {}).get(str(y), 0) for y in years}
    for name, variable in (("revenus_locatifs", "revenus_locatifs"), ("revenus_capitaux_mobiliers", "revenus_capital")):
        values[variable] = {
            f"{y}-{m:02}": person.get(name, {}).get(str(y), 0) / 12 for y in years for m in range(1, 13)
        }
    values["ppa_bonification"] = dict.fromkeys(reference)
    return values


def answer(case: Mapping[str, Any], body: Mapping[str, Mapping[str, Values]]) -> dict[str, Any]:
    """What OpenFisca returned for a case, in the schema of the oracle's file."""
    key, droit = case["id"], case["entitlement_month"]
    family = body["familles"][key]
    return {
        "rsa": family["rsa"][droit],
        "ppa": family["ppa"][droit],
        "ppa_nette_crds": family["ppa_nette_crds"][droit],
        "rsa_detail": {
            "majoration_isolement": family["rsa_majore_eligibilite"][droit],
            "montant_forfaitaire": family["rsa_socle"][droit],
            "montant_forfaitaire_majore": family["rsa_socle_majore"][droit],
            "forfait_logement": family["rsa_forfait_logement"][droit],
            "base_ressources": family["rsa_base_ressources"][droit],
        },
        "ppa_detail": {
            "months": {
                month: {
                    "eligible": family["ppa_eligibilite"][month],
                    "majoration_isolement": family["rsa_majore_eligibilite"][month],
                    "revenus_activite": family["ppa_revenu_activite"][month],
                    "ressources_hors_activite": family["ppa_ressources_hors_activite"][month],
                    "montant_forfaitaire": family["ppa_fictive_montant_forfaitaire"][month],
                    "forfait_logement": family["ppa_forfait_logement"][month],
                    "bonification": sum(
                        body["individus"][f"{key}:{person['id']}"]["ppa_bonification"][month]
                        for person in case["persons"]
                    ),
                    "prime": family["ppa_fictive"][month],
                }
                for month in case["reference_period"]["months"]
            }
        },
    }
