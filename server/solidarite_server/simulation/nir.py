"""Synthetic NIRs: well formed, with a valid key, and of nobody.

No commune has a code from 990 to 999. The first digit and the year are those of the person; the month is only a code,
so that every adult of a national population has a number of his or her own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solidarite_server.simulation.population import Block

_MONTHS = np.array([*range(1, 13), *range(20, 43), *range(50, 100)], np.int64)
_DEPARTEMENTS = np.array([d for d in range(1, 96) if d != 20], np.int64)
_COMMUNES, _FIRST_COMMUNE, _ORDERS = 10, 990, 999
ADULTS_A_FOYER = 2

Identifiers = npt.NDArray[np.bytes_]


def nirs(block: Block) -> Identifiers:
    """The 13 characters of each adult of a block."""
    a = block.adultes
    number = (block.first + a.foyer.astype(np.int64)) * ADULTS_A_FOYER + a.place
    rest, month = np.divmod(number, len(_MONTHS))
    rest, departement = np.divmod(rest, len(_DEPARTEMENTS))
    order, commune = np.divmod(rest, _COMMUNES)
    value = a.sexe.astype(np.int64)
    for part, width in (
        (a.naissance // 12 % 100, 100),
        (_MONTHS[month], 100),
        (_DEPARTEMENTS[departement], 100),
        (commune + _FIRST_COMMUNE, 1000),
        (order + 1, 1000),
    ):
        value = value * width + part
    return _digits(value, 13)


def _digits(values: npt.NDArray[np.int64], width: int) -> Identifiers:
    characters = np.empty((len(values), width), np.uint8)
    rest = values.copy()
    for place in range(width - 1, -1, -1):
        rest, digit = np.divmod(rest, 10)
        characters[:, place] = digit + ord("0")
    return characters.view(f"S{width}").ravel()


def sirets(employers: npt.NDArray[np.int64]) -> Identifiers:
    """SIRETs of employers by number: 14 digits whose control digit is wrong, so that they are of no real firm."""
    body = 8_000_000_000_000 + employers.astype(np.int64) * 100_000 + 1
    characters = _digits(body, 13).view(np.uint8).reshape(len(body), 13).astype(np.int64) - ord("0")
    doubled = characters[:, 0::2] * 2
    luhn = (doubled - 9 * (doubled > 9)).sum(1) + characters[:, 1::2].sum(1)
    wrong = (11 - luhn % 10) % 10
    return _digits(body * 10 + wrong, 14)
