"""A whole declaration month on real stores: computed once whatever the processes, resumed, controlled after."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from solidarite_server import campaign_workers
from solidarite_server.domain.errors import NotFound, RequestReplayed
from solidarite_server.domain.foyer import Foyer, Logement, Membre, Role, StatutLogement
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import FluxSource, Mode, ResourceRecord
from solidarite_server.legislation import LegislationOptions
from solidarite_server.ports import Batch, CampaignRow
from solidarite_server.record_columns import columns_of
from solidarite_server.services import blocks
from solidarite_server.services.campaign import campaign_progress, compute_block, run_campaign
from solidarite_server.services.controls import run_controls, totals_of
from solidarite_server.services.declarations import DeclarationService
from solidarite_server.services.foyers import FoyerService
from solidarite_server.services.life import Action, Benefit, Change
from solidarite_server.storage import SqliteStore, open_store

from tests.integration.server.served import served
from tests.integration.stores.records import kept

M = Month(2026, 11)
LAW = LegislationOptions()


class Ticking:
    def __init__(self) -> None:
        self.at = 1_793_600_000_000_000  # November 2026

    def now_us(self) -> int:
        self.at += 1_000
        return self.at


def person(number: int) -> bytes:
    return number.to_bytes(16, "big")


def foyer(number: int, **changes: object) -> Foyer:
    members = (Membre("demandeur", Role.ALLOCATAIRE, date(1990, 3, 1), person(number)),)
    home = (Logement(Month(2024, 1), StatutLogement.LOCATAIRE),)
    return replace(Foyer(f"{number:07d}", members, logements=home), **changes)


def salary(number: int, mois: Month, cents: int, version: int = 1, **changes: object) -> ResourceRecord:
    made = ResourceRecord(
        person(number), True, "paie", number.to_bytes(12, "big") + mois.index.to_bytes(4, "big"), version,
        FluxSource.DSN, "81234567800013", "", NatureRessource.SALAIRE, mois.last_day, mois, Mode.INITIAL, cents,
    )  # fmt: skip
    return replace(made, **changes)


def send(store: SqliteStore, *records: ResourceRecord) -> None:
    (outcome,) = store.append([Batch("paie", "", 0, columns_of(records))])
    assert not outcome.refusals


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("solidarite_server.services.campaign.BLOCK_DOSSIERS", 4)
    monkeypatch.setattr("solidarite_server.services.controls.BLOCK_DOSSIERS", 4)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[SqliteStore]:
    """Ten dossiers: 300 € a month each, one not certified, one due another month, one unreadable."""
    opened = SqliteStore(folder / "campagne.db", clock=Ticking())
    foyers = [foyer(n) for n in range(1, 9)]
    foyers[1] = foyer(2, membres=(replace(foyers[1].membres[0], nir_certifie=False),))
    foyers[2] = foyer(3, premiere_demande=Month(2026, 10))
    foyers[3] = foyer(4, premiere_demande=Month(2026, 8))
    FoyerService(opened).upsert(foyers)
    opened.put_foyers([("0000009", b'{"membres": 12}')])
    send(opened, *(salary(n, M - k, 30_000) for n in range(1, 9) for k in (4, 3, 2)))
    yield opened
    opened.close()


def run(store: SqliteStore, name: str = "nov", **where: object) -> list[object]:
    return list(run_campaign(store, name, M, LAW, **where))


def test_every_foyer_due_is_computed_and_the_others_are_counted_by_reason(store: SqliteStore):
    first, *_, last = run(store)
    assert (first.blocks_done, first.blocks_total, first.finished) == (0, 3, False)
    assert last.finished
    assert last.refusals == {blocks.NOT_PREFILLED: 1, blocks.UNREADABLE: 1}
    assert last.foyers_done == 6  # nine dossiers, less those two and the one due in October
    # 651.69 − 300; the prime: (638.28 + 0.5985 × 300 − 638.28) = 179.55
    assert (last.rsa_total_cents, last.prime_activite_total_cents) == (6 * 35_169, 6 * 17_955)
    assert store.campaign_row("nov", "0000001") == CampaignRow("0000001", 35_169, 17_955)
    assert store.campaign_row("nov", "0000003") is None


def test_a_block_gives_what_the_unary_estimate_gives(store: SqliteStore):
    send(store, salary(5, M - 2, -4_000, version=2), salary(6, M - 2, 151_234, version=2))
    run(store)
    service = DeclarationService(store, Ticking(), LAW)
    for number in (1, 4, 5, 6, 7, 8):
        rights, estimate, _ = service.entitlements(f"{number:07d}", M, known_at_us=None, explain=False)
        row = store.campaign_row("nov", f"{number:07d}")
        assert estimate
        assert row is not None
        assert (row.rsa_cents, row.prime_activite_cents) == (rights.amounts[0].rsa_cents, rights.amounts[0].ppa_cents)


def test_a_campaign_stopped_goes_on_where_it_was(store: SqliteStore):
    steps = run_campaign(store, "nov", M, LAW)
    next(steps)
    next(steps)
    steps.close()
    computed = []

    class Here:
        def submit(self, work: object, task: object) -> object:
            from concurrent.futures import Future

            computed.append(task.number)  # type: ignore[attr-defined]
            done: Future[object] = Future()
            done.set_result(work(task))  # type: ignore[operator]
            return done

    *_, last = run(store, executor=Here(), work=lambda task: compute_block(store, task))
    assert computed == [1, 2]
    assert last.finished
    assert last.foyers_done == 6
    assert run(store) == [campaign_progress(store, "nov")]


def test_the_name_of_a_campaign_is_that_of_one_month(store: SqliteStore):
    run(store)
    with pytest.raises(RequestReplayed):
        list(run_campaign(store, "nov", M + 1, LAW))
    with pytest.raises(NotFound):
        campaign_progress(store, "other")


@contextmanager
def cluster() -> Iterator[str]:
    """A Dask cluster of two worker processes on free ports; yields its address."""
    from distributed import LocalCluster

    made = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1")
    try:
        yield made.scheduler_address
    finally:
        made.close()


def test_processes_and_a_dask_cluster_give_the_same_results(store: SqliteStore, folder: Path):
    here = run(store, "ici")[-1]
    url = f"sqlite:///{folder / 'campagne.db'}"
    with campaign_workers.processes(2) as pool:
        there = run(store, "processus", executor=pool, work=campaign_workers.work_on(url))[-1]
    with cluster() as address, campaign_workers.dask(address) as executor:
        far = run(store, "grappe", executor=executor, work=campaign_workers.work_on(url))[-1]
    for other in (there, far):
        assert replace(other, foyers_per_s=0) == replace(here, foyers_per_s=0)


def test_a_dask_cluster_computes_a_campaign_over_postgresql(store: SqliteStore, postgres_url: str):
    shared = open_store(postgres_url, clock=Ticking())
    shared.put_foyers([(numero, stored.payload) for numero, stored in store.foyers_between("", None)])
    shared.append(
        [Batch("paie", "", 0, columns_of([salary(n, M - k, 30_000) for n in range(1, 9) for k in (4, 3, 2)]))]
    )
    here = run(store, "ici")[-1]
    with cluster() as address, campaign_workers.dask(address) as executor:
        far = run(shared, "grappe", executor=executor, work=campaign_workers.work_on(postgres_url))[-1]
    assert replace(far, foyers_per_s=0) == replace(here, foyers_per_s=0)
    assert shared.campaign_row("grappe", "0000001") == store.campaign_row("ici", "0000001")
    shared.close()


def change(action: Action, number: int, cents: int = 0, **fields: object) -> Change:
    return Change(action, (f"demandeur/{M - 4}/SALAIRE",), cents, "pièce", **fields)


def test_a_control_finds_each_cause_and_nothing_else(store: SqliteStore):
    service = DeclarationService(store, Ticking(), LAW)
    for number in (1, 4, 5, 6, 7):
        numero = f"{number:07d}"
        etag = service.view(numero, M).etag
        if number == 6:
            changes = [change(Action.RECTIFY, number, 0)]
            etag = kept(store, service.amend(numero, M, etag=etag, request_id="a", changes=changes)).etag
        kept(store, service.submit(numero, M, etag=etag, request_id="s", explain=False))
    send(store, salary(4, M - 2, 60_000, version=2))
    send(store, salary(5, M - 3, 9_000, nature=NatureRessource.CHOMAGE, record_id=b"c" * 16))
    FoyerService(store).upsert([foyer(7, membres=(*foyer(7).membres,), aide_logement={M - 4: 20_000})])
    send(store, salary(1, M - 2, 31_000, version=2))
    send(store, salary(1, M - 2, 30_000, version=3))  # back to what was submitted: nothing to say

    found, totals = [], {}
    for block in run_controls(store, service, M, LAW, detect_non_recours=True):
        found.extend(block.findings)
        totals_of(block.findings, totals)
    by_foyer = {(f.numero_allocataire, f.cause) for f in found}
    assert by_foyer == {
        ("0000004", "LATE_CORRECTION"),
        ("0000005", "MISSING_LINE"),
        ("0000006", "RECTIFICATION_PENDING"),
        ("0000007", "DOSSIER_CHANGED"),
        ("0000008", "NON_RECOURS"),
    }
    rsa = {f.numero_allocataire: (f.due_cents, f.known_cents) for f in found if f.benefit is Benefit.RSA}
    assert rsa["0000004"] == (3 * 35_169, 3 * 25_169)  # 651.69 − (300 + 300 + 600) / 3
    assert rsa["0000005"] == (3 * 35_169, 3 * 32_169)
    assert rsa["0000006"] == (3 * 45_169, 3 * 35_169)
    assert rsa["0000008"] == (0, 3 * 35_169)
    late = totals["LATE_CORRECTION", Benefit.RSA]
    assert (late.foyers, late.indu_cents, late.rappel_cents) == (1, 30_000, 0)


def test_a_control_says_what_the_revision_then_does(store: SqliteStore):
    service = DeclarationService(store, Ticking(), LAW)
    etag = service.view("0000004", M).etag
    view = kept(store, service.submit("0000004", M, etag=etag, request_id="s", explain=False))
    send(store, salary(4, M - 2, 60_000, version=2))
    findings = [f for b in run_controls(store, service, M, LAW, detect_non_recours=False) for f in b.findings]
    from solidarite_server.services.life import Cause

    proposed = service.revise(
        "0000004", M, etag=view.etag, request_id="r", cause=Cause.CONTROLE, event_date=None, motif=""
    )
    revised = kept(store, proposed)
    for benefit in Benefit:
        before = sum(d.before_cents for d in revised.differences if d.benefit is benefit)
        after = sum(d.after_cents for d in revised.differences if d.benefit is benefit)
        assert [(f.due_cents - f.known_cents) for f in findings if f.benefit is benefit] == [before - after]
    assert not [f for b in run_controls(store, service, M, LAW, detect_non_recours=False) for f in b.findings]


def test_campaigns_and_controls_answer_through_the_server(tmp_path: Path):
    with served(tmp_path, "2026-11-03") as (client, _):
        progress = list(client.run_campaign("vide", "2026-11"))
        assert progress[-1].finished
        assert client.get_campaign("vide").finished
        (last,) = [answer for answer in client.run_controls("2026-11") if answer.finished]
        assert last.foyers_compared == 0


def solidarite(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "solidarite_client", *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_command_runs_shows_and_controls_a_campaign(store: SqliteStore, folder: Path):
    url = f"sqlite:///{folder / 'campagne.db'}"
    done = solidarite("campaign", "run", "nov", "--month", "2026-11", "--store", url, "--processes", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["foyers_done"] == 6
    shown = solidarite("campaign", "show", "nov", "--store", url)
    assert "6 foyers calculés" in shown.stdout
    controlled = solidarite("campaign", "controls", "--month", "2026-11", "--store", url, "--non-recours")
    assert "NON_RECOURS, RSA : 6 foyers" in controlled.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("campaign", "show", "nov", "--store", "sqlite:///absent.db"), "absent.db n'existe pas"),
        (("campaign", "show", "nov", "--store", "oracle://x"), "sqlite:///"),
        (("campaign", "run", "nov", "--month", "2026-13"), "AAAA-MM"),
    ],
)
def test_a_wrong_argument_is_said_in_one_line(arguments: tuple[str, ...], said: str):
    done = solidarite(*arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
