"""What several verbs of the server's command line read the same way."""

from __future__ import annotations

import typer

from solidarite_server.domain.month import Month


def parse_month(text: str | Month) -> Month:
    """Read `AAAA-MM`. A default value goes through the parser too, already read."""
    if isinstance(text, Month):
        return text
    try:
        return Month.parse(text)
    except ValueError:
        raise typer.BadParameter("attendu : un mois écrit AAAA-MM") from None
