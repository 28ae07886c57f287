"""Topic-based subscriptions without the stream: made, refused by name, found, changed, ended, asked what they told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.subscribing import LOINC, TOPIC, observation, subscription, told, told_in
from tests.integration.fhir.web import PATIENT, outcome, send, transaction
from twinward.fhir.subscriptions.store import KEPT_EVENTS, MOST_OF_ACCOUNT
from twinward.fhir.validation.validator import validate

CONDITION = {
    "resourceType": "Condition",
    "id": "c",
    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "38341003", "display": "Hypertension"}]},
    "subject": {"reference": "Patient/p"},
}


@pytest.fixture
def web(own_web: TestClient) -> TestClient:
    return own_web


def put(hospital: Hospital, web: TestClient, resource: dict[str, Any]) -> None:
    """Store a resource, and let a moment pass."""
    answer = send(web, "PUT", f"/{resource['resourceType']}/{resource['id']}", content=json.dumps(resource))
    assert answer.status_code in (200, 201), answer.text
    hospital.clock.advance(10)


def post(web: TestClient, resource: dict[str, Any], who: str = "clinician") -> Any:
    return send(web, "POST", "/Subscription", who, content=json.dumps(resource))


@pytest.fixture
def ward(web: TestClient, hospital: Hospital) -> TestClient:
    """Two patients, long since here."""
    for name in ("p", "q"):
        put(hospital, web, PATIENT | {"id": name})
    hospital.clock.advance(60_000)
    return web


def made(web: TestClient, hospital: Hospital, *said: str, **more: Any) -> str:
    answer = post(web, subscription(*said, **more))
    assert answer.status_code == 201, answer.text
    hospital.clock.advance(1000)
    return str(answer.json()["id"])


def events(web: TestClient, hospital: Hospital, name: str, query: str = "", who: str = "clinician") -> Any:
    hospital.clock.advance(1000)
    answer = send(web, "GET", f"/Subscription/{name}/$events{query}", who)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_subscription_is_made_read_found_changed_and_ended(ward: TestClient, hospital: Hospital) -> None:
    answer = post(ward, subscription() | {"id": "mine", "meta": {"versionId": "7", "tag": [{"code": "x"}]}})
    assert answer.status_code == 201
    kept = answer.json()
    name = kept["id"]
    assert answer.headers["location"].endswith(f"/fhir/Subscription/{name}")
    assert (kept["status"], kept["meta"]["versionId"], kept["meta"]["tag"]) == ("active", "1", [{"code": "x"}])
    assert name != "mine", "ids are the server's: nobody learns which are taken"
    validate(kept)
    assert send(ward, "GET", f"/Subscription/{name}").json() == kept
    assert [one["resource"]["id"] for one in send(ward, "GET", "/Subscription").json()["entry"]] == [name]
    for query, total in ((f"_id={name}", 1), ("status=off", 0), (f"criteria={TOPIC}observation", 1)):
        assert send(ward, "GET", f"/Subscription?{query}").json()["total"] == total, query
    off = send(ward, "PUT", f"/Subscription/{name}", content=json.dumps(kept | {"status": "off"}))
    assert (off.status_code, off.json()["status"], off.json()["meta"]["versionId"]) == (200, "off", "2")
    assert send(ward, "GET", f"/Subscription/{name}/$stream").status_code == 409
    assert send(ward, "DELETE", f"/Subscription/{name}").status_code == 204
    for method, path in (("GET", ""), ("GET", "/$status"), ("GET", "/$events"), ("GET", "/$stream"), ("DELETE", "")):
        assert outcome(send(ward, method, f"/Subscription/{name}{path}"))["code"] == "not-found"
    assert hospital.subscriptions.of("dr-lee") == []


def test_what_is_stored_is_told_with_numbers_and_a_status(ward: TestClient, hospital: Hospital) -> None:
    name = made(ward, hospital)
    put(hospital, ward, observation("one"))
    put(hospital, ward, observation("two"))
    put(hospital, ward, CONDITION)
    assert told(events(ward, hospital, name)) == ("query-event", 2, [(1, "Observation/one"), (2, "Observation/two")])
    put(hospital, ward, observation("one", code="8480-6"))
    assert send(ward, "DELETE", "/Observation/two").status_code == 204
    kind, count, found = told(events(ward, hospital, name, "?eventsSinceNumber=3"))
    assert (kind, count) == ("query-event", 4)
    assert sorted(found) == [(3, found[0][1]), (4, found[1][1])]
    assert {one for _, one in found} == {"Observation/one", "Observation/two"}
    assert told(events(ward, hospital, name, "?eventsSinceNumber=2&eventsUntilNumber=2"))[2] == [(2, "Observation/two")]
    for path in (f"/{name}/$status", "/$status", f"/$status?id={name}&status=active"):
        found_status = send(ward, "GET", f"/Subscription{path}").json()
        assert found_status["type"] == "searchset"
        assert [told_in(one["resource"]) for one in found_status["entry"]] == [("query-status", 4, [])]
        validate(found_status)
    assert send(ward, "GET", "/Subscription/$status?status=off").json()["total"] == 0


def test_how_much_is_told_is_asked_for(ward: TestClient, hospital: Hospital) -> None:
    names = {one: made(ward, hospital, content=one) for one in ("empty", "id-only", "full-resource")}
    put(hospital, ward, observation("one"))
    empty = events(ward, hospital, names["empty"])
    assert told(empty) == ("query-event", 1, [(1, "")])
    assert "Observation" not in json.dumps(empty)
    assert "observation" not in json.dumps(empty), "not even the topic"
    assert len(events(ward, hospital, names["id-only"])["entry"]) == 1
    full = events(ward, hospital, names["full-resource"])
    assert full["entry"][1]["resource"]["valueQuantity"]["value"] == 72
    assert full["entry"][1]["request"] == {"method": "PUT", "url": "Observation/one"}
    assert send(ward, "DELETE", "/Observation/one").status_code == 204
    gone = events(ward, hospital, names["full-resource"], "?eventsSinceNumber=2")["entry"][1]
    assert (gone["request"]["method"], "resource" in gone) == ("DELETE", False)
    asked = events(ward, hospital, names["full-resource"], "?content=empty&eventsUntilNumber=1")
    assert told(asked)[2] == [(1, "")]


FILTERS: dict[tuple[str, ...], str] = {
    ("Observation?patient=Patient/q",): "b",
    ("Observation?subject=q",): "b",
    ("Observation?patient=p,q",): "abc",
    ("Observation?patient=nobody",): "",
    (f"Observation?code={LOINC}|8480-6",): "c",
    ("Observation?code=8480-6,8867-4",): "abc",
    ("Observation?category=laboratory",): "c",
    ("Observation?category=laboratory&code=8867-4",): "",
    ("Observation?patient=p", "Observation?code=8867-4"): "a",
}


def test_filters_narrow_what_is_told(ward: TestClient, hospital: Hospital) -> None:
    names = {filters: made(ward, hospital, "observation", *filters) for filters in FILTERS}
    put(hospital, ward, observation("a"))
    put(hospital, ward, observation("b", "q"))
    put(hospital, ward, observation("c", code="8480-6", category="laboratory"))
    for filters, expected in FILTERS.items():
        found = [one for _, one in told(events(ward, hospital, names[filters]))[2]]
        assert found == [f"Observation/{one}" for one in expected], filters


def test_topics_tell_of_their_types(ward: TestClient, hospital: Hospital) -> None:
    names = {one: made(ward, hospital, one) for one in ("record", "patient", "condition", "encounter")}
    of_p = made(ward, hospital, "record", "Resource?patient=Patient/p")
    the_patient = made(ward, hospital, "patient", "Patient?_id=q")
    put(hospital, ward, PATIENT | {"id": "q", "gender": "male"})
    put(hospital, ward, CONDITION)
    period = {"status": "finished", "class": {"code": "AMB"}, "subject": {"reference": "Patient/q"}}
    put(hospital, ward, {"resourceType": "Encounter", "id": "e"} | period)
    found = {one: [each for _, each in told(events(ward, hospital, name))[2]] for one, name in names.items()}
    assert found == {
        "record": ["Patient/q", "Condition/c", "Encounter/e"],
        "patient": ["Patient/q"],
        "condition": ["Condition/c"],
        "encounter": ["Encounter/e"],
    }
    assert [one for _, one in told(events(ward, hospital, of_p))[2]] == ["Condition/c"]
    assert [one for _, one in told(events(ward, hospital, the_patient))[2]] == ["Patient/q"]


def test_what_is_not_served_is_refused_with_its_path(ward: TestClient, hospital: Hospital) -> None:
    answer = post(ward, subscription(channel={"endpoint": "http://169.254.169.254/"}))
    assert answer.status_code == 400
    issue = outcome(answer)
    assert (issue["expression"], issue["code"]) == (["Subscription.channel.endpoint"], "not-supported")
    assert "$stream" in issue["diagnostics"], "what to use instead"
    assert hospital.subscriptions.of("dr-lee") == []


def test_a_subscription_is_no_record_at_any_other_door(ward: TestClient, hospital: Hospital) -> None:
    name = made(ward, hospital)
    body = json.dumps(subscription() | {"id": name})
    patch = {"content": b"[]", "headers": {"content-type": "application/json-patch+json"}}
    form = {"headers": {"content-type": "application/x-www-form-urlencoded"}}
    for method, path, more, status in (
        ("PUT", "/Subscription?_id=x", {"content": body}, 405),
        ("DELETE", f"/Subscription?_id={name}", {}, 405),
        ("PATCH", f"/Subscription/{name}", patch, 405),
        ("GET", "/Subscription/_history", {}, 404),
        ("GET", f"/Subscription/{name}/_history", {}, 404),
        ("POST", "/Subscription/_search", form, 404),
        ("POST", "", {"content": transaction(json.loads(body))}, 400),
        ("POST", "/Subscription", {"content": body, "headers": {"if-none-exist": "_id=x"}}, 400),
        ("GET", f"/Subscription/{name}?_elements=status", {}, 400),
    ):
        answer = send(ward, method, path, **more)
        assert answer.status_code == status, (method, path)
    assert send(ward, "GET", f"/Subscription/{name}").status_code == 200


def test_an_account_has_so_many_and_only_the_newest_events_are_kept(ward: TestClient, hospital: Hospital) -> None:
    names = [made(ward, hospital) for _ in range(MOST_OF_ACCOUNT)]
    assert outcome(post(ward, subscription()))["code"] == "conflict"
    assert post(ward, subscription(), "colleague").status_code == 201, "another account's places are its own"
    send(ward, "DELETE", f"/Subscription/{names[0]}")
    many = [observation(f"o{number}") for number in range(KEPT_EVENTS + 20)]
    answer = send(ward, "POST", "", content=transaction(*many))
    assert answer.status_code == 200
    _, count, found = told(events(ward, hospital, names[1]))
    assert (count, len(found), found[0][0]) == (KEPT_EVENTS + 20, KEPT_EVENTS, 21)


def test_it_ends_at_its_end(ward: TestClient, hospital: Hospital) -> None:
    answer = post(ward, subscription() | {"end": "2026-01-01T01:00:00Z"})
    name = answer.json()["id"]
    hospital.clock.advance(3_600_000)
    assert send(ward, "GET", f"/Subscription/{name}").json()["status"] == "off"
    put(hospital, ward, observation("late"))
    assert told(events(ward, hospital, name)) == ("query-event", 0, [])
    assert outcome(send(ward, "GET", f"/Subscription/{name}/$stream"))["code"] == "conflict"


def test_the_statement_lists_topics_and_operations(web: TestClient) -> None:
    rest = web.get("/fhir/metadata").json()["rest"][0]
    one = next(each for each in rest["resource"] if each["type"] == "Subscription")
    assert {each["valueCanonical"] for each in one["extension"]} == {
        TOPIC + name for name in ("record", "patient", "observation", "condition", "encounter")
    }
    assert {each["name"] for each in one["operation"]} == {"status", "events"}
