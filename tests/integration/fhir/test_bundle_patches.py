"""PATCH in batches and transactions: a JSON Patch that comes as a Binary, done as it is done alone."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.test_fhir_transactions import ORG, SAME, done, entry, observed, post, statuses, transact
from tests.integration.fhir.web import PATIENT, outcome, send
from twinward.fhir.json.patch import MEDIA_TYPE
from twinward.fhir.rest import entries
from twinward.fhir.rest.entries import MOST_READS

XHTML = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
NOTE = "urn:uuid:11111111-2222-4333-8444-555555555555"


def patch(url: str, *operations: dict[str, Any], binary: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return entry(
        "PATCH", url, {"resourceType": "Binary", "contentType": MEDIA_TYPE, "data": data} | (binary or {}), **more
    )


def put(path: str, value: Any, op: str = "add") -> dict[str, Any]:
    return {"op": op, "path": path, "value": value}


def batch(web: TestClient, *entries: dict[str, Any], who: str = "clinician") -> list[dict[str, Any]]:
    body = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": list(entries)})
    answer = send(web, "POST", "", who, content=body)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["entry"]
    return found


@pytest.fixture
def known(web: TestClient) -> TestClient:
    """Somebody, an observation and an organization."""
    for resource in (PATIENT, observed("Patient/p", id="o"), ORG | {"id": "g"}):
        path = f"/{resource['resourceType']}/{resource['id']}"
        assert send(web, "PUT", path, content=json.dumps(resource)).status_code == 201
    return web


def test_a_transaction_patches_together_with_what_else_it_does(known: TestClient) -> None:
    answers = done(
        known,
        patch("Observation/o", put("/status", "amended", "replace"), put("/performer", [{"reference": NOTE}])),
        post(ORG | {"name": "New"}, NOTE),
        patch(f"Organization?{SAME}", put("/active", True), ifMatch='W/"1"'),
        patch("Patient/p", put("/gender", PATIENT["gender"], "test")),
        entry("GET", "Observation/o"),
    )
    assert statuses(answers) == "200 201 200 200 200"
    assert [answers[place]["response"]["etag"] for place in (0, 2, 3)] == ['W/"2"', 'W/"2"', 'W/"1"']
    new = answers[1]["response"]["location"].split("/_history")[0]
    kept = send(known, "GET", "/Observation/o").json()
    assert (kept["status"], kept["performer"]) == ("amended", [{"reference": new}])
    assert answers[4]["resource"]["status"] == "amended"
    assert send(known, "GET", "/Organization/g").json()["active"] is True


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        (patch("Observation/o", put("/id", "x")), 400, "value"),
        (patch("Observation/o", put("/status", "dog")), 400, "code-invalid"),
        (patch("Observation/o", {"op": "remove", "path": "/nothing"}), 409, "conflict"),
        (patch("Observation/o", put("/status", "final", "no such")), 400, "invalid"),
        (patch("Observation/o", put("/status", "amended"), ifMatch='W/"7"'), 412, "conflict"),
        (patch("Observation/o", put("/status", "amended"), ifNoneExist="_id=1"), 400, "not-supported"),
        (patch("Observation/o", binary={"contentType": "application/json"}), 400, "not-supported"),
        (patch("Observation/o", binary={"data": "!"}), 400, "value"),
        (entry("PATCH", "Observation/o", {"resourceType": "Parameters"}), 400, "value"),
        (entry("PATCH", "Observation/o"), 400, "required"),
        (patch("Observation/never", put("/status", "final")), 404, "not-found"),
        (patch("Observation?_id=never", put("/status", "final")), 404, "not-found"),
        (patch("Observation", put("/status", "final")), 400, "value"),
        (patch("Nonsense/o", put("/status", "final")), 404, "not-found"),
        (entry("DELETE", "Observation/o"), 400, "duplicate"),
    ],
)
def test_a_transaction_whose_patch_cannot_be_done_does_nothing(
    known: TestClient, wrong: dict[str, Any], status: int, code: str
) -> None:
    fine = patch("Observation/o", put("/language", "en")) if code == "duplicate" else post(ORG)
    answer = transact(known, fine, wrong)
    assert (answer.status_code, outcome(answer)["code"]) == (status, code), answer.text
    assert send(known, "GET", "/Observation/o").headers["etag"] == 'W/"1"'
    assert send(known, "GET", f"/Organization?{SAME}&_summary=count").json()["total"] == 1


def test_a_batch_patches_each_by_itself(known: TestClient) -> None:
    answers = batch(
        known,
        patch("Observation/o", put("/status", "amended", "replace"), ifMatch='W/"1"'),
        patch("Observation/o", put("/language", "en"), ifMatch='W/"1"'),
        patch(f"Organization?{SAME}", put("/active", True)),
        patch("Observation?_id=never", put("/active", True)),
        patch("Observation/o", {"op": "remove", "path": "/nothing"}),
        patch("Observation/o", binary={"contentType": "text/plain"}),
        patch("Observation/o/x", put("/language", "en")),
        patch("Observation/o", put("/performer", [{"reference": NOTE}])),
        post({"resourceType": "Organization", "name": "New"}, NOTE),
    )
    assert statuses(answers) == "200 412 200 404 409 400 400 400 201"
    assert send(known, "GET", "/Observation/o").json()["status"] == "amended"
    assert send(known, "GET", "/Organization/g").json()["active"] is True


def test_whoever_may_not_read_it_patches_it_in_no_bundle(known: TestClient, hospital: Hospital) -> None:
    change = patch("Observation/o", put("/status", "amended"))
    for who in ("system", "vendor"):
        assert transact(known, change, who=who).status_code == 403
        assert statuses(batch(known, change, who=who)) == "403"
    assert send(known, "GET", "/Observation/o").headers["etag"] == 'W/"1"'
    assert hospital.trail.events[-1].decision == "permit"


def test_patches_of_transactions_at_once_are_all_kept(known: TestClient) -> None:
    places = [("/language", "en"), ("/status", "amended"), ("/issued", "2026-01-01T00:00:00Z")]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda one: transact(known, patch("Observation/o", put(*one))), places))
    assert [one.status_code for one in answers] == [200] * 3
    kept = send(known, "GET", "/Observation/o").json()
    assert (kept["language"], kept["status"], kept["issued"]) == tuple(value for _, value in places)
    assert kept["meta"]["versionId"] == "4"


def test_what_patches_make_in_one_bundle_is_bounded(known: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST_BYTES", 4000)
    twice = patch(
        "Observation/o", put("/note", [{"text": "x" * 1500}]), {"op": "copy", "from": "/note/0", "path": "/note/-"}
    )
    other = patch("Patient/p", put("/text", {"status": "generated", "div": XHTML.format("x" * 1500)}))
    assert transact(known, twice, other).status_code == 400
    assert statuses(batch(known, twice, other, patch("Patient/p", put("/active", True)))) == "200 400 400"
    assert send(known, "GET", "/Patient/p").headers["etag"] == 'W/"1"'
    many = [patch(f"Observation/{number}", put("/language", "en")) for number in range(MOST_READS + 1)]
    assert outcome(transact(known, *many))["code"] == "too-costly"


def test_who_may_not_write_is_told_so_before_a_patch_is_looked_at(known: TestClient, hospital: Hospital) -> None:
    for answer in batch(
        known,
        patch("Observation/o", binary={"data": "bm8gcGF0Y2g="}),
        patch("Observation/o", put("/status", "amended", "replace")),
        who="vendor",
    ):
        assert answer["response"]["status"].startswith("403")
