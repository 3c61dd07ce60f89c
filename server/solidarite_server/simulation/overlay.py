"""A change of parameters written in YAML, read with the same refusals as the law's own files.

ppa.pente: 0.62 from 2027-01
rsa.montant_forfaitaire: {2027-04-01: 700, 2028-04-01: 715}
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

import yaml

from solidarite_server.domain.month import LAST_YEAR, Month
from solidarite_server.legislation import Legislation, LegislationError, load_legislation
from solidarite_server.legislation.loader import FIRST_REPLAY, MONTH_OF_EARNINGS

MAX_BYTES = 10_000
_MAX_BRACKETS = 100
"""One mapping a parameter is enough; thousands of open brackets cost the reader seconds before it gives up."""
_SHORT = re.compile(r"(?P<value>\S+?)(?: (?P<unit>[^\d\s].*?))? (?:from|à partir de) (?P<date>\S+)")
_DECIMAL = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_MONTHS = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")


@dataclass(frozen=True, slots=True)
class Changed:
    """One value of the overlay."""

    path: str
    since: Month
    text: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """A reform: its values, and the law once they are in it."""

    changes: tuple[Changed, ...]
    legislation: Legislation

    @property
    def last(self) -> Month | None:
        """The latest date of effect; None for a reform that changes nothing."""
        return max((change.since for change in self.changes), default=None)

    def remarks(self, mois_droit: Month, first_reference: Month) -> Iterator[str]:
        """What a reader of the comparison must know of the dates of effect, in French."""
        law = load_legislation()
        for change in self.changes:
            applies = law.parameter(change.path).at(max(change.since, Month(2019, 1))).applies
            earnings = applies == MONTH_OF_EARNINGS
            seen = first_reference + 2 if earnings else mois_droit
            if seen < change.since:
                yield (
                    f"{change.path} ne change qu'à partir de {change.since}"
                    f"{' pour les revenus perçus' if earnings else ''} : sans effet sur le droit de {mois_droit}."
                )
            elif earnings and first_reference < change.since:
                yield (
                    f"{change.path} vaut par mois de perception : l'effet n'est entier que lorsque les trois mois de "
                    f"référence suivent {change.since}."
                )
            later = [value for value in law.parameter(change.path).values if Month.of(value.since) > change.since]
            if later and Month.of(later[-1].since) <= seen:
                yield f"{change.path} : la loi a changé cette valeur le {later[-1].since}, après la date donnée."


def read_overlay(text: str, legislation: Legislation | None = None) -> Overlay:
    """Read a reform. LegislationError says in French which line is refused, and what is expected."""
    law = legislation or load_legislation()
    if len(text.encode()) > MAX_BYTES:
        raise LegislationError(f"la réforme dépasse {MAX_BYTES} octets")
    if text.count("{") + text.count("[") > _MAX_BRACKETS:
        raise LegislationError(f"plus de {_MAX_BRACKETS} crochets ou accolades : une seule par paramètre suffit")
    changes = tuple(_changes(_mapping(text), law))
    overlaid: dict[str, dict[date, str]] = {}
    for change in changes:
        dated = overlaid.setdefault(change.path, {})
        if change.since.first_day in dated:
            raise LegislationError(f"{change.path} : deux valeurs pour {change.since}")
        dated[change.since.first_day] = change.text
    return Overlay(changes, law.overlaid(overlaid) if overlaid else law)


class _Texts(yaml.BaseLoader):
    """Every scalar stays as it is written: a decimal keeps its digits. A key written twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len({str(key) for key in keys}) != len(keys):
            raise LegislationError(f"ligne {node.start_mark.line + 1} : une clé est écrite deux fois")
        return super().construct_mapping(node, deep)


def _mapping(text: str) -> dict[Any, Any]:
    try:
        content = yaml.load(text, Loader=_Texts)  # noqa: S506 - a loader of plain texts
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise LegislationError(f"ligne {line} : ce n'est pas du YAML") from None
    except (yaml.YAMLError, RecursionError):
        raise LegislationError("ce n'est pas du YAML") from None
    if content in (None, ""):
        return {}
    if not isinstance(content, dict):
        raise LegislationError("une réforme s'écrit « paramètre: valeur from AAAA-MM », une ligne par paramètre")
    return content


def _changes(content: dict[Any, Any], law: Legislation) -> Iterator[Changed]:
    for path, entry in content.items():
        if path not in law.paths:
            close = difflib.get_close_matches(str(path), law.paths, n=3)
            hint = f" ; peut-être {', '.join(close)}" if close else ""
            raise LegislationError(f"paramètre inconnu{hint} (la liste : solidarite legislation show)")
        unit = law.parameter(path).unit
        if isinstance(entry, dict):
            for since, value in entry.items():
                yield _changed(path, str(since), value, "", unit)
            continue
        written = _SHORT.fullmatch(str(entry)) if isinstance(entry, str) else None
        if written is None:
            raise LegislationError(f"{path} : attendu « valeur from AAAA-MM » ou {{AAAA-MM-JJ: valeur}}")
        yield _changed(path, written["date"], written["value"], written["unit"] or "", unit)


def _changed(path: str, since: str, value: Any, written_unit: str, unit: str) -> Changed:
    if written_unit and written_unit != unit:
        raise LegislationError(f"{path} : l'unité est « {unit} »")
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise LegislationError(f"{path} : un nombre décimal est attendu, en {unit}, avec un point")
    number = Fraction(value)
    if number < 0:
        raise LegislationError(f"{path} : une valeur négative n'a pas de sens")
    if unit == "taux" and number > 1:
        raise LegislationError(f"{path} : un taux va de 0 à 1 (0.62 pour 62 %)")
    return Changed(path, _month(path, since), value)


def _month(path: str, text: str) -> Month:
    found = _MONTHS.fullmatch(text)
    try:
        if found is None or (found[3] or "01") != "01":
            raise ValueError
        month = Month(int(found[1]), int(found[2]))
    except ValueError:
        raise LegislationError(
            f"{path} : une date d'effet est le premier jour d'un mois, AAAA-MM ou AAAA-MM-01"
        ) from None
    if month.first_day < FIRST_REPLAY or month.year >= LAST_YEAR:
        raise LegislationError(f"{path} : une date d'effet va de {FIRST_REPLAY:%Y-%m} à {LAST_YEAR - 1}-12")
    return month
