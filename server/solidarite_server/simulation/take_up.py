"""Who claims: a right is paid to the households that ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solidarite_server.engine import EntitlementColumns
from solidarite_server.simulation.marginals import Marginals
from solidarite_server.simulation.population import Block


@dataclass(frozen=True, slots=True)
class Claims:
    """Which rights of a block are claimed, benefit by benefit."""

    rsa: npt.NDArray[np.bool_]
    ppa: npt.NDArray[np.bool_]

    @property
    def either(self) -> npt.NDArray[np.bool_]:
        return self.rsa | self.ppa


def claims(block: Block, rights: EntitlementColumns, marginals: Marginals) -> Claims:
    """One draw a household decides once and for all, for both benefits: one declaration opens them.

    A reform therefore changes who claims only by changing the rights.
    """
    draw = block.foyers.recours
    return Claims(
        (rights.rsa_cents > 0) & (draw < marginals.value("recours.rsa")),
        (rights.ppa_cents > 0) & (draw < marginals.value("recours.prime_activite")),
    )
