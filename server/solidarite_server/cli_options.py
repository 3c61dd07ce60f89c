"""What several verbs of the server's command line read the same way."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from solidarite_server.domain.month import Month
from solidarite_server.legislation import LegislationOptions, ReadingError


def parse_reading(text: str) -> str:
    """Check a reading of the law; the text is kept, for the processes that it is handed to."""
    try:
        LegislationOptions.read(text)
    except ReadingError as error:
        raise typer.BadParameter(str(error)) from None
    return text


Reading = Annotated[
    str,
    typer.Option(
        "--options",
        envvar="SOLIDARITE_READINGS",
        metavar="LECTURE",
        parser=parse_reading,
        help="law : la loi ; openfisca : les simplifications d'OpenFisca-France ; puis option=VALEUR, séparées par des "
        "virgules (solidarite legislation options).",
    ),
]
"""The reading of the law that a verb applies; that of the server's settings in the same environment."""


def parse_month(text: str | Month) -> Month:
    """Read `AAAA-MM`. A default value goes through the parser too, already read."""
    if isinstance(text, Month):
        return text
    try:
        return Month.parse(text)
    except ValueError:
        raise typer.BadParameter("attendu : un mois écrit AAAA-MM") from None


DEFAULT_MONTH = Month(2026, 11)
"""The month that a verb takes when it is given none: the published figures of the simulations are those of this one."""

DeclarationMonth = Annotated[
    Month, typer.Option("--month", metavar="AAAA-MM", parser=parse_month, help="Mois de la déclaration.")
]
Json = Annotated[bool, typer.Option("--json", help="Écrire du JSON.")]


def echo_json(value: object) -> None:
    """Write a result for a program to read."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
