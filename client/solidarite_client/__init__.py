"""Client of the « solidarité à la source » prefill simulation service.

    from pathlib import Path
    from solidarite_client import SolidariteClient

    with SolidariteClient("127.0.0.1:50051") as client:
        summary = client.ingest_file(Path("2026-08.dsn"), source_id="paie-libre")
        declaration = client.prefill_declaration("0123456", "2026-11", at_least_as_fresh=summary.freshness_token)

Names are imported on first use: a command that does not talk to a server does not load gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solidarite_client._aio import AsyncSolidariteClient
    from solidarite_client._journal import IngestSummary, Refusal
    from solidarite_client._requests import accept, add, confirm, rectify, reject, remove, retain
    from solidarite_client._settings import ClientSettings, Tls
    from solidarite_client._sync import SolidariteClient
    from solidarite_client.dsn import check_dsn, read_dsn
    from solidarite_client.errors import CallError, FileError, SolidariteError
    from solidarite_client.files import ReplacementIncome, read_file
    from solidarite_client.models import (
        DocumentRef,
        DocumentSeal,
        FluxSource,
        Mode,
        Month,
        NatureRessource,
        ResourceRecord,
    )
    from solidarite_client.spool import Spool

_HOME = {
    "_aio": ("AsyncSolidariteClient",),
    "_journal": ("IngestSummary", "Refusal"),
    "_requests": ("accept", "add", "confirm", "rectify", "reject", "remove", "retain"),
    "_settings": ("ClientSettings", "Tls"),
    "_sync": ("SolidariteClient",),
    "dsn": ("check_dsn", "read_dsn"),
    "errors": ("CallError", "FileError", "SolidariteError"),
    "files": ("ReplacementIncome", "read_file"),
    "models": ("DocumentRef", "DocumentSeal", "FluxSource", "Mode", "Month", "NatureRessource", "ResourceRecord"),
    "spool": ("Spool",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AsyncSolidariteClient",
    "CallError",
    "ClientSettings",
    "DocumentRef",
    "DocumentSeal",
    "FileError",
    "FluxSource",
    "IngestSummary",
    "Mode",
    "Month",
    "NatureRessource",
    "Refusal",
    "ReplacementIncome",
    "ResourceRecord",
    "SolidariteClient",
    "SolidariteError",
    "Spool",
    "Tls",
    "accept",
    "add",
    "check_dsn",
    "confirm",
    "read_dsn",
    "read_file",
    "rectify",
    "reject",
    "remove",
    "retain",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
