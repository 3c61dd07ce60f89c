"""Rounding of the second opinion: on exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction


def round_half_up(cents: Fraction) -> int:
    """Round an amount in cents to the whole cent, halves away from zero (REGULATION §4.6)."""
    magnitude = math.floor(abs(cents) + Fraction(1, 2))
    return magnitude if cents >= 0 else -magnitude
