"""Readings of the law: every doubt of the sources is a named option with the documented default."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Any


class ParamDate(IntEnum):
    """Which month's value of a parameter applies (doubt D1)."""

    AS_WRITTEN = 1
    """Each value by its own text: month of right, or month of earnings."""
    DROIT = 2
    REFERENCE = 3


class Fenetre(IntEnum):
    """Which three months found the declaration."""

    AUTO = 0
    """By date, scheme and pilot département."""
    M4_M2 = 1
    M3_M1 = 2


class Calendrier(IntEnum):
    """When the declaration of month M can be filed (doubt D11)."""

    MOIS_ENTIER = 1
    """From the first to the last day of M."""
    JOUR_25 = 2
    """From the first to the 25th of M."""
    LIBRE = 3
    """Whenever: to simulate, and to replay history."""


class RectificationEnAttente(IntEnum):
    """What a rectified line counts for while it is examined (doubt D3)."""

    MONTANT_DECLARE = 1
    """What the household declared: the difference is owed back if the agency rejects it."""
    MONTANT_PREREMPLI = 2
    """What the records say: the difference is paid afterwards if the agency accepts it."""


class CorrectionTardive(IntEnum):
    """What a correction of the records that arrives after the submission does (doubt D4)."""

    AU_CONTROLE = 1
    """Nothing, until a control or the next declaration."""
    RECALCUL = 2
    """The quarter is computed again as soon as the correction is known."""


class ExceptionsPpa(IntEnum):
    """Which events open a frozen prime d'activité (doubt D10; R843-2)."""

    SEPARATION_ET_ISOLEMENT = 1
    """The end of couple life and the entry into isolation; an interruption of resources does not."""
    AUCUNE = 2
    """None: the prime waits for the next declaration."""


class ReadingError(ValueError):
    """A reading that cannot be understood; the text, in French, says what is accepted."""


@dataclass(frozen=True)
class LegislationOptions:
    """A reading of the law. The defaults are the law as the project reads it."""

    def __hash__(self) -> int:
        # Asked for three times a household, and forty fields long.
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Of whole numbers, the same in every process: one instance may travel to another with its hash.
        return hash(tuple(int(getattr(self, f.name)) for f in fields(self)))

    param_date: ParamDate = ParamDate.AS_WRITTEN
    """D1: dating of parameters."""
    fenetre: Fenetre = Fenetre.AUTO
    """Reference months; AUTO follows the reform's calendar."""
    calendrier: Calendrier = Calendrier.MOIS_ENTIER
    """D11: days on which a declaration can be filed."""
    rectification_en_attente: RectificationEnAttente = RectificationEnAttente.MONTANT_DECLARE
    """D3: what a rectified line counts for while it is examined."""
    correction_tardive: CorrectionTardive = CorrectionTardive.AU_CONTROLE
    """D4: whether a correction known after the submission has the quarter computed again."""
    exceptions_ppa: ExceptionsPpa = ExceptionsPpa.SEPARATION_ET_ISOLEMENT
    """D10: events that open a frozen prime d'activité."""
    plancher_mensuel_rsa: bool = False
    """D2: floor each montant intermédiaire at 0 before averaging; default, the average only."""
    aah_professionnelle: bool = True
    """D6: AAH counts as work income of the prime d'activité from 29 SMIC hours on."""
    invalidite_professionnelle: bool = False
    """D6: so do invalidity pensions and work-accident annuities; abolished since 2018."""
    mayotte: bool = True
    """D7: amounts and rules of Mayotte, half of the métropole's and the bonus bounds of 2018; without it, those of the
    métropole."""
    dons_comptes: bool = False
    """D8: gifts of relatives still count for the RSA after February 2025 (R262-11 keeps some); default, none does."""
    prestations_brutes: bool = False
    """D9: family benefits count gross of CRDS, what was paid being net; default, as paid."""
    crds: bool = True
    """D12: CRDS on the prime d'activité."""
    chiffre_affaires_recent: bool = False
    """D13: the quarter of the turnover of micro-entreprises stays M-3..M-1; default, the reference months."""
    clause_transition: bool = True
    """The lower mean of RSA resources at the first examination under M-4..M-2 (décret 2025-185)."""
    sanctions: bool = True
    """Suspended shares reduce the RSA paid (décret 2025-478)."""
    mois_negatifs_a_zero: bool = True
    """A negative month counts for 0 (R262-7 III)."""
    composition_mensuelle: bool = True
    """RSA composition, housing and benefits month by month (R262-4); otherwise those of the month of right."""
    enfant_compte_a_la_naissance: bool = True
    """A child counts from the month of birth on; otherwise, once born, in every month, and those before birth open
    the majoration as a pregnancy does."""
    exclusion_exacte_a_charge: bool = True
    """A dependant is left out when his or her resources reach the increase brought (R262-3); otherwise the shortcut of
    40 % of the base amount, judged in each reference month as if it were examined; who is left out then opens no right
    below 25, and his or her minima sociaux stay among the resources of the RSA."""
    neutralisation_automatique: bool = False
    """Interruption guessed from the amounts of the month of right and the month before, daily allowances together;
    otherwise from the dossier."""
    activite_sur_trois_derniers_mois: bool = False
    """Conditions on work and on students look at M-3..M-1 whatever the reference months."""
    isolement_dix_huit_mois: bool = False
    """Majoration open for 18 months after the isolation instead of 12."""
    asf_toujours_un_parent: bool = False
    """ASF counted at 22.5 % of the BMAF per child even when both parents are missing."""
    cf_majoration_exclue: bool = False
    """The increase of the complément familial is never counted."""
    paje_exclusions: bool = True
    """PAJE base excluded in the month of birth and for isolated parents of a newborn (R262-11 2°)."""
    residence_d_un_seul: bool = False
    """Both adults count as soon as one of them fulfils the residence condition; for the prime, as soon as any member
    does, children included."""
    conjoint_ouvre_a_un_etudiant: bool = False
    """A student has the RSA through a partner who is none (L262-4 3° looks at the beneficiary)."""
    grossesse_ouvre_droit: bool = True
    """An expected child opens the RSA below 25 (L262-4 1°); otherwise only for a person alone."""
    livret_a_a_son_taux: bool = True
    """The livret A counts by the interest it produces; otherwise as capital without income, at 3 % (R132-1)."""
    benefice_dernier_positif: bool = False
    """Self-employed: last positive profit of the year, Y-1 and Y-2; otherwise last complete year."""
    capital_ppa_par_mois: bool = True
    """N-2 income by the year of each reference month (R843-1: of the month studied); otherwise by the year of the
    declaration."""
    maladie_selon_versements: bool = False
    """Sick pay is work income when none was paid three months earlier, or with wages in the month; otherwise by the
    date of the stoppage (R844-1)."""
    age_au_premier_du_mois: bool = False
    """Ages are read on the first day of each month; otherwise on the last (R262-4)."""
    age_ppa_par_mois: bool = False
    """Any member of 18, children included, opens the prime, month by month; otherwise the adult at work, at the
    examination (L842-2 1°)."""
    proprietaire_toujours_au_forfait: bool = False
    """An owner who receives a housing aid counts for the whole forfait logement; otherwise for the aid, within it
    (R262-9 speaks of the owner without aid)."""
    stagiaire_ouvre_rsa: bool = False
    """A trainee opens the RSA (L262-4 3° says no)."""
    jeune_actif_apres_dix_huit_ans: bool = False
    """The RSA jeune actif opens at 19 instead of 18 (L262-7-1)."""
    enfant_exclu_ouvre_majoration: bool = False
    """A child left out for his or her resources (R262-3) still prolongs the majoration until 3."""
    majoration_ouvre_droit: bool = False
    """The majoration pour isolement opens both rights whatever the age, the right of residence of a European (L262-6)
    and the work (L842-1)."""

    @classmethod
    def law(cls) -> LegislationOptions:
        """The law, with the documented defaults."""
        return cls()

    @classmethod
    def openfisca(cls) -> LegislationOptions:
        """The simplifications of OpenFisca-France 176.1.8, each by its name, to compare case by case."""
        return cls(
            param_date=ParamDate.REFERENCE,
            mayotte=False,
            clause_transition=False,
            sanctions=False,
            mois_negatifs_a_zero=False,
            composition_mensuelle=False,
            enfant_compte_a_la_naissance=False,
            exclusion_exacte_a_charge=False,
            neutralisation_automatique=True,
            activite_sur_trois_derniers_mois=True,
            isolement_dix_huit_mois=True,
            asf_toujours_un_parent=True,
            cf_majoration_exclue=True,
            paje_exclusions=False,
            residence_d_un_seul=True,
            conjoint_ouvre_a_un_etudiant=True,
            grossesse_ouvre_droit=False,
            benefice_dernier_positif=True,
            maladie_selon_versements=True,
            age_au_premier_du_mois=True,
            age_ppa_par_mois=True,
            proprietaire_toujours_au_forfait=True,
            stagiaire_ouvre_rsa=True,
            jeune_actif_apres_dix_huit_ans=True,
            enfant_exclu_ouvre_majoration=True,
            majoration_ouvre_droit=True,
        )

    def changed(self) -> dict[str, str]:
        """Options that differ from the documented defaults, by name and text: `named` reads them back."""
        texts = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                texts[f.name] = str(value).lower() if isinstance(value, bool) else value.name
        return texts

    @classmethod
    def named(cls, values: Mapping[str, str]) -> LegislationOptions:
        """Options from their names and texts; KeyError names an unknown option, ValueError an unknown value."""
        return cls.law().with_named(values)

    def with_named(self, values: Mapping[str, str]) -> LegislationOptions:
        """The same reading but for some options, by name and text; errors as those of `named`."""
        known = {f.name: f for f in fields(self)}
        chosen: dict[str, Any] = {}
        for name, text in values.items():
            default = known[name].default
            if isinstance(default, bool):
                chosen[name] = {"true": True, "false": False}.get(text)
            else:
                chosen[name] = type(default).__members__.get(text)  # type: ignore[union-attr]
            if chosen[name] is None:
                raise ValueError(name)
        return replace(self, **chosen)

    @classmethod
    def read(cls, text: str) -> LegislationOptions:
        """A reading written `law` or `openfisca`, then `option=VALEUR`, separated by commas; ReadingError otherwise."""
        reading, named = cls.law(), {}
        for place, part in enumerate(filter(None, (part.strip() for part in text.split(",")))):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals and place == 0 and name in ("law", "openfisca"):
                reading = cls.openfisca() if name == "openfisca" else reading
            elif name not in values_of() or not equals:
                close = difflib.get_close_matches(name, values_of(), n=1)
                hint = f" (peut-être {close[0]} ?)" if close else " (la liste : solidarite legislation options)"
                raise ReadingError(f"option inconnue{hint} ; attendu : law ou openfisca, puis option=VALEUR")
            elif value not in values_of()[name]:
                raise ReadingError(f"{name} accepte {' ou '.join(values_of()[name])}")
            else:
                named[name] = value
        return reading.with_named(named)


def values_of() -> dict[str, tuple[str, ...]]:
    """The values that each option accepts, by name, the default first."""
    found: dict[str, tuple[str, ...]] = {}
    for f in fields(LegislationOptions):
        if isinstance(f.default, bool):
            found[f.name] = ("true", "false") if f.default else ("false", "true")
        else:
            others = [member for member in type(f.default) if member != f.default]  # type: ignore[union-attr]
            found[f.name] = tuple(member.name for member in (f.default, *others))
    return found
