"""Handlers of SimulationService: synthetic households only, a bounded number of simulations, off the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from solidarite.v1 import simulation_pb2, simulation_pb2_grpc

from solidarite_server.domain.errors import InvalidRequest, NotOffered, Overloaded
from solidarite_server.legislation import LegislationError
from solidarite_server.rpc import convert
from solidarite_server.rpc.off_loop import in_thread
from solidarite_server.simulation.columns import examen_of
from solidarite_server.simulation.overlay import Overlay, read_overlay
from solidarite_server.simulation.population import MAX_SEED, Population
from solidarite_server.simulation.reform import FIRST_MONTH, LAST_KNOWN, Comparison, Group, MonthRefused, steps

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

MAX_FOYERS = 1_000_000
FOYERS_A_MESSAGE = 2_000
"""About 2 MiB: below the 4 MiB that callers receive by default."""
_RETRY_SECONDS = 5.0


class SimulationServicer(simulation_pb2_grpc.SimulationServiceServicer):
    """Makes populations and compares reforms; at most `at_once` simulations run in a process."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once

    async def GeneratePopulation(  # noqa: N802 - the contract's name
        self, request: simulation_pb2.GeneratePopulationRequest, context: Context
    ) -> AsyncIterator[simulation_pb2.GeneratePopulationResponse]:
        mois = convert.declaration_month(request.mois_declaration, "mois_declaration")
        if not FIRST_MONTH <= mois <= LAST_KNOWN:
            raise InvalidRequest(f"Une population va de {FIRST_MONTH} à {LAST_KNOWN}.", field="mois_declaration")
        population = Population(_foyers(request.foyers), _seed(request.seed), mois)
        with self._place():
            async with aclosing(in_thread(_messages(population))) as messages:
                async for message in messages:
                    yield message

    async def CompareReform(  # noqa: N802
        self, request: simulation_pb2.CompareReformRequest, context: Context
    ) -> simulation_pb2.CompareReformResponse:
        foyers, seed = _foyers(request.foyers), _seed(request.seed)
        mois = convert.month(request.mois_droit, "mois_droit")
        overlay = _overlay(request.overlay_yaml)
        outcome = None
        with self._place():
            try:
                async with aclosing(in_thread(steps(overlay, foyers, seed, mois))) as blocks:
                    async for step in blocks:
                        outcome = step
            except MonthRefused as error:
                raise InvalidRequest(str(error), field="mois_droit") from None
        assert outcome is not None
        return _response(outcome)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places for a simulation; Overloaded when all are taken."""
        if self._free <= 0:
            raise Overloaded(
                "Ce serveur fait déjà autant de simulations qu'il en accepte : réessayez un peu plus tard.",
                retry_after_seconds=_RETRY_SECONDS,
            )
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def _messages(population: Population) -> Iterator[simulation_pb2.GeneratePopulationResponse]:
    try:
        from solidarite_server.simulation import arrow
    except ImportError:
        raise NotOffered("Ce serveur n'a pas Arrow (extra « columnar ») : il ne rend pas de population.") from None
    examen = examen_of(population)
    for number in range(population.block_count):
        batch = arrow.batch_of(population, examen, number)
        for start in range(0, batch.num_rows, FOYERS_A_MESSAGE):
            part = batch.slice(start, FOYERS_A_MESSAGE)
            yield simulation_pb2.GeneratePopulationResponse(arrow_ipc=arrow.ipc_stream(part), foyers=part.num_rows)


def _foyers(value: int) -> int:
    if not 1 <= value <= MAX_FOYERS:
        raise InvalidRequest(f"De 1 à {MAX_FOYERS} foyers sont attendus.", field="foyers")
    return value


def _seed(value: int) -> int:
    if value > MAX_SEED:
        raise InvalidRequest(f"Une graine va de 0 à {MAX_SEED}.", field="seed")
    return value


def _overlay(text: str) -> Overlay:
    try:
        return read_overlay(text)
    except LegislationError as error:
        raise InvalidRequest(f"Réforme refusée : {error}.", field="overlay_yaml") from None


def _response(outcome: Comparison) -> simulation_pb2.CompareReformResponse:
    return simulation_pb2.CompareReformResponse(
        rsa_before_cents=outcome.rsa_before,
        rsa_after_cents=outcome.rsa_after,
        prime_activite_before_cents=outcome.ppa_before,
        prime_activite_after_cents=outcome.ppa_after,
        groups=[_group(group) for group in outcome.groups],
        yearly_cost_cents=outcome.cout_annuel_cents,
        beneficiaires_before=outcome.beneficiaires_before,
        beneficiaires_after=outcome.beneficiaires_after,
        remarks_fr=outcome.remarks,
    )


def _group(group: Group) -> simulation_pb2.ReformGroup:
    return simulation_pb2.ReformGroup(
        dimension=group.dimension,
        label_fr=group.label,
        foyers=group.foyers,
        winners=group.gagnants,
        losers=group.perdants,
        mean_change_cents=group.variation_moyenne_cents,
        yearly_cost_cents=group.cout_annuel_cents,
        mean_standard_of_living_cents=group.niveau_de_vie_cents,
    )
