"""What the synthetic population is made of: `marginals.toml`, each value with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("marginals.toml")
MODELLING_CHOICE = "choix de modélisation"
_ABOUT = ("source", "annee", "note")


class MarginalsError(ValueError):
    """A marginal without a source, or one that nobody declared: section and what is expected."""


@dataclass(frozen=True, slots=True)
class Marginal:
    """A section of the file: its numbers, where they come from, and of which year."""

    path: str
    values: Mapping[str, Any]
    source: str
    year: int | None
    note: str

    @property
    def published(self) -> bool:
        """Whether somebody published it; otherwise it is a modelling choice of this project."""
        return MODELLING_CHOICE not in self.source


class Marginals:
    """All sections, by path: `marginals["salaires.quantiles"]["euros"]`."""

    def __init__(self, sections: Mapping[str, Marginal]) -> None:
        self._sections = dict(sections)

    def __getitem__(self, path: str) -> Mapping[str, Any]:
        return self._sections[path].values

    def value(self, path: str) -> Any:
        """The only value of a section."""
        return self._sections[path].values["valeur"]

    def sections(self) -> Iterator[Marginal]:
        """Every section, in the order of the file."""
        return iter(self._sections.values())

    def with_values(self, changes: Mapping[str, Mapping[str, Any]]) -> Marginals:
        """The same marginals with some numbers replaced; KeyError for a section or a number that does not exist."""
        sections = dict(self._sections)
        for path, values in changes.items():
            old = sections[path]
            unknown = values.keys() - old.values.keys()
            if unknown:
                raise KeyError(f"{path}.{min(unknown)}")
            sections[path] = Marginal(path, {**old.values, **values}, MODELLING_CHOICE, None, "")
        return Marginals(sections)


@cache
def load_marginals(file: Path = FILE) -> Marginals:
    """Read the file; MarginalsError names the section that has no source."""
    sections: dict[str, Marginal] = {}
    _walk("", tomllib.loads(file.read_text("utf-8")), sections)
    return Marginals(sections)


def changed(marginals: Marginals, settings: Sequence[str]) -> Marginals:
    """The marginals with numbers changed by `SECTION.NUMBER=VALUE`; MarginalsError says in French what is expected.

    A share stays between 0 and 1, and nothing is negative.
    """
    changes: dict[str, dict[str, float]] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        section, _, name = path.strip().rpartition(".")
        try:
            old = marginals[section][name]
        except KeyError:
            raise MarginalsError(f"réglage inconnu (attendu : section.nombre=valeur, d'après {FILE.name})") from None
        if isinstance(old, bool) or not isinstance(old, (int, float)):
            raise MarginalsError(f"{section}.{name} n'est pas un nombre seul : il se change en Python")
        try:
            value = float(text) if equals else -1.0
        except ValueError:
            value = -1.0
        if not 0 <= value < 1e12 or (old <= 1 < value):
            raise MarginalsError(f"{section}.{name} : un nombre {'de 0 à 1' if old <= 1 else 'positif'} est attendu")
        changes.setdefault(section, {})[name] = value
    return marginals.with_values(changes)


def _walk(path: str, content: Mapping[str, Any], sections: dict[str, Marginal]) -> None:
    below = {key: item for key, item in content.items() if isinstance(item, dict) and "source" in item}
    values = {key: item for key, item in content.items() if key not in below and key not in _ABOUT}
    if "source" in content:
        sections[path] = Marginal(
            path, values, str(content["source"]), content.get("annee"), str(content.get("note", ""))
        )
        return
    for key, item in content.items():
        if not isinstance(item, dict):
            raise MarginalsError(f"{path or 'racine'} : {key} n'a pas de source")
        _walk(f"{path}.{key}".lstrip("."), item, sections)
