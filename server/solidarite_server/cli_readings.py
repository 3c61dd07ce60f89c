"""`solidarite legislation options`: every reading of the law that can be chosen."""

from __future__ import annotations

import typer

from solidarite_server.cli_options import Json, echo_json
from solidarite_server.legislation import LegislationOptions, values_of

READINGS = {
    "param_date": ("D1", "Date de chaque paramètre : selon son texte, le mois de droit ou le mois de référence."),
    "plancher_mensuel_rsa": ("D2", "Ramener à zéro chaque montant intermédiaire négatif, et non la seule moyenne."),
    "rectification_en_attente": ("D3", "Ce que compte une ligne rectifiée tant qu'elle est examinée."),
    "correction_tardive": ("D4", "Correction d'un payeur connue après la validation : attendre ou recalculer."),
    "aah_professionnelle": ("D6", "L'AAH est un revenu professionnel de la prime à partir de 29 SMIC horaires."),
    "invalidite_professionnelle": ("D6", "Les pensions d'invalidité et rentes AT/MP le sont aussi."),
    "mayotte": ("D7", "Montants et règles de Mayotte."),
    "dons_comptes": ("D8", "Les aides des proches comptent pour le RSA après février 2025."),
    "prestations_brutes": ("D9", "Les prestations familiales comptent avant CRDS."),
    "exceptions_ppa": ("D10", "Événements qui rouvrent une prime d'activité figée."),
    "calendrier": ("D11", "Jours où la déclaration se dépose (réglage declaration_calendar d'un serveur)."),
    "crds": ("D12", "CRDS sur la prime d'activité."),
    "chiffre_affaires_recent": ("D13", "Le trimestre du chiffre d'affaires reste M-3 à M-1."),
    "fenetre": ("", "Mois de référence : selon la date, ou forcés."),
    "clause_transition": ("", "Moyenne de deux mois, si plus faible, au premier examen de la réforme."),
    "sanctions": ("", "Les parts suspendues réduisent le RSA versé."),
    "livret_a_a_son_taux": ("", "Livret A : ses intérêts ; sinon 3 % comme un capital sans revenu."),
    "mois_negatifs_a_zero": ("", "Un mois négatif compte pour zéro."),
    "composition_mensuelle": ("", "Foyer, logement et prestations du RSA mois par mois."),
    "enfant_compte_a_la_naissance": ("", "Un enfant compte à partir du mois de sa naissance."),
    "exclusion_exacte_a_charge": (
        "",
        "Personne à charge exclue à la hausse qu'elle apporte, et non à 40 % du montant.",
    ),
    "neutralisation_automatique": ("", "Interruption devinée des montants, et non lue au dossier."),
    "activite_sur_trois_derniers_mois": ("", "Conditions d'activité sur M-3 à M-1."),
    "isolement_dix_huit_mois": ("", "Majoration ouverte dix-huit mois."),
    "asf_toujours_un_parent": ("", "ASF comptée à 22,5 % de la BMAF dans tous les cas."),
    "cf_majoration_exclue": ("", "La hausse du complément familial n'est jamais comptée."),
    "paje_exclusions": ("", "Allocation de base exclue le mois de la naissance et pour un parent isolé."),
    "residence_d_un_seul": ("", "La condition de séjour d'un seul suffit pour tous."),
    "conjoint_ouvre_a_un_etudiant": ("", "Un étudiant a le RSA par un conjoint qui ne l'est pas."),
    "grossesse_ouvre_droit": ("", "Un enfant à naître ouvre le RSA avant 25 ans."),
    "benefice_dernier_positif": ("", "Dernier bénéfice positif, et non celui de la dernière année complète."),
    "capital_ppa_par_mois": ("", "Revenus de N-2 selon l'année de chaque mois de référence, ou de la déclaration."),
    "maladie_selon_versements": ("", "Maladie professionnelle selon les versements, et non la date d'arrêt."),
    "age_au_premier_du_mois": ("", "Âges lus le premier jour du mois, et non le dernier."),
    "age_ppa_par_mois": ("", "Tout membre de 18 ans ouvre la prime, mois par mois."),
    "proprietaire_toujours_au_forfait": (
        "",
        "Un propriétaire qui reçoit une aide compte pour tout le forfait logement.",
    ),
    "stagiaire_ouvre_rsa": ("", "Un stagiaire ouvre le RSA."),
    "jeune_actif_apres_dix_huit_ans": ("", "RSA jeune actif à partir de 19 ans."),
    "enfant_exclu_ouvre_majoration": ("", "Un enfant exclu pour ses ressources prolonge la majoration."),
    "majoration_ouvre_droit": ("", "La majoration ouvre les deux droits sans autre condition."),
}
"""By option: the doubt of REGULATION §10 (none for a simplification of OpenFisca), and what it does, in French."""


def options(json: Json = False) -> int:
    """Montrer les lectures de la loi qui peuvent se choisir, et celle que le projet retient."""
    oracle = LegislationOptions.openfisca().changed()
    rows = [
        {
            "option": name,
            "doubt": doubt,
            "default": values_of()[name][0],
            "others": ", ".join(values_of()[name][1:]),
            "openfisca": oracle.get(name, ""),
            "description": text,
        }
        for name, (doubt, text) in READINGS.items()
    ]
    if json:
        echo_json(rows)
        return 0
    for row in rows:
        doubt = f" ({row['doubt']})" if row["doubt"] else ""
        simplified = f" ; openfisca : {row['openfisca']}" if row["openfisca"] else ""
        typer.echo(f"{row['option']}{doubt} = {row['default']}, au choix {row['others']}{simplified}")
        typer.echo(f"    {row['description']}")
    return 0
