"""The doubts that are about what the service does (D3, D4, D10), in each of their readings, through a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from solidarite.v1 import declaration_pb2, foyer_pb2
from solidarite_client import CallError, NatureRessource, SolidariteClient, accept, rectify, reject
from solidarite_server.domain.month import Month
from solidarite_server.legislation import LegislationOptions
from solidarite_server.services.clock import SystemClock
from solidarite_server.services.controls import run_controls
from solidarite_server.services.declarations import DeclarationService
from solidarite_server.storage import open_store

from tests.integration.server.served import served
from tests.integration.server.test_life import (
    FOYER,
    PARTNER,
    SETTLED,
    M,
    State,
    day,
    dossier,
    filled,
    owed,
    partner,
    pay,
    refused,
    rsa,
    submitted,
)

DECLARED, PREFILLED = "rectification_en_attente=MONTANT_DECLARE", "rectification_en_attente=MONTANT_PREREMPLI"
WAIT, AT_ONCE = "correction_tardive=AU_CONTROLE", "correction_tardive=RECALCUL"
OPEN, FROZEN = "exceptions_ppa=SEPARATION_ET_ISOLEMENT", "exceptions_ppa=AUCUNE"


@contextmanager
def reading(folder: Path, text: str) -> Iterator[SolidariteClient]:
    with served(folder, "2026-11-03", readings=text) as (client, _):
        yield client


def ppa(declaration: declaration_pb2.Declaration) -> list[int]:
    return [month.benefits[1].montant_cents for month in declaration.entitlements]


# D3: 300 € prefilled each month, July rectified to 0. RSA: 651.69 − 200 as declared, 651.69 − 300 as prefilled.


# effect: readings
@pytest.mark.parametrize(
    ("text", "interim", "once_accepted", "once_rejected"),
    [
        ("", 45_169, [], [(1, 0, 10_000), (2, 5_955, 0)]),
        (DECLARED, 45_169, [], [(1, 0, 10_000), (2, 5_955, 0)]),
        # The prime of July goes with its salary: 0.5985 × 300 / 3 = 59.85, net of CRDS 59.55.
        (PREFILLED, 35_169, [(1, 10_000, 0), (2, 0, 5_955)], []),
    ],
)
def test_a_rectified_line_counts_for_what_was_declared_or_prefilled_until_its_decision(
    text: str, interim: int, once_accepted: list[Any], once_rejected: list[Any], tmp_path: Path
):
    for place, (decision, differences) in enumerate(
        [(accept(SETTLED), once_accepted), (reject(SETTLED, "Bulletin illisible"), once_rejected)]
    ):
        (tmp_path / str(place)).mkdir()
        with reading(tmp_path / str(place), text) as client:
            filled(client, 30_000, 30_000, 30_000)
            frozen = submitted(client, rectify(SETTLED, 0, "BULLETIN-07"))
            assert frozen.state == State.DECLARATION_STATE_EN_VERIFICATION
            assert rsa(frozen) == [interim] * 3
            answer = client.decide_rectification(FOYER, M, etag=frozen.etag, decisions=[decision])
            assert owed(answer) == differences * 3


# D4: September corrected from 300 to 600 after the submission: 651.69 − 300, then 651.69 − 400.


def corrected(client: SolidariteClient) -> declaration_pb2.Declaration:
    filled(client, 30_000, 30_000, 30_000)
    frozen = submitted(client)
    assert rsa(frozen) == [35_169] * 3
    pay(client, {"2026-09": 60_000}, version=2)
    return client.prefill_declaration(FOYER, M)


def test_a_late_correction_waits_for_a_control(tmp_path: Path):
    with reading(tmp_path, WAIT) as client:
        seen = corrected(client)
        assert (seen.state, rsa(seen)) == (State.DECLARATION_STATE_VALIDEE, [35_169] * 3)
    assert causes_found(tmp_path) == {"LATE_CORRECTION"}


def test_a_late_correction_has_the_quarter_computed_again_where_it_does_not_wait(tmp_path: Path):
    with reading(tmp_path, AT_ONCE) as client:
        seen = corrected(client)
        assert (seen.state, rsa(seen)) == (State.DECLARATION_STATE_REVISEE, [25_169] * 3)
        assert client.prefill_declaration(FOYER, M) == seen
        history = [event.message_fr for event in client.get_declaration(FOYER, M).timeline]
        told = history.index("Droits recalculés : correction d'un payeur")
        assert history[told - 1] == "Montant corrigé par un payeur"
        assert history[told + 1] == "RSA de 2026-11 : indu"
        # What a control then keeps is told against what the submission kept.
        answer = client.revise_declaration(FOYER, M, etag=seen.etag, cause="CONTROLE")
        assert [entry for entry in owed(answer) if entry[0] == 1] == [(1, 0, 10_000)] * 3
        assert rsa(client.prefill_declaration(FOYER, M)) == [25_169] * 3
    assert causes_found(tmp_path) == set()


def test_a_correction_that_changes_no_amount_leaves_the_declaration_as_it_was(tmp_path: Path):
    with reading(tmp_path, AT_ONCE) as client:
        filled(client, 30_000, 30_000, 30_000)
        frozen = submitted(client)
        pay(client, {"2026-09": 30_000}, version=2)
        assert client.prefill_declaration(FOYER, M) == frozen


def test_a_declaration_keeps_the_reading_it_was_submitted_under(tmp_path: Path):
    with reading(tmp_path, WAIT) as client:
        corrected(client)
    with reading(tmp_path, AT_ONCE) as client:
        seen = client.prefill_declaration(FOYER, M)
        assert rsa(seen) == [35_169] * 3
        revised = client.revise_declaration(FOYER, M, etag=seen.etag, cause="CONTROLE").declaration
        pay(client, {"2026-08": 90_000}, version=2)
        assert rsa(client.prefill_declaration(FOYER, M)) == rsa(revised) == [25_169] * 3


def causes_found(folder: Path) -> set[str]:
    store = open_store(f"sqlite:///{folder / 'vie.db'}", clock=SystemClock())
    try:
        options = LegislationOptions(calendrier=LegislationOptions.read("calendrier=LIBRE").calendrier)
        service = DeclarationService(store, SystemClock(), options)
        blocks = run_controls(store, service, Month.parse(M), options, detect_non_recours=False)
        return {finding.cause for block in blocks for finding in block.findings}
    finally:
        store.close()


# D10: 300 and 900 a month, then the partner leaves on 10 December.
# Couple: 957.42 + 0.5985 × 1 200 + 240.63 × (900 − 726.29) / 972.49 − 1 200 = 518.6024; alone: 0.5985 × 300 = 179.55.


@pytest.mark.parametrize(("text", "prime"), [("", 17_955), (OPEN, 17_955), (FROZEN, 51_860)])
def test_the_end_of_couple_life_opens_the_frozen_prime_or_not(text: str, prime: int, tmp_path: Path):
    with reading(tmp_path, text) as client:
        client.upsert_foyer(dossier(membres=[partner()]))
        pay(client, {"2026-07": 30_000, "2026-08": 30_000, "2026-09": 30_000})
        pay(client, {"2026-07": 90_000, "2026-08": 90_000, "2026-09": 90_000}, nir=PARTNER)
        frozen = submitted(client)
        assert (rsa(frozen), ppa(frozen)) == ([0] * 3, [51_860] * 3)
        client.upsert_foyer(dossier(membres=[partner(sortie=day("2026-12-10"))]))
        event = {"cause": "FIN_VIE_COUPLE", "event_date": date(2026, 12, 10)}
        after = client.revise_declaration(FOYER, M, etag=frozen.etag, **event).declaration  # type: ignore[arg-type]
        assert (rsa(after), ppa(after)) == ([0, 35_169, 35_169], [51_860, prime, prime])
        steps = client.get_entitlements(FOYER, M, explain=True).months[1].benefits[1].steps
        assert round(sum(float(step.amount_cents) for step in steps), 4) == prime


def test_an_interruption_opens_the_rsa_and_leaves_the_prime_as_it_was(tmp_path: Path):
    # A child of the dossier since waits for the next declaration as far as the prime goes (R843-2).
    with reading(tmp_path, "") as client:
        filled(client, 60_000, 60_000, 60_000)
        frozen = submitted(client)
        changed = dossier(
            membres=[
                foyer_pb2.Membre(
                    personne="enfant", role=foyer_pb2.ROLE_ENFANT, date_naissance=day("2014-05-01"),
                    nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
                )
            ]
        )  # fmt: skip
        changed.membres[0].interruptions.add(nature=NatureRessource.SALAIRE, date_interruption=day("2027-01-04"))
        client.upsert_foyer(changed)
        event = {"cause": "INTERRUPTION_RESSOURCES", "event_date": date(2027, 1, 4)}
        after = client.revise_declaration(FOYER, M, etag=frozen.etag, **event).declaration  # type: ignore[arg-type]
        assert rsa(after)[2] > rsa(frozen)[2]
        assert ppa(after) == ppa(frozen) == [35_910] * 3  # 0.5985 × 600


# Stays abroad (R262-5): M = November, back on 20 December after 110 days.


def test_a_stay_abroad_closes_its_months_and_says_why(tmp_path: Path):
    with reading(tmp_path, "") as client:
        client.upsert_foyer(dossier(sejours_hors_france=[{"depart": day("2026-09-01"), "retour": day("2026-12-20")}]))
        kept = client.get_foyer(FOYER).foyer
        assert kept.sejours_hors_france[0].retour == day("2026-12-20")
        pay(client, {"2026-07": 30_000, "2026-08": 30_000, "2026-09": 30_000})
        assert rsa(submitted(client)) == [0, 0, 35_169]
        november = client.get_entitlements(FOYER, M, explain=True).months[0].benefits[0]
        assert "mois civils complets" in november.motif
        (closing,) = [step for step in november.steps if step.article == "CASF R262-5"]
        (parameter,) = closing.parameters
        assert (parameter.name, parameter.value) == ("foyer.jours_hors_france", "92")
        assert parameter.label.startswith("Jours hors de France")


def test_a_stay_that_ends_before_it_begins_is_refused(tmp_path: Path):
    with reading(tmp_path, "") as client, pytest.raises(CallError) as error:
        client.upsert_foyer(dossier(sejours_hors_france=[{"depart": day("2026-09-01"), "retour": day("2026-09-01")}]))
    assert refused(error) == ("INVALID_FIELD", "foyer.sejours_hors_france[0].retour")
