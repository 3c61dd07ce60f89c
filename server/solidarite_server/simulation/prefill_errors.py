"""What prefilling avoids: rights on true resources, on resources declared by hand, and on prefilled ones.

Each household is computed three times by the engine. By hand, households err as assumed in the section `erreurs` of the
marginals. Prefilled, they confirm what the records received by the tenth of the month say, and err on the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.month import Month
from solidarite_server.engine import EntitlementColumns, compute_columns
from solidarite_server.record_columns import days_of
from solidarite_server.simulation.careers import DECLARED, NATURES, PREFILLED, Ressources, noise_of, ressources
from solidarite_server.simulation.columns import Examen, engine_columns, examen_of, resources_for
from solidarite_server.simulation.marginals import Marginals, load_marginals
from solidarite_server.simulation.parallel import in_order
from solidarite_server.simulation.population import Block, Population
from solidarite_server.simulation.records import certified, records
from solidarite_server.simulation.take_up import claims

WITHOUT, WITH = "Sans préremplissage", "Avec préremplissage"
_DAY_OF_FILING = 10
_VISIBLE_CENTS = 100
"""A month is wrong from one euro on."""
_SALAIRE = 0
_QUARTER = 3
(_ERRS, _KIND, _SIZE, _WHICH, _FORGETS, _NOTICES, _RECTIFIES) = range(101, 108)


@dataclass(frozen=True, slots=True)
class Assumption:
    """One of the error assumptions."""

    label: str
    share: float
    source: str


@dataclass(frozen=True, slots=True)
class Side:
    """One way to declare, over the country; amounts are those of the three months of right."""

    declarations: int
    erronees: int
    """With at least one wrong month."""
    droits_faux: int
    indu_cents: int
    rappel_cents: int
    du_cents: int
    """What is due on true resources."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Both ways side by side."""

    mois_declaration: Month
    foyers: int
    seed: int
    without: Side
    with_prefill: Side
    assumptions: tuple[Assumption, ...]


def compare_prefill(
    foyers: int, seed: int, mois: Month, *, processes: int = 1, marginals: Marginals | None = None
) -> Outcome:
    """Errors, overpayments and underpayments of a declaration month, with and without prefilling."""
    population = Population(foyers, seed, mois, marginals or load_marginals())
    examen = examen_of(population)
    totals = np.zeros((2, 6), np.int64)
    for part in in_order(partial(_block, population, examen), population.block_count, processes):
        totals += part
    without, with_prefill = (Side(*(round(v * population.weight) for v in row)) for row in totals.tolist())
    return Outcome(mois, foyers, seed, without, with_prefill, tuple(_assumptions(population.marginals)))


def _block(population: Population, examen: Examen, number: int) -> npt.NDArray[np.int64]:
    block, marginals = population.block(number), population.marginals
    truth = resources_for(block, examen, marginals)
    by_hand = declared_by_hand(block, truth, marginals)
    filled = prefilled(block, truth, by_hand, examen, marginals)
    true_rights, hand_rights, filled_rights = (
        compute_columns(engine_columns(block, examen, marginals, amounts), examen.options)
        for amounts in (truth, by_hand, filled)
    )
    # Who declares does so in both worlds: a right on true resources, or one that errors would open.
    declares = claims(block, true_rights, marginals).either | claims(block, hand_rights, marginals).either
    return np.array(
        [
            _side(block, truth, amounts, true_rights, rights, declares)
            for amounts, rights in ((by_hand, hand_rights), (filled, filled_rights))
        ]
    )


def _side(
    block: Block,
    truth: Ressources,
    amounts: Ressources,
    true_rights: EntitlementColumns,
    rights: EntitlementColumns,
    declares: npt.NDArray[np.bool_],
) -> list[int]:
    due = np.where(declares, true_rights.rsa_cents + true_rights.ppa_cents, 0)
    paid = np.where(declares, rights.rsa_cents + rights.ppa_cents, 0)
    gaps = np.abs(amounts.cents - truth.cents).sum(1).max(1) + np.abs(amounts.chiffre - truth.chiffre).max(1)
    wrong = np.bincount(block.adultes.foyer, gaps >= _VISIBLE_CENTS, len(block)) > 0
    return [
        int(np.count_nonzero(declares)),
        int(np.count_nonzero(declares & wrong)),
        int(np.count_nonzero(declares & (due != paid))),
        int(np.maximum(0, paid - due).sum()) * _QUARTER,
        int(np.maximum(0, due - paid).sum()) * _QUARTER,
        int(due.sum()) * _QUARTER,
    ]


def declared_by_hand(block: Block, truth: Ressources, marginals: Marginals) -> Ressources:
    """What households write from memory and payslips: one kind of error for those that err."""
    a = block.adultes
    household = a.graine[block.foyers.adulte[a.foyer]]
    errs = noise_of(household, np.uint64(_ERRS)) < marginals["erreurs.a_la_main"]["part"]
    shares = np.cumsum(list(marginals["erreurs.genres"].values()))
    kind = np.searchsorted(shares / shares[-1], noise_of(household, np.uint64(_KIND)), side="right")
    size = noise_of(a.graine, np.uint64(_SIZE))
    which = (noise_of(household, np.uint64(_WHICH)) * len(truth.months)).astype(np.intp)
    cents = truth.cents.copy()

    other = errs & (kind == 0)
    table = marginals["erreurs.autre_net"]
    share = 1 + table["bas"] + (table["haut"] - table["bas"]) * size[other]
    cents[other, _SALAIRE] = np.rint(cents[other, _SALAIRE] * share[:, None])
    forgotten = np.flatnonzero(errs & (kind == 1))
    cents[forgotten, _SALAIRE, which[forgotten]] = 0
    shifted = errs & (kind == 2)
    cents[shifted] = ressources(block, [mois + 1 for mois in truth.months], marginals).cents[shifted]
    replacement = errs & (kind == 3)
    for place in PREFILLED:
        if place != _SALAIRE:
            cents[replacement, place] = 0
    return _forgetting(block, Ressources(truth.months, cents, truth.chiffre.copy()), marginals)


def _forgetting(block: Block, amounts: Ressources, marginals: Marginals) -> Ressources:
    """Resources that nothing prefills (maintenance, turnover) are sometimes left out, in both worlds alike."""
    rate = marginals.value("erreurs.ressource_a_declarer_oubliee")
    forgets = noise_of(block.adultes.graine, np.uint64(_FORGETS)) < rate
    for place in DECLARED:
        amounts.cents[forgets, place] = 0
    amounts.chiffre[forgets] = 0
    return amounts


def prefilled(block: Block, truth: Ressources, by_hand: Ressources, examen: Examen, marginals: Marginals) -> Ressources:
    """What households validate: the records received in time, missing ones noticed by some, the rest by hand."""
    a = block.adultes
    cents = truth.cents.copy()
    received = _received(block, examen, marginals)
    for place in PREFILLED:
        cents[:, place] = received[:, place]
    # A missing record leaves an empty line: some households fill it.
    missing = (received == 0) & (truth.cents > 0)
    notices = noise_of(a.graine, np.uint64(_NOTICES)) < marginals.value("erreurs.manque_signale")
    cents = np.where(missing & notices[:, None, None], truth.cents, cents)
    rectifies = noise_of(a.graine, np.uint64(_RECTIFIES)) < marginals.value("erreurs.rectification_a_tort")
    alone = rectifies | ~certified(block, marginals)
    cents[alone] = by_hand.cents[alone]
    return _forgetting(block, Ressources(truth.months, cents, truth.chiffre.copy()), marginals)


def _received(block: Block, examen: Examen, marginals: Marginals) -> npt.NDArray[np.int64]:
    """Sums of the records received by the day of filing: the newest version of each, and every difference."""
    months = examen.months
    drm = records(block, months, marginals)
    filing = date(examen.mois_declaration.year, examen.mois_declaration.month, _DAY_OF_FILING)
    rows = np.flatnonzero(drm.reception <= days_of(filing))
    columns, adulte = drm.columns[rows], drm.adulte[rows]
    # One row an identifier: the highest version. Doubles have the same identifier and version.
    order = np.lexsort((columns["version"], columns["record_id"]))
    ids = columns["record_id"][order]
    newest = np.append(ids[1:] != ids[:-1], True) if len(ids) else np.zeros(0, np.bool_)
    kept = order[newest]
    places = np.zeros(256, np.intp)
    places[list(NATURES)] = range(len(NATURES))
    sums = np.zeros((len(block.adultes.foyer), len(NATURES), len(months)), np.int64)
    where = (adulte[kept], places[columns["nature"][kept]], columns["mois"][kept] - months[0].index)
    np.add.at(sums, where, columns["montant"][kept])
    return np.maximum(sums, 0)


def _assumptions(marginals: Marginals) -> list[Assumption]:
    kinds = marginals["erreurs.genres"]
    by_hand = {section.path: section for section in marginals.sections()}
    rows = [("Déclarations fausses, à la main", "erreurs.a_la_main", marginals["erreurs.a_la_main"]["part"])]
    labels = ("un autre net", "un mois oublié", "les mauvais mois", "un revenu de remplacement oublié")
    rows += [(f"dont {label}", "erreurs.genres", share) for label, share in zip(labels, kinds.values(), strict=True)]
    rows += [
        ("Ressource à déclarer oubliée", "erreurs.ressource_a_declarer_oubliee", None),
        ("Enregistrement absent signalé", "erreurs.manque_signale", None),
        ("Rectification à tort", "erreurs.rectification_a_tort", None),
    ]
    rows += [
        (f"Enregistrements {label}", "imperfections", marginals["imperfections"][name])
        for name, label in (
            ("en_retard", "en retard"),
            ("manquants", "manquants"),
            ("corriges", "corrigés après coup"),
            ("differentiels", "complétés par une différence"),
        )
    ]
    rows.append(("Adultes au NIR non certifié", "imperfections", marginals["imperfections"]["non_certifies"]))
    return [
        Assumption(label, float(marginals.value(path) if share is None else share), by_hand[path].source)
        for label, path, share in rows
    ]
