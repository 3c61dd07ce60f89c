"""The pseudonyms of a server's store renewed by another process, a slice at a time: callers see nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest
from solidarite_client import SolidariteClient, confirm
from solidarite_client.cli_foyer import read_dossiers
from solidarite_server.cli_demo import running_server
from solidarite_server.services import keyring, renewal
from solidarite_server.services.clock import SystemClock
from solidarite_server.storage import open_store

from tests.integration.stores.renewals import small_slices

DEMO = Path(str(files("solidarite_server") / "demo_data"))
ACTOR, M = "exploitant:essai", "2026-11"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[SolidariteClient]:
    with running_server(tmp_path) as address, SolidariteClient(address) as client:
        yield client


def test_each_household_is_prefilled_the_same_to_the_byte_at_each_slice_while_sources_and_agents_go_on(
    served: SolidariteClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small_slices(monkeypatch)
    sent = sorted((DEMO / "dsn").glob("*.dsn"))
    dossiers = read_dossiers(DEMO / "foyers.json")
    numbers = [dossier.numero_allocataire for dossier in dossiers]
    uploads = 0

    def ingest() -> list[tuple[int, int]]:
        nonlocal uploads
        uploads += 1
        outcomes = [
            served.ingest_file(path, source_id="paie", spool_directory=tmp_path / f"spool{uploads}-{place}")
            for place, path in enumerate(sent)
        ]
        return [(outcome.accepted + outcome.replaced, outcome.unchanged) for outcome in outcomes]

    def prefilled() -> list[bytes]:
        declarations = [served.prefill_declaration(numero, M) for numero in numbers]
        for declaration in declarations:
            declaration.ClearField("known_at")  # of the newest commit: each slice is one
        return [declaration.SerializeToString(deterministic=True) for declaration in declarations]

    first = ingest()
    for dossier in dossiers:
        served.upsert_foyer(dossier)
    before = prefilled()
    assert prefilled() == before
    key_file = tmp_path / "demo.db.key"
    url = f"sqlite:///{tmp_path / 'demo.db'}"
    with closing(open_store(url, clock=SystemClock(), keys=keyring.load(key_file))) as store:
        renewal.begin(store, key_file, ACTOR)
        slices = 0
        while store.renew_some():
            slices += 1
            assert prefilled() == before
            if slices % 6 == 1:
                # Known again, all of it: nothing counts twice.
                assert ingest() == [(0, new + same) for new, same in first]
                assert not served.upsert_foyer(dossiers[slices % len(dossiers)]).changed
        assert slices >= 4  # a slice of records at least, then the dossiers two at a time
        renewal.finish(store, 2, ACTOR)
        assert store.check() == []
    assert prefilled() == before
    declaration = served.prefill_declaration("0000002", M)
    amended = served.amend_declaration("0000002", M, etag=declaration.etag, amendments=[confirm()])
    assert served.submit_declaration("0000002", M, etag=amended.etag).entitlements
