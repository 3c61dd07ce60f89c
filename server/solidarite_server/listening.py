"""Whether settings can be served: what they leave open, and addresses, tried before gRPC refuses them in English."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solidarite_server.settings import Settings

_EVERY = ("0.0.0.0", "[::]")  # noqa: S104 - compared


class AddressError(ValueError):
    """An address that cannot be served as the settings say, in French."""


def is_loopback(address: str) -> bool:
    """Whether `host:port` can be reached from this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return address.startswith("unix:")


def refuse_contradictory(settings: Settings) -> None:
    """Raise AddressError for settings that do not go together, or that leave the service open."""
    certificate, key, client_ca = settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
    if (certificate is None) != (key is None) or (client_ca is not None and certificate is None):
        raise AddressError("TLS demande un certificat et sa clé : tls_certificate_file et tls_key_file.")
    if settings.listen_portals and certificate is None:
        raise AddressError(
            "L'adresse des portails (listen_portals) demande TLS : tls_certificate_file et tls_key_file."
        )
    if not settings.asks_for_identities and not settings.allow_anonymous and not is_loopback(settings.listen):
        raise AddressError(
            "Sans identités, le serveur n'écoute que la machine elle-même (127.0.0.1). Donnez les clés des jetons "
            "(token_keys_file) ou l'autorité des sources (tls_client_ca_file) ; « solidarite auth init » les crée."
        )
    if certificate is None and not is_loopback(settings.listen) and not settings.allow_plaintext:
        raise AddressError(
            "Sans chiffrement, le serveur n'écoute que la machine elle-même (127.0.0.1). Donnez un certificat "
            "(tls_certificate_file, tls_key_file) ou, derrière un relais qui chiffre, ajoutez --allow-plaintext."
        )
    if _meet(settings.listen, settings.listen_portals):
        # Linux would share the connections between both: one source in two would not be asked for its certificate.
        raise AddressError("listen et listen_portals sont le même port : donnez-en un autre aux portails.")
    if settings.listen_portals.endswith(":0") and (settings.workers > 1 or settings.share_port):
        raise AddressError("Avec plusieurs processus (workers), listen_portals demande un port fixe, et non 0.")
    if settings.gateway_listen and (settings.workers > 1 or certificate is not None):
        raise AddressError(
            "La passerelle du serveur (--with-gateway, gateway_listen) sert à développer, avec un seul processus et "
            "sans TLS ; sinon, lancez « solidarite gateway » à côté."
        )


def _meet(one: str, other: str) -> bool:
    """Whether two addresses have one port on one host."""
    (host, _, port), (other_host, _, other_port) = one.rpartition(":"), other.rpartition(":")
    return port == other_port != "0" and (host == other_host or host in _EVERY or other_host in _EVERY)


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
