"""Attacks by who may write and not read: answers that tell what is kept leave an event, and no write goes unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import OFFICER, Hospital
from tests.integration.fhir.web import PATIENT, send, transaction
from tests.vectors.sensitivity.cases import ICD10CM, concept
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Purpose

OUTSIDE = ("network", "outside")
SECRET = {
    "resourceType": "Condition",
    "id": "secret",
    "subject": {"reference": "Patient/p"},
    "identifier": [{"system": "s", "value": "v"}],
    "code": concept(ICD10CM, "F20.0"),
}
HERE, GUESS, OTHER = "/Condition/secret", json.dumps(SECRET), json.dumps(SECRET | {"code": {"text": "flu"}})


MOVED = json.dumps(SECRET | {"subject": {"reference": "Patient/q"}})


def put(content: str, **headers: str) -> Callable[[TestClient], Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda web: send(web, "PUT", HERE, content=content, headers=named)


PROBES: dict[str, tuple[Callable[[TestClient], Any], int, str]] = {
    "another version": (put(OTHER, if_match='W/"9"'), 412, "other-version"),
    "only if absent": (put(OTHER, if_none_match="*"), 412, "other-version"),
    "guessed content": (put(GUESS), 200, "same-content"),
    "delete another version": (
        lambda web: send(web, "DELETE", HERE, headers={"if-match": 'W/"9"'}),
        412,
        "other-version",
    ),
    "create unless there is one": (
        lambda web: send(web, "POST", "/Condition", content=OTHER, headers={"if-none-exist": "identifier=s|v"}),
        200,
        "one-match",
    ),
    "another patient's": (put(MOVED), 409, "another-patient"),
    "delete what never was": (lambda web: send(web, "DELETE", "/Condition/none"), 404, "nothing-kept"),
    "read what never was": (lambda web: send(web, "GET", "/Condition/none"), 404, "nothing-kept"),
    "everything of nobody": (lambda web: send(web, "GET", "/Patient/none/$everything"), 404, "nothing-kept"),
    "history of nothing": (lambda web: send(web, "GET", "/Condition/none/_history"), 404, "nothing-kept"),
    "a version of nothing": (lambda web: send(web, "GET", "/Condition/none/_history/1"), 404, "nothing-kept"),
    "delete what is not there": (lambda web: send(web, "DELETE", "/Condition?identifier=s|w"), 204, "no-match"),
}


@pytest.mark.parametrize(("probe", "status", "answer"), PROBES.values(), ids=PROBES)
def test_no_write_tells_what_is_kept_without_an_event(
    web: TestClient, hospital: Hospital, probe: Callable[[TestClient], Any], status: int, answer: str
) -> None:
    assert send(web, "POST", "", "system", content=transaction(PATIENT, SECRET)).status_code == 200
    assert send(web, "PUT", "/Patient/q", "system", content=json.dumps(PATIENT | {"id": "q"})).status_code == 201
    before = len(hospital.trail.events)
    told = probe(web)
    assert told.status_code == status, told.text
    assert "F20" not in told.text or answer == "same-content"  # which is what the caller sent
    events = hospital.trail.events[before:]
    assert (("answered", answer), OUTSIDE) in [event.detail for event in events]


def test_several_matches_are_an_event_for_each_patient(web: TestClient, hospital: Hospital) -> None:
    twice = SECRET | {"id": "again"}
    assert send(web, "POST", "", "system", content=transaction(PATIENT, SECRET, twice)).status_code == 200
    before = len(hospital.trail.events)
    refused = send(web, "DELETE", "/Condition?identifier=s|v", "system")
    assert refused.status_code == 412
    assert [event.detail for event in hospital.trail.events[before:]] == [(("answered", "several-match"), OUTSIDE)]


def test_only_if_absent_never_overwrites(web: TestClient) -> None:
    for name, status in (("new", 201), ("new", 412)):
        body = json.dumps(PATIENT | {"id": name, "active": status == 201})
        assert send(web, "PUT", f"/Patient/{name}", content=body, headers={"if-none-match": "*"}).status_code == status
    assert send(web, "GET", "/Patient/new").json()["active"] is True
    assert send(web, "DELETE", "/Patient/new").status_code == 204
    again = json.dumps(PATIENT | {"id": "new"})
    assert send(web, "PUT", "/Patient/new", content=again, headers={"if-none-match": "*"}).status_code == 201
    assert send(web, "PUT", "/Patient/new", content=again, headers={"if-none-match": 'W/"3"'}).status_code == 412


ASKED = (
    "/Patient/{patient}",
    "/Patient/{patient}/_history",
    "/Patient/{patient}/$everything",
    "/Patient?_id={patient}",
    "/Observation?patient={patient}",
    "/Condition?subject=Patient/{patient}",
    "/Condition/{condition}",
    "/Condition/{condition}/_history",
    "/Condition/{condition}/_history/1",
    "/Condition?_id={condition}",
    "/Condition?identifier=s|{identifier}",
)


@pytest.mark.parametrize("who", ["vendor", "marie", "officer", "system"])
@pytest.mark.parametrize("no", [False, True], ids=["no consent", "a no"])
def test_who_may_read_nobody_is_refused_alike_whatever_is_kept(
    web: TestClient, hospital: Hospital, who: str, no: bool
) -> None:
    assert send(web, "POST", "", "system", content=transaction(PATIENT, SECRET)).status_code == 200
    twin = hospital.vault.locate("Condition/secret").twin
    if no:
        hospital.access.set_consent(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), twin, (Provision(effect="deny"),)
        )

    def refused(path: str) -> tuple[int, str, str]:
        alone = send(web, "GET", path, who)
        batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": path[1:]}}]}
        return alone.status_code, alone.text, send(web, "POST", "", who, content=json.dumps(batch)).text

    for path in ASKED:
        kept = refused(path.format(patient="p", condition="secret", identifier="v"))
        assert kept == refused(path.format(patient="none", condition="none", identifier="none")), path
        assert kept[0] == 403
    # The log says all of it.
    events = [event for event in hospital.trail.events if event.twin == twin and event.decision == "deny"]
    assert any("psychiatric" in event.reason or "consent forbids" in event.reason for event in events)
