"""Entitlements of one household or of a country, and their explanation, from the same rules."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.foyer import Foyer, RessourceMois
from solidarite_server.domain.month import Month
from solidarite_server.engine import rules
from solidarite_server.engine.columns import (
    FOYER_DTYPE,
    GROUP_DTYPE,
    LINE_DTYPE,
    PERSON_DTYPE,
    WINDOW,
    Case,
    FoyerColumns,
    columns_from,
    ordered,
)
from solidarite_server.engine.compiled import COMPILED, SOURCES, is_law, reading
from solidarite_server.engine.parameters import resolve, table
from solidarite_server.engine.steps import ELIGIBLE_CODES, MOTIFS, S_ARRONDI, S_DEBUT_PPA, STEPS
from solidarite_server.legislation import Legislation, LegislationOptions, load_legislation

_Tables = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
_TRACE_ROWS = 512
_LAW = LegislationOptions.law()
_NOBODY = FoyerColumns(
    np.zeros(0, FOYER_DTYPE),
    np.zeros(0, PERSON_DTYPE),
    np.zeros(0, LINE_DTYPE),
    np.array([(Month(2026, 11).index, Month(2026, 11).index, 4, 4, 0)], GROUP_DTYPE),
)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """The rights of a household for one month of right, in cents."""

    mois_droit: Month
    rsa_cents: int
    ppa_cents: int
    """Gross of CRDS."""
    ppa_nette_crds_cents: int
    rsa_verse_cents: int
    """After a sanction's suspension (décret 2025-478)."""
    rsa_code: int
    ppa_code: int

    @property
    def rsa_eligible(self) -> bool:
        """Whether the conditions are met, whatever the amount."""
        return self.rsa_code in ELIGIBLE_CODES

    @property
    def ppa_eligible(self) -> bool:
        """Whether the conditions are met, whatever the amount."""
        return self.ppa_code in ELIGIBLE_CODES

    @property
    def rsa_motif(self) -> str:
        """Why no RSA is due, in French; empty when some is."""
        return MOTIFS[self.rsa_code]

    @property
    def ppa_motif(self) -> str:
        """Why no prime d'activité is due, in French; empty when some is."""
        return MOTIFS[self.ppa_code]


@dataclass(frozen=True, slots=True)
class DatedParameter:
    """A number of the law used by a step."""

    name: str
    value: str
    unit: str
    since: date
    source: str
    label: str
    """What it is, in French."""


@dataclass(frozen=True, slots=True)
class ExplanationStep:
    """One line of the calculation."""

    label: str
    amount_cents: Decimal
    """In cents, four decimals: what is not rounded yet."""
    article: str
    parameters: tuple[DatedParameter, ...]
    mois: Month | None
    personne: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """An entitlement with its steps: those of a benefit add up exactly to its amount in cents."""

    entitlement: Entitlement
    rsa_steps: tuple[ExplanationStep, ...]
    ppa_steps: tuple[ExplanationStep, ...]


@dataclass(frozen=True, slots=True)
class EntitlementColumns:
    """Rights of many households, in order: int64 arrays of cents, and codes (see `engine.steps.MOTIFS`)."""

    rights: npt.NDArray[np.int64]
    """[household, R_… of the rules]."""

    @property
    def rsa_cents(self) -> npt.NDArray[np.int64]:
        return self.rights[:, rules.R_RSA]

    @property
    def rsa_verse_cents(self) -> npt.NDArray[np.int64]:
        """After a sanction's suspension."""
        return self.rights[:, rules.R_RSA_VERSE]

    @property
    def ppa_cents(self) -> npt.NDArray[np.int64]:
        """Gross of CRDS."""
        return self.rights[:, rules.R_PPA]

    @property
    def ppa_nette_crds_cents(self) -> npt.NDArray[np.int64]:
        return self.rights[:, rules.R_PPA_NETTE]

    @property
    def rsa_codes(self) -> npt.NDArray[np.int64]:
        return self.rights[:, rules.R_RSA_CODE]

    @property
    def ppa_codes(self) -> npt.NDArray[np.int64]:
        return self.rights[:, rules.R_PPA_CODE]

    def entitlement(self, row: int, mois_droit: Month) -> Entitlement:
        """One household's rights as a value."""
        rsa, rsa_verse, ppa, ppa_nette, rsa_code, ppa_code = self.rights[row].tolist()
        return Entitlement(mois_droit, rsa, ppa, ppa_nette, rsa_verse, rsa_code, ppa_code)


def compute_columns(
    columns: FoyerColumns, options: LegislationOptions | None = None, legislation: Legislation | None = None
) -> EntitlementColumns:
    """Compute every household of the columns; the answer does not depend on how they are cut into blocks."""
    options = options or _LAW
    return _run(columns, options, legislation or load_legislation(), None)


def compute_many(
    cases: Iterable[tuple[Foyer, Sequence[RessourceMois], Month]],
    *,
    options: LegislationOptions | None = None,
    legislation: Legislation | None = None,
) -> list[Entitlement]:
    """Compute households given as (foyer, resources, month of right), each examined in that month."""
    options = options or _LAW
    laid = [Case(foyer, ressources, mois, mois) for foyer, ressources, mois in cases]
    result = compute_columns(columns_from(laid, options), options, legislation)
    return [result.entitlement(row, case.mois_droit) for row, case in enumerate(laid)]


def compute(
    foyer: Foyer,
    ressources: Sequence[RessourceMois],
    mois_droit: Month,
    *,
    mois_declaration: Month | None = None,
    options: LegislationOptions | None = None,
    legislation: Legislation | None = None,
) -> Entitlement:
    """Rights of one household for a month of right, examined in `mois_declaration` (the same month when not given)."""
    options = options or _LAW
    case = Case(foyer, ressources, mois_droit, mois_declaration or mois_droit)
    return compute_columns(columns_from([case], options), options, legislation).entitlement(0, mois_droit)


def explain(
    foyer: Foyer,
    ressources: Sequence[RessourceMois],
    mois_droit: Month,
    *,
    mois_declaration: Month | None = None,
    options: LegislationOptions | None = None,
    legislation: Legislation | None = None,
) -> Explanation:
    """The same as `compute`, with the steps."""
    options, legislation = options or _LAW, legislation or load_legislation()
    case = Case(foyer, ressources, mois_droit, mois_declaration or mois_droit)
    columns = columns_from([case], options)
    trace = np.zeros((_TRACE_ROWS, 4))
    entitlement = _run(columns, options, legislation, trace).entitlement(0, mois_droit)
    names = [membre.personne for membre in ordered(foyer)]
    rows = trace[1 : int(trace[0, 0]) + 1]
    split = int(np.flatnonzero(rows[:, 0] == S_DEBUT_PPA)[0])
    context = _Context(case, names, options, legislation)
    return Explanation(
        entitlement,
        _steps(rows[:split], entitlement.rsa_cents, context, rsa=True),
        _steps(rows[split:], entitlement.ppa_cents, context, rsa=False),
    )


def warm_up() -> None:
    """Compile the rules, or load them from the cache: done at start, so that no request waits for it.

    They exist twice: for the law, without steps; for any reading, with steps. Without a cache, another process
    compiles the first while this one compiles the second.
    """
    helper = _compiling_the_law() if COMPILED and not cached() else None
    compute_columns(_NOBODY, LegislationOptions.openfisca())
    if helper is not None:
        helper.wait()
    warm_law()


def warm_law() -> None:
    """Compile the rules as the law reads them, or load them from the cache."""
    compute_columns(_NOBODY, _LAW)


def cached() -> bool:
    """Whether numba's cache holds the law compiled from the present sources: its index names the types of an entry."""
    law: Any = rules.calculer_loi
    indexes = Path(law.stats.cache_path).glob(f"{rules.__name__.rpartition('.')[2]}.{law.__name__}-*.nbi")
    (sources,) = SOURCES.dtype.names or ()
    return any(sources.encode() in index.read_bytes() for index in indexes)


def _compiling_the_law() -> subprocess.Popen[bytes] | None:
    """A process that compiles the law for the cache; threads would wait for each other. If it fails, we compile it."""
    if (os.cpu_count() or 1) < 2 or not sys.executable:
        return None
    program = f"from {__name__} import warm_law; warm_law()"
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-c", program], stdin=quiet, stdout=quiet, stderr=quiet)  # noqa: S603


def _run(
    columns: FoyerColumns, options: LegislationOptions, legislation: Legislation, trace: npt.NDArray[np.float64] | None
) -> EntitlementColumns:
    law = is_law(options)
    if columns.narrow and not law:
        raise ValueError("these columns hold what the law reads: lay the households out for the options asked")
    tables = [_tables(legislation, options, *group) for group in columns.groups.tolist()]
    widest = int(np.maximum.reduce(columns.foyers["persons"], initial=1))
    out = np.zeros((len(columns), 6), np.int64)
    inputs = (
        columns.foyers,
        columns.persons,
        columns.lines,
        columns.groups,
        *_joined(tables),
    )
    scratch = (
        np.empty((widest, WINDOW, rules.SUMS)),
        np.empty((WINDOW, rules.PRESTATIONS)),
        np.zeros((3, widest), np.bool_),
        np.zeros(widest),
    )
    # Untyped: numba infers the types of the rules.
    calculer_loi: Any = rules.calculer_loi
    calculer_lecture: Any = rules.calculer_lecture
    if law and trace is None:
        calculer_loi(SOURCES, *inputs, *scratch, out)
    else:
        steps = np.zeros((1, 4)) if trace is None else trace
        calculer_lecture(*inputs, reading(options, fixed=False), *scratch, out, steps)
    return EntitlementColumns(out)


def _joined(tables: list[_Tables]) -> _Tables:
    """The parameters of several groups, one after the other."""
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return np.zeros((0, 1)), np.zeros((0, 4, 1))
    return np.concatenate([rsa for rsa, _ in tables]), np.concatenate([ppa for _, ppa in tables])


@lru_cache(maxsize=1024)
def _tables(
    legislation: Legislation,
    options: LegislationOptions,
    droit: int,
    declaration: int,
    rsa_first: int,
    ppa_first: int,
    dons: int,
) -> _Tables:
    """Parameters of a group: [1, parameter] of the month of right; [1, month, parameter] of the reference months."""
    mois, first = Month.from_index(droit), Month.from_index(declaration - (WINDOW - 1))
    rsa = table(legislation, mois, first + rsa_first, options, rsa=True)
    ppa = table(legislation, mois, first + ppa_first, options, rsa=False)
    return rsa[:, 3][np.newaxis].copy(), ppa.T[np.newaxis].copy()


@dataclass(frozen=True, slots=True)
class _Context:
    case: Case
    names: list[str]
    options: LegislationOptions
    legislation: Legislation


def _steps(
    rows: npt.NDArray[np.float64], total_cents: int, context: _Context, *, rsa: bool
) -> tuple[ExplanationStep, ...]:
    """Render the rows of a trace; the last line, the rounding, closes the sum to the cent."""
    steps = []
    remaining = Decimal(total_cents)
    for kind, place, person, cents in rows.tolist():
        amount = Decimal(repr(cents)).quantize(Decimal("0.0001"))
        if not amount:
            continue
        remaining -= amount
        steps.append(_step(int(kind), amount, int(place), int(person), context, rsa=rsa))
    if remaining:
        steps.append(_step(S_ARRONDI, remaining, -1, -1, context, rsa=rsa))
    return tuple(steps)


def _step(kind: int, amount: Decimal, place: int, person: int, context: _Context, *, rsa: bool) -> ExplanationStep:
    step, case = STEPS[kind], context.case
    reference = case.mois_declaration - (WINDOW - 1 - place) if place >= 0 else None
    paths = step.rsa_parameters if rsa else step.ppa_parameters
    parameters = []
    for path in paths:
        dated = resolve(
            context.legislation, path, case.mois_droit, reference or case.mois_droit, context.options, rsa=rsa
        )
        parameter = context.legislation.parameter(path)
        parameters.append(
            DatedParameter(path, dated.text, parameter.unit, dated.since, dated.source, parameter.description)
        )
    return ExplanationStep(
        step.label if rsa or not step.ppa_label else step.ppa_label,
        amount,
        step.rsa_article if rsa else step.ppa_article,
        tuple(parameters),
        reference,
        context.names[person] if person >= 0 else "",
    )


__all__ = [
    "DatedParameter",
    "Entitlement",
    "EntitlementColumns",
    "Explanation",
    "ExplanationStep",
    "compute",
    "compute_columns",
    "compute_many",
    "explain",
    "warm_up",
]
