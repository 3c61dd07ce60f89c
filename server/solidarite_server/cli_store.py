"""What the verbs that open a store share: its address, its keys, errors in French."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from solidarite_server.ports import Store
    from solidarite_server.services.keyring import Keyring

StoreUrl = Annotated[
    str, typer.Option("--store", envvar="SOLIDARITE_STORE", metavar="URL", help="sqlite:///CHEMIN ou postgresql://….")
]


def _read_purpose(text: str) -> str:
    from solidarite_server.domain.nir import holds_nir

    if len(text) > _LONGEST_PURPOSE or not text.isprintable() or holds_nir(text):
        raise typer.BadParameter(f"attendu : une ligne de {_LONGEST_PURPOSE} caractères au plus, sans NIR")
    return text


_LONGEST_PURPOSE = 64
Purpose = Annotated[
    str,
    typer.Option("--purpose", metavar="TEXTE", parser=_read_purpose, help="Motif, écrit dans la trace d'audit."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        "--pseudonym-key-file",
        envvar="SOLIDARITE_PSEUDONYM_KEY_FILE",
        metavar="FICHIER",
        help="Clés des pseudonymes ; avec SQLite, celles qui sont à côté de la base.",
    ),
]


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """A store with its keys."""

    store: Store
    keys: Keyring
    key_file: Path

    def trace_act(self, action: str, purpose: str, subject: str = "*") -> None:
        """Leave a durable audit line of what the operator is about to do, or has just done, to the store."""
        from solidarite_server.ports import AuditLine

        self.store.write_audit([AuditLine(operator(), action, subject, purpose)])

    def person(self, nir: str) -> bytes:
        """The pseudonym of a well-formed NIR."""
        from solidarite_server.services.pseudonym import HmacPseudonymizer

        return HmacPseudonymizer(self.keys.base).nir(nir)

    def trace(self, nir: str) -> str:
        """How the audit trail names that person."""
        from solidarite_server.services.pseudonym import HmacPseudonymizer

        return HmacPseudonymizer(self.keys.base).trace(self.person(nir))


@contextmanager
def opened_store(url: str, key_file: Path | None, *, migrating: bool = False) -> Iterator[OpenedStore]:
    """Open a store that is there, with its keys; leaves the command with a sentence when it cannot be.

    Its schema is left alone unless `migrating`: servers of an earlier version may be serving it.
    """
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.services import keyring
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.storage import SchemaError, key_file_of, open_existing

    try:
        path = key_file_of(url, key_file)
        keys = keyring.load(path)
        store = open_existing(url, clock=SystemClock(), keys=keys, allowed="migrate" if migrating else "none")
    except FileNotFoundError:
        raise _refused(f"le fichier de clés {path.name} n'existe pas (--key-file).") from None
    except (ValueError, SchemaError, SolidariteError) as error:
        raise _refused(str(error)) from None
    try:
        yield OpenedStore(store, keys, path)
    except SolidariteError as error:
        raise _refused(error.message_fr) from None
    finally:
        store.close()


@contextmanager
def store_without_keys(url: str) -> Iterator[Store]:
    """Open a store that is there, for what needs no keys; leaves the command with a sentence when it cannot be."""
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.storage import SchemaError, open_existing

    try:
        store = open_existing(url, clock=SystemClock())
    except (ValueError, SchemaError, SolidariteError) as error:
        raise _refused(str(error)) from None
    try:
        yield store
    except SolidariteError as error:
        raise _refused(error.message_fr) from None
    finally:
        store.close()


def trace_act(url: str, key_file: Path | None, action: str, purpose: str) -> None:
    """`OpenedStore.trace_act`, for verbs that open the store in their own way, without its keys.

    A store that never had keys has a trail without a seal, that is written without them.
    """
    from solidarite_server.domain.errors import StoreUnavailable
    from solidarite_server.ports import AuditLine
    from solidarite_server.storage import key_file_of

    try:
        known = key_file_of(url, key_file).exists()
    except ValueError:
        known = False
    if known:
        with opened_store(url, key_file) as opened:
            opened.trace_act(action, purpose)
        return
    with store_without_keys(url) as store:
        try:
            store.write_audit([AuditLine(operator(), action, "*", purpose)])
        except StoreUnavailable as error:
            raise _refused(f"{error.message_fr} Donnez-le : --key-file.") from None


def operator() -> str:
    """How the audit trail names who runs a command: the account of the system, which no variable of theirs changes."""
    try:
        import pwd

        return f"exploitant:{pwd.getpwuid(os.getuid()).pw_name}"
    except (ImportError, KeyError):
        return f"exploitant:{os.getuid()}" if hasattr(os, "getuid") else "exploitant:inconnu"


def ask_nir() -> str:
    """A NIR typed without being shown, or read from a pipe: on a command line it would stay in the shell's history."""
    from solidarite_server.domain.nir import is_valid_nir

    nir: str = typer.prompt("NIR", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not is_valid_nir(nir):
        raise typer.BadParameter("un NIR compte 13 caractères (Corse : 2A ou 2B)")
    return nir


def _refused(text: str) -> typer.Exit:
    typer.echo(f"Erreur : {text}", err=True)
    return typer.Exit(1)
