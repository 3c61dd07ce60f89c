"""Synthetic NIRs: well formed, with a valid key, and of nobody.

No commune has a code from 990 to 999. The first digit and the year are those of the person; the month is only a code,
so that every adult of a national population has a number of his or her own.
"""

from __future__ import annotations

from functools import cache

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


_SIRET_DTYPE = np.dtype([("head", "V5"), ("tail", "V8"), ("control", "u1")])


def sirets(employers: npt.NDArray[np.int64]) -> Identifiers:
    """SIRETs of employers by number, below ten million: 14 digits whose control digit is wrong, so that they are of no
    real firm.
    """
    high, low = employers // 1_000, employers % 1_000
    heads, tails = _siret_parts()
    found = np.empty(len(employers), _SIRET_DTYPE)
    found["head"], found["tail"] = heads["head"][high], tails["tail"][low]
    found["control"] = ord("0") + (11 - (heads["control"][high] + tails["control"][low]) % 10) % 10
    return found.view("S14")


@cache
def _siret_parts() -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Both halves of a SIRET that a number of an employer decides, each with its part of the Luhn sum.

    Looked up rather than computed for each record: twenty times as fast.
    """
    bodies = (8_000_000_000_000 + np.arange(10_000) * 100_000_000, 1 + np.arange(1_000) * 100_000)
    return tuple(map(_with_luhn_sum, bodies))  # type: ignore[return-value]


def _with_luhn_sum(body: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
    characters = _digits(body, 13).view(np.uint8).reshape(len(body), 13)
    digits = characters - ord("0")
    doubled = digits[:, 0::2] * 2
    found = np.zeros(len(body), _SIRET_DTYPE)
    found["head"] = np.ascontiguousarray(characters[:, :5]).view("V5").ravel()
    found["tail"] = np.ascontiguousarray(characters[:, 5:]).view("V8").ravel()
    found["control"] = (doubled - 9 * (doubled > 9)).sum(1) + digits[:, 1::2].sum(1)
    return found
