"""Cases as arrays of facts, whatever the file they come from, and their layout as the engine's columns.

A case is a household examined in its month of right: what `cases.careful.case_from` reads of a line of JSON. The
facts hold for years to come; `laid_out` keeps of them what the rules read for given options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solidarite_server.cases.lines import BENEFICE, lay_amounts
from solidarite_server.domain.foyer import Foyer, StatutLogement, Zone
from solidarite_server.domain.month import Month
from solidarite_server.engine import FoyerColumns
from solidarite_server.engine.columns import (
    F_MAYOTTE,
    FOYER_DTYPE,
    GROUP_DTYPE,
    LINE_DTYPE,
    P_ACTUEL,
    P_REGULIER,
    PERSON_DTYPE,
    WINDOW,
    group_of,
    months_alone,
    months_read,
)
from solidarite_server.engine.compiled import SOURCES, is_law
from solidarite_server.legislation import LegislationOptions

CASE_DTYPE = np.dtype(
    [
        ("mois", "<i4"),  # month of right, Month.index
        ("persons", "<i4"),
        ("amounts", "<i4"),
        ("isolement", "<i4"),  # Month.index of the last isolation to begin; 0: not alone
        ("hors_france", "<i2"),  # days abroad that touch the month of right (`engine.columns.jours_hors_france`)
        ("zone", "u1"),
        ("logement", "u1"),
        ("pilote", "u1"),
    ]
)
FACT_PERSON_DTYPE = np.dtype(
    [
        ("naissance", "<i4"),  # Month.index
        ("jour", "u1"),
        ("role", "u1"),
        ("nationalite", "u1"),
        ("asf", "u1"),
        ("titre_annees", "u1"),
        ("flags", "<u2"),  # P_… of the engine
        ("grossesse", "<u2"),  # bit k: month M − 8 + k
        ("arret", "<i4"),  # Month.index of the sick leave; 0 = none
        ("heures", "<i2"),
    ]
)
AMOUNT_DTYPE = np.dtype(
    [
        ("person", "<i2"),  # rank in the case, -1 for the household
        ("category", "u1"),
        ("period", "<i4"),  # Month.index, or a year; 0 for a balance
        ("cents", "<i8"),
    ]
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Cases in order; the persons and amounts of each follow those of the one before. Allocataire, partners, others."""

    cases: npt.NDArray[np.void]
    """CASE_DTYPE."""
    persons: npt.NDArray[np.void]
    """FACT_PERSON_DTYPE."""
    amounts: npt.NDArray[np.void]
    """AMOUNT_DTYPE."""

    def __len__(self) -> int:
        return len(self.cases)


def laid_out(facts: Facts, options: LegislationOptions) -> FoyerColumns:
    """The engine's columns, as `columns_from` makes them of the same households."""
    cases = facts.cases
    examens, group = np.unique(cases["mois"].astype(np.int64) * 2 + cases["pilote"], return_inverse=True)
    groups = np.array([_group(int(examen), options) for examen in examens], GROUP_DTYPE)
    law = is_law(options)
    months = [months_read(int(g["rsa_first"]), int(g["ppa_first"]), law=law) for g in groups]
    read = np.array([(m.start, m.stop) for m in months], np.int64).reshape(-1, 2)
    first = cases["mois"] - (WINDOW - 1)

    yearly = int((facts.amounts["category"] >= BENEFICE).sum())
    lines = np.empty(len(facts.amounts) + yearly * 3 * WINDOW, LINE_DTYPE)
    counts = np.zeros(len(facts), np.int32)
    lay: Any = lay_amounts  # untyped: numba infers its types
    lay(SOURCES, cases, facts.amounts, first, read[group], lines, counts)

    foyers = np.zeros(len(facts), FOYER_DTYPE)
    foyers["group"] = group
    foyers["persons"], foyers["person"] = cases["persons"], _starts(cases["persons"])
    foyers["lines"], foyers["line"] = counts, _starts(counts)
    alone = cases["isolement"] > 0
    foyers["isolement"], foyers["isole"] = months_alone(cases["isolement"], first), np.where(alone, _ALL, 0)
    foyers["hors_france"] = cases["hors_france"]
    foyers["gratuit"] = np.where(cases["logement"] == StatutLogement.HEBERGE_GRATUIT, _ALL, 0)
    foyers["proprietaire"] = np.where(cases["logement"] == StatutLogement.PROPRIETAIRE, _ALL, 0)
    foyers["flags"] = np.where(cases["zone"] == Zone.MAYOTTE, F_MAYOTTE, 0)

    persons = np.zeros(len(facts.persons), PERSON_DTYPE)
    for name in FACT_PERSON_DTYPE.names or ():
        persons[name] = facts.persons[name]
    persons["flags"] |= P_ACTUEL | P_REGULIER
    born = np.clip(facts.persons["naissance"] - np.repeat(first, cases["persons"]), 0, WINDOW)
    persons["present"] = (_ALL << born) & _ALL
    return FoyerColumns(foyers, persons, lines[: int(counts.sum())], groups, law)


_ALL = (1 << WINDOW) - 1


def _starts(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts[:-1], dtype=np.int64))) if len(counts) else np.zeros(0, np.int64)


def _group(examen: int, options: LegislationOptions) -> tuple[int, int, int, int, int]:
    mois = Month.from_index(examen // 2)
    return group_of(Foyer("", (), departement="06" if examen % 2 else ""), mois, mois, options)
