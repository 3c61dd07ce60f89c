"""Households as columns: what the compiled rules read.

Three arrays: foyers, persons (by offset) and lines (sparse amounts). Months are counted in a window of nine, from eight
months before the declaration (0) to the month of declaration (8): position k is the month D − 8 + k.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from operator import attrgetter
from struct import Struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from solidarite_server.domain.foyer import (
    Foyer,
    Logement,
    Membre,
    Nationalite,
    Regime,
    RegimeNonSalarie,
    RessourceMois,
    Role,
    SejourHorsFrance,
    Statut,
    StatutLogement,
    Zone,
)
from solidarite_server.domain.month import Month, ReferenceQuarter
from solidarite_server.engine.compiled import is_law
from solidarite_server.engine.natures import RANG
from solidarite_server.legislation import load_legislation
from solidarite_server.legislation.options import Fenetre, LegislationOptions

WINDOW = 9
"""Months D-8 … D."""
_ALL = (1 << WINDOW) - 1
_DAY = timedelta(days=1)

# Categories of lines beyond the natures of resource (1 to 69): benefits of the household …
AF, CF, CF_MAJORATION, ASF, PAJE, PREPARE, ASPA, AIDE_LOGEMENT, NON_COMPTEES = range(100, 109)
# … and yearly facts of a person (balances, values, incomes of a year), in cents.
EPARGNE, LIVRET_A, BATI, TERRAIN, CAPITAUX_ANNEE, CAPITAUX_N2, PROFIT, PROFIT_POSITIF = range(110, 118)
CA_VENTE, CA_SERVICES_BIC, CA_BNC, CA_AGRICOLE = range(120, 124)

FOYER_DTYPE = np.dtype(
    [
        ("group", "<i4"),  # row of the month group
        ("person", "<i4"),  # first row in persons
        ("persons", "<i2"),
        ("line", "<i8"),  # first row in lines
        ("lines", "<i4"),
        ("isole", "<u2"),  # bit k: a period of life alone covers the last day of the month
        ("isolement", "u1", (WINDOW,)),  # by month: months since that period began, the one that opens most; 255 = none
        ("isolement_demande", "u1", (WINDOW,)),  # by month: months from its beginning to the claim of the majoration
        ("hors_france", "<i2"),  # days abroad, of the stay or the year, that touch the month of right; 0 = none
        ("gratuit", "<u2"),  # bit k: housed for free
        ("proprietaire", "<u2"),  # bit k: owner without a loan
        ("sanction", "u1"),  # per cent suspended in the month of right
        ("flags", "u1"),  # F_…
    ]
)
F_MAYOTTE, F_TRANSITION, F_OPTION_CA, F_PLUSIEURS = 1, 2, 4, 8

PERSON_DTYPE = np.dtype(
    [
        ("naissance", "<i4"),  # Month.index
        ("jour", "u1"),
        ("role", "u1"),
        ("asf", "u1"),
        ("nationalite", "u1"),
        ("present", "<u2"),  # bit k: in the household on the last day of the month
        ("grossesse", "<u2"),  # bit k
        ("arret", "<i4"),  # Month.index of the sick leave; 0 = none
        ("titre_annees", "u1"),
        ("heures", "<i2"),
        ("flags", "<u2"),  # P_…
        ("interrompues", "<u8"),  # bit RANG[nature] of each nature interrupted for certain
    ]
)
P_ETUDIANT, P_APPRENTI, P_STAGIAIRE, P_CONGE, P_DETACHE = 1, 2, 4, 8, 16
P_ACTUEL, P_DISPENSE, P_REGULIER, P_DROIT_UE, P_AUTONOME = 32, 64, 128, 256, 512

LINE_DTYPE = np.dtype([("category", "u1"), ("mois", "i1"), ("person", "<i2"), ("cents", "<i8")])
"""mois is the place in the window, -1 when the line is of no month; person is local to the foyer, -1 for all."""

GROUP_DTYPE = np.dtype(
    [("droit", "<i4"), ("declaration", "<i4"), ("rsa_first", "<i4"), ("ppa_first", "<i4"), ("dons", "u1")]
)
"""Foyers examined together: months as Month.index, first reference month of each benefit as a place in the window."""


@dataclass(frozen=True, slots=True)
class FoyerColumns:
    """Households ready to compute. Lines are unique and sorted by (foyer, person, category, month)."""

    foyers: npt.NDArray[np.void]
    """FOYER_DTYPE, one row a household."""
    persons: npt.NDArray[np.void]
    """PERSON_DTYPE, allocataire first."""
    lines: npt.NDArray[np.void]
    """LINE_DTYPE."""
    groups: npt.NDArray[np.void]
    """GROUP_DTYPE."""
    narrow: bool = False
    """Whether the lines are those that the law reads, of the reference months alone."""

    def __len__(self) -> int:
        return len(self.foyers)

    @property
    def nbytes(self) -> int:
        """Size of the inputs, in bytes."""
        return self.foyers.nbytes + self.persons.nbytes + self.lines.nbytes


_LETTERS = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "i8": "q", "u8": "Q"}


def _row(dtype: np.dtype[np.void]) -> Struct:
    """How the values of a row of such a table are written one after the other; an array of u1 is given as bytes."""
    assert dtype.fields is not None
    kinds = [kind for kind, *_ in dtype.fields.values()]
    return Struct("<" + "".join(f"{kind.itemsize}s" if kind.shape else _LETTERS[kind.str[1:]] for kind in kinds))


# numpy takes five times as long to read a row given as a tuple: a third of the layout of one household.
_FOYER, _PERSON, _LINE, _GROUP = map(_row, (FOYER_DTYPE, PERSON_DTYPE, LINE_DTYPE, GROUP_DTYPE))


def _table(rows: Iterable[bytes], dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    return np.frombuffer(bytearray().join(rows), dtype)


@dataclass(frozen=True, slots=True)
class Case:
    """One calculation: a household, its resources, a month of right."""

    foyer: Foyer
    ressources: Sequence[RessourceMois]
    mois_droit: Month
    mois_declaration: Month


_PILOTES = ("06", "10", "34", "64", "85")
PILOTES_DEBUT, _CAF_DEBUT = Month(2024, 10), Month(2025, 3)
_MSA_PPA_DEBUT, _MSA_RSA_DEBUT = Month(2025, 7), Month(2025, 9)


def decalages(foyer: Foyer, declaration: Month, options: LegislationOptions) -> tuple[int, int]:
    """Months between the last reference month and the declaration, for RSA and PPA: 2 since the reform, 1 before.

    CASF R262-7 and CSS R843-1 as amended by décret 2025-185; pilots from October 2024 (décret 2024-693); the MSA from
    July (PPA) and September (RSA) 2025.
    """
    if options.fenetre is not Fenetre.AUTO:
        forced = 2 if options.fenetre is Fenetre.M4_M2 else 1
        return forced, forced
    if foyer.regime is Regime.MSA:
        return (2 if declaration >= _MSA_RSA_DEBUT else 1, 2 if declaration >= _MSA_PPA_DEBUT else 1)
    pilote = foyer.departement in _PILOTES and declaration >= PILOTES_DEBUT
    shift = 2 if pilote or declaration >= _CAF_DEBUT else 1
    return shift, shift


def reference_quarter(
    foyer: Foyer, mois_declaration: Month, options: LegislationOptions | None = None
) -> ReferenceQuarter:
    """The reference months of a household's declaration (those of the RSA, where the MSA's two dates differ)."""
    return ReferenceQuarter(mois_declaration, decalages(foyer, mois_declaration, options or LegislationOptions())[0])


def group_of(
    foyer: Foyer, mois_droit: Month, declaration: Month, options: LegislationOptions
) -> tuple[int, int, int, int, int]:
    """The GROUP_DTYPE row of a household: with whom it is examined."""
    rsa, ppa = decalages(foyer, declaration, options)
    dons = int(declaration < _CAF_DEBUT or options.dons_comptes)
    return mois_droit.index, declaration.index, 6 - rsa, 6 - ppa, dons


def months_read(rsa_first: int, ppa_first: int, *, law: bool) -> range:
    """Places in the window of the months whose lines are read: those of reference, or all for any other reading."""
    return range(min(rsa_first, ppa_first), max(rsa_first, ppa_first) + 3) if law else range(WINDOW)


class _Window(NamedTuple):
    """Days and places of the nine months that end with a declaration."""

    first: int
    """Month.index of the first of them."""
    months: tuple[Month, ...]
    last_days: tuple[date, ...]
    examen: date


@lru_cache(maxsize=256)
def _window(declaration: Month) -> _Window:
    months = tuple(declaration - (WINDOW - 1 - k) for k in range(WINDOW))
    return _Window(months[0].index, months, tuple(month.last_day for month in months), declaration.first_day)


def columns_from(cases: Iterable[Case], options: LegislationOptions) -> FoyerColumns:
    """Lay households out as columns, for these options. The order of the cases is kept."""
    foyers: list[bytes] = []
    persons: list[bytes] = []
    lines: list[bytes] = []
    groups: dict[tuple[int, ...], int] = {}
    narrow = is_law(options)
    for case in cases:
        foyer, declaration = case.foyer, case.mois_declaration
        window = _window(declaration)
        key = group_of(foyer, case.mois_droit, declaration, options)
        membres = ordered(foyer)
        own = _lines(foyer, membres, case.ressources, window, months_read(key[2], key[3], law=narrow))
        isole, isolement, demande = _isolement(foyer, window)
        foyers.append(
            _FOYER.pack(
                groups.setdefault(key, len(groups)),
                len(persons),
                len(membres),
                len(lines),
                len(own),
                isole,
                isolement,
                demande,
                jours_hors_france(foyer.sejours_hors_france, case.mois_droit),
                _months_housed(foyer, window, StatutLogement.HEBERGE_GRATUIT),
                _months_housed(foyer, window, StatutLogement.PROPRIETAIRE),
                _suspension(foyer, case.mois_droit) if foyer.sanctions else 0,
                (F_MAYOTTE if foyer.zone is Zone.MAYOTTE else 0)
                | (F_TRANSITION if foyer.premier_examen_reforme and _transition(foyer, declaration) else 0)
                | (F_OPTION_CA if foyer.option_chiffre_affaires else 0)
                | (F_PLUSIEURS if foyer.sanctions and _plusieurs(case) else 0),
            )
        )
        persons += [_person(membre, window) for membre in membres]
        lines += own
    return FoyerColumns(
        _table(foyers, FOYER_DTYPE),
        _table(persons, PERSON_DTYPE),
        _table(lines, LINE_DTYPE),
        _table((_GROUP.pack(*key) for key in groups), GROUP_DTYPE),
        narrow,
    )


def ordered(foyer: Foyer) -> list[Membre]:
    """Members as the columns hold them: allocataire, partners, then the others in the order of the dossier."""
    return sorted(foyer.membres, key=lambda m: (m.role is not Role.ALLOCATAIRE, m.role is not Role.CONJOINT))


def _transition(foyer: Foyer, declaration: Month) -> bool:
    start = _MSA_RSA_DEBUT if foyer.regime is Regime.MSA else _CAF_DEBUT
    return start <= declaration <= start + 2


def _plusieurs(case: Case) -> bool:
    """Whether more than one person lives in the household in the month of right (cap of a sanction)."""
    day, examen = case.mois_droit.last_day, case.mois_declaration.first_day
    limit = 12 * load_legislation().value("foyer.age_a_charge", case.mois_droit)
    return any(
        m.present_on(examen)
        if m.role is Role.CONJOINT
        else m.role is not Role.ALLOCATAIRE
        and m.present_on(day)
        and not m.autonomie_financiere
        and case.mois_droit.index - (m.date_naissance.year * 12 + m.date_naissance.month - 1) < limit
        for m in case.foyer.membres
    )


def _suspension(foyer: Foyer, mois_droit: Month) -> int:
    return next((s.taux_suspension_pour_cent for s in foyer.sanctions if s.mois == mois_droit), 0)


@lru_cache(maxsize=256)
def _delai(month: Month) -> int:
    return int(load_legislation().value("isolement.delai_demande_mois", month))


@cache
def _places(mask: int) -> tuple[int, ...]:
    """The bits that are set."""
    return tuple(k for k in range(WINDOW) if mask >> k & 1)


_AGES = [bytes(min(255, gap + k) if gap + k >= 0 else 255 for k in range(WINDOW)) for gap in range(-WINDOW, 256)]
"""Months since a period began in each month of the window, 255 at most and before; by how long before the window that
was, from -WINDOW months on."""
_AGES_ARRAY = np.frombuffer(b"".join(_AGES), np.uint8).reshape(-1, WINDOW)

_NEVER, _AT_ONCE = b"\xff" * WINDOW, bytes(WINDOW)


def _isolement(foyer: Foyer, window: _Window) -> tuple[int, bytes, bytes]:
    """Months that a period of life alone covers; by month, the age of the one that opens most, and when it was claimed.

    Each period opens months of its own (R262-2); a claim within the delay moves their end with it.
    """
    if not foyer.isolements:
        return 0, _NEVER, _AT_ONCE
    mask, ages, waits = 0, bytearray(_NEVER), bytearray(_AT_ONCE)
    delai = _delai(window.months[-1])
    for entry in foyer.isolements:
        debut = Month.of(entry.debut).index
        wait = 0 if entry.demande is None else min(255, max(0, Month.of(entry.demande).index - debut))
        opens = min(wait, delai)
        held = _days_held(window, entry.debut, entry.fin)
        since = _AGES[min(max(window.first - debut, -WINDOW), 255) + WINDOW]
        for k in _places(held):
            age = since[k]
            if not mask >> k & 1 or age - opens < ages[k] - min(waits[k], delai):
                ages[k], waits[k] = age, wait
        mask |= held
    return mask, bytes(ages), bytes(waits)


def months_alone(debut: npt.NDArray[np.integer], first: npt.NDArray[np.integer] | int) -> npt.NDArray[np.uint8]:
    """The `isolement` of households with one period that began in `debut`, 0 for none, in windows from `first` on."""
    ages: npt.NDArray[np.uint8] = np.take(_AGES_ARRAY, np.clip(first - debut, -WINDOW, 255) + WINDOW, axis=0)
    return ages


def jours_hors_france(sejours: Sequence[SejourHorsFrance], mois_droit: Month) -> int:
    """Days abroad to weigh for a month of right (CASF R262-5): of the longest stay that touches it, or of its year.

    0 when the allocataire is in France the whole month. Stays that touch or overlap are one; one without a return lasts
    to the end of the month.
    """
    if not sejours:
        return 0
    start, end = mois_droit.first_day, mois_droit.last_day + _DAY
    year, next_year = date(mois_droit.year, 1, 1), date(mois_droit.year + 1, 1, 1)
    longest = in_year = 0
    for depart, retour in _merged(sejours, end):
        in_year += max(0, (min(retour, next_year) - max(depart, year)).days)
        if depart < end and start < retour:
            longest = max(longest, (retour - depart).days)
    return min(max(longest, in_year), 32_767) if longest else 0


def _merged(sejours: Sequence[SejourHorsFrance], end: date) -> list[tuple[date, date]]:
    merged: list[tuple[date, date]] = []
    for depart, retour in sorted((s.depart, s.retour or end) for s in sejours):
        if merged and depart <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], retour)
        elif depart < retour:
            merged.append((depart, retour))
    return merged


def _days_held(window: _Window, debut: date, fin: date | None) -> int:
    """Bit k: the last day of month k lies from `debut` to `fin`, both included."""
    days = window.last_days
    held = _ALL if debut <= days[0] else sum(1 << k for k, day in enumerate(days) if debut <= day)
    if fin is not None and fin < days[-1]:
        held &= sum(1 << k for k, day in enumerate(days) if day <= fin)
    return held


def _logement_of(foyer: Foyer, month: Month) -> Logement | None:
    held = [entry for entry in foyer.logements if entry.debut <= month]
    return max(held, key=lambda entry: entry.debut) if held else None


def _months_housed(foyer: Foyer, window: _Window, statut: StatutLogement) -> int:
    """Bit k: the household is housed so in month k."""
    if len(foyer.logements) == 1 and foyer.logements[0].debut <= window.months[0]:
        return _ALL if foyer.logements[0].statut is statut else 0
    mask = 0
    for k, month in enumerate(window.months):
        held = _logement_of(foyer, month)
        if held is not None and held.statut is statut:
            mask |= 1 << k
    return mask


_STATUTS = {
    Statut.ETUDIANT: P_ETUDIANT,
    Statut.APPRENTI: P_APPRENTI,
    Statut.STAGIAIRE: P_STAGIAIRE,
    Statut.CONGE: P_CONGE,
    Statut.DETACHE: P_DETACHE,
}


def _person(membre: Membre, window: _Window) -> bytes:
    """A row of PERSON_DTYPE."""
    examen, naissance = window.examen, membre.date_naissance
    arrived = naissance if membre.entree is None else max(membre.entree, naissance)
    present = _days_held(window, arrived, None if membre.sortie is None else membre.sortie - _DAY)
    grossesse = 0
    for month in membre.grossesse:
        if 0 <= (k := month.index - window.first) < WINDOW:
            grossesse |= 1 << k
    flags = (
        (P_DISPENSE if membre.dispense_residence else 0)
        | (P_REGULIER if membre.sejour_regulier else 0)
        | (P_DROIT_UE if membre.droit_sejour_ue else 0)
        | (P_AUTONOME if membre.autonomie_financiere else 0)
    )
    if (membre.sortie is None or membre.sortie > examen) and (membre.entree is None or membre.entree <= examen):
        flags |= P_ACTUEL
    for statut in membre.statuts:
        if statut.holds_on(examen):
            flags |= _STATUTS[statut.statut]
    interrompues = 0
    for entry in membre.interruptions:
        if entry.holds_on(examen):
            interrompues |= 1 << int(RANG[entry.nature])
    since = membre.titre_sejour_depuis
    titre = 0 if since is None else examen.year - since.year - ((examen.month, examen.day) < (since.month, since.day))
    return _PERSON.pack(
        naissance.year * 12 + naissance.month - 1,
        naissance.day,
        membre.role,
        membre.droit_asf,
        membre.nationalite or Nationalite.FRANCAISE,
        present,
        grossesse,
        0 if membre.date_arret_travail is None else Month.of(membre.date_arret_travail).index,
        min(max(titre, 0), 255),
        membre.heures_travail_trois_ans,
        flags,
        interrompues,
    )


_PRESTATIONS = (AF, CF, CF_MAJORATION, ASF, PAJE, PREPARE, ASPA)
_montants_prestations = attrgetter(
    "allocations_familiales_base_cents",
    "complement_familial_cents",
    "complement_familial_majoration_cents",
    "allocation_soutien_familial_cents",
    "paje_allocation_base_cents",
    "prepare_cents",
    "aspa_cents",
)
"""Amounts of the benefits of a month, in the order of _PRESTATIONS."""
_CAPITAUX = (EPARGNE, LIVRET_A, BATI, TERRAIN)
_montants_capitaux = attrgetter(
    "epargne_non_productive_cents", "livret_a_cents", "valeur_locative_bati_cents", "valeur_locative_terrain_cents"
)
"""Balances and values of a person, in the order of _CAPITAUX."""
_CHIFFRE_AFFAIRES = {
    RegimeNonSalarie.MICRO_VENTE: CA_VENTE,
    RegimeNonSalarie.MICRO_SERVICES_BIC: CA_SERVICES_BIC,
    RegimeNonSalarie.MICRO_BNC: CA_BNC,
    RegimeNonSalarie.MICRO_AGRICOLE: CA_AGRICOLE,
}


_PERSON_KEY, _CATEGORY_KEY, _NO_MONTH = 1 << 12, 1 << 4, -1
"""Weights of the person and of the category in the key of a line: sorting keys sorts lines."""


def _key(person: int, category: int, k: int) -> int:
    """One number for (person, category, month), each of which may be -1 for none but the category."""
    return (person + 1) * _PERSON_KEY + category * _CATEGORY_KEY + k + 1


@lru_cache(maxsize=1024)
def _month_keys(first: int, read: range) -> dict[Month, int]:
    """What each month read adds to the key of a line; `first` is the Month.index of the window's first month."""
    return {Month.from_index(first + k): _key(-1, 0, k) for k in read}


def _lines(
    foyer: Foyer, membres: Sequence[Membre], ressources: Sequence[RessourceMois], window: _Window, read: range
) -> list[bytes]:
    """Rows of LINE_DTYPE, sums by (person, category, month), in that order; of the months in `read` alone."""
    sums: dict[int, int] = defaultdict(int)
    persons = {membre.personne: place * _PERSON_KEY for place, membre in enumerate(membres, start=1)}
    months = _month_keys(window.first, read)
    for entry in (*ressources, *foyer.ressources_connues) if foyer.ressources_connues else ressources:
        month = months.get(entry.mois)
        if month is not None:
            sums[persons[entry.personne] + entry.nature * _CATEGORY_KEY + month] += entry.montant_cents
    uncounted = any(entry.personnes_non_comptees for entry in foyer.logements)
    for mois, month in months.items():
        if aide := foyer.aide_logement.get(mois, 0):
            sums[AIDE_LOGEMENT * _CATEGORY_KEY + month] += aide
        benefits = foyer.prestations.get(mois)
        if benefits is not None:
            for category, amount in zip(_PRESTATIONS, _montants_prestations(benefits), strict=True):
                if amount:
                    sums[category * _CATEGORY_KEY + month] += amount
        if uncounted and (held := _logement_of(foyer, mois)) is not None:
            sums[NON_COMPTEES * _CATEGORY_KEY + month] += held.personnes_non_comptees
    for place, membre in enumerate(membres):
        _yearly_lines(membre, place, window, read, sums)
    return [
        _LINE.pack(category, key % _CATEGORY_KEY - 1, key // _PERSON_KEY - 1, amount)
        for key, amount in sorted(sums.items())
        # A turnover of zero is declared too: it takes the place of the profit.
        if (category := key % _PERSON_KEY // _CATEGORY_KEY) >= CA_VENTE or amount
    ]


def _yearly_lines(membre: Membre, place: int, window: _Window, read: range, sums: dict[int, int]) -> None:
    for category, amount in zip(_CAPITAUX, _montants_capitaux(membre), strict=True):
        if amount:
            sums[_key(place, category, _NO_MONTH)] += amount
    # Other readings than the law also look at the last positive profit, and at N-2 of the declaration.
    shortcuts = len(read) == WINDOW
    declared = window.examen.year
    if membre.revenus_locatifs or membre.revenus_capitaux:

        def of_year(year: int) -> int:
            return membre.revenus_locatifs.get(year, 0) + membre.revenus_capitaux.get(year, 0)

        if shortcuts:
            sums[_key(place, CAPITAUX_N2, _NO_MONTH)] += of_year(declared - 2)
        for k in read:
            year = window.months[k].year
            sums[_key(place, CAPITAUX_ANNEE, k)] += of_year(year)
            sums[_key(place, CAPITAUX_N2, k)] += of_year(year - 2)
    profits = membre.benefices_annuels
    if profits:
        sums[_key(place, PROFIT, _NO_MONTH)] += max(0, profits.get(declared - 1, profits.get(declared - 2, 0)))
        for k in read if shortcuts else ():
            year = window.months[k].year
            last = (profits[y] for y in (year, year - 1, year - 2) if profits.get(y, 0) > 0)
            sums[_key(place, PROFIT_POSITIF, k)] += next(last, 0)
    for entry in membre.chiffre_affaires:
        k = entry.mois.index - window.first
        if k in read and entry.regime in _CHIFFRE_AFFAIRES:
            sums[_key(place, _CHIFFRE_AFFAIRES[entry.regime], k)] += entry.montant_cents
