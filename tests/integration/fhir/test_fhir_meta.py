"""``meta.versionId`` and ``meta.lastUpdated`` are the server's, by every way in and on every way out."""

from __future__ import annotations

import json
from typing import Any

from fastapi.testclient import TestClient

from tests.integration.fhir.test_fhir_export import begin as begin_export
from tests.integration.fhir.test_fhir_export import lines
from tests.integration.fhir.test_fhir_export import manifest as export_manifest
from tests.integration.fhir.test_fhir_import import begin, manifest
from tests.integration.fhir.test_ndjson import PATIENT, observation
from tests.integration.fhir.web import send, transaction

LIE = {"versionId": "99", "lastUpdated": "2001-01-01T00:00:00Z"}
TAG = {"tag": [{"code": "mine"}]}


def seen(resource: dict[str, Any]) -> tuple[str, str, list[str]]:
    meta = resource["meta"]
    return meta["versionId"], meta["lastUpdated"][:4], [one["code"] for one in meta.get("tag", [])]


def test_whatever_a_client_says_the_server_says_what_is_true(web: TestClient) -> None:
    year = "2026"
    lying = PATIENT | {"meta": LIE | TAG}
    made = send(web, "PUT", "/Patient/p", content=json.dumps(lying))
    assert seen(made.json()) == ("1", year, ["mine"])
    entry = {"resource": observation(1, meta=LIE), "request": {"method": "POST", "url": "Observation"}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = send(web, "POST", "", content=json.dumps(batch)).json()
    address = answer["entry"][0]["response"]["location"].partition("/_history")[0]
    assert send(web, "POST", "", content=transaction(lying, observation(2, meta=LIE))).status_code == 200
    twice = b"\n".join(json.dumps(one, separators=(",", ":")).encode() for one in (observation(3, meta=LIE),) * 2)
    assert manifest(web, begin(web, twice))["counts"]["unchanged"] == 1
    for each in (address, "Observation/o2", "Observation/o3"):
        assert seen(send(web, "GET", f"/{each}").json()) == ("1", year, [])
        assert seen(send(web, "GET", f"/{each}/_history/1").json()) == ("1", year, [])
    found = send(web, "GET", "/Observation?patient=p").json()
    matches = [one["resource"] for one in found["entry"] if one["search"]["mode"] == "match"]
    assert [seen(one) for one in matches] == [("1", year, [])] * 3
    exported = begin_export(web)
    output = export_manifest(web, exported)["output"]
    assert {seen(one)[:2] for file in output for one in lines(web, exported, file["type"])} == {("1", year)}


def test_sending_back_what_was_read_is_no_change(web: TestClient) -> None:
    send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT))
    changed = send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT | {"active": True})).json()
    assert seen(changed)[0] == "2"
    again = send(web, "PUT", "/Patient/p", content=json.dumps(changed))
    assert (again.status_code, again.headers["etag"], again.json()) == (200, 'W/"2"', changed)
    history = send(web, "GET", "/Patient/p/_history").json()["entry"]
    assert [seen(one["resource"])[0] for one in history] == ["2", "1"]


def test_a_part_has_them_too_and_what_is_contained_does_not(web: TestClient) -> None:
    device = {"resourceType": "Device", "id": "d"}
    used = {"url": "http://e.example/device", "valueReference": {"reference": "#d"}}
    send(
        web,
        "PUT",
        "/Patient/p",
        content=json.dumps(PATIENT | {"contained": [device], "meta": TAG, "extension": [used]}),
    )
    whole = send(web, "GET", "/Patient/p").json()
    assert (seen(whole)[0], whole["contained"]) == ("1", [device])
    part = send(web, "GET", "/Patient/p?_elements=gender").json()
    assert (seen(part)[0], seen(part)[2]) == ("1", ["mine", "SUBSETTED"])


def test_one_that_is_no_meta_is_refused(web: TestClient) -> None:
    for meta in ({"versionId": 5}, {"lastUpdated": "yesterday"}, "versionId", [LIE], {"versionId": "a b"}):
        answer = send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT | {"meta": meta}))
        assert answer.status_code == 400, meta


def test_blanks_before_a_resource_change_nothing(web: TestClient) -> None:
    send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT))
    for method, path in (("POST", "/Observation"), ("PUT", "/Observation/o1")):
        made = send(web, method, path, content="\n " + json.dumps(observation(1, meta=LIE)))
        assert (made.status_code, seen(made.json())[0]) == (201, "1")
        content = made.json() | {"meta": LIE}
        assert send(web, "PUT", f"/Observation/{content['id']}", content=json.dumps(content)).headers["etag"] == 'W/"1"'
