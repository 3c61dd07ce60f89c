"""The life of a declaration through a real server: every state, every refusal, amounts written out.

One person alone, tenant without housing benefit, M = November 2026: reference months July, August, September.
RSA = 651.69 − mean of the three months; the prime is below its threshold or shown where it counts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from solidarite.v1 import common_pb2, declaration_pb2, foyer_pb2
from solidarite_client import (
    CallError,
    NatureRessource,
    ResourceRecord,
    SolidariteClient,
    accept,
    add,
    confirm,
    rectify,
    reject,
    remove,
    retain,
)
from solidarite_client.models import FluxSource

from tests.integration.server.served import MovedClock, served

M = "2026-11"
FOYER = "0004242"
PERSON = "2840575999101"
PARTNER = "1901175999102"
SETTLED = "demandeur/2026-07/SALAIRE"

State = declaration_pb2.DeclarationState


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[SolidariteClient, MovedClock]]:
    with served(tmp_path, "2026-11-03") as world:
        yield world


@pytest.fixture
def client(world: tuple[SolidariteClient, MovedClock]) -> SolidariteClient:
    return world[0]


@pytest.fixture
def clock(world: tuple[SolidariteClient, MovedClock]) -> MovedClock:
    return world[1]


def day(text: str) -> common_pb2.Date:
    found = date.fromisoformat(text)
    return common_pb2.Date(year=found.year, month=found.month, day=found.day)


def dossier(**changes: Any) -> foyer_pb2.Foyer:
    foyer = foyer_pb2.Foyer(
        numero_allocataire=FOYER,
        zone=foyer_pb2.ZONE_METROPOLE,
        regime=foyer_pb2.REGIME_CAF,
        membres=[
            foyer_pb2.Membre(
                personne="demandeur",
                role=foyer_pb2.ROLE_ALLOCATAIRE,
                date_naissance=day("1990-03-01"),
                nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
                nir=PERSON,
            )
        ],
        logements=[
            foyer_pb2.Logement(debut=common_pb2.Month(year=2024, month=1), statut=foyer_pb2.STATUT_LOGEMENT_LOCATAIRE)
        ],
    )
    foyer.MergeFrom(foyer_pb2.Foyer(**changes))
    return foyer


def partner(**changes: Any) -> foyer_pb2.Membre:
    return foyer_pb2.Membre(
        personne="conjoint",
        role=foyer_pb2.ROLE_CONJOINT,
        date_naissance=day("1988-01-01"),
        nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
        nir=PARTNER,
        **changes,
    )


def pay(client: SolidariteClient, amounts: dict[str, int], nir: str = PERSON, **fields: Any) -> None:
    """Send one salary a month, in cents."""
    records = [
        ResourceRecord(
            nir=nir,
            **{
                "record_id": bytes.fromhex(f"{int(nir):026d}{month.replace('-', '')}"),
                "flux_source": FluxSource.DSN,
                "declarant": "81234567800013",
                "nature": NatureRessource.SALAIRE,
                "date_versement": f"{month}-28",
                "montant_net_social_cents": cents,
                **fields,
            },
        )
        for month, cents in amounts.items()
    ]
    summary = client.ingest(records, source_id="paie")
    assert not summary.refused


def filled(client: SolidariteClient, *amounts: int) -> None:
    client.upsert_foyer(dossier())
    pay(client, dict(zip(("2026-07", "2026-08", "2026-09"), amounts, strict=False)))


def submitted(client: SolidariteClient, *amendments: Any) -> declaration_pb2.Declaration:
    seen = client.prefill_declaration(FOYER, M)
    if amendments:
        seen = client.amend_declaration(FOYER, M, etag=seen.etag, amendments=amendments)
    return client.submit_declaration(FOYER, M, etag=seen.etag)


def rsa(declaration: declaration_pb2.Declaration) -> list[int]:
    return [month.benefits[0].montant_cents for month in declaration.entitlements]


def line(declaration: declaration_pb2.Declaration, line_id: str) -> declaration_pb2.DeclarationLine:
    return next(line for line in declaration.lines if line.line_id == line_id)


def owed(answer: Any) -> list[tuple[int, int, int]]:
    """(benefit, rappel, indu) by month of right."""
    return [(d.benefit, d.rappel_cents, d.indu_cents) for d in answer.differences]


def refused(error: pytest.ExceptionInfo[CallError]) -> tuple[str, str]:
    return error.value.reason, error.value.field


# The household's part


def test_an_accepted_rectification_changes_nothing_more_since_the_declared_amount_was_paid(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    frozen = submitted(client, rectify(SETTLED, 0, "BULLETIN-07"))
    assert frozen.state == State.DECLARATION_STATE_EN_VERIFICATION
    assert rsa(frozen) == [45_169] * 3  # 651.69 − (0 + 300 + 300) / 3
    answer = client.decide_rectification(FOYER, M, etag=frozen.etag, decisions=[accept(SETTLED)])
    assert answer.declaration.state == State.DECLARATION_STATE_REVISEE
    assert line(answer.declaration, SETTLED).status == declaration_pb2.LINE_STATUS_ACCEPTE
    assert owed(answer) == []


def test_a_rejected_rectification_leaves_an_overpayment_for_each_month_paid(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    frozen = submitted(client, rectify(SETTLED, 0, "BULLETIN-07"))
    answer = client.decide_rectification(FOYER, M, etag=frozen.etag, decisions=[reject(SETTLED, "Bulletin illisible")])
    assert rsa(answer.declaration) == [35_169] * 3  # 651.69 − 300
    # The prime of July comes back with the salary: 0.5985 × 300 / 3 = 59.85, net of CRDS 59.55.
    assert owed(answer) == [(1, 0, 10_000), (2, 5_955, 0)] * 3
    assert answer.differences[0].motif_fr == "Bulletin illisible"
    assert line(answer.declaration, SETTLED).montant_retenu_cents == 30_000


def test_a_partial_decision_retains_its_own_amount(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    frozen = submitted(client, rectify(SETTLED, 0, "BULLETIN-07"))
    answer = client.decide_rectification(
        FOYER, M, etag=frozen.etag, decisions=[retain(SETTLED, 15_000, "Acompte déjà versé")]
    )
    assert rsa(answer.declaration) == [40_169] * 3  # 651.69 − (150 + 300 + 300) / 3
    assert line(answer.declaration, SETTLED).montant_retenu_cents == 15_000


def test_a_declaration_stays_under_verification_until_its_last_rectified_line_is_decided(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    other = SETTLED.replace("07", "08")
    frozen = submitted(client, rectify(SETTLED, 0, "A"), rectify(other, 10_000, "B"))
    first = client.decide_rectification(FOYER, M, etag=frozen.etag, decisions=[accept(SETTLED)])
    assert first.declaration.state == State.DECLARATION_STATE_EN_VERIFICATION
    last = client.decide_rectification(FOYER, M, etag=first.declaration.etag, decisions=[accept(other)])
    assert last.declaration.state == State.DECLARATION_STATE_REVISEE
    with pytest.raises(CallError) as error:
        client.decide_rectification(FOYER, M, etag=last.declaration.etag, decisions=[accept(other)])
    assert refused(error) == ("TRANSITION_REFUSED", "")


def test_decisions_are_applied_together_or_not_at_all(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    frozen = submitted(client, rectify(SETTLED, 0, "A"))
    wrong = SETTLED.replace("07", "08")
    for decisions, field in (
        ([accept(SETTLED), accept(wrong)], "decisions[1].line_id"),
        ([reject(SETTLED, "")], "decisions[0].motif_fr"),
        ([retain(SETTLED, -1, "non")], "decisions[0].montant_retenu_cents"),
        ([declaration_pb2.LineDecision(line_id=SETTLED)], "decisions[0].decision"),
        ([], "decisions"),
    ):
        with pytest.raises(CallError) as error:
            client.decide_rectification(FOYER, M, etag=frozen.etag, decisions=decisions)
        assert refused(error) == ("INVALID_FIELD", field)
    assert client.prefill_declaration(FOYER, M) == frozen


def test_a_rectification_is_taken_back_by_confirming_the_line(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    seen = client.prefill_declaration(FOYER, M)
    amended = client.amend_declaration(
        FOYER, M, etag=seen.etag, amendments=[rectify(SETTLED, 0, "A"), confirm(SETTLED)]
    )
    assert line(amended, SETTLED).status == declaration_pb2.LINE_STATUS_CONFIRME
    assert not line(amended, SETTLED).HasField("montant_declare_cents")


def test_the_actions_that_a_line_does_not_allow_are_refused_by_field(client: SolidariteClient):
    filled(client, 30_000, 30_000)
    seen = client.prefill_declaration(FOYER, M)
    empty = "demandeur/2026-09/ETRANGER_TRAVAIL"
    assert line(seen, empty).status == declaration_pb2.LINE_STATUS_A_DECLARER
    for amendment, field in (
        (rectify(empty, 1, "A"), "amendments[0].rectification.line_id"),
        (confirm(empty), "amendments[0].confirmation.line_ids"),
        (remove(SETTLED), "amendments[0].removed_line_id"),
        (add("demandeur", "2026-07", NatureRessource.SALAIRE, 1), "amendments[0].addition"),
        (add("personne", "2026-07", NatureRessource.AUTRE, 1), "amendments[0].addition.personne"),
        (add("demandeur", "2026-10", NatureRessource.AUTRE, 1), "amendments[0].addition.mois"),
        (add("demandeur", "2026-07", NatureRessource.AAH, 1), "amendments[0].addition.nature"),
        (add("demandeur", "2026-07", NatureRessource.AUTRE, -1), "amendments[0].addition.montant_declare_cents"),
        (declaration_pb2.Amendment(), "amendments[0]"),
    ):
        with pytest.raises(CallError) as error:
            client.amend_declaration(FOYER, M, etag=seen.etag, amendments=[amendment])
        assert refused(error) == ("INVALID_FIELD", field), amendment


def test_an_empty_line_is_filled_by_an_addition_and_comes_back_when_it_is_removed(client: SolidariteClient):
    filled(client, 30_000, 30_000)
    empty = "demandeur/2026-09/ETRANGER_TRAVAIL"
    seen = client.prefill_declaration(FOYER, M)
    added = client.amend_declaration(
        FOYER, M, etag=seen.etag, amendments=[add("demandeur", "2026-09", NatureRessource.ETRANGER_TRAVAIL, 20_000)]
    )
    assert line(added, empty).montant_retenu_cents == 20_000
    removed = client.amend_declaration(FOYER, M, etag=added.etag, amendments=[remove(empty)])
    assert line(removed, empty).status == declaration_pb2.LINE_STATUS_A_DECLARER
    assert rsa(client.submit_declaration(FOYER, M, etag=removed.etag)) == [45_169] * 3


# The calendar


def test_before_its_month_a_declaration_can_be_looked_at_and_not_filed(world: tuple[SolidariteClient, MovedClock]):
    client, clock = world
    filled(client, 30_000, 30_000, 30_000)
    clock.set("2026-10-31T22:59")  # 31 October, 23:59 in Paris (winter time has begun)
    seen = client.prefill_declaration(FOYER, M)
    with pytest.raises(CallError, match="du 01/11/2026 au 30/11/2026") as error:
        client.submit_declaration(FOYER, M, etag=seen.etag)
    assert refused(error) == ("WINDOW_CLOSED", "mois_declaration")
    clock.set("2026-10-31T23:00")
    assert client.submit_declaration(FOYER, M, etag=seen.etag).state == State.DECLARATION_STATE_VALIDEE


def test_a_late_declaration_is_accepted_and_said_late_then_it_is_not_returned(
    world: tuple[SolidariteClient, MovedClock],
):
    client, clock = world
    filled(client, 30_000, 30_000, 30_000)
    seen = client.prefill_declaration(FOYER, M)
    clock.set("2027-03-01T12:00")
    lost = client.prefill_declaration(FOYER, M)
    assert lost.state == State.DECLARATION_STATE_NON_RETOURNEE
    with pytest.raises(CallError) as error:
        client.amend_declaration(FOYER, M, etag=lost.etag, amendments=[confirm()])
    assert refused(error) == ("WINDOW_CLOSED", "mois_declaration")
    clock.set("2027-02-28T12:00")
    client.submit_declaration(FOYER, M, etag=seen.etag)
    assert client.get_declaration(FOYER, M).timeline[-1].kind == "SUBMITTED_LATE"


def test_two_frozen_quarters_never_cover_the_same_month(client: SolidariteClient, clock: MovedClock):
    filled(client, 30_000, 30_000, 30_000)
    submitted(client)
    clock.set("2026-12-03")
    seen = client.prefill_declaration(FOYER, "2026-12")
    with pytest.raises(CallError, match="2026-11 couvre déjà") as error:
        client.submit_declaration(FOYER, "2026-12", etag=seen.etag)
    assert error.value.reason == "TRANSITION_REFUSED"


def test_two_years_after_the_quarter_a_declaration_is_closed(client: SolidariteClient, clock: MovedClock):
    filled(client, 30_000, 30_000, 30_000)
    submitted(client)
    clock.set("2029-02-01")
    closed = client.prefill_declaration(FOYER, M)
    assert closed.state == State.DECLARATION_STATE_CLOSE
    with pytest.raises(CallError, match="close"):
        client.revise_declaration(FOYER, M, etag=closed.etag, cause="CONTROLE")


# Late corrections


def test_a_correction_that_was_not_seen_is_never_validated(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    seen = client.prefill_declaration(FOYER, M)
    pay(client, {"2026-09": 45_000}, version=2)
    with pytest.raises(CallError) as error:
        client.submit_declaration(FOYER, M, etag=seen.etag)
    assert error.value.reason == "ETAG_STALE"
    again = client.prefill_declaration(FOYER, M)
    assert [(s.code, s.line_id) for s in again.signals] == [("LATE_CORRECTION", "demandeur/2026-09/SALAIRE")]
    assert rsa(client.submit_declaration(FOYER, M, etag=again.etag)) == [30_169] * 3  # 651.69 − 350


def test_a_confirmed_amount_that_the_records_change_is_to_be_confirmed_again(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    seen = client.prefill_declaration(FOYER, M)
    client.amend_declaration(FOYER, M, etag=seen.etag, amendments=[confirm()])
    pay(client, {"2026-09": 45_000}, version=2)
    after = client.prefill_declaration(FOYER, M)
    assert [entry.status for entry in after.lines] == [
        declaration_pb2.LINE_STATUS_CONFIRME,
        declaration_pb2.LINE_STATUS_CONFIRME,
        declaration_pb2.LINE_STATUS_PREREMPLI,
    ]


def test_an_amount_added_by_hand_is_not_counted_twice_when_its_record_arrives(client: SolidariteClient):
    filled(client, 30_000, 30_000)
    seen = client.prefill_declaration(FOYER, M)
    client.amend_declaration(
        FOYER, M, etag=seen.etag, amendments=[add("demandeur", "2026-09", NatureRessource.SALAIRE, 29_000)]
    )
    pay(client, {"2026-09": 30_000})
    after = client.prefill_declaration(FOYER, M)
    both = line(after, "demandeur/2026-09/SALAIRE")
    assert (both.montant_declare_cents, both.montant_prerempli_cents, both.montant_retenu_cents) == (
        29_000, 30_000, 29_000,
    )  # fmt: skip
    assert "RECORD_FOR_ADDED_LINE" in {signal.code for signal in after.signals}
    removed = client.amend_declaration(FOYER, M, etag=after.etag, amendments=[remove(both.line_id)])
    assert line(removed, both.line_id).status == declaration_pb2.LINE_STATUS_PREREMPLI


def test_who_watches_is_told_of_a_correction_and_of_the_submission(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    notices: list[declaration_pb2.WatchDeclarationResponse] = []
    first, changed = threading.Event(), threading.Event()

    def watch() -> None:
        for notice in client.watch_declaration(FOYER, M):
            notices.append(notice)
            (changed if notice.changes else first).set()

    thread = threading.Thread(target=watch)
    thread.start()
    assert first.wait(10)
    pay(client, {"2026-09": 45_000}, version=2)
    assert changed.wait(10)
    (change,) = notices[1].changes
    assert (change.before.montant_prerempli_cents, change.after.montant_prerempli_cents) == (30_000, 45_000)
    assert notices[1].etag == client.prefill_declaration(FOYER, M).etag
    frozen = submitted(client)
    thread.join(10)
    assert not thread.is_alive()
    assert notices[-1].etag == frozen.etag


def test_after_the_submission_a_correction_changes_nothing_until_a_control(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    frozen = submitted(client)
    pay(client, {"2026-09": 60_000}, version=2)
    pay(client, {"2026-08": 9_000}, nature=NatureRessource.CHOMAGE, declarant="FRANCETRAVAIL",
        record_id=bytes(16), flux_source=FluxSource.PASRAU)  # fmt: skip
    assert client.prefill_declaration(FOYER, M) == frozen
    answer = client.revise_declaration(FOYER, M, etag=frozen.etag, cause="CONTROLE", motif_fr="Contrôle")
    assert answer.declaration.state == State.DECLARATION_STATE_REVISEE
    assert rsa(answer.declaration) == [22_169] * 3  # 651.69 − (300 + 300 + 90 + 600) / 3
    assert [entry for entry in owed(answer) if entry[0] == 1] == [(1, 0, 13_000)] * 3
    assert line(answer.declaration, "demandeur/2026-08/CHOMAGE").montant_retenu_cents == 9_000
    assert client.get_declaration(FOYER, M).declaration == answer.declaration


def test_a_control_keeps_what_the_household_and_the_agency_said(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    frozen = submitted(client, rectify(SETTLED, 0, "A"), add("demandeur", "2026-08", NatureRessource.AUTRE, 3_000))
    decided = client.decide_rectification(FOYER, M, etag=frozen.etag, decisions=[accept(SETTLED)]).declaration
    pay(client, {"2026-07": 99_000}, version=2)
    answer = client.revise_declaration(FOYER, M, etag=decided.etag, cause="CONTROLE")
    kept = line(answer.declaration, SETTLED)
    assert (kept.status, kept.montant_prerempli_cents, kept.montant_retenu_cents) == (
        declaration_pb2.LINE_STATUS_ACCEPTE, 99_000, 0,
    )  # fmt: skip
    assert owed(answer) == []


# The three exceptions to the frozen quarter


def test_the_end_of_couple_life_leaves_the_former_partner_out_from_its_month_on(client: SolidariteClient):
    client.upsert_foyer(dossier(membres=[partner()]))
    pay(client, {"2026-07": 30_000, "2026-08": 30_000, "2026-09": 30_000})
    pay(client, {"2026-07": 90_000, "2026-08": 90_000, "2026-09": 90_000}, nir=PARTNER)
    frozen = submitted(client)
    assert rsa(frozen) == [0] * 3  # 977.535 − 1,200 < 0
    client.upsert_foyer(dossier(membres=[partner(sortie=day("2026-12-10"))]))
    answer = client.revise_declaration(
        FOYER, M, etag=frozen.etag, cause="FIN_VIE_COUPLE", event_date=date(2026, 12, 10), motif_fr="Séparation"
    )
    assert rsa(answer.declaration) == [0, 35_169, 35_169]  # from December: 651.69 − 300
    assert {d.mois_droit.month for d in answer.differences} == {12, 1}
    assert [entry for entry in owed(answer) if entry[0] == 1] == [(1, 35_169, 0)] * 2


def test_a_certain_interruption_neutralises_the_salary_from_its_month_on(client: SolidariteClient):
    filled(client, 60_000, 60_000, 60_000)
    frozen = submitted(client)
    assert rsa(frozen) == [5_169] * 3
    interrupted = dossier()
    interrupted.membres[0].interruptions.add(nature=NatureRessource.SALAIRE, date_interruption=day("2027-01-04"))
    client.upsert_foyer(interrupted)
    answer = client.revise_declaration(
        FOYER, M, etag=frozen.etag, cause="INTERRUPTION_RESSOURCES", event_date=date(2027, 1, 4)
    )
    assert rsa(answer.declaration) == [5_169, 5_169, 65_169]


def test_an_entry_into_isolation_opens_the_majoration_from_its_month_on(client: SolidariteClient):
    child = foyer_pb2.Membre(
        personne="enfant", role=foyer_pb2.ROLE_ENFANT, date_naissance=day("2024-05-01"),
        nationalite=foyer_pb2.NATIONALITE_FRANCAISE,
    )  # fmt: skip
    client.upsert_foyer(dossier(membres=[partner(), child]))
    frozen = submitted(client)
    assert rsa(frozen) == [117_304] * 3  # 1.8 × 651.69, three persons
    client.upsert_foyer(
        dossier(membres=[partner(sortie=day("2026-12-02")), child], isolements=[{"debut": day("2026-12-02")}])
    )
    answer = client.revise_declaration(FOYER, M, etag=frozen.etag, cause="ISOLEMENT", event_date=date(2026, 12, 2))
    assert rsa(answer.declaration) == [117_304, 111_580, 111_580]  # 1.71216 × 651.69
    steps = client.get_entitlements(FOYER, M, explain=True).months[1].benefits[0].steps
    assert round(sum(float(step.amount_cents) for step in steps), 4) == 111_580


def test_an_exception_needs_its_day_in_the_quarter_and_its_fact_in_the_dossier(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    frozen = submitted(client)
    for cause, when in (("ISOLEMENT", None), ("ISOLEMENT", date(2027, 2, 1)), ("ISOLEMENT", date(2026, 12, 1))):
        with pytest.raises(CallError) as error:
            client.revise_declaration(FOYER, M, etag=frozen.etag, cause=cause, event_date=when)
        assert refused(error) == ("INVALID_FIELD", "event_date")


def test_before_the_submission_there_is_nothing_to_decide_nor_to_revise(client: SolidariteClient):
    filled(client, 30_000, 30_000, 30_000)
    seen = client.prefill_declaration(FOYER, M)
    with pytest.raises(CallError, match="pas encore validée"):
        client.decide_rectification(FOYER, M, etag=seen.etag, decisions=[accept(SETTLED)])
    with pytest.raises(CallError, match="pas encore validée"):
        client.revise_declaration(FOYER, M, etag=seen.etag, cause="CONTROLE")


# History


def test_the_history_tells_who_did_what_when_and_from_which_record(client: SolidariteClient, clock: MovedClock):
    filled(client, 30_000, 30_000, 30_000)
    clock.set("2026-11-05")
    frozen = submitted(client, rectify(SETTLED, 0, "A"))
    clock.set("2026-11-20")
    before_decision = clock.now
    clock.set("2026-12-01")
    client.decide_rectification(FOYER, M, etag=frozen.etag, decisions=[reject(SETTLED, "Bulletin illisible")])
    history = client.get_declaration(FOYER, M).timeline
    assert [(event.actor, event.kind) for event in history] == [
        *[("paie", "RECORD_INITIAL")] * 3,
        ("foyer", "LINE_RECTIFIED"),
        ("foyer", "SUBMITTED"),
        ("caf", "DECIDED"),
        *[("caf", "INDU"), ("caf", "RAPPEL")] * 3,
    ]
    rectified = history[3]
    assert (rectified.line_id, rectified.before_cents, rectified.after_cents) == (SETTLED, 30_000, 0)
    assert all(len(event.record_ids) == 1 for event in history[:3])
    assert client.get_declaration(FOYER, M, known_at=before_decision).declaration == frozen
    assert rsa(client.get_declaration(FOYER, M, known_at=before_decision).declaration) == [45_169] * 3
    early = client.get_entitlements(FOYER, M, known_at=before_decision)
    assert early.months[0].benefits[0].montant_cents == 45_169


def test_signals_inform_and_never_block(client: SolidariteClient):
    client.upsert_foyer(dossier())
    pay(client, {"2026-07": 20_000, "2026-08": 250_000})
    pay(client, {"2026-09": -500}, nature=NatureRessource.ACTIVITE_PARTIELLE, record_id=bytes(15) + b"\1")
    for flux, declarant, number in ((FluxSource.DSN, "81234567800013", 2), (FluxSource.PASRAU, "CPAM", 3)):
        pay(client, {"2026-07": 10_000}, nature=NatureRessource.IJSS_MALADIE, flux_source=flux, declarant=declarant,
            record_id=bytes(15) + bytes([number]))  # fmt: skip
    seen = client.prefill_declaration(FOYER, M)
    assert [(signal.code, signal.mois.month) for signal in seen.signals] == [
        ("DAILY_ALLOWANCES_TWICE", 7),
        ("UNUSUAL_AMOUNT", 8),
        ("NEGATIVE_ZEROED", 9),
        ("PAYER_MISSING", 9),
    ]
    assert all(signal.message_fr for signal in seen.signals)
    assert client.submit_declaration(FOYER, M, etag=seen.etag).state == State.DECLARATION_STATE_VALIDEE
