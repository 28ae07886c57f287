"""The FHIR endpoint over HTTP, as tests ask it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Header
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import CLINICIAN, OFFICER, SYSTEM, VENDOR
from twinward.access.errors import SignInRefused
from twinward.access.interfaces import Principal
from twinward.fhir.validate import validate
from twinward.vocabulary import Role

PEOPLE = {
    "clinician": CLINICIAN,
    "system": SYSTEM,
    "vendor": VENDOR,
    "officer": OFFICER,
    "marie": Principal("marie", Role.RESEARCHER),
}
FHIR = "application/fhir+json"


def principal_of(authorization: Annotated[str, Header()] = "") -> Principal:
    person = PEOPLE.get(authorization.removeprefix("Bearer "))
    if person is None:
        raise SignInRefused
    return person


def send(web: TestClient, method: str, path: str, who: str = "clinician", **more: Any) -> Any:
    headers = {"authorization": f"Bearer {who}", "content-type": FHIR} | more.pop("headers", {})
    return web.request(method, f"/fhir{path}", headers=headers, **more)


def outcome(response: Any) -> dict[str, Any]:
    assert response.headers["content-type"] == FHIR
    body: dict[str, Any] = response.json()
    assert body["resourceType"] == "OperationOutcome"
    validate(body)
    return body["issue"][0]


def transaction(*resources: dict[str, Any], kind: str = "transaction") -> bytes:
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()


PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female"}
