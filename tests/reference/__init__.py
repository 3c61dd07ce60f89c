"""A second opinion on the law: small, scalar, exact, written from the texts and from nothing of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solidarite_server.domain.foyer import Foyer, RessourceMois
from solidarite_server.domain.month import Month

from tests.reference import params, ppa, rsa
from tests.reference.rounding import round_half_up


@dataclass(frozen=True)
class Result:
    """What is due for one month, in cents."""

    rsa_cents: int
    rsa_verse_cents: int
    ppa_cents: int
    ppa_nette_crds_cents: int


def compute(
    foyer: Foyer, ressources: Sequence[RessourceMois], mois_droit: Month, *, mois_declaration: Month | None = None
) -> Result:
    """RSA and prime d'activité of one month of right, under the default reading of every doubt."""
    declaration = mois_declaration or mois_droit
    lines = [*foyer.ressources_connues, *ressources]
    rsa_cents = round_half_up(rsa.amount(foyer, lines, mois_droit, declaration))
    prime = ppa.amount(foyer, lines, mois_droit, declaration)
    return Result(
        rsa_cents=rsa_cents,
        rsa_verse_cents=round_half_up(rsa_cents * (1 - rsa.suspended_share(foyer, mois_droit, declaration))),
        ppa_cents=round_half_up(prime),
        ppa_nette_crds_cents=round_half_up(prime * (1 - params.CRDS)),
    )
