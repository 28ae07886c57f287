"""Whoever subscribes is told what they may see at that moment: nothing of others', of refused records, by a filter."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import CLINICIAN, Hospital
from tests.integration.fhir.subscribing import observation, subscription, told
from tests.integration.fhir.web import PATIENT, outcome, principal_of, send, streaming_of
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, Standing
from twinward.api.fhir import fhir_router
from twinward.core.errors import StoreAltered
from twinward.core.vocabulary import Purpose, Role
from twinward.fhir.errors import SubscriptionNotFound
from twinward.fhir.subscriptions.telling import Followed

NO_CLINICIANS = Provision(effect="deny", roles=(Role.CLINICIAN,))


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    house = Hospital(tmp_path)
    yield house
    house.close()


@pytest.fixture
def web(hospital: Hospital) -> TestClient:
    app = FastAPI()
    app.include_router(fhir_router(hospital.fhir, principal_of, streaming_of(hospital)))
    client = TestClient(app, raise_server_exceptions=False)
    for name in ("p", "q"):
        put(hospital, client, PATIENT | {"id": name})
    return client


def put(hospital: Hospital, web: TestClient, resource: dict[str, Any]) -> None:
    path = f"/{resource['resourceType']}/{resource['id']}"
    assert send(web, "PUT", path, "system", content=json.dumps(resource)).status_code in (200, 201)
    hospital.clock.advance(1000)


def made(hospital: Hospital, web: TestClient, *filters: str) -> str:
    answer = send(web, "POST", "/Subscription", content=json.dumps(subscription("observation", *filters)))
    assert answer.status_code == 201, answer.text
    hospital.clock.advance(1000)
    return str(answer.json()["id"])


def events(web: TestClient, name: str) -> tuple[str, int, list[tuple[int, str]]]:
    return told(send(web, "GET", f"/Subscription/{name}/$events").json())


def test_anothers_subscription_is_not_there(hospital: Hospital, web: TestClient) -> None:
    name = made(hospital, web)
    unknown = "00000000-0000-7000-8000-000000000000"
    body = {"content": json.dumps(subscription() | {"id": name})}
    for method, path, more in (
        ("GET", "", {}),
        ("PUT", "", body),
        ("DELETE", "", {}),
        ("GET", "/$status", {}),
        ("GET", "/$events", {}),
        ("GET", "/$stream", {}),
    ):
        theirs = send(web, method, f"/Subscription/{name}{path}", "colleague", **more)
        none = send(web, method, f"/Subscription/{unknown}{path}", "colleague", **more)
        assert (theirs.status_code, theirs.content) == (404, none.content), (method, path)
    for path in ("", f"?_id={name}", "/$status", f"/$status?id={name}"):
        assert send(web, "GET", f"/Subscription{path}", "colleague").json()["total"] == 0
    assert send(web, "GET", f"/Subscription/{name}").status_code == 200


def test_what_is_refused_is_neither_told_nor_counted(hospital: Hospital, web: TestClient) -> None:
    name = made(hospital, web)
    hospital.consent(hospital.twins.find("Patient/q"), NO_CLINICIANS)
    put(hospital, web, observation("before"))
    put(hospital, web, observation("hidden", "q"))
    put(hospital, web, observation("after"))
    assert events(web, name) == ("query-event", 2, [(1, "Observation/before"), (2, "Observation/after")])
    hospital.consent(hospital.twins.find("Patient/q"))
    assert events(web, name)[1] == 2, "what was refused when it was looked at is not told later"


def test_a_consent_withdrawn_between_event_and_delivery_is_heard(hospital: Hospital, web: TestClient) -> None:
    name = made(hospital, web)
    put(hospital, web, observation("of-p"))
    put(hospital, web, observation("of-q", "q"))
    assert events(web, name)[2] == [(1, "Observation/of-p"), (2, "Observation/of-q")]
    service = streaming_of(hospital).subscriptions
    context = AccessContext(CLINICIAN, Purpose.TREATMENT)
    followed = service.follow(context, name, base="http://here/fhir", after=0)
    hospital.consent(hospital.twins.find("Patient/q"), NO_CLINICIANS)
    assert all_told(followed) == [(1, "Observation/of-p")]
    assert events(web, name)[2] == [(1, "Observation/of-p")]
    last = hospital.trail.events[-1]
    assert (last.action.value, last.decision) == ("search", "deny"), "the refusal is logged"
    put(hospital, web, observation("hidden", "q"))
    put(hospital, web, observation("more"))
    assert all_told(followed) == [(3, "Observation/more")]


def all_told(followed: Followed) -> list[tuple[int, str]]:
    return [event for bundle in followed.poll() for event in told(json.loads(bundle))[2]]


def test_a_filter_injects_nothing(hospital: Hospital, web: TestClient) -> None:
    for text in (
        "Observation?patient=p&_include=*",
        "Observation?patient=p%26_revinclude=x&_elements=id",
        "Observation?patient=p\r\ndata: x",
        "Observation?patient=Patient/p/_history/1",
        "Patient?_id=q",
        "Observation?patient=p' OR '1'='1",
    ):
        answer = send(web, "POST", "/Subscription", content=json.dumps(subscription("observation", text)))
        assert answer.status_code == 400, text
        assert outcome(answer)["expression"], text
    name = made(hospital, web, "Observation?patient=p", "Observation?patient=q")
    put(hospital, web, observation("of-p"))
    assert events(web, name)[1] == 0, "both filters hold, or nothing is told"
    stranger = made(hospital, web, "Observation?patient=not-known-here")
    assert events(web, stranger)[1] == 0, "an unknown patient is no other answer than a silent one"


def test_it_ends_with_the_generation_of_its_account(hospital: Hospital) -> None:
    service = streaming_of(hospital).subscriptions
    first = AccessContext(replace(CLINICIAN, standing=Standing(1)), Purpose.TREATMENT)
    later = AccessContext(replace(CLINICIAN, standing=Standing(2)), Purpose.TREATMENT)
    kept = service.create(first, json.dumps(subscription()).encode())
    followed = service.follow(first, kept.id, base="", after=None)
    with pytest.raises(SubscriptionNotFound):
        service.read(later, kept.id)
    service.create(later, json.dumps(subscription()).encode())
    with pytest.raises(SubscriptionNotFound):
        list(followed.poll())


def test_a_row_is_sealed_in_its_place(hospital: Hospital, web: TestClient) -> None:
    one, other = made(hospital, web, "Observation?patient=p"), made(hospital, web)
    path = hospital.folder / "subscriptions.db"
    with closing(sqlite3.connect(path)) as db:
        assert not any(
            b"Patient" in bytes(row[0]) or b"dr-lee" in bytes(row[0])
            for row in db.execute("SELECT sealed FROM subscription UNION ALL SELECT owner FROM subscription")
        )
        db.execute(
            "UPDATE subscription SET sealed = (SELECT sealed FROM subscription WHERE id = ?) WHERE id = ?", (other, one)
        )
        db.commit()
    with pytest.raises(StoreAltered):
        hospital.subscriptions.find(one)
    assert send(web, "GET", f"/Subscription/{one}").status_code == 503
