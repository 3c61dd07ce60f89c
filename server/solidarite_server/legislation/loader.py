"""Loader of the dated parameters: strict, because a number of the law without a date or a source is a bug."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from solidarite_server.domain.month import Month

FOLDER = Path(__file__).parent / "parameters"
FIRST_REPLAY = date(2019, 1, 1)
"""First month of right that can be computed."""
FIRST_VALUE = date(2018, 9, 1)
"""Every parameter has a value from this day on, without a gap: the oldest reference month that can be read."""

MONTH_OF_RIGHT, MONTH_OF_EARNINGS = "month_of_right", "month_of_earnings"
_APPLIES = (MONTH_OF_RIGHT, MONTH_OF_EARNINGS)


class LegislationError(ValueError):
    """A parameter file that the loader refuses: file, key, and what is expected."""


@dataclass(frozen=True, slots=True)
class DatedValue:
    """A value with the day from which it holds."""

    since: date
    value: Fraction
    text: str
    """The decimal value as written."""
    applies: str
    """`month_of_right` or `month_of_earnings` (REGULATION §4.5)."""
    source: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number of the law over time, oldest value first."""

    path: str
    description: str
    unit: str
    values: tuple[DatedValue, ...]

    def at(self, month: Month) -> DatedValue:
        """The value in force in a month; KeyError before the first one."""
        return self.resolve(month, month)

    def resolve(self, droit: Month, earnings: Month) -> DatedValue:
        """The value for a month of right and a month of earnings, each value by the month its text looks at."""
        found = None
        for value in self.values:
            month = droit if value.applies == MONTH_OF_RIGHT else earnings
            if value.since <= month.first_day:
                found = value
        if found is None:
            raise KeyError(f"{self.path} has no value in {droit}")
        return found


@dataclass(frozen=True, slots=True)
class Change:
    """A parameter whose value differs between two months."""

    path: str
    before: DatedValue
    after: DatedValue


class Legislation:
    """All parameters. `version` identifies their content."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self._parameters = dict(sorted(parameters.items()))
        digest = hashlib.sha256()
        for parameter in self._parameters.values():
            digest.update(repr(parameter).encode())
        self.version = digest.hexdigest()[:12]

    @property
    def paths(self) -> tuple[str, ...]:
        """Every parameter's path, in order."""
        return tuple(self._parameters)

    def parameter(self, path: str) -> Parameter:
        """A parameter by its path, for example `rsa.montant_forfaitaire`; KeyError when there is none."""
        return self._parameters[path]

    def value(self, path: str, at: Month) -> Fraction:
        """The exact value in force in a month."""
        return self._parameters[path].at(at).value

    def diff(self, before: Month, after: Month) -> list[Change]:
        """Parameters whose value is not the same in both months."""
        pairs = ((p.path, p.at(before), p.at(after)) for p in self._parameters.values())
        return [Change(path, old, new) for path, old, new in pairs if old.value != new.value]

    def overlaid(self, overlay: Mapping[str, Mapping[date, str]]) -> Legislation:
        """The same legislation with values added or replaced, for the simulation of a reform."""
        parameters = dict(self._parameters)
        for path, changes in overlay.items():
            if path not in parameters:
                raise LegislationError(f"{path}: unknown parameter")
            base = parameters[path]
            by_date = {value.since: value for value in base.values}
            for since, text in changes.items():
                before = [value for value in base.values if value.since <= since]
                applies = (before or list(base.values))[-1].applies
                by_date[since] = DatedValue(since, _number(text, path), str(text), applies, "Simulation")
            values = tuple(by_date[since] for since in sorted(by_date))
            parameters[path] = Parameter(path, base.description, base.unit, values)
        return Legislation(parameters)


@cache
def load_legislation(folder: Path = FOLDER) -> Legislation:
    """Read every parameter file below the folder; LegislationError names the file and key at fault."""
    parameters = {}
    for file in sorted(folder.rglob("*.yaml")):
        path = ".".join(file.relative_to(folder).with_suffix("").parts)
        parameters[path] = _parameter(path, file)
    if not parameters:
        raise LegislationError(f"{folder}: no parameter file")
    return Legislation(parameters)


# The one written in C reads the files in a tenth of the time: 0.1 s of the start of every command that computes.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _NoDuplicates(_SafeLoader):  # type: ignore[misc]
    """Refuses a key written twice, which YAML would let win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise LegislationError(f"line {node.start_mark.line + 1}: a key is written twice")
        built: dict[Any, Any] = super().construct_mapping(node, deep)
        return built


def _parameter(path: str, file: Path) -> Parameter:
    try:
        content = yaml.load(file.read_text("utf-8"), Loader=_NoDuplicates)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, LegislationError) as error:
        raise LegislationError(f"{file.name}: {error}") from None
    _keys(content, {"description", "unit", "applies", "values"}, set(), file.name)
    values = [_value(since, entry, content["applies"], file.name) for since, entry in content["values"].items()]
    dates = [value.since for value in values]
    if dates != sorted(dates):
        raise LegislationError(f"{file.name}: values are not in order of date")
    if not values or dates[0] > FIRST_VALUE:
        raise LegislationError(f"{file.name}: no value on {FIRST_VALUE}: a gap")
    return Parameter(path, content["description"], content["unit"], tuple(values))


def _value(since: Any, entry: Any, applies: Any, where: str) -> DatedValue:
    if not isinstance(since, date):
        raise LegislationError(f"{where}: a value is keyed by its date, YYYY-MM-DD")
    where = f"{where}, {since}"
    _keys(entry, {"value", "source"}, {"applies"}, where)
    _keys(entry["source"], {"title"}, {"href"}, f"{where}, source")
    if not entry["source"]["title"]:
        raise LegislationError(f"{where}: a value needs a source")
    chosen = entry.get("applies", applies)
    if chosen not in _APPLIES:
        raise LegislationError(f"{where}: applies is one of {', '.join(_APPLIES)}")
    if not isinstance(entry["value"], str):
        raise LegislationError(f"{where}: value is a decimal in quotes, so that it stays exact")
    return DatedValue(
        since,
        _number(entry["value"], where),
        entry["value"],
        chosen,
        entry["source"]["title"],
        entry["source"].get("href", ""),
    )


def _number(text: object, where: str) -> Fraction:
    try:
        return Fraction(str(text))
    except (ValueError, ZeroDivisionError):
        raise LegislationError(f"{where}: not a decimal number") from None


def _keys(content: Any, required: set[str], optional: set[str], where: str) -> None:
    if not isinstance(content, dict):
        raise LegislationError(f"{where}: a mapping is expected")
    missing, unknown = required - content.keys(), content.keys() - required - optional
    if missing:
        raise LegislationError(f"{where}: missing {', '.join(sorted(missing))}")
    if unknown:
        raise LegislationError(f"{where}: unknown key {', '.join(sorted(map(str, unknown)))}")
