"""Traces as a collector gets them, byte for byte: what a request was, and nothing of whom it was about."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.integration.cli.conftest import Hospital, make_hospital
from twinward.api.app import create_app
from twinward.api.http.traces import Traces
from twinward.console import mount
from twinward.core.clock import FixedClock
from twinward.node import open_node

PLANTED = ("anna-abernathy", "MRN4711", "10.9.8.7", "hunter2", "c0ffee", "Wada")
TRACE = "c0ffee00c0ffee00c0ffee00c0ffee00"


@dataclass
class Collector:
    """An OTLP receiver: whole bodies, unpacked."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    status: int = 200

    def spans(self) -> list[Span]:
        batches = [ExportTraceServiceRequest.FromString(one) for one in self.bodies]
        return [
            span for batch in batches for of in batch.resource_spans for scope in of.scope_spans for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        yield found
        server.shutdown()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return make_hospital(tmp_path_factory.mktemp("traced") / "node")


def asked_with_everything(hospital: Hospital, count: Traces) -> None:
    """Names, numbers and secrets in every place that a request has."""
    hostile = {
        "authorization": f"Bearer {hospital.vendor_token}",
        "traceparent": f"00-{TRACE}-c0ffee00c0ffee00-01",
        "tracestate": "patient=anna-abernathy",
        "baggage": "mrn=MRN4711",
        "user-agent": "Wada/10.9.8.7",
        "x-forwarded-for": "10.9.8.7",
        "cookie": "twinward_session=hunter2",
        "x-b3-traceid": TRACE,
    }
    with open_node(hospital.home) as node:
        app = create_app(node, count=count.count)
        mount(app, node)
        with contextlib.closing(TestClient(app, client=("10.9.8.7", 4711), raise_server_exceptions=False)) as client:
            client.headers.update(hostile)
            client.get(f"/fhir/Patient/{hospital.twins[0]}?name=anna-abernathy")
            client.get("/fhir/Patient/MRN4711")
            client.post("/console/sign-in", data={"account": "anna-abernathy", "password": "hunter2", "csrf": "x"})
            client.post("/fhir/Patient", json={"resourceType": "Patient", "name": [{"family": "Wada"}]})
            client.get("/no/anna-abernathy/MRN4711")
            client.request("HUNTER2", "/health")


def test_a_collector_learns_nothing_of_whom_a_request_is_about(
    collector: Collector, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "patient=anna-abernathy")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "MRN4711")
    monkeypatch.setenv("OTEL_PROPAGATORS", "tracecontext,baggage")
    with Traces(collector.url, FixedClock()) as traces:
        asked_with_everything(hospital, traces)
    assert collector.spans()
    sent = b"\n".join(collector.bodies).lower()
    for word in (*PLANTED, *hospital.twins, hospital.vendor_token):
        assert word.lower().encode() not in sent, word
    assert bytes.fromhex(TRACE) not in sent
    for span in collector.spans():
        assert {one.key for one in span.attributes} == {
            "http.request.method", "http.route", "http.response.status_code",
        }  # fmt: skip
        assert not (span.events)
        assert not (span.links)
        assert not (span.parent_span_id)
        assert not (span.trace_state)
        assert not (span.status.message)


def test_a_span_says_what_a_request_was(collector: Collector) -> None:
    clock = FixedClock()
    with Traces(collector.url, clock) as traces:
        traces.count("GET", "/fhir/{resource_type}/{resource_id}", 200, 40)
        traces.count("BREW", "unknown", 503, 0)
    first, second = collector.spans()
    assert first.name == "GET /fhir/{resource_type}/{resource_id}"
    assert (first.kind, first.status.code) == (Span.SPAN_KIND_SERVER, Status.STATUS_CODE_UNSET)
    assert first.end_time_unix_nano == clock.now_ms() * 1_000_000
    assert first.end_time_unix_nano - first.start_time_unix_nano == 40_000_000
    assert (second.name, second.status.code) == ("_OTHER unknown", Status.STATUS_CODE_ERROR)
    assert first.trace_id != second.trace_id
    resource = ExportTraceServiceRequest.FromString(collector.bodies[0]).resource_spans[0].resource
    assert {one.key for one in resource.attributes} == {"service.name", "service.version"}


@pytest.mark.slow  # it waits for as long as a collector may take
def test_a_collector_that_takes_nothing_keeps_nobody_from_being_answered(hospital: Hospital) -> None:
    with Traces("http://127.0.0.1:1/v1/traces", FixedClock()) as traces, open_node(hospital.home) as node:
        client = TestClient(create_app(node, count=traces.count))
        assert client.get("/health").text == "ok\n"
