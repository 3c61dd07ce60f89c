"""What the names of the format of cases stand for in the facts: numbers of the domain and of the engine.

The names themselves are those of `cases.careful`, which alone says what is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from solidarite_server.cases import careful
from solidarite_server.cases.lines import BENEFICE, REVENUS_CAPITAL
from solidarite_server.engine.columns import (
    AF,
    AIDE_LOGEMENT,
    ASF,
    ASPA,
    CF,
    CF_MAJORATION,
    EPARGNE,
    LIVRET_A,
    P_APPRENTI,
    P_AUTONOME,
    P_DROIT_UE,
    P_ETUDIANT,
    P_STAGIAIRE,
    PAJE,
    PREPARE,
)


def _numbers(names: Mapping[str, IntEnum]) -> dict[str, int]:
    return {name: int(member) for name, member in names.items()}


NATURES = _numbers(careful.NATURES)
LOGEMENTS = _numbers(careful.LOGEMENTS)
ROLES = _numbers(careful.ROLES)
NATIONALITES = _numbers(careful.NATIONALITES)
ZONES = _numbers(careful.ZONES)
BENEFITS = {
    "allocations_familiales_base": AF,
    "complement_familial_non_majore": CF,
    "allocation_soutien_familial": ASF,
    "paje_allocation_base": PAJE,
    "prepare": PREPARE,
}
CATEGORIES = {
    **NATURES,
    **BENEFITS,
    "complement_familial_majoration": CF_MAJORATION,
    "aspa": ASPA,
    "aide_logement": AIDE_LOGEMENT,
    "benefices_non_salaries": BENEFICE,
    "revenus_capital": REVENUS_CAPITAL,
    "livret_a": LIVRET_A,
    "epargne_non_productive": EPARGNE,
}
"""Every category of amount of a table; those of JSON are told by their place."""
FLAGS = {
    "etudiant": P_ETUDIANT,
    "apprenti": P_APPRENTI,
    "stagiaire": P_STAGIAIRE,
    "autonomie_financiere": P_AUTONOME,
    "droit_sejour_ue": P_DROIT_UE,
}
