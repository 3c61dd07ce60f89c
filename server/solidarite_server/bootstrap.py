"""The only place that puts the pieces together: a server from its settings."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from solidarite_server import campaign_workers
from solidarite_server.domain.errors import SolidariteError
from solidarite_server.domain.month import Month
from solidarite_server.engine import warm_up
from solidarite_server.legislation import LegislationOptions
from solidarite_server.listening import is_served
from solidarite_server.logs import configure_logs
from solidarite_server.metrics import FOLDER_VARIABLE, Metrics, serve_metrics
from solidarite_server.ports import Clock, Store
from solidarite_server.rpc.admission import Admission, Closing
from solidarite_server.rpc.freshness import Freshness
from solidarite_server.rpc.health import IngestHealth
from solidarite_server.rpc.identity import Door, IdentityInterceptor
from solidarite_server.rpc.interceptors import CallRules
from solidarite_server.rpc.observation import Observer, Tracer
from solidarite_server.rpc.server import add_health, add_ports, add_reflection, announce, new_servers, refuse_unsafe
from solidarite_server.rpc.servicers import Services, add_servicers
from solidarite_server.services.audit import AuditTrail
from solidarite_server.services.campaign import Progress, run_campaign
from solidarite_server.services.clock import SystemClock
from solidarite_server.services.declarations import DeclarationService
from solidarite_server.services.foyers import FoyerService
from solidarite_server.services.ingest import IngestService
from solidarite_server.services.keyring import Keyring, load_or_create
from solidarite_server.services.pseudonym import HmacPseudonymizer
from solidarite_server.services.tokens import TokenRules, TokenVerifier
from solidarite_server.settings import NO_IDENTITY, Settings
from solidarite_server.storage import holds_fingerprint, is_postgres, key_file_of, open_store, sqlite_path
from solidarite_server.supervisor import stop_signals

_MEASURE_SECONDS = 5.0
_COMPILING = (
    "Les règles de calcul se chargent ; au premier démarrage d'une version elles sont compilées, une demi-minute "
    "environ. D'ici là le serveur répond qu'il démarre (santé NOT_SERVING)."
)


class SettingsError(ValueError):
    """Settings that cannot be served, said in French."""


@dataclass(slots=True)
class RunningServer:
    """A server that answers at `address` until `stop`."""

    address: str
    other_addresses: list[str]
    metrics_address: str
    """Where Prometheus reads; empty when nowhere."""
    _servers: list[grpc.aio.Server]
    _health: IngestHealth
    _names: list[str]
    _ingest: IngestService
    _trail: AuditTrail
    _store: Store
    _admission: Admission
    _closing: Closing
    _tasks: list[asyncio.Task[None]]
    _metrics_server: Any

    async def stop(self, drain_seconds: float) -> None:
        """Refuse new calls, let those in progress end within the delay, keep what was acknowledged."""
        for task in self._tasks:
            task.cancel()
        await self._health.close(self._names)
        await self._admission.take_in_what_is_on_its_way()
        stopping = asyncio.gather(*(server.stop(drain_seconds) for server in self._servers))
        await asyncio.sleep(0)  # the peers are told to go elsewhere
        self._admission.go_on()
        self._closing.begin()
        await stopping
        self._ingest.close()
        self._trail.close()
        self._store.close()
        if self._metrics_server is not None:
            self._metrics_server.shutdown()
            self._metrics_server.server_close()


async def start_server(settings: Settings, clock: Clock | None = None) -> RunningServer:
    """Open the store and serve; SettingsError when the settings do not allow it. Tests give a clock of their own."""
    clock = clock or SystemClock()
    try:
        refuse_unsafe(settings)
        door = _door(settings, clock)
        keys = _keys(settings)
        store = open_store(settings.store, clock=clock, keys=keys)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    # Where others already serve the port, it is shared once this process can serve too: it would refuse a part of calls
    # that they answer.
    listens_at_once = not (settings.share_port and is_served(settings.listen))
    if not listens_at_once:
        await _compiled()
    trail = AuditTrail(store)
    metrics = Metrics(settings.metrics_sources) if _metrics_wanted(settings) else None
    admission, closing = (
        Admission(settings.waiting_calls, settings.waiting_seconds, settings.open_streams, settings.concurrent_calls),
        Closing(),
    )
    servers = new_servers(
        settings,
        CallRules(
            admission,
            closing,
            Observer(metrics, _tracer(settings), settings.log_calls),
            settings.unary_seconds,
            settings.stream_seconds,
        ),
        IdentityInterceptor(door, admission, trail, durable_reads=settings.audit_before_answer),
    )
    health_servicer = add_health(servers)
    watch = IngestHealth(health_servicer, metrics)
    ingest = IngestService(
        store,
        waiting_batches=settings.waiting_batches,
        source_waiting_batches=settings.source_waiting_batches,
        observer=watch,
    )
    pseudonyms = HmacPseudonymizer(keys.base)
    names = add_servicers(servers, _services(settings, clock, store, ingest, trail, pseudonyms))
    if settings.reflection:
        add_reflection(servers, names)
    try:
        addresses = add_ports(servers, settings)
        metrics_address, metrics_server = _serve_metrics(settings, metrics)
    except ValueError as error:
        trail.close()
        ingest.close()
        store.close()
        raise SettingsError(str(error)) from error
    await announce(health_servicer, names, serving=False)
    admission.starting = True
    for server in servers:
        await server.start()
    tasks = [asyncio.create_task(watch.tend(ingest))]
    if metrics is not None:
        tasks.append(asyncio.create_task(_measure(store, metrics)))
    running = RunningServer(
        address=addresses[0],
        other_addresses=addresses[1:],
        metrics_address=metrics_address,
        _servers=servers,
        _health=watch,
        _names=names,
        _ingest=ingest,
        _trail=trail,
        _store=store,
        _admission=admission,
        _closing=closing,
        _tasks=tasks,
        _metrics_server=metrics_server,
    )
    if listens_at_once:
        try:
            await _compiled()
        except BaseException:
            await running.stop(0)
            raise
    admission.starting = False
    await announce(health_servicer, names, serving=True)
    return running


def _services(
    settings: Settings,
    clock: Clock,
    store: Store,
    ingest: IngestService,
    trail: AuditTrail,
    pseudonyms: HmacPseudonymizer,
) -> Services:
    options = settings.legislation_options
    return Services(
        clock=clock,
        store=store,
        ingest=ingest,
        foyers=FoyerService(store),
        declarations=DeclarationService(store, clock, options),
        pseudonyms=pseudonyms,
        trail=trail,
        options=options,
        batch_limit_records=settings.batch_limit_records,
        freshness=Freshness(store, settings.freshness_wait_seconds),
        run_campaign=partial(_run_campaign, store, settings, options),
        simulations_at_once=settings.simulations_at_once,
    )


async def _compiled() -> None:
    """Compile the rules, or load them, beside the loop: the health is answered meanwhile."""
    compiled: Future[None] = Future()

    def compile_rules() -> None:
        try:
            warm_up()
        except Exception as error:
            compiled.set_exception(error)
        else:
            compiled.set_result(None)

    with _said_when_long(_COMPILING, 2.0):
        # Not in a pool: the process would wait for its threads when it is interrupted.
        threading.Thread(target=compile_rules, name="compile", daemon=True).start()
        await asyncio.wrap_future(compiled)


@contextmanager
def _said_when_long(text: str, seconds: float) -> Iterator[threading.Timer]:
    """Say on stderr what is going on once it has lasted so long: who waits before a mute command thinks it is stuck."""
    timer = threading.Timer(seconds, print, [text], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()


def _metrics_wanted(settings: Settings) -> bool:
    return bool(settings.metrics_listen or os.environ.get(FOLDER_VARIABLE))


def _serve_metrics(settings: Settings, metrics: Metrics | None) -> tuple[str, Any]:
    if metrics is None or not settings.metrics_listen:
        return "", None
    try:
        port, server = serve_metrics(settings.metrics_listen, metrics.registry)
    except (ValueError, OSError):
        raise ValueError(
            f"L'adresse des métriques {settings.metrics_listen} ne peut pas être écoutée : elle est mal écrite ou déjà "
            "prise."
        ) from None
    return f"{settings.metrics_listen.rpartition(':')[0]}:{port}", server


def _tracer(settings: Settings) -> Tracer | None:
    if not settings.otlp_endpoint:
        return None
    try:
        from solidarite_server.rpc.tracing import OtelTracer, exporting_provider

        return OtelTracer(exporting_provider(settings.otlp_endpoint))
    except ImportError:
        raise SettingsError(
            'Les traces (otlp_endpoint) demandent : pip install "solidarite-source[server,otel]"'
        ) from None


async def _measure(store: Store, metrics: Metrics) -> None:
    """Tell the metrics how much the store holds, from time to time."""
    while True:
        try:
            volume = await asyncio.to_thread(store.volume)
            renewal = await asyncio.to_thread(store.renewal)
            # Dossiers come after all records: a renewal under way never says that it is done.
            renewed = 1.0 if renewal is None else min(renewal.records, 0.99)
            metrics.store(volume.size_bytes, volume.runs, store.commit_sequence(), renewed)
        except SolidariteError:
            pass  # the failure itself is counted by those who write
        await asyncio.sleep(_MEASURE_SECONDS)


def _keys(settings: Settings) -> Keyring:
    path = key_file_of(settings.store, settings.pseudonym_key_file)
    if not path.exists() and holds_fingerprint(settings.store):
        raise SettingsError(
            f"La clé des pseudonymes {path.name} n'existe pas, et ce magasin a la sienne : rétablissez ce fichier, ou "
            "nommez-le (pseudonym_key_file)."
        )
    return load_or_create(path)


def _door(settings: Settings, clock: Clock) -> Door:
    verifier = None
    if settings.token_keys_file is not None:
        rules = TokenRules(
            settings.token_issuer,
            settings.token_audience,
            settings.token_leeway_seconds,
            settings.token_lifetime_seconds,
        )
        verifier = TokenVerifier(settings.token_keys_file, rules, clock)
    return Door(verifier, clock, open_to_all=not settings.asks_for_identities)


def _run_campaign(
    store: Store, settings: Settings, options: LegislationOptions, campaign_id: str, mois: Month
) -> Iterator[Progress]:
    with campaign_workers.processes(settings.campaign_processes) as pool:
        yield from run_campaign(
            store, campaign_id, mois, options, executor=pool, work=campaign_workers.work_on(settings.store)
        )


def store_name(url: str) -> str:
    """A store as it may be shown: without a password, without a path."""
    return "PostgreSQL" if is_postgres(url) else sqlite_path(url).name


async def _orphaned(supervisor: int, stop: asyncio.Event) -> None:
    """Stop once the process that started this one is gone: none is left behind, even after a kill -9."""
    while supervisor:
        if os.getppid() != supervisor:
            stop.set()
            return
        await asyncio.sleep(1)


async def serve(settings: Settings, ready: asyncio.Future[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    configure_logs(settings.log_level)
    running = await start_server(settings)
    # What was loaded lives as long as the process: the collector need not go through it again and again.
    gc.collect()
    gc.freeze()
    # A thread that writes holds the store's only lock over several exchanges, and at each waits for the event loop to
    # give way: 5 ms by default. Measured with PostgreSQL at twice the national peak: 18 declarations/s, 69 with this.
    sys.setswitchinterval(0.0005)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    if ready is not None:
        ready.set_result(running.address)
    else:
        where = " et ".join([running.address, *running.other_addresses])
        print(f"Serveur prêt sur {where} (magasin {store_name(settings.store)}).", flush=True)
        if not settings.asks_for_identities:
            print(NO_IDENTITY, flush=True)
    orphaned = asyncio.create_task(_orphaned(settings.supervisor, stop))
    try:
        with _gateway(settings, running.address):
            await stop.wait()
    finally:
        orphaned.cancel()
        await running.stop(settings.drain_seconds)


@contextmanager
def _gateway(settings: Settings, address: str) -> Iterator[None]:
    """The gateway and its page while the block lasts, where the settings ask for them."""
    if not settings.gateway_listen:
        yield
        return
    from solidarite_server.gateway import GatewayError, GatewaySettings, running_gateway

    try:
        with running_gateway(GatewaySettings(listen=settings.gateway_listen, server=address, page=True)) as gateway:
            print(f"Passerelle prête sur {gateway.url}.", flush=True)
            yield
    except (GatewayError, ValueError) as error:
        raise SettingsError(str(error)) from error
