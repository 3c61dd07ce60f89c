"""What an operator sees: metrics of one process and of several, the log, traces, and what the dashboard asks for."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
import yaml
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from solidarite_server import logs
from solidarite_server.bootstrap import SettingsError, start_server
from solidarite_server.rpc.interceptors import CallInterceptor, CallRules
from solidarite_server.rpc.observation import Observer
from solidarite_server.rpc.tracing import OtelTracer
from solidarite_server.services.rights import RIGHTS
from solidarite_server.settings import Settings

from tests.robustness.ledger import Ledger, Source
from tests.robustness.served import Served, running
from tests.robustness.test_limits import COMPUTE, compute, reason

DEPLOYMENT = Path(__file__).parents[3] / "docs" / "deploiement"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture(autouse=True)
def _the_tests_own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells of the threads of a server is put back."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)


def free_port() -> int:
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def scraped(address: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name, then by the values of their labels."""
    text = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for name, value in sorted(sample.labels.items()) if name != "pid")
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def at_rest(address: str) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples once no call is in progress: a call is counted when its answer is already on its way."""
    limit = time.monotonic() + 30
    while scraped(address)["solidarite_calls_in_progress"][()]:
        assert time.monotonic() < limit
        time.sleep(0.05)
    return scraped(address)


def refused(address: str, **more: Any) -> grpc.RpcError:
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        error: grpc.RpcError = channel.unary_unary(COMPUTE).future(compute(), timeout=10, **more).exception()
        assert reason(error) == "INVALID_FIELD"
        return error


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    metrics = f"127.0.0.1:{free_port()}"
    with running(
        tmp_path_factory.mktemp("vu"), metrics_listen=metrics, metrics_sources=2, log_calls="all", log_level="info"
    ) as served:
        yield served, metrics


# effect: metrics_listen, metrics_sources
def test_calls_ingestion_store_and_sources_are_counted(served: tuple[Served, str]):
    process, metrics = served
    refused(process.address)
    ledger = Ledger()
    for name in ("etoile", "opale", "troisieme", "quatrieme"):
        Source(name, ledger, 1).stream(process.address, 1)
    found = at_rest(metrics)
    assert found["solidarite_calls_total"][("INVALID_ARGUMENT", COMPUTE)] == 1
    assert found["solidarite_call_seconds_count"][(COMPUTE,)] == 1
    assert found["solidarite_calls_in_progress"][()] == 0
    assert found["solidarite_ingest_records_total"][("accepted",)] == 80
    assert found["solidarite_ingest_ack_seconds_count"][()] == 4
    assert found["solidarite_ingest_available"][()] == 1
    assert found["solidarite_store_bytes"][()] > 0
    sources = found["solidarite_source_last_batch_timestamp_seconds"]
    assert set(sources) == {("etoile",), ("opale",), ("autres",)}
    assert found["solidarite_source_newest_payment_timestamp_seconds"][("etoile",)] == 1_785_196_800  # 2026-07-28


def named_by_dashboard_and_alerts() -> set[str]:
    board = json.loads((DEPLOYMENT / "grafana.json").read_text("utf-8"))
    rules = yaml.safe_load((DEPLOYMENT / "alertes.yaml").read_text("utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return {name for text in expressions for name in re.findall(r"\b(?:solidarite|process)_[a-z_]+", text)}


def test_every_metric_of_the_dashboard_and_of_the_alerts_is_exported(served: tuple[Served, str]):
    process, metrics = served
    refused(process.address)
    Source("etoile", Ledger(), 2).stream(process.address, 1)
    exported, named = set(scraped(metrics)), named_by_dashboard_and_alerts()
    assert named <= exported, named - exported
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in named}
    ours = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exported if name.startswith("solidarite_")}
    assert ours - {re.sub("_total$", "", name) for name in ours if name.endswith("_total")} <= shown | {
        "solidarite_calls"
    }
    rules = yaml.safe_load((DEPLOYMENT / "alertes.yaml").read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert {"summary", "action"} <= set(rule["annotations"]), rule["alert"]


def test_an_internal_error_is_counted_from_nothing_and_not_from_its_first(served: tuple[Served, str]):
    """Prometheus sees no increase in a counter that comes up at 1: the alert would wait for a second error."""
    _, metrics = served
    ends = scraped(metrics)["solidarite_calls_total"]
    assert {f"/{method}" for method in RIGHTS} == {method for code, method in ends if code == "INTERNAL"}


def test_several_processes_are_summed_and_one_that_died_no_longer_counts_as_living(tmp_path: Path):
    import os

    metrics = f"127.0.0.1:{free_port()}"
    with running(tmp_path, metrics_listen=metrics, workers=2) as served:
        for _ in range(40):
            refused(served.address)
        found = at_rest(metrics)
        assert found["solidarite_calls_total"][("INVALID_ARGUMENT", COMPUTE)] == 40
        assert found["solidarite_ingest_available"][()] == 1
        Source("etoile", Ledger(), 1).stream(served.address, 1)
        limit = time.monotonic() + 30
        while missing := named_by_dashboard_and_alerts() - set(scraped(metrics)):  # the store is measured beside
            assert time.monotonic() < limit, missing
            time.sleep(0.1)
        victim = served.seen.children()[0]
        os.kill(victim.pid, signal.SIGKILL)
        limit = time.monotonic() + 30
        while len([child for child in served.seen.children() if child.pid != victim.pid]) < 2:
            assert time.monotonic() < limit
            time.sleep(0.1)
        # What was counted stays counted: a counter never goes back.
        assert scraped(metrics)["solidarite_calls_total"][("INVALID_ARGUMENT", COMPUTE)] >= 40
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0


# effect: log_calls, log_level
@pytest.mark.parametrize(
    ("log_calls", "log_level", "expected"),
    [("all", "info", 2), ("errors", "info", 1), ("none", "info", 0), ("all", "warning", 0)],
)
def test_the_log_tells_of_the_calls_asked_for(log_calls: str, log_level: str, expected: int, tmp_path: Path):
    with structlog.testing.capture_logs() as lines:
        if log_level == "warning":  # capture_logs stands before the filter of the level: shown on the real output
            lines = []
        asyncio.run(_two_calls(Observer(None, None, log_calls), log_level, tmp_path))
    if log_level == "warning":
        assert "call" not in (tmp_path / "sortie").read_text("utf-8")
        return
    calls = [line for line in lines if line["event"] == "call"]
    assert len(calls) == expected
    for line in calls:
        assert line["request_id"] == UUID
        assert line["status"] in ("OK", "INTERNAL")
        assert line["duration_ms"] >= 0
        assert line["method"] == "/t.S/M"


async def _two_calls(observer: Observer, level: str, folder: Path) -> None:
    if level == "warning":
        import contextlib

        with (folder / "sortie").open("w") as output, contextlib.redirect_stderr(output):
            logs.configure_logs(level)
            await _calls(observer)
        structlog.reset_defaults()
        return
    await _calls(observer)


async def _calls(observer: Observer, metadata: tuple[tuple[str, str], ...] = (("x-request-id", UUID),)) -> None:
    """Two calls of a small server: one that answers, one that fails."""

    async def single(request: bytes, context: Any) -> bytes:
        if request:
            raise ValueError("2840575999101")
        return b""

    server = grpc.aio.server(interceptors=[CallInterceptor(CallRules(observer=observer))])
    handler = grpc.unary_unary_rpc_method_handler(single)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.S", {"M": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.unary_unary("/t.S/M")(b"", metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/t.S/M")(b"1", metadata=metadata)
    await server.stop(None)


def test_lines_are_json_of_known_keys_and_a_callers_number_is_not_taken_for_a_request_id(
    served: tuple[Served, str],
):
    process, metrics = served
    at_rest(metrics)
    before = len(process.errors.read_text("utf-8").splitlines())
    refused(process.address, metadata=[("x-request-id", UUID)])
    refused(process.address, metadata=[("x-request-id", "2840575999101")])
    limit = time.monotonic() + 30
    # A call is told of when its answer is already on its way.
    while (text := process.errors.read_text("utf-8")).count("\n") < before + 2:
        assert time.monotonic() < limit
        time.sleep(0.05)
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(set(line) <= logs.ALLOWED | {"dropped_keys"} for line in lines)
    assert UUID in {line.get("request_id") for line in lines}
    assert "2840575999101" not in text


def test_a_key_that_is_not_known_is_dropped_and_counted():
    line = logs.only_allowed(None, "info", {"event": "x", "nir": "2840575999101", "status": "OK", "reason": None})
    assert line == {"event": "x", "status": "OK", "dropped_keys": 1}


def test_what_a_library_says_is_told_without_its_text(capfd: pytest.CaptureFixture[str]):
    logs.configure_logs("info")
    try:
        logging.getLogger("grpc").error("refused: %s", "2840575999101")
    finally:
        logging.getLogger().handlers = []
        structlog.reset_defaults()
    written = json.loads(capfd.readouterr().err)
    assert written["event"] == "library"
    assert written["logger"] == "grpc"
    assert "2840575999101" not in str(written)


def test_a_thread_that_something_unforeseen_ends_is_told_without_its_text(capfd: pytest.CaptureFixture[str]):
    logs.configure_logs("info")
    try:
        ended = threading.Thread(target=int, args=("2840575999101 en toutes lettres",))
        ended.start()
        ended.join()
    finally:
        logging.getLogger().handlers = []
        structlog.reset_defaults()
    written = json.loads(capfd.readouterr().err)
    assert (written["event"], written["exception"]) == ("unforeseen", "ValueError")
    assert "2840575999101" not in str(written)


def test_a_call_is_a_span_under_the_callers_with_nothing_of_what_it_carries():
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = (("traceparent", parent), ("tracestate", "portail=secret"), ("x-autre", "secret"))
    asyncio.run(_calls(Observer(None, OtelTracer(provider), "none"), sent))
    answered, failed = memory.get_finished_spans()
    for span in (answered, failed):
        assert span.name == "t.S/M"
        assert f"{span.context.trace_id:032x}" == parent.split("-")[1]
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == parent.split("-")[2]
        assert "secret" not in span.to_json()
        assert not span.context.trace_state
        assert "2840575999101" not in span.to_json()
    assert answered.attributes["rpc.grpc.status_code"] == "OK"
    assert failed.attributes["rpc.grpc.status_code"] == "INTERNAL"
    assert not failed.status.is_ok
    assert answered.status.is_ok or answered.status.is_unset


# effect: otlp_endpoint
def test_traces_are_sent_to_the_collector_that_the_settings_name(tmp_path: Path):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    received = threading.Event()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if b"ComputeEntitlements" in body and b"solidarite" in body:
                received.set()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever, daemon=True)
    thread.start()
    try:
        with running(tmp_path, otlp_endpoint=f"http://127.0.0.1:{collector.server_port}/v1/traces") as served:
            refused(served.address)
            assert received.wait(20)
    finally:
        collector.shutdown()
        collector.server_close()


def test_an_address_of_metrics_that_cannot_be_listened_on_is_refused_at_start(tmp_path: Path):
    settings = Settings(listen="127.0.0.1:0", store=f"sqlite:///{tmp_path / 'a.db'}", metrics_listen="nulle-part:1")
    with pytest.raises(SettingsError, match=r"nulle-part .*\(metrics_listen\)"):
        asyncio.run(start_server(settings))
