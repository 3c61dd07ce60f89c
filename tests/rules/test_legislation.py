"""The dated parameters: strict loader, values of the sheet, readings of their dates."""

from fractions import Fraction
from pathlib import Path

import pytest
from solidarite_server.domain.month import Month
from solidarite_server.legislation import Legislation, LegislationError, LegislationOptions, load_legislation

GOOD = """\
description: A number
unit: EUR/mois
applies: month_of_right
values:
  2018-04-01: {value: "550.93", source: {title: "Décret 2018-324"}}
  2019-04-01: {value: "559.74", source: {title: "Décret 2019-400"}}
"""


def load(folder: Path, text: str) -> Legislation:
    (folder / "number.yaml").write_text(text, "utf-8")
    return load_legislation(folder)


def test_a_value_holds_from_its_day_to_the_day_before_the_next(tmp_path: Path):
    legislation = load(tmp_path, GOOD)
    assert legislation.value("number", Month(2019, 3)) == Fraction("550.93")
    assert legislation.value("number", Month(2019, 4)) == Fraction("559.74")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("unit: EUR/mois\n", "unit: EUR/mois\ncolour: blue\n"), "unknown key colour"),
        (("unit: EUR/mois\n", ""), "missing unit"),
        ((', source: {title: "Décret 2019-400"}', ""), "missing source"),
        (('{title: "Décret 2019-400"}', '{title: ""}'), "needs a source"),
        (("2018-04-01", "2019-12-01"), "not in order"),
        (("2018-04-01", "2019-02-01"), "a gap"),
        (("2018-04-01", "2018-09-02"), "a gap"),
        (('title: "Décret 2019-400"', 'titre: "Décret 2019-400"'), "missing title"),
        (('{value: "559.74", source: {title: "Décret 2019-400"}}', "559.74"), "a mapping is expected"),
        (("values:", "valeurs:"), "missing values"),
        (("2019-04-01", "2018-04-01"), "written twice"),
        (('"550.93"', "550.93"), "in quotes"),
        (('"550.93"', '"a lot"'), "not a decimal"),
        (("month_of_right", "whenever"), "applies is one of"),
        (("2018-04-01", "april"), "keyed by its date"),
    ],
)
def test_the_loader_refuses_a_doubtful_file_and_says_why(change: tuple[str, str], says: str, tmp_path: Path):
    with pytest.raises(LegislationError, match=says):
        load(tmp_path, GOOD.replace(*change, 1))


def test_every_parameter_has_a_value_in_every_month_since_2019():
    legislation = load_legislation()
    for path in legislation.paths:
        for index in range(Month(2019, 1).index, Month(2026, 12).index):
            legislation.value(path, Month.from_index(index))


def test_a_reform_is_an_overlay_and_changes_the_version():
    from datetime import date

    base = load_legislation()
    reform = base.overlaid({"ppa.pente": {date(2027, 1, 1): "0.62"}})
    assert reform.value("ppa.pente", Month(2026, 12)) == Fraction("0.5985")
    assert reform.value("ppa.pente", Month(2027, 1)) == Fraction("0.62")
    assert reform.version != base.version
    with pytest.raises(LegislationError, match="unknown parameter"):
        base.overlaid({"ppa.slope": {date(2027, 1, 1): "0.62"}})


def test_options_are_read_by_name_and_an_unknown_one_is_refused():
    assert LegislationOptions.named({"plancher_mensuel_rsa": "true", "param_date": "DROIT"}) == LegislationOptions(
        plancher_mensuel_rsa=True, param_date=type(LegislationOptions().param_date).DROIT
    )
    with pytest.raises(KeyError):
        LegislationOptions.named({"nonsense": "true"})
    with pytest.raises(ValueError, match="mayotte"):
        LegislationOptions.named({"mayotte": "perhaps"})
