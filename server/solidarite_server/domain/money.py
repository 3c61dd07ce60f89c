"""Money is whole cents; one function rounds."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NewType

Cents = NewType("Cents", int)

MAX_CENTS = 10**13
"""100 billion euros: larger amounts are refused at every boundary."""

# An amount computed in float64 from cents carries an error far below this; exact halves differ from their
# neighbours by more. The property test against exact fractions shows that not one cent differs.
_FLOAT_SLACK = 1e-6


def round_half_up(cents: float | Fraction) -> int:
    """Round an amount in cents to the whole cent, halves away from zero (REGULATION §4.6).

    >>> round_half_up(0.5), round_half_up(1.5), round_half_up(2.4)
    (1, 2, 2)
    """
    if isinstance(cents, Fraction):
        magnitude = math.floor(abs(cents) + Fraction(1, 2))
    else:
        magnitude = math.floor(abs(cents) + 0.5 + _FLOAT_SLACK)
    return magnitude if cents >= 0 else -magnitude


def euros(cents: int) -> str:
    """French rendering of an amount.

    >>> euros(121583)
    '1 215,83 €'
    """
    sign = "−" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole:,}".replace(",", " ") + f",{rest:02d} €"
