"""Calendar months, and the reference quarter of a declaration."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import NamedTuple

_PATTERN = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)

FIRST_YEAR, LAST_YEAR = 1990, 2099


class _YearMonth(NamedTuple):
    year: int
    month: int


class Month(_YearMonth):
    """A calendar month. A tuple, so that comparing and hashing months costs next to nothing.

    >>> Month.parse("2026-11") - 4
    Month(year=2026, month=7)
    >>> str(Month(2026, 1) - 1)
    '2025-12'
    """

    __slots__ = ()

    def __new__(cls, year: int, month: int) -> Month:
        if not (FIRST_YEAR <= year <= LAST_YEAR and 1 <= month <= 12):
            raise ValueError(f"a month lies between {FIRST_YEAR}-01 and {LAST_YEAR}-12")
        return super().__new__(cls, year, month)

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read `YYYY-MM`; ValueError says the accepted form."""
        return _parsed(text)

    @classmethod
    def of(cls, day: date) -> Month:
        """The month that contains a day."""
        return cls(day.year, day.month)

    @classmethod
    def from_index(cls, index: int) -> Month:
        """The inverse of `index`."""
        return _from_index(index)

    @property
    def index(self) -> int:  # type: ignore[override]
        """Months since year 0: the integer that columns hold."""
        return self.year * 12 + self.month - 1

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        """The day on which household composition is read (CASF R262-4)."""
        return _last_day(self)

    def __add__(self, months: int) -> Month:  # type: ignore[override]
        return Month.from_index(self.index + months)

    def __sub__(self, months: int) -> Month:
        return Month.from_index(self.index - months)

    def __str__(self) -> str:
        return _text(self)


@cache
def _parsed(text: str) -> Month:
    # What is refused is not cached: there are no more texts of months than months.
    if not _PATTERN.fullmatch(text):
        raise ValueError("a month is written YYYY-MM, for example 2026-11")
    return Month(int(text[:4]), int(text[5:]))


@cache
def _from_index(index: int) -> Month:
    return Month(index // 12, index % 12 + 1)


@cache
def _last_day(month: Month) -> date:
    return date(month.year, month.month, calendar.monthrange(month.year, month.month)[1])


@cache
def _text(month: Month) -> str:
    return f"{month.year:04d}-{month.month:02d}"


def months_between(first: Month, last: Month) -> Iterator[Month]:
    """Every month from `first` to `last`, both included."""
    return (Month.from_index(index) for index in range(first.index, last.index + 1))


@dataclass(frozen=True, slots=True)
class ReferenceQuarter:
    """The three months whose resources found a declaration (CASF R262-7, CSS R843-1), oldest first."""

    mois_declaration: Month
    decalage: int
    """Months between the last reference month and the declaration: 2 since the reform (M-4..M-2), 1 before."""

    @property
    def months(self) -> tuple[Month, Month, Month]:
        last = self.mois_declaration - self.decalage
        return (last - 2, last - 1, last)

    @property
    def mois_droit(self) -> tuple[Month, Month, Month]:
        """The three months of right that the declaration opens: M, M+1, M+2."""
        return (self.mois_declaration, self.mois_declaration + 1, self.mois_declaration + 2)
