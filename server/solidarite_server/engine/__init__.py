"""RSA and prime d'activité: rules as plain scalar functions, compiled over columns, explained by the same code."""

from solidarite_server.engine.api import (
    DatedParameter,
    Entitlement,
    EntitlementColumns,
    Explanation,
    ExplanationStep,
    compute,
    compute_columns,
    compute_many,
    explain,
    warm_up,
)
from solidarite_server.engine.columns import Case, FoyerColumns, columns_from, reference_quarter

__all__ = [
    "Case",
    "DatedParameter",
    "Entitlement",
    "EntitlementColumns",
    "Explanation",
    "ExplanationStep",
    "FoyerColumns",
    "columns_from",
    "compute",
    "compute_columns",
    "compute_many",
    "explain",
    "reference_quarter",
    "warm_up",
]
