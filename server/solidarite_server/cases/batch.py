"""Lines of cases computed, and their rights as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any

import numpy as np
import numpy.typing as npt

from solidarite_server.cases.careful import CaseError, case_from
from solidarite_server.cases.facts import Facts, laid_out
from solidarite_server.cases.jsonl import Reader, Unsure, normalised
from solidarite_server.engine import Case, EntitlementColumns, columns_from, compute_columns
from solidarite_server.engine import explain as explain_one
from solidarite_server.legislation import LegislationOptions


@dataclass(slots=True)
class Results:
    """Rights of the cases of a block, in cents, in order; 0 where the case was refused."""

    ids: Any
    """A list, or a column of Arrow."""
    rsa: npt.NDArray[np.int64]
    ppa: npt.NDArray[np.int64]
    ppa_nette: npt.NDArray[np.int64]
    errors: dict[int, str] = field(default_factory=dict)
    """What is wrong, by place."""
    numbers: dict[int, int] = field(default_factory=dict)
    """The line of each refused case, from 1."""
    lines: int = 0
    """How many lines, or rows, were read: those without a case too."""
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, ids: Any) -> Results:
        """No right yet, for as many cases as there are identifiers."""
        return cls(ids, np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64))

    def refusals(self) -> list[tuple[int, str]]:
        """The line of each refused case and what is wrong with it."""
        return [(self.numbers[place], message) for place, message in self.errors.items()]

    def put(self, places: Sequence[int] | npt.NDArray[np.int64], found: EntitlementColumns) -> None:
        """Set the rights of some cases."""
        self.rsa[places], self.ppa[places] = found.rsa_cents, found.ppa_cents
        self.ppa_nette[places] = found.ppa_nette_crds_cents


def computed_facts(facts: Facts, options: LegislationOptions) -> EntitlementColumns:
    """Rights of cases given as facts."""
    return compute_columns(laid_out(facts, options), options)


def warm(options: LegislationOptions) -> None:
    """Compile, or load from the cache, what this reading of the law takes."""
    computed_facts(Reader().facts(), options)


def computed(lines: bytes, options: LegislationOptions, *, explain: bool = False, careful: bool = False) -> Results:
    """Read and compute whole lines. Those that the quick reader leaves, or all, are read with care."""
    reader, ids = Reader(), list[Any]()
    quick, laid = list[int](), dict[int, Case]()
    results = Results.of(ids)
    results.lines = lines.count(b"\n")
    for number, line in enumerate(lines.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = len(ids)
        try:
            if careful or explain:
                raise Unsure
            ids.append(reader.read(line))
            quick.append(place)
        except Unsure:
            ids.append(None)
            _read_with_care(line, number, place, results, laid)
    results.rsa, results.ppa, results.ppa_nette = np.zeros((3, len(ids)), np.int64)
    if quick:
        results.put(quick, computed_facts(reader.facts(), options))
    if laid:
        results.put(list(laid), compute_columns(columns_from(laid.values(), options), options))
    if explain:
        results.steps = {place: _steps(case, options) for place, case in laid.items()}
    return results


def _read_with_care(line: bytes, number: int, place: int, results: Results, careful: dict[int, Case]) -> None:
    try:
        content = json.loads(line)
        results.ids[place] = content.get("id") if isinstance(content, dict) else None
        foyer, ressources, mois = case_from(content)
        careful[place] = Case(foyer, ressources, mois, mois)
    except CaseError as error:
        results.errors[place], results.numbers[place] = str(error), number
    except (ValueError, RecursionError):
        results.errors[place], results.numbers[place] = "un objet JSON est attendu", number


def facts_of(lines: bytes) -> tuple[Facts, list[Any], list[tuple[int, str]]]:
    """The facts of the cases of whole lines, their identifiers, and the line and fault of those refused."""
    reader, ids, refusals = Reader(), list[Any](), list[tuple[int, str]]()
    for number, line in enumerate(lines.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            ids.append(reader.read(line))
        except Unsure:
            results, careful = Results.of([None]), dict[int, Case]()
            _read_with_care(line, number, 0, results, careful)
            if careful:
                reader.read(normalised(json.loads(line)))
                ids.append(results.ids[0])
            refusals += results.refusals()
    return reader.facts(), ids, refusals


def as_json(results: Results) -> str:
    """One line of JSON a case, in euros."""
    lines = []
    ids = results.ids if isinstance(results.ids, list) else results.ids.to_pylist()
    rights = zip(ids, results.rsa.tolist(), results.ppa.tolist(), results.ppa_nette.tolist(), strict=True)
    for place, (name, rsa, ppa, nette) in enumerate(rights):
        shown = encode_basestring(name) if isinstance(name, str) else json.dumps(name, ensure_ascii=False)
        if place in results.errors:
            lines.append(f'{{"id": {shown}, "error": {encode_basestring(results.errors[place])}}}\n')
            continue
        more = f', "steps": {json.dumps(results.steps[place], ensure_ascii=False)}' if results.steps else ""
        lines.append(
            f'{{"id": {shown}, "rsa": {rsa / 100!r}, "ppa": {ppa / 100!r}, "ppa_nette_crds": {nette / 100!r}{more}}}\n'
        )
    return "".join(lines)


def _steps(case: Case, options: LegislationOptions) -> dict[str, list[dict[str, Any]]]:
    found = explain_one(case.foyer, case.ressources, case.mois_droit, options=options)
    return {
        name: [
            {
                "label": step.label,
                "amount": str(step.amount_cents / 100),
                "article": step.article,
                "month": None if step.mois is None else str(step.mois),
                "person": step.personne or None,
                "parameters": {p.name: p.value for p in step.parameters},
            }
            for step in steps
        ]
        for name, steps in (("rsa", found.rsa_steps), ("ppa", found.ppa_steps))
    }
