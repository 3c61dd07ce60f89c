"""A block as the dossiers and resources that the service itself reads: the same households, one value each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

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
from solidarite_server.simulation.population import ETUDIANT, Block
from solidarite_server.simulation.records import certified

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
    benefits = np.stack((paid.af, paid.cf, paid.asf, paid.paje, paid.aspa), axis=1).tolist()
    known = certified(block, marginals).tolist()
    f, children = block.foyers, block.enfants
    children_rows = np.append(f.enfant, len(children.foyer)).tolist()
    adult_rows = np.append(f.adulte, len(block.adultes.foyer)).tolist()
    for row in range(len(block)) if rows is None else rows:
        adults = range(adult_rows[row], adult_rows[row + 1])
        membres = [
            _adult(block, adult, amounts, examen, None if pseudonyms is None else pseudonyms[adult], known[adult])
            for adult in adults
        ]
        membres += [_child(block, child, rank) for rank, child in enumerate(range(*children_rows[row : row + 2]))]
        aid, since = int(f.aide_logement[row]), int(f.isolement[row])
        yield Foyer(
            numero(block.first + row),
            tuple(membres),
            zone=Zone(int(f.zone[row])),
            regime=Regime(int(f.regime[row])),
            logements=(Logement(Month(2015, 1), StatutLogement(int(f.logement[row]))),),
            aide_logement=dict.fromkeys(months, aid) if aid else {},
            prestations={
                mois: PrestationsMois(
                    allocations_familiales_base_cents=af,
                    complement_familial_cents=cf,
                    allocation_soutien_familial_cents=asf,
                    paje_allocation_base_cents=paje,
                    aspa_cents=aspa,
                )
                for mois, af, cf, asf, paje, aspa in zip(months, *benefits[row], strict=True)
                if af or cf or asf or paje or aspa
            },
            isolements=(Isolement(Month.from_index(since).first_day),) if since else (),
            ressources_connues=tuple(_amounts(amounts, adults, _KNOWN)),
        )


def ressources_of(block: Block, examen: Examen, marginals: Marginals) -> Iterator[list[RessourceMois]]:
    """What the adults of each household receive, but what the dossier holds already."""
    amounts = ressources(block, examen.months, marginals)
    rows = np.append(block.foyers.adulte, len(block.adultes.foyer)).tolist()
    others = [place for place in range(len(NATURES)) if place not in _KNOWN]
    for row in range(len(block)):
        yield list(_amounts(amounts, range(rows[row], rows[row + 1]), others))


def _amounts(amounts: Ressources, adults: range, places: list[int]) -> Iterator[RessourceMois]:
    for adult, personne in zip(adults, ADULTS, strict=False):
        for place in places:
            for mois, cents in zip(amounts.months, amounts.cents[adult, place].tolist(), strict=True):
                if cents:
                    yield RessourceMois(personne, mois, NATURES[place], cents)


def _born(months: int, day: int) -> date:
    return date(months // 12, months % 12 + 1, day)


def _adult(block: Block, row: int, amounts: Ressources, examen: Examen, pseudonym: bytes | None, known: bool) -> Membre:
    a = block.adultes
    permit, ended, leave = int(a.titre_annees[row]), int(a.interrompu[row]), int(a.arret[row])
    day = examen.mois_declaration.first_day
    micro = RegimeNonSalarie(int(a.regime_micro[row])) if a.regime_micro[row] else None
    profit = int(a.benefice[row])
    return Membre(
        ADULTS[a.place[row]],
        Role.CONJOINT if a.place[row] else Role.ALLOCATAIRE,
        _born(int(a.naissance[row]), int(a.jour[row])),
        pseudonym,
        nir_certifie=known,
        nationalite=Nationalite(int(a.nationalite[row])),
        titre_sejour_depuis=date(day.year - permit, day.month, 1) if a.nationalite[row] == Nationalite.AUTRE else None,
        statuts=(PeriodeStatut(Statut.ETUDIANT, date(2015, 1, 1)),) if a.activite[row] == ETUDIANT else (),
        date_arret_travail=Month.from_index(leave).first_day if leave else None,
        interruptions=(InterruptionCertaine(NatureRessource.SALAIRE, Month.from_index(ended).first_day),)
        if ended
        else (),
        benefices_annuels={examen.mois_declaration.year - 1: profit} if profit else {},
        chiffre_affaires=tuple(
            ChiffreAffaires(mois, micro, cents)
            for mois, cents in zip(amounts.months, amounts.chiffre[row].tolist(), strict=True)
            if cents
        )
        if micro is not None
        else (),
    )


def _child(block: Block, row: int, rank: int) -> Membre:
    c = block.enfants
    return Membre(
        f"enfant-{rank + 1}",
        Role.ENFANT,
        _born(int(c.naissance[row]), int(c.jour[row])),
        droit_asf=DroitAsf(int(c.asf[row])),
    )
