"""Bulk import over HTTP: the asynchronous pattern, counts at the end, bad lines named with their OperationOutcome."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.test_ndjson import PATIENT, observation
from tests.integration.fhir.web import as_sent, send

NDJSON = {"prefer": "respond-async", "content-type": "application/fhir+ndjson"}


@pytest.fixture
def web(own_web: TestClient) -> TestClient:
    return own_web


def body(*lines: dict[str, Any] | bytes) -> bytes:
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)


def begin(web: TestClient, content: bytes, who: str = "system", query: str = "") -> str:
    response = send(web, "POST", f"/$import{query}", who, content=content, headers=NDJSON)
    assert response.status_code == 202, response.text
    address: str = response.headers["content-location"].removeprefix("http://testserver/fhir")
    return address


def manifest(web: TestClient, address: str, who: str = "system") -> dict[str, Any]:
    for _ in range(600):
        response = send(web, "GET", address, who)
        if response.status_code == 200:
            found: dict[str, Any] = response.json()
            return found
        assert response.status_code == 202
        assert "written" in response.headers["x-progress"]
        time.sleep(0.05)
    raise AssertionError("the import never ended")


def test_lines_are_imported_and_bad_ones_named(web: TestClient, hospital: Hospital) -> None:
    content = body(*(observation(number) for number in range(30)), b'{"resourceType":"Patient","id":3}', PATIENT)
    address = begin(web, content)
    found = manifest(web, address)
    assert found["counts"] == {
        "lines": 32,
        "created": 31,
        "updated": 0,
        "unchanged": 0,
        "new_twins": 1,
        "refused": 1,
    }
    (bad,) = found["error"]
    assert (bad["line"], bad["outcome"]["resourceType"]) == (31, "OperationOutcome")
    assert bad["outcome"]["issue"][0]["expression"] == ["Patient.id"]
    assert send(web, "GET", "/Observation/o7", "clinician").json()["id"] == "o7"
    assert manifest(web, begin(web, content))["counts"]["unchanged"] == 31
    assert found["source"].startswith("sha256:")
    assert send(web, "DELETE", address, "system").status_code == 202
    assert send(web, "GET", address, "system").status_code == 404


def test_what_becomes_of_what_is_kept_is_said_in_the_address(web: TestClient) -> None:
    manifest(web, begin(web, body(PATIENT, observation(1))))
    changed = body(PATIENT | {"gender": "male"}, observation(2))
    refused = manifest(web, begin(web, changed))
    assert (refused["counts"]["refused"], refused["counts"]["created"]) == (2, 0)
    assert manifest(web, begin(web, changed, query="?again=update"))["counts"]["updated"] == 1
    other = manifest(web, begin(web, changed, query="?source=ward-b"))
    assert (other["source"], other["counts"]["new_twins"]) == ("ward-b", 1)
    assert send(web, "POST", "/$import?again=maybe", "system", content=b"{}", headers=NDJSON).status_code == 400


def test_who_may_not_write_may_not_import_and_jobs_are_their_owners(web: TestClient) -> None:
    assert send(web, "POST", "/$import", "vendor", content=b"{}", headers=NDJSON).status_code == 403
    address = begin(web, body(PATIENT))
    assert send(web, "GET", address, "clinician").status_code == 404
    assert send(web, "GET", address, "vendor").status_code == 403
    assert send(web, "GET", "/$import-jobs/guess", "system").status_code == 404
    manifest(web, address)


def test_what_is_not_ndjson_or_not_asynchronous_is_refused(web: TestClient) -> None:
    synchronous = {"content-type": "application/fhir+ndjson"}
    assert send(web, "POST", "/$import", "system", content=body(PATIENT), headers=synchronous).status_code == 400
    other = {"prefer": "respond-async", "content-type": "text/plain"}
    assert send(web, "POST", "/$import", "system", content=body(PATIENT), headers=other).status_code == 415
    assert manifest(web, begin(web, b""))["counts"]["lines"] == 0


def test_what_stands_in_segments_is_searched_exported_and_deleted_like_anything(web: TestClient) -> None:
    sent = [observation(number) for number in range(30)]
    manifest(web, begin(web, body(PATIENT, *sent)))
    everything = send(web, "GET", "/Patient/p/$everything").json()
    ids = {one["resource"].get("id", "withheld") for one in everything["entry"]}
    assert ids - {"withheld"} == {"p", *(one["id"] for one in sent)}
    found = send(web, "GET", "/Observation?patient=p&code=http://loinc.org|2345-7&_count=50").json()
    assert found["total"] == 30
    changed = sent[3] | {"status": "amended"}
    tag = send(web, "GET", "/Observation/o3").headers["etag"]
    updated = send(web, "PUT", "/Observation/o3", content=body(changed), headers={"if-match": tag})
    assert (updated.status_code, updated.headers["etag"]) == (200, 'W/"2"')
    assert send(web, "DELETE", "/Observation/o4").status_code in (200, 204)
    assert send(web, "GET", "/Observation/o4").status_code == 410
    assert send(web, "GET", "/Observation/o4/_history/1").json()["id"] == "o4"
    history = send(web, "GET", "/Observation/o3/_history").json()
    assert [one["resource"]["status"] for one in history["entry"]] == ["amended", "final"]
    kicked = send(web, "GET", "/$export?_type=Observation", "officer", headers={"prefer": "respond-async"})
    address = kicked.headers["content-location"].removeprefix("http://testserver/fhir")
    for _ in range(200):
        if send(web, "GET", address, "officer").status_code == 200:
            break
        time.sleep(0.05)
    lines = send(web, "GET", f"{address}/Observation.ndjson", "officer").content.splitlines()
    exported = {json.loads(line)["id"]: line for line in lines}
    assert exported.keys() == {one["id"] for one in sent} - {"o4"}
    assert as_sent(exported["o7"]) == json.dumps(sent[7]).encode()
