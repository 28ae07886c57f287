"""The FHIR endpoint over HTTP, as tests ask it."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from fastapi import Header
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import CLINICIAN, OFFICER, VENDOR, Hospital
from twinward.access.errors import SignInRefused
from twinward.access.interfaces import Principal
from twinward.api.fhir.subscriptions import Streaming
from twinward.api.twins.events import EventStreams
from twinward.core.vocabulary import Role
from twinward.fhir.subscriptions.service import Subscriptions
from twinward.fhir.validation.validator import validate

PEOPLE = {
    "clinician": CLINICIAN,
    "colleague": Principal("dr-kim", Role.CLINICIAN, "Dr. Kim", "oncology"),
    "system": Principal("ward-9", Role.SYSTEM),
    "vendor": VENDOR,
    "officer": OFFICER,
    "marie": Principal("marie", Role.RESEARCHER),
}
FHIR = "application/fhir+json"
_OWN = rb'"meta":\{"versionId":"[0-9]+","lastUpdated":"[^"]{20,30}"\}'
_SERVERS = re.compile(rb"(?<=\{)" + _OWN + b",|," + _OWN)


def principal_of(authorization: Annotated[str, Header()] = "") -> Principal:
    person = PEOPLE.get(authorization.removeprefix("Bearer "))
    if person is None:
        raise SignInRefused
    return person


def streaming_of(hospital: Hospital) -> Streaming:
    """The hospital's subscriptions; nobody's token ends."""
    subscriptions = Subscriptions(
        hospital.twins, hospital.access, hospital.subscriptions, hospital.trail.writes, hospital.clock
    )
    return Streaming(subscriptions, EventStreams(), lambda _: None)


def send(web: TestClient, method: str, path: str, who: str = "clinician", **more: Any) -> Any:
    headers = {"authorization": f"Bearer {who}", "content-type": FHIR} | more.pop("headers", {})
    return web.request(method, f"/fhir{path}", headers=headers, **more)


def as_sent(content: bytes) -> bytes:
    """An answer, or a page of them, without the ``meta`` that the server put in where there was none before."""
    return _SERVERS.sub(b"", content)


def without_server(resource: dict[str, Any]) -> dict[str, Any]:
    """A decoded resource without what ``meta`` says of version and time."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return rest | ({"meta": meta} if meta else {})


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
