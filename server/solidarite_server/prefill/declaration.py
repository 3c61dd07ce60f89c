"""The prefilled declaration: lines by month, person and nature, each with the records behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from solidarite_server.domain.foyer import Foyer, Membre, RessourceMois, Role
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import StoredRecord


class DeclarationState(IntEnum):
    """Where a declaration stands. The numbers are those of the contract."""

    PREREMPLIE = 1
    EN_COURS = 2
    VALIDEE = 3
    EN_VERIFICATION = 4
    REVISEE = 5
    NON_RETOURNEE = 6
    CLOSE = 7


class LineStatus(IntEnum):
    """Where a line stands. The numbers are those of the contract."""

    PREREMPLI = 1
    CONFIRME = 2
    RECTIFIE = 3
    ACCEPTE = 4
    REJETE = 5
    PARTIEL = 6
    AJOUTE = 7
    A_DECLARER = 8
    CONNU = 9


@dataclass(frozen=True, slots=True)
class Line:
    """An amount of one nature, for one member and one reference month."""

    personne: str
    mois: Month
    nature: NatureRessource
    status: LineStatus
    montant_retenu_cents: int
    """What counts for the entitlements."""
    montant_prerempli_cents: int | None = None
    """Sum of the records; may be negative. None on lines that no record founds."""
    montant_declare_cents: int | None = None
    records: tuple[StoredRecord, ...] = ()
    zeroed: bool = False
    """Whether a negative sum was brought to zero (CASF R262-7 III)."""
    justification_reference: str = ""
    montant_decide_cents: int | None = None
    """What the agency retained of a rectification, when that is neither the declared nor the prefilled amount."""
    motif: str = ""
    """Why the agency decided so."""
    line_id: str = field(init=False)
    """Stable over the life of the declaration: `personne/YYYY-MM/NATURE`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "line_id", f"{self.personne}/{self.mois}/{self.nature.name}")

    @property
    def signed_cents(self) -> int:
        """The amount that stands for the line before a negative month is brought to zero."""
        if self.status in (LineStatus.RECTIFIE, LineStatus.ACCEPTE, LineStatus.AJOUTE):
            return self.montant_declare_cents or 0
        if self.status is LineStatus.PARTIEL:
            return self.montant_decide_cents or 0
        if self.status is LineStatus.CONNU:
            return self.montant_retenu_cents
        return self.montant_prerempli_cents or 0


@dataclass(frozen=True, slots=True)
class Signal:
    """Something worth a look; it informs and never blocks."""

    code: str
    message_fr: str
    personne: str
    mois: Month
    line_id: str = ""


@dataclass(frozen=True, slots=True)
class PersonPrefill:
    """Whether a member could be prefilled, and otherwise why not, in plain words."""

    personne: str
    prefilled: bool
    message_fr: str = ""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A quarterly declaration as it stands."""

    numero_allocataire: str
    mois_declaration: Month
    mois_reference: tuple[Month, Month, Month]
    state: DeclarationState
    persons: tuple[PersonPrefill, ...]
    lines: tuple[Line, ...]
    known_at_us: int
    """The instant of knowledge of the records, in microseconds since 1970."""
    signals: tuple[Signal, ...] = ()


def prefill(
    foyer: Foyer,
    mois_declaration: Month,
    mois_reference: tuple[Month, Month, Month],
    records: Iterable[StoredRecord],
    *,
    known_at_us: int,
) -> Declaration:
    """Prefill a declaration from the effective records of the household's members.

    `records` may hold more than needed: other persons, other months, superseded records are left out. Persons without
    a certified NIR get no line (REGULATION §2.6). Amounts paid by the Caf stand apart as known.
    """
    by_person: dict[bytes, list[StoredRecord]] = defaultdict(list)
    for stored in records:
        record = stored.record
        if stored.effective and record.certified and record.mois_rattachement in mois_reference:
            by_person[record.person].append(stored)
    lines: list[Line] = []
    persons = []
    for membre in foyer.membres:
        persons.append(_person_prefill(membre))
        if persons[-1].prefilled and membre.pseudonyme is not None:
            lines.extend(_prefilled_lines(membre.personne, by_person[membre.pseudonyme]))
    lines.extend(
        Line(known.personne, known.mois, known.nature, LineStatus.CONNU, known.montant_cents)
        for known in foyer.ressources_connues
        if known.mois in mois_reference
    )
    return Declaration(
        numero_allocataire=foyer.numero_allocataire,
        mois_declaration=mois_declaration,
        mois_reference=mois_reference,
        state=DeclarationState.PREREMPLIE,
        persons=tuple(persons),
        lines=settled(lines, foyer),
        known_at_us=known_at_us,
    )


def settled(lines: Iterable[Line], foyer: Foyer, *, prefilled_until_decided: bool = False) -> tuple[Line, ...]:
    """Set what counts of each line, a negative month brought to zero, in order of month, member and nature.

    Amounts paid for work, or in lieu of it by the employer, are one sum a month, zeroed as a whole; the other natures
    are each zeroed on their own (CASF R262-7 III, CSS R843-1). A rectified line counts for what was declared, or, until
    its decision, for what the records say (doubt D3).
    """

    def standing(line: Line) -> int:
        if prefilled_until_decided and line.status is LineStatus.RECTIFIE:
            return line.montant_prerempli_cents or 0
        return line.signed_cents

    lines = list(lines)
    professional: dict[tuple[str, Month], int] = defaultdict(int)
    for line in lines:
        if line.nature in _PROFESSIONAL:
            professional[line.personne, line.mois] += standing(line)
    order = {membre.personne: place for place, membre in enumerate(foyer.membres)}
    lines.sort(key=lambda line: (line.mois, order[line.personne], line.nature))
    return tuple(_settled(line, standing(line), professional) for line in lines)


def _settled(line: Line, signed: int, professional: Mapping[tuple[str, Month], int]) -> Line:
    total = professional[line.personne, line.mois] if line.nature in _PROFESSIONAL else signed
    retained, zeroed = (0, True) if total < 0 else (signed, False)
    if (retained, zeroed) == (line.montant_retenu_cents, line.zeroed):
        return line
    return replace(line, montant_retenu_cents=retained, zeroed=zeroed)


def ressources_of(lines: Iterable[Line]) -> list[RessourceMois]:
    """What the engine reads of a declaration: the amounts retained, but those the dossier holds already."""
    return [
        RessourceMois(line.personne, line.mois, line.nature, line.montant_retenu_cents)
        for line in lines
        if line.montant_retenu_cents and line.status is not LineStatus.CONNU
    ]


def _person_prefill(membre: Membre) -> PersonPrefill:
    if membre.pseudonyme is not None and membre.nir_certifie:
        return PersonPrefill(membre.personne, prefilled=True)
    if membre.role in (Role.ALLOCATAIRE, Role.CONJOINT) or membre.pseudonyme is not None:
        message = (
            "Le numéro de sécurité sociale de cette personne n'est pas certifié : rien n'est prérempli. "
            "Toutes ses ressources sont à déclarer, mois par mois."
        )
    else:
        message = "Aucun numéro de sécurité sociale n'est connu : ses ressources éventuelles sont à déclarer."
    return PersonPrefill(membre.personne, prefilled=False, message_fr=message)


_PROFESSIONAL = frozenset(
    {
        NatureRessource.SALAIRE,
        NatureRessource.APPRENTISSAGE,
        NatureRessource.STAGE_FORMATION,
        NatureRessource.ACTIVITE_PARTIELLE,
    }
)


def _prefilled_lines(personne: str, records: Sequence[StoredRecord]) -> list[Line]:
    groups: dict[tuple[Month, NatureRessource], list[StoredRecord]] = defaultdict(list)
    for stored in records:
        groups[stored.record.mois_rattachement, stored.record.nature].append(stored)
    lines = []
    for (mois, nature), group in groups.items():
        amount = sum(stored.record.montant_net_social_cents for stored in group)
        lines.append(
            Line(
                personne,
                mois,
                nature,
                LineStatus.PREREMPLI,
                montant_retenu_cents=amount,
                montant_prerempli_cents=amount,
                records=tuple(sorted(group, key=lambda s: (s.record.date_versement, s.record.record_id))),
            )
        )
    return lines
