"""The justification a caller gives stands in the event of every decision: writes, searches, imports and exports too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.test_fhir_batch import entry
from tests.integration.fhir.test_fhir_editing import OBSERVATION
from tests.integration.fhir.web import PATIENT, send, transaction
from twinward.access.interfaces import NODE
from twinward.core.vocabulary import Action

WHY = "found unconscious on the street"
IDENTIFIED = {"identifier": [{"system": "urn:ward", "value": "1"}]}
BY_IDENTIFIER = "/Patient?identifier=urn:ward%7C1"
NDJSON = {"content-type": "application/fhir+ndjson"}
Walk = Callable[[TestClient], None]


def ask(web: TestClient, method: str, path: str, who: str = "clinician", **more: Any) -> Any:
    headers = {"x-justification": WHY, "prefer": "respond-async"} | more.pop("headers", {})
    answer = send(web, method, path, who, headers=headers, **more)
    assert answer.is_success, answer.text
    return answer


def done(web: TestClient, begun: Any, who: str) -> str:
    """The job's address, once it is over."""
    address: str = begun.headers["content-location"].removeprefix("http://testserver/fhir")
    for _ in range(600):
        if ask(web, "GET", address, who).status_code == 200:
            return address
        time.sleep(0.05)
    raise AssertionError("the job never ended")


def edit(web: TestClient) -> None:
    ask(web, "POST", "/Observation", content=OBSERVATION)
    ask(web, "PUT", "/Observation/o", content=OBSERVATION)
    ask(web, "DELETE", "/Observation/o")
    ask(web, "DELETE", "/Observation/o")


def edit_on_conditions(web: TestClient) -> None:
    known = json.dumps(PATIENT | IDENTIFIED)
    ask(web, "PUT", "/Patient/p", content=known)
    ask(web, "POST", "/Patient", content=known, headers={"if-none-exist": "identifier=urn:ward|1"})
    ask(web, "POST", "/Patient", content=known, headers={"if-none-exist": "gender=female"})
    ask(web, "PUT", BY_IDENTIFIER, content=json.dumps(PATIENT | IDENTIFIED | {"active": True}))
    ask(web, "DELETE", BY_IDENTIFIER)


def send_bundles(web: TestClient) -> None:
    observation = json.loads(OBSERVATION)
    ask(web, "POST", "", content=transaction(PATIENT | {"id": "new"}))
    entries = [
        entry("PUT", "Patient/p", PATIENT | IDENTIFIED),
        entry("POST", "Observation", observation),
        entry("PUT", "Observation/o", observation),
        entry("DELETE", "Observation/o"),
        entry("PUT", "Patient?identifier=urn:ward%7C1", PATIENT | IDENTIFIED | {"active": True}),
        entry("DELETE", "Patient?identifier=urn:ward%7C1"),
    ]
    ask(web, "POST", "", content=json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}))


def search_everybody(web: TestClient) -> None:
    ask(web, "GET", "/Patient?gender=female")


def import_lines(web: TestClient) -> None:
    lines = [PATIENT | {"id": "new"}, PATIENT | {"active": True}, json.loads(OBSERVATION)]
    body = "\n".join(json.dumps(one) for one in lines)
    done(web, ask(web, "POST", "/$import", "system", content=body, headers=NDJSON), "system")


def export(web: TestClient) -> None:
    address = done(web, ask(web, "GET", "/$export", "officer"), "officer")
    ask(web, "GET", f"{address}/Patient.ndjson", "officer")


WALKS = {
    edit: Action.WRITE,
    edit_on_conditions: Action.WRITE,
    send_bundles: Action.WRITE,
    search_everybody: Action.SEARCH,
    import_lines: Action.WRITE,
    export: Action.EXPORT,
}


@pytest.fixture
def ward(web: TestClient) -> TestClient:
    assert send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT)).status_code == 201
    return web


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_every_event_carries_the_justification_given(ward: TestClient, hospital: Hospital, walk: Walk) -> None:
    before = len(hospital.trail.events)
    walk(ward)
    events = [one for one in hospital.trail.events[before:] if one.agent != NODE.id]  # the node derives, and says so
    assert WALKS[walk] in {event.action for event in events}
    assert {dict(event.detail).get("justification") for event in events} == {WHY}, events


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/Observation"), ("PUT", "/Observation/o"), ("DELETE", "/Observation/o"), ("POST", ""),
     ("PUT", BY_IDENTIFIER), ("DELETE", BY_IDENTIFIER), ("GET", "/$export"), ("GET", "/$export-jobs/j"),
     ("DELETE", "/$export-jobs/j"), ("GET", "/$export-jobs/j/Patient.ndjson"), ("POST", "/$import"),
     ("GET", "/$import-jobs/j"), ("DELETE", "/$import-jobs/j")],
)  # fmt: skip
def test_a_refusal_carries_it_too(ward: TestClient, hospital: Hospital, method: str, path: str) -> None:
    content = transaction(PATIENT | {"id": "new"}) if path == "" else OBSERVATION
    sent = {"content": content} if method in ("POST", "PUT") else {}
    answer = send(ward, method, path, "vendor", headers={"x-justification": WHY}, **sent)
    assert answer.status_code == 403
    event = hospital.trail.events[-1]
    assert (event.decision, dict(event.detail).get("justification")) == ("deny", WHY)
