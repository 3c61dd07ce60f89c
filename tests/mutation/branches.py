"""Which outcomes of which conditions of the rules the random households reach.

    NUMBA_DISABLE_JIT=1 python -m tests.mutation.branches --count 2000

prints the outcomes never reached under the law, then those that the households of OpenFisca's file do not reach either
under its simplifications; ends with 1 when there are any.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from solidarite_server.cases.careful import case_from
from solidarite_server.domain.foyer import Role
from solidarite_server.engine import compute_many, explain
from solidarite_server.legislation import Fenetre, LegislationOptions

from tests.mutation.source import watch_conditions
from tests.reference.generate import Case, case
from tests.rules.causes import NAMES, with_simplifications
from tests.rules.test_oracle import households, strange

READINGS = (
    LegislationOptions(crds=False),
    LegislationOptions(plancher_mensuel_rsa=True),
    LegislationOptions(aah_professionnelle=False),
    LegislationOptions(invalidite_professionnelle=True),
    LegislationOptions(prestations_brutes=True),
    LegislationOptions(chiffre_affaires_recent=True),
    LegislationOptions(livret_a_a_son_taux=False),
    LegislationOptions(capital_ppa_par_mois=False),
    LegislationOptions(fenetre=Fenetre.M3_M1),
    *(with_simplifications(frozenset({name})) for name in NAMES),
)
"""The doubts that the rules can read otherwise, and each simplification of OpenFisca alone."""

OUT_OF_REACH = {
    # The trace holds more steps than the largest household admitted leaves.
    ("n < trace.shape[0]", False),
}


def _with_twins(given: Case, rank: int) -> list[Case]:
    """The household once its second dependant is like the first but for one thing: who is weighed first (R262-3)?"""
    foyer, lines, month = given
    dependants = [membre for membre in foyer.membres if membre.role not in (Role.ALLOCATAIRE, Role.CONJOINT)]
    if len(dependants) < 2:
        return []
    first, second = dependants[:2]
    apart: dict[str, Any] = (
        {},
        {"date_naissance": second.date_naissance},
        {"date_naissance": first.date_naissance.replace(day=1 + rank % 28)},
        {"role": second.role},
        {"droit_asf": second.droit_asf},
    )[rank % 5]
    twin = replace(first, personne=second.personne, **apart)
    members = tuple(twin if membre is second else membre for membre in foyer.membres)
    shared = [replace(line, personne=second.personne) for line in lines if line.personne == first.personne]
    others = [line for line in lines if line.personne != second.personne]
    known = [line for line in foyer.ressources_connues if line.personne not in (first.personne, second.personne)]
    return [(replace(foyer, membres=members, ressources_connues=tuple(known)), [*others, *shared], month)]


def unreached(seeds: Iterable[int]) -> list[str]:
    """Outcomes of conditions that no household reached, under the law, its doubts and the simplifications."""
    seen: Counter[tuple[int, bool]] = Counter()

    def tell(number: int, outcome: object) -> object:
        seen[number, bool(outcome)] += 1
        return outcome

    places = watch_conditions(tell)
    cases = [case(seed) for seed in seeds]
    compute_many(cases)
    compute_many([alike for rank, given in enumerate(cases) for alike in _with_twins(given, rank)])
    for options in READINGS:
        compute_many(cases[: len(cases) // 4], options=options)
    compute_many([*households(), *map(case_from, strange())], options=LegislationOptions.openfisca())
    explain(*cases[0])
    return [
        f"{place} is never {outcome}"
        for n, place in places.items()
        for outcome in (True, False)
        if not seen[n, outcome] and (place.partition(": ")[2], outcome) not in OUT_OF_REACH
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    asked = parser.parse_args()
    found = unreached(range(asked.first, asked.first + asked.count))
    print("\n".join(found) or "Every outcome of every condition is reached.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
