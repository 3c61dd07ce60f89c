"""The promises of every store, on a real SQLite file and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from solidarite_server.domain.errors import IllegalTransition, Reason, RequestReplayed, StaleEtag
from solidarite_server.domain.month import Month
from solidarite_server.domain.record import DocumentRef, Mode
from solidarite_server.ports import (
    AuditLine,
    Batch,
    BatchOutcome,
    CampaignBlock,
    CampaignRow,
    KeptFoyers,
    NewEvent,
    NewFoyers,
    Seal,
    Store,
    StoredEvent,
)
from solidarite_server.record_columns import RecordColumns, columns_of
from solidarite_server.services.audit import AuditTrail
from solidarite_server.services.ingest import IngestService
from solidarite_server.storage import SchemaError
from solidarite_server.storage.sql import SqlStore

from tests.integration.stores.records import DOCUMENT, JULY, PERSON, HandClock, batch, record, total


def test_a_record_comes_back_as_it_was_sent(store: Store):
    sent = record(name="é'", numero_contrat="CDI-É")
    store.append([batch(sent)])
    assert [s.record for s in store.records_of([PERSON])] == [sent]


def test_the_same_set_gives_the_same_state_whatever_the_order_and_repetition(store: Store):
    history = [
        batch(record(100_000, version=1)),
        batch(record(120_000, version=3)),
        batch(record(110_000, version=2)),
        batch(record(-5_000, name="diff", mode=Mode.DIFFERENTIEL)),
        batch(record(7_000, name="gone")),
        batch(record(7_000, name="gone", version=2, mode=Mode.ANNULATION)),
        batch(record(1_000, name="old", document=1), seals=(Seal(DOCUMENT, 1, 1),)),
        batch(record(2_000, name="new", document=2), seals=(Seal(DOCUMENT, 2, 1),)),
    ]
    for seed in range(20):
        person = bytes([seed]) * 16  # a person of its own for each order: one store holds them all
        order = [replace(one, records=_of(person, one.records), seals=_renamed(one.seals, seed)) for one in history * 2]
        random.Random(seed).shuffle(order)
        for one in order:
            store.append([replace(one, records=_documents(one.records, seed))])
        held = store.records_of([person], JULY, JULY)
        # 120 000 (version 3) − 5 000 + 0 (cancelled) + 2 000 (the document's version 2)
        assert sum(s.record.montant_net_social_cents for s in held if s.effective) == 117_000, f"seed {seed}"


def _of(person: bytes, records: RecordColumns) -> RecordColumns:
    moved = records.copy()
    moved["person"] = np.void(person)
    return moved


def _documents(records: RecordColumns, seed: int) -> RecordColumns:
    moved = records.copy()
    moved["document_id"][moved["document_version"] > 0] = np.void(bytes([seed + 1]) * 16)
    return moved


def _renamed(seals: tuple[Seal, ...], seed: int) -> tuple[Seal, ...]:
    return tuple(replace(seal, document_id=bytes([seed + 1]) * 16) for seal in seals)


def test_each_record_is_classified(store: Store):
    (first,) = store.append([batch(record(), record(name="s"))])
    (again,) = store.append([batch(record(), record(2, name="s", version=2), record(999))])
    assert (first.accepted, first.replaced, first.unchanged) == (2, 0, 0)
    assert (again.accepted, again.replaced, again.unchanged) == (0, 1, 1)
    assert [(r.index, r.reason) for r in again.refusals] == [(2, Reason.RECORD_CONFLICT)]
    assert total(store) == 100_000 + 2


def test_a_document_counts_only_once_sealed_and_until_then_replaces_nothing(store: Store):
    store.append([batch(record(1_000, document=1), seals=(Seal(DOCUMENT, 1, 1),))])
    store.append([batch(record(2_000, version=2, document=2))])
    assert total(store) == 1_000
    store.append([batch(seals=(Seal(DOCUMENT, 2, 1),))])
    assert total(store) == 2_000


def test_a_document_s_new_version_drops_what_it_no_longer_mentions(store: Store):
    store.append([batch(record(1_000, document=1), seals=(Seal(DOCUMENT, 1, 1),))])
    store.append([batch(seals=(Seal(DOCUMENT, 2, 0),))])
    assert total(store) == 0


def test_a_document_sealed_again_with_another_count_is_refused(store: Store):
    store.append([batch(seals=(Seal(DOCUMENT, 1, 0),))])
    (outcome,) = store.append([batch(seals=(Seal(DOCUMENT, 1, 3),))])
    assert [(r.is_seal, r.reason) for r in outcome.refusals] == [(True, Reason.DOCUMENT_CONFLICT)]


def test_a_correction_that_moves_a_record_to_another_month_leaves_nothing_in_the_first(store: Store):
    store.append([batch(record(1_000), record(2_000, name="s", mois_rattachement=JULY + 1))])
    store.append([batch(record(1_000, version=2, mois_rattachement=JULY + 1))])
    assert [(s.record.version, s.effective) for s in store.records_of([PERSON], JULY, JULY)] == [(1, False)]
    moved = [(s.record.montant_net_social_cents, s.effective) for s in store.records_of([PERSON], JULY + 1)]
    assert sorted(moved) == [(1_000, True), (2_000, True)]
    assert [s.effective for s in store.records_of([PERSON], last=JULY - 1)] == []


def test_the_past_is_read_as_it_was_known(store: Store, clock: HandClock):
    store.append([batch(record(100))])
    before = clock.us
    clock.us += 1_000
    store.append([batch(record(200, version=2))])
    assert (total(store, before), total(store)) == (100, 200)


def test_what_is_read_at_once_is_as_one_commit_left_it(store: Store):
    store.append([batch(record(100))])
    store.put_foyers([("1", b"before")])
    seen = store.last_instant_us()
    with store.at_once():
        assert total(store) == 100
        store.append([batch(record(200, version=2))])
        store.put_foyers([("1", b"after")])
        store.keep([NewEvent("1", JULY, 0, "K", b"{}", "a", b"h")])
        held = store.foyer("1")
        assert (total(store), held and held.payload, store.events("1", JULY)) == (100, b"before", [])
        assert store.last_instant_us() == seen
    with pytest.raises(KeyError), store.at_once():
        raise KeyError
    held = store.foyer("1")
    assert (total(store), held and held.payload, len(store.events("1", JULY))) == (200, b"after", 1)


def test_instants_grow_even_when_the_clock_steps_back(store: Store, clock: HandClock):
    store.append([batch(record(1, name="a"))])
    clock.us -= 500_000
    store.append([batch(record(1, name="b"))])
    known = {s.record.record_id[:1]: s.known_at_us for s in store.records_of([PERSON])}
    assert known[b"b"] > known[b"a"]


def test_the_position_is_the_end_of_the_unbroken_run(store: Store):
    empty = columns_of([])
    for sequence, position in ((1, 1), (3, 1), (4, 1), (2, 4), (2, 4)):
        store.append([Batch("paie", "u", sequence, empty)])
        assert store.position("paie", "u") == position
    assert store.position("paie", "other") == 0


def test_a_request_is_repeatable_and_an_old_etag_is_refused(store: Store):
    def add(request_id: str, body: bytes, expected: int):
        (outcome,) = store.keep([NewEvent("1", JULY, expected, "K", b"{}", request_id, body)])
        return outcome

    first = add("a", b"1", 0)
    assert isinstance(first, StoredEvent)
    assert add("a", b"1", 0) == first
    assert isinstance(add("a", b"2", 1), RequestReplayed)
    assert isinstance(add("b", b"1", 0), StaleEtag)
    assert [event.sequence for event in store.events("1", JULY)] == [1]


def test_an_event_that_must_be_alone_is_refused_beside_another_of_its_kind(store: Store):
    def event(mois: Month, request_id: str, kind: str = "K", numero: str = "1", expected: int = 0) -> NewEvent:
        beside = (mois - 2, mois - 1, mois + 1, mois + 2)
        return NewEvent(numero, mois, expected, kind, b"{}", request_id, b"h", beside)

    one = store.keep([event(JULY, "a"), event(JULY + 1, "b"), event(JULY + 1, "c", numero="2")])
    assert [type(outcome) for outcome in one] == [StoredEvent, IllegalTransition, StoredEvent]
    assert str(one[1]) == "La déclaration de 2026-07 couvre déjà une partie de ce trimestre."
    two = store.keep(
        [
            event(JULY - 2, "d"),
            event(JULY + 1, "e", "other"),
            event(JULY + 2, "f"),
            event(JULY + 3, "g"),  # far enough
            event(JULY, "h", expected=1),  # it is not beside itself
            event(JULY, "a"),  # served already
        ]
    )
    assert [type(outcome) for outcome in two] == [
        IllegalTransition, StoredEvent, IllegalTransition, StoredEvent, StoredEvent, StoredEvent,
    ]  # fmt: skip
    assert [len(store.events("1", JULY + k)) for k in (-2, 0, 1, 2, 3)] == [0, 2, 1, 0, 1]


def test_dossiers_and_events_of_one_commit_have_its_instant(store: Store):
    event = NewEvent("1", JULY, 0, "K", b"{}", "a", b"h")
    kept, happened, again = store.keep(
        [NewFoyers((("1", b"x"), ("2", b"y"))), event, NewFoyers((("2", b"y"),))],
        [AuditLine("agent:a", "UPSERT_FOYER", "1", "essai")],
    )
    sequence = store.commit_sequence()
    assert (kept, again) == (KeptFoyers((True, True), sequence), KeptFoyers((False,), sequence))
    assert isinstance(happened, StoredEvent)
    stored = store.foyer("1")
    (line,) = store.audit_lines()
    assert stored is not None
    assert stored.known_at_us == happened.known_at_us == line.at_us == store.last_instant_us()


def test_events_of_one_commit_stand_or_are_refused_each_for_itself(store: Store):
    def event(numero: str, expected: int, request_id: str, body: bytes = b"h") -> NewEvent:
        return NewEvent(numero, JULY, expected, "K", f"{numero}{request_id}".encode(), request_id, body)

    (held,) = store.keep([event("1", 0, "a")])
    before = store.commit_sequence()
    outcomes = store.keep(
        [
            event("1", 0, "late"),  # another event came first
            event("1", 1, "b"),
            event("1", 1, "beaten"),  # by the one before it in this commit
            event("2", 0, "a"),  # a request of another declaration
            event("1", 0, "a"),  # served already
            event("2", 0, "a"),  # served in this commit
            event("2", 0, "a", b"other"),
            event("2", 1, "b"),
        ],
        [AuditLine("agent:a", "AMEND_DECLARATION", numero, "essai") for numero in "12"],
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [
        StaleEtag, StoredEvent, StaleEtag, StoredEvent, StoredEvent, StoredEvent, RequestReplayed, StoredEvent,
    ]  # fmt: skip
    assert outcomes[4] == held
    assert outcomes[5] == outcomes[3]
    assert store.commit_sequence() == before + 1
    assert [e.request_id for e in store.events("1", JULY)] == ["a", "b"]
    assert store.events("2", JULY) == [outcomes[3], outcomes[7]]
    assert [line.subject for line in store.audit_lines()] == ["1", "2"]
    assert store.verify_audit() == []


def test_two_servers_change_the_same_declarations_at_once(opened: Callable[[], Store]):
    """Each number of each declaration is given once, every change has its line, and no server waits for ever."""
    stores = [opened(), opened()]
    trails = [AuditTrail(store) for store in stores]
    numeros, won = ["1", "2", "3", "4"], []

    def change(server: int, caller: int) -> None:
        store, trail = stores[server], trails[server]
        for turn in range(12):
            numero = numeros[(caller + turn) % len(numeros)]
            seen = len(store.events(numero, JULY))
            event = NewEvent(numero, JULY, seen, "AMENDED", b"{}", f"{server}/{caller}/{turn}", b"h")
            with suppress(StaleEtag):
                won.append(trail.change(event, AuditLine("agent:a", "AMEND", numero, "essai")).result(60))

    threads = [threading.Thread(target=change, args=(server, caller)) for server in (0, 1) for caller in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trail in trails:
        trail.close()
    kept = [event for numero in numeros for event in stores[0].events(numero, JULY)]
    assert sorted(event.request_id for event in won) == sorted(event.request_id for event in kept)
    for numero in numeros:
        sequences = [event.sequence for event in stores[1].events(numero, JULY)]
        assert sequences == list(range(1, len(sequences) + 1))
    assert len(list(stores[0].audit_lines())) == 2 * 6 * 12  # those refused too
    assert stores[1].verify_audit() == []


def test_a_change_that_cannot_be_kept_does_not_hold_back_those_beside_it(store: SqlStore):
    trail = AuditTrail(store)
    line = AuditLine("agent:a", "AMEND", "1", "essai")

    def change(numero: str, request_id: str = "a") -> Future[StoredEvent]:
        return trail.change(NewEvent(numero, JULY, 0, "AMENDED", b"{}", request_id, b"h"), line)

    with store._write_lock:  # type: ignore[attr-defined]
        first = change("1")
        while trail._waiting:
            time.sleep(0.001)  # the writer has taken the first: the others wait together
        beside = [change("2"), change("3", "\ud800"), change("4", "\ud800"), change("5")]  # no text in any encoding
    assert first.result(10).sequence == 1
    assert [beside[place].result(10).sequence for place in (0, 3)] == [1, 1]
    for place in (1, 2):
        with pytest.raises(UnicodeEncodeError):
            beside[place].result(10)
    assert change("6").result(10).sequence == 1
    trail.close()
    assert [len(store.events(numero, JULY)) for numero in "123456"] == [1, 1, 0, 0, 1, 1]
    assert len(list(store.audit_lines())) == 4


def test_whoever_waits_to_write_takes_turns_with_a_flood(store: SqlStore):
    stop, batches = threading.Event(), itertools.count(1)

    def flood() -> None:
        while not stop.is_set():
            store.append([batch(record(1, name=f"{next(batches)}"))])

    thread = threading.Thread(target=flood)
    thread.start()
    passed = []
    for number in range(20):
        before = store.commit_sequence()
        store.keep([NewEvent(f"{number}", JULY, 0, "AMENDED", b"{}", "a", b"h")])
        passed.append(store.commit_sequence() - before)
    stop.set()
    thread.join()
    # Itself, the batch it found being written, and those written before it was in line or after it was done.
    assert sorted(passed)[len(passed) // 2] <= 4


def test_more_declarations_than_one_statement_looks_up_go_in_one_commit(store: Store):
    numeros = [f"{number:07d}" for number in range(450)]
    for expected in (0, 1):
        events = [NewEvent(numero, JULY, expected, "K", b"{}", f"r{expected}", b"h") for numero in numeros]
        assert all(isinstance(outcome, StoredEvent) for outcome in store.keep(events))
    assert store.commit_sequence() == 2
    assert {len(store.events(numero, JULY)) for numero in numeros} == {2}


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE audit SET subject = 'x' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "UPDATE audit SET id = id + 10 WHERE id = 2",
    ],
)
def test_a_changed_dropped_or_moved_audit_line_is_detected(tamper: str, store: SqlStore):
    store.write_audit([AuditLine("agent", "READ", subject, "test") for subject in "abc"])
    assert store.check() == []
    store._reading().run(tamper)
    assert store.check() == ["La chaîne d'audit est rompue à la ligne 2."]


def test_refused_rows_keep_their_index_and_the_others_are_kept(store: Store):
    service = IngestService(store)
    sent = batch(record(1, name="a"), record(1, name="b"), record(1, name="c"))
    sent.records["version"][1] = 0
    outcome = service.submit(sent).result(10)
    again = service.submit(batch(record(9, name="a"), record(1, name="c"))).result(10)
    service.close()
    assert (outcome.accepted, [(r.index, r.field) for r in outcome.refusals]) == (2, [(1, "version")])
    assert [(r.index, r.reason) for r in again.refusals] == [(0, Reason.RECORD_CONFLICT)]


def test_two_servers_on_one_store_see_each_other(opened: Callable[[], Store]):
    one, other = opened(), opened()
    one.append([batch(record(1, name="a"))])
    (outcome,) = other.append([batch(record(1, name="a"), record(2, name="b"))])
    assert (outcome.unchanged, outcome.accepted) == (1, 1)
    assert total(one) == 3
    assert one.commit_sequence() == other.commit_sequence() == outcome.commit_sequence


def test_the_same_records_sent_to_two_servers_at_once_count_once(opened: Callable[[], Store]):
    servers = [opened(), opened()]
    sent = [batch(*(record(k, name=f"{k:03d}") for k in range(start, start + 50))) for start in range(0, 400, 50)]
    outcomes: list[BatchOutcome] = []

    def send(store: Store, seed: int) -> None:
        order = sent.copy()
        random.Random(seed).shuffle(order)
        for one in order:
            outcomes.extend(store.append([one]))

    threads = [threading.Thread(target=send, args=(store, seed)) for seed, store in enumerate(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(o.accepted for o in outcomes) == sum(o.unchanged for o in outcomes) == 400
    assert total(servers[0]) == total(servers[1]) == sum(range(400))
    assert len({o.commit_sequence for o in outcomes}) == len(outcomes)


def test_records_repeated_inside_one_commit_are_taken_in_turn(store: Store):
    first = batch(record(1), record(1), record(2), record(5, version=2))
    second = batch(record(5, version=2), record(6, version=2), record(7, version=3))
    one, two = store.append([first, second])
    assert (one.accepted, one.replaced, one.unchanged, [r.index for r in one.refusals]) == (1, 1, 1, [2])
    assert (two.accepted, two.replaced, two.unchanged, [r.index for r in two.refusals]) == (0, 1, 1, [1])
    assert total(store) == 7


def test_a_household_and_a_country_are_read_alike(store: Store):
    chance = random.Random(3)
    people = [chance.randbytes(16) for _ in range(300)]
    people += [person[:8] + chance.randbytes(8) for person in people[:50]]  # persons whose first bytes are the same
    for start in range(0, 3_000, 100):
        records = [
            replace(record(k, name=f"{k}"), person=chance.choice(people), version=1 + k % 3)
            for k in range(start, start + 100)
        ]
        store.append([batch(*records)])
    alone = [held for person in sorted(people) for held in store.records_of([person])]
    together = store.records_of(people)
    assert len(together) == 3_000
    assert together == alone
    assert store.check() == []


def test_an_empty_store_answers(store: Store):
    assert (store.commit_sequence(), store.last_instant_us()) == (0, 0)
    assert store.records_of([]) == store.records_of([PERSON]) == []
    assert store.foyer("1") is None
    assert store.foyer_bounds(2) == store.foyers_between("", None) == []
    assert store.campaign("x") is None
    assert store.append([batch()])[0].accepted == 0


def test_dossiers_are_kept_by_version_and_walked_in_order_of_their_characters(store: Store, clock: HandClock):
    numbers = ["10", "9", "A", "a", "0"]
    assert store.put_foyers([(number, number.encode()) for number in numbers]).changed == (True,) * 5
    clock.us += 1_000
    before = store.last_instant_us()
    assert store.put_foyers([("9", b"9"), ("A", b"new")]).changed == (False, True)
    assert [number for number, _ in store.foyers_between("", None)] == ["0", "10", "9", "A", "a"]
    assert dict(store.foyers_between("10", "A"))["A"].payload == b"new"
    assert store.foyer_bounds(2) == ["10", "A"]
    old, new = store.foyer("A", known_at_us=before), store.foyer("A")
    assert (old and old.payload, new and new.payload) == (b"A", b"new")


def test_a_campaign_block_is_kept_once_with_its_results(store: Store):
    store.start_campaign("c", JULY, ["5"])
    assert store.start_campaign("c", JULY + 1, []).bounds == ("5",)
    block = CampaignBlock(1, 1, {"NOT_PREFILLED": 2}, 10, 20)
    store.keep_block("c", block, [CampaignRow("7", 10, 20)])
    store.keep_block("c", replace(block, done=9), [CampaignRow("8", 1, 1)])
    held = store.campaign("c")
    assert held is not None
    assert held.blocks == (block,)
    assert store.campaign_row("c", "7") == CampaignRow("7", 10, 20)
    assert store.campaign_row("c", "8") is None


def test_a_store_of_another_version_is_refused(store: SqlStore, opened: Callable[[], Store]):
    store._reading().run("UPDATE migration SET checksum = 'another' WHERE number = 1")
    with pytest.raises(SchemaError, match="migration 1"):
        opened()


numbers = st.integers(0, 3)
Key = tuple[int, int]


class Set(RuleBasedStateMachine):
    """A store against a dictionary of what was received."""

    open_store: ClassVar[Callable[[], Store]]
    lives: ClassVar[Iterator[int]] = itertools.count()

    @initialize()
    def begin(self) -> None:
        self.store = type(self).open_store()
        self.life = next(self.lives)
        self.held: dict[Key, dict[int, tuple[int, bool, int]]] = {}
        """Versions by record: (cents, cancelled, version of the document or 0)."""
        self.sealed: dict[int, int] = {}
        self.sent: list[tuple[Batch, int]] = []
        self.snapshots: list[tuple[int, int]] = []

    def person(self) -> bytes:
        return self.life.to_bytes(16, "big")

    @rule(
        name=numbers, version=st.integers(1, 3), cents=st.integers(-3, 3), cancelled=st.booleans(),
        document=st.integers(0, 2),
    )  # fmt: skip
    def a_version_arrives(self, name: int, version: int, cents: int, cancelled: bool, document: int) -> None:
        mode = Mode.ANNULATION if cancelled else Mode.INITIAL
        sent = replace(
            record(cents, name=str(name), version=version, mode=mode), person=self.person(),
            document=DocumentRef(self.person(), document) if document else None,
        )  # fmt: skip
        (outcome,) = self.store.append([batch(sent)])
        versions = self.held.setdefault((self.life, name), {})
        content = (cents, cancelled, document)
        if version not in versions:
            assert (outcome.accepted, outcome.replaced) == ((0, 1) if versions else (1, 0))
            versions[version] = content
        elif versions[version] == content:
            assert outcome.unchanged == 1
        else:
            assert [r.reason for r in outcome.refusals] == [Reason.RECORD_CONFLICT]

    @rule(version=st.integers(1, 2))
    def a_document_is_sealed(self, version: int) -> None:
        self.store.append([batch(seals=(Seal(self.person(), version, 1),))])
        self.sealed[self.life] = max(version, self.sealed.get(self.life, 0))

    def expected(self) -> int:
        sum_ = 0
        for versions in self.held.values():
            counting = {v: c for v, c in versions.items() if c[2] in (0, self.sealed.get(self.life, 0))}
            if counting:
                cents, cancelled, _ = counting[max(counting)]
                sum_ += 0 if cancelled else cents
        return sum_

    @invariant()
    def the_sum_is_that_of_the_dictionary(self) -> None:
        if hasattr(self, "store"):
            held = self.store.records_of([self.person()], JULY, JULY)
            assert sum(s.record.montant_net_social_cents for s in held if s.effective) == self.expected()
            self.snapshots.append((self.store.last_instant_us(), self.expected()))

    @precondition(lambda self: self.snapshots)
    @rule(pick=st.integers(0, 100))
    def the_past_does_not_change(self, pick: int) -> None:
        at, expected = self.snapshots[pick % len(self.snapshots)]
        held = self.store.records_of([self.person()], JULY, JULY, known_at_us=at)
        assert sum(s.record.montant_net_social_cents for s in held if s.effective) == expected


def run_machine(opened: Callable[[], Store], examples: int, steps: int) -> None:
    store = opened()
    machine = type("Set", (Set,), {"open_store": staticmethod(lambda: store)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


def test_a_store_is_the_set_of_what_it_received(opened: Callable[[], Store]):
    run_machine(opened, 40, 30)


@pytest.mark.long
def test_a_store_is_the_set_of_what_it_received_over_and_over(opened: Callable[[], Store]):
    run_machine(opened, 3_000, 50)
