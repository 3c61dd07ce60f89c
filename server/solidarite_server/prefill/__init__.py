"""From records and a dossier to the lines of a declaration. Pure: no store, no clock, no network."""

from solidarite_server.prefill.declaration import (
    Declaration,
    DeclarationState,
    Line,
    LineStatus,
    PersonPrefill,
    prefill,
    ressources_of,
)

__all__ = [
    "Declaration",
    "DeclarationState",
    "Line",
    "LineStatus",
    "PersonPrefill",
    "prefill",
    "ressources_of",
]
