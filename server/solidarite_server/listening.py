"""Whether an address can be listened on, tried before gRPC and Envoy do: they would say no in English."""

from __future__ import annotations

import errno
import socket


class AddressError(ValueError):
    """An address that cannot be served as the settings say, in French."""


def refuse_unusable(address: str, setting: str, *, shared: bool = False) -> None:
    """Raise AddressError when `host:port` cannot be listened on; `setting` is where its reader changes it.

    `shared`: other processes may listen on it already, if they said so too (SO_REUSEPORT).
    """
    if not address or address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError:
        raise AddressError(f"Le nom {host} n'est pas connu de cette machine ({setting}).") from None
    refusals = [_bound(family, where, shared=shared) for family, _, _, _, where in found]
    if errno.EADDRINUSE in refusals:
        raise AddressError(
            f"Le port {port} de {host} est déjà pris, sans doute par un serveur déjà démarré : arrêtez-le, ou "
            f"choisissez un autre port ({setting})."
        )
    # A name may stand for several addresses: one that this machine lacks, IPv6 often, is no obstacle.
    if None not in refusals:
        raise AddressError(_why(host, port, refusals[0], setting))


def is_served(address: str) -> bool:
    """Whether somebody answers connections at `host:port`."""
    host, _, port = address.rpartition(":")
    if address.startswith("unix:") or port == "0":
        return False
    try:
        with socket.create_connection((host.strip("[]"), int(port)), 1):
            return True
    except OSError:
        return False


def _bound(family: int, where: tuple[object, ...], *, shared: bool) -> int | None:
    """The system's refusal of an address, or None when it can be had."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            tried.bind(where)
    except OSError as error:
        return error.errno or 0
    return None


def _why(host: str, port: str, refusal: int | None, setting: str) -> str:
    if refusal in (errno.EACCES, errno.EPERM):
        return f"Le port {port} demande des droits d'administrateur : choisissez-en un au-delà de 1023 ({setting})."
    return f"{host} n'est pas une adresse de cette machine : 127.0.0.1 pour elle seule, 0.0.0.0 pour tous ({setting})."
