"""Figures for Prometheus: what is counted, what stands in no label, and that they stand beside the node, not in it."""

from __future__ import annotations

import contextlib
import socket

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.cli.conftest import Hospital, make_hospital
from twinward.api.app import create_app
from twinward.api.http.metrics import Metrics
from twinward.core.errors import BadInput
from twinward.node import open_node


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return make_hospital(tmp_path_factory.mktemp("metrics") / "node")


@pytest.fixture(scope="module")
def metrics(hospital: Hospital) -> Metrics:
    made = Metrics()
    with open_node(hospital.home) as node, contextlib.closing(TestClient(create_app(node, count=made.count))) as client:
        headers = {"authorization": f"Bearer {hospital.vendor_token}"}
        client.get("/health")
        client.get("/health")
        client.get(f"/fhir/Patient/{hospital.twins[0]}", headers=headers)
        client.get("/fhir/Patient/anna-abernathy")
        client.get("/nowhere/anna-abernathy")
        client.request("BREW", "/health")
    made.gauge("log_size", "Events.", lambda: 41.0)
    return made


def samples(text: str) -> dict[tuple[str, ...], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith(("_requests_total", "_seconds_count", "_log_size")):
                found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_requests_are_counted_by_method_template_and_status(metrics: Metrics) -> None:
    with metrics.served("127.0.0.1", 0) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
    told = samples(answer.text)
    total = "twinward_http_requests_total"
    assert told[total, "GET", "/health", "200"] == 2
    assert told["twinward_http_request_seconds_count", "GET", "/health"] == 2
    assert told["twinward_log_size",] == 41
    assert told[total, "GET", "unknown", "404"] == 1
    assert any(labels[:2] == (total, "other") for labels in told)
    assert sum(value for labels, value in told.items() if "/fhir/" in str(labels) and labels[0] == total) == 2


def test_no_label_tells_of_anybody(metrics: Metrics, hospital: Hospital) -> None:
    with metrics.served("127.0.0.1", 0) as port:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    for word in ("abernathy", "acme", "BREW", *hospital.twins):
        assert word not in text


def test_an_address_that_is_taken_is_refused_with_what_to_set(metrics: Metrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match="figures cannot be served"), metrics.served("127.0.0.1", port):
            pass
