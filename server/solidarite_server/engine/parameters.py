"""The numbers of the law as the arrays that the compiled rules read."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.month import Month
from solidarite_server.legislation import Legislation, LegislationOptions, ParamDate
from solidarite_server.legislation.loader import DatedValue

PATHS = (
    "rsa.montant_forfaitaire",
    "ppa.montant_forfaitaire",
    "ppa.pente",
    "ppa.bonification.taux",
    "ppa.bonification.plancher_heures_smic",
    "ppa.bonification.plafond_heures_smic",
    "ppa.seuil_versement",
    "ppa.aah_heures_smic",
    "ppa.etudiant.part_smic",
    "ppa.etudiant.heures_smic",
    "ppa.age_minimum",
    "ppa.mois_maladie_professionnels",
    "ppa.crds",
    "rsa.seuil_versement",
    "rsa.age_minimum",
    "rsa.jeune_actif.heures",
    "rsa.jeune_actif.age_minimum",
    "rsa.titre_sejour_annees",
    "rsa.sanction.plafond_plusieurs",
    "echelle.deuxieme_personne",
    "echelle.personne_supplementaire",
    "echelle.troisieme_enfant",
    "isolement.base",
    "isolement.par_enfant",
    "isolement.duree_mois",
    "isolement.delai_demande_mois",
    "isolement.age_enfant",
    "foyer.age_a_charge",
    "foyer.jours_hors_france",
    "forfait_logement.une_personne",
    "forfait_logement.deux_personnes",
    "forfait_logement.trois_personnes",
    "prestations.bmaf",
    "prestations.asf_un_parent",
    "prestations.asf_deux_parents",
    "prestations.cf_majore",
    "prestations.paje_mois_isole",
    "smic.horaire_brut",
    "capital.epargne",
    "capital.bati",
    "capital.terrain",
    "capital.livret_a",
    "non_salaries.abattement_vente",
    "non_salaries.abattement_services_bic",
    "non_salaries.abattement_bnc",
    "non_salaries.abattement_agricole",
    "mayotte.part_base",
    "mayotte.quatrieme_enfant",
    "mayotte.bonification_plancher_heures_smic",
    "mayotte.bonification_plafond_heures_smic",
    "mayotte.etudiant_heures_smic",
    "mayotte.smic_horaire_brut",
    "openfisca.isolement_duree_mois",
    "openfisca.enfant_part_base",
)

(
    RSA_BASE,
    PPA_BASE,
    PENTE,
    BONUS_TAUX,
    BONUS_PLANCHER,
    BONUS_PLAFOND,
    PPA_SEUIL,
    AAH_HEURES,
    ETUDIANT_PART,
    ETUDIANT_HEURES,
    PPA_AGE,
    MOIS_MALADIE,
    CRDS,
    RSA_SEUIL,
    RSA_AGE,
    JEUNE_HEURES,
    JEUNE_AGE,
    TITRE_ANNEES,
    SANCTION_PLAFOND,
    DEUXIEME,
    SUPPLEMENTAIRE,
    TROISIEME_ENFANT,
    ISOLEMENT_BASE,
    ISOLEMENT_ENFANT,
    ISOLEMENT_DUREE,
    ISOLEMENT_DELAI,
    ISOLEMENT_AGE,
    AGE_A_CHARGE,
    JOURS_HORS_FRANCE,
    FORFAIT_1,
    FORFAIT_2,
    FORFAIT_3,
    BMAF,
    ASF_UN,
    ASF_DEUX,
    CF_MAJORE,
    PAJE_MOIS,
    SMIC,
    CAPITAL_EPARGNE,
    CAPITAL_BATI,
    CAPITAL_TERRAIN,
    LIVRET_TAUX,
    ABATTEMENT_VENTE,
    ABATTEMENT_SERVICES,
    ABATTEMENT_BNC,
    ABATTEMENT_AGRICOLE,
    MAYOTTE_PART,
    MAYOTTE_QUATRIEME,
    MAYOTTE_PLANCHER,
    MAYOTTE_PLAFOND,
    MAYOTTE_ETUDIANT,
    MAYOTTE_SMIC,
    OF_ISOLEMENT_DUREE,
    OF_ENFANT_PART,
    BONUS_MAX,  # computed: rate × base, rounded to the cent
) = range(len(PATHS) + 1)


def resolve(
    legislation: Legislation, path: str, droit: Month, reference: Month, options: LegislationOptions, *, rsa: bool
) -> DatedValue:
    """The value of a parameter for a month of right and a reference month, under the chosen reading (§4.5).

    RSA amounts are always those of the month of right.
    """
    parameter = legislation.parameter(path)
    if rsa and options.param_date is not ParamDate.AS_WRITTEN:
        return parameter.at(droit)
    if options.param_date is ParamDate.DROIT:
        return parameter.at(droit)
    if options.param_date is ParamDate.REFERENCE:
        return parameter.at(reference)
    return parameter.resolve(droit, reference)


@lru_cache(maxsize=4096)
def table(
    legislation: Legislation, droit: Month, first_reference: Month, options: LegislationOptions, *, rsa: bool
) -> npt.NDArray[np.float64]:
    """Values by parameter and reference month: float64 [len(PATHS) + 1, 4], euros turned into cents.

    Columns 0 to 2 are the reference months, column 3 the month of right.
    """
    values = np.zeros((len(PATHS) + 1, 4))
    months = [first_reference, first_reference + 1, first_reference + 2, droit]
    for row, path in enumerate(PATHS):
        scale = 100 if legislation.parameter(path).unit.startswith("EUR") else 1
        for column, month in enumerate(months):
            value = resolve(legislation, path, droit, month, options, rsa=rsa).value
            values[row, column] = float(value * scale)
            if path == "ppa.bonification.taux":
                base = resolve(legislation, "ppa.montant_forfaitaire", droit, month, options, rsa=rsa).value
                # D843-2: the maximum is rounded to the cent before it is used.
                values[BONUS_MAX, column] = float(int(value * base * 100 + Fraction(1, 2)))
    return values
