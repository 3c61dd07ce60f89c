"""A synthetic France, household by household, from a seed.

Households are made by blocks of 10,000, each from its own random stream (Philox, spawned by the number of the block):
any block can be made alone, by any process, in any order, and gives the same bytes. Memory is that of one block.
Nobody real is in it: every person is drawn from the marginals of `marginals.toml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.foyer import Nationalite, RegimeNonSalarie, StatutLogement, Zone
from solidarite_server.domain.month import Month
from solidarite_server.legislation import load_legislation
from solidarite_server.simulation.marginals import Marginals, load_marginals

BLOCK_FOYERS = 10_000
MAX_FOYERS = 36_000_000
"""So that every adult has a number of his or her own (see `simulation.nir`)."""
MAX_SEED = 2**63 - 1

SEUL, COUPLE, COUPLE_ENFANTS, MONOPARENTAL = range(4)
FAMILLES = ("seul", "couple", "couple_enfants", "monoparental")
(
    STABLE,
    CONTRATS_COURTS,
    INDEPENDANT,
    MICRO,
    CHOMAGE,
    ASS,
    SANS_RESSOURCE,
    ETUDIANT,
    RETRAITE,
    INVALIDITE,
    AAH,
) = range(11)
ACTIVITES = 11
FEMME, HOMME = 2, 1
_EMPLOYERS = 2_000_000

Ints = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Foyers:
    """Columns of the households of a block, one row each. Months are `Month.index`, 0 for none; amounts are cents."""

    zone: Bytes
    famille: Bytes
    regime: Bytes
    logement: Bytes
    aide_logement: Ints
    """Housing benefit of a month."""
    isolement: Ints
    """Month since which the parent lives alone."""
    separes: Bytes
    """1 where the household draws ASF for its children."""
    revenu: Ints
    """Usual monthly income of the adults."""
    adulte: Ints
    """First row in `adultes`: the allocataire."""
    enfant: Ints
    """First row in `enfants`."""
    enfants: Bytes
    benjamin: Ints
    """Month of birth of the youngest child."""
    recours: npt.NDArray[np.float32]
    """A household claims a benefit when this draw is below the take-up of the benefit."""
    rectifie: Bytes
    """1 where the declaration would be rectified."""
    complete: Bytes
    """1 where the household would add a line: it has a resource that nothing prefills, or another reason."""


@dataclass(frozen=True, slots=True)
class Adultes:
    """Columns of the adults: allocataire, then the partner when there is one."""

    foyer: Ints
    place: Bytes
    sexe: Bytes
    naissance: Ints
    jour: Bytes
    activite: Bytes
    nationalite: Bytes
    titre_annees: Bytes
    plein_temps: Floats
    """Pay of a whole month of full-time work, in net SMIC, whatever the person does."""
    salaire: Floats
    """Pay of a whole month of work, in net SMIC."""
    variable: Bytes
    """1 where the pay varies from month to month."""
    periode: Bytes
    """Months of a cycle of short contracts; 0 for others."""
    en_emploi: Bytes
    """Months of the cycle at work."""
    phase: Bytes
    indemnise: Bytes
    """1 where the months without work of the cycle are paid by unemployment insurance."""
    chomage: Ints
    ass: Ints
    retraite: Ints
    aspa: Ints
    invalidite: Ints
    aah: Ints
    pension_alimentaire: Ints
    benefice: Ints
    """Yearly profit of a self-employed person."""
    chiffre: Ints
    """Monthly turnover of a micro-entreprise."""
    regime_micro: Bytes
    arret: Ints
    """First month of a sick leave."""
    arret_mois: Bytes
    subroge: Bytes
    """1 where the employer goes on paying during a leave."""
    interrompu: Ints
    """First month without the pay whose end is certain (CASF R262-13)."""
    employeurs: Bytes
    employeur: Ints
    graine: npt.NDArray[np.uint64]
    """Decides what varies from month to month."""


@dataclass(frozen=True, slots=True)
class Enfants:
    """Columns of the children, in the order of the households."""

    foyer: Ints
    naissance: Ints
    jour: Bytes
    asf: Bytes


_Table = TypeVar("_Table", Foyers, Adultes, Enfants)


def take(table: _Table, rows: slice) -> _Table:
    """A slice of the rows of a table."""
    return type(table)(*(getattr(table, f.name)[rows] for f in fields(table)))


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive households, ready to be laid out for the engine, written as dossiers or as records."""

    number: int
    mois: Month
    foyers: Foyers
    adultes: Adultes
    enfants: Enfants

    def __len__(self) -> int:
        return len(self.foyers.zone)

    @property
    def first(self) -> int:
        """Number of the first household in the population."""
        return self.number * BLOCK_FOYERS

    def head(self, count: int) -> Block:
        """Its first `count` households."""
        if count >= len(self):
            return self
        return Block(
            self.number,
            self.mois,
            take(self.foyers, slice(count)),
            take(self.adultes, slice(int(self.foyers.adulte[count]))),
            take(self.enfants, slice(int(self.foyers.enfant[count]))),
        )


@dataclass(frozen=True)
class Population:
    """`foyers` households of the month `mois`, decided by `seed`. A larger population begins with a smaller one."""

    foyers: int
    seed: int
    mois: Month
    marginals: Marginals = field(default_factory=load_marginals, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.foyers <= MAX_FOYERS:
            raise ValueError(f"Une population compte de 1 à {MAX_FOYERS} foyers.")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"Une graine va de 0 à {MAX_SEED}.")

    @property
    def weight(self) -> float:
        """How many households of the country each one stands for."""
        return float(self.marginals.value("foyers.total")) / self.foyers

    @property
    def block_count(self) -> int:
        return -(-self.foyers // BLOCK_FOYERS)

    def block(self, number: int) -> Block:
        """One block, alone."""
        if not 0 <= number < self.block_count:
            raise IndexError(number)
        return _Maker(self, number).block().head(self.foyers - number * BLOCK_FOYERS)

    def blocks(self) -> Iterator[Block]:
        """Every block, in order, one at a time."""
        return (self.block(number) for number in range(self.block_count))


def smic_net(mois: Month, marginals: Marginals) -> float:
    """Net SMIC of a whole month of work, in cents."""
    hourly = float(load_legislation().value("smic.horaire_brut", mois))
    return hourly * (35 * 52 / 12) * float(marginals.value("salaires.net_du_smic")) * 100


@lru_cache(maxsize=64)
def _cumulated(weights: tuple[float, ...]) -> npt.NDArray[np.float32]:
    total = np.cumsum(np.asarray(weights, np.float64))
    cumulated: npt.NDArray[np.float32] = (total / total[-1])[:-1].astype(np.float32)
    return cumulated


def _cents(concerned: npt.NDArray[np.bool_], euros: float) -> Ints:
    """The same amount for those concerned."""
    return np.where(concerned, round(euros * 100), 0).astype(np.int32)


class _Maker:
    """Draws one block. The order of the draws is part of the result: add new ones at the end."""

    def __init__(self, population: Population, number: int) -> None:
        self.number, self.mois, self.m = number, population.mois, population.marginals
        sequence = np.random.SeedSequence(population.seed, spawn_key=(number,))
        self.rng = np.random.Generator(np.random.Philox(sequence))
        self.now = population.mois.index

    def draw(self, n: int) -> npt.NDArray[np.float32]:
        return self.rng.random(n, dtype=np.float32)

    def happens(self, n: int, share: Any) -> npt.NDArray[np.bool_]:
        return np.asarray(self.draw(n) < share)

    def choose(self, n: int, weights: Sequence[float] | Mapping[str, float]) -> npt.NDArray[np.intp]:
        values = tuple(weights.values()) if isinstance(weights, Mapping) else tuple(weights)
        return np.searchsorted(_cumulated(values), self.draw(n), side="right")

    def between(self, n: int, low: Any, high: Any) -> Floats:
        """Uniform in [low, high)."""
        return np.asarray(low + self.draw(n).astype(np.float64) * (high - low))

    def block(self) -> Block:
        n = BLOCK_FOYERS
        famille = self.choose(n, self.m.value("foyers.famille"))
        zone = np.array(list(Zone), np.uint8)[self.choose(n, self.m.value("foyers.zone"))]
        age = self._ages(famille)
        couple = (famille == COUPLE) | (famille == COUPLE_ENFANTS)
        foyer = np.repeat(np.arange(n, dtype=np.int32), 1 + couple)
        adulte = np.concatenate(([0], np.cumsum(1 + couple)))[:-1].astype(np.int32)
        enfants, first_child, benjamin = self._enfants(famille, age)
        isolement, separes = self._isolement(famille, benjamin)
        enfants = Enfants(enfants.foyer, enfants.naissance, enfants.jour, enfants.asf * separes[enfants.foyer])
        adultes, revenu = self._adultes(famille, zone, age, foyer, adulte)
        logement, aide = self._logement(famille, age, adultes.activite[adulte], revenu)
        foyers = Foyers(
            zone=zone,
            famille=famille.astype(np.uint8),
            regime=(1 + self.happens(n, self.m.value("foyers.msa"))).astype(np.uint8),
            logement=logement,
            aide_logement=aide,
            isolement=isolement,
            separes=separes,
            revenu=revenu,
            adulte=adulte,
            enfant=first_child,
            enfants=np.diff(np.append(first_child, len(enfants.foyer))).astype(np.uint8),
            benjamin=benjamin,
            recours=self.draw(n),
            rectifie=self.happens(n, self.m["declarations"]["rectifiees"]).astype(np.uint8),
            complete=self._completes(adultes, n),
        )
        return Block(self.number, self.mois, foyers, adultes, enfants)

    def _ages(self, famille: npt.NDArray[np.intp]) -> Ints:
        """Ages of the allocataires, in months."""
        table = self.m["foyers.age"]
        bounds = np.array(table["tranches"], np.float64) * 12
        cumulated = np.array([_cumulated(tuple(table[name])) for name in FAMILLES])
        drawn = self.draw(len(famille))
        band = (drawn[:, None] >= cumulated[famille]).sum(1)
        return self.between(len(famille), bounds[band], bounds[band + 1]).astype(np.int32)

    def _enfants(self, famille: npt.NDArray[np.intp], age: Ints) -> tuple[Enfants, Ints, Ints]:
        n = len(famille)
        table = self.m["foyers.enfants"]
        drawn = self.draw(n)
        count = np.zeros(n, np.int32)
        for code, name in ((COUPLE_ENFANTS, "couple_enfants"), (MONOPARENTAL, "monoparental")):
            here = famille == code
            count[here] = 1 + np.searchsorted(_cumulated(tuple(table[name])), drawn[here], side="right")
        first = np.concatenate(([0], np.cumsum(count)))[:-1].astype(np.int32)
        foyer = np.repeat(np.arange(n, dtype=np.int32), count)
        births = self.m["foyers.naissances"]
        # At these ages of the allocataire, or later when that would make the children grown up.
        birth_age = self.between(len(foyer), births["age_minimum"] * 12, births["age_maximum"] * 12)
        months = np.maximum(age[foyer] - birth_age, 0)
        late = self.between(len(foyer), births["derniers_annees"] * 12, 21 * 12)
        months = np.where(months >= 21 * 12, late, months).astype(np.int32)
        months = np.where(months == 0, self.between(len(foyer), 0, 36).astype(np.int32), months)
        naissance = (self.now - months).astype(np.int32)
        benjamin = np.zeros(n, np.int32)
        np.maximum.at(benjamin, foyer, naissance)
        jour = self.between(len(foyer), 1, 29).astype(np.uint8)
        return Enfants(foyer, naissance, jour, (months < 20 * 12).astype(np.uint8)), first, benjamin

    def _isolement(self, famille: npt.NDArray[np.intp], benjamin: Ints) -> tuple[Ints, Bytes]:
        """Lone parents: since when, at the earliest at the birth of the youngest child; and whether ASF is drawn."""
        n = len(famille)
        months = self.m.value("foyers.separation_annees_moyenne") * 12 * -np.log1p(-self.draw(n).astype(np.float64))
        since = np.maximum(self.now - months.astype(np.int32), benjamin)
        alone = famille == MONOPARENTAL
        return (
            np.where(alone, since, 0).astype(np.int32),
            (alone & self.happens(n, self.m["prestations"]["part_asf"])).astype(np.uint8),
        )

    def _adultes(
        self, famille: npt.NDArray[np.intp], zone: Bytes, age: Ints, foyer: Ints, first: Ints
    ) -> tuple[Adultes, Ints]:
        """The adults of the households, and the usual monthly income of each household."""
        n, m = len(foyer), self.m
        place = (np.arange(n) != first[foyer]).astype(np.uint8)
        partner = place == 1
        gap = self.between(n, *m.value("foyers.ecart_d_age_en_mois")).astype(np.int32)
        months = np.where(partner, np.clip(age[foyer] + gap, 18 * 12, 95 * 12), age[foyer]).astype(np.int32)
        lone = famille[foyer] == MONOPARENTAL
        woman = self.happens(n, np.where(lone, m.value("foyers.femme_seule_avec_enfants"), 0.5))
        woman = np.where(partner, ~woman[first[foyer]], woman)
        activite = self._activites(famille, zone, months, foyer, first, partner)
        short, micro = activite == CONTRATS_COURTS, activite == MICRO

        part_time, quotite = self._part_time(woman)
        ratio = self._pay(famille[foyer], months, first[foyer], partner, part_time, short, activite == CHOMAGE)
        aah_at_work = (activite == AAH) & self.happens(n, m["aah"]["part_emploi"])
        student_at_work = (activite == ETUDIANT) & self.happens(n, m["etudiants"]["part_emploi"])
        quotite = np.where(student_at_work, m["etudiants"]["quotite"], quotite)
        paid = (activite == STABLE) | short | aah_at_work | student_at_work
        salaire = np.where(paid, ratio * quotite, 0.0)
        periode, en_emploi, phase, indemnise = self._cycles(short)
        interrompu = self._interruptions(short & ~indemnise, periode, en_emploi, phase)

        smic = smic_net(self.mois, m)
        insured = (activite == CHOMAGE) | indemnise
        chomage = np.where(insured, ratio * quotite * smic * m["chomage.part_du_salaire"]["valeur"], 0)
        retraite, aspa = self._pensions(activite == RETRAITE)
        aah = self._aah(activite == AAH, aah_at_work)
        benefice, chiffre = self._self_employed(activite == INDEPENDANT, micro)
        maintenance = lone & self.happens(n, m["pensions_alimentaires"]["part"])
        arret, arret_mois = self._leaves(paid & (activite != ETUDIANT))
        nationality, permit = self._nationality(n)
        second = self.happens(n, m.value("salaires.plusieurs_employeurs"))
        adultes = Adultes(
            foyer=foyer,
            place=place,
            sexe=np.where(woman, FEMME, HOMME).astype(np.uint8),
            naissance=(self.now - months).astype(np.int32),
            jour=self.between(n, 1, 29).astype(np.uint8),
            activite=activite.astype(np.uint8),
            nationalite=nationality,
            titre_annees=permit,
            plein_temps=ratio,
            salaire=salaire,
            variable=self.happens(n, m["salaires.variables"]["part"]).astype(np.uint8),
            periode=periode.astype(np.uint8),
            en_emploi=en_emploi.astype(np.uint8),
            phase=phase.astype(np.uint8),
            indemnise=indemnise.astype(np.uint8),
            chomage=chomage.astype(np.int32),
            ass=_cents(activite == ASS, m.value("chomage.ass_mensuelle")),
            retraite=retraite,
            aspa=aspa,
            invalidite=_cents(activite == INVALIDITE, m.value("invalidite.mensuelle")),
            aah=aah,
            pension_alimentaire=_cents(maintenance, m["pensions_alimentaires"]["par_enfant"]),
            benefice=benefice,
            chiffre=chiffre,
            regime_micro=np.where(
                micro, self.between(n, RegimeNonSalarie.MICRO_VENTE, RegimeNonSalarie.MICRO_BNC + 1), 0
            ).astype(np.uint8),
            arret=arret,
            arret_mois=arret_mois,
            subroge=self.happens(n, m["arrets"]["part_subrogee"]).astype(np.uint8),
            interrompu=interrompu,
            employeurs=np.where(salaire > 0, 1 + second, 0).astype(np.uint8),
            # Sizes of firms are very unequal: the cube gives a few employers most of the jobs.
            employeur=(self.draw(n).astype(np.float64) ** 3 * _EMPLOYERS).astype(np.int32),
            graine=self.rng.integers(0, 2**64, n, dtype=np.uint64),
        )
        return adultes, self._usual_income(adultes, len(famille))

    def _part_time(self, woman: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], Floats]:
        """Who would work part time, and the share of full time worked."""
        shares, quotites = self.m.value("salaires.temps_partiel"), np.array(self.m.value("salaires.quotite"))
        part_time = self.happens(len(woman), np.where(woman, shares["femmes"], shares["hommes"]))
        return part_time, np.where(part_time, quotites[(self.draw(len(woman)) * len(quotites)).astype(np.int8)], 1.0)

    def _cycles(
        self, short: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Short contracts: months of a cycle, months at work in it, where the cycle is; and who is insured."""
        n, table = len(short), self.m["contrats_courts"]
        low, high = table["periode"]
        periode = np.where(short, self.between(n, low, high + 1).astype(np.int32), 0)
        worked = np.rint(periode * self.between(n, *table["part_en_emploi"])).astype(np.int32)
        en_emploi = np.where(short, np.clip(worked, 1, np.maximum(periode - 1, 1)), 0)
        phase = (self.draw(n) * np.maximum(periode, 1)).astype(np.int32)
        return periode, en_emploi, phase, short & self.happens(n, table["part_indemnisee"])

    def _self_employed(self, regular: npt.NDArray[np.bool_], micro: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """Yearly profits, and monthly turnovers of the micro-entreprises."""
        n, table = len(regular), self.m["independants"]
        profit = self._log_normal(n, table["benefice_median"], table["benefice_sigma"])
        profit = np.where(regular & ~self.happens(n, table["part_deficit"]), profit, 0)
        turnover = self._log_normal(n, table["chiffre_median"], table["chiffre_sigma"])
        return profit.astype(np.int32), np.where(micro, turnover, 0).astype(np.int32)

    def _leaves(self, exposed: npt.NDArray[np.bool_]) -> tuple[Ints, Bytes]:
        """Sick leaves of the months that a declaration may look at: first month, and how many months."""
        n, table = len(exposed), self.m["arrets"]
        sick = exposed & self.happens(n, table["part"])
        start = self.now - self.between(n, 0, 9).astype(np.int32)
        length = 1 + (self.draw(n) * table["mois_maximum"]).astype(np.int32)
        return np.where(sick, start, 0).astype(np.int32), np.where(sick, length, 0).astype(np.uint8)

    def _usual_income(self, a: Adultes, foyers: int) -> Ints:
        at_work = np.where(a.periode > 0, a.en_emploi / np.maximum(a.periode, 1), 1.0)
        idle = np.where(a.periode > 0, 1 - at_work, 1.0)
        income = a.salaire * at_work * smic_net(self.mois, self.m) + a.chomage * idle + a.benefice / 12
        income += a.chiffre * self.m["independants"]["part_nette_du_chiffre"]
        income += a.ass + a.retraite + a.aspa + a.invalidite + a.aah + a.pension_alimentaire
        return np.bincount(a.foyer, income, foyers).astype(np.int32)

    def _activites(
        self,
        famille: npt.NDArray[np.intp],
        zone: Bytes,
        months: Ints,
        foyer: Ints,
        first: Ints,
        partner: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.intp]:
        n = len(foyer)
        tables = _activity_tables(self.m)
        band = np.searchsorted(np.array(self.m["foyers.age"]["tranches"][1:-1]) * 12, months, side="right")
        key = (band * 4 + famille[foyer]) * 2 + (zone[foyer] != Zone.METROPOLE)
        drawn = self.draw(n)
        alike = partner & self.happens(n, self.m.value("activite.meme_sort_en_couple"))
        drawn = np.where(alike, drawn[first[foyer]], drawn)
        activite = np.zeros(n, np.intp)
        for column in tables.T:
            activite += drawn >= column[key]
        return activite

    def _pay(
        self,
        famille: npt.NDArray[np.intp],
        months: Ints,
        first: npt.NDArray[np.int32],
        partner: npt.NDArray[np.bool_],
        part_time: npt.NDArray[np.bool_],
        short: npt.NDArray[np.bool_],
        unemployed: npt.NDArray[np.bool_],
    ) -> Floats:
        """Pay of full-time work in net SMIC: the published distribution, read at a rank that depends on the person."""
        n, table = len(famille), self.m["salaires.rang"]
        # Ranks are lowered below for some: the curve lifts all of them first, and keeps the published median.
        rank = self.draw(n) ** table["courbure"]
        rank = np.where(partner & self.happens(n, table["commun_en_couple"]), rank[first], rank)
        rank = rank * np.where(months < 25 * 12, table["jeunes"], 1.0)
        rank = rank * np.where(part_time, table["temps_partiel"], 1.0)
        rank = rank * np.where(famille == MONOPARENTAL, table["monoparental"], 1.0)
        rank = rank * np.where(short, self.m["contrats_courts"]["rang_maximum"], 1.0)
        rank = rank * np.where(unemployed, self.m.value("chomage.rang_maximum"), 1.0)
        quantiles = self.m["salaires.quantiles"]
        logs = np.log(np.array(quantiles["euros"]) / quantiles["smic"])
        return np.asarray(np.exp(np.interp(rank, quantiles["rangs"], logs)))

    def _interruptions(
        self,
        uninsured: npt.NDArray[np.bool_],
        periode: npt.NDArray[np.int32],
        en_emploi: npt.NDArray[np.int32],
        phase: npt.NDArray[np.int32],
    ) -> Ints:
        """First month without pay of those whose short contract ended in the last four months, when it is certain."""
        place = (self.now + phase) % np.maximum(periode, 1)
        since = place - en_emploi
        certain = uninsured & (since >= 0) & (since < 4)
        certain &= self.happens(len(periode), self.m["contrats_courts"]["interruption_connue"])
        return np.where(certain, self.now - since, 0).astype(np.int32)

    def _pensions(self, retired: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """Pensions, and the ASPA that brings the smallest to its floor."""
        table = self.m["retraites.pension"]
        pension = np.minimum(self._log_normal(len(retired), table["mediane"], table["sigma"]), table["plafond"] * 100)
        floor = table["plancher"] * 100
        pension = np.where(retired, pension, 0).astype(np.int32)
        return pension, np.where(retired, np.maximum(0, floor - pension), 0).astype(np.int32)

    def _aah(self, entitled: npt.NDArray[np.bool_], at_work: npt.NDArray[np.bool_]) -> Ints:
        table, n = self.m["aah"], len(entitled)
        reduced = self.happens(n, table["part_reduite"]) | at_work
        share = np.where(reduced, self.between(n, 0.2, 0.9), 1.0)
        return np.where(entitled, table["maximum"] * 100 * share, 0).astype(np.int32)

    def _log_normal(self, n: int, median: float, sigma: float) -> Floats:
        """In cents, from a median in euros."""
        return np.minimum(np.exp(self.rng.standard_normal(n) * sigma) * (median * 100), 2_000_000_00)

    def _nationality(self, n: int) -> tuple[Bytes, Bytes]:
        nationality = np.array(list(Nationalite), np.uint8)[self.choose(n, self.m.value("personnes.nationalite"))]
        years = self.between(n, 0, self.m.value("personnes.titre_annees_max") + 1).astype(np.uint8)
        return nationality, np.where(nationality == Nationalite.AUTRE, years, 0).astype(np.uint8)

    def _logement(self, famille: npt.NDArray[np.intp], age: Ints, activite: Bytes, revenu: Ints) -> tuple[Bytes, Ints]:
        n, m = len(famille), self.m
        owners = np.array([m.value("logement.proprietaires")[name] for name in FAMILLES])[famille]
        idle = (activite == SANS_RESSOURCE) | (activite == ETUDIANT) | (activite == ASS) | (age < 25 * 12)
        owner = self.happens(n, owners * np.where(idle, m.value("logement.sans_ressources"), 1.0))
        paying = owner & (age < 62 * 12) & self.happens(n, m.value("logement.accedants"))
        shares = m.value("logement.heberges")
        hosted = ~owner & self.happens(n, np.where(age < 25 * 12, shares["jeunes"], shares["adultes"]))
        logement = np.full(n, StatutLogement.LOCATAIRE, np.uint8)
        logement[owner] = StatutLogement.PROPRIETAIRE
        logement[paying] = StatutLogement.ACCEDANT
        logement[hosted] = StatutLogement.HEBERGE_GRATUIT
        table = m["logement.aide"]
        top = np.array([table["plafond"][name] for name in FAMILLES])[famille] * 100
        free = np.array([table["forfait"][name] for name in FAMILLES])[famille] * 100
        aid = top * self.between(n, 0.75, 1.05) - table["pente"] * np.maximum(0, revenu - free)
        due = (logement == StatutLogement.LOCATAIRE) & (aid >= table["minimum"] * 100)
        return logement, np.where(due, aid, 0).astype(np.int32)

    def _completes(self, a: Adultes, n: int) -> Bytes:
        declared = np.bincount(a.foyer, (a.benefice > 0) | (a.chiffre > 0) | (a.pension_alimentaire > 0), n) > 0
        told = declared & ~self.happens(n, self.m.value("erreurs.ressource_a_declarer_oubliee"))
        return np.asarray(told | self.happens(n, self.m["declarations"]["completees_sans_cause"]), np.uint8)


def _activity_tables(marginals: Marginals) -> npt.NDArray[np.float32]:
    """Cumulated shares of the activities by age band, family and zone: float32 [bands × 4 × 2, ACTIVITES - 1]."""
    factors = marginals.value("activite.sans_ressource")
    rows = []
    for name, shares in marginals["activite.parts"].items():
        if len(shares) != ACTIVITES:
            raise ValueError(f"activite.parts.{name} : {ACTIVITES} parts attendues")
        for famille in FAMILLES:
            for factor in (1.0, factors["outre_mer"]):
                weights = list(shares)
                weights[SANS_RESSOURCE] *= factors[famille] * factor
                rows.append(_cumulated(tuple(weights)))
    return np.array(rows)
