"""A span of each request for an OpenTelemetry collector, made of the words that figures are made of, and nothing else.

Instrumentation that wraps an ASGI application sees paths, queries, addresses and headers, and has to be kept from
sending them. This one is told, after a request has ended, its method, its route's template, its status and how long it
took: what it does not have it cannot send. Trace ids are its own; ``traceparent``, ``tracestate`` and ``baggage`` of a
caller are not read, for they could carry anything. The resource says which program and version it is, and no host.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from twinward import __version__
from twinward.api.http.guard import METHODS
from twinward.core.clock import Clock
from twinward.core.errors import BadInput

TIMEOUT_S: Final = 5.0
"""How long a collector may take; what it does not take in time is lost, and nobody waits for it but the exporter."""
_NS: Final = 1_000_000
"""Of a millisecond."""


class Traces:
    """Spans on their way to a collector, sent in batches by a thread of their own.

    Args:
        url: where the collector takes OTLP over HTTP.
        clock: by which requests were timed.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON
            from opentelemetry.trace import SpanKind, Status, StatusCode
        except ModuleNotFoundError:
            raise BadInput("traces need the extra telemetry", hint="pip install 'twinward[telemetry]'") from None
        resource = Resource({"service.name": "twinward", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_S)))
        self._tracer = self._provider.get_tracer("twinward")
        self._clock = clock
        self._server, self._error = SpanKind.SERVER, Status(StatusCode.ERROR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Send what waits, for as long as a collector may take."""
        self._provider.force_flush(int(TIMEOUT_S * 1000))
        self._provider.shutdown()

    def count(self, method: str, route: str, status: int, ms: int) -> None:
        """One request that ended. ``route`` is a template (OpenTelemetry's HTTP conventions: http.route)."""
        from opentelemetry.context import Context

        method = method if method in METHODS else "_OTHER"
        ended_ms = self._clock.now_ms()
        span = self._tracer.start_span(
            f"{method} {route}",
            context=Context(),  # a trace of its own, whatever a library's own instrumentation began
            kind=self._server,
            attributes={"http.request.method": method, "http.route": route, "http.response.status_code": status},
            start_time=(ended_ms - ms) * _NS,
        )
        if status >= 500:
            span.set_status(self._error)
        span.end(ended_ms * _NS)
