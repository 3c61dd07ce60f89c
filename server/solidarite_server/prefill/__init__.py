"""From records and a dossier to the lines of a declaration. Pure: no store, no clock, no network."""

from solidarite_server.prefill.declaration import (
    Declaration,
    DeclarationState,
    Line,
    LineStatus,
    PersonPrefill,
    Signal,
    prefill,
    ressources_of,
    settled,
)
from solidarite_server.prefill.signals import signals_of
from solidarite_server.prefill.to_declare import lines_to_declare

__all__ = [
    "Declaration",
    "DeclarationState",
    "Line",
    "LineStatus",
    "PersonPrefill",
    "Signal",
    "lines_to_declare",
    "prefill",
    "ressources_of",
    "settled",
    "signals_of",
]
