"""Who calls the service: payroll sources, foyers before their declaration, agents, analysts, and the operator.

Each user plans its own share of the arrivals ahead and starts every one of them at its instant, in a greenlet of its
own: a slow answer delays nobody else. Instants are seconds since the start of the run.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, ClassVar

import gevent
import numpy as np
from gevent.pool import Pool
from locust import task
from locust.user.task import LOCUST_STATE_RUNNING
from solidarite.v1 import (
    campaign_pb2,
    campaign_pb2_grpc,
    common_pb2,
    declaration_pb2,
    declaration_pb2_grpc,
    entitlement_pb2,
    entitlement_pb2_grpc,
    error_reason_pb2,
    foyer_pb2,
    foyer_pb2_grpc,
    resource_record_pb2,
    resource_record_pb2_grpc,
)

from loadtests import people
from loadtests.arrivals import arrivals
from loadtests.grpc_user import BatchStream, GrpcUser
from loadtests.national import national
from loadtests.plan import Plan
from loadtests.recorder import Run

_THINK_SECONDS = 1.0
"""Mean time between two steps of a declaration. Real people take minutes: it only sets how many are open at once."""
_STREAM_EVERY, _STREAM_FOYERS = 10, 200
"""An analyst's computation in ten is a batch of so many foyers."""
_RECENT = 2_000
_SLICE_SECONDS = 0.5


class PlannedUser(GrpcUser):
    """A user that starts `act` at each of its planned instants."""

    abstract = True
    flow: ClassVar[str]
    places: ClassVar[Counter[str]] = Counter()
    """Users of each kind started in this process, to tell them apart."""
    most_in_flight = 500

    def on_start(self) -> None:
        """Open the channel and take a place among the users of this kind."""
        super().on_start()
        self.session: Run = self.environment.session
        self.plan: Plan = self.session.plan
        kind = type(self).__name__
        self.places[kind] += 1
        self.name = f"{kind}-{self.session.generator}-{self.places[kind]}"
        self.chance = random.Random(people.seed_of(self.plan.seed, self.name))
        self.pool = Pool(self.most_in_flight)
        self.planned = False
        self.begin()

    def on_stop(self) -> None:
        """Wait for what is in flight, then close."""
        self.pool.join(timeout=self.timeout_seconds)
        self.end()
        super().on_stop()

    def begin(self) -> None:
        """Make what the user needs."""

    def end(self) -> None:
        """Undo `begin`."""

    def act(self, intended: float) -> None:
        """What one arrival does; `intended` is an instant of `time.perf_counter`."""
        raise NotImplementedError

    def arrivals_in_each_act(self) -> float:
        """How many arrivals of the flow one `act` stands for."""
        return 1.0

    @task
    def play(self) -> None:
        """The one task of a user: Locust would draw between a task and the one that it overrides."""
        self.follow_the_plan()

    def follow_the_plan(self) -> None:
        """Start every arrival at its instant, once."""
        share = 1 / (self.fixed_count * self.arrivals_in_each_act())
        planned = arrivals(
            lambda second: self.plan.rate(self.flow, second) * share,
            self.plan.peak(self.flow) * share,
            self.plan.duration_seconds,
            self.chance,
        )
        if self.planned:
            return self.idle()
        self.planned = True
        for second in planned:
            intended = self.session.start + second
            if not self.wait_until(intended):
                return None
            self.session.offered(self.flow, second, self.arrivals_in_each_act())
            # Once too many are in flight, this waits; later arrivals still count from their instants.
            self.pool.spawn(self._started, intended)
        return None

    def idle(self) -> None:
        """Wait a little: Locust asks again and again what there is to do."""
        gevent.sleep(_SLICE_SECONDS)

    def wait_until(self, instant: float) -> bool:
        """Sleep until an instant of `time.perf_counter`; False when Locust stops the user meanwhile."""
        while (left := instant - time.perf_counter()) > 0:
            gevent.sleep(min(left, _SLICE_SECONDS))
            if self._state != LOCUST_STATE_RUNNING:
                return False
        return True

    def _started(self, intended: float) -> None:
        self.session.started(intended)
        try:
            self.act(intended)
        finally:
            self.session.ended()


class PayrollSource(PlannedUser):
    """A payroll system that streams batches of records, each acknowledged when durable."""

    flow = "records"

    def begin(self) -> None:
        """Prepare to stream."""
        self.records = resource_record_pb2_grpc.ResourceRecordServiceStub(self.channel)
        self.numbers = np.random.default_rng(people.seed_of(self.plan.seed, self.name))
        self.stream: BatchStream | None = None
        self.sequence = 0
        self.last: resource_record_pb2.StreamResourceRecordsRequest | None = None

    def end(self) -> None:
        """Wait for the last acknowledgements."""
        if self.stream is not None:
            self.stream.close(self.timeout_seconds)

    def arrivals_in_each_act(self) -> float:
        """A batch stands for its records."""
        return float(self.plan.shape.batch_records)

    def act(self, intended: float) -> None:
        """Send a batch: a new one, or in two cases out of a hundred the last one once more."""
        if self.last is None or self.chance.random() >= national().behaviour["resent"].value:
            self.last = people.filed_records(self.plan.shape.batch_records, self.plan.persons, self.numbers)
        if self.stream is None or self.stream.broken:
            self.upload, self.sequence = uuid.uuid4().hex, 0
            self.stream = BatchStream(self, self.records.StreamResourceRecords, _kept, _refused)
        self.sequence += 1
        request = resource_record_pb2.StreamResourceRecordsRequest(
            source_id=self.name, upload_id=self.upload, batch_sequence=self.sequence
        )
        request.MergeFrom(self.last)
        self.session.waiting_for(self.stream)
        self.stream.send(request, intended)


def _kept(answer: resource_record_pb2.StreamResourceRecordsResponse) -> int:
    return answer.accepted_count + answer.replaced_count + answer.unchanged_count


def _refused(answer: resource_record_pb2.StreamResourceRecordsResponse) -> list[str]:
    return [_name(refusal.reason) for refusal in answer.refusals]


def _name(reason: int) -> str:
    return error_reason_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")  # type: ignore[arg-type]


class FrontEnd(PlannedUser):
    """The portal: foyers that see their prefilled declaration, change it or not, and submit it."""

    flow = "declarations"
    filed: ClassVar[deque[int]] = deque(maxlen=_RECENT)
    """Foyers that submitted in this process, the last ones."""
    rectified: ClassVar[deque[int]] = deque(maxlen=_RECENT)
    """Those whose rectification awaits an agent."""

    def begin(self) -> None:
        """Make the stub."""
        self.declarations = declaration_pb2_grpc.DeclarationServiceStub(self.channel)

    def act(self, intended: float) -> None:
        """Prefill, amend in a few cases, submit."""
        foyer = self.session.draw.take()
        seen = self.prefill(foyer, intended)
        if seen is None:
            return
        if seen.state not in (declaration_pb2.DECLARATION_STATE_PREREMPLIE, declaration_pb2.DECLARATION_STATE_EN_COURS):
            self.session.found_submitted()
            return
        changes = self.changes(seen)
        if changes:
            amended = self._step(
                self.declarations.AmendDeclaration,
                declaration_pb2.AmendDeclarationRequest(
                    numero_allocataire=seen.numero_allocataire,
                    mois_declaration=people.MOIS,
                    etag=seen.etag,
                    request_id=uuid.uuid4().hex,
                    amendments=changes,
                ),
            )
            if amended is None:
                return
            seen = amended.declaration
        if self.submit(foyer, seen) and any(change.HasField("rectification") for change in changes):
            self.rectified.append(foyer)

    def prefill(self, foyer: int, intended: float | None = None) -> declaration_pb2.Declaration | None:
        """The declaration as it stands."""
        answer = self.unary(
            self.declarations.PrefillDeclaration,
            declaration_pb2.PrefillDeclarationRequest(
                numero_allocataire=people.numero(foyer), mois_declaration=people.MOIS
            ),
            intended=intended,
        )
        return None if answer is None else answer.declaration

    def changes(self, seen: declaration_pb2.Declaration) -> list[declaration_pb2.Amendment]:
        """What this foyer changes: a line in five cases out of a hundred, one more resource in twelve."""
        behaviour, found = national().behaviour, []
        lines = [line for line in seen.lines if line.status == declaration_pb2.LINE_STATUS_PREREMPLI]
        if lines and self.chance.random() < behaviour["rectify"].value:
            line = self.chance.choice(lines)
            found.append(
                declaration_pb2.Amendment(
                    rectification=declaration_pb2.Rectification(
                        line_id=line.line_id,
                        montant_declare_cents=line.montant_prerempli_cents * 9 // 10,
                        justification_reference="bulletin-de-paie",
                    )
                )
            )
        if self.chance.random() < behaviour["add"].value:
            found.append(
                declaration_pb2.Amendment(
                    addition=declaration_pb2.Addition(
                        personne=people.MEMBERS[0],
                        mois=self.chance.choice(people.REFERENCE),
                        nature=common_pb2.NATURE_RESSOURCE_PENSION_ALIMENTAIRE,
                        montant_declare_cents=self.chance.randrange(5_000, 40_000),
                    )
                )
            )
        return found

    def submit(self, foyer: int, seen: declaration_pb2.Declaration) -> bool:
        """Submit what was seen; once more after a look when it has changed meanwhile, as the contract wants."""
        for again in (False, True):
            answer = self._step(
                self.declarations.SubmitDeclaration,
                declaration_pb2.SubmitDeclarationRequest(
                    numero_allocataire=seen.numero_allocataire,
                    mois_declaration=people.MOIS,
                    etag=seen.etag,
                    request_id=uuid.uuid4().hex,
                ),
                expected=() if again else ("ETAG_STALE",),
            )
            if answer is not None:
                self.filed.append(foyer)
                return True
            renewed = None if again else self.prefill(foyer)
            if renewed is None:
                return False
            seen = renewed
        return False

    def _step(self, method: Callable[..., Any], request: Any, expected: tuple[str, ...] = ()) -> Any:
        """A later step of a declaration, after the time to read."""
        intended = time.perf_counter() + min(self.chance.expovariate(1 / _THINK_SECONDS), 3 * _THINK_SECONDS)
        gevent.sleep(max(0.0, intended - time.perf_counter()))
        return self.unary(method, request, intended=intended, expected=expected)


class Consultation(PlannedUser):
    """The portal again: foyers that look at their rights."""

    flow = "consultations"

    def begin(self) -> None:
        """Make the stub."""
        self.entitlements = entitlement_pb2_grpc.EntitlementServiceStub(self.channel)

    def act(self, intended: float) -> None:
        """Read the rights of any foyer."""
        request = entitlement_pb2.GetEntitlementsRequest(
            numero_allocataire=people.numero(self.chance.randrange(self.plan.foyers)), mois_declaration=people.MOIS
        )
        self.unary(self.entitlements.GetEntitlements, request, intended=intended)


class Agent(PlannedUser):
    """A caseworker: opens a file and its records, and decides on a rectification when one awaits."""

    flow = "agents"

    def begin(self) -> None:
        """Make the stubs."""
        self.declarations = declaration_pb2_grpc.DeclarationServiceStub(self.channel)
        self.foyers = foyer_pb2_grpc.FoyerServiceStub(self.channel)
        self.records = resource_record_pb2_grpc.ResourceRecordServiceStub(self.channel)

    def act(self, intended: float) -> None:
        """Consult, then decide."""
        foyer, filed, waits = self._pick()
        number = people.numero(foyer)
        self.unary(self.foyers.GetFoyer, foyer_pb2.GetFoyerRequest(numero_allocataire=number), intended=intended)
        self.unary(
            self.records.ListResourceRecords,
            resource_record_pb2.ListResourceRecordsRequest(nir=people.nir(2 * foyer)),
        )
        if filed:
            request = declaration_pb2.GetDeclarationRequest(numero_allocataire=number, mois_declaration=people.MOIS)
            answer = self.unary(self.declarations.GetDeclaration, request)
            if answer is not None and waits:
                self.decide(answer.declaration)

    def _pick(self) -> tuple[int, bool, bool]:
        """A foyer, whether it submitted, and whether it awaits a decision."""
        if FrontEnd.rectified:
            return FrontEnd.rectified.popleft(), True, True
        if FrontEnd.filed:
            return self.chance.choice(FrontEnd.filed), True, False
        return self.chance.randrange(self.plan.foyers), False, False

    def decide(self, seen: declaration_pb2.Declaration) -> None:
        """Accept most rectified lines, reject the others."""
        decisions = [
            declaration_pb2.LineDecision(line_id=line.line_id, decision=declaration_pb2.DECISION_ACCEPTEE)
            if self.chance.random() < 0.8
            else declaration_pb2.LineDecision(
                line_id=line.line_id, decision=declaration_pb2.DECISION_REJETEE, motif_fr="Pièce illisible."
            )
            for line in seen.lines
            if line.status == declaration_pb2.LINE_STATUS_RECTIFIE
        ]
        request = declaration_pb2.DecideRectificationRequest(
            numero_allocataire=seen.numero_allocataire,
            mois_declaration=people.MOIS,
            etag=seen.etag,
            request_id=uuid.uuid4().hex,
            decisions=decisions,
        )
        self.unary(self.declarations.DecideRectification, request)


class Analyst(PlannedUser):
    """Simulators and analysts: one foyer explained, or a batch of them."""

    flow = "computations"

    def begin(self) -> None:
        """Prepare to compute."""
        self.entitlements = entitlement_pb2_grpc.EntitlementServiceStub(self.channel)
        self.turn = 0
        self.stream: BatchStream | None = None

    def end(self) -> None:
        """Wait for the last batches."""
        if self.stream is not None:
            self.stream.close(self.timeout_seconds)

    def act(self, intended: float) -> None:
        """Compute."""
        self.turn += 1
        if self.turn % _STREAM_EVERY:
            request = people.computation(self.chance.randrange(self.plan.foyers), explain=True)
            self.unary(self.entitlements.ComputeEntitlements, request, intended=intended)
            return
        if self.stream is None or self.stream.broken:
            self.stream = BatchStream(
                self, self.entitlements.StreamEntitlements, lambda answer: len(answer.rsa_cents), _not_computed
            )
        first = self.chance.randrange(self.plan.foyers)
        batch = entitlement_pb2.StreamEntitlementsRequest(
            batch_sequence=self.turn,
            requests=[people.computation(first + place, explain=False) for place in range(_STREAM_FOYERS)],
        )
        self.session.waiting_for(self.stream)
        self.stream.send(batch, intended)


def _not_computed(answer: entitlement_pb2.StreamEntitlementsResponse) -> list[str]:
    return ["NOT_COMPUTED" for error in answer.errors_fr if error]


class Operator(PlannedUser):
    """The night after a revalorisation: recompute the whole store, again and again until the end of the run."""

    flow = "campaigns"

    def follow_the_plan(self) -> None:
        """Run campaigns, one after the other."""
        going_on = self.plan.shape.recomputation and not self.planned and self.wait_until(self.session.start)
        while going_on:
            going_on = self._run_one()
        self.planned = True
        self.idle()

    def _run_one(self) -> bool:
        """Run one campaign; False once the run is over, or when nothing is recomputed."""
        left = self.session.start + self.plan.duration_seconds - time.perf_counter()
        if left <= 0:
            return False
        request = campaign_pb2.RunCampaignRequest(campaign_id=uuid.uuid4().hex, mois_declaration=people.MOIS)
        campaigns = campaign_pb2_grpc.CampaignServiceStub(self.channel)
        done = 0
        # The last one would go on after the end of the run: it is cut off, and what it did counts.
        for answer in self.answers(campaigns.RunCampaign, request, timeout=left, expected=("DEADLINE_EXCEEDED",)):
            self.session.recomputed(answer.progress.foyers_done - done)
            done = answer.progress.foyers_done
        return done > 0
