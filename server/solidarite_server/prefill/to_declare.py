"""What the records cannot know: empty lines shown to the persons whom they may concern (REGULATION §2.1, §2.4).

An empty line asks and never counts. Any other resource may be added all the same.

| line | asked of |
| --- | --- |
| salary, unemployment, pension, daily allowances | whoever could not be prefilled |
| income from work abroad | an adult without any prefilled resource that month |
| maintenance received | the allocataire living without a partner, with a child |
| self-employed income, micro-entreprise | a member with self-employed income in the dossier |
| rents and capital | a member with such income, or savings, in the dossier |
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from solidarite_server.domain.foyer import Foyer, Membre, Role
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.prefill.declaration import Declaration, Line, LineStatus

_BY_HAND = (
    NatureRessource.SALAIRE,
    NatureRessource.IJSS_MALADIE,
    NatureRessource.CHOMAGE,
    NatureRessource.RETRAITE,
)
_ADULTS = (Role.ALLOCATAIRE, Role.CONJOINT)


def lines_to_declare(foyer: Foyer, declaration: Declaration) -> list[Line]:
    """Empty lines for the members present, month by month; none where the declaration already has that line."""
    taken = {line.line_id for line in declaration.lines}
    with_resources = {(line.personne, line.mois) for line in declaration.lines if line.status is not LineStatus.CONNU}
    by_hand = {person.personne for person in declaration.persons if not person.prefilled}
    empty = []
    for mois in declaration.mois_reference:
        for membre in foyer.membres:
            if not membre.present_on(mois.last_day):
                continue
            for nature in _natures(foyer, membre, mois, by_hand, (membre.personne, mois) in with_resources):
                line = Line(membre.personne, mois, nature, LineStatus.A_DECLARER, 0)
                if line.line_id not in taken:
                    empty.append(line)
    return empty


def _natures(
    foyer: Foyer, membre: Membre, mois: Month, by_hand: Collection[str], with_resources: bool
) -> Iterator[NatureRessource]:
    adult = membre.role in _ADULTS
    if membre.personne in by_hand and (adult or membre.pseudonyme is not None):
        yield from _BY_HAND
    if adult and not with_resources:
        yield NatureRessource.ETRANGER_TRAVAIL
    if membre.role is Role.ALLOCATAIRE and _alone_with_a_child(foyer, mois):
        yield NatureRessource.PENSION_ALIMENTAIRE
    if membre.benefices_annuels:
        yield NatureRessource.NON_SALARIE
    if membre.chiffre_affaires:
        yield NatureRessource.MICRO_ENTREPRISE
    if membre.revenus_locatifs or membre.revenus_capitaux or membre.livret_a_cents:
        yield NatureRessource.CAPITAL_FONCIER


def _alone_with_a_child(foyer: Foyer, mois: Month) -> bool:
    present = [membre.role for membre in foyer.membres if membre.present_on(mois.last_day)]
    return Role.ENFANT in present and Role.CONJOINT not in present
