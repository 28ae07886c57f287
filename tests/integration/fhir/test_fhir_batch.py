"""Batches over HTTP: every entry has its own outcome, and stands alone before the gate."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.test_fhir_editing import OBSERVATION
from tests.integration.fhir.web import PATIENT, as_sent, outcome, send
from twinward.fhir.rest.batch import MAX_ENTRIES
from twinward.fhir.validation.validator import validate


def entry(method: str, url: str, resource: object = None, **more: str) -> dict[str, Any]:
    built: dict[str, Any] = {"request": {"method": method, "url": url} | more}
    return built if resource is None else built | {"resource": resource}


def batch(web: TestClient, *entries: dict[str, Any], who: str = "clinician") -> Any:
    body = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": list(entries)})
    return send(web, "POST", "", who, content=body)


def statuses(response: Any) -> list[str]:
    assert response.status_code == 200
    bundle = response.json()
    validate(bundle)
    assert bundle["type"] == "batch-response"
    return [one["response"]["status"][:3] for one in bundle["entry"]]


def test_each_entry_has_its_own_outcome(web: TestClient) -> None:
    observation = json.loads(OBSERVATION)
    response = batch(
        web,
        entry("PUT", "Patient/p", PATIENT),
        entry("POST", "Observation", observation),
        entry("PUT", "Observation/o", observation),
        entry("PUT", "Observation/o", observation, ifMatch='W/"7"'),
        entry("GET", "Observation/o"),
        entry("GET", "Observation?patient=p&_id=o"),
        entry("GET", "Observation/never"),
        entry("GET", "Observation?nonsense=1"),
        entry("PUT", "Patient/q", PATIENT),
        entry("DELETE", "Observation/o", ifMatch='W/"1"'),
        entry("GET", "/Observation/o"),
        entry("PATCH", "Patient/p", PATIENT),
        entry("POST", "Patient", {"resourceType": "Patient", "gender": 7}),
        entry("POST", "Patient", PATIENT, ifNoneExist="identifier=1"),
        entry("GET", "../metadata"),
        entry("PUT", "Observation"),
    )
    expected = "201 201 201 412 200 200 404 400 400 204 410 400 400 201 404 400"
    assert statuses(response) == expected.split()
    answers = response.json()["entry"]
    assert answers[4]["resource"]["id"] == "o"
    assert answers[5]["resource"]["total"] == 1
    assert answers[0]["response"]["etag"] == 'W/"1"'
    assert answers[2]["response"]["location"] == "Observation/o/_history/1"
    assert answers[3]["response"]["outcome"]["resourceType"] == "OperationOutcome"


def test_a_batch_opens_nothing_that_its_caller_may_not(web: TestClient, hospital: Hospital) -> None:
    batch(web, entry("PUT", "Patient/p", PATIENT))
    entries = [
        entry("GET", "Patient/p"),
        entry("PUT", "Patient/p", PATIENT | {"gender": "male"}),
        entry("GET", "Patient"),
    ]
    before = len(hospital.trail.events)
    response = batch(web, *entries, who="vendor")
    assert statuses(response) == ["403"] * 3
    assert [event.decision for event in hospital.trail.events[before:]] == ["deny"] * 3
    assert b"female" not in response.content
    assert statuses(batch(web, *entries, who="system")) == ["403", "200", "403"]


def test_bytes_are_kept_in_a_batch_too(web: TestClient) -> None:
    batch(web, entry("PUT", "Patient/p", PATIENT))
    request = b'"request":{"method":"PUT","url":"Observation/o"}'
    body = b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":' + OBSERVATION + b"," + request + b"}]}"
    assert statuses(send(web, "POST", "", content=body)) == ["201"]
    assert as_sent(send(web, "GET", "/Observation/o").content) == OBSERVATION
    assert OBSERVATION in as_sent(batch(web, entry("GET", "Observation/o")).content)


def test_an_empty_batch_is_answered_by_an_empty_one(web: TestClient) -> None:
    assert batch(web).json() == {"resourceType": "Bundle", "type": "batch-response"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Bundle","type":"batch","entry":{}}',
        b'{"resourceType":"Bundle","type":"batch","entry":[1]}',
        b'{"resourceType":"Patient","type":"batch"}',
        b'{"resourceType":"Bundle","type":"batch","type":"batch"}',
        json.dumps(
            {"resourceType": "Bundle", "type": "batch", "entry": [entry("GET", "x")] * (MAX_ENTRIES + 1)}
        ).encode(),
    ],
)
def test_a_batch_that_cannot_be_read_does_nothing(web: TestClient, hospital: Hospital, body: bytes) -> None:
    response = send(web, "POST", "", content=body)
    assert response.status_code == 400
    outcome(response)
    assert len(hospital.trail.events) == 0
