"""Money is whole cents. The rules round (`engine.rules.arrondi`); here stands the largest amount that is accepted."""

from __future__ import annotations

MAX_CENTS = 10**13
"""100 billion euros: larger amounts are refused at every boundary."""
