"""JSON Patch over HTTP: it is a read and a write of the same version, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import outcome, principal_of, send, transaction
from twinward.api.fhir import fhir_router

PATCH = "application/json-patch+json"
READING = (
    '{"resourceType":"Observation","id":"o","status":"preliminary","subject":{"reference":"Patient/p"},'
    '"code":{"coding":[{"system":"http://loinc.org","code":"2345-7"}]},'
    '"valueQuantity":{"value":1.10,"unit":"mmol/L","system":"http://unitsofmeasure.org","code":"mmol/L"}}'
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    house = Hospital(tmp_path_factory.mktemp("patch"))
    app = FastAPI()
    app.include_router(fhir_router(house.fhir, principal_of))
    client = TestClient(app, raise_server_exceptions=False)
    people = [{"resourceType": "Patient", "id": name, "gender": "female"} for name in ("p", "q")]
    assert send(client, "POST", "", content=transaction(*people)).status_code == 200
    yield client
    house.close()


@pytest.fixture
def tag(web: TestClient) -> str:
    """The reading as it was, and its tag."""
    kept = send(web, "PUT", "/Observation/o", content=READING)
    assert kept.status_code in (200, 201)
    return str(kept.headers["etag"])


def patch(
    web: TestClient, *operations: dict[str, Any], who: str = "clinician", path: str = "/Observation/o", **header: str
) -> Any:
    headers = {"content-type": PATCH} | {name.replace("_", "-"): value for name, value in header.items()}
    return send(web, "PATCH", path, who, content=json.dumps(operations), headers=headers)


def final(value: str = "final") -> dict[str, Any]:
    return {"op": "replace", "path": "/status", "value": value}


def test_what_is_named_changes_and_nothing_else_does(web: TestClient, tag: str) -> None:
    test = {"op": "test", "path": "/valueQuantity/value", "value": 1.1}
    answer = patch(web, test, final(), {"op": "add", "path": "/note", "value": [{"text": "again"}]}, if_match=tag)
    assert answer.status_code == 200
    assert int(answer.headers["etag"][3:-1]) == int(tag[3:-1]) + 1
    now = send(web, "GET", "/Observation/o")
    assert now.headers["etag"] == answer.headers["etag"]
    assert b'"valueQuantity":{"value":1.10,' in now.content
    assert (now.json()["status"], now.json()["note"]) == ("final", [{"text": "again"}])
    unchanged = patch(web, final(), prefer="return=minimal")
    assert (unchanged.status_code, unchanged.headers["etag"], unchanged.content) == (200, now.headers["etag"], b"")


def test_another_version_is_not_patched_whether_the_patch_fits_it_or_not(web: TestClient, tag: str) -> None:
    assert patch(web, final(), if_match=tag).status_code == 200
    for change in (final("amended"), {"op": "remove", "path": "/nothing"}):
        for header in ({"if_match": tag}, {"if_none_match": "*"}):
            assert patch(web, change, **header).status_code == 412
    assert send(web, "GET", "/Observation/o").json()["status"] == "final"
    assert patch(web, final("amended"), if_match="*").status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"op": "test", "path": "/status", "value": "final"}, 409, "conflict"),
        ({"op": "replace", "path": "/component/0", "value": {}}, 409, "conflict"),
        ({"op": "replace", "path": "/id", "value": "other"}, 400, "value"),
        ({"op": "replace", "path": "/resourceType", "value": "Patient"}, 400, "structure"),
        ({"op": "replace", "path": "/status", "value": "dog"}, 400, "code-invalid"),
        ({"op": "remove", "path": "/code"}, 400, "required"),
        ({"op": "replace", "path": "", "value": []}, 400, "structure"),
        ({"op": "replace", "path": "", "value": {"resourceType": "Patient", "id": "o"}}, 400, "value"),
        ({"op": "add", "path": "/note", "value": []}, 400, "value"),
        ({"op": "add", "path": "status", "value": "final"}, 400, "invalid"),
        ({"op": "replace", "path": "/subject/reference", "value": "Patient/q"}, 409, "conflict"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(
    web: TestClient, tag: str, change: dict[str, Any], status: int, code: str
) -> None:
    answer = patch(web, {"op": "replace", "path": "/valueQuantity/unit", "value": "x"}, change)
    assert (answer.status_code, outcome(answer)["code"]) == (status, code)
    assert send(web, "GET", "/Observation/o").headers["etag"] == tag


def test_whoever_may_not_read_it_may_not_patch_it(web: TestClient, tag: str) -> None:
    for who in ("system", "vendor", "officer"):
        assert patch(web, final(), who=who).status_code == 403
    assert patch(web, final(), who="nobody").status_code == 401
    assert send(web, "GET", "/Observation/o").headers["etag"] == tag


def test_what_is_not_there_is_not_patched(web: TestClient) -> None:
    assert patch(web, final(), path="/Observation/none").status_code == 404
    gone = json.dumps(json.loads(READING) | {"id": "gone"})
    assert send(web, "PUT", "/Observation/gone", content=gone).status_code == 201
    assert send(web, "DELETE", "/Observation/gone").status_code == 204
    assert patch(web, final(), path="/Observation/gone").status_code == 410


def test_the_one_resource_that_a_condition_is_true_of_is_patched(web: TestClient, tag: str) -> None:
    assert patch(web, final(), path="/Observation?_id=o", if_match=tag).status_code == 200
    assert patch(web, final("amended"), path="/Observation?_id=o", if_match=tag).status_code == 412
    assert patch(web, final("amended"), path="/Observation?subject=Patient/p&status=final").status_code == 200
    assert send(web, "GET", "/Observation/o").json()["status"] == "amended"


@pytest.mark.parametrize(
    ("condition", "status", "code"),
    [
        ("_id=none", 404, "not-found"),
        ("subject=Patient/p&status=cancelled", 404, "not-found"),
        ("gender=female", 412, "multiple-matches"),
        ("", 400, "required"),
        ("nonsense=1", 400, "not-supported"),
        ("_id=o&_sort=date", 400, "not-supported"),
    ],
)
def test_a_condition_that_names_no_one_resource_patches_none(
    web: TestClient, tag: str, condition: str, status: int, code: str
) -> None:
    kind = "Patient" if "gender" in condition else "Observation"
    change = {"op": "add", "path": "/language", "value": "en"}
    answer = patch(web, change, path=f"/{kind}?{condition}")
    assert (answer.status_code, outcome(answer)["code"]) == (status, code)
    assert patch(web, change, path="/Observation?_id=none", if_match='W/"1"').status_code == 412
    assert send(web, "GET", "/Observation/o").headers["etag"] == tag
    assert "language" not in send(web, "GET", "/Patient/q").json()


def test_whoever_may_not_read_it_may_not_patch_it_by_a_condition(web: TestClient, tag: str) -> None:
    for who in ("system", "vendor", "officer"):
        assert patch(web, final(), who=who, path="/Observation?_id=o").status_code == 403
    assert send(web, "GET", "/Observation/o").headers["etag"] == tag


def test_other_kinds_of_patches_are_refused_by_name(web: TestClient, tag: str) -> None:
    for media_type in (
        "application/fhir+json",
        "application/json",
        "application/merge-patch+json",
        "application/fhir+xml",
    ):
        answer = send(web, "PATCH", "/Observation/o", content=b"{}", headers={"content-type": media_type})
        assert (answer.status_code, answer.headers["accept-patch"]) == (415, PATCH)
    assert send(web, "GET", "/Observation/o").headers["etag"] == tag


def test_patches_of_several_places_at_once_are_all_kept(web: TestClient, tag: str) -> None:
    places = [("/valueQuantity/unit", "mmol"), ("/status", "final"), ("/issued", "2026-01-01T00:00:00Z")]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda one: patch(web, {"op": "add", "path": one[0], "value": one[1]}), places))
    assert [one.status_code for one in answers] == [200] * 3
    now = send(web, "GET", "/Observation/o").json()
    assert (now["valueQuantity"]["unit"], now["status"], now["issued"]) == tuple(value for _, value in places)
    assert int(send(web, "GET", "/Observation/o").headers["etag"][3:-1]) == int(tag[3:-1]) + 3
