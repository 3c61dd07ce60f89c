"""Mutants that no household can tell from the rules, by the reason: the score is told with and without them."""

# ruff: noqa: E501 (names hold lines of the rules)

from __future__ import annotations

_BY_REASON: dict[str, tuple[str, ...]] = {
    "The allocataire is row 0: neither a partner nor a dependant ever is.": (
        "minima_des_exclus: if r >= 0 and persons[r]['role'] >= ENFANT and exclus[r] and (line['category'] <= NATURE_MAX):: r >= 0: GtE -> Gt",
        "minima_des_exclus: if r >= 0 and persons[r]['role'] >= ENFANT and exclus[r] and (line['category'] <= NATURE_MAX):: 0 -> 1",
        "condition_rsa: partenaire = o.conjoint_ouvre_a_un_etudiant and conjoint >= 0 and (int(persons[conjoint]['flags']) & bars == 0): conjoint >= 0: GtE -> Gt",
        "condition_rsa: partenaire = o.conjoint_ouvre_a_un_etudiant and conjoint >= 0 and (int(persons[conjoint]['flags']) & bars == 0): 0 -> 1",
        "majoration: if conjoint >= 0 or (int(foyer['flags']) & F_MAYOTTE and o.mayotte) or (not bit(foyer['isole'], k)):: 0 -> 1",
        "suivant_a_charge: if (precedent < 0 or passe_avant(persons, moyennes, precedent, q)) and (trouve < 0 or passe_avant(persons, moyennes, q, trouve)):: precedent < 0: Lt -> LtE",
        "suivant_a_charge: if (precedent < 0 or passe_avant(persons, moyennes, precedent, q)) and (trouve < 0 or passe_avant(persons, moyennes, q, trouve)):: 0 -> 1",
        "exclu_au_forfait: seul = conjoint < 0 and bit(foyer['isole'], k) and (not attendu): 0 -> 1",
        "condition_rsa: if not (o.residence_d_un_seul and conjoint >= 0 and residence(persons[conjoint], False, p, o)):: conjoint >= 0: GtE -> Gt",
        "condition_rsa: if bit(persons[q]['grossesse'], 8) and (o.grossesse_ouvre_droit or conjoint < 0):: 0 -> 1",
        "rsa_exact: adultes = 2 if conjoint >= 0 and conjoint_compte_rsa(persons, conjoint, p, o) else 1: 0 -> 1",
        "ppa_exacte: if conjoint >= 0 and conjoint_compte_ppa(persons, sums, conjoint, start, mayotte, tables, o):: conjoint >= 0: GtE -> Gt",
        "ppa_exacte: if conjoint >= 0 and conjoint_compte_ppa(persons, sums, conjoint, start, mayotte, tables, o):: 0 -> 1",
        "majoration: if conjoint >= 0 or (int(foyer['flags']) & F_MAYOTTE and o.mayotte) or (not bit(foyer['isole'], k)):: conjoint >= 0: GtE -> Gt",
        "suivant_a_charge: if (precedent < 0 or passe_avant(persons, moyennes, precedent, q)) and (trouve < 0 or passe_avant(persons, moyennes, q, trouve)):: trouve < 0: Lt -> LtE",
        "suivant_a_charge: if (precedent < 0 or passe_avant(persons, moyennes, precedent, q)) and (trouve < 0 or passe_avant(persons, moyennes, q, trouve)):: 0 -> 1 (2)",
        "exclu_au_forfait: seul = conjoint < 0 and bit(foyer['isole'], k) and (not attendu): conjoint < 0: Lt -> LtE",
        "condition_rsa: if not (o.residence_d_un_seul and conjoint >= 0 and residence(persons[conjoint], False, p, o)):: 0 -> 1",
        "condition_rsa: if bit(persons[q]['grossesse'], 8) and (o.grossesse_ouvre_droit or conjoint < 0):: conjoint < 0: Lt -> LtE",
        "rsa_exact: adultes = 2 if conjoint >= 0 and conjoint_compte_rsa(persons, conjoint, p, o) else 1: conjoint >= 0: GtE -> Gt",
    ),
    "Below 0 a rank is nobody, a place no month, whatever the number.": (
        "minima_des_exclus: note(trace, S_RESSOURCES_PERSONNE, -1, r, -line['cents'] / 3.0): 1 -> 2",
        "ppa_exacte: note(trace, etape_de_fin(code), -1, -1, -total): 1 -> 2",
        "ppa_exacte: note(trace, etape_de_fin(code), -1, -1, -total): 1 -> 2 (2)",
        "suivant_a_charge: trouve = -1: 1 -> 2",
        "forfait_du_mois: note(trace, S_MONTANT_FORFAITAIRE, k, -1, forfait / 3.0): 1 -> 2",
        "rsa_exact: note(trace, S_PRESTATIONS, k, -1, -familiales / 3.0): 1 -> 2",
        "rsa_exact: note(trace, S_PLANCHER, k, -1, (propres - mois) / 3.0): 1 -> 2",
        "rsa_exact: note(trace, etape_de_fin(code), -1, -1, -total): 1 -> 2 (2)",
        "ressources_rsa: note(trace, S_NEUTRALISATION_AUTRES, -1, -1, -neutres): 1 -> 2 (2)",
        "ressources_rsa: note(trace, S_CLAUSE_TRANSITION, -1, -1, trois - deux): 1 -> 2",
        "ppa_exacte: note(trace, S_PRESTATIONS, k, -1, -familiales / 3.0): 1 -> 2",
        "ppa_exacte: note(trace, S_RESSOURCES_REPUTEES, k, -1, (recues - ressources) / 3.0): 1 -> 2",
        "ppa_exacte: note(trace, S_NON_OUVERT, k, -1, -mois / 3.0): 1 -> 2",
        "conjoint_de: return -1: 1 -> 2",
        "compter_a_charge: precedent = -1: 1 -> 2",
        "rsa_exact: note(trace, S_FORFAIT_LOGEMENT, k, -1, -logement / 3.0): 1 -> 2",
        "forfait_du_mois: note(trace, S_MAJORATION, k, -1, plus / 3.0): 1 -> 2",
        "rsa_exact: note(trace, etape_de_fin(code), -1, -1, -total): 1 -> 2",
        "ressources_rsa: note(trace, S_RESSOURCES_PERSONNE, -1, r, -moyennes[r] * mois_comptes / 3.0): 1 -> 2",
        "ressources_rsa: note(trace, S_NEUTRALISATION_AUTRES, -1, -1, -neutres): 1 -> 2",
        "ressources_rsa: note(trace, S_CLAUSE_TRANSITION, -1, -1, trois - deux): 1 -> 2 (2)",
        "ppa_exacte: note(trace, S_FORFAIT_LOGEMENT, k, -1, -logement / 3.0): 1 -> 2",
        "calculer: note(trace, S_DEBUT_PPA, -1, -1, 0.0): 1 -> 2 (2)",
        "ppa_exacte: note(trace, S_PLANCHER, k, -1, -mois / 3.0): 1 -> 2",
        "calculer: note(trace, S_DEBUT_PPA, -1, -1, 0.0): 1 -> 2",
    ),
    "No line of 0 is laid out.": (
        "remplacement_recu: if line['person'] == person and line['mois'] == examen and (line['cents'] > 0) and (line['category'] <= NATURE_MAX):: line['cents'] > 0: Gt -> GtE",
        "maladie_professionnelle: if lines[i]['person'] == person and lines[i]['category'] <= NATURE_MAX and (lines[i]['cents'] > 0):: lines[i]['cents'] > 0: Gt -> GtE",
    ),
    "The nature numbered 69 (another resource) neither replaces an income nor is sick pay, a wage or a minimum social.": (
        "minima_des_exclus: if r >= 0 and persons[r]['role'] >= ENFANT and exclus[r] and (line['category'] <= NATURE_MAX):: line['category'] <= NATURE_MAX: LtE -> Lt",
        "maladie_professionnelle: if lines[i]['person'] == person and lines[i]['category'] <= NATURE_MAX and (lines[i]['cents'] > 0):: lines[i]['category'] <= NATURE_MAX: LtE -> Lt",
        "remplacement_recu: if line['person'] == person and line['mois'] == examen and (line['cents'] > 0) and (line['category'] <= NATURE_MAX):: line['category'] <= NATURE_MAX: LtE -> Lt",
    ),
    "Nobody stopped work in February of the year 0.": (
        "maladie_professionnelle: return arret != 0 and arret <= month < arret + p[P.MOIS_MALADIE]: 0 -> 1",
    ),
    "No amount lies exactly a millionth of a cent from a limit: cents divided by 3, 12 or a rate never do.": (
        "compter_a_charge: exclus[q] = moyennes[q] >= (avec - sans) * base - SLACK: moyennes[q] >= (avec - sans) * base - SLACK: GtE -> Gt",
        "passe_avant: if abs(moyennes[q] - moyennes[r]) > SLACK:: abs(moyennes[q] - moyennes[r]) > SLACK: Gt -> GtE",
        "motif_du_montant: if total <= SLACK:: total <= SLACK: LtE -> Lt",
        "professionnels: if o.aah_professionnelle and sums[r, k, PPA_AAH] > 0 and (revenu >= p[P.AAH_HEURES] * smic_horaire(mayotte, p) - SLACK):: sums[r, k, PPA_AAH] > 0: Gt -> GtE",
        "motif_du_montant: return 21 if total < seuil - SLACK else 0: total < seuil - SLACK: Lt -> LtE",
        "professionnels: if o.aah_professionnelle and sums[r, k, PPA_AAH] > 0 and (revenu >= p[P.AAH_HEURES] * smic_horaire(mayotte, p) - SLACK):: revenu >= p[P.AAH_HEURES] * smic_horaire(mayotte, p) - SLACK: GtE -> Gt",
        "activite: if revenu <= heures * smic_horaire(mayotte, p) + SLACK:: revenu <= heures * smic_horaire(mayotte, p) + SLACK: LtE -> Lt",
    ),
    "The line before has seen that the two differ.": (
        "passe_avant: return persons[q]['jour'] > persons[r]['jour']: persons[q]['jour'] > persons[r]['jour']: Gt -> GtE",
        "passe_avant: return persons[q]['asf'] > persons[r]['asf']: persons[q]['asf'] > persons[r]['asf']: Gt -> GtE",
        "passe_avant: return moyennes[q] < moyennes[r]: moyennes[q] < moyennes[r]: Lt -> LtE",
        "passe_avant: return persons[q]['naissance'] > persons[r]['naissance']: persons[q]['naissance'] > persons[r]['naissance']: Gt -> GtE",
        "passe_avant: return persons[q]['role'] < persons[r]['role']: persons[q]['role'] < persons[r]['role']: Lt -> LtE",
        "passe_avant: return q < r: q < r: Lt -> LtE",
    ),
    "What is then added, taken off or told is 0, and a line of 0 is not told.": (
        "rsa_exact: if mois < propres:: mois < propres: Lt -> LtE",
        "ressources_rsa: if mois_comptes > 0 and moyennes[r] != 0:: mois_comptes > 0 and moyennes[r] != 0: And -> Or",
        "revenus_du_mois: if revenu > 0:: revenu > 0: Gt -> GtE",
        "revenus_du_mois: if prime_individuelle > 0:: prime_individuelle > 0: Gt -> GtE",
        "ressources_rsa: if mois_comptes > 0 and moyennes[r] != 0:: mois_comptes > 0: Gt -> GtE",
        "ressources_rsa: if deux < trois:: deux < trois: Lt -> LtE",
        "ppa_exacte: if mois < 0:: mois < 0: Lt -> LtE",
    ),
    "Overwritten before it is read.": (
        "ppa_exacte: total, majoree = (0.0, False): False -> True",
        "rsa_exact: majoree = False: False -> True",
    ),
    "Read by `code == 0` alone before each month sets it.": ("ppa_exacte: code = 1: 1 -> 2",),
    "Both sums begin at the same number, and only their difference is read.": (
        "ressources_rsa: trois = deux = 0.0: 0.0 -> 1.0",
    ),
    "Nothing reads the month after the last of reference.": (
        "ranger_lignes: if not debut <= k < fin:: debut <= k < fin: Lt -> LtE",
        "mois_lus: return (min(group['rsa_first'], group['ppa_first']), max(group['rsa_first'], group['ppa_first']) + 3): 3 -> 4",
        "annuel: if debut <= k < fin:: debut <= k < fin: Lt -> LtE",
    ),
    "Only whether it is 0 is read.": (
        "ranger_lignes: versees[k, FAMILIALES - AF] += 1.0: 1.0 -> 2.0",
        "ranger_lignes: versees[k, FAMILIALES - AF] += 1.0: versees[k, FAMILIALES - AF] += 1.0: Add -> Sub",
    ),
    "The first bit is that of wages, ignored whole: nothing of them is laid beyond the base.": (
        "ranger_lignes: if int(persons[q]['interrompues']) != 0 and (not o.neutralisation_automatique):: 0 -> 1",
    ),
    "No age of the law lies between one and two months before a birthday.": ("age_mois: return age - 1: 1 -> 2",),
    "Who has a cent a month at most brings more, and is kept as who has nothing.": (
        "compter_a_charge: if moyennes[q] > 0:: 0 -> 1",
    ),
    "It spares work alone: without isolation in the reference months the long way gives the same.": (
        "rsa_exact: if trace is None and int(foyer['isole']) == 0:: 0 -> 1",
    ),
    "The months looked at never end before the third of the window.": (
        "ressources_a_l_examen: for m in range(max(0, quarter), max(0, quarter + 3)):: 0 -> 1 (2)",
    ),
    "A marker of 0: nothing reads its month or its person.": (
        "calculer: note(trace, S_DEBUT_PPA, -1, -1, 0.0): -1: sign dropped",
        "calculer: note(trace, S_DEBUT_PPA, -1, -1, 0.0): -1: sign dropped (2)",
    ),
    "One line a month: the opposite of an amount is 0 when the amount is.": (
        "interruption_constatee: apres += lines[i]['cents']: apres += lines[i]['cents']: Add -> Sub",
    ),
}

EQUIVALENT = {name: reason for reason, names in _BY_REASON.items() for name in names}
"""The reason by the name of the mutant."""
