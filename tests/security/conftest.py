"""One TLS server for all the questions asked at the door, with two households and the records of a source."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from solidarite_client import ClientSettings, SolidariteClient, Tls
from solidarite_client.cli_foyer import read_dossiers
from solidarite_server import authority

from tests.security.door import SOURCE, Door, running_door


@pytest.fixture(scope="package")
def samples() -> Iterator[Path]:
    """The files of the demonstration."""
    with as_file(files("solidarite_server") / "demo_data") as folder:
        yield folder


@pytest.fixture(scope="package")
def door(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Iterator[Door]:
    with running_door(tmp_path_factory.mktemp("porte")) as door:
        with as_agent(door) as agent:
            for dossier in read_dossiers(samples / "foyers.json"):
                agent.upsert_foyer(dossier)
        with as_source(door) as source:
            source.ingest_file(samples / "dsn" / "etoile-2026-07.dsn", source_id=SOURCE)
        yield door


def as_agent(door: Door, **changes: object) -> SolidariteClient:
    """A client with the token of an agent, or of whom the claims say."""
    tls = Tls(root_certificates=door.auth / "authority.pem")
    settings = ClientSettings(tls=tls, token=door.token(**changes), attempts=1)  # type: ignore[arg-type]
    return SolidariteClient(door.server.other_addresses[0], settings)


def as_source(door: Door, source: str = SOURCE) -> SolidariteClient:
    """A client with the certificate of a source."""
    made = authority.certify_source(door.auth, source, 1)
    tls = Tls(
        root_certificates=door.auth / "authority.pem", certificate_chain=made, private_key=made.with_suffix(".key")
    )
    return SolidariteClient(door.server.address, ClientSettings(tls=tls, attempts=1))
