"""How each nature of resource is counted: tables that the compiled rules index by the nature's number."""

from __future__ import annotations

import numpy as np

from solidarite_server.domain.nature import NatureRessource as N

PAIE = 1
"""Pay: one sum a month, zeroed as a whole; work income (R262-7 III 1°)."""
PROFESSIONNEL = 2
MALADIE = 3
"""Work income during three months from the stoppage, then replacement income (CSS R844-1)."""
AAH = 4
AUTRE = 5
RSA_SEUL = 6
"""Not a resource of the prime d'activité: not taxed, or counted through the year N-2 (CSS L842-4 5°)."""
PPA_SEULE = 7
DONS = 8
"""Gifts: RSA only, until February 2025 (décret 2025-185)."""
AUCUN = 9

_KINDS = {
    PAIE: (N.SALAIRE, N.APPRENTISSAGE, N.STAGE_FORMATION, N.ACTIVITE_PARTIELLE),
    PROFESSIONNEL: (
        N.BOURSE_RECHERCHE,
        N.IJSS_MATERNITE,
        N.IJSS_PATERNITE,
        N.IJSS_ADOPTION,
        N.NON_SALARIE,
        N.MICRO_ENTREPRISE,
        N.ETRANGER_TRAVAIL,
    ),
    MALADIE: (N.IJSS_MALADIE, N.IJSS_ACCIDENT_TRAVAIL, N.IJSS_MALADIE_PROFESSIONNELLE),
    AAH: (N.AAH,),
    AUTRE: (
        # The favour of L842-8 is for the AAH alone, not for its supplement.
        N.COMPLEMENT_AAH,
        N.CHOMAGE,
        N.ALLOCATION_SOLIDARITE_SPECIFIQUE,
        N.PRIME_REPRISE_ACTIVITE,
        N.RETRAITE,
        N.INVALIDITE,
        N.RENTE_ATMP,
        N.ALLOCATION_SUPPLEMENTAIRE_INVALIDITE,
        N.PENSION_ALIMENTAIRE,
        N.PRESTATION_COMPENSATOIRE,
        N.ETRANGER_AUTRE,
        N.AUTRE,
    ),
    RSA_SEUL: (
        N.SECURISATION_PROFESSIONNELLE,
        N.INDEMNITE_VOLONTARIAT,
        N.GAINS_EXCEPTIONNELS,
        N.INDEMNISATION_AMIANTE,
        N.CAPITAL_FONCIER,
    ),
    PPA_SEULE: (N.RETRAITE_COMBATTANT,),
    DONS: (N.DONS_SECOURS,),
    AUCUN: (N.BOURSE_ETUDES,),
}


def _table(kinds: dict[int, tuple[N, ...]]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    table = np.zeros(128, dtype=np.uint8)
    for kind, natures in kinds.items():
        table[list(natures)] = kind
    return table


TRAITEMENT = _table(_KINDS)
NEUTRALISABLE = _table(
    {
        1: (
            *_KINDS[PAIE],
            *_KINDS[PROFESSIONNEL],
            N.CHOMAGE,
            N.SECURISATION_PROFESSIONNELLE,
            N.ALLOCATION_SOLIDARITE_SPECIFIQUE,
        )
    }
)
"""Natures ignored whole when interrupted (R262-13): work and unemployment; sick pay while it is work income. The others
are ignored within the amount for one person."""
NEUTRALISABLE_OPENFISCA = _table(
    {
        1: (
            *_KINDS[PAIE],
            N.BOURSE_RECHERCHE,
            N.INDEMNITE_VOLONTARIAT,
            N.MICRO_ENTREPRISE,
            N.IJSS_MATERNITE,
            N.IJSS_PATERNITE,
            N.IJSS_ADOPTION,
            N.CHOMAGE,
            N.RETRAITE,
        )
    }
)
"""Natures that the shortcut of OpenFisca ignores whole."""
_INDEMNITES = (*_KINDS[MALADIE], N.IJSS_MATERNITE, N.IJSS_PATERNITE, N.IJSS_ADOPTION)
INDEMNITE_JOURNALIERE = _table({1: _INDEMNITES})
"""Daily allowances: two resources for the shortcut of OpenFisca, those that are work income and the others."""
REMPLACE = _table({1: (N.CHOMAGE, N.RETRAITE, *_INDEMNITES)})
"""Natures that replace an interrupted income, for the shortcut of OpenFisca."""
MINIMA_SOCIAUX = _table(
    {1: (N.AAH, N.COMPLEMENT_AAH, N.ALLOCATION_SOLIDARITE_SPECIFIQUE, N.ALLOCATION_SUPPLEMENTAIRE_INVALIDITE)}
)
"""Natures that the shortcut of OpenFisca never neutralises."""


RANG = np.zeros(128, dtype=np.uint8)
"""Place of each nature among all of them, below 64: a set of natures fits in one integer."""
RANG[list(N)] = range(len(N))
