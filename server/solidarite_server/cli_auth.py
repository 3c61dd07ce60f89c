"""`solidarite auth`: a development authority, certificates of sources, tokens of portals and agents."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from solidarite_server.domain.identity import BenefitScope, Kind, Scope
from solidarite_server.domain.nir import holds_nir

_SCOPES = [scope.value for scope in Scope if scope is not Scope.RECORDS_WRITE]
_BENEFITS = [benefit.value[0] for benefit in BenefitScope]
_PORTAL = (
    Scope.FOYERS_READ,
    Scope.DECLARATIONS_READ,
    Scope.DECLARATIONS_WRITE,
    Scope.ENTITLEMENTS_READ,
    Scope.ENTITLEMENTS_COMPUTE,
)
Directory = Annotated[
    Path,
    typer.Option("--dir", envvar="SOLIDARITE_AUTH_DIR", metavar="RÉPERTOIRE", help="Répertoire de l'autorité."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    auth = typer.Typer(help="Créer l'autorité de développement, des certificats et des jetons.", no_args_is_help=True)
    auth.command("init")(init)
    auth.command("cert")(cert)
    auth.command("token")(token)
    keys = typer.Typer(help="Renouveler les clés qui signent les jetons.", no_args_is_help=True)
    keys.command("rotate")(rotate)
    auth.add_typer(keys, name="keys")
    app.add_typer(auth, name="auth")


def init(
    directory: Annotated[Path, typer.Argument(metavar="RÉPERTOIRE", help="Répertoire à créer.")],
    host: Annotated[
        list[str] | None, typer.Option("--host", metavar="NOM", help="Nom ou adresse du serveur ; à répéter.")
    ] = None,
    store: Annotated[
        Path, typer.Option("--store-file", metavar="FICHIER", help="Magasin SQLite écrit dans les réglages.")
    ] = Path("solidarite.db"),
) -> int:
    """Créer une autorité, le certificat du serveur, les clés des jetons et les réglages qui s'en servent."""
    from solidarite_server import authority

    try:
        authority.create(directory, host or ["localhost", "127.0.0.1", "::1"], store)
    except (ValueError, OSError) as error:
        return _complain(error)
    where = shlex.quote(str(directory))
    typer.echo(f"""Autorité créée dans {directory}. Et maintenant :
  solidarite serve --config {where}/{authority.SETTINGS}
  solidarite auth cert etoile --dir {where}
  solidarite ingest --source etoile --tls-ca {where}/authority.pem --tls-cert {where}/sources/etoile.pem \
--tls-key {where}/sources/etoile.key FICHIER.dsn
  solidarite auth token --dir {where} --kind agent --subject guichet --scope foyers.write --output agent.jwt
  solidarite auth token --dir {where} --dossier 0000001 --output portail.jwt
  solidarite prefill --server 127.0.0.1:50052 --tls-ca {where}/authority.pem --token-file portail.jwt \
--allocataire 0000001 --month 2026-11""")
    return 0


def cert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Identifiant de la source (source_id).")],
    directory: Directory = Path("auth"),
    days: Annotated[int, typer.Option("--days", min=1, max=825, help="Durée de validité, en jours.")] = 397,
) -> int:
    """Créer la clé et le certificat d'une source : son identité est source_id."""
    from solidarite_server import authority

    try:
        made = authority.certify_source(directory, source, days)
    except (ValueError, OSError) as error:
        return _complain(error)
    typer.echo(f"Certificat : {made}\nClé privée : {made.with_suffix('.key')}")
    return 0


def token(
    directory: Directory = Path("auth"),
    kind: Annotated[str, typer.Option("--kind", metavar="portail|agent", help="Qui se présente.")] = "portail",
    subject: Annotated[str, typer.Option("--subject", metavar="NOM", help="Nom du portail ou de l'agent.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="DROIT", help=f"À répéter : {', '.join([*_SCOPES, *_BENEFITS])}."),
    ] = None,
    dossier: Annotated[
        str | None,
        typer.Option("--dossier", metavar="N", help="Le seul dossier visible (portail : obligatoire)."),
    ] = None,
    purpose: Annotated[str, typer.Option("--purpose", metavar="TEXTE", help="Motif écrit dans la trace d'audit.")] = "",
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=720, help="Durée de validité.")] = 60,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FICHIER", help="Écrire le jeton dans un fichier privé.")
    ] = None,
) -> int:
    """Signer un jeton. Sans --scope : les droits d'un portail sur son dossier, pour les deux prestations."""
    from solidarite_server import authority

    if kind not in (Kind.PORTAIL.value, Kind.AGENT.value):
        raise typer.BadParameter("--kind vaut portail ou agent")
    if kind == Kind.PORTAIL.value and dossier is None:
        raise typer.BadParameter("un portail agit pour un foyer : --dossier")
    asked = list(scope or [one.value for one in _PORTAL])
    for name in asked:
        if name not in _SCOPES and name not in _BENEFITS:
            raise typer.BadParameter(f"droit inconnu ; attendu : {', '.join([*_SCOPES, *_BENEFITS])}")
    if not set(asked) & set(_BENEFITS):
        asked += _BENEFITS
    for text in (subject, dossier or "", purpose):
        if len(text) > 64 or not text.isprintable():
            raise typer.BadParameter("un nom, un dossier ou un motif compte au plus 64 caractères, sur une ligne")
        if holds_nir(text):
            raise typer.BadParameter("un nom, un dossier ou un motif est gardé en clair : il ne contient pas de NIR")
    try:
        made = authority.make_token(
            directory,
            kind=kind,
            subject=subject or kind,
            scopes=asked,
            dossier=dossier,
            purpose=purpose,
            seconds=minutes * 60,
        )
        if output is not None:
            authority.write_private(output, made.encode() + b"\n")
    except (ValueError, OSError) as error:
        return _complain(error)
    typer.echo(made if output is None else f"Jeton écrit : {output} (valable {minutes} minutes)")
    return 0


def rotate(
    directory: Directory = Path("auth"),
    keep: Annotated[
        int, typer.Option("--keep", min=0, max=10, help="Anciennes clés encore acceptées ; 0 : aucune.")
    ] = 1,
) -> int:
    """Signer désormais avec une nouvelle clé ; le serveur la lit sans redémarrer."""
    from solidarite_server import authority

    try:
        new, dropped = authority.rotate_token_keys(directory, keep)
    except (ValueError, OSError) as error:
        return _complain(error)
    typer.echo(f"Nouvelle clé : {new}.")
    if dropped:
        typer.echo(f"Clés retirées, leurs jetons sont refusés : {', '.join(dropped)}.")
    return 0


def _complain(error: Exception) -> int:
    from solidarite_client._os_errors import os_error_text

    text = f"{error.filename} : {os_error_text(error)}" if isinstance(error, OSError) else str(error)
    typer.echo(f"Erreur : {text}", err=True)
    return 1
