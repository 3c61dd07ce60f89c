"""The law's numbers, dated, each with its source; and the readings of the law that can be chosen."""

from solidarite_server.legislation.loader import (
    Change,
    DatedValue,
    Legislation,
    LegislationError,
    Parameter,
    load_legislation,
)
from solidarite_server.legislation.options import Calendrier, Fenetre, LegislationOptions, ParamDate

__all__ = [
    "Calendrier",
    "Change",
    "DatedValue",
    "Fenetre",
    "Legislation",
    "LegislationError",
    "LegislationOptions",
    "ParamDate",
    "Parameter",
    "load_legislation",
]
