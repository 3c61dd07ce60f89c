"""TLS of the server: the certificate, its key and the sources' authorities, read again when the files change."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc
import structlog

_log = structlog.get_logger("solidarite.tls")


class TlsError(ValueError):
    """Files that cannot serve, said in French."""


class TlsFiles:
    """Certificate, key and client authorities as files. A set that does not fit together is never served."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._stamp = self._now()
        self._configuration = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Server credentials, of one listener; each new connection gets the files as they are then.

        With client authorities, a peer without a certificate of theirs is refused in the handshake.
        """
        served = self._configuration

        def newer() -> grpc.ServerCertificateConfiguration | None:
            """Called by grpc, in a thread of its own, before each handshake. None: keep what is served."""
            nonlocal served
            latest = self._latest()
            if latest is served:
                return None
            served = latest
            return latest

        # The stubs forget that the fetcher may answer None.
        fetch: Any = newer
        return grpc.dynamic_ssl_server_credentials(self._configuration, fetch, self._client_ca is not None)

    def _now(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._certificate, self._key, self._client_ca))

    def _latest(self) -> grpc.ServerCertificateConfiguration:
        stamp = self._now()
        if stamp == self._stamp:
            return self._configuration
        try:
            configuration = self._read()
        except TlsError as error:
            # A half-written pair: the one served stays, and the next connection looks again.
            _log.error("tls_reload_refused", detail=str(error))
            return self._configuration
        self._stamp, self._configuration = stamp, configuration
        _log.info("tls_reloaded")
        return configuration

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            certificate, key = self._certificate.read_bytes(), self._key.read_bytes()
            authorities = self._client_ca.read_bytes() if self._client_ca else None
        except OSError as error:
            raise TlsError(f"Le fichier TLS {Path(error.filename).name} ne peut pas être lu.") from None
        try:
            # grpc accepts anything and fails at each handshake: OpenSSL says it now.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate, self._key, password="")
        except (ssl.SSLError, ValueError, OSError):
            raise TlsError(
                f"{self._certificate.name} et {self._key.name} ne vont pas ensemble, ou ne sont pas en PEM sans mot de "
                "passe."
            ) from None
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
            except (ssl.SSLError, ValueError, OSError):
                raise TlsError(f"{self._client_ca.name} ne contient pas d'autorités en PEM.") from None
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authorities)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
