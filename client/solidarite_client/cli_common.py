"""What the verbs share: the connection's options, and how amounts and answers are shown."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from solidarite_client.models import Month, NatureRessource

if TYPE_CHECKING:
    from solidarite_client._sync import SolidariteClient

DEFAULT_SERVER = "127.0.0.1:50051"
_PANEL = "Connexion"
_EUROS = re.compile(r"\d{1,9}([.,]\d{1,2})?")


def read_month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"attendu : {error}") from None


def read_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("attendu : un jour écrit AAAA-MM-JJ") from None


def read_euros(text: str) -> int:
    """Cents of an amount in euros, written with a comma or a point."""
    if not _EUROS.fullmatch(text):
        raise typer.BadParameter("attendu : un montant en euros, par exemple 912,40")
    whole, _, fraction = text.replace(",", ".").partition(".")
    return int(whole) * 100 + int(fraction.ljust(2, "0"))


def read_one_of(names: Iterable[str], text: str) -> str:
    """One of the names, in any case; otherwise they are all told."""
    if text.upper() not in names:
        raise typer.BadParameter(f"attendu : {', '.join(names)}")
    return text.upper()


def read_nature(text: str) -> NatureRessource:
    return NatureRessource[read_one_of(NatureRessource.__members__, text)]


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise typer.BadParameter("attendu : un instant avec son fuseau, par exemple 2026-11-05T12:00:00+01:00")
    return instant


Json = Annotated[bool, typer.Option("--json", help="Écrire du JSON plutôt qu'un tableau.")]
Allocataire = Annotated[str, typer.Option("--allocataire", metavar="N", help="Numéro d'allocataire du dossier.")]
DeclarationMonth = Annotated[
    Month, typer.Option("--month", metavar="AAAA-MM", parser=read_month, help="Mois de la déclaration.")
]
KnownAt = Annotated[
    datetime | None,
    typer.Option("--known-at", metavar="INSTANT", parser=_instant, help="Tel que connu à cet instant (RFC 3339)."),
]

_CONNECTION = {
    "server": (
        str,
        typer.Option(
            "--server",
            envvar="SOLIDARITE_SERVER",
            metavar="ADDR",
            help="Adresse du serveur, hôte:port.",
            rich_help_panel=_PANEL,
        ),
        DEFAULT_SERVER,
    ),
    "token_file": (
        Path | None,
        typer.Option(
            "--token-file",
            envvar="SOLIDARITE_TOKEN_FILE",
            help="Fichier du jeton d'un portail.",
            rich_help_panel=_PANEL,
        ),
        None,
    ),
    "tls_ca": (
        Path | None,
        typer.Option(
            "--tls-ca",
            envvar="SOLIDARITE_TLS_CA",
            help="Autorités de certification (PEM) ; active TLS.",
            rich_help_panel=_PANEL,
        ),
        None,
    ),
    "tls_cert": (
        Path | None,
        typer.Option(
            "--tls-cert",
            envvar="SOLIDARITE_TLS_CERT",
            help="Certificat d'une source (PEM).",
            rich_help_panel=_PANEL,
        ),
        None,
    ),
    "tls_key": (
        Path | None,
        typer.Option(
            "--tls-key", envvar="SOLIDARITE_TLS_KEY", help="Clé privée du certificat.", rich_help_panel=_PANEL
        ),
        None,
    ),
    "allow_plaintext": (
        bool,
        typer.Option(
            "--allow-plaintext",
            help="Accepter un serveur distant sans TLS, si le réseau chiffre déjà.",
            rich_help_panel=_PANEL,
        ),
        False,
    ),
}


def connected(verb: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a verb the options of the connection, and a client as its first argument."""

    @functools.wraps(verb)
    def command(**options: Any) -> int | None:
        with _connect(**{name: options.pop(name) for name in _CONNECTION}) as client:
            return verb(client, **options)

    # The client's class is imported for type checkers only.
    names = {**verb.__globals__, "SolidariteClient": Any}
    own = list(inspect.signature(verb, eval_str=True, globals=names).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, option]
        )
        for name, (annotation, option, default) in _CONNECTION.items()
    ]
    parameters = [*[parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own], *shared]
    # Typer reads the signature and the annotations, not the function.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _connect(
    *,
    server: str,
    token_file: Path | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    allow_plaintext: bool,
) -> SolidariteClient:
    # gRPC writes its own English lines on stderr when a server stops; our errors say it in French.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # gRPC takes a third of a second to load: not for `--help`, and not before the server's workers are started.
    from solidarite_client._settings import ClientSettings, Tls
    from solidarite_client._sync import SolidariteClient

    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert et --tls-key vont ensemble")
    tls = None
    if tls_ca is not None or tls_cert is not None:
        tls = Tls(root_certificates=tls_ca, certificate_chain=tls_cert, private_key=tls_key)
    token = None if token_file is None else _read_token(token_file)
    return SolidariteClient(
        server, ClientSettings.model_validate({"tls": tls, "token": token, "allow_plaintext": allow_plaintext})
    )


def _read_token(file: Path) -> str:
    token = file.read_bytes().strip()
    # Only what HTTP carries in a header, and a token is written with nothing else.
    if not re.fullmatch(rb"[!-~]+", token):
        raise typer.BadParameter(f"{file.name} n'est pas un jeton : attendu une seule ligne, sans espace ni accent")
    return token.decode("ascii")


def print_json(value: Any) -> None:
    """Write an answer for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def euros(cents: int) -> str:
    """French rendering of an amount, with spaces that do not break.

    >>> euros(121583), euros(-12050)
    ('1\\u202f215,83\\xa0€', '−120,50\\xa0€')
    """
    sign = "−" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole:,}".replace(",", "\u202f") + f",{rest:02d}\xa0€"


_MONTHS = (
    "janvier", "février", "mars", "avril", "mai", "juin",
    "juillet", "août", "septembre", "octobre", "novembre", "décembre",
)  # fmt: skip


def month_name(year: int, month: int) -> str:
    """A month as people say it.

    >>> month_name(2026, 8)
    'août 2026'
    """
    return f"{_MONTHS[month - 1]} {year}"


def console() -> Console:
    """Where tables go. Made for each verb: tests and pipes replace stdout."""
    out = Console(highlight=False)
    # A file or a pipe has no width: enough for our widest table, rather than the 80 columns of a narrow terminal.
    return out if out.is_terminal else Console(highlight=False, width=140)


def table(title: str, *columns: str, amounts: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in `amounts` are aligned to the right and do not wrap."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        if name in amounts:
            made.add_column(name, justify="right", no_wrap=True)
        else:
            made.add_column(name, overflow="fold")
    return made
