"""Nobody keeps the others out by opening streams: the places are for who is known, and no more than half for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from solidarite.v1 import declaration_pb2, declaration_pb2_grpc
from solidarite_client import SolidariteError
from solidarite_client.cli_foyer import read_dossiers

from tests.security.conftest import as_agent, as_source
from tests.security.door import SOURCE, Door, bearer, running_door

WATCH = "/solidarite.v1.DeclarationService/WatchDeclaration"
PLACES = 4


@pytest.fixture
def narrow(tmp_path: Path, samples: Path) -> Iterator[Door]:
    with running_door(tmp_path, open_streams=PLACES, unary_seconds=4) as door:
        with as_agent(door) as agent:
            agent.upsert_foyer(read_dossiers(samples / "foyers.json")[0])
        yield door


def watched(door: Door, dossier: str, token: str) -> grpc.CallIterator[declaration_pb2.WatchDeclarationResponse]:
    asked = declaration_pb2.WatchDeclarationRequest(numero_allocataire=dossier)
    asked.mois_declaration.year, asked.mois_declaration.month = 2026, 11
    stub = declaration_pb2_grpc.DeclarationServiceStub(door.channel())
    return stub.WatchDeclaration(asked, metadata=bearer(token), timeout=60)


def sends(door: Door, samples: Path) -> None:
    with as_source(door) as source:
        source.ingest_file(samples / "dsn" / "etoile-2026-07.dsn", source_id=SOURCE)


def test_portals_that_watch_leave_half_of_the_streams_to_the_sources(narrow: Door, samples: Path):
    dossier = read_dossiers(samples / "foyers.json")[0].numero_allocataire
    tokens = [narrow.token(kind="portail", sub=f"portail-{each}", dossier=dossier) for each in range(3)]
    held = [watched(narrow, dossier, token) for token in tokens[:2]]
    assert all(next(stream).etag for stream in held)
    with pytest.raises(grpc.RpcError) as refused:
        next(watched(narrow, dossier, tokens[2]))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "moitié" in refused.value.details()
    sends(narrow, samples)
    agents = [watched(narrow, dossier, narrow.token()) for _ in range(2)]
    assert all(next(stream).etag for stream in agents)
    with pytest.raises(SolidariteError) as full:  # control: without a place left, a source is refused
        sends(narrow, samples)
    assert full.value.reason == "OVERLOADED"
    for stream in (*held, *agents):
        stream.cancel()


def test_streams_that_say_nothing_take_no_place(narrow: Door, samples: Path):
    silent = threading.Event()
    channel = narrow.channel()
    held = [channel.stream_stream(WATCH)((b"" for _ in iter(silent.wait, True)), timeout=60) for _ in range(2 * PLACES)]
    sends(narrow, samples)
    for stream in held:
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    silent.set()
