"""Search over HTTP: what matches, what is paged, and that every twin opened for it is in the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import SYSTEM, Hospital
from tests.integration.fhir.web import PATIENT, outcome, principal_of, send
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.api.fhir import fhir_router
from twinward.core.vocabulary import Action, Category, Purpose
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.fhir.search.parameters import MAX_COUNT
from twinward.fhir.validation.validator import validate
from twinward.vault.interfaces import Record
from twinward.vault.models import StoredVersion
from twinward.vault.records.sealer import Opening
from twinward.vault.search import index as indexes

LOINC = "http://loinc.org"
ANNA = PATIENT | {
    "id": "anna",
    "name": [{"family": "Özdemir", "given": ["Anna", "Maria"]}],
    "birthDate": "1980-02-29",
    "identifier": [{"system": "http://h.example/mrn", "value": "A,1|x"}, {"value": "77"}],
}
BERN = PATIENT | {"id": "bern", "gender": "male", "birthDate": "1990", "name": [{"text": "Bern Berger"}]}


def observation(name: str, code: str, when: str, category: str = "laboratory", patient: str = "anna") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/c", "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": when,
    }


@pytest.fixture
def ward(web: TestClient, hospital: Hospital) -> TestClient:
    """Anna with four observations and a diagnosis, Bern with one observation."""
    return filled(web, hospital)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the records that the vault opens from now on."""
    seen: list[str] = []
    right = Opening.record

    def noting(self: Opening, place: StoredVersion) -> Record:
        seen.append(place.record_id)
        return right(self, place)

    monkeypatch.setattr(Opening, "record", noting)
    return seen


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same ward, for tests that only ask."""
    house = Hospital(tmp_path_factory.mktemp("ward"))
    app = FastAPI()
    app.include_router(fhir_router(house.fhir, principal_of))
    yield filled(TestClient(app, raise_server_exceptions=False), house)
    house.close()


def filled(web: TestClient, hospital: Hospital) -> TestClient:
    resources = [
        ANNA,
        BERN,
        observation("a1", "2345-7", "2024-01-31"),
        observation("a2", "2345-7", "2024-02-01T10:00:00+02:00"),
        observation("a3", "4548-4", "2024-02"),
        observation("a4", "8867-4", "2025-01-01", "vital-signs"),
        observation("b1", "2345-7", "2024-02-01", patient="bern"),
        {
            "resourceType": "Condition",
            "id": "c",
            "subject": {"reference": "Patient/anna"},
            "code": {"coding": [{"system": "http://snomed.info/sct", "code": "35489007"}]},
        },
        {"resourceType": "Organization", "id": "h", "name": "St Anna"},
    ]
    for one in resources:
        hospital.clock.advance(1000)
        answer = send(web, "PUT", f"/{one['resourceType']}/{one['id']}", content=json.dumps(one))
        assert answer.status_code == 201
    return web


def ids(bundle: dict[str, Any]) -> list[str]:
    return sorted(one["resource"]["id"] for one in bundle.get("entry", []) if one["search"]["mode"] == "match")


def found(web: TestClient, query: str, **more: Any) -> list[str]:
    response = send(web, "GET", query, **more)
    assert response.status_code == 200, response.text
    bundle = response.json()
    validate(bundle)
    return ids(bundle)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("patient=anna", "a1 a2 a3 a4"),
        ("patient=Patient/anna", "a1 a2 a3 a4"),
        ("subject=http://testserver/fhir/Patient/anna", "a1 a2 a3 a4"),
        ("patient=nobody", ""),
        ("patient=anna,bern", "a1 a2 a3 a4 b1"),
        ("patient=anna&subject=bern", ""),
        ("patient=anna&code=2345-7", "a1 a2"),
        (f"patient=anna&code={LOINC}|2345-7", "a1 a2"),
        (f"patient=anna&code={LOINC}|", "a1 a2 a3 a4"),
        ("patient=anna&code=|2345-7", ""),
        ("patient=anna&code=http://other|2345-7", ""),
        ("patient=anna&code=2345-7,8867-4", "a1 a2 a4"),
        ("patient=anna&code=2345-7&category=vital-signs", ""),
        ("patient=anna&category=vital-signs&_format=json", "a4"),
        ("patient=anna&status=final&_id=a1,b1", "a1"),
        ("_id=a1,b1", "a1 b1"),
        ("_id=a1&_id=b1", ""),
        ("code=2345-7", "a1 a2 b1"),
        ("", "a1 a2 a3 a4 b1"),
        ("patient=anna&date=2024-01-31", "a1"),
        ("patient=anna&date=2024-02", "a2 a3"),
        ("patient=anna&date=2024-02-01", "a2"),
        ("patient=anna&date=ge2024-02-01", "a2 a3 a4"),
        ("patient=anna&date=gt2024-02-01&date=lt2025", "a3"),
        ("patient=anna&date=ne2024", "a4"),
        ("patient=anna&date=le2024-01-31", "a1"),
        ("patient=anna&date=sa2024-02-01", "a4"),
        ("patient=anna&date=eb2024-02-01", "a1"),
        ("patient=anna&date=2024-02-01T08:00:00Z", "a2"),
        ("patient=anna&date=2024-02-01T10:00:00%2B02:00", "a2"),
        ("_lastUpdated=lt2026-01-01T00:00:04Z", "a1"),
        ("_lastUpdated=gt2027", ""),
        ("patient=anna&date=2024-02-01T08:00Z", "a2"),
        ("patient=anna&date=2024-02-01T08:00", "a2"),
        ("patient=anna&date=2024-02-01T08:00:00", "a2"),
        ("patient=anna&date=2024-02-01T10:00+02:00", "a2"),
        ("patient=anna&date=2024-02-01T08:01Z", ""),
        ("patient=anna&date=ge2024-02-01T08:00&date=lt2024-02-01T08:01", "a2 a3"),
        ("patient=anna&code=http://loinc.org|2345-7&status=Final", "a1 a2"),
        ("patient=anna&status=http://hl7.org/fhir/observation-status|final&code=2345-7", "a1 a2"),
        ("patient=anna&status=http://hl7.org/fhir/observation-status|&code=2345-7", "a1 a2"),
        ("patient=anna&status=|final&code=2345-7", "a1 a2"),
        ("patient=anna&status=http://hl7.org/fhir/event-status|final", ""),
        ("patient=anna&category=Vital-Signs", "a4"),
        ("patient=anna&category=vital-signs&_format=application/fhir+json&_pretty=true", "a4"),
    ],
)
def test_observations_are_found(unchanged: TestClient, query: str, expected: str) -> None:
    assert found(unchanged, f"/Observation?{query}") == expected.split()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_id=anna", "anna"),
        ("identifier=http://h.example/mrn|A\\,1\\|x", "anna"),
        ("identifier=A\\,1\\|x", "anna"),
        ("identifier=77", "anna"),
        ("identifier=|77", "anna"),
        ("identifier=http://h.example/mrn|77", ""),
        ("identifier=nobody,77", "anna"),
        ("name=özd", "anna"),
        ("name=mar", "anna"),
        ("given=maria&family=ö", "anna"),
        ("family=ozdemir", "anna"),
        ("family=O\u0308ZDEMİR", "anna"),
        ("family=o%27zdem", "anna"),
        ("gender=http://hl7.org/fhir/administrative-gender|Male", "bern"),
        ("gender=http://hl7.org/fhir/observation-status|male", ""),
        ("identifier=a\\,1\\|x", ""),
        ("name=bern", "bern"),
        ("family=bern", ""),
        ("gender=male", "bern"),
        ("birthdate=1980-02-29", "anna"),
        ("birthdate=ge1985", "bern"),
        ("", "anna bern"),
    ],
)
def test_patients_are_found(unchanged: TestClient, query: str, expected: str) -> None:
    assert found(unchanged, f"/Patient?{query}") == expected.split()


def test_what_was_changed_or_deleted_is_found_as_it_is_now(ward: TestClient) -> None:
    moved = ANNA | {"identifier": [{"value": "78"}]}
    assert send(ward, "PUT", "/Patient/anna", content=json.dumps(moved)).status_code == 200
    assert found(ward, "/Patient?identifier=77") == []
    assert found(ward, "/Patient?identifier=78") == ["anna"]
    assert send(ward, "DELETE", "/Observation/a1").status_code == 204
    assert found(ward, "/Observation?patient=anna&code=2345-7") == ["a2"]
    assert found(ward, "/Observation?_id=a1") == []
    assert send(ward, "DELETE", "/Patient/anna").status_code == 204
    assert found(ward, "/Patient") == ["bern"]
    assert found(ward, "/Patient?identifier=78") == []


def test_a_form_finds_the_same(ward: TestClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    response = send(ward, "POST", "/Observation/_search", content="patient=anna&code=2345-7", headers=form)
    assert ids(response.json()) == ["a1", "a2"]
    response = send(ward, "POST", "/Observation/_search?patient=anna", content="code=4548-4", headers=form)
    assert ids(response.json()) == ["a3"]
    assert send(ward, "POST", "/Observation/_search", content=b"{}").status_code == 415
    for body in (b"\xff", b"a=%ff", b"&".join([b"a=1"] * 200)):
        assert send(ward, "POST", "/Observation/_search", content=body, headers=form).status_code == 400


@pytest.mark.parametrize(
    ("query", "count", "expected"),
    [("/Observation?patient=anna", 3, 4), ("/Observation?", 2, 5), ("/Observation?", 1, 5), ("/Patient?", 1, 2)],
)
def test_pages_are_whole_and_never_overlap(ward: TestClient, query: str, count: int, expected: int) -> None:
    seen: list[str] = []
    url, pages = f"{query}&_count={count}", 0
    while url:
        bundle = send(ward, "GET", url).json()
        links = {one["relation"]: one["url"] for one in bundle["link"]}
        assert len(ids(bundle)) <= count
        assert "total" not in bundle  # nobody has opened all of them
        seen += ids(bundle)
        url, pages = links.get("next", "").removeprefix("http://testserver/fhir"), pages + 1
    assert len(set(seen)) == len(seen) == expected
    assert pages >= 2


def test_a_page_of_a_patient_opens_what_it_shows(ward: TestClient, hospital: Hospital, opened: list[str]) -> None:
    anna = hospital.twins.find("Patient/anna")
    assert len(found(ward, "/Observation?patient=anna&_count=2")) == 2
    assert len(opened) == 3  # one more tells that there are more
    opened.clear()
    assert found(ward, "/Observation?patient=anna&_id=a2") == ["a2"]
    assert len(opened) == 1
    whole = send(ward, "GET", "/Observation?patient=anna").json()
    assert (whole["total"], len(ids(whole))) == (4, 4)
    asked = send(ward, "GET", "/Observation?patient=anna&_count=2&_total=accurate").json()
    assert (asked["total"], len(ids(asked))) == (4, 2)
    before = len(hospital.trail.events)
    second = send(ward, "GET", next_page(asked)).json()
    assert len(ids(second)) == 2
    assert {event.twin for event in hospital.trail.events[before:]} == {anna}


def test_filters_and_pages_of_a_patient_go_together(ward: TestClient) -> None:
    """Whatever is asked, page by page is the same as at once; the last page is told from the one that is full."""
    for asked in ("code=2345-7", "date=ge2020", "status=final", "code=none"):
        whole = found(ward, f"/Observation?patient=anna&{asked}")
        url, seen = f"/Observation?patient=anna&{asked}&_count=1", list[str]()
        while url:
            bundle = send(ward, "GET", url).json()
            seen += ids(bundle)
            url = next_page(bundle)
        assert seen == whole, asked


def next_page(bundle: dict[str, Any]) -> str:
    links = {one["relation"]: one["url"] for one in bundle["link"]}
    return links.get("next", "").removeprefix("http://testserver/fhir")


def in_order(bundle: dict[str, Any]) -> list[str]:
    return [one["resource"]["id"] for one in bundle["entry"] if one["search"]["mode"] == "match"]


@pytest.mark.parametrize("order", ["date", "-date"])
def test_a_sorted_page_is_found_again_whatever_became_of_the_one_before(ward: TestClient, order: str) -> None:
    names = ["a1", "a3", "a2", "a4"] if order == "date" else ["a4", "a3", "a2", "a1"]
    shown = in_order(send(ward, "GET", f"/Observation?patient=anna&_sort={order}").json())
    assert shown == names
    first = send(ward, "GET", f"/Observation?patient=anna&_sort={order}&_count=2").json()
    for name in names[:2]:  # the whole page is gone
        assert send(ward, "DELETE", f"/Observation/{name}").status_code == 204
    second = send(ward, "GET", next_page(first)).json()
    assert in_order(second) == names[2:]
    assert "total" not in second  # how many were on the page before, nobody counted again


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("code=2345-7", ["a1", "a2"]),
        ("code=http://loinc.org|2345-7&_sort=-date", ["a2", "a1"]),
        ("date=ge2024-02&_sort=date", ["a3", "a2", "a4"]),
        ("status=final&date=le2024-01-31", ["a1"]),
    ],
)
def test_a_search_opens_what_it_shows_once_the_index_has_the_records(
    ward: TestClient, opened: list[str], monkeypatch: pytest.MonkeyPatch, asked: str, found: list[str]
) -> None:
    monkeypatch.setattr(indexes, "LEAST", 1)
    send(ward, "GET", f"/Observation?patient=anna&{asked}")
    opened.clear()
    assert in_order(send(ward, "GET", f"/Observation?patient=anna&{asked}").json()) == found
    assert len(opened) == len(found)


def test_what_ended_a_page_does_not_come_again_when_it_changes(ward: TestClient) -> None:
    first = send(ward, "GET", "/Observation?patient=anna&_sort=date&_count=1").json()
    moved = observation("a1", "2345-7", "2030-01-01")
    assert send(ward, "PUT", "/Observation/a1", content=json.dumps(moved)).status_code == 200
    rest = send(ward, "GET", next_page(first).replace("_count=1", "_count=9")).json()
    assert in_order(rest) == ["a3", "a2", "a4"]


def test_a_sorted_cursor_opens_only_what_the_caller_may_see(ward: TestClient, hospital: Hospital) -> None:
    first = send(ward, "GET", "/Observation?patient=anna&_sort=date&_count=1").json()
    assert send(ward, "DELETE", "/Observation/a1").status_code == 204
    before = len(hospital.trail.events)
    assert send(ward, "GET", next_page(first)).status_code == 200
    assert [event.decision for event in hospital.trail.events[before:]] == ["permit", "permit"]
    other = next_page(first).replace("patient=anna", "patient=bern")
    hospital.consent(hospital.twins.find("Patient/anna"), Provision(effect="deny"))
    assert send(ward, "GET", other).status_code == 403
    hospital.consent(hospital.twins.find("Patient/anna"))
    hospital.keyring.shred(hospital.twins.find("Patient/anna"))
    gone = send(ward, "GET", other)
    assert gone.status_code == 400
    assert outcome(gone)["code"] == "conflict"


def test_a_count_is_bounded_and_may_be_nothing(ward: TestClient) -> None:
    nothing = send(ward, "GET", "/Observation?patient=anna&_count=0").json()
    assert (nothing["total"], ids(nothing)) == (4, [])
    assert len(found(ward, f"/Observation?_count={MAX_COUNT * 9}")) == 5


@pytest.mark.parametrize("query", ["patient=anna", "", "patient=anna&_sort=date", "_id=a1"])
def test_a_page_of_none_is_a_count_at_every_door(unchanged: TestClient, query: str) -> None:
    answers = []
    for asked in ("_count=0", "_summary=count"):
        form = {"content-type": "application/x-www-form-urlencoded"}
        url = f"Observation?{query}&{asked}"
        entry = {"request": {"method": "GET", "url": url}}
        batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
        answer = send(unchanged, "POST", "", content=json.dumps(batch)).json()["entry"][0]
        for status, body in (
            _told(send(unchanged, "GET", f"/{url}")),
            _told(send(unchanged, "POST", "/Observation/_search", content=f"{query}&{asked}", headers=form)),
            (int(answer["response"]["status"][:3]), answer.get("resource", answer["response"].get("outcome"))),
        ):
            answers.append(
                (status, body["resourceType"], body.get("total"), body.get("entry"), len(body.get("link", [])))
            )
    assert len(set(map(str, answers))) == 1
    assert answers[0][0] == 200


def _told(response: Any) -> tuple[int, dict[str, Any]]:
    return response.status_code, response.json()


@pytest.mark.parametrize(
    "query",
    [
        "/Observation?nonsense=1",
        "/Observation?patient=anna&code:not=2345-7",
        "/Observation?patient=Group/1",
        "/Observation?patient=",
        "/Observation?patient=anna&code=",
        "/Observation?patient=anna&date=yesterday",
        "/Observation?_count=-1",
        "/Observation?_count=x",
        "/Observation?_cursor=x",
        "/Observation?patient=anna&_sort=date&_cursor=x",
        "/Observation?patient=anna&_sort=date&_cursor=UGF0aWVudC9hbm5hL19oaXN0b3J5LzE",
        "/Observation?_cursor=" + "e" * 900,
        "/Observation?_format=xml",
        "/Observation?_pretty=perhaps",
        "/Observation?patient=anna&date=2024-02-01T08",
        "/Patient?family='",
        "/Observation?patient=anna&_count=0&_elements=a b",
        "/Observation?_id=a b",
        "/Observation?_id=" + ",".join(["a"] * 30),
        "/Observation?patient=" + "a" * 1001,
        "/Patient?identifier=http://h|",
        "/Basic?_lastUpdated=gt2020",
    ],
)
def test_what_is_not_served_is_refused_by_name(unchanged: TestClient, query: str) -> None:
    response = send(unchanged, "GET", query)
    assert response.status_code == (406 if "_format" in query else 400)
    outcome(response)


def test_whoever_is_lenient_is_told_what_was_ignored(ward: TestClient) -> None:
    lenient = {"prefer": "handling=lenient"}
    bundle = send(ward, "GET", "/Observation?patient=bern&_contained=true", headers=lenient).json()
    assert ids(bundle) == ["b1"]
    said = next(one["resource"]["issue"] for one in bundle["entry"] if one["search"]["mode"] == "outcome")
    assert any("_contained" in issue["diagnostics"] for issue in said)
    assert "_contained" not in bundle["link"][0]["url"]


def test_a_search_logs_each_twin_it_opens_and_no_other(ward: TestClient, hospital: Hospital) -> None:
    events = hospital.trail.events
    anna, bern = hospital.twins.find("Patient/anna"), hospital.twins.find("Patient/bern")
    before = len(events)
    assert found(ward, "/Observation?patient=anna&category=vital-signs") == ["a4"]
    [event] = events[before:]
    assert (event.action, event.twin, event.decision) == (Action.READ, anna, "permit")
    assert dict(event.detail)["search"] == "Observation"
    assert Category.PSYCHIATRY not in event.categories
    before = len(events)
    assert len(found(ward, "/Patient?_count=1")) == 1
    [event] = events[before:]
    assert (event.action, event.twin, event.categories[0]) == (Action.SEARCH, min(anna, bern), "administrative")
    before = len(events)
    found(ward, "/Patient?gender=male")
    assert {event.twin for event in events[before:]} == {anna, bern}
    before = len(events)
    assert found(ward, "/Observation?patient=nobody") == []
    assert len(events) == before  # nobody's record was opened


def test_consent_and_policy_are_asked_twin_by_twin(ward: TestClient, hospital: Hospital) -> None:
    assert found(ward, "/Condition?patient=anna") == []  # psychiatric: withheld, and said so
    bundle = send(ward, "GET", "/Condition?patient=anna").json()
    assert "psychiatry" in bundle["entry"][0]["resource"]["issue"][0]["diagnostics"]
    glass = {"x-purpose-of-use": "ETREAT", "x-justification": "unconscious, overdose suspected"}
    assert found(ward, "/Condition?patient=anna", headers=glass) == ["c"]
    hospital.consent(hospital.twins.find("Patient/anna"), Provision(effect="deny"))
    before = len(hospital.trail.events)
    assert found(ward, "/Observation") == ["b1"]
    assert {event.decision for event in hospital.trail.events[before:]} == {"permit", "deny"}
    assert send(ward, "GET", "/Observation?patient=anna").status_code == 403
    for query in ("/Observation", "/Observation?patient=bern", "/Observation?patient=nobody", "/Patient?identifier=1"):
        response = send(ward, "GET", query, "vendor")
        assert response.status_code == 403
        assert b"b1" not in response.content


def test_an_erased_patient_is_found_by_nobody(ward: TestClient, hospital: Hospital) -> None:
    hospital.keyring.shred(hospital.twins.find("Patient/anna"))
    assert found(ward, "/Patient") == ["bern"]
    assert found(ward, "/Observation?patient=anna") == []
    for path in ("/Observation/a1", "/Observation/a1/_history", "/Observation/a1/_history/1"):
        assert send(ward, "GET", path).status_code == 404


def test_shared_resources_are_found_in_the_directory(ward: TestClient) -> None:
    assert found(ward, "/Organization?name=st") == ["h"]
    assert found(ward, "/Organization?_id=h") == ["h"]
    assert found(ward, "/Practitioner") == []


def test_a_whole_cohort_is_paged_through(web: TestClient, hospital: Hospital) -> None:
    receipts = hospital.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), generate_cohort(7, 3))
    names = {one.reference for receipt in receipts for one in receipt.stored if one.reference.startswith("Patient/")}
    seen: list[str] = []
    url = "/Patient?_count=3"
    while url:
        bundle = send(web, "GET", url).json()
        seen += ids(bundle)
        links = {one["relation"]: one["url"] for one in bundle["link"]}
        url = links.get("next", "").removeprefix("http://testserver/fhir")
    assert sorted(f"Patient/{one}" for one in seen) == sorted(names)
