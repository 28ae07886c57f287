"""Create, update, delete, vread and history over HTTP: what FHIR promises of versions, on the real vault."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.bundles import read_bundle
from tests.integration.fhir.hospital import SYSTEM, Hospital
from tests.integration.fhir.web import PATIENT, as_sent, outcome, send, without_server
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Action, Category, Purpose
from twinward.fhir.mapping.records import patient_imports
from twinward.fhir.validation.validator import validate

OBSERVATION = (
    b'{"resourceType":"Observation" , "id":"o","status":"final","code":{"text":"x"},'
    b'"subject":{"reference":"Patient/p"},"valueQuantity":{"value":1.10}}'
)
DEPRESSION = {"coding": [{"system": "http://snomed.info/sct", "code": "35489007"}]}


def put(web: TestClient, content: bytes = OBSERVATION, **headers: str) -> Any:
    body = json.loads(content)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(web, "PUT", f"/{body['resourceType']}/{body['id']}", content=content, headers=sent)


@pytest.fixture
def patient(web: TestClient) -> None:
    assert put(web, json.dumps(PATIENT).encode()).status_code == 201


def test_a_create_gives_an_id_and_keeps_every_other_byte(web: TestClient, patient: None) -> None:
    without = OBSERVATION.replace(b' "id":"o",', b"")
    made = send(web, "POST", "/Observation", content=without)
    assert (made.status_code, made.headers["etag"]) == (201, 'W/"1"')
    name = made.json()["id"]
    assert made.headers["location"] == f"http://testserver/fhir/Observation/{name}/_history/1"
    assert send(web, "GET", f"/Observation/{name}").content == made.content
    assert as_sent(made.content) == without.replace(b"{", b'{"id":"' + name.encode() + b'",', 1)
    again = send(web, "POST", "/Observation", content=OBSERVATION)  # an id of the client's is not kept
    assert again.status_code == 201
    assert again.json()["id"] not in ("o", name)
    assert without_server(again.json()) | {"id": "o"} == json.loads(OBSERVATION)
    assert b'"value":1.10' in again.content
    minimal = send(web, "POST", "/Observation", content=without, headers={"prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (201, b"")


def test_versions_follow_their_tags(web: TestClient, patient: None) -> None:
    assert put(web).status_code == 201
    assert put(web).headers["etag"] == 'W/"1"'  # the same again is no new version
    changed = put(web, OBSERVATION.replace(b"1.10", b"1.20"), if_match='W/"1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
    for wrong in ('W/"1"', 'W/"3"'):
        refused = put(web, OBSERVATION.replace(b"1.10", b"1.30"), if_match=wrong)
        assert refused.status_code == 412
        assert outcome(refused)["code"] == "conflict"
    assert put(web, OBSERVATION, if_match='W/"1"').status_code == 412  # even where the content is that of version 1
    assert put(web, OBSERVATION.replace(b'"o"', b'"new"'), if_match='W/"1"').status_code == 412
    for nonsense in ("", "2", "W/2", 'w/"2"', '"2', '"2" "1"', '*, "2"', "nonsense"):
        assert put(web, if_match=nonsense).status_code == 400
    read = send(web, "GET", "/Observation/o")
    assert (read.headers["etag"], b"1.20" in read.content) == ('W/"2"', True)
    assert as_sent(send(web, "GET", "/Observation/o/_history/1").content) == OBSERVATION
    for version in ("0", "3", "x", "9" * 12):
        assert send(web, "GET", f"/Observation/o/_history/{version}").status_code == 404


def test_of_many_updates_of_one_version_one_wins(web: TestClient, patient: None) -> None:
    put(web)
    answers: list[int] = []

    def write(number: int) -> None:
        changed = OBSERVATION.replace(b"1.10", b"%d" % number)
        answers.append(put(web, changed, if_match='W/"1"').status_code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 412, 412, 412, 412, 412]


def test_a_deletion_is_a_version(web: TestClient, hospital: Hospital, patient: None) -> None:
    put(web)
    assert send(web, "DELETE", "/Observation/o", headers={"if-match": 'W/"2"'}).status_code == 412
    gone = send(web, "DELETE", "/Observation/o", headers={"if-match": 'W/"1"'})
    assert (gone.status_code, gone.content, gone.headers["etag"]) == (204, b"", 'W/"2"')
    assert send(web, "DELETE", "/Observation/o").headers["etag"] == 'W/"2"'  # once is enough
    for path in ("/Observation/o", "/Observation/o/_history/2"):
        answer = send(web, "GET", path)
        assert (answer.status_code, outcome(answer)["code"]) == (410, "deleted")
    assert as_sent(send(web, "GET", "/Observation/o/_history/1").content) == OBSERVATION
    everything = send(web, "GET", "/Patient/p/$everything").json()
    assert [one["resource"]["resourceType"] for one in everything["entry"] if one["search"]["mode"] == "match"] == [
        "Patient"
    ]
    assert (
        hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), _nothing_new(hospital)).count("created")
        == 0
    )
    back = put(web)
    assert (back.status_code, back.headers["etag"]) == (201, 'W/"3"')
    assert as_sent(send(web, "GET", "/Observation/o").content) == OBSERVATION
    assert send(web, "DELETE", "/Observation/never").status_code == 404


def _nothing_new(hospital: Hospital) -> Any:
    return patient_imports(read_bundle(json.dumps(PATIENT).encode()))[0]


def test_a_history_tells_everything_that_happened(web: TestClient, hospital: Hospital, patient: None) -> None:
    put(web)
    hospital.clock.advance(60_000)
    put(web, OBSERVATION.replace(b"1.10", b"1.20"))
    send(web, "DELETE", "/Observation/o")
    response = send(web, "GET", "/Observation/o/_history")
    bundle = response.json()
    validate(bundle)
    assert (bundle["type"], bundle["total"]) == ("history", 3)
    said = [(one["request"]["method"], one["response"]["etag"], "resource" in one) for one in bundle["entry"]]
    assert said == [("DELETE", 'W/"3"', False), ("PUT", 'W/"2"', True), ("PUT", 'W/"1"', True)]
    assert bundle["entry"][2]["response"]["status"] == "201 Created"
    assert OBSERVATION in as_sent(response.content)
    assert b"1.20" in response.content
    assert [one["response"]["lastModified"][14:16] for one in bundle["entry"]] == ["01", "01", "00"]
    event = hospital.trail.events[-1]
    assert (event.action, event.categories, event.decision) == (Action.READ, (Category.LABS,), "permit")
    assert send(web, "GET", "/Observation/never/_history").status_code == 404


def test_versions_of_a_sensitive_category_are_withheld(web: TestClient, hospital: Hospital, patient: None) -> None:
    condition: dict[str, Any] = {
        "resourceType": "Condition",
        "id": "c",
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]},
    }
    put(web, json.dumps(condition).encode())
    put(web, json.dumps(condition | {"code": DEPRESSION}).encode())
    assert send(web, "GET", "/Condition/c").status_code == 403
    assert send(web, "GET", "/Condition/c/_history/2").status_code == 403
    assert send(web, "GET", "/Condition/c/_history/1").status_code == 200
    seen = send(web, "GET", "/Condition/c/_history").json()
    assert [one["response"]["etag"] for one in seen["entry"]] == ['W/"1"']
    head = hospital.twins.versions.newest("Condition/c")
    assert head is not None
    hospital.consent(head.twin, Provision(effect="deny", categories=(Category.CONDITIONS,)))
    assert send(web, "GET", "/Condition/c/_history").status_code == 403
    assert hospital.trail.events[-1].decision == "deny"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/Observation/other", OBSERVATION, 400),
        ("PUT", "/Condition/o", OBSERVATION, 400),
        ("POST", "/Condition", OBSERVATION, 400),
        ("POST", "/Nonsense", OBSERVATION, 404),
        ("PUT", "/FeatureVector/x", OBSERVATION, 404),
        ("DELETE", "/FeatureVector/x", None, 404),
        ("PUT", "/Observation/a b", OBSERVATION, 400),
        ("POST", "/Observation", OBSERVATION.replace(b"Patient/p", b"Patient/nobody"), 404),
        ("POST", "/Observation", OBSERVATION.replace(b'"subject":{"reference":"Patient/p"},', b""), 400),
        ("POST", "/Observation", OBSERVATION.replace(b'"final"', b'"final","status":"final"'), 400),
        ("POST", "/Bundle", b'{"resourceType":"Bundle","type":"transaction"}', 400),
        ("POST", "/Observation", b"", 400),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_written(
    web: TestClient, hospital: Hospital, patient: None, method: str, path: str, body: bytes | None, status: int
) -> None:
    rows = hospital.store.count()
    answer = send(web, method, path, content=body)
    assert answer.status_code == status
    outcome(answer)
    assert hospital.store.count() == rows


def test_a_resource_stays_with_its_patient(web: TestClient, patient: None) -> None:
    put(web)
    put(web, json.dumps(PATIENT | {"id": "q"}).encode())
    assert put(web, OBSERVATION.replace(b"Patient/p", b"Patient/q")).status_code == 409


def test_a_shared_resource_is_updated_by_name(web: TestClient) -> None:
    place = {"resourceType": "Organization", "id": "h", "name": "St Anna"}
    assert put(web, json.dumps(place).encode()).status_code == 201
    assert put(web, json.dumps(place | {"name": "St Anna's"}).encode()).headers["etag"] == 'W/"2"'
    assert send(web, "GET", "/Organization/h").json()["name"] == "St Anna's"


def test_who_may_not_write_learns_nothing(web: TestClient, hospital: Hospital, patient: None) -> None:
    put(web)
    for body in (OBSERVATION, OBSERVATION.replace(b"Patient/p", b"Patient/nobody"), b"nonsense"):
        said = set()
        for method, path in (("POST", "/Observation"), ("PUT", "/Observation/o"), ("DELETE", "/Observation/o")):
            answer = send(web, method, path, "vendor", content=None if method == "DELETE" else body)
            assert answer.status_code == 403
            said.add(outcome(answer)["diagnostics"])
        assert len(said) == 1
    assert {event.decision for event in hospital.trail.events[-9:]} == {"deny"}
    assert send(web, "GET", "/Observation/o").headers["etag"] == 'W/"1"'
