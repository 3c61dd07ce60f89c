"""Household dossiers: kept as a whole, each version readable as known at its time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from solidarite_server.domain.errors import NotFound, Reason
from solidarite_server.domain.foyer import Foyer
from solidarite_server.ports import FoyerStore, KeptFoyers, NewFoyers
from solidarite_server.services import codec


class FoyerService:
    """Upserts and reads dossiers."""

    def __init__(self, store: FoyerStore) -> None:
        self._store = store

    def upsert(self, foyers: Sequence[Foyer]) -> KeptFoyers:
        """Keep dossiers durably, in a commit of their own."""
        return self._store.put_foyers(proposed(foyers).dossiers)

    def get(self, numero_allocataire: str, *, known_at_us: int | None = None) -> tuple[Foyer, int]:
        """A dossier and the instant it became known; NotFound when there is none."""
        stored = self._store.foyer(numero_allocataire, known_at_us=known_at_us)
        if stored is None:
            raise NotFound("Aucun dossier de ce numéro.", reason=Reason.FOYER_UNKNOWN, field="numero_allocataire")
        return _read(stored.payload), stored.known_at_us


def proposed(foyers: Sequence[Foyer]) -> NewFoyers:
    """Dossiers ready to be kept."""
    return NewFoyers(tuple((foyer.numero_allocataire, codec.dumps(foyer)) for foyer in foyers))


@lru_cache(maxsize=4_096)
def _read(payload: bytes) -> Foyer:
    """A household is looked at several times in a row: prefilled, amended, submitted."""
    return codec.loads(Foyer, payload)
