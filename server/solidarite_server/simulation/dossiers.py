"""A block as the dossiers and resources that the service itself reads: the same households, one value each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np

from solidarite_server.domain.foyer import (
    ChiffreAffaires,
    DroitAsf,
    Foyer,
    InterruptionCertaine,
    Isolement,
    Logement,
    Membre,
    Nationalite,
    PeriodeStatut,
    PrestationsMois,
    Regime,
    RegimeNonSalarie,
    RessourceMois,
    Role,
    Statut,
    StatutLogement,
    Zone,
)
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.simulation.careers import NATURES, Ressources, ressources
from solidarite_server.simulation.columns import Examen, family_benefits
from solidarite_server.simulation.marginals import Marginals
from solidarite_server.simulation.population import ETUDIANT, Adultes, Block, Enfants, Foyers
from solidarite_server.simulation.records import certified

_LONG_AGO = Month(2015, 1)
_STUDENT = (PeriodeStatut(Statut.ETUDIANT, _LONG_AGO.first_day),)
ADULTS = ("demandeur", "conjoint")
_KNOWN = [place for place, nature in enumerate(NATURES) if nature.known_to_caf]


def numero(number: int) -> str:
    """The dossier number of a household of the population."""
    return f"{number:08d}"


def foyers_of(
    block: Block,
    examen: Examen,
    marginals: Marginals,
    rows: Iterable[int] | None = None,
    pseudonyms: Sequence[bytes] | None = None,
) -> Iterator[Foyer]:
    """The dossiers of these rows of a block (all of them when not told) for a declaration.

    `pseudonyms` link the adults of the block, in order, to their records.
    """
    months = examen.months
    amounts = ressources(block, months, marginals)
    paid = family_benefits(block, months, marginals)
    benefits = np.stack((paid.af, paid.cf, paid.asf, paid.paje, paid.aspa), axis=1)
    with_benefits = set(np.flatnonzero(benefits.any((1, 2))).tolist())
    known_amounts = amounts.cents[:, _KNOWN].tolist()
    known = certified(block, marginals).tolist()
    f, a, c = _lists(block.foyers), _lists(block.adultes), _lists(block.enfants)
    f.enfant.append(len(c.foyer))
    f.adulte.append(len(a.foyer))
    for row in range(len(block)) if rows is None else rows:
        adults = range(f.adulte[row], f.adulte[row + 1])
        membres = [
            _adult(a, adult, amounts, examen, None if pseudonyms is None else pseudonyms[adult], known[adult])
            for adult in adults
        ]
        membres += [_child(c, child, rank) for rank, child in enumerate(range(*f.enfant[row : row + 2]), 1)]
        aid, since = f.aide_logement[row], f.isolement[row]
        yield Foyer(
            numero(block.first + row),
            tuple(membres),
            zone=Zone(f.zone[row]),
            regime=Regime(f.regime[row]),
            logements=(Logement(_LONG_AGO, StatutLogement(f.logement[row])),),
            aide_logement=dict.fromkeys(months, aid) if aid else {},
            prestations=_benefits(months, benefits[row].tolist()) if row in with_benefits else {},
            isolements=(Isolement(Month.from_index(since).first_day),) if since else (),
            ressources_connues=tuple(_amounts(months, known_amounts, adults, _KNOWN)),
        )


def _lists(table: Foyers | Adultes | Enfants) -> Any:
    """The columns of a table as lists of Python values, under their names: a row is read twenty times as fast."""
    return SimpleNamespace(**{column.name: getattr(table, column.name).tolist() for column in fields(table)})


def _benefits(months: Sequence[Month], amounts: Sequence[Sequence[int]]) -> dict[Month, PrestationsMois]:
    return {
        mois: PrestationsMois(
            allocations_familiales_base_cents=af,
            complement_familial_cents=cf,
            allocation_soutien_familial_cents=asf,
            paje_allocation_base_cents=paje,
            aspa_cents=aspa,
        )
        for mois, af, cf, asf, paje, aspa in zip(months, *amounts, strict=True)
        if af or cf or asf or paje or aspa
    }


def ressources_of(block: Block, examen: Examen, marginals: Marginals) -> Iterator[list[RessourceMois]]:
    """What the adults of each household receive, but what the dossier holds already."""
    amounts = ressources(block, examen.months, marginals)
    rows = np.append(block.foyers.adulte, len(block.adultes.foyer)).tolist()
    others = [place for place in range(len(NATURES)) if place not in _KNOWN]
    cents = amounts.cents[:, others].tolist()
    for row in range(len(block)):
        yield list(_amounts(examen.months, cents, range(rows[row], rows[row + 1]), others))


def _amounts(
    months: Sequence[Month], cents: list[list[list[int]]], adults: range, places: Sequence[int]
) -> Iterator[RessourceMois]:
    """The amounts of some adults; `cents` are [adult][one of `places`][month]."""
    for adult, personne in zip(adults, ADULTS, strict=False):
        for place, amounts in zip(places, cents[adult], strict=True):
            for mois, amount in zip(months, amounts, strict=True):
                if amount:
                    yield RessourceMois(personne, mois, NATURES[place], amount)


def _born(months: int, day: int) -> date:
    return date(months // 12, months % 12 + 1, day)


def _adult(a: Any, row: int, amounts: Ressources, examen: Examen, pseudonym: bytes | None, known: bool) -> Membre:
    ended, leave, regime, profit = a.interrompu[row], a.arret[row], a.regime_micro[row], a.benefice[row]
    day, nationality = examen.mois_declaration.first_day, Nationalite(a.nationalite[row])
    permit = date(day.year - a.titre_annees[row], day.month, 1) if nationality == Nationalite.AUTRE else None
    return Membre(
        ADULTS[a.place[row]],
        Role.CONJOINT if a.place[row] else Role.ALLOCATAIRE,
        _born(a.naissance[row], a.jour[row]),
        pseudonym,
        nir_certifie=known,
        nationalite=nationality,
        titre_sejour_depuis=permit,
        statuts=_STUDENT if a.activite[row] == ETUDIANT else (),
        date_arret_travail=Month.from_index(leave).first_day if leave else None,
        interruptions=(InterruptionCertaine(NatureRessource.SALAIRE, Month.from_index(ended).first_day),)
        if ended
        else (),
        benefices_annuels={examen.mois_declaration.year - 1: profit} if profit else {},
        chiffre_affaires=_turnover(amounts, row, RegimeNonSalarie(regime)) if regime else (),
    )


def _turnover(amounts: Ressources, row: int, regime: RegimeNonSalarie) -> tuple[ChiffreAffaires, ...]:
    months = zip(amounts.months, amounts.chiffre[row].tolist(), strict=True)
    return tuple(ChiffreAffaires(mois, regime, cents) for mois, cents in months if cents)


def _child(c: Any, row: int, rank: int) -> Membre:
    return Membre(f"enfant-{rank}", Role.ENFANT, _born(c.naissance[row], c.jour[row]), droit_asf=DroitAsf(c.asf[row]))
