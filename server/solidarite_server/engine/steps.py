"""Steps of the explanation: what each number that the rules leave in the trace means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A kind of step. Parameters are paths of the legislation; `rsa` and `ppa` give the article of each benefit."""

    label: str
    rsa_article: str
    ppa_article: str
    rsa_parameters: tuple[str, ...] = ()
    ppa_parameters: tuple[str, ...] = ()
    ppa_label: str = ""
    """The label for the prime, when it is not that of the RSA."""


S_DEBUT_PPA = 1
"""Not a step: where those of the RSA end."""
(
    S_MONTANT_FORFAITAIRE,
    S_MAJORATION,
    S_FORFAIT_LOGEMENT,
    S_PRESTATIONS,
    S_RESSOURCES_PERSONNE,
    S_NEUTRALISATION_AUTRES,
    S_CLAUSE_TRANSITION,
    S_PENTE,
    S_BONIFICATION,
    S_RESSOURCES_REPUTEES,
    S_PLANCHER,
    S_SEUIL,
    S_NON_OUVERT,
    S_ARRONDI,
    S_HORS_FRANCE,
) = range(2, 17)

_ECHELLE = ("echelle.deuxieme_personne", "echelle.personne_supplementaire", "echelle.troisieme_enfant")
_ISOLEMENT = ("isolement.base", "isolement.par_enfant")
_FORFAIT = ("forfait_logement.une_personne", "forfait_logement.deux_personnes", "forfait_logement.trois_personnes")

STEPS = {
    S_MONTANT_FORFAITAIRE: Step(
        "Montant forfaitaire du mois, pour un tiers",
        "CASF R262-1, R262-4",
        "CSS L842-3, D843-1",
        ("rsa.montant_forfaitaire", *_ECHELLE),
        ("ppa.montant_forfaitaire", *_ECHELLE),
    ),
    S_MAJORATION: Step(
        "Majoration pour isolement du mois, pour un tiers", "CASF L262-9, R262-2", "CSS D843-1", _ISOLEMENT, _ISOLEMENT
    ),
    S_FORFAIT_LOGEMENT: Step(
        "Forfait logement du mois, pour un tiers", "CASF R262-9, R262-10", "CSS R844-3", _FORFAIT, _FORFAIT
    ),
    S_PRESTATIONS: Step(
        "Prestations familiales comptées du mois, pour un tiers",
        "CASF R262-7 II 3°, R262-10-1, R262-11",
        "CSS R844-4, R844-5",
        ("prestations.bmaf",),
        ("prestations.bmaf",),
    ),
    S_RESSOURCES_PERSONNE: Step(
        "Ressources de la personne, moyenne des trois mois",
        "CASF R262-6, R262-7 II",
        "CSS L842-4, R844-1",
        ppa_label="Ressources de la personne du mois, pour un tiers",
    ),
    S_NEUTRALISATION_AUTRES: Step(
        "Autres ressources interrompues, au-delà du montant d'une personne",
        "CASF R262-13",
        "",
        ("rsa.montant_forfaitaire",),
    ),
    S_CLAUSE_TRANSITION: Step(
        "Premier examen de la réforme : moyenne de deux mois, plus faible", "Décret 2025-185", ""
    ),
    S_PENTE: Step(
        "Part conservée des revenus professionnels du mois, pour un tiers", "", "CSS L842-3, D843-3", (), ("ppa.pente",)
    ),
    S_BONIFICATION: Step(
        "Bonification individuelle du mois, pour un tiers",
        "",
        "CSS L842-3, D843-2",
        (),
        (
            "ppa.bonification.taux",
            "ppa.bonification.plancher_heures_smic",
            "ppa.bonification.plafond_heures_smic",
            "smic.horaire_brut",
            "ppa.montant_forfaitaire",
        ),
    ),
    S_RESSOURCES_REPUTEES: Step(
        "Ressources du mois réputées égales au montant forfaitaire : ce qui manque, pour un tiers", "", "CSS L842-3"
    ),
    S_PLANCHER: Step("Un montant négatif compte pour zéro", "CASF L262-2", "CSS L842-3"),
    S_SEUIL: Step(
        "Montant inférieur au seuil de versement",
        "CASF R262-39",
        "CSS D846-2",
        ("rsa.seuil_versement",),
        ("ppa.seuil_versement",),
    ),
    S_NON_OUVERT: Step("Le droit n'est pas ouvert", "CASF L262-4", "CSS L842-1, L842-2"),
    S_HORS_FRANCE: Step(
        "Mois sans présence complète en France, après plus de trois mois d'absence",
        "CASF R262-5",
        "CSS R842-1",
        ("foyer.jours_hors_france",),
        ("foyer.jours_hors_france",),
    ),
    S_ARRONDI: Step("Arrondi au centime le plus proche", "CASF R262-4", "CSS R843-1"),
}

MOTIFS = {
    0: "",
    1: "La condition de nationalité ou de séjour n'est pas remplie.",
    2: "Un élève, un étudiant ou un stagiaire n'ouvre pas droit au RSA.",
    3: "Une personne en congé parental, sabbatique, sans solde ou en disponibilité n'ouvre pas droit au RSA.",
    4: "Le RSA est ouvert à 25 ans, avec un enfant né ou à naître, ou après 3 214 heures de travail en trois ans.",
    5: "La prime d'activité demande à un adulte un revenu professionnel (au-delà d'un plancher pour un étudiant).",
    6: "Après plus de trois mois hors de France, seuls les mois civils complets de présence sont versés.",
    20: "Les ressources du foyer dépassent le montant garanti.",
    21: "Le montant est inférieur au seuil de versement.",
}
"""Why there is nothing to pay, by the code that the rules return."""

ELIGIBLE_CODES = frozenset({0, 20, 21})
"""Codes of a right that is open, whatever the amount."""
