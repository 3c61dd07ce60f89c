"""Looks at everything a server needs before it serves; changes nothing. Each finding says what to do, in French."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from solidarite_server.settings import Settings

if TYPE_CHECKING:
    from solidarite_server.ports import Store
    from solidarite_server.services.keyring import Keyring

State = Literal["ok", "attention", "erreur"]
_GIB = 1 << 30
_EXPIRY_DAYS = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: State
    found: str
    advice: str = ""
    """What to do; empty when nothing is to be done."""


def examine(settings: Settings, *, complete: bool = False) -> list[Finding]:
    """Every finding, in the order in which one would repair them; `complete` reads the whole store."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _versions,
        _rules,
        _together,
        _tls,
        _tokens,
        _keys,
        _address,
    )
    found = [finding for check in checks for finding in check(settings)]
    return [*found, *_store(settings, complete)]


def _versions(settings: Settings) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    names = ("solidarite-source", "grpcio", "protobuf", "numpy", "numba", "pydantic")
    held = {}
    for name in names:
        try:
            held[name] = version(name)
        except PackageNotFoundError:
            yield Finding("versions", "erreur", f"{name} manque", 'pip install "solidarite-source[server]"')
            return
    shown = ", ".join(f"{name} {number}" for name, number in held.items())
    if not held["grpcio"].startswith("1.78."):
        yield Finding("versions", "attention", shown, "Installez grpcio 1.78 : les suivants servent moins d'appels.")
    yield Finding("versions", "ok", f"Python {python}, {shown}, SQLite {sqlite3.sqlite_version}")


def _rules(settings: Settings) -> Iterator[Finding]:
    from solidarite_server import engine

    folder = Path(os.environ.get("NUMBA_CACHE_DIR", Path(engine.__file__ or "").parent / "__pycache__"))
    if any(folder.rglob("*.nbi")):
        yield Finding("règles compilées", "ok", "déjà en cache")
    elif os.access(folder if folder.exists() else folder.parent, os.W_OK):
        yield Finding(
            "règles compilées", "attention", "pas encore en cache",
            "Le premier démarrage les compile, une demi-minute environ : rien à faire.",
        )  # fmt: skip
    else:
        yield Finding(
            "règles compilées", "attention", "cache impossible à écrire",
            "Chaque démarrage compile les règles : donnez à NUMBA_CACHE_DIR un répertoire inscriptible.",
        )  # fmt: skip


def _together(settings: Settings) -> Iterator[Finding]:
    """What each setting alone does not show; nothing when they go together."""
    from solidarite_server.listening import AddressError, refuse_contradictory

    try:
        refuse_contradictory(settings)
    except AddressError as error:
        yield Finding("ensemble des réglages", "erreur", str(error), "Changez l'un des réglages nommés.")
    if settings.otlp_endpoint and find_spec("opentelemetry") is None:
        yield Finding(
            "traces", "erreur", "l'extra otel manque", 'pip install "solidarite-source[server,otel]"'
        )  # fmt: skip


def _tokens(settings: Settings) -> Iterator[Finding]:
    from solidarite_server.services.tokens import KeySetError, read_public_keys

    if settings.token_keys_file is None:
        return
    try:
        count = len(read_public_keys(settings.token_keys_file))
    except KeySetError as error:
        yield Finding("clés des jetons", "erreur", str(error), "Redonnez le jeu de clés publiques (token_keys_file).")
    else:
        yield Finding("clés des jetons", "ok", f"{count} dans {settings.token_keys_file.name}")


def _tls(settings: Settings) -> Iterator[Finding]:
    from solidarite_server.listening import is_loopback
    from solidarite_server.rpc.tls import TlsError, TlsFiles

    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None or key is None:
        if is_loopback(settings.listen):
            yield Finding("TLS", "ok", "sans chiffrement, sur cette machine seulement")
        elif settings.allow_plaintext:
            yield Finding(
                "TLS",
                "attention",
                "sans chiffrement au-delà de la machine",
                "Seul un relais qui chiffre doit joindre cette adresse.",
            )
        return
    try:
        TlsFiles(certificate, key, settings.tls_client_ca_file)
    except TlsError as error:
        yield Finding("TLS", "erreur", str(error), "Redonnez un certificat, sa clé et les autorités, en PEM.")
        return
    yield from _private("clé TLS", key)
    from cryptography import x509

    expiry = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    left = (expiry - datetime.now(UTC)).days
    found = f"certificat valable jusqu'au {expiry:%d/%m/%Y}"
    if left < 0:
        yield Finding("TLS", "erreur", found, "Renouvelez-le : les clients le refusent.")
    elif left < _EXPIRY_DAYS:
        yield Finding("TLS", "attention", f"{found} ({left} jours)", "Renouvelez-le : il est relu sans redémarrage.")
    else:
        yield Finding("TLS", "ok", found)


def _keys(settings: Settings) -> Iterator[Finding]:
    from solidarite_server.storage import holds_fingerprint, key_file_of

    try:
        path = key_file_of(settings.store, settings.pseudonym_key_file)
    except ValueError as error:
        yield Finding("clé des pseudonymes", "erreur", str(error), "Donnez pseudonym_key_file.")
        return
    if path.exists():
        yield from _private("clé des pseudonymes", path)
    elif holds_fingerprint(settings.store):
        yield Finding(
            "clé des pseudonymes", "erreur", f"{path.name} n'existe pas, et le magasin a la sienne",
            "Rétablissez ce fichier : sans lui, personne n'est retrouvé.",
        )  # fmt: skip
    else:
        yield Finding(
            "clé des pseudonymes", "attention", f"{path.name} n'existe pas",
            "Elle est créée au premier démarrage ; pour un magasin existant, retrouvez la sienne.",
        )  # fmt: skip


def _private(name: str, path: Path) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode & 0o777
        readable = os.access(path, os.R_OK)
    except OSError:
        mode, readable = 0, False
    if not readable:
        yield Finding(name, "erreur", f"{path.name} ne peut pas être lu", "Donnez-le à l'utilisateur du service.")
    elif mode & 0o077:
        yield Finding(name, "erreur", f"{path.name} est lisible par d'autres ({mode:o})", f"chmod 600 {path.name}")
    else:
        yield Finding(name, "ok", f"{path.name}, lisible par son seul propriétaire")


def _address(settings: Settings) -> Iterator[Finding]:
    for name in ("listen", "listen_portals", "metrics_listen", "gateway_listen"):
        address = getattr(settings, name)
        if not address or address.startswith("unix:"):
            continue
        host, _, port = address.rpartition(":")
        try:
            info = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
            with socket.socket(info[0], info[1]) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(info[4])
        except (ValueError, socket.gaierror, OverflowError):
            yield Finding(
                name, "erreur", f"{address} est mal écrite", "Écrivez hôte:port, par exemple 127.0.0.1:50051."
            )
        except OSError:
            yield Finding(
                name, "attention", f"{address} est déjà prise", "Normal si le serveur tourne ; sinon libérez-la."
            )
        else:
            yield Finding(name, "ok", f"{address} est libre")


def _store(settings: Settings, complete: bool) -> Iterator[Finding]:
    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.storage import is_postgres, sqlite_path

    if not is_postgres(settings.store):
        try:
            path = sqlite_path(settings.store)
        except ValueError as error:
            yield Finding("magasin", "erreur", str(error), "Corrigez le réglage store.")
            return
        yield from _disk(path)
        if not path.exists():
            yield Finding("magasin", "attention", f"{path.name} n'existe pas", "Il est créé au premier démarrage.")
            return
    store = _opened(settings)
    if isinstance(store, Finding):
        yield store
        return
    try:
        volume = store.volume()
        yield Finding("magasin", "ok", f"{volume.size_bytes / _GIB:.2f} Gio, {store.commit_sequence()} écritures")
        ahead = (store.last_instant_us() - SystemClock().now_us()) / 1e6
        if ahead > 1:
            yield Finding(
                "horloge",
                "attention",
                f"en retard de {ahead:.0f} s sur la dernière écriture",
                "Vérifiez la synchronisation (timedatectl).",
            )
        else:
            yield Finding("horloge", "ok", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, après la dernière écriture")
        if complete:
            wrong = store.check()
            yield Finding(
                "intégrité",
                "erreur" if wrong else "ok",
                " ; ".join(wrong[:3]) or "tout a été relu",
                "Rétablissez une sauvegarde." if wrong else "",
            )
    except SolidariteError as error:
        yield Finding("magasin", "erreur", str(error), _advice(settings))
    finally:
        store.close()


def _opened(settings: Settings) -> Store | Finding:
    """The store as it is, or what is wrong with it."""
    from solidarite_client._os_errors import os_error_text

    from solidarite_server.domain.errors import SolidariteError
    from solidarite_server.services.clock import SystemClock
    from solidarite_server.services.keyring import KeyFileError
    from solidarite_server.storage import EarlierSchemaError, EmptyStoreError, SchemaError, open_existing

    try:
        return open_existing(settings.store, clock=SystemClock(), keys=_held_keys(settings))
    except KeyFileError as error:
        return Finding("magasin", "erreur", str(error), "Nommez le fichier de clés de ce magasin (pseudonym_key_file).")
    except EmptyStoreError as error:
        return Finding(
            "magasin", "attention", str(error), "Le premier démarrage l'y crée ; s'il en tenait un, rétablissez-le."
        )
    except EarlierSchemaError as error:
        return Finding("schéma", "attention", str(error), "« store migrate », ou le démarrage du serveur, le porte.")
    except SchemaError as error:
        return Finding("schéma", "erreur", str(error), "Installez la version qui a écrit ce magasin, ou une suivante.")
    except OSError as error:
        found = f"{Path(error.filename or '').name} : {os_error_text(error)}"
        return Finding("magasin", "erreur", found, "Donnez-le à l'utilisateur du service, avec son répertoire.")
    except (ValueError, SolidariteError) as error:
        return Finding("magasin", "erreur", str(error), _advice(settings))


def _held_keys(settings: Settings) -> Keyring | None:
    """The keys, where the store can be compared with them; what is wrong with their file is another finding."""
    from solidarite_server.services import keyring
    from solidarite_server.storage import holds_fingerprint, is_postgres, key_file_of

    try:
        if is_postgres(settings.store) or holds_fingerprint(settings.store):
            return keyring.load(key_file_of(settings.store, settings.pseudonym_key_file))
    except (ValueError, OSError):
        pass
    return None


def _advice(settings: Settings) -> str:
    from solidarite_server.storage import is_postgres

    if is_postgres(settings.store):
        return "Voyez que PostgreSQL tourne, et ce que son journal dit de cette connexion ; puis le réglage store."
    return "Voyez les droits et le disque ; si le fichier est abîmé, rétablissez une sauvegarde (store restore)."


def _disk(path: Path) -> Iterator[Finding]:
    folder = path.resolve().parent
    if not folder.is_dir():
        yield Finding("disque", "erreur", "le répertoire du magasin n'existe pas", "Créez-le.")
        return
    if not os.access(folder, os.W_OK):
        yield Finding(
            "disque",
            "erreur",
            "le répertoire du magasin n'est pas inscriptible",
            "Donnez-le à l'utilisateur du service.",
        )
        return
    free = shutil.disk_usage(folder).free
    held = path.stat().st_size if path.exists() else 0
    found = f"{free / _GIB:.1f} Gio libres"
    if free < _GIB:
        yield Finding("disque", "erreur", found, "Libérez de la place : à court, l'ingestion s'arrête.")
    elif free < 2 * held:
        yield Finding(
            "disque", "attention", found, "Moins de deux fois le magasin : une sauvegarde y tiendrait à peine."
        )
    else:
        yield Finding("disque", "ok", found)
