"""Random lives of a declaration against a model of thirty lines: records at any moment, changes, decisions, replays.

One person alone, tenant without housing benefit, so that the RSA is written in one line:
651.69 − (sum of what counts over the three months) / 3, nothing below 6 €.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

import hypothesis.strategies as st
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
from solidarite_server.domain.errors import SolidariteError
from solidarite_server.domain.foyer import Foyer, Logement, Membre, Role, StatutLogement
from solidarite_server.domain.month import Month
from solidarite_server.domain.nature import NatureRessource
from solidarite_server.domain.record import FluxSource, Mode, ResourceRecord
from solidarite_server.legislation import LegislationOptions
from solidarite_server.ports import Batch
from solidarite_server.prefill import LineStatus
from solidarite_server.record_columns import columns_of
from solidarite_server.services.declarations import DeclarationService, DeclarationView
from solidarite_server.services.foyers import FoyerService
from solidarite_server.services.life import Action, Cause, Change, LineDecision
from solidarite_server.storage import SqliteStore

from tests.integration.stores.records import kept

M = Month(2026, 11)
MONTHS = (M - 4, M - 3, M - 2)
NUMERO, PERSON = "0000001", bytes(15) + b"\1"
NATURES = (NatureRessource.SALAIRE, NatureRessource.CHOMAGE)
FOYER = Foyer(
    NUMERO,
    (Membre("demandeur", Role.ALLOCATAIRE, date(1990, 3, 1), PERSON),),
    logements=(Logement(Month(2024, 1), StatutLogement.LOCATAIRE),),
)
KEPT = (LineStatus.PREREMPLI, LineStatus.CONFIRME, LineStatus.REJETE)

months = st.sampled_from(MONTHS)
natures = st.sampled_from(NATURES)
amounts = st.integers(-30_000, 90_000)
declared = st.integers(0, 90_000)
Key = tuple[Month, NatureRessource]


class Ticking:
    """Every call is a millisecond later, in November 2026."""

    def __init__(self) -> None:
        self.at = 1_793_500_000_000_000

    def now_us(self) -> int:
        self.at += 1_000
        return self.at


@dataclass
class Said:
    """What the household, then the agency, said of a line."""

    action: Action
    cents: int
    verdict: LineStatus | None = None
    retained: int = 0


def line_id(key: Key) -> str:
    return f"demandeur/{key[0]}/{key[1].name}"


class Lives(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = SqliteStore(Path(self.folder.name) / "vies.db", clock=Ticking())
        FoyerService(self.store).upsert([FOYER])
        self.service = DeclarationService(self.store, Ticking(), LegislationOptions())
        self.records: dict[int, tuple[int, Key, int, bool]] = {}
        self.said: dict[Key, Said] = {}
        self.frozen: dict[Key, int] | None = None
        """Prefilled amounts of the frozen quarter; None while the declaration is open."""
        self.seen: list[tuple[int, DeclarationView]] = []
        self.requests: list[tuple[object, DeclarationView]] = []

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    # The model

    def prefilled(self) -> dict[Key, int]:
        sums: dict[Key, int] = defaultdict(int)
        for _, key, cents, cancelled in self.records.values():
            if not cancelled:
                sums[key] += cents
        return sums

    def expected(self) -> dict[str, tuple[LineStatus, int, int | None]]:
        """(status, retained, prefilled) by line."""
        sums = self.prefilled() if self.frozen is None else self.frozen
        found = {}
        for key in {*sums, *self.said}:
            said, prefilled = self.said.get(key), sums.get(key)
            status, signed = LineStatus.PREREMPLI, prefilled or 0
            if said is not None and said.action is Action.CONFIRM:
                if prefilled is None:
                    continue
                status = LineStatus.CONFIRME if said.cents == prefilled else status
            elif said is not None:
                status = LineStatus.RECTIFIE if said.action is Action.RECTIFY else LineStatus.AJOUTE
                signed = said.cents
                if said.verdict is not None:
                    status = said.verdict
                    retained = {LineStatus.PARTIEL: said.retained, LineStatus.REJETE: prefilled or 0}
                    signed = retained.get(said.verdict, said.cents)
            found[line_id(key)] = (status, max(0, signed), prefilled)
        return found

    # What may happen

    @rule(number=st.integers(0, 7), mois=months, nature=natures, cents=amounts, mode=st.sampled_from(list(Mode)[::2]))
    def a_record_arrives(self, number: int, mois: Month, nature: NatureRessource, cents: int, mode: Mode) -> None:
        version, key = 1, (mois, nature)
        if number in self.records:
            version, key = self.records[number][0] + 1, self.records[number][1]
        cancelled = mode is Mode.ANNULATION
        record = ResourceRecord(
            PERSON, True, "paie", bytes(15) + bytes([number + 1]), version, FluxSource.DSN, "81234567800013", "",
            key[1], key[0].last_day, key[0], mode, cents,
        )  # fmt: skip
        self.store.append([Batch("paie", "", 0, columns_of([record]))])
        self.records[number] = (version, key, cents, cancelled)

    @rule(
        pick=st.integers(0, 20),
        mois=months,
        nature=natures,
        cents=declared,
        action=st.sampled_from([Action.CONFIRM, Action.RECTIFY, Action.RECTIFY, Action.ADD, Action.REMOVE]),
    )
    def the_household_changes_a_line(
        self, pick: int, mois: Month, nature: NatureRessource, cents: int, action: Action
    ) -> None:
        key = (mois, nature)
        known = sorted(key for key in {*self.prefilled(), *self.said})
        if known and action is not Action.ADD and pick % 5:
            key = known[pick % len(known)]  # most of the time, a line that is there
        mois, nature = key
        lines = {} if self.frozen is not None else self.expected()
        status = lines.get(line_id(key), (None,))[0]
        allowed = (
            self.frozen is None
            and {
                Action.CONFIRM: status in (LineStatus.PREREMPLI, LineStatus.CONFIRME, LineStatus.RECTIFIE),
                Action.RECTIFY: status in (LineStatus.PREREMPLI, LineStatus.CONFIRME, LineStatus.RECTIFIE),
                Action.ADD: status in (None, LineStatus.AJOUTE),
                Action.REMOVE: status is LineStatus.AJOUTE,
            }[action]
        )
        change = Change(action, (line_id(key),), cents, "pièce", "demandeur", mois, nature)
        if self.ask(allowed, lambda etag, name: self.service.amend(
            NUMERO, M, etag=etag, request_id=name, changes=[change]
        )):  # fmt: skip
            if action is Action.REMOVE:
                del self.said[key]
            elif action is Action.CONFIRM:
                prefilled = lines[line_id(key)][2]
                # A rectified line whose record is gone stands for nothing once the rectification is taken back.
                self.said[key] = Said(action, prefilled if prefilled is not None else -1)
            else:
                self.said[key] = Said(action, cents)

    @rule(hesitates=st.integers(0, 3))
    def the_household_submits(self, hesitates: int) -> None:
        if hesitates and self.frozen is None:
            return  # an open declaration lives longer, so that more happens to it
        if self.ask(self.frozen is None, lambda etag, name: self.service.submit(
            NUMERO, M, etag=etag, request_id=name, explain=False
        )):  # fmt: skip
            self.frozen = dict(self.prefilled())

    @precondition(lambda self: self.frozen is not None)
    @rule(pick=st.integers(0, 5), action=st.sampled_from(list(Action)[4:]), cents=declared)
    def the_agency_decides(self, pick: int, action: Action, cents: int) -> None:
        waiting = [k for k, s in sorted(self.said.items()) if s.action is Action.RECTIFY and s.verdict is None]
        key = waiting[pick % len(waiting)] if waiting else (MONTHS[0], NATURES[0])
        decision = LineDecision(line_id(key), action, cents, "motif")
        if self.ask(bool(waiting), lambda etag, name: self.service.decide(
            NUMERO, M, etag=etag, request_id=name, decisions=[decision]
        )):  # fmt: skip
            self.said[key].verdict = {
                Action.ACCEPT: LineStatus.ACCEPTE, Action.REJECT: LineStatus.REJETE, Action.RETAIN: LineStatus.PARTIEL,
            }[action]  # fmt: skip
            self.said[key].retained = cents

    @precondition(lambda self: self.frozen is not None or not self.requests)
    @rule()
    def a_control_revises(self) -> None:
        if self.ask(self.frozen is not None, lambda etag, name: self.service.revise(
            NUMERO, M, etag=etag, request_id=name, cause=Cause.CONTROLE, event_date=None, motif=""
        )):  # fmt: skip
            self.frozen = dict(self.prefilled())

    @precondition(lambda self: self.requests)
    @rule(pick=st.integers(0, 100))
    def a_request_is_sent_again(self, pick: int) -> None:
        call, answer = self.requests[pick % len(self.requests)]
        assert call() == answer  # type: ignore[operator]

    def ask(self, allowed: bool, call: object) -> bool:
        etag = self.service.view(NUMERO, M).etag
        name = f"requete-{len(self.requests)}"
        before = self.service.view(NUMERO, M)

        def again() -> DeclarationView:
            return kept(self.store, call(etag, name))  # type: ignore[operator]

        try:
            answer = again()
        except SolidariteError:
            assert not allowed
            assert self.service.view(NUMERO, M) == before
            return False
        assert allowed
        self.requests.append((again, answer))
        for difference in answer.differences:
            assert difference.before_cents + difference.rappel_cents - difference.indu_cents == difference.after_cents
        return True

    # What always holds

    @invariant()
    def the_declaration_is_that_of_the_model(self) -> None:
        if not hasattr(self, "service"):
            return
        view = self.service.view(NUMERO, M)
        lines = [line for line in view.declaration.lines if line.status is not LineStatus.A_DECLARER]
        found = {line.line_id: (line.status, line.montant_retenu_cents, line.montant_prerempli_cents) for line in lines}
        assert found == self.expected()
        self.seen.append((view.declaration.known_at_us, view))

        rights, estimate, _ = self.service.entitlements(NUMERO, M, known_at_us=None, explain=False)
        assert estimate == (self.frozen is None)
        exact = 65_169 - Fraction(sum(line.montant_retenu_cents for line in lines), 3)
        due = int(exact + Fraction(1, 2)) if exact >= 600 else 0
        assert [amount.rsa_cents for amount in rights.amounts] == [due] * 3

        # Every cent received is used, zeroed, or set aside for what was declared.
        received = sum((self.prefilled() if self.frozen is None else self.frozen).values())
        used = sum(line.montant_retenu_cents for line in lines if line.status in KEPT)
        zeroed = sum(line.montant_prerempli_cents or 0 for line in lines if line.status in KEPT and line.zeroed)
        aside = sum(line.montant_prerempli_cents or 0 for line in lines if line.status not in KEPT)
        assert received == used + zeroed + aside

    @precondition(lambda self: self.seen)
    @rule(pick=st.integers(0, 1_000))
    def the_past_is_read_again(self, pick: int) -> None:
        at, view = self.seen[pick % len(self.seen)]
        again = self.service.view(NUMERO, M, known_at_us=at)
        if view.entitlements is None:
            assert again == view
        else:
            # What is frozen is shown with its own instant of knowledge, earlier than that of the event.
            last = view.events[-1].known_at_us
            assert self.service.view(NUMERO, M, known_at_us=last) == view


def test_random_lives_are_those_of_the_model():
    run_state_machine_as_test(Lives, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))


@pytest.mark.long
def test_many_random_lives_are_those_of_the_model():
    run_state_machine_as_test(Lives, settings=settings(max_examples=3_000, stateful_step_count=50, deadline=None))
