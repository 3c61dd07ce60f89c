"""The law's numbers, dated, each with its source; and the readings of the law that can be chosen."""

from solidarite_server.legislation.loader import (
    Change,
    DatedValue,
    Legislation,
    LegislationError,
    Parameter,
    load_legislation,
)
from solidarite_server.legislation.options import (
    Calendrier,
    CorrectionTardive,
    ExceptionsPpa,
    Fenetre,
    LegislationOptions,
    ParamDate,
    ReadingError,
    RectificationEnAttente,
    values_of,
)

__all__ = [
    "Calendrier",
    "Change",
    "CorrectionTardive",
    "DatedValue",
    "ExceptionsPpa",
    "Fenetre",
    "Legislation",
    "LegislationError",
    "LegislationOptions",
    "ParamDate",
    "Parameter",
    "ReadingError",
    "RectificationEnAttente",
    "load_legislation",
    "values_of",
]
