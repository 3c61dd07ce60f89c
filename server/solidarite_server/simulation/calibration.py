"""What the engine pays on the synthetic country, beside what is published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from solidarite_server.domain.month import Month
from solidarite_server.engine import compute_columns
from solidarite_server.simulation.careers import NATURES, Ressources
from solidarite_server.simulation.columns import Examen, engine_columns, examen_of, family_benefits, resources_for
from solidarite_server.simulation.marginals import Marginals, load_marginals
from solidarite_server.simulation.parallel import in_order
from solidarite_server.simulation.population import (
    CONTRATS_COURTS,
    COUPLE,
    COUPLE_ENFANTS,
    INDEPENDANT,
    MICRO,
    MONOPARENTAL,
    SEUL,
    STABLE,
    Block,
    Population,
)
from solidarite_server.simulation.take_up import claims

_TARGETS = "cibles."
_YEAR = re.compile(r"_20\d\d$")
"""A figure published for several years has its year in its name."""
FAR = 0.10
"""Relative difference beyond which the report says that a figure is far."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published figure beside what the engine gives on the synthetic country."""

    name: str
    label: str
    unit: str
    mois: Month
    year: int
    published: float
    found: float
    source: str

    @property
    def gap(self) -> float:
        """Relative difference: 0.05 when the synthetic country is 5 % above."""
        return self.found / self.published - 1


def calibrate(foyers: int, seed: int, *, processes: int = 1, marginals: Marginals | None = None) -> list[Comparison]:
    """Compare every target of the marginals; the population is made again for each month of comparison."""
    chosen = marginals or load_marginals()
    targets = [section for section in chosen.sections() if section.path.startswith(_TARGETS)]
    found: dict[Month, Mapping[str, float]] = {}
    comparisons = []
    for target in targets:
        mois = Month.parse(target.values["mois"])
        if mois not in found:
            found[mois] = measured(Population(foyers, seed, mois, chosen), processes=processes)
        name = target.path.removeprefix(_TARGETS)
        comparisons.append(
            Comparison(
                name,
                target.values["libelle"],
                target.values["unite"],
                mois,
                target.year or mois.year,
                float(target.values["valeur"]),
                found[mois][_YEAR.sub("", name)],
                target.source,
            )
        )
    return comparisons


def measured(population: Population, *, processes: int = 1) -> dict[str, float]:
    """Figures of a synthetic country in its own month, by the names of the targets."""
    sums: dict[str, float] = {}
    for part in in_order(partial(_sums, population, examen_of(population)), population.block_count, processes):
        for name, value in part.items():
            sums[name] = sums.get(name, 0.0) + value
    weight = population.weight
    counts = {name: value * weight for name, value in sums.items()}
    return {
        **counts,
        "part_independants": counts["independants"] / (counts["independants"] + counts["salaries"]),
        "temps_plein_median": _median_pay(population),
        "chomage_moyen": counts["chomage_verse"] / counts["chomeurs_indemnises"] / 100,
        "pension_moyenne": counts["pension_versee"] / counts["retraites"] / 100,
        "rsa_moyen": counts["rsa_verse"] / counts["rsa_foyers"] / 100,
        "rsa_depense": counts["rsa_verse"] * 12 / 100,
        "ppa_moyenne": counts["ppa_versee"] / counts["ppa_foyers"] / 100,
        "ppa_depense": counts["ppa_versee"] * 12 / 100,
        "part_monoparentaux_ppa": counts["ppa_monoparentaux"] / counts["ppa_foyers"],
    }


def _sums(population: Population, examen: Examen, number: int) -> dict[str, float]:
    block, marginals = population.block(number), population.marginals
    amounts = resources_for(block, examen, marginals)
    rights = compute_columns(engine_columns(block, examen, marginals, amounts), examen.options)
    claimed = claims(block, rights, marginals)
    f = block.foyers
    sizes = np.bincount(block.adultes.foyer, minlength=len(block)) + f.enfants
    rsa = np.where(claimed.rsa, rights.rsa_cents, 0)
    ppa = np.where(claimed.ppa, rights.ppa_cents, 0)
    paid = family_benefits(block, examen.months, marginals)
    figures: dict[str, Any] = {
        "population": float(sizes.sum()),
        "af": np.count_nonzero(paid.af[:, -1]),
        "cf": np.count_nonzero(paid.cf[:, -1]),
        "aide_logement": np.count_nonzero(f.aide_logement),
        "rsa_foyers": np.count_nonzero(rsa),
        "rsa_verse": float(rsa.sum()),
        "rsa_personnes": float(sizes[rsa > 0].sum()),
        "rsa_eligibles": np.count_nonzero(rights.rsa_cents),
        "rsa_seuls": np.count_nonzero(rsa[f.famille == SEUL]),
        "rsa_monoparentaux": np.count_nonzero(rsa[f.famille == MONOPARENTAL]),
        "rsa_couples": np.count_nonzero(rsa[(f.famille == COUPLE) | (f.famille == COUPLE_ENFANTS)]),
        "ppa_foyers": np.count_nonzero(ppa),
        "ppa_versee": float(ppa.sum()),
        "ppa_personnes": float(sizes[ppa > 0].sum()),
        "ppa_eligibles": np.count_nonzero(rights.ppa_cents),
        "ppa_monoparentaux": np.count_nonzero(ppa[f.famille == MONOPARENTAL]),
        "ppa_seuls": np.count_nonzero(ppa[f.famille == SEUL]),
    }
    figures.update(_persons(block, amounts))
    return {name: float(value) for name, value in figures.items()}


def _persons(block: Block, amounts: Ressources) -> dict[str, Any]:
    """Counts of the adults by what they live on, in the last month."""
    a = block.adultes
    last = {nature.name: amounts.cents[:, place, -1] for place, nature in enumerate(NATURES)}
    paid = last["SALAIRE"] + last["IJSS_MALADIE"] + last["IJSS_MATERNITE"]
    return {
        "salaries": np.count_nonzero(paid),
        "independants": np.count_nonzero((a.activite == INDEPENDANT) | (a.activite == MICRO)),
        "chomeurs_indemnises": np.count_nonzero(last["CHOMAGE"]),
        "chomage_verse": float(last["CHOMAGE"].sum()),
        "ass": np.count_nonzero(last["ALLOCATION_SOLIDARITE_SPECIFIQUE"]),
        "retraites": np.count_nonzero(last["RETRAITE"]),
        "pension_versee": float(last["RETRAITE"].sum()),
        "aah": np.count_nonzero(last["AAH"]),
    }


def _median_pay(population: Population) -> float:
    """Median full-time pay of the first block's employees, in euros of the published year."""
    a = population.block(0).adultes
    employed = (a.activite == STABLE) | (a.activite == CONTRATS_COURTS)
    smic: float = population.marginals["salaires.quantiles"]["smic"]
    return float(np.median(a.plein_temps[employed])) * smic
