"""OpenTelemetry traces, by its API alone: a span a call, under the caller's span, with nothing of what it carries.

Needs the extra `otel`. Off unless `otlp_endpoint` is set.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from solidarite_server.rpc.observation import Call

_PROPAGATOR = TraceContextTextMapPropagator()
_EXPORT_SECONDS = 2
_PROPAGATED = "traceparent"
"""Not `tracestate`: it is free text, and would go on to the collector as it came."""


class OtelTracer:
    """Implements `observation.Tracer`."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("solidarite_server")

    def begun(self, call: Call) -> None:
        """Open the call's span, under the caller's when it sent one."""
        carried = {name: value for name, value in call.metadata if name == _PROPAGATED}
        service, _, method = call.method.lstrip("/").partition("/")
        call.span = self._tracer.start_span(
            f"{service}/{method}",
            context=_PROPAGATOR.extract(carried),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        )

    def ended(self, call: Call, code: str) -> None:
        """Close it with its status."""
        if call.span is None:
            return
        call.span.set_attribute("rpc.grpc.status_code", code)
        if call.reason:
            call.span.set_attribute("solidarite.reason", call.reason)
        if code in ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
            call.span.set_status(Status(StatusCode.ERROR))
        call.span.end()


def exporting_provider(endpoint: str) -> Any:
    """A provider that sends spans to an OTLP collector over HTTP, in the background."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "solidarite"}))
    # Tries included: the last spans are sent as the process ends, and a collector that is down must not hold it back.
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
