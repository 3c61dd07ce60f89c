"""Settings of the server: one typed class, read from the environment (`SOLIDARITE_…`) and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything an operator may set. Unknown keys are refused."""

    model_config = SettingsConfigDict(env_prefix="SOLIDARITE_", extra="forbid", frozen=True, hide_input_in_errors=True)

    listen: str = "127.0.0.1:50051"
    """Address served, `host:port`; port 0 takes a free one."""
    store: str = "sqlite:///solidarite.db"
    """Where records, dossiers and declarations are kept: `sqlite:///PATH` or `postgresql://…`."""
    pseudonym_key_file: Path | None = None
    """File of the secret key that turns NIRs into pseudonyms, 32 bytes or more. Unset with SQLite: a key is made once
    beside the database, readable by its owner only. It must outlive the database: without it no record finds its
    person."""
    allow_plaintext: bool = False
    """Serve without TLS beyond loopback. Only behind something that encrypts."""
    declaration_calendar: Literal["MOIS_ENTIER", "JOUR_25", "LIBRE"] = "MOIS_ENTIER"
    """When the declaration of month M can be filed: all of M, until the 25th, or whenever (to simulate)."""
    reflection: bool = True
    """Let tools such as grpcurl discover the contract."""
    workers: int = Field(default=1, ge=1, le=64)
    """Server processes sharing the port."""
    share_port: bool = False
    """Listen on a port that other processes of this service listen on too: what the processes of `workers` do."""
    supervisor: int = Field(default=0, ge=0)
    """The process that started this one; once it is gone, this one drains and ends. 0: none."""
    campaign_processes: int = Field(default=2, ge=1, le=64)
    """Processes that compute a campaign asked for by RPC."""
    batch_limit_records: int = Field(default=2_000, ge=1, le=2_000)
    """Most records in one batch; a larger batch is refused whole."""
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    """How long calls in progress may go on after SIGTERM."""
    concurrent_calls: int = Field(default=2_000, ge=1)
    """Calls open at once in a process; more are refused with RESOURCE_EXHAUSTED."""
    message_mib: int = Field(default=8, ge=1, le=64)
    """Largest message received, in MiB."""
    streams_per_connection: int = Field(default=256, ge=1)
    """Calls open at once on one connection."""
    idle_seconds: int = Field(default=600, ge=1)
    """A connection without any call is closed after that."""
    handshake_seconds: int = Field(default=10, ge=1)
    """A peer that has not finished its handshake by then is disconnected."""
    freshness_wait_seconds: float = Field(default=2.0, ge=0, le=60)
    """How long a read waits for the commit that its token names."""
