"""Calendar months, and the reference quarter of a declaration."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import total_ordering

_PATTERN = re.compile(r"\d{4}-(0[1-9]|1[0-2])")

FIRST_YEAR, LAST_YEAR = 1990, 2099


@total_ordering
@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month.

    >>> Month.parse("2026-11") - 4
    Month(year=2026, month=7)
    >>> str(Month(2026, 1) - 1)
    '2025-12'
    """

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (FIRST_YEAR <= self.year <= LAST_YEAR and 1 <= self.month <= 12):
            raise ValueError(f"a month lies between {FIRST_YEAR}-01 and {LAST_YEAR}-12")

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read `YYYY-MM`; ValueError says the accepted form."""
        if not _PATTERN.fullmatch(text):
            raise ValueError("a month is written YYYY-MM, for example 2026-11")
        return cls(int(text[:4]), int(text[5:]))

    @classmethod
    def of(cls, day: date) -> Month:
        """The month that contains a day."""
        return cls(day.year, day.month)

    @classmethod
    def from_index(cls, index: int) -> Month:
        """The inverse of `index`."""
        return cls(index // 12, index % 12 + 1)

    @property
    def index(self) -> int:
        """Months since year 0: the integer that columns hold."""
        return self.year * 12 + self.month - 1

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        """The day on which household composition is read (CASF R262-4)."""
        return date(self.year, self.month, calendar.monthrange(self.year, self.month)[1])

    def __add__(self, months: int) -> Month:
        return Month.from_index(self.index + months)

    def __sub__(self, months: int) -> Month:
        return Month.from_index(self.index - months)

    def __lt__(self, other: Month) -> bool:
        return self.index < other.index

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


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
