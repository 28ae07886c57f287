"""Bulk export over HTTP: the asynchronous pattern, and each patient's part decided when it leaves."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import SYSTEM, Hospital
from tests.integration.fhir.test_fhir_editing import DEPRESSION
from tests.integration.fhir.web import PATIENT, outcome, send
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Action, Category, Purpose
from twinward.fhir.bulk.bundle_files import import_bundles
from twinward.fhir.validation.validator import validate

ASYNC = {"prefer": "respond-async"}
HYPERTENSION = {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]}


@pytest.fixture
def web(own_web: TestClient) -> TestClient:
    return own_web


def begin(web: TestClient, path: str = "/$export") -> str:
    response = send(web, "GET", path, "officer", headers=ASYNC)
    assert response.status_code == 202, response.text
    address: str = response.headers["content-location"].removeprefix("http://testserver/fhir")
    return address


def manifest(web: TestClient, address: str) -> dict[str, Any]:
    for _ in range(600):
        response = send(web, "GET", address, "officer")
        if response.status_code == 200:
            body: dict[str, Any] = response.json()
            return body
        assert response.status_code == 202
        assert "looked at" in response.headers["x-progress"]
        time.sleep(0.05)
    raise AssertionError("the export was never prepared")


def lines(web: TestClient, address: str, name: str) -> list[dict[str, Any]]:
    response = send(web, "GET", f"{address}/{name}.ndjson", "officer")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/fhir+ndjson"
    return [json.loads(line) for line in response.content.splitlines()]


@pytest.fixture
def ward(web: TestClient, hospital: Hospital) -> TestClient:
    resources: list[dict[str, Any]] = [PATIENT | {"id": name} for name in ("anna", "bern")]
    for name in ("anna", "bern"):
        condition = {"resourceType": "Condition", "subject": {"reference": f"Patient/{name}"}}
        resources += [
            condition | {"id": f"{name}-plain", "code": HYPERTENSION | {"text": "a\nb"}},
            condition | {"id": f"{name}-psychiatric", "code": DEPRESSION},
        ]
    resources.append({"resourceType": "Organization", "id": "h", "name": "St Anna"})
    for one in resources:
        path = f"/{one['resourceType']}/{one['id']}"
        assert send(web, "PUT", path, content=json.dumps(one, indent=1)).status_code == 201
    return web


def test_what_is_exported_is_what_is_kept_and_each_patient_is_logged(ward: TestClient, hospital: Hospital) -> None:
    before = len(hospital.trail.events)
    address = begin(ward)
    told = manifest(ward, address)
    assert told["requiresAccessToken"] is True
    assert [one["type"] for one in told["output"]] == ["Condition", "Organization", "Patient"]
    assert told["output"][0]["url"] == f"http://testserver/fhir{address}/Condition.ndjson"
    assert len(hospital.trail.events) == before  # nothing was opened, so nothing had to be logged
    assert {one["id"] for one in lines(ward, address, "Patient")} == {"anna", "bern"}
    events = hospital.trail.events[before:]
    assert len({event.twin for event in events}) == len(events) == 3  # the directory was asked too
    assert {(event.action, event.purpose, event.decision) for event in events} == {
        (Action.EXPORT, Purpose.RECORD_MANAGEMENT, "permit")
    }
    assert [one["name"] for one in lines(ward, address, "Organization")] == ["St Anna"]


def test_sensitive_records_leave_only_with_consent_and_a_no_is_respected(ward: TestClient, hospital: Hospital) -> None:
    address = begin(ward, "/Patient/$export?_type=Condition,Patient")
    assert [one["type"] for one in manifest(ward, address)["output"]] == ["Condition", "Patient"]
    assert {one["id"] for one in lines(ward, address, "Condition")} == {"anna-plain", "bern-plain"}
    anna, bern = hospital.twins.find("Patient/anna"), hospital.twins.find("Patient/bern")
    hospital.consent(anna, Provision(effect="permit", categories=(Category.PSYCHIATRY,)))
    hospital.consent(bern, Provision(effect="deny"))  # after the job was prepared
    before = len(hospital.trail.events)
    assert {one["id"] for one in lines(ward, address, "Condition")} == {"anna-plain", "anna-psychiatric"}
    decided = {(event.twin, event.decision) for event in hospital.trail.events[before:]}
    assert decided == {(anna, "permit"), (bern, "deny")}
    # What is permitted apart and refused together is asked for apart, by every walk.
    everything = send(ward, "GET", "/Patient/anna/$everything")
    assert b"anna-psychiatric" in everything.content
    assert b"anna-plain" in everything.content
    found = send(ward, "GET", "/Condition?patient=anna").json()
    assert found["total"] == 2


def test_since_and_deletions(ward: TestClient, hospital: Hospital) -> None:
    hospital.clock.advance(60_000)
    send(ward, "PUT", "/Patient/anna", content=json.dumps(PATIENT | {"id": "anna", "gender": "other"}))
    address = begin(ward, "/$export?_since=2026-01-01T00:00:30Z&_outputFormat=ndjson")
    manifest(ward, address)
    assert [one["gender"] for one in lines(ward, address, "Patient")] == ["other"]
    send(ward, "DELETE", "/Patient/anna")
    assert lines(ward, address, "Patient") == []


def test_what_was_deleted_since_is_told_to_whom_it_may_leave_to(ward: TestClient, hospital: Hospital) -> None:
    send(ward, "DELETE", "/Condition/bern-plain")
    hospital.clock.advance(60_000)
    for path in ("/Condition/anna-plain", "/Condition/bern-psychiatric", "/Organization/h"):
        assert send(ward, "DELETE", path).status_code == 204
    address = begin(ward, "/$export?_since=2026-01-01T00:00:30Z&_type=Condition")
    deleted = manifest(ward, address)["deleted"]
    assert deleted == [{"type": "Bundle", "url": f"http://testserver/fhir{address}/deleted.ndjson"}]
    before = len(hospital.trail.events)
    [bundle] = lines(ward, address, "deleted")
    validate(bundle)
    assert bundle["type"] == "transaction"
    assert [one["request"] for one in bundle["entry"]] == [{"method": "DELETE", "url": "Condition/anna-plain"}]
    assert {event.action for event in hospital.trail.events[before:]} == {Action.EXPORT}
    hospital.consent(hospital.twins.find("Patient/anna"), Provision(effect="deny"))
    assert lines(ward, address, "deleted") == []
    assert {one["id"] for one in lines(ward, address, "Condition")} == set()


def test_without_since_no_deletion_is_told(ward: TestClient) -> None:
    send(ward, "DELETE", "/Condition/anna-plain")
    address = begin(ward)
    assert manifest(ward, address)["deleted"] == []
    assert send(ward, "GET", f"{address}/deleted.ndjson", "officer").status_code == 404


def test_a_job_is_its_owners_and_can_be_forgotten(ward: TestClient) -> None:
    address = begin(ward)
    manifest(ward, address)
    for path in (address, f"{address}/Patient.ndjson"):
        for who in ("clinician", "system", "vendor", "marie"):
            assert send(ward, "GET", path, who).status_code == 403
    for name in ("Patient", "Observation.ndjson", "Stay.ndjson"):
        assert send(ward, "GET", f"{address}/{name}", "officer").status_code == 404
    assert send(ward, "DELETE", address, "officer").status_code == 202
    for path in (address, f"{address}/Patient.ndjson", "/$export-jobs/guess"):
        response = send(ward, "GET", path, "officer")
        assert response.status_code == 404
        outcome(response)


@pytest.mark.parametrize(
    "query",
    [
        "_type=Nonsense",
        "_type=Stay",
        "_type=",
        "_outputFormat=csv",
        "_elements=id",
        "_count=1",
        "_typeFilter=Observation?code=1",
        "patient=anna",
    ],
)
def test_what_is_not_served_is_refused(ward: TestClient, query: str) -> None:
    for path in (f"/$export?{query}", f"/Patient/$export?{query}"):
        assert outcome(send(ward, "GET", path, "officer", headers=ASYNC))["code"] == "not-supported"
    assert send(ward, "GET", "/$export?_since=yesterday", "officer", headers=ASYNC).status_code == 400
    plus = "/$export?_outputFormat=application/fhir+ndjson&_since=2026-01-01T00:00:30+01:00&_type=Patient"
    assert send(ward, "GET", plus, "officer", headers=ASYNC).status_code == 202
    assert send(ward, "GET", "/$export", "officer").status_code == 400  # not asked for asynchronously
    other = {"x-purpose-of-use": "HRESCH"} | ASYNC
    assert send(ward, "GET", "/$export", "officer", headers=other).status_code == 403


def test_a_log_that_cannot_be_written_lets_nothing_out(ward: TestClient, hospital: Hospital) -> None:
    address = begin(ward)
    manifest(ward, address)
    hospital.trail.log.store.close()
    response = send(ward, "GET", f"{address}/Patient.ndjson", "officer")
    assert response.status_code == 503
    assert b"female" not in response.content


def test_real_bundles_are_exported_with_every_digit(web: TestClient, hospital: Hospital, shared_data: Path) -> None:
    files = sorted((shared_data / "synthea-r4").glob("*.json.gz"), key=lambda one: one.stat().st_size)[:2]
    hospital.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), import_bundles(files))
    address = begin(web)
    types = [one["type"] for one in manifest(web, address)["output"]]
    assert "Observation" in types
    assert not {"FeatureVector", "Directory", "Stay"} & set(types)
    source = b"".join(gzip.decompress(file.read_bytes()) for file in files)
    exported = {name: send(web, "GET", f"{address}/{name}.ndjson", "officer").content for name in types}
    for line in exported["Observation"].splitlines()[:200]:
        resource = json.loads(line, parse_float=str)
        value = resource.get("valueQuantity", {}).get("value")
        assert value is None or str(value).encode() in source
