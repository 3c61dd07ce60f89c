"""Mutants that no household can tell from the rules, each with the reason."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {}
