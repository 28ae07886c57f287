"""Conditional writes: once only, whoever races; the right one or none; and nothing opened for those who only write."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import PATIENT, outcome, send
from twinward.core.vocabulary import Action

MRN = {"system": "http://h.example/mrn", "value": "7"}
WHERE = "identifier=http://h.example/mrn|7"


def anna(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [MRN]} | more


def reading(value: int, number: str = "r1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "identifier": [{"system": "urn:ward", "value": number}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/p"},
        "valueQuantity": {"value": value, "unit": "/min"},
    } | more


def create(web: TestClient, body: dict[str, Any], condition: str, who: str = "clinician") -> Any:
    headers = {"if-none-exist": condition}
    return send(web, "POST", f"/{body['resourceType']}", who, content=json.dumps(body), headers=headers)


def total(web: TestClient, query: str) -> int:
    found: int = send(web, "GET", query).json()["total"]
    return found


@pytest.fixture
def patient(web: TestClient) -> None:
    assert send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT)).status_code == 201


@pytest.mark.parametrize("condition", [WHERE, "identifier=7", f"Patient?{WHERE}", f"?{WHERE}"])
def test_a_patient_is_created_once(web: TestClient, condition: str) -> None:
    first, second = create(web, anna(), condition), create(web, anna(gender="male"), condition)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["etag"] == 'W/"1"'
    assert second.content == first.content
    assert total(web, f"/Patient?{WHERE}") == 1


def test_of_many_that_create_the_same_at_once_one_does(web: TestClient, patient: None) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: create(web, reading(n), "identifier=urn:ward|r1"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert total(web, "/Observation?patient=p") == 1


def test_who_may_only_write_creates_once_and_is_shown_nothing(
    web: TestClient, hospital: Hospital, patient: None
) -> None:
    assert create(web, reading(1), "identifier=urn:ward|r1", "system").status_code == 201
    before = len(hospital.trail.events)
    again = create(web, reading(2), "identifier=urn:ward|r1", "system")
    assert (again.status_code, again.content) == (200, b"")
    assert "location" not in again.headers
    assert not [event for event in hospital.trail.events[before:] if event.action is Action.READ]
    refused = create(web, reading(3), "code=8867-4&patient=p", "system")  # this one would need a search
    assert refused.status_code == 403
    assert total(web, "/Observation?patient=p") == 1


def test_what_is_found_by_a_condition_is_an_access(web: TestClient, hospital: Hospital, patient: None) -> None:
    create(web, reading(1), "identifier=urn:ward|r1")
    before = len(hospital.trail.events)
    assert create(web, reading(1), "identifier=urn:ward|r1").json()["valueQuantity"]["value"] == 1
    assert [event.action for event in hospital.trail.events[before:]] == [Action.READ]


@pytest.mark.parametrize("condition", ["identifier=urn:ward|r1", "identifier=r1", "patient=p&code=8867-4"])
def test_a_condition_that_is_true_of_several_changes_nothing(web: TestClient, patient: None, condition: str) -> None:
    for value in (1, 2):
        assert send(web, "POST", "/Observation", content=json.dumps(reading(value))).status_code == 201
    for answer in (
        create(web, reading(3), condition),
        send(web, "PUT", f"/Observation?{condition}", content=json.dumps(reading(3))),
        send(web, "DELETE", f"/Observation?{condition}"),
    ):
        assert answer.status_code == 412
        assert outcome(answer)["code"] == "multiple-matches"
    assert total(web, "/Observation?patient=p") == 2


def test_an_identifier_is_looked_for_within_the_patient_that_is_named(web: TestClient, patient: None) -> None:
    send(web, "PUT", "/Patient/q", content=json.dumps(PATIENT | {"id": "q"}))
    send(web, "POST", "/Observation", content=json.dumps(reading(1)))
    theirs = reading(2, subject={"reference": "Patient/q"})
    assert create(web, theirs, "identifier=urn:ward|r1&patient=q").status_code == 201
    assert create(web, theirs, "identifier=urn:ward|r1&patient=q").status_code == 200
    assert create(web, theirs, "identifier=urn:ward|r1").status_code == 412


def test_an_update_finds_what_it_is_about(web: TestClient, patient: None) -> None:
    where = "/Observation?identifier=urn:ward|r1"
    made = send(web, "PUT", where, content=json.dumps(reading(1)))
    assert made.status_code == 201
    changed = send(web, "PUT", where, content=json.dumps(reading(2)))
    assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
    assert changed.json()["id"] == made.json()["id"]
    named = send(web, "PUT", where, content=json.dumps(reading(3, id=made.json()["id"])))
    assert (named.status_code, named.headers["etag"]) == (200, 'W/"3"')
    other = send(web, "PUT", where, content=json.dumps(reading(4, id="other")))
    assert (other.status_code, outcome(other)["expression"]) == (400, ["Observation.id"])
    assert send(web, "PUT", where, "system", content=json.dumps(reading(5))).status_code == 403
    fresh = send(web, "PUT", "/Observation?identifier=urn:ward|r2", content=json.dumps(reading(6, "r2", id="mine")))
    assert (fresh.status_code, fresh.json()["id"]) == (201, "mine")


def test_a_deletion_finds_what_it_is_about_and_what_is_gone_is_found_no_more(web: TestClient, patient: None) -> None:
    create(web, reading(1), "identifier=urn:ward|r1")
    where = "/Observation?identifier=urn:ward|r1"
    assert send(web, "DELETE", where, "system").status_code == 403
    assert send(web, "DELETE", where).headers["etag"] == 'W/"2"'
    again = send(web, "DELETE", where)
    assert (again.status_code, "etag" in again.headers) == (204, False)
    assert create(web, reading(2), "identifier=urn:ward|r1").status_code == 201


@pytest.mark.parametrize(
    "condition", ["_count=1", "_sort=date", "nonsense=1", "patient=p&_include=Observation:subject", "x" * 3000, "=&="]
)
def test_what_is_no_condition_is_refused(web: TestClient, patient: None, condition: str) -> None:
    answer = send(web, "PUT", f"/Observation?{condition[:1900]}", content=json.dumps(reading(1)))
    assert answer.status_code == 400
    outcome(answer)
    if len(condition) < 2000:
        assert create(web, reading(1), condition).status_code == 400
    assert total(web, "/Observation?patient=p") == 0


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_write_without_any_condition_is_refused(web: TestClient, patient: None, method: str) -> None:
    answer = send(web, method, "/Observation", content=json.dumps(reading(1)))
    assert (answer.status_code, outcome(answer)["code"]) == (400, "required")


def test_a_condition_in_the_address_of_a_create_is_heeded_too(web: TestClient, patient: None) -> None:
    address, body = "/Observation?identifier=urn:ward|r1", json.dumps(reading(1))
    assert [send(web, "POST", address, content=body).status_code for _ in range(2)] == [201, 200]
    assert send(web, "POST", "/Observation?nonsense=1", content=body).status_code == 400
    assert send(web, "POST", "/Observation?_format=json", content=body).status_code == 201
