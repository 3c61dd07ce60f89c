"""`solidarite audit`: show the audit trail, verify its chain, keep an anchor of its end elsewhere."""

from __future__ import annotations

import json as json_module
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from solidarite_server.cli_store import KeyFile, StoreUrl, ask_nir, opened_store

if TYPE_CHECKING:
    from solidarite_server.ports import AuditAnchor, StoredAuditLine


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    audit = typer.Typer(help="Lire et vérifier la trace d'audit : qui, quoi, sur qui, pourquoi.", no_args_is_help=True)
    audit.command("show")(show)
    audit.command("verify")(verify)
    audit.command("anchor")(anchor)
    app.add_typer(audit, name="audit")


def show(
    store: StoreUrl = "sqlite:///solidarite.db",
    key_file: KeyFile = None,
    dossier: Annotated[str, typer.Option("--dossier", metavar="N", help="Ce dossier seulement.")] = "",
    person: Annotated[
        bool, typer.Option("--person", help="Une personne seulement ; son NIR est demandé sans s'afficher.")
    ] = False,
    actor: Annotated[str, typer.Option("--actor", metavar="QUI", help="Cet acteur, par exemple agent:guichet.")] = "",
    last: Annotated[int, typer.Option("--last", min=1, max=1_000_000, help="Nombre de lignes, les dernières.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Écrire une ligne de JSON par ligne de la trace.")] = False,
) -> int:
    """Montrer les dernières lignes de la trace."""
    with opened_store(store, key_file) as opened:
        subject = opened.trace(ask_nir()) if person else dossier
        found = deque(
            (
                line
                for line in opened.store.audit_lines()
                if (not subject or line.subject == subject) and (not actor or line.actor == actor)
            ),
            maxlen=last,
        )
    for text in _as_json(found) if json else _as_table(found):
        typer.echo(text)
    return 0


def verify(
    store: StoreUrl = "sqlite:///solidarite.db",
    key_file: KeyFile = None,
    anchor_file: Annotated[
        Path | None,
        typer.Option("--anchor", metavar="FICHIER", help="Ancre gardée ailleurs (audit anchor)."),
    ] = None,
) -> int:
    """Vérifier que chaque ligne suit la précédente, que la fin est scellée et, par une ancre, que rien n'est récrit."""
    held = None if anchor_file is None else _read_anchor(anchor_file)
    with opened_store(store, key_file) as opened:
        found = opened.store.verify_audit(held)
        end = opened.store.audit_anchor()
    for problem in found:
        typer.echo(f"Erreur : {problem}", err=True)
    if found:
        return 1
    typer.echo(f"La trace d'audit est intacte jusqu'à la ligne {end.number}.")
    return 0


def anchor(
    store: StoreUrl = "sqlite:///solidarite.db",
    key_file: KeyFile = None,
) -> int:
    """Écrire où finit la trace : gardée ailleurs, cette ligne montre plus tard que rien n'a été récrit ni coupé."""
    with opened_store(store, key_file) as opened:
        end = opened.store.audit_anchor()
    typer.echo(json_module.dumps({"line": end.number, "hash": end.hash.hex()}))
    return 0


def _read_anchor(path: Path) -> AuditAnchor:
    from solidarite_server.ports import AuditAnchor

    try:
        read = json_module.loads(path.read_text("utf-8"))
        return AuditAnchor(int(read["line"]), bytes.fromhex(read["hash"]))
    except (ValueError, KeyError, TypeError):
        raise typer.BadParameter(f"{path.name} n'est pas une ancre (solidarite audit anchor)") from None


def _as_json(lines: deque[StoredAuditLine]) -> Iterator[str]:
    for line in lines:
        yield json_module.dumps(
            {
                "line": line.number,
                "at": _instant(line.at_us),
                "actor": line.actor,
                "action": line.action,
                "subject": line.subject,
                "purpose": line.purpose,
            },
            ensure_ascii=False,
        )


def _as_table(lines: deque[StoredAuditLine]) -> Iterator[str]:
    if not lines:
        yield "Aucune ligne."
    for line in lines:
        columns = (line.actor, line.action, line.subject, line.purpose)
        yield f"{line.number:>8}  {_instant(line.at_us)}  {'  '.join(map(_column, columns))}"


def _column(text: str) -> str:
    """A value that cannot pass for two columns: quoted as soon as it holds a space, a quote or what does not print."""
    if text and text.isprintable() and not any(character in ' "\\' for character in text):
        return text
    quoted = json_module.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in quoted)


def _instant(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat(timespec="milliseconds")
