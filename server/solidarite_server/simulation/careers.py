"""What each adult receives in a month: pay, sick pay, unemployment, pensions. Any month can be asked for alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource as N
from solidarite_server.simulation.marginals import Marginals
from solidarite_server.simulation.population import FEMME, Adultes, Block, smic_net

NATURES = (
    N.SALAIRE,
    N.IJSS_MALADIE,
    N.IJSS_MATERNITE,
    N.CHOMAGE,
    N.ALLOCATION_SOLIDARITE_SPECIFIQUE,
    N.RETRAITE,
    N.INVALIDITE,
    N.AAH,
    N.PENSION_ALIMENTAIRE,
)
"""In the order of their numbers."""
PREFILLED = tuple(place for place, nature in enumerate(NATURES) if nature.prefilled)
DECLARED = tuple(place for place, n in enumerate(NATURES) if not n.prefilled and not n.known_to_caf)


@dataclass(frozen=True, slots=True)
class Ressources:
    """Amounts of the adults of a block: int64 cents [adult, nature of NATURES, month]."""

    months: tuple[Month, ...]
    cents: npt.NDArray[np.int64]
    chiffre: npt.NDArray[np.int64]
    """Turnover of the micro-entreprises [adult, month]."""


def ressources(block: Block, months: Sequence[Month], marginals: Marginals) -> Ressources:
    """What the adults of a block receive in these months; the same month gives the same amounts whatever the others."""
    adultes = block.adultes
    cents = np.zeros((len(adultes.foyer), len(NATURES), len(months)), np.int64)
    chiffre = np.zeros((len(adultes.foyer), len(months)), np.int64)
    for k, mois in enumerate(months):
        _month(block, mois, marginals, cents[:, :, k])
        noise = 0.6 + 0.8 * month_noise(adultes, mois.index + 5_000)
        chiffre[:, k] = np.rint(adultes.chiffre * noise)
    return Ressources(tuple(months), cents, chiffre)


def _month(block: Block, mois: Month, marginals: Marginals, out: npt.NDArray[np.int64]) -> None:
    a, m = block.adultes, mois.index
    noise = month_noise(a, m)
    short = a.periode > 0
    at_work = ~short | ((m + a.phase.astype(np.int32)) % np.maximum(a.periode, 1) < a.en_emploi)
    low, high = marginals["contrats_courts"]["part_du_mois"]
    spread = marginals["salaires.variables"]["ampleur"]
    worked = np.where(short, low + (high - low) * noise, 1.0 + np.where(a.variable, spread * (2 * noise - 1), 0.0))
    pay = np.where(at_work, a.salaire * worked * smic_net(mois, marginals), 0.0)
    leave = (a.arret > 0) & (m >= a.arret) & (m < a.arret + a.arret_mois) & (a.subroge == 0)
    birth = block.foyers.benjamin[a.foyer]
    table = marginals["arrets"]
    maternity = (a.sexe == FEMME) & (birth > 0) & (m >= birth) & (m < birth + table["maternite_mois"]) & (pay > 0)
    sick = leave & ~maternity & (pay > 0)
    out[:, 0] = np.rint(np.where(sick | maternity, 0.0, pay))
    out[:, 1] = np.rint(np.where(sick, table["part_du_salaire"] * pay, 0.0))
    out[:, 2] = np.rint(np.where(maternity, table["maternite_part_du_salaire"] * pay, 0.0))
    out[:, 3] = np.where(short & at_work, 0, a.chomage)
    out[:, 4] = a.ass
    out[:, 5] = a.retraite
    out[:, 6] = a.invalidite
    out[:, 7] = a.aah
    out[:, 8] = np.where(a.place == 0, a.pension_alimentaire, 0) * block.foyers.enfants[a.foyer]


def month_noise(adultes: Adultes, mois: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each adult and month, from the adult's own seed."""
    return noise_of(adultes.graine, np.uint64(mois))


def noise_of(seeds: npt.NDArray[np.uint64], salt: npt.NDArray[np.uint64] | np.uint64) -> npt.NDArray[np.float64]:
    """A number in [0, 1) from a seed and a salt (splitmix64): the same whatever else is drawn."""
    with np.errstate(over="ignore"):
        x = seeds + salt * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)) * 2.0**-53)


@dataclass(frozen=True, slots=True)
class Prestations:
    """Family benefits of the households of a block: int64 cents [foyer, month], as paid."""

    af: npt.NDArray[np.int64]
    cf: npt.NDArray[np.int64]
    asf: npt.NDArray[np.int64]
    paje: npt.NDArray[np.int64]
    aspa: npt.NDArray[np.int64]


def prestations(block: Block, months: Sequence[Month], marginals: Marginals, bmaf: Sequence[float]) -> Prestations:
    """AF, CF, ASF, PAJE and ASPA of each month; `bmaf` is the base of each month, in euros."""
    f, children = block.foyers, block.enfants
    n, table = len(block), marginals["prestations"]
    shape = (n, len(months))
    af, cf, asf, paje = (np.zeros(shape, np.int64) for _ in range(4))
    aspa = np.zeros(shape, np.int64)
    aspa[:] = np.bincount(block.adultes.foyer, block.adultes.aspa, n)[:, None]
    income = f.revenu / 100
    part = np.where(income > table["revenu_af_quart"], 0.25, np.where(income > table["revenu_af_moitie"], 0.5, 1.0))
    for k, mois in enumerate(months):
        base = bmaf[k] * 100 * (1 - table["crds"])
        age = mois.index - children.naissance
        born = age >= 0
        dependants = np.bincount(children.foyer, born & (age < 240), n)
        grown = np.bincount(children.foyer, (age >= 36) & (age < 252), n)
        asf_children = np.bincount(children.foyer, born & (age < 240) & (children.asf > 0), n)
        young = np.bincount(children.foyer, born & (age > 0) & (age < 36), n)
        rate = np.where(dependants >= 2, table["af_deux"] + table["af_suivant"] * np.maximum(0, dependants - 2), 0.0)
        af[:, k] = np.rint(rate * part * base)
        cf[:, k] = np.rint(np.where((grown >= 3) & (income < table["revenu_cf"]), table["cf"] * base, 0.0))
        asf[:, k] = np.rint(asf_children * table["asf"] * base)
        full = np.where(income < table["revenu_paje_pleine"], table["paje_pleine"], table["paje_reduite"])
        paje[:, k] = np.rint(np.where((young > 0) & (income < table["revenu_paje"]), full * base, 0.0))
    return Prestations(af, cf, asf, paje, aspa)
