"""Natures of resource: what a record or a declared line is made of (REGULATION §2.1)."""

from __future__ import annotations

from enum import IntEnum


class NatureRessource(IntEnum):
    """Category of a resource. The numbers are those of the contract's enum and of the stored columns."""

    SALAIRE = 1
    APPRENTISSAGE = 2
    STAGE_FORMATION = 3
    ACTIVITE_PARTIELLE = 4
    BOURSE_RECHERCHE = 5
    INDEMNITE_VOLONTARIAT = 6
    IJSS_MALADIE = 10
    IJSS_ACCIDENT_TRAVAIL = 11
    IJSS_MALADIE_PROFESSIONNELLE = 12
    IJSS_MATERNITE = 13
    IJSS_PATERNITE = 14
    IJSS_ADOPTION = 15
    CHOMAGE = 20
    SECURISATION_PROFESSIONNELLE = 21
    ALLOCATION_SOLIDARITE_SPECIFIQUE = 22
    PRIME_REPRISE_ACTIVITE = 23
    RETRAITE = 30
    INVALIDITE = 31
    RENTE_ATMP = 32
    ALLOCATION_SUPPLEMENTAIRE_INVALIDITE = 33
    RETRAITE_COMBATTANT = 34
    AAH = 40
    COMPLEMENT_AAH = 41
    NON_SALARIE = 50
    MICRO_ENTREPRISE = 51
    PENSION_ALIMENTAIRE = 60
    PRESTATION_COMPENSATOIRE = 61
    GAINS_EXCEPTIONNELS = 62
    INDEMNISATION_AMIANTE = 63
    ETRANGER_TRAVAIL = 64
    ETRANGER_AUTRE = 65
    CAPITAL_FONCIER = 66
    DONS_SECOURS = 67
    BOURSE_ETUDES = 68
    AUTRE = 69

    @property
    def prefilled(self) -> bool:
        """Whether the DRM carries it, so that it is prefilled (REGULATION §2.1)."""
        return self < NatureRessource.AAH

    @property
    def known_to_caf(self) -> bool:
        """Whether the Caf pays it and does not ask for it."""
        return self in (NatureRessource.AAH, NatureRessource.COMPLEMENT_AAH)

    @property
    def label(self) -> str:
        """What a household reads."""
        return _LABELS[self]


_LABELS = {
    NatureRessource.SALAIRE: "Salaires et primes",
    NatureRessource.APPRENTISSAGE: "Rémunération d'apprenti",
    NatureRessource.STAGE_FORMATION: "Rémunération de stage de formation professionnelle",
    NatureRessource.ACTIVITE_PARTIELLE: "Indemnités d'activité partielle",
    NatureRessource.BOURSE_RECHERCHE: "Bourse de recherche",
    NatureRessource.INDEMNITE_VOLONTARIAT: "Indemnité de volontariat",
    NatureRessource.IJSS_MALADIE: "Indemnités journalières de maladie",
    NatureRessource.IJSS_ACCIDENT_TRAVAIL: "Indemnités journalières d'accident du travail",
    NatureRessource.IJSS_MALADIE_PROFESSIONNELLE: "Indemnités journalières de maladie professionnelle",
    NatureRessource.IJSS_MATERNITE: "Indemnités journalières de maternité",
    NatureRessource.IJSS_PATERNITE: "Indemnités journalières de paternité",
    NatureRessource.IJSS_ADOPTION: "Indemnités journalières d'adoption",
    NatureRessource.CHOMAGE: "Allocations de chômage",
    NatureRessource.SECURISATION_PROFESSIONNELLE: "Allocation de sécurisation professionnelle",
    NatureRessource.ALLOCATION_SOLIDARITE_SPECIFIQUE: "Allocation de solidarité spécifique",
    NatureRessource.PRIME_REPRISE_ACTIVITE: "Prime forfaitaire de reprise d'activité",
    NatureRessource.RETRAITE: "Pensions de retraite et de réversion",
    NatureRessource.INVALIDITE: "Pension d'invalidité",
    NatureRessource.RENTE_ATMP: "Rente d'accident du travail ou de maladie professionnelle",
    NatureRessource.ALLOCATION_SUPPLEMENTAIRE_INVALIDITE: "Allocation supplémentaire d'invalidité",
    NatureRessource.RETRAITE_COMBATTANT: "Retraite du combattant",
    NatureRessource.AAH: "Allocation aux adultes handicapés",
    NatureRessource.COMPLEMENT_AAH: "Complément d'AAH",
    NatureRessource.NON_SALARIE: "Revenus non salariés (bénéfice)",
    NatureRessource.MICRO_ENTREPRISE: "Micro-entreprise (chiffre d'affaires après abattement)",
    NatureRessource.PENSION_ALIMENTAIRE: "Pensions alimentaires reçues",
    NatureRessource.PRESTATION_COMPENSATOIRE: "Prestation compensatoire",
    NatureRessource.GAINS_EXCEPTIONNELS: "Gains exceptionnels",
    NatureRessource.INDEMNISATION_AMIANTE: "Indemnisation de l'amiante",
    NatureRessource.ETRANGER_TRAVAIL: "Revenus du travail perçus à l'étranger",
    NatureRessource.ETRANGER_AUTRE: "Autres revenus perçus à l'étranger",
    NatureRessource.CAPITAL_FONCIER: "Revenus fonciers et de capitaux",
    NatureRessource.DONS_SECOURS: "Dons et secours",
    NatureRessource.BOURSE_ETUDES: "Bourse d'études",
    NatureRessource.AUTRE: "Autres ressources",
}
