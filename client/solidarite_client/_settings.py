"""How the client connects, waits, batches and retries."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

import grpc
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from solidarite_client.errors import PlaintextRefused

Form = Literal["columns", "rows"]


class Tls(BaseModel):
    """Certificates, as PEM files. The last two go together: they are the identity of a source (mTLS)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root_certificates: Path | None = None
    """Authorities that the server's certificate is checked against; unset, those of the system."""
    certificate_chain: Path | None = None
    private_key: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.certificate_chain is None) != (self.private_key is None):
            raise ValueError("certificate_chain et private_key vont ensemble")
        return self

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files; OSError when one cannot be read."""

        def content(path: Path | None) -> bytes | None:
            return None if path is None else path.read_bytes()

        return grpc.ssl_channel_credentials(
            content(self.root_certificates), content(self.private_key), content(self.certificate_chain)
        )


class ClientSettings(BaseModel):
    """Everything that may be set. The defaults suit a source on the same continent as its server."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tls: Tls | None = None
    """Unset: plain text, on loopback only."""
    allow_plaintext: bool = False
    """Plain text to another machine: only inside something that encrypts."""
    token: SecretStr | None = None
    """Sent as `authorization: Bearer …`: the identity of a portal."""
    call_timeout_seconds: float = Field(default=30.0, gt=0)
    """How long one attempt of a call may take."""
    attempts: int = Field(default=5, ge=1, le=100)
    """Attempts of a call, or connections of an upload without any progress between them, before the error comes out."""
    outage_seconds: float = Field(default=60.0, ge=0)
    """How long an upload that was making progress goes on connecting without any: the service may be restarting."""
    first_delay_seconds: float = Field(default=0.2, gt=0)
    """Pause before the second attempt; doubles each time, with chance added. A delay asked for by the server wins."""
    delay_limit_seconds: float = Field(default=10.0, gt=0)
    """Longest pause between two attempts."""
    batch_limit_records: int = Field(default=500, ge=1, le=2000)
    """Records in a batch: larger ones are cheaper, smaller ones are acknowledged sooner."""
    batches_in_flight: int = Field(default=8, ge=1, le=256)
    """Batches sent and not acknowledged yet: bounds memory, and what is sent again after a cut."""
    acknowledgement_timeout_seconds: float = Field(default=60.0, gt=0)
    """Without any acknowledgement for that long while some are awaited, the connection is taken for dead."""
    form: Form = "columns"
    """How batches travel; rows are for comparison and for reading with generic tools."""
    message_mib: int = Field(default=16, ge=1, le=64)
    """Largest answer accepted, in MiB."""

    def channel_options(self) -> list[tuple[str, int]]:
        return [
            ("grpc.max_receive_message_length", self.message_mib << 20),
            # gRPC has pauses of its own, up to two minutes, during which calls fail without being tried: ours decide.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return () if self.token is None else (("authorization", f"Bearer {self.token.get_secret_value()}"),)

    def credentials_for(self, target: str) -> grpc.ChannelCredentials | None:
        """TLS credentials, or None for plain text; PlaintextRefused when that would leave the machine unsaid."""
        if self.tls is not None:
            return self.tls.credentials()
        if not self.allow_plaintext and not is_loopback(target):
            raise PlaintextRefused(
                "sans TLS, seul un serveur de cette machine est accepté : donnez des certificats, ou dites "
                "explicitement que le réseau chiffre déjà (allow_plaintext)"
            )
        return None


def is_loopback(target: str) -> bool:
    """Whether an address of a server stays on this machine.

    >>> [is_loopback(t) for t in ("127.0.0.1:50051", "localhost:1", "[::1]:1", "unix:/run/s.sock", "10.0.0.1:1")]
    [True, True, True, True, False]
    """
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = target.removeprefix("dns:").lstrip("/").removeprefix("ipv4:").removeprefix("ipv6:")
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    elif address.count(":") > 1:
        host = address  # an IPv6 address without brackets has no port, whatever its last group looks like
    else:
        host = address.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
