"""The household dossier: everything the law reads that the DRM does not carry.

Facts are dated: members come and go by day (composition is read on the last day of each month, CASF R262-4),
statuses and housing hold from one month to another, benefits are amounts of one month.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum

from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource


class Zone(IntEnum):
    """Where the household lives."""

    METROPOLE = 1
    GUADELOUPE = 2
    MARTINIQUE = 3
    GUYANE = 4
    LA_REUNION = 5
    MAYOTTE = 6


class Regime(IntEnum):
    """Who pays: the reform reached the MSA later than the Caf (REGULATION §1.1)."""

    CAF = 1
    MSA = 2


class Role(IntEnum):
    ALLOCATAIRE = 1
    CONJOINT = 2
    """Conjoint, concubin or PACS partner."""
    ENFANT = 3
    AUTRE_A_CHARGE = 4


class Nationalite(IntEnum):
    FRANCAISE = 1
    EEE_SUISSE = 2
    AUTRE = 3


class Statut(IntEnum):
    """Statuses that close or condition a right (CASF L262-4 3° and 4°, CSS L842-2)."""

    ETUDIANT = 1
    APPRENTI = 2
    STAGIAIRE = 3
    CONGE = 4
    """Congé parental, sabbatique, sans solde, disponibilité."""
    DETACHE = 5
    """Posted worker."""


class StatutLogement(IntEnum):
    LOCATAIRE = 1
    PROPRIETAIRE = 2
    """Owner without a loan left."""
    ACCEDANT = 3
    """Owner repaying a loan."""
    HEBERGE_GRATUIT = 4
    HEBERGE_PARTICIPATION = 5
    SANS_DOMICILE = 6


class DroitAsf(IntEnum):
    """Whether a child opens the allocation de soutien familial, and through how many missing parents."""

    AUCUN = 0
    UN_PARENT = 1
    DEUX_PARENTS = 2


class RegimeNonSalarie(IntEnum):
    """How self-employed income is known (REGULATION §5.1)."""

    REEL = 1
    """BIC or BNC profits by year."""
    MICRO_VENTE = 2
    MICRO_SERVICES_BIC = 3
    MICRO_BNC = 4
    MICRO_AGRICOLE = 5


@dataclass(frozen=True, slots=True)
class PeriodeStatut:
    """A status held from `debut` to `fin`, both included; no `fin`, still held."""

    statut: Statut
    debut: date
    fin: date | None = None

    def holds_on(self, day: date) -> bool:
        return self.debut <= day and (self.fin is None or day <= self.fin)


@dataclass(frozen=True, slots=True)
class InterruptionCertaine:
    """A resource whose interruption is certain (CASF R262-13)."""

    nature: NatureRessource
    date_interruption: date
    """First day without it."""
    revenu_remplacement: bool = False
    """A replacement income took over: nothing is neutralised."""
    demission_ecartee: bool = False
    """The conseil départemental excluded it by individual decision (resignation)."""
    date_reprise: date | None = None
    """First day the resource is received again: it counts from the next examination on. None: still interrupted."""

    def holds_on(self, examen: date) -> bool:
        """Whether the resource is neutralised at an examination."""
        held = self.date_interruption <= examen and (self.date_reprise is None or examen < self.date_reprise)
        return held and not self.revenu_remplacement and not self.demission_ecartee


@dataclass(frozen=True, slots=True)
class ChiffreAffaires:
    """Turnover of one month, before the tax abatement of its regime."""

    mois: Month
    regime: RegimeNonSalarie
    montant_cents: int


@dataclass(frozen=True, slots=True)
class Membre:
    """One person of the household."""

    personne: str
    """Reference inside the dossier, for example `demandeur`. Never a NIR."""
    role: Role
    date_naissance: date
    pseudonyme: bytes | None = None
    """The 16-byte pseudonym that links the DRM records; None when nothing can be linked."""
    nir_certifie: bool = True
    entree: date | None = None
    """First day in the household; None: always, or since birth."""
    sortie: date | None = None
    """First day no longer in the household; None: still there."""
    nationalite: Nationalite = Nationalite.FRANCAISE
    titre_sejour_depuis: date | None = None
    """Since when a residence permit allowing work is held without break."""
    dispense_residence: bool = False
    """Refugee, subsidiary protection, stateless, carte de résident (L262-4 2°)."""
    sejour_regulier: bool = True
    droit_sejour_ue: bool = True
    """EU/EEA/Swiss: right of residence and three months' residence, or at work (L262-6)."""
    statuts: tuple[PeriodeStatut, ...] = ()
    grossesse: tuple[Month, ...] = ()
    """Months of declared pregnancy."""
    heures_travail_trois_ans: int = 0
    """Hours worked in the three years before the claim (RSA jeune actif, D262-25-1)."""
    date_arret_travail: date | None = None
    """First day of the current sick leave or work accident."""
    autonomie_financiere: bool = False
    """A child earning more than 55 % of the SMIC: not a dependant at all."""
    droit_asf: DroitAsf = DroitAsf.AUCUN
    interruptions: tuple[InterruptionCertaine, ...] = ()
    benefices_annuels: Mapping[int, int] = field(default_factory=dict)
    """Self-employed profits by year, in cents (regime REEL)."""
    chiffre_affaires: tuple[ChiffreAffaires, ...] = ()
    revenus_locatifs: Mapping[int, int] = field(default_factory=dict)
    """Net taxable rents by year, in cents."""
    revenus_capitaux: Mapping[int, int] = field(default_factory=dict)
    """Taxable investment income by year, in cents."""
    livret_a_cents: int = 0
    epargne_non_productive_cents: int = 0
    """Capital that produces no income (R132-1: 3 % a year)."""
    valeur_locative_bati_cents: int = 0
    """Yearly rental value of unlet buildings, main home excepted (R132-1: 50 %)."""
    valeur_locative_terrain_cents: int = 0
    """Yearly rental value of unlet land (R132-1: 80 %)."""

    def present_on(self, day: date) -> bool:
        """Whether the person is born and in the household on that day."""
        arrived = self.date_naissance if self.entree is None else max(self.entree, self.date_naissance)
        return arrived <= day and (self.sortie is None or day < self.sortie)


@dataclass(frozen=True, slots=True)
class PrestationsMois:
    """Benefits that the Caf paid in one month, in cents, as paid (net of CRDS, doubt D9)."""

    allocations_familiales_base_cents: int = 0
    allocations_familiales_majoration_age_cents: int = 0
    complement_familial_cents: int = 0
    """Ordinary rate part."""
    complement_familial_majoration_cents: int = 0
    """What the increased rate adds to the ordinary one."""
    allocation_soutien_familial_cents: int = 0
    """All children together."""
    paje_allocation_base_cents: int = 0
    prepare_cents: int = 0
    aspa_cents: int = 0
    autres_exclues_cents: int = 0
    """Benefits that count for neither right: birth prime, CMG, ARS, AEEH, AJPP, moving primes."""


@dataclass(frozen=True, slots=True)
class Logement:
    """Housing held from a month on, until the next entry."""

    debut: Month
    statut: StatutLogement
    personnes_non_comptees: int = 0
    """Members not counted for the housing benefit, dropped from the head count (R262-10)."""


@dataclass(frozen=True, slots=True)
class Isolement:
    """A period of life alone (widowed, separated, divorced, single); each opens its own months of majoration."""

    debut: date
    fin: date | None = None
    demande: date | None = None
    """When the majoration was claimed; None: at once. Beyond six months, it lasts less (R262-2)."""


@dataclass(frozen=True, slots=True)
class SejourHorsFrance:
    """A stay of the allocataire outside France. A stay under a contract of L262-34 or L262-35 does not count."""

    depart: date
    """First day of absence."""
    retour: date | None = None
    """First day back in France; None: still away."""


@dataclass(frozen=True, slots=True)
class Sanction:
    """Suspended share of the RSA paid for one month (décret 2025-478)."""

    mois: Month
    taux_suspension_pour_cent: int


@dataclass(frozen=True, slots=True)
class RessourceMois:
    """An amount of one nature, received by one member in one month."""

    personne: str
    mois: Month
    nature: NatureRessource
    montant_cents: int


@dataclass(frozen=True, slots=True)
class Foyer:
    """A household dossier. Validity by month is carried by each fact."""

    numero_allocataire: str
    membres: tuple[Membre, ...]
    zone: Zone = Zone.METROPOLE
    regime: Regime = Regime.CAF
    departement: str = ""
    """Code of the département, for the pilots of October 2024 (06, 10, 34, 64, 85)."""
    logements: tuple[Logement, ...] = ()
    aide_logement: Mapping[Month, int] = field(default_factory=dict)
    """Housing benefit paid, cents by month."""
    prestations: Mapping[Month, PrestationsMois] = field(default_factory=dict)
    isolements: tuple[Isolement, ...] = ()
    sanctions: tuple[Sanction, ...] = ()
    sejours_hors_france: tuple[SejourHorsFrance, ...] = ()
    ressources_connues: tuple[RessourceMois, ...] = ()
    """AAH and its supplement, which the Caf pays itself and does not ask for."""
    premiere_demande: Month | None = None
    """Month of the first claim; None when the right is older than any declaration computed."""
    premier_examen_reforme: bool = False
    """Whether this is the household's first examination under M-4..M-2 (transition clause, décret 2025-185)."""
    option_chiffre_affaires: bool = False
    """Self-employed: opted for the turnover of the quarter (R845-2, R262-19)."""

    def membre(self, personne: str) -> Membre:
        """Find a member by reference; KeyError when there is none."""
        for candidate in self.membres:
            if candidate.personne == personne:
                return candidate
        raise KeyError(personne)
