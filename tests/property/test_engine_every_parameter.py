"""Each number of the legislation files on the last day before, and on the first day of, each of its changes.

The list is that of the files. A number that never changed since 2019 is given a change of its own, so that the date of
every number is proven, and that every number is shown to matter.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from solidarite_server.domain.month import Month
from solidarite_server.engine import Case, FoyerColumns, columns_from, compute_columns
from solidarite_server.engine.parameters import PATHS, table
from solidarite_server.legislation import DatedValue, Legislation, LegislationOptions, Parameter, load_legislation

from tests.reference.generate import case

LAW = load_legislation()
FIRST, LAST = Month(2019, 1), Month(2026, 11)
MADE_UP = Month(2023, 9)
"""Month of the change given to the numbers that never changed."""
LAWFUL = tuple(path for path in LAW.paths if not path.startswith("openfisca."))
OPTIONS = LegislationOptions()
FACTORS = {"seuil_versement": Fraction(30), "etudiant": Fraction(1, 20)}


def changed(path: str) -> Parameter:
    """The parameter, with a change of its own when it never changed: half of its value, or what moves enough rights."""
    parameter = LAW.parameter(path)
    if len([value for value in parameter.values if FIRST <= Month.of(value.since) <= LAST]) > 0:
        return parameter
    last = parameter.values[-1]
    value = last.value * next((factor for name, factor in FACTORS.items() if name in path), Fraction(1, 2))
    return replace(
        parameter, values=(*parameter.values, replace(last, since=MADE_UP.first_day, value=value, text=str(value)))
    )


def changes() -> list[tuple[str, Month]]:
    return [
        (path, Month.of(value.since))
        for path in LAWFUL
        for value in changed(path).values
        if FIRST < Month.of(value.since) <= LAST
    ]


def with_parameter(parameter: Parameter) -> Legislation:
    return Legislation({**{path: LAW.parameter(path) for path in LAW.paths}, parameter.path: parameter})


def frozen(path: str, value: DatedValue) -> Legislation:
    """The legislation in which the parameter always had that value."""
    return with_parameter(replace(changed(path), values=(replace(value, since=date(2000, 1, 1)),)))


@cache
def population(month: Month, count: int) -> FoyerColumns:
    cases = [case(seed, month) for seed in range(900_000, 900_000 + count)]
    return columns_from([Case(foyer, lines, month, month) for foyer, lines, _ in cases], OPTIONS)


def rights(columns: FoyerColumns, legislation: Legislation) -> np.ndarray:
    found = compute_columns(columns, OPTIONS, legislation)
    return np.stack([found.rsa_verse_cents, found.rsa_cents, found.ppa_cents, found.ppa_nette_crds_cents])


@pytest.mark.parametrize(("path", "change"), changes(), ids=str)
def test_a_number_holds_until_the_eve_of_its_change_and_no_longer(path: str, change: Month):
    parameter = changed(path)
    new = next(value for value in parameter.values if Month.of(value.since) == change)
    old = parameter.values[parameter.values.index(new) - 1]
    dated, before, after = with_parameter(parameter), frozen(path, old), frozen(path, new)
    by_earnings = new.applies == "month_of_earnings"
    # By month of earnings: the first declaration all of whose reference months follow the change is four months on, or
    # three before the reform; the month of the change itself still looks at earlier months alone.
    eve, day = (change, change + 4) if by_earnings else (change - 1, change)
    count = 2_500 if change == MADE_UP else 250
    if eve <= LAST:
        assert np.array_equal(rights(population(eve, count), dated), rights(population(eve, count), before))
    if day <= LAST:
        later = next((value for value in parameter.values if change < Month.of(value.since) <= day), None)
        if later is None:
            found = rights(population(day, count), after)
            assert np.array_equal(rights(population(day, count), dated), found)
            assert not np.array_equal(rights(population(day, count), before), found), f"{path} changes nothing"


@pytest.mark.parametrize("path", LAWFUL)
def test_the_rules_read_each_reference_month_by_its_own_value(path: str):
    parameter = changed(path)
    scale = 100 if parameter.unit.startswith("EUR") else 1
    row = PATHS.index(path)
    for change in (Month.of(value.since) for value in parameter.values if FIRST < Month.of(value.since) <= LAST):
        for droit in (change - 1, change, change + 1, change + 2, change + 3, change + 4):
            months = (droit - 4, droit - 3, droit - 2, droit)
            for rsa in (True, False):
                read = table(with_parameter(parameter), droit, months[0], OPTIONS, rsa=rsa)[row]
                for column, month in enumerate(months):
                    looked_at = droit if parameter.values[-1].applies == "month_of_right" else month
                    expected = parameter.at(looked_at).value * scale
                    assert Fraction(float(expected)) == Fraction(read[column])


def test_every_parameter_of_the_rules_has_its_file_and_every_file_its_parameter():
    assert sorted(PATHS) == sorted(LAW.paths)
