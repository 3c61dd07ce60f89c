"""New random households in the schema of the oracle's file (docs/ecarts-openfisca.md), reproducible from a seed."""

from __future__ import annotations

from random import Random
from typing import Any

from solidarite_server.domain.month import Month, months_between

from tests.oracle_live.situation import LOGEMENT, PRESTATIONS, RESSOURCES

FIRST, LAST, REFORM, PILOTS = Month(2019, 1), Month(2026, 11), Month(2025, 3), Month(2024, 10)
OFTEN = ("salaire", "salaire", "salaire", "salaire", "allocation_chomage", "aah", "ij_maladie", "pension_retraite")
EUROS = (40, 150, 450, 900, 1700, 2600)
MONTHS_OF_AMOUNTS = 8


def case(seed: int) -> dict[str, Any]:
    """One household examined in a month of right, without its answers."""
    return _Draw(Random(seed)).case(f"nouveau-{seed}")


class _Draw:
    def __init__(self, random: Random) -> None:
        self.random = random
        span = LAST.index - FIRST.index
        self.droit = FIRST + random.randint(0, span)
        self.months = [str(month) for month in months_between(self.droit - MONTHS_OF_AMOUNTS, self.droit)]

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def euros(self, most: int | None = None) -> float:
        return round(self.random.uniform(0, most or self.random.choice(EUROS)), 2)

    def series(self, most: int | None = None) -> dict[str, float]:
        """The same amount each month, or another one, with holes at times."""
        regular = self.euros(most) if self.chance(0.5) else None
        hole = 0.25 if self.chance(0.4) else 0.0
        return {m: self.euros(most) if regular is None else regular for m in self.months if not self.chance(hole)}

    def since(self) -> list[str]:
        return self.months[self.random.randint(0, MONTHS_OF_AMOUNTS) :]

    def day(self, months_ago: int) -> str:
        """A day of an earlier month, such that an age in months on the first of a month is not in doubt."""
        year, month = divmod(self.droit.index - months_ago, 12)
        return f"{year:04}-{month + 1:02}-{self.random.randint(4, 26):02}"

    def case(self, key: str) -> dict[str, Any]:
        pilot = PILOTS <= self.droit < REFORM and self.chance(0.3)
        shift = 4 if pilot or self.droit >= REFORM else 3
        couple = self.chance(0.4)
        persons = [self.adult("demandeur")]
        if couple:
            persons.append(self.adult("conjoint"))
        persons += [self.child(f"enfant{rank}") for rank in range(1, 1 + self.random.choice((0, 0, 0, 1, 1, 2, 3, 4)))]
        household: dict[str, Any] = {
            "zone": self.random.choice(("metropole", "metropole", "la_reunion", "guadeloupe")),
            "couple": couple,
            "logement": self.housing(),
            "prestations_familiales": self.benefits() if self.chance(0.5) else {},
        }
        if pilot:
            household["experimentation_declaration_preremplie"] = True
        if self.chance(0.04):
            household["aspa"] = self.series(600)
        if not couple and self.chance(0.3):
            household["isolement_recent"] = self.since()
        return {
            "id": key,
            "entitlement_month": str(self.droit),
            "reference_period": {
                "rule": "M-4..M-2" if shift == 4 else "M-3..M-1",
                "months": [str(self.droit - shift + place) for place in range(3)],
            },
            "household": household,
            "persons": persons,
        }

    def housing(self) -> dict[str, Any]:
        housing: dict[str, Any] = {"statut": self.random.choice(tuple(LOGEMENT))}
        if housing["statut"] in ("locataire", "accedant"):
            housing["loyer"] = self.euros(900)
            if self.chance(0.6):
                housing["aide_logement"] = self.series(400)
        return housing

    def benefits(self) -> dict[str, Any]:
        held: dict[str, Any] = {}
        for name in PRESTATIONS:
            if self.chance(0.4):
                held[name] = self.series(300)
        for part, whole in (
            ("allocations_familiales_base", "allocations_familiales_total"),
            ("complement_familial_non_majore", "complement_familial_total"),
        ):
            # What is paid holds the ordinary part, and more at times.
            held.pop(whole, None)
            if part in held:
                more = self.euros(120) if self.chance(0.3) else 0
                held[whole] = {month: round(euros + more, 2) for month, euros in held[part].items()}
        return held

    def adult(self, role: str) -> dict[str, Any]:
        youngest, oldest = (16, 26) if self.chance(0.3) else (25, 66)
        person = self.person(role, role, self.random.randint(12 * youngest, 12 * oldest + 11))
        if self.chance(0.15):
            person["nationalite"] = self.random.choice(("ES", "MA"))
            person["duree_titre_sejour_annees"] = self.random.choice((0, 0.25, 1, 4, 5, 8))
        if self.chance(0.12):
            person[self.random.choice(("etudiant", "apprenti", "stagiaire"))] = True
        if self.chance(0.05):
            person["grossesse"] = self.since()
        if self.chance(0.1):
            person["rsa_jeune_heures_travail"] = True
        if self.chance(0.07):
            years = range(self.droit.year - 3, self.droit.year + 1)
            person["benefices_non_salaries"] = {str(y): self.euros(14_000) for y in years if self.chance(0.6)}
        if self.chance(0.1):
            person["livret_a"] = self.euros(20_000)
            person["epargne_non_productive"] = self.euros(20_000)
        if self.chance(0.08):
            for name in ("revenus_locatifs", "revenus_capitaux_mobiliers"):
                person[name] = {str(self.droit.year - back): self.euros(4_000) for back in range(4)}
        if self.chance(0.75):
            person["ressources"] = self.resources()
        if any(name.startswith("ij_") for name in person["ressources"]) and self.chance(0.8):
            person["date_arret_travail"] = self.day(self.random.randint(0, 9))
        return person

    def child(self, name: str) -> dict[str, Any]:
        person = self.person(name, "enfant", self.random.randint(0, 12 * 26))
        if self.chance(0.5):
            person["ouvre_droit_asf"] = True
        if self.chance(0.03):
            person["autonomie_financiere"] = True
        if self.chance(0.15):
            # Often what a child may well have, at times anything.
            likely = {self.random.choice(("salaire", "pension_alimentaire_percue")): self.series()}
            person["ressources"] = likely if self.chance(0.7) else self.resources()
        if self.chance(0.02):
            person["revenus_locatifs"] = {str(self.droit.year - back): self.euros(4_000) for back in range(4)}
            person["livret_a"] = self.euros(20_000)
        return person

    def person(self, name: str, role: str, months: int) -> dict[str, Any]:
        return {
            "id": name,
            "role": role,
            "date_naissance": self.day(months),
            "nationalite": "FR",
            "ressources": {},
        }

    def resources(self) -> dict[str, dict[str, float]]:
        return {
            self.random.choice(OFTEN) if self.chance(0.7) else self.random.choice(tuple(RESSOURCES)): self.series()
            for _ in range(self.random.choice((1, 1, 2, 3)))
        }
