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
    """The draw of each household decides once and for all: a reform changes who claims only by changing the rights."""
    rsa = (rights.rsa_cents > 0) & (block.foyers.recours_rsa < marginals.value("recours.rsa"))
    # Who claims the RSA receives the prime with it: one declaration opens both.
    ppa = (rights.ppa_cents > 0) & (rsa | (block.foyers.recours_ppa < marginals.value("recours.prime_activite")))
    return Claims(rsa, ppa)
