"""Dated numbers, typed a second time from the texts so that a slip in the legislation files shows.

Amounts in euros as exact fractions; every table runs from the oldest value to the newest.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

from solidarite_server.domain.month import Month

_RSA_BASE = """
2015-09 524.16  2016-04 524.68  2016-09 535.17  2017-04 536.78  2017-09 545.48  2018-04 550.93  2019-04 559.74
2020-04 564.78  2021-04 565.34  2022-04 575.52  2022-07 598.54  2023-04 607.75  2024-04 635.71  2025-04 646.52
2026-04 651.69
"""

_PPA_BASE = """
2016-01 524.16  2016-04 524.68  2017-04 526.25  2018-04 531.51  2018-08 551.51  2020-04 553.16  2021-04 553.71
2022-04 563.68  2022-07 586.23  2023-04 595.25  2024-04 622.63  2025-04 633.21  2026-04 638.28
"""

_SMIC = """
2016-01 9.67   2017-01 9.76   2018-01 9.88   2019-01 10.03  2020-01 10.15  2021-01 10.25  2021-10 10.48  2022-01 10.57
2022-05 10.85  2022-08 11.07  2023-01 11.27  2023-05 11.52  2024-01 11.65  2024-11 11.88  2026-01 12.02  2026-06 12.31
"""

_SMIC_MAYOTTE = """
2018-01 7.46   2019-01 7.57   2020-01 7.66   2021-01 7.74   2021-10 7.91   2022-01 7.98   2022-05 8.19   2022-08 8.35
2023-01 8.51   2023-05 8.70   2024-01 8.80   2024-11 8.98   2026-01 9.33   2026-06 9.56
"""

_LIVRET_A = """
2015-08 0.0075  2020-02 0.005  2022-02 0.01  2022-08 0.02  2023-02 0.03  2025-02 0.024  2025-08 0.017  2026-02 0.015
2026-08 0.017
"""

_BMAF = """
2016-04 406.62  2017-04 407.84  2018-04 411.92  2019-04 413.16  2020-04 414.40  2021-04 414.81  2022-04 422.28
2022-07 439.17  2023-04 445.93  2024-04 466.44  2025-04 474.37  2026-04 478.16
"""

Table = tuple[tuple[Month, Fraction], ...]


def _table(text: str) -> Table:
    words = text.split()
    return tuple((Month.parse(month), Fraction(value)) for month, value in zip(words[::2], words[1::2], strict=True))


DATED: dict[str, Table] = {
    "rsa.base": _table(_RSA_BASE),
    "ppa.base": _table(_PPA_BASE),
    "ppa.pente": _table("2016-01 0.62  2018-08 0.61  2025-04 0.5985"),
    "ppa.bonus.rate": _table("2016-01 0.12782  2018-10 0.29101  2026-04 0.377"),
    "ppa.bonus.top_hours": _table("2016-01 95  2018-10 120  2026-04 138"),
    "smic": _table(_SMIC),
    "smic.mayotte": _table(_SMIC_MAYOTTE),
    "livret_a": _table(_LIVRET_A),
    "bmaf": _table(_BMAF),
}

BONUS_FLOOR_HOURS = Fraction(59)
MAYOTTE_BONUS_HOURS = (Fraction("29.5"), Fraction(60))
STUDENT_HOURS = 169 * Fraction("0.55")
MAYOTTE_STUDENT_HOURS = Fraction("46.48")
AAH_HOURS = 29

SECOND_PERSON = Fraction("0.5")
NEXT_PERSON = Fraction("0.3")
THIRD_DEPENDANT = Fraction("0.4")
MAYOTTE_FOURTH_DEPENDANT = Fraction("0.1")
ISOLATED = Fraction("1.28412")
ISOLATED_BY_DEPENDANT = Fraction("0.42804")

HOUSING = {1: Fraction("0.12"), 2: Fraction("0.16") * Fraction("1.5"), 3: Fraction("0.165") * Fraction("1.8")}

CF_CAP = Fraction("0.4165")
ASF_CAP = {1: Fraction("0.225"), 2: Fraction("0.30")}

SAVINGS = Fraction("0.03")
BUILDINGS = Fraction("0.5")
LAND = Fraction("0.8")

DAYS_ABROAD = 92
"""Three months, from date to date or in a calendar year (R262-5)."""

RSA_MINIMUM_CENTS = 600
PPA_MINIMUM_CENTS = 1500
CRDS = Fraction("0.005")
YOUNG_WORKER_HOURS = 3214


@cache
def value(name: str, month: Month) -> Fraction:
    """The number in force in a month; LookupError before the first."""
    for since, number in reversed(DATED[name]):
        if since <= month:
            return number
    raise LookupError(name)


@cache
def cents(name: str, month: Month) -> Fraction:
    """An amount in force in a month, in cents."""
    return 100 * value(name, month)
