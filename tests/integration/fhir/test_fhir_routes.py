"""The FHIR endpoint over HTTP."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import FHIR, PATIENT, as_sent, outcome, send, transaction
from twinward.fhir.bulk.synthetic_patients import patient_bundle
from twinward.fhir.validation.validator import validate

ASKED = b',"request":{"method":"PUT","url":"Observation/o"}},'


def test_a_transaction_goes_in_and_its_resources_come_out_as_they_were(web: TestClient, hospital: Hospital) -> None:
    observation = (
        b'{"resourceType":"Observation" , "id":"o","status":"final","code":{"text":"x"},'
        b'"subject":{"reference":"Patient/p"},"valueQuantity":{"value":1.10}}'
    )
    body = transaction(PATIENT).replace(b'"entry": [', b'"entry": [{"resource":' + observation + ASKED)
    response = send(web, "POST", "", content=body)
    assert response.status_code == 200
    answer = response.json()
    validate(answer)
    assert [one["response"]["location"] for one in answer["entry"]] == [
        "Observation/o/_history/1",
        "Patient/p/_history/1",
    ]
    assert [one["response"]["status"] for one in answer["entry"]] == ["201 Created"] * 2
    read = send(web, "GET", "/Observation/o")
    assert as_sent(read.content) == observation
    assert (read.headers["etag"], read.headers["content-type"]) == ('W/"1"', FHIR)
    assert read.headers["last-modified"].endswith("GMT")
    again = send(web, "POST", "", content=body).json()
    assert [one["response"]["status"] for one in again["entry"]] == ["200 OK"] * 2
    changed = send(web, "POST", "", content=body.replace(b"1.10", b"1.20"))
    assert changed.json()["entry"][0]["response"]["location"] == "Observation/o/_history/2"
    assert b"1.20" in send(web, "GET", "/Observation/o").content


def test_everything_is_a_valid_searchset(web: TestClient) -> None:
    assert send(web, "POST", "", "system", content=patient_bundle(0, 9)).status_code == 200
    answer = send(web, "POST", "", "system", content=patient_bundle(0, 9)).json()
    name = next(one["response"]["location"] for one in answer["entry"] if "Patient/" in one["response"]["location"])
    name = name.partition("/_history")[0]
    response = send(web, "GET", f"/{name}/$everything")
    assert response.status_code == 200
    bundle = response.json()
    validate(bundle)
    matches = [one for one in bundle["entry"] if one["search"]["mode"] == "match"]
    assert bundle["total"] == len(matches) == len(answer["entry"]) - 1  # the practitioner is the directory's
    assert matches[0]["fullUrl"] == f"http://testserver/fhir/{name}"
    types = {one["resource"]["resourceType"] for one in matches}
    assert "Observation" in types
    assert types.isdisjoint({"FeatureVector", "Directory", "Stay"})


def test_the_capability_statement_is_valid_and_promises_what_is_served(web: TestClient) -> None:
    statement = web.get("/fhir/metadata").json()  # needs no sign-in, as clients expect
    validate(statement)
    assert statement["fhirVersion"] == "4.0.1"
    rest = statement["rest"][0]
    served = {"read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type"}
    records = [one for one in rest["resource"] if one["type"] != "Subscription"]
    assert all({code["code"] for code in one["interaction"]} == served for one in records)
    assert [one["code"] for one in rest["interaction"]] == ["transaction", "batch", "history-system"]


def test_the_statement_is_of_the_address_it_is_asked_under(web: TestClient) -> None:
    first, again, other = (
        web.get("/fhir/metadata", headers={"host": host}) for host in ("localhost", "localhost", "127.0.0.1")
    )
    assert first.content == again.content
    told = [one.json()["implementation"]["url"] for one in (first, other)]
    assert told == ["http://localhost/fhir", "http://127.0.0.1/fhir"]


@pytest.mark.parametrize(
    ("method", "path", "who", "status", "code"),
    [
        ("GET", "/Patient/nobody", "clinician", 404, "not-found"),
        ("GET", "/Nonsense/1", "clinician", 404, "not-found"),
        ("GET", "/FeatureVector/1", "clinician", 404, "not-found"),
        ("GET", "/Patient/a b", "clinician", 400, "value"),
        ("GET", "/Patient/" + "x" * 65, "clinician", 400, "value"),
        ("GET", "/Patient/p", "vendor", 403, "forbidden"),
        ("GET", "/Patient/nobody", "vendor", 403, "forbidden"),
        ("GET", "/Patient/p/$everything", "marie", 403, "forbidden"),
        ("GET", "/Patient/nobody/$everything", "clinician", 404, "not-found"),
        ("GET", "/Patient/p", "nobody", 401, "login"),
        ("POST", "", "nobody", 401, "login"),
    ],
)
def test_refusals_are_operation_outcomes(
    web: TestClient, method: str, path: str, who: str, status: int, code: str
) -> None:
    send(web, "POST", "", content=transaction(PATIENT))
    response = send(web, method, path, who, content=transaction(PATIENT) if method == "POST" else None)
    assert response.status_code == status
    assert outcome(response)["code"] == code
    assert (response.headers.get("www-authenticate") == "Bearer") == (status == 401)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "Resource"),
        (b'{"resourceType":"Bundle","type":"transaction","type":"batch"}', "Bundle.type"),
        (transaction(PATIENT | {"birthDate": "1999-13-45"}), "Bundle.entry[0].resource.birthDate"),
        (transaction(PATIENT).replace(b'"request"', b'"requested"'), "Bundle.entry[0].request"),
        (b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":{}}]}', "Bundle.entry[0].request"),
        (transaction(PATIENT, kind="collection"), "Bundle.type"),
        (json.dumps(PATIENT).encode(), "Bundle.type"),
        (
            transaction({"resourceType": "Basic", "id": "x", "code": {"text": "of nobody"}}),
            "Bundle.entry[0].resource.subject",
        ),
    ],
)
def test_a_bad_body_is_refused_with_its_place_and_nothing_is_written(
    web: TestClient, hospital: Hospital, body: bytes, path: str
) -> None:
    response = send(web, "POST", "", content=body)
    assert response.status_code == 400
    assert outcome(response)["expression"] == [path]
    assert hospital.store.count() == 0


def test_a_media_type_and_a_purpose_must_be_known(web: TestClient) -> None:
    assert send(web, "POST", "", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert send(web, "GET", "/Patient/p", headers={"x-purpose-of-use": "CURIOSITY"}).status_code == 400
    assert send(web, "GET", "/Patient/p", headers={"x-justification": "x" * 1001}).status_code == 400
    plain = {"content-type": "application/json; charset=utf-8"}
    assert send(web, "POST", "", content=transaction(PATIENT), headers=plain).status_code == 200


def test_breaking_the_glass_shows_psychiatry_and_is_logged_with_its_reason(web: TestClient, hospital: Hospital) -> None:
    depression = {
        "resourceType": "Condition",
        "id": "c",
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "35489007"}]},
    }
    assert send(web, "POST", "", content=transaction(PATIENT, depression)).status_code == 200
    assert send(web, "GET", "/Condition/c").status_code == 403
    assert send(web, "GET", "/Patient/p").status_code == 200
    glass = {"x-purpose-of-use": "ETREAT", "x-justification": "unconscious, overdose suspected"}
    response = send(web, "GET", "/Condition/c", headers=glass)
    assert response.status_code == 200
    assert json.loads(response.content)["id"] == "c"
    assert dict(hospital.trail.events[-1].detail)["justification"] == glass["x-justification"]


def test_a_log_that_cannot_be_written_is_503_and_shows_nothing(web: TestClient, hospital: Hospital) -> None:
    send(web, "POST", "", content=transaction(PATIENT))
    hospital.trail.log.store.close()
    response = send(web, "GET", "/Patient/p")
    assert response.status_code == 503
    assert outcome(response)["code"] == "transient"
    assert b"female" not in response.content


def test_a_synthea_bundle_goes_in_over_http(web: TestClient, shared_data: Path) -> None:
    path = min((shared_data / "synthea-r4").glob("*.json.gz"), key=lambda one: one.stat().st_size)
    data = gzip.decompress(path.read_bytes())
    response = send(web, "POST", "", "system", content=data)
    assert response.status_code == 200
    count = len(json.loads(data)["entry"])
    assert len(response.json()["entry"]) == count
