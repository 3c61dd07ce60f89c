"""What may be set of the gateway."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _is_host_and_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("attendu : hôte:port")
    return address


def _is_origin(text: str) -> str:
    scheme, separator, host = text.partition("://")
    if scheme not in ("http", "https") or not separator or not host or "/" in host:
        raise ValueError("attendu : une origine, par exemple https://portail.example, sans chemin")
    return text


def _is_readable(path: Path) -> Path:
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ValueError("attendu : un fichier PEM qui peut être lu")
    return path


Address = Annotated[str, AfterValidator(_is_host_and_port)]
Origin = Annotated[str, AfterValidator(_is_origin)]
PemFile = Annotated[Path, AfterValidator(_is_readable)]


class GatewaySettings(BaseModel):
    """Everything that may be set of the gateway. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    listen: Address = "127.0.0.1:8080"
    """Address served to browsers, `host:port`; port 0 takes a free one."""
    server: Address = "127.0.0.1:50051"
    """Address of the gRPC server behind."""
    origins: tuple[Origin, ...] = ()
    """Origins of other sites whose pages may call, for example `https://portail.example`. None: its own page only."""
    page: bool = False
    """Serve the reference page at `/`."""
    tls_certificate_file: PemFile | None = None
    """Certificate chain shown to browsers (PEM), with `tls_key_file`."""
    tls_key_file: PemFile | None = None
    """Private key of `tls_certificate_file` (PEM)."""
    server_ca_file: PemFile | None = None
    """Authorities that the server's certificate is checked against (PEM); unset, plain text to a loopback server."""
    client_certificate_file: PemFile | None = None
    """Certificate that the gateway shows to the server (PEM), with `client_key_file`."""
    client_key_file: PemFile | None = None
    """Private key of `client_certificate_file` (PEM)."""
    allow_plaintext: bool = False
    """Speak plain text beyond loopback. Only behind something that encrypts."""
    request_mib: int = Field(default=4, ge=1, le=64)
    """Largest request, in MiB: less than what the server accepts."""
    request_seconds: int = Field(default=15, ge=1, le=600)
    """How long a request may take to arrive whole."""
    response_mib: int = Field(default=16, ge=1, le=64)
    """Largest answer in JSON, in MiB: a declaration with all its records and steps needs less than one."""
    connections: int = Field(default=10_000, ge=1)
    """Connections and calls open at once; more are refused."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("un certificat et sa clé vont ensemble")
        if (self.client_certificate_file is None) != (self.client_key_file is None):
            raise ValueError("un certificat et sa clé vont ensemble")
        return self
