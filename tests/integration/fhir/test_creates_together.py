"""Many creates at once: each comes to what it comes to by itself, once, whatever becomes of the others."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.fhir.hospital import CLINICIAN, RESEARCHER, SYSTEM, VENDOR, Hospital
from tests.integration.fhir.web import PATIENT, send
from twinward.access.interfaces import AccessContext, Principal
from twinward.api.http.guard import USUAL_BYTES
from twinward.core.errors import outcome_of
from twinward.core.vocabulary import Purpose, Role
from twinward.fhir.rest.writes import New, Written

MANAGING = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
WHO = (SYSTEM, SYSTEM, CLINICIAN, RESEARCHER, VENDOR, Principal("ward", Role.SYSTEM, "\ud800"))


def observation(subject: str, **more: Any) -> bytes:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    said = {"resourceType": "Observation", "status": "final", "code": code, "subject": {"reference": subject}}
    return json.dumps(said | more).encode()


BODIES = (
    observation("Patient/one"),
    observation("Patient/one", valueQuantity={"value": 5, "unit": "1/min"}),
    observation("Patient/two", id="its-own", meta={"versionId": "9"}),
    observation("Patient/nobody"),
    observation("Patient/one", status="nonsense"),
    b'{"resourceType": "Patient", "id": "x"}',
    b'{"resourceType": "Observation"}',
    b'{"resourceType": "Observation", "resourceType": "Observation"}',
    b"[" * 200,
    b"{",
    b"",
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("together"))
    for name in ("one", "two"):
        body = json.dumps({"resourceType": "Patient", "id": name}).encode()
        made.fhir.writes.update(MANAGING, "Patient", name, body)
    yield made
    made.close()


def told(outcome: Written | Exception) -> object:
    """What came of a create, without the id and the moment that are its own."""
    if isinstance(outcome, Written):
        content = json.loads(outcome.content)
        assert outcome.reference == f"{content['resourceType']}/{content.pop('id')}"
        assert content.pop("meta").keys() == {"versionId", "lastUpdated"}
        return outcome.created, outcome.version, content
    return type(outcome), str(outcome)


def logged(house: Hospital, since: int) -> list[tuple[object, ...]]:
    """What people were logged with; the node itself reads features once for several."""
    return sorted(
        (one.agent, one.action, one.decision, one.reason, str(one.twin), str(sorted(one.categories)))
        for one in house.trail.events[since:]
        if one.purpose is not Purpose.RECORD_MANAGEMENT or one.action.value != "read"
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(WHO), st.sampled_from(BODIES)), min_size=1, max_size=8))
def test_each_comes_to_what_it_comes_to_by_itself_and_is_logged_as_that(
    house: Hospital, drawn: list[tuple[Principal, bytes]]
) -> None:
    asked = [(AccessContext(who, Purpose.RECORD_MANAGEMENT), body) for who, body in drawn]
    before, rows = len(house.trail.events), house.store.count()
    alone = [outcome_of(partial(house.fhir.writes.create, one, "Observation", body)) for one, body in asked]
    by_itself, before = logged(house, before), len(house.trail.events)
    together = house.fhir.writes.create_each([New(one, "Observation", partial(bytes, body)) for one, body in asked])
    assert list(map(told, together)) == list(map(told, alone))
    assert logged(house, before) == by_itself
    created = [one for one in (*alone, *together) if isinstance(one, Written)]
    for one in created:
        read = house.fhir.read(AccessContext(CLINICIAN, Purpose.TREATMENT), *one.reference.split("/"))
        assert json.loads(read.content).items() <= json.loads(one.content).items()
    assert house.store.count() - rows >= len(created) == len({one.reference for one in created})


def test_what_nobody_expected_of_one_has_no_other_written_twice(house: Hospital) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError

    rows = house.store.count()
    bodies: list[Callable[[], bytes]] = [lambda: observation("Patient/one"), broken, lambda: observation("Patient/two")]
    outcomes = house.fhir.writes.create_each([New(MANAGING, "Observation", body) for body in bodies])
    assert [type(one) for one in outcomes] == [Written, ZeroDivisionError, Written]
    assert house.store.count() - rows == 2


def test_a_patients_damaged_key_stops_nobody_elses_creates(tmp_path: Path) -> None:
    house = Hospital(tmp_path)
    for name in ("damaged", "whole"):
        house.fhir.writes.update(
            MANAGING, "Patient", name, json.dumps({"resourceType": "Patient", "id": name}).encode()
        )
    with sqlite3.connect(tmp_path / "keyring.db") as keyring:
        twin = house.twins.find("Patient/damaged")
        keyring.execute("UPDATE wrapped_twin_key SET wrapped = zeroblob(length(wrapped)) WHERE twin = ?", (twin,))
    keyring.close()
    house = house.reopen()
    bodies = [observation(f"Patient/{name}") for name in ("damaged", "damaged", "damaged", "whole", "damaged", "whole")]
    outcomes = house.fhir.writes.create_each([New(MANAGING, "Observation", partial(bytes, body)) for body in bodies])
    assert [isinstance(one, Written) for one in outcomes] == [False, False, False, True, False, True]
    house.close()


def test_many_at_once_over_http_are_each_kept_once(own_web: TestClient) -> None:
    assert send(own_web, "PUT", f"/Patient/{PATIENT['id']}", "system", content=json.dumps(PATIENT)).status_code == 201
    subject = f"Patient/{PATIENT['id']}"
    long = {"note": [{"text": "x" * USUAL_BYTES}]}

    def create(number: int) -> Any:
        more: dict[str, Any] = {"valueInteger": number} | (long if number % 8 == 0 else {})
        return send(own_web, "POST", "/Observation", "system", content=observation(subject, **more))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(24)))
    assert [one.status_code for one in answers] == [201] * 24
    assert [one.json()["valueInteger"] for one in answers] == list(range(24))
    names = {one.headers["location"].split("/_history")[0].rsplit("/", 1)[1] for one in answers}
    assert names == {one.json()["id"] for one in answers}
    assert len(names) == 24
    page = send(own_web, "GET", f"/Observation?patient={PATIENT['id']}&_count=100").json()
    found = [entry["resource"] for entry in page["entry"]]
    assert {one["id"] for one in found if one["resourceType"] == "Observation"} == names
