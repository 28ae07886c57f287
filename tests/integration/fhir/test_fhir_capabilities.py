"""The CapabilityStatement, walked: every claim is asked for over HTTP, and what is not claimed is refused."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.web import PATIENT, outcome, send

VALUES = {"token": "x", "date": "ge2024", "string": "x", "reference": "Patient/p"}
INTERACTIONS = {
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
}

NOT_OF_SUBSCRIPTIONS = {"vread", "patch", "history-instance", "history-type"}


@pytest.fixture
def rest(web: TestClient) -> dict[str, Any]:
    assert send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT)).status_code == 201
    claimed: dict[str, Any] = web.get("/fhir/metadata").json()["rest"][0]
    return claimed


def test_every_search_parameter_and_include_is_served(web: TestClient, rest: dict[str, Any]) -> None:
    asked = 0
    for one in rest["resource"]:
        for parameter in one["searchParam"]:
            value = "p" if parameter["name"] in ("_id", "patient", "subject") else VALUES[parameter["type"]]
            if (one["type"], parameter["name"]) == ("Subscription", "status"):
                value = "active"  # a required binding: another code is refused
            answer = send(web, "GET", f"/{one['type']}?_id=p&{parameter['name']}={quote(value)}")
            assert answer.status_code == 200, (one["type"], parameter, answer.text)
            asked += 1
        for kind, name in (("searchInclude", "_include"), ("searchRevInclude", "_revinclude")):
            for value in one.get(kind, []):
                answer = send(web, "GET", f"/{one['type']}?_id=p&{name}={value}")
                assert answer.status_code == 200, (one["type"], value)
        refused = send(web, "GET", f"/{one['type']}?_id=p&nonsense=1")
        assert outcome(refused)["code"] == "not-supported"
    assert asked > 400


def test_every_chain_that_is_claimed_is_served(web: TestClient, rest: dict[str, Any]) -> None:
    asked = 0
    for one in rest["resource"]:
        said = [each.get("documentation", "") for each in one["searchParam"]] + [one.get("documentation", "")]
        for claim in re.findall(r"[A-Za-z_:-]+(?=[.:]parameter)", " ".join(said)):
            form = f"{claim}:_id" if claim.startswith("_has") else f"{claim}._id"
            answer = send(web, "GET", f"/{one['type']}?_id=p&{form}=p")
            assert answer.status_code == 200, (one["type"], claim, answer.text)
            asked += 1
    assert asked > 80


def test_us_core_asks_for_nothing_that_is_not_claimed(rest: dict[str, Any]) -> None:
    """US Core 6.1's mandatory parameters, type by type (https://hl7.org/fhir/us/core/STU6.1)."""
    mandatory = {
        "AllergyIntolerance": "patient",
        "CarePlan": "patient category",
        "CareTeam": "patient status",
        "Condition": "patient category",
        "Coverage": "patient",
        "Device": "patient",
        "DiagnosticReport": "patient category code date",
        "DocumentReference": "_id patient category date type",
        "Encounter": "_id patient date",
        "Goal": "patient",
        "Immunization": "patient",
        "Location": "name address",
        "MedicationDispense": "patient",
        "MedicationRequest": "patient intent status",
        "Observation": "patient category code date",
        "Organization": "name address",
        "Patient": "_id identifier name birthdate gender",
        "Practitioner": "_id identifier name",
        "PractitionerRole": "practitioner specialty",
        "Procedure": "patient date",
        "QuestionnaireResponse": "patient",
        "RelatedPerson": "patient name",
        "ServiceRequest": "_id patient category code authored",
        "Specimen": "_id patient",
    }
    claimed = {one["type"]: {each["name"] for each in one["searchParam"]} for one in rest["resource"]}
    for name, parameters in mandatory.items():
        assert set(parameters.split()) <= claimed[name], name
    provenance = {one["type"]: one.get("searchRevInclude", []) for one in rest["resource"]}
    assert "Provenance:target" in provenance["Observation"]
    assert "MedicationRequest:medication" in next(
        one["searchInclude"] for one in rest["resource"] if one["type"] == "MedicationRequest"
    )


def test_every_interaction_and_condition_is_served(web: TestClient, rest: dict[str, Any]) -> None:
    assert {"transaction", "batch", "history-system"} == {one["code"] for one in rest["interaction"]}
    for one in rest["resource"]:
        if one["type"] == "Subscription":  # no record: see test_fhir_subscriptions
            assert {each["code"] for each in one["interaction"]} == INTERACTIONS - NOT_OF_SUBSCRIPTIONS
            continue
        assert {each["code"] for each in one["interaction"]} == INTERACTIONS
        assert (one["conditionalCreate"], one["conditionalUpdate"], one["conditionalDelete"]) == (True, True, "single")
    organisation = {"resourceType": "Organization", "name": "St Anna", "identifier": [{"value": "7"}]}
    body = json.dumps(organisation)
    made = send(web, "POST", "/Organization", content=body, headers={"if-none-exist": "identifier=7"})
    assert made.status_code == 201
    assert (
        send(web, "POST", "/Organization", content=body, headers={"if-none-exist": "identifier=7"}).status_code == 200
    )
    assert send(web, "PUT", "/Organization?identifier=7", content=body).status_code == 200
    address = f"/Organization/{made.json()['id']}"
    for path in (address, f"{address}/_history", f"{address}/_history/1", "/Organization/_history", "/_history"):
        assert send(web, "GET", path).status_code == 200
    assert send(web, "DELETE", "/Organization?identifier=7").status_code == 204
    assert send(web, "GET", address).status_code == 410


def test_a_type_that_is_not_claimed_is_not_kept(web: TestClient, rest: dict[str, Any]) -> None:
    assert "Bundle" not in {one["type"] for one in rest["resource"]}
    body = json.dumps({"resourceType": "Bundle", "type": "collection", "id": "b"})
    assert outcome(send(web, "PUT", "/Bundle/b", content=body))["code"] == "not-supported"
