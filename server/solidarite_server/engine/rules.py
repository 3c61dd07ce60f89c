"""The law as plain scalar functions, compiled by numba when it is there and interpreted otherwise.

Amounts are float64 in cents; months are places in the window of `columns` (8 is the month of declaration). `p` holds
the parameters of a month, `tables` those of the three reference months then of the month of right (3), `o` the options.
Every function may leave steps in `trace`, None when nobody asks for them: the same code computes and explains.
"""

from __future__ import annotations

import numpy as np

from solidarite_server.engine import parameters as P
from solidarite_server.engine.columns import (
    AF,
    AIDE_LOGEMENT,
    ASF,
    ASPA,
    BATI,
    CA_VENTE,
    CAPITAUX_ANNEE,
    CAPITAUX_N2,
    CF,
    CF_MAJORATION,
    EPARGNE,
    F_MAYOTTE,
    F_OPTION_CA,
    F_PLUSIEURS,
    F_TRANSITION,
    LIVRET_A,
    NON_COMPTEES,
    P_ACTUEL,
    P_APPRENTI,
    P_AUTONOME,
    P_CONGE,
    P_DETACHE,
    P_DISPENSE,
    P_DROIT_UE,
    P_ETUDIANT,
    P_REGULIER,
    P_STAGIAIRE,
    PAJE,
    PILOTES_DEBUT,
    PREPARE,
    PROFIT,
    PROFIT_POSITIF,
    TERRAIN,
    WINDOW,
)
from solidarite_server.engine.compiled import entry, reading, rule
from solidarite_server.engine.natures import (
    AAH,
    AUCUN,
    AUTRE,
    DONS,
    INDEMNITE_JOURNALIERE,
    MALADIE,
    MINIMA_SOCIAUX,
    NEUTRALISABLE,
    NEUTRALISABLE_OPENFISCA,
    PAIE,
    PPA_SEULE,
    PROFESSIONNEL,
    RANG,
    REMPLACE,
    TRAITEMENT,
)
from solidarite_server.engine.steps import (
    S_BONIFICATION,
    S_CLAUSE_TRANSITION,
    S_DEBUT_PPA,
    S_FORFAIT_LOGEMENT,
    S_HORS_FRANCE,
    S_MAJORATION,
    S_MONTANT_FORFAITAIRE,
    S_NEUTRALISATION_AUTRES,
    S_NON_OUVERT,
    S_PENTE,
    S_PLANCHER,
    S_PRESTATIONS,
    S_RESSOURCES_PERSONNE,
    S_RESSOURCES_REPUTEES,
    S_SEUIL,
)
from solidarite_server.legislation import LegislationOptions

# Sums by person and month, rows of the scratch array.
(
    RSA_PAIE,
    RSA_AUTRES,
    RSA_NEUTRALISABLE,
    PPA_PAIE,
    PPA_PROFESSIONNEL,
    PPA_AAH,
    PPA_AUTRES,
) = range(7)
SUMS = 7
FAMILIALES = NON_COMPTEES + 1
"""Column of the number of family benefits of a month, beside those of the household's lines."""
PRESTATIONS = FAMILIALES - AF + 1

R_RSA, R_RSA_VERSE, R_PPA, R_PPA_NETTE, R_RSA_CODE, R_PPA_CODE = range(6)
"""Columns of the rights."""

COMPTEE, AU_DELA, IGNOREE = range(3)
SALAIRE, NON_SALARIE, MICRO_ENTREPRISE = 1, 50, 51

SANS_ENFANT = 9999
ALLOCATAIRE, CONJOINT, ENFANT = 1, 2, 3
ASF_DEUX_PARENTS = 2
NATURE_MAX = 69
PREMIER_PILOTE = PILOTES_DEBUT.index
SLACK = 1e-6
"""Cents: float64 carries intermediate values far closer than this; property-tested against exact fractions."""


@rule
def note(trace, step, month, person, cents):
    """Leave a step of the explanation when one is asked for."""
    if trace is None:
        return
    n = int(trace[0, 0]) + 1
    if n < trace.shape[0]:
        trace[0, 0] = n
        trace[n, 0] = step
        trace[n, 1] = month
        trace[n, 2] = person
        trace[n, 3] = cents


@rule
def etape_de_fin(code):
    """The step that closes a right not due."""
    if code == 20:
        return S_PLANCHER
    if code == 21:
        return S_SEUIL
    return S_HORS_FRANCE if code == 6 else S_NON_OUVERT


@rule
def arrondi(cents):
    """Round half up to the cent (REGULATION §4.6)."""
    return np.floor(cents + 0.5 + SLACK)


@rule
def base_du_foyer(base, mayotte, p):
    """CASF R262-1, CSS D843-1: amount for one person; in Mayotte a share of it, fixed to the cent (R542-6)."""
    if mayotte:
        return arrondi(base * p[P.MAYOTTE_PART])
    return base


@rule
def echelle(adultes, a_charge, mayotte, p):
    """CASF R262-1, CSS D843-1: coefficient of the household on the amount for one person. Mayotte: R542-6."""
    autres = adultes + a_charge - 1
    if autres == 0:
        return 1.0
    if mayotte:
        hausses = max(0, a_charge - 3)
        hausse = p[P.MAYOTTE_QUATRIEME]
    else:
        hausses = max(0, a_charge - 2)
        hausse = p[P.TROISIEME_ENFANT]
    return 1.0 + p[P.DEUXIEME] + (autres - 1 - hausses) * p[P.SUPPLEMENTAIRE] + hausses * hausse


@rule
def echelle_majoree(a_charge, p):
    """CASF L262-9, CSS D843-1: coefficient of a person alone with children or pregnant."""
    return p[P.ISOLEMENT_BASE] + p[P.ISOLEMENT_ENFANT] * a_charge


@rule
def forfait_logement(personnes, gratuit, proprietaire, aide, base, p, o):
    """CASF R262-9 and R262-10, CSS R844-3: flat amount for housing, whole when housed for free or owner without aid,
    else within the aid received."""
    if personnes <= 1:
        forfait = p[P.FORFAIT_1] * base
    elif personnes == 2:
        forfait = p[P.FORFAIT_2] * base * (1.0 + p[P.DEUXIEME])
    else:
        forfait = p[P.FORFAIT_3] * base * (1.0 + p[P.DEUXIEME] + p[P.SUPPLEMENTAIRE])
    if gratuit or (proprietaire and (aide <= 0 or o.proprietaire_toujours_au_forfait)):
        return forfait
    return min(forfait, aide)


@rule
def smic_horaire(mayotte, p):
    """Code du travail L3231-2: gross hourly SMIC; Mayotte has its own (R542-6, décret 2016-864)."""
    return p[P.MAYOTTE_SMIC] if mayotte else p[P.SMIC]


@rule
def bonification(revenu, mayotte, p):
    """CSS D843-2: individual bonus, from 59 hourly SMIC to its maximum."""
    bas, haut, maximum = p[P.BONUS_PLANCHER], p[P.BONUS_PLAFOND], p[P.BONUS_MAX]
    smic = smic_horaire(mayotte, p)
    if mayotte:
        bas, haut = p[P.MAYOTTE_PLANCHER], p[P.MAYOTTE_PLAFOND]
        maximum = arrondi(p[P.BONUS_TAUX] * base_du_foyer(p[P.PPA_BASE], mayotte, p))
    part = (revenu - bas * smic) / ((haut - bas) * smic)
    return maximum * min(1.0, max(0.0, part))


@rule
def bit(mask, k):
    """Whether bit k of a mask is set."""
    return (int(mask) >> k) & 1 == 1


@rule
def interrompue(person, nature):
    """CASF R262-13: whether the dossier holds the interruption of this resource for certain."""
    return (int(person["interrompues"]) >> int(RANG[nature])) & 1 == 1


@rule
def remplacement_recu(lines, first, last, person, examen):
    """Shortcut of OpenFisca: a replacement income is paid in the month of the examination."""
    for i in range(first, last):
        line = lines[i]
        if line["person"] == person and line["mois"] == examen and line["cents"] > 0 and line["category"] <= NATURE_MAX:
            if REMPLACE[line["category"]]:
                return True
    return False


@rule
def maladie_professionnelle(lines, first, last, persons, line, declaration, k, p, o):
    """CSS R844-1 2°: sickness and work-accident daily benefits, for three months from the stoppage."""
    person = line["person"]
    arret = persons[person]["arret"]
    month = declaration - 8 + k
    if not o.maladie_selon_versements:
        return arret != 0 and arret <= month < arret + p[P.MOIS_MALADIE]
    # Recent by its date, or else because nothing was paid three months earlier; or paid beside wages.
    recent = arret == 0 or arret >= month - p[P.MOIS_MALADIE]
    for i in range(first, last):
        if lines[i]["person"] == person and lines[i]["category"] <= NATURE_MAX and lines[i]["cents"] > 0:
            if lines[i]["category"] == SALAIRE and lines[i]["mois"] == k:
                return True
            if arret == 0 and TRAITEMENT[lines[i]["category"]] == MALADIE and lines[i]["mois"] == k - 3:
                recent = False
    return recent


@rule
def indemnite_professionnelle(lines, first, last, persons, line, declaration, p, o):
    """CSS R844-1 2°: whether a daily allowance is work income in the month it is paid for."""
    return TRAITEMENT[line["category"]] != MALADIE or maladie_professionnelle(
        lines, first, last, persons, line, declaration, line["mois"], p, o
    )


@rule
def meme_revenu(lines, first, last, persons, line, other, declaration, p, o):
    """Shortcut of OpenFisca: a person's daily allowances that are work income are one resource, the others another."""
    if other["person"] != line["person"]:
        return False
    if not INDEMNITE_JOURNALIERE[line["category"]]:
        return other["category"] == line["category"]
    return INDEMNITE_JOURNALIERE[other["category"]] != 0 and indemnite_professionnelle(
        lines, first, last, persons, other, declaration, p, o
    ) == indemnite_professionnelle(lines, first, last, persons, line, declaration, p, o)


@rule
def interruption_constatee(lines, first, last, persons, line, declaration, examen, p, o):
    """Shortcut of OpenFisca: paid in the month before the examination, not in its month."""
    avant = apres = 0.0
    for i in range(first, last):
        if examen - 1 <= lines[i]["mois"] <= examen:
            if meme_revenu(lines, first, last, persons, line, lines[i], declaration, p, o):
                if lines[i]["mois"] == examen:
                    apres += lines[i]["cents"]
                else:
                    avant += lines[i]["cents"]
    return avant > 0 and apres == 0


@rule
def neutralisation_devinee(persons, lines, first, last, line, declaration, examen, p, o):
    """Shortcut of OpenFisca for R262-13, which looks at the amounts of the month examined and the one before."""
    nature = line["category"]
    if MINIMA_SOCIAUX[nature] or TRAITEMENT[nature] == PPA_SEULE:
        return COMPTEE
    if not interruption_constatee(lines, first, last, persons, line, declaration, examen, p, o):
        return COMPTEE
    if not NEUTRALISABLE_OPENFISCA[nature]:
        if TRAITEMENT[nature] != MALADIE or not indemnite_professionnelle(
            lines, first, last, persons, line, declaration, p, o
        ):
            return AU_DELA
    return COMPTEE if remplacement_recu(lines, first, last, line["person"], examen) else IGNOREE


@rule
def neutralisation(persons, lines, first, last, line, declaration, p, o):
    """CASF R262-13: whether an interrupted resource of a month is counted, counted beyond B, or ignored whole."""
    person, nature, k = line["person"], line["category"], line["mois"]
    if o.neutralisation_automatique:
        return neutralisation_devinee(persons, lines, first, last, line, declaration, WINDOW - 1, p, o)
    if int(persons[person]["interrompues"]) == 0 or not interrompue(persons[person], nature):
        return COMPTEE
    entiere = NEUTRALISABLE[nature] != 0
    if TRAITEMENT[nature] == MALADIE:
        entiere = maladie_professionnelle(lines, first, last, persons, line, declaration, k, p, o)
    return IGNOREE if entiere else AU_DELA


@rule
def au_dela(persons, lines, first, last, place, quarter, declaration, base, p, o):
    """Shortcut of OpenFisca for R262-13: what the quarter holds of a resource beyond three times the base, told once.

    `place` is a line of the quarter, which tells it when it is the first of its resource.
    """
    total = 0.0
    premier = True
    for i in range(first, last):
        if quarter <= lines[i]["mois"] < quarter + 3:
            if meme_revenu(lines, first, last, persons, lines[place], lines[i], declaration, p, o):
                total += lines[i]["cents"]
                if i < place:
                    premier = False
    return max(0.0, total - 3.0 * base) if premier else 0.0


@rule
def mois_lus(group, o):
    """The reference months of both benefits, as places in the window; the shortcuts of OpenFisca look further."""
    if o.neutralisation_automatique or o.activite_sur_trois_derniers_mois or o.chiffre_affaires_recent:
        return 0, WINDOW
    if not o.exclusion_exacte_a_charge or not o.composition_mensuelle:
        return 0, WINDOW
    return min(group["rsa_first"], group["ppa_first"]), max(group["rsa_first"], group["ppa_first"]) + 3


@rule
def ranger_lignes(sums, versees, foyer, persons, lines, group, base, tables, o):
    """Lay the lines of the household out: benefits by month, resources by person and month as each right counts them.

    CASF R262-6, R262-7 III, R262-11 and R262-13; CSS R844-1, R844-5, L842-4.
    """
    debut, fin = mois_lus(group, o)
    for k in range(debut, fin):
        for a in range(PRESTATIONS):
            versees[k, a] = 0.0
        for q in range(persons.shape[0]):
            for a in range(SUMS):
                sums[q, k, a] = 0.0
    first, last = foyer["line"], foyer["line"] + foyer["lines"]
    rsa_first = group["rsa_first"]
    for i in range(first, last):
        line = lines[i]
        k = line["mois"]
        if line["category"] >= EPARGNE:
            annuel(sums, persons, lines, first, last, line, debut, fin, foyer, group, tables, o)
        elif not debut <= k < fin:
            continue
        elif line["person"] < 0:
            versees[k, line["category"] - AF] = float(line["cents"])
            if line["category"] <= ASPA:
                versees[k, FAMILIALES - AF] += 1.0
        else:
            sort = neutralisation(persons, lines, first, last, line, group["declaration"], tables[3], o)
            ranger(sums, line["person"], k, line["category"], float(line["cents"]), sort, group["dons"] != 0, o)
            if sort == AU_DELA and o.neutralisation_automatique and rsa_first <= k < rsa_first + 3:
                sums[line["person"], rsa_first, RSA_NEUTRALISABLE] += au_dela(
                    persons, lines, first, last, i, rsa_first, group["declaration"], base, tables[3], o
                )
            if TRAITEMENT[line["category"]] == MALADIE:
                pro = maladie_professionnelle(lines, first, last, persons, line, group["declaration"], k, tables[3], o)
                kind = PPA_PROFESSIONNEL if pro else PPA_AUTRES
                sums[line["person"], k, kind] += max(0.0, float(line["cents"]))
    for q in range(persons.shape[0]):
        if int(persons[q]["interrompues"]) != 0 and not o.neutralisation_automatique:
            for k in range(debut, fin):
                # R262-13: together, the other interrupted resources count beyond the amount for one person.
                sums[q, k, RSA_AUTRES] += max(0.0, sums[q, k, RSA_NEUTRALISABLE] - base)
        if o.mois_negatifs_a_zero:
            for k in range(debut, fin):
                sums[q, k, RSA_PAIE] = max(0.0, sums[q, k, RSA_PAIE])
                sums[q, k, PPA_PAIE] = max(0.0, sums[q, k, PPA_PAIE])


@rule
def ranger(sums, person, k, nature, cents, sort, dons, o):
    """Put one amount where each benefit counts it."""
    kind = TRAITEMENT[nature]
    if kind == AUCUN:
        return
    if kind == PAIE:
        # One sum a month, zeroed as a whole afterwards.
        if sort == COMPTEE:
            sums[person, k, RSA_PAIE] += cents
        sums[person, k, PPA_PAIE] += cents
        return
    if o.mois_negatifs_a_zero:
        cents = max(0.0, cents)
    if kind != PPA_SEULE and (kind != DONS or dons):
        if sort == COMPTEE:
            sums[person, k, RSA_AUTRES] += cents
        elif sort == AU_DELA and not o.neutralisation_automatique:
            sums[person, k, RSA_NEUTRALISABLE] += cents
    if kind == PROFESSIONNEL:
        sums[person, k, PPA_PROFESSIONNEL] += cents
    elif kind == AAH or (o.invalidite_professionnelle and (nature == 31 or nature == 32)):
        sums[person, k, PPA_AAH] += cents
    elif kind in (AUTRE, PPA_SEULE):
        sums[person, k, PPA_AUTRES] += cents


@rule
def annuel(sums, persons, lines, first, last, line, debut, fin, foyer, group, tables, o):
    """A yearly fact by month: capital (CASF R132-1, CSS L842-4 5°), self-employment (R262-19, CSS R845-1, R845-2)."""
    category, person, k, cents = line["category"], line["person"], line["mois"], float(line["cents"])
    rsa_first, ppa_first = group["rsa_first"], group["ppa_first"]
    # D13: the quarter of the turnover is the reference quarter, or the last three months before the declaration.
    rsa_chiffre, ppa_chiffre = rsa_first, ppa_first
    if o.chiffre_affaires_recent:
        rsa_chiffre = ppa_chiffre = 5
    if category == CAPITAUX_ANNEE:
        if debut <= k < fin:
            sums[person, k, RSA_AUTRES] += cents / 12.0
    elif category == CAPITAUX_N2:
        for j in range(debut, fin):
            if k == (j if o.capital_ppa_par_mois else -1):
                sums[person, j, PPA_AUTRES] += cents / 12.0
    elif category >= CA_VENTE:
        # The rate of the month of the turnover.
        taux = 1.0 - tables[min(2, max(0, k - ppa_first)), P.ABATTEMENT_VENTE + category - CA_VENTE]
        # One third of the quarter's turnover in each of its months.
        arretee = interrompue(persons[person], MICRO_ENTREPRISE) and not o.neutralisation_automatique
        for j in range(3):
            if rsa_chiffre <= k < rsa_chiffre + 3 and not arretee:
                sums[person, rsa_first + j, RSA_AUTRES] += cents * taux / 3.0
            if ppa_chiffre <= k < ppa_chiffre + 3:
                sums[person, ppa_first + j, PPA_PROFESSIONNEL] += cents * taux / 3.0
    elif category in (PROFIT, PROFIT_POSITIF):
        if (category == PROFIT_POSITIF) != o.benefice_dernier_positif or int(foyer["flags"]) & F_OPTION_CA:
            return
        arretee = interrompue(persons[person], NON_SALARIE) and not o.neutralisation_automatique
        rsa = not arretee and not au_chiffre(lines, first, last, person, rsa_chiffre)
        ppa = not au_chiffre(lines, first, last, person, ppa_chiffre)
        for j in range(debut, fin):
            # The profit of the shortcut is that of each month for the prime, of M for the RSA.
            if rsa and (k < 0 or k == WINDOW - 1):
                sums[person, j, RSA_AUTRES] += cents / 12.0
            if ppa and (k < 0 or k == j):
                sums[person, j, PPA_PROFESSIONNEL] += cents / 12.0
    else:
        taux = tables[3, P.CAPITAL_EPARGNE]
        if category == BATI:
            taux = tables[3, P.CAPITAL_BATI]
        elif category == TERRAIN:
            taux = tables[3, P.CAPITAL_TERRAIN]
        for j in range(debut, fin):
            if category == LIVRET_A and o.livret_a_a_son_taux:
                # The rate of each reference month; other months of the window read the nearest one.
                taux = tables[min(2, max(0, j - ppa_first)), P.LIVRET_TAUX]
            sums[person, j, RSA_AUTRES] += cents * taux / 12.0


@rule
def au_chiffre(lines, first, last, person, quarter):
    """Whether the person declared turnover in the quarter: the profit of earlier years is then left aside."""
    for i in range(first, last):
        if lines[i]["person"] == person and lines[i]["category"] >= CA_VENTE:
            if quarter <= lines[i]["mois"] < quarter + 3:
                return True
    return False


@rule
def du_mois(versees, category, k):
    """Amount of a household line in a month, in cents."""
    return versees[k, category - AF]


@rule
def age_mois(person, declaration, k, o):
    """Age in whole months on the last day of a month (R262-4); on its first day for OpenFisca."""
    month = declaration - 8 + k
    age = month - person["naissance"]
    if o.age_au_premier_du_mois:
        return age - (1 if person["jour"] > 1 else 0)
    # Born on 29 February: the birthday has not come on 28 February of a common year. From 1990 to 2099, the months
    # there are, one year in four is none.
    if person["jour"] == 29 and person["naissance"] % 12 == 1 and month % 12 == 1 and month // 12 % 4 != 0:
        return age - 1
    return age


@rule
def annees_au_premier(person, month):
    """Age in years on the first day of a month (Month.index)."""
    months = month - person["naissance"] - (1 if person["jour"] > 1 else 0)
    return months // 12


@rule
def est_a_charge(person, declaration, k, p, o):
    """CASF R262-3, CSS R842-3: under 25, in the household on the last day of the month, not self-supporting."""
    if person["role"] < ENFANT or int(person["flags"]) & P_AUTONOME:
        return False
    age = age_mois(person, declaration, k, o)
    if age >= 12 * p[P.AGE_A_CHARGE]:
        return False
    if o.enfant_compte_a_la_naissance:
        return bit(person["present"], k)
    return bit(person["present"], 8)


@rule
def residence(person, majoree, p, o):
    """CASF L262-4 2° and L262-6, CSS L842-2: nationality and residence; lawful stay is enough with the majoration."""
    flags = int(person["flags"])
    if person["nationalite"] == 1:
        return True
    if person["nationalite"] == 2:
        return flags & P_DROIT_UE != 0 or (o.majoration_ouvre_droit and majoree)
    if person["titre_annees"] >= p[P.TITRE_ANNEES] or flags & P_DISPENSE:
        return True
    return majoree and flags & P_REGULIER != 0


@rule
def hors_de_france(foyer, p):
    """CASF R262-5, CSS R842-1: beyond three months abroad, only whole calendar months of presence are paid."""
    return foyer["hors_france"] > p[P.JOURS_HORS_FRANCE]


@rule
def conjoint_de(persons):
    """Row of the partner present at the examination, or -1. A former partner is ignored (CASF R262-4)."""
    for q in range(persons.shape[0]):
        if persons[q]["role"] == CONJOINT and int(persons[q]["flags"]) & P_ACTUEL:
            return q
    return -1


@rule
def isolement_recent(foyer, k, p, o):
    """CASF R262-2: twelve months from the claim; each month of delay after the sixth takes one away."""
    mois = float(foyer["isolement"][k])
    if o.isolement_dix_huit_mois:
        return mois < p[P.OF_ISOLEMENT_DUREE]
    return mois < min(float(foyer["isolement_demande"][k]), p[P.ISOLEMENT_DELAI]) + p[P.ISOLEMENT_DUREE]


@rule
def enfant_a_naitre(persons, declaration, k, o):
    """Shortcut of OpenFisca: a child of the dossier who is born after the first day of a month."""
    if not o.enfant_compte_a_la_naissance:
        for q in range(persons.shape[0]):
            if persons[q]["role"] == ENFANT and age_mois(persons[q], declaration, k, o) < 0:
                return True
    return False


@rule
def majoration(foyer, persons, conjoint, a_charge, benjamin, declaration, k, p, o):
    """CASF L262-9 and R262-2, CSS D843-1: alone with a child or pregnant, for 12 months or until the child is 3.

    `benjamin` is the age in months of the youngest child counted.
    """
    if conjoint >= 0 or (int(foyer["flags"]) & F_MAYOTTE and o.mayotte) or not bit(foyer["isole"], k):
        return False
    if bit(persons[0]["grossesse"], k) or enfant_a_naitre(persons, declaration, k, o):
        return True
    if a_charge == 0:
        return False
    return isolement_recent(foyer, k, p, o) or benjamin < 12 * p[P.ISOLEMENT_AGE]


@rule
def coefficient(foyer, persons, conjoint, adultes, a_charge, benjamin, declaration, k, mayotte, p, droit, o):
    """CASF R262-1 and L262-9: the scale of the household, majored when it is due and larger."""
    total = echelle(adultes, a_charge, mayotte, p)
    if majoration(foyer, persons, conjoint, a_charge, benjamin, declaration, k, droit, o):
        total = max(total, echelle_majoree(a_charge, p))
    return total


@rule
def cadet(persons, q, benjamin, declaration, k, o):
    """Age in months of the youngest child once person q is counted."""
    if persons[q]["role"] != ENFANT:
        return benjamin
    return min(benjamin, age_mois(persons[q], declaration, k, o))


@rule
def compter_a_charge(
    foyer, exclus, persons, lines, sums, conjoint, adultes, declaration, k, first, mayotte, base, moyennes, p, droit, o
):
    """CASF R262-3: dependants of a month; who earns as much as he or she brings is left out.

    What one brings depends on the others (0.3 or 0.4): those without resources come first, then from the least
    resources on, so that the order of the dossier does not matter. Fills `exclus`; returns how many are counted and the
    age in months of the youngest child among them.
    """
    n, benjamin, restent = 0, SANS_ENFANT, 0
    for q in range(persons.shape[0]):
        exclus[q] = False
        if persons[q]["role"] < ENFANT:
            continue
        if not est_a_charge(persons[q], declaration, k, droit, o):
            # Not there, 25 or older, self-supporting: outside the household.
            exclus[q] = True
            continue
        if o.exclusion_exacte_a_charge:
            if moyennes[q] > 0:
                restent += 1
                continue
        else:
            exclus[q] = exclu_au_forfait(
                foyer, persons, lines, sums, q, conjoint, declaration, k, first, base, droit, o
            )
        if not exclus[q]:
            n += 1
        if not exclus[q] or o.enfant_exclu_ouvre_majoration:
            benjamin = cadet(persons, q, benjamin, declaration, k, o)
    precedent = -1
    for _ in range(restent):
        q = suivant_a_charge(exclus, persons, moyennes, precedent)
        plus_jeune = cadet(persons, q, benjamin, declaration, k, o)
        sans = coefficient(foyer, persons, conjoint, adultes, n, benjamin, declaration, k, mayotte, p, droit, o)
        avec = coefficient(foyer, persons, conjoint, adultes, n + 1, plus_jeune, declaration, k, mayotte, p, droit, o)
        exclus[q] = moyennes[q] >= (avec - sans) * base - SLACK
        if not exclus[q]:
            n += 1
        if not exclus[q] or o.enfant_exclu_ouvre_majoration:
            benjamin = plus_jeune
        precedent = q
    return n, benjamin


@rule
def suivant_a_charge(exclus, persons, moyennes, precedent):
    """Who comes after a dependant in the order of their resources, among those who have some and are there."""
    trouve = -1
    for q in range(persons.shape[0]):
        if persons[q]["role"] < ENFANT or moyennes[q] <= 0 or exclus[q]:
            continue
        if (precedent < 0 or passe_avant(persons, moyennes, precedent, q)) and (
            trouve < 0 or passe_avant(persons, moyennes, q, trouve)
        ):
            trouve = q
    return trouve


@rule
def passe_avant(persons, moyennes, q, r):
    """Whether a dependant is weighed before another: the least resources, the youngest, then with a right to ASF."""
    if q == r:
        return False
    if abs(moyennes[q] - moyennes[r]) > SLACK:
        return moyennes[q] < moyennes[r]
    if persons[q]["naissance"] != persons[r]["naissance"]:
        return persons[q]["naissance"] > persons[r]["naissance"]
    if persons[q]["jour"] != persons[r]["jour"]:
        return persons[q]["jour"] > persons[r]["jour"]
    if persons[q]["role"] != persons[r]["role"]:
        return persons[q]["role"] < persons[r]["role"]
    if persons[q]["asf"] != persons[r]["asf"]:
        return persons[q]["asf"] > persons[r]["asf"]
    return q < r


@rule
def exclu_au_forfait(foyer, persons, lines, sums, q, conjoint, declaration, k, first, base, p, o):
    """Shortcut of OpenFisca for R262-3: 40 % of the base, 71.2 % for the only child who opens the majoration."""
    limite = p[P.OF_ENFANT_PART] * base
    candidats = 0
    for r in range(persons.shape[0]):
        if est_a_charge(persons[r], declaration, k, p, o):
            candidats += 1
    attendu = bit(persons[0]["grossesse"], k) or enfant_a_naitre(persons, declaration, k, o)
    seul = conjoint < 0 and bit(foyer["isole"], k) and not attendu
    if candidats == 1 and seul and isolement_recent(foyer, k, p, o):
        limite = (p[P.ISOLEMENT_BASE] - 1.0 + p[P.ISOLEMENT_ENFANT]) * base
    # The pilots begin with the months examined from October 2024 on, not with the rights.
    quarter = k - (3 if declaration - 8 + k < PREMIER_PILOTE else 8 - first)
    return ressources_a_l_examen(foyer, persons, lines, sums, q, declaration, quarter, k, base, p, o) >= limite


@rule
def ressources_a_l_examen(foyer, persons, lines, sums, q, declaration, quarter, examen, base, p, o):
    """Shortcut of OpenFisca for R262-3: a child's mean resources of a quarter, as examined in a month."""
    total = 0.0
    for m in range(max(0, quarter), max(0, quarter + 3)):
        total += sums[q, m, RSA_PAIE] + sums[q, m, RSA_AUTRES]
    first, last = foyer["line"], foyer["line"] + foyer["lines"]
    for i in range(first, last if o.neutralisation_automatique else first):
        line = lines[i]
        if line["person"] != q or line["category"] > NATURE_MAX or TRAITEMENT[line["category"]] == PPA_SEULE:
            continue
        if not quarter <= line["mois"] < quarter + 3:
            continue
        # The sums have it as the examination of the month of right does.
        if neutralisation_devinee(persons, lines, first, last, line, declaration, WINDOW - 1, p, o) == COMPTEE:
            total -= line["cents"]
        if MINIMA_SOCIAUX[line["category"]]:
            continue
        sort = neutralisation_devinee(persons, lines, first, last, line, declaration, examen, p, o)
        if sort == COMPTEE:
            total += line["cents"]
        elif sort == AU_DELA:
            total += au_dela(persons, lines, first, last, i, quarter, declaration, base, p, o)
    return total / 3.0


@rule
def prestations(versees, persons, exclus, benjamin, majoree, mayotte, k, p, o):
    """CASF R262-10-1 and R262-11, CSS R844-4 and R844-5: family benefits counted in the month they are received."""
    if du_mois(versees, FAMILIALES, k) == 0:
        return 0.0
    bmaf = p[P.BMAF]
    # Paid net of CRDS (doubt D9); the Aspa bears none.
    brut = 1.0 / (1.0 - p[P.CRDS]) if o.prestations_brutes else 1.0
    total = (du_mois(versees, AF, k) + du_mois(versees, PREPARE, k)) * brut
    total += du_mois(versees, ASPA, k)
    ordinaire, hausse = du_mois(versees, CF, k) * brut, du_mois(versees, CF_MAJORATION, k) * brut
    if o.cf_majoration_exclue:
        hausse = 0.0
    elif not mayotte:
        hausse = min(hausse, max(0.0, p[P.CF_MAJORE] * bmaf - ordinaire))
    total += ordinaire + hausse
    asf = du_mois(versees, ASF, k) * brut
    if not mayotte:
        plafond = 0.0
        for q in range(persons.shape[0]):
            if persons[q]["asf"] > 0 and (o.asf_toujours_un_parent or not exclus[q]):
                deux = persons[q]["asf"] == ASF_DEUX_PARENTS and not o.asf_toujours_un_parent
                plafond += (p[P.ASF_DEUX] if deux else p[P.ASF_UN]) * bmaf
        asf = min(asf, plafond)
    total += asf
    paje = du_mois(versees, PAJE, k) * brut
    if o.paje_exclusions and (benjamin == 0 or (majoree and benjamin <= p[P.PAJE_MOIS])):
        paje = 0.0
    return total + paje


@rule
def conjoint_compte_rsa(persons, conjoint, p, o):
    """CASF L262-5: the partner counts when the conditions of nationality and leave are met (L262-4 2° and 4°)."""
    if o.residence_d_un_seul:
        return True
    return residence(persons[conjoint], False, p, o) and int(persons[conjoint]["flags"]) & P_CONGE == 0


@rule
def assez_age(person, declaration, p, o):
    """CASF L262-4 1°, L262-7-1: 25 years at the examination, or 18 after two years of work in the last three."""
    age = annees_au_premier(person, declaration)
    if age >= p[P.RSA_AGE]:
        return True
    return person["heures"] >= p[P.JEUNE_HEURES] and age >= p[P.JEUNE_AGE] + (
        1 if o.jeune_actif_apres_dix_huit_ans else 0
    )


@rule
def condition_rsa(foyer, persons, exclus, conjoint, declaration, majoree, p, o):
    """CASF L262-4, L262-7-1: age or child, residence, not a student nor on leave. 0 when open, else a reason."""
    demandeur = persons[0]
    if not residence(demandeur, majoree, p, o):
        if not (o.residence_d_un_seul and conjoint >= 0 and residence(persons[conjoint], False, p, o)):
            return 1
    if hors_de_france(foyer, p):
        return 6
    if majoree and o.majoration_ouvre_droit:
        return 0
    flags = int(demandeur["flags"])
    bars = P_ETUDIANT if o.stagiaire_ouvre_rsa else P_ETUDIANT | P_STAGIAIRE
    partenaire = o.conjoint_ouvre_a_un_etudiant and conjoint >= 0 and int(persons[conjoint]["flags"]) & bars == 0
    if flags & bars and not partenaire and not majoree:
        return 2
    if flags & P_CONGE and not majoree:
        return 3
    for q in range(persons.shape[0]):
        if persons[q]["role"] == ENFANT and est_a_charge(persons[q], declaration, 8, p, o):
            # Left out of the amount (R262-3), the child is still one to look after (L262-4 1°); not so for OpenFisca.
            if o.exclusion_exacte_a_charge or not exclus[q]:
                return 0
        if q != 0 and q != conjoint:
            continue
        if bit(persons[q]["grossesse"], 8) and (o.grossesse_ouvre_droit or conjoint < 0):
            return 0
        if o.conjoint_ouvre_a_un_etudiant and int(persons[q]["flags"]) & bars and not majoree:
            continue  # for OpenFisca one of the couple has the age and is no student
        # A partner who is not counted (L262-5) does not open the right by age or work.
        if q == 0 or conjoint_compte_rsa(persons, conjoint, p, o):
            if assez_age(persons[q], declaration, p, o):
                return 0
    return 4


@rule
def neutralisees_comptees(sums, persons, exclus, base, start):
    """Shortcut of OpenFisca for R262-13: what each nature holds beyond three times the base for the three months."""
    total = 0.0
    for r in range(persons.shape[0]):
        if not exclus[r]:
            total += sums[r, start, RSA_NEUTRALISABLE] / 3.0
    return total


@rule
def minima_des_exclus(foyer, persons, lines, exclus, start, trace):
    """Shortcut of OpenFisca for R262-3: the minima sociaux of whoever is left out count for the RSA all the same."""
    total = 0.0
    for i in range(foyer["line"], foyer["line"] + foyer["lines"]):
        line = lines[i]
        r = line["person"]
        if r >= 0 and persons[r]["role"] >= ENFANT and exclus[r] and line["category"] <= NATURE_MAX:
            if MINIMA_SOCIAUX[line["category"]] and start <= line["mois"] < start + 3:
                note(trace, S_RESSOURCES_PERSONNE, -1, r, -line["cents"] / 3.0)
                total += line["cents"] / 3.0
    return total


@rule
def hors_foyer(persons, conjoint, exclus, r):
    """Whether a person's resources are left out: a former partner (R262-4), a dependant left out (R262-3)."""
    if persons[r]["role"] == CONJOINT:
        return r != conjoint
    return persons[r]["role"] >= ENFANT and exclus[r]


@rule
def forfait_du_mois(adultes, a_charge, majoree, mayotte, base, k, p, trace):
    """CASF R262-1 and L262-9, CSS D843-1: montant forfaitaire of a month, cents; majored when that is more."""
    forfait = echelle(adultes, a_charge, mayotte, p) * base
    note(trace, S_MONTANT_FORFAITAIRE, k, -1, forfait / 3.0)
    if majoree:
        plus = max(0.0, echelle_majoree(a_charge, p) * base - forfait)
        note(trace, S_MAJORATION, k, -1, plus / 3.0)
        forfait += plus
    return forfait


@rule
def logement_du_mois(foyer, versees, personnes, base, k, p, o):
    """CASF R262-9 and R262-10, CSS R844-3: forfait logement of a month, cents, by the persons that the aid counts."""
    tetes = max(1, personnes - int(du_mois(versees, NON_COMPTEES, k)))
    aide = du_mois(versees, AIDE_LOGEMENT, k)
    return forfait_logement(tetes, bit(foyer["gratuit"], k), bit(foyer["proprietaire"], k), aide, base, p, o)


@rule
def motif_du_montant(total, seuil):
    """CASF R262-39, CSS D846-2: why an open right is not paid, 0 when it is."""
    if total <= SLACK:
        return 20
    return 21 if total < seuil - SLACK else 0


@rule
def rsa_exact(foyer, persons, lines, versees, sums, group, p, o, exclus, moyennes, trace):
    """CASF L262-2, R262-4 and R262-7: RSA of the month of right before rounding, cents.

    Mean of three montants intermédiaires: composition, housing and benefits of each month, other resources by their
    mean. Returns (cents, code): 0 open, else why there is nothing (see `engine.MOTIFS`).
    """
    start, declaration = group["rsa_first"], group["declaration"]
    mayotte = int(foyer["flags"]) & F_MAYOTTE != 0 and o.mayotte
    base = base_du_foyer(p[P.RSA_BASE], mayotte, p)
    conjoint = conjoint_de(persons)
    if trace is None and int(foyer["isole"]) == 0:
        # Without the majoration the conditions do not depend on the months.
        code = condition_rsa(foyer, persons, exclus[2], conjoint, declaration, False, p, o)
        if code != 0:
            return 0.0, code
    adultes = 2 if conjoint >= 0 and conjoint_compte_rsa(persons, conjoint, p, o) else 1
    for r in range(persons.shape[0]):
        moyennes[r] = 0.0
        for k in range(start, start + 3):
            moyennes[r] += (sums[r, k, RSA_PAIE] + sums[r, k, RSA_AUTRES]) / 3.0
    majoree = False
    total = 0.0
    for j in range(3):
        k = start + j
        c = k if o.composition_mensuelle else 8
        a_charge, benjamin = compter_a_charge(
            foyer,
            exclus[j],
            persons,
            lines,
            sums,
            conjoint,
            adultes,
            declaration,
            c,
            start,
            mayotte,
            base,
            moyennes,
            p,
            p,
            o,
        )
        majoree = majoration(foyer, persons, conjoint, a_charge, benjamin, declaration, c, p, o)
        forfait = forfait_du_mois(adultes, a_charge, majoree, mayotte, base, k, p, trace)
        logement = logement_du_mois(foyer, versees, adultes + a_charge, base, c, p, o)
        note(trace, S_FORFAIT_LOGEMENT, k, -1, -logement / 3.0)
        familiales = prestations(versees, persons, exclus[j], benjamin, majoree, mayotte, c, p, o)
        note(trace, S_PRESTATIONS, k, -1, -familiales / 3.0)
        mois = forfait - logement - familiales
        if o.plancher_mensuel_rsa:
            propres = 0.0
            for r in range(persons.shape[0]):
                if not hors_foyer(persons, conjoint, exclus[j], r):
                    propres += moyennes[r]
            if mois < propres:
                note(trace, S_PLANCHER, k, -1, (propres - mois) / 3.0)
                mois = propres
        total += mois / 3.0
    total -= ressources_rsa(foyer, persons, lines, sums, exclus, moyennes, conjoint, start, base, o, trace)
    code = condition_rsa(foyer, persons, exclus[2], conjoint, declaration, majoree, p, o)
    if code == 0:
        code = motif_du_montant(total, p[P.RSA_SEUIL])
    if code != 0:
        note(trace, etape_de_fin(code), -1, -1, -total)
        return 0.0, code
    return total, 0


@rule
def ressources_rsa(foyer, persons, lines, sums, exclus, moyennes, conjoint, start, base, o, trace):
    """CASF R262-6, R262-7 II: resources of the household by their mean over the three months, cents a month."""
    total = 0.0
    for r in range(persons.shape[0]):
        mois_comptes = 0.0
        for j in range(3):
            if not hors_foyer(persons, conjoint, exclus[j], r):
                mois_comptes += 1.0
        if mois_comptes > 0 and moyennes[r] != 0:
            note(trace, S_RESSOURCES_PERSONNE, -1, r, -moyennes[r] * mois_comptes / 3.0)
            total += moyennes[r] * mois_comptes / 3.0
    if o.neutralisation_automatique:
        neutres = neutralisees_comptees(sums, persons, exclus[2], base, start)
        note(trace, S_NEUTRALISATION_AUTRES, -1, -1, -neutres)
        total += neutres
    if not o.exclusion_exacte_a_charge:
        total += minima_des_exclus(foyer, persons, lines, exclus[2], start, trace)
    if o.clause_transition and int(foyer["flags"]) & F_TRANSITION and start == 4:
        # Décret 2025-185: the mean of M-3 and M-2 when it is lower than that of the three months.
        trois = deux = 0.0
        for r in range(persons.shape[0]):
            derniers = 0.0
            for k in range(start + 1, start + 3):
                derniers += (sums[r, k, RSA_PAIE] + sums[r, k, RSA_AUTRES]) / 2.0
            for j in range(3):
                if not hors_foyer(persons, conjoint, exclus[j], r):
                    trois += moyennes[r] / 3.0
                    deux += derniers / 3.0
        if deux < trois:
            note(trace, S_CLAUSE_TRANSITION, -1, -1, trois - deux)
            total -= trois - deux
    return total


@rule
def professionnels(sums, r, k, mayotte, p, o):
    """CSS R844-1, L842-8 and D843-4: work income of a person in a month; AAH counts from 29 hourly SMIC on."""
    revenu = sums[r, k, PPA_PAIE] + sums[r, k, PPA_PROFESSIONNEL]
    if (
        o.aah_professionnelle
        and sums[r, k, PPA_AAH] > 0
        and revenu >= p[P.AAH_HEURES] * smic_horaire(mayotte, p) - SLACK
    ):
        revenu += sums[r, k, PPA_AAH]
    return revenu


@rule
def un_membre_reside(persons, p, o):
    """Shortcut of OpenFisca for L842-2 2°: any member fulfils the residence condition for all, children included."""
    for r in range(persons.shape[0]):
        if residence(persons[r], False, p, o):
            return True
    return False


@rule
def un_membre_majeur(persons, month, p):
    """Shortcut of OpenFisca for L842-2 1°: any member of 18 on the first day of a month, children included."""
    for r in range(persons.shape[0]):
        if annees_au_premier(persons[r], month) >= p[P.PPA_AGE]:
            return True
    return False


@rule
def activite(persons, sums, group, conjoint, majoree, mayotte, tables, o):
    """CSS L842-1, L842-2: an adult at work, and a student, trainee or apprentice above 55 % of the SMIC each month."""
    if majoree and o.majoration_ouvre_droit:
        return True
    start = 5 if o.activite_sur_trois_derniers_mois else group["ppa_first"]
    for r in range(persons.shape[0]):
        if r != 0 and r != conjoint:
            continue
        flags = int(persons[r]["flags"])
        mineur = annees_au_premier(persons[r], group["declaration"]) < tables[3, P.PPA_AGE]
        if (mineur and not o.age_ppa_par_mois) or flags & P_DETACHE:
            continue
        total, chaque = 0.0, True
        for j in range(3):
            revenu = professionnels(sums, r, start + j, mayotte, tables[j], o)
            p = tables[3 if o.activite_sur_trois_derniers_mois else j]
            heures = p[P.ETUDIANT_PART] * p[P.ETUDIANT_HEURES]
            if mayotte:
                heures = p[P.MAYOTTE_ETUDIANT]
            total += revenu
            if revenu <= heures * smic_horaire(mayotte, p) + SLACK:
                chaque = False
        if chaque or (total > 0 and (majoree or flags & (P_ETUDIANT | P_APPRENTI | P_STAGIAIRE) == 0)):
            return True
    return False


@rule
def conjoint_compte_ppa(persons, sums, conjoint, start, mayotte, tables, o):
    """CSS L842-2: the partner counts when resident, and not on leave unless at work in the quarter."""
    if o.residence_d_un_seul:
        return True
    if not residence(persons[conjoint], False, tables[3], o):
        return False
    if int(persons[conjoint]["flags"]) & P_CONGE == 0:
        return True
    travail = 0.0
    for j in range(3):
        travail += professionnels(sums, conjoint, start + j, mayotte, tables[j], o)
    return travail > 0


@rule
def revenus_du_mois(persons, sums, conjoint, exclus, k, mayotte, p, o, trace):
    """CSS L842-3, D843-2, R844-1: work income, other resources and bonus of the persons of the household in a month."""
    travail = autres = bonus = 0.0
    for r in range(persons.shape[0]):
        if hors_foyer(persons, conjoint, exclus, r) and not (
            not o.exclusion_exacte_a_charge and persons[r]["role"] >= ENFANT
        ):
            continue
        revenu = professionnels(sums, r, k, mayotte, p, o)
        recu = sums[r, k, PPA_PAIE] + sums[r, k, PPA_PROFESSIONNEL] + sums[r, k, PPA_AAH] + sums[r, k, PPA_AUTRES]
        autres += recu - revenu
        travail += revenu
        if recu != 0:
            note(trace, S_RESSOURCES_PERSONNE, k, r, -recu / 3.0)
        if revenu > 0:
            note(trace, S_PENTE, k, r, p[P.PENTE] * revenu / 3.0)
            prime_individuelle = bonification(revenu, mayotte, p)
            if prime_individuelle > 0:
                note(trace, S_BONIFICATION, k, r, prime_individuelle / 3.0)
            bonus += prime_individuelle
    return travail, autres, bonus


@rule
def ppa_exacte(foyer, persons, lines, versees, sums, group, tables, o, exclus, moyennes, trace):
    """CSS L842-3 and R843-1: prime d'activité of the month of right before rounding, cents.

    Mean of three monthly primes, everything read month by month. Returns (cents, code) as `rsa_exact`.
    """
    droit = tables[3]
    start, declaration = group["ppa_first"], group["declaration"]
    mayotte = int(foyer["flags"]) & F_MAYOTTE != 0 and o.mayotte
    conjoint = conjoint_de(persons)
    if trace is None and residence(persons[0], False, droit, o):
        # Whom not even the majoration would open the right to need not be computed, unless the steps are asked for.
        if not activite(persons, sums, group, conjoint, True, mayotte, tables, o):
            return 0.0, 5
    code = 1
    for r in range(persons.shape[0]):
        moyennes[r] = 0.0
        for k in range(start, start + 3):
            moyennes[r] += (
                sums[r, k, PPA_PAIE] + sums[r, k, PPA_PROFESSIONNEL] + sums[r, k, PPA_AAH] + sums[r, k, PPA_AUTRES]
            ) / 3.0
    adultes = 1
    if conjoint >= 0 and conjoint_compte_ppa(persons, sums, conjoint, start, mayotte, tables, o):
        adultes = 2
    total, majoree = 0.0, False
    for j in range(3):
        k, p = start + j, tables[j]
        base = base_du_foyer(p[P.PPA_BASE], mayotte, p)
        seuil = base if o.exclusion_exacte_a_charge else p[P.RSA_BASE]
        a_charge, benjamin = compter_a_charge(
            foyer,
            exclus[j],
            persons,
            lines,
            sums,
            conjoint,
            adultes,
            declaration,
            k,
            start,
            mayotte,
            seuil,
            moyennes,
            p,
            droit,
            o,
        )
        majoree = majoration(foyer, persons, conjoint, a_charge, benjamin, declaration, k, droit, o)
        sejour = residence(persons[0], majoree, droit, o) or (
            o.residence_d_un_seul and un_membre_reside(persons, droit, o)
        )
        # One condition for the quarter, read at its last month; month by month for OpenFisca.
        code = 0 if sejour or (o.age_ppa_par_mois and code == 0) else 1
        ouvert = not o.age_ppa_par_mois or (sejour and un_membre_majeur(persons, declaration - 8 + k, droit))
        forfait = forfait_du_mois(adultes, a_charge, majoree, mayotte, base, k, p, trace)
        logement = logement_du_mois(foyer, versees, adultes + a_charge, base, k, p, o)
        familiales = prestations(versees, persons, exclus[j], benjamin, majoree, mayotte, k, p, o)
        travail, autres, bonus = revenus_du_mois(persons, sums, conjoint, exclus[j], k, mayotte, p, o, trace)
        recues = travail + autres + familiales + logement
        ressources = max(forfait, recues)
        note(trace, S_PRESTATIONS, k, -1, -familiales / 3.0)
        note(trace, S_FORFAIT_LOGEMENT, k, -1, -logement / 3.0)
        note(trace, S_RESSOURCES_REPUTEES, k, -1, (recues - ressources) / 3.0)
        mois = forfait + p[P.PENTE] * travail + bonus - ressources
        if mois < 0:
            note(trace, S_PLANCHER, k, -1, -mois / 3.0)
            mois = 0.0
        elif not ouvert:
            note(trace, S_NON_OUVERT, k, -1, -mois / 3.0)
            mois = 0.0
        total += mois / 3.0
    if code == 0 and not activite(
        persons,
        sums,
        group,
        conjoint,
        majoree_activite(foyer, persons, lines, sums, group, conjoint, majoree, exclus, moyennes, droit, o),
        mayotte,
        tables,
        o,
    ):
        code = 5
    if code == 0 and hors_de_france(foyer, droit):
        code = 6
    if code == 0:
        code = motif_du_montant(total, droit[P.PPA_SEUIL])
    if code != 0:
        note(trace, etape_de_fin(code), -1, -1, -total)
        return 0.0, code
    return total, 0


@rule
def majoree_activite(foyer, persons, lines, sums, group, conjoint, majoree, exclus, moyennes, droit, o):
    """Whether the majoration waives the condition on work: that of the last reference month, or of M for OpenFisca."""
    if not o.activite_sur_trois_derniers_mois:
        return majoree
    declaration, base = group["declaration"], droit[P.RSA_BASE]
    a_charge, benjamin = compter_a_charge(
        foyer,
        exclus[2],
        persons,
        lines,
        sums,
        conjoint,
        1,
        declaration,
        8,
        group["ppa_first"],
        False,
        base,
        moyennes,
        droit,
        droit,
        o,
    )
    return majoration(foyer, persons, conjoint, a_charge, benjamin, declaration, 8, droit, o)


@rule
def rsa_suspendu(rsa, foyer, p, o):
    """Décret 2025-478: what is paid of the RSA, in whole cents, once a share is suspended."""
    taux = float(foyer["sanction"]) if o.sanctions else 0.0
    if int(foyer["flags"]) & F_PLUSIEURS:
        taux = min(taux, p[P.SANCTION_PLAFOND])
    return arrondi(rsa * (100.0 - taux) / 100.0)


@rule
def calculer(foyers, all_persons, lines, groups, rsa_p, ppa_p, o, sums, versees, exclus, moyennes, out, trace):
    """Compute every household: rows of `out` are as the R_… say, in whole cents."""
    for i in range(foyers.shape[0]):
        foyer = foyers[i]
        persons = all_persons[foyer["person"] : foyer["person"] + foyer["persons"]]
        g = foyer["group"]
        group, p = groups[g], rsa_p[g]
        mayotte = int(foyer["flags"]) & F_MAYOTTE != 0 and o.mayotte
        ranger_lignes(
            sums, versees, foyer, persons, lines, group, base_du_foyer(p[P.RSA_BASE], mayotte, p), ppa_p[g], o
        )
        rsa, code = rsa_exact(foyer, persons, lines, versees, sums, group, p, o, exclus, moyennes, trace)
        out[i, R_RSA], out[i, R_RSA_CODE] = int(arrondi(rsa)), code
        out[i, R_RSA_VERSE] = int(rsa_suspendu(arrondi(rsa), foyer, p, o))
        note(trace, S_DEBUT_PPA, -1, -1, 0.0)
        ppa, code = ppa_exacte(foyer, persons, lines, versees, sums, group, ppa_p[g], o, exclus, moyennes, trace)
        out[i, R_PPA], out[i, R_PPA_CODE] = int(arrondi(ppa)), code
        # D12: the CRDS bears on the amount before rounding.
        out[i, R_PPA_NETTE] = int(arrondi(ppa * (1.0 - p[P.CRDS]))) if o.crds else int(arrondi(ppa))


LOI = reading(LegislationOptions.law(), fixed=True)


@entry
def calculer_loi(sources, foyers, persons, lines, groups, rsa_p, ppa_p, sums, versees, exclus, moyennes, out):
    """Compute every household as the law reads, without steps."""
    calculer(foyers, persons, lines, groups, rsa_p, ppa_p, LOI, sums, versees, exclus, moyennes, out, None)


@entry
def calculer_lecture(foyers, persons, lines, groups, rsa_p, ppa_p, o, sums, versees, exclus, moyennes, out, trace):
    """Compute every household in any reading of the law, and leave the steps in a trace of several rows."""
    calculer(foyers, persons, lines, groups, rsa_p, ppa_p, o, sums, versees, exclus, moyennes, out, trace)
