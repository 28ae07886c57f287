"""Preconditions at every FHIR door: looked at by RFC 9110, section 13, or refused by name, and never left aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.test_fhir_batch import batch, entry
from tests.integration.fhir.test_fhir_batch import statuses as batch_statuses
from tests.integration.fhir.test_fhir_transactions import done, statuses, transact
from tests.integration.fhir.web import outcome, principal_of, send
from twinward.access.consent import Provision
from twinward.api.fhir import fhir_router
from twinward.core.vocabulary import Action, Category

NUMBERS = count(1)
EARLIER, LATER = "Wed, 31 Dec 2025 23:59:59 GMT", "Thu, 01 Jan 2026 00:00:00 GMT"
"""Around the moment at which these tests' clock stands: the second it is in covers it."""


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    house = Hospital(tmp_path_factory.mktemp("hospital"))
    yield house
    house.close()


@pytest.fixture(scope="module")
def web(hospital: Hospital) -> TestClient:
    app = FastAPI()
    app.include_router(fhir_router(hospital.fhir, principal_of))
    return TestClient(app, raise_server_exceptions=False)


def person(name: str, **more: Any) -> dict[str, Any]:
    mrn = {"system": "http://m.example", "value": name}
    return {"resourceType": "Patient", "id": name, "identifier": [mrn]} | more


def two_versions(web: TestClient) -> str:
    """The id of a patient of version 2 that nobody else changes."""
    found = f"p{next(NUMBERS)}"
    for gender, status in (("female", 201), ("male", 200)):
        answer = send(web, "PUT", f"/Patient/{found}", content=json.dumps(person(found, gender=gender)))
        assert answer.status_code == status
    return found


@pytest.fixture
def name(web: TestClient) -> str:
    return two_versions(web)


@pytest.fixture
def gone(web: TestClient, name: str) -> str:
    """One that was deleted as version 3."""
    assert send(web, "DELETE", f"/Patient/{name}").status_code == 204
    return name


def where(name: str) -> str:
    return f"/Patient?identifier=http://m.example|{name}"


def update(web: TestClient, name: str, path: str = "", *, anonymous: bool = False, **headers: str) -> Any:
    body = person(name, gender="other")
    if anonymous:
        del body["id"]
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return send(web, "PUT", path or f"/Patient/{name}", content=json.dumps(body), headers=sent)


def version(web: TestClient, name: str) -> str:
    tag: str = send(web, "GET", f"/Patient/{name}/_history").json()["entry"][0]["response"]["etag"]
    return tag


HELD: list[tuple[dict[str, str], int]] = [
    ({"if_match": 'W/"2"'}, 200),
    ({"if_match": '"2"'}, 200),
    ({"if_match": 'W/"1", "7" ,W/"2"'}, 200),
    ({"if_match": "*"}, 200),
    ({"if_match": 'W/"1"'}, 412),
    ({"if_match": '"x"'}, 412),
    ({"if_match": '""'}, 412),
    ({"if_none_match": "*"}, 412),
    ({"if_none_match": 'W/"2"'}, 412),
    ({"if_none_match": '"1", "2"'}, 412),
    ({"if_none_match": 'W/"1"'}, 200),
    ({"if_match": 'W/"2"', "if_none_match": "*"}, 412),
    ({"if_match": 'W/"2"', "if_none_match": 'W/"1"'}, 200),
    ({"if_unmodified_since": LATER}, 200),
    ({"if_unmodified_since": EARLIER}, 412),
    ({"if_match": 'W/"2"', "if_unmodified_since": EARLIER}, 200),
    ({"if_match": "2"}, 400),
    ({"if_match": ""}, 400),
    ({"if_none_match": "W/2"}, 400),
    ({"if_match": '*, "2"'}, 400),
    ({"if_unmodified_since": "yesterday"}, 400),
    ({"if_unmodified_since": f"{LATER}, {LATER}"}, 400),
    ({"if_modified_since": EARLIER}, 400),
    ({"if_none_exist": "identifier=x"}, 400),
]


@pytest.mark.parametrize("door", ["PUT", "PUT where", "DELETE", "DELETE where"])
def test_each_write_looks_at_what_is_there(web: TestClient, door: str) -> None:
    method, _, by_search = door.partition(" ")
    name = ""
    for headers, status in HELD:
        name = name or two_versions(web)
        path = where(name) if by_search else f"/Patient/{name}"
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        if method == "PUT":
            answer = update(web, name, path, anonymous=bool(by_search), **headers)
        else:
            answer = send(web, "DELETE", path, headers=sent)
        expected = 204 if (method, status) == ("DELETE", 200) else status
        assert answer.status_code == expected, (headers, answer.text)
        assert version(web, name) == ('W/"3"' if status == 200 else 'W/"2"'), headers
        if status == 400:
            assert next(iter(sent)) in outcome(answer)["diagnostics"]
        name = "" if status == 200 else name


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_match": "*"}, 412),
        ({"if_match": 'W/"3"'}, 412),
        ({"if_none_match": "*"}, 201),
        ({"if_none_match": 'W/"3"'}, 201),
        ({"if_unmodified_since": EARLIER}, 412),
        ({"if_unmodified_since": LATER}, 201),
        ({}, 201),
    ],
)
def test_what_was_deleted_is_not_there(web: TestClient, gone: str, headers: dict[str, str], status: int) -> None:
    assert update(web, gone, **headers).status_code == status


def test_what_never_was_has_no_version_and_no_date(web: TestClient) -> None:
    for headers, status in (
        ({"if_match": "*"}, 412),
        ({"if_match": 'W/"1"'}, 412),
        ({"if_none_match": "*"}, 201),
        ({"if_unmodified_since": EARLIER}, 201),
    ):
        name = f"new{next(NUMBERS)}"
        assert update(web, name, **headers).status_code == status
        found = where(f"new{next(NUMBERS)}")
        assert update(web, name, found, anonymous=True, **headers).status_code == status
    missing = where("nobody")
    assert send(web, "DELETE", missing, headers={"if-match": "*"}).status_code == 412
    assert send(web, "DELETE", missing, headers={"if-none-match": "*"}).status_code == 204


def test_a_deletion_of_what_is_gone_looks_too(web: TestClient, gone: str) -> None:
    for headers, status in (({"if-match": "*"}, 412), ({"if-match": 'W/"3"'}, 412), ({}, 204)):
        assert send(web, "DELETE", f"/Patient/{gone}", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": 'W/"2"'}, 304),
        ({"if-none-match": '"1", "2"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": 'W/"1"'}, 200),
        ({"if-none-match": 'W/"1"', "if-modified-since": LATER}, 200),
        ({"if-modified-since": LATER}, 304),
        ({"if-modified-since": EARLIER}, 200),
        ({"if-modified-since": "nonsense"}, 200),
        ({"if-match": 'W/"2"'}, 200),
        ({"if-match": 'W/"1"'}, 412),
        ({"if-match": "nonsense"}, 400),
        ({"if-unmodified-since": EARLIER}, 412),
        ({"if-none-exist": "identifier=1"}, 400),
    ],
)
def test_reads_of_one_version_answer_what_is_known_already(
    web: TestClient, hospital: Hospital, name: str, headers: dict[str, str], status: int
) -> None:
    for path in (f"/Patient/{name}", f"/Patient/{name}/_history/2"):
        before = len(hospital.trail.events)
        answer = send(web, "GET", path, headers=headers)
        assert answer.status_code == status
        if status != 400:  # whatever it is answered: it was decided and logged as a read
            assert [event.action for event in hospital.trail.events[before:]] == [Action.READ]
        if status == 304:
            assert (answer.content, answer.headers["etag"]) == (b"", 'W/"2"')
            assert answer.headers["last-modified"] == LATER


def test_what_is_no_single_version_has_nothing_to_hold_a_tag_against(web: TestClient, name: str) -> None:
    for path in (f"/Patient/{name}/_history", where(name), f"/Patient/{name}/$everything"):
        assert send(web, "GET", path, headers={"if-none-match": "*", "if-modified-since": LATER}).status_code == 200
        for field in ("if-match", "if-unmodified-since", "if-none-exist"):
            refused = send(web, "GET", path, headers={field: "*"})
            assert (refused.status_code, field in outcome(refused)["diagnostics"]) == (400, True)


@pytest.mark.parametrize("field", ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
@pytest.mark.parametrize("path", ["/Patient", "", "/$import", "/Patient/_search", "/$import-jobs/x"])
def test_a_door_that_looks_at_none_refuses_each_by_name(web: TestClient, field: str, path: str) -> None:
    method = "DELETE" if "jobs" in path else "POST"
    refused = send(web, method, path, content=b"{}", headers={field: "*"})
    assert (refused.status_code, field in outcome(refused)["diagnostics"]) == (400, True)
    assert send(web, method, path, "nobody", content=b"{}", headers={field: "*"}).status_code == 401


def test_a_create_takes_one_condition(web: TestClient, name: str) -> None:
    body = json.dumps(person(name))
    for path, headers in (
        ("/Patient", {"if-none-exist": ""}),
        (where(name), {"if-none-exist": f"identifier=http://m.example|{name}"}),
    ):
        assert send(web, "POST", path, content=body, headers=headers).status_code == 400
    assert send(web, "GET", where(name)).json()["total"] == 1


def test_entries_of_a_batch_look_as_requests_do(web: TestClient, name: str) -> None:
    def put(url: str, **asked: str) -> dict[str, Any]:
        return entry("PUT", url, person(name, gender="other"), **asked)

    own, found = f"Patient/{name}", where(name)[1:]
    answers = batch(
        web,
        put(own, ifMatch='W/"1"'),
        put(found, ifMatch='W/"99"'),
        put(own, ifNoneMatch="*"),
        put(found, ifNoneMatch='W/"2"'),
        put(own, ifModifiedSince="2026-01-01T00:00:00Z"),
        put(own, ifNoneExist="identifier=1"),
        put(own, ifMatch=""),
        put(own, ifMatch="2"),
        put(own, ifUnmodifiedSince="2026-01-01T00:00:00Z"),
        entry("POST", "Patient", person(name), ifMatch="*"),
        entry("GET", own, ifNoneMatch='W/"2"'),
        entry("GET", own, ifNoneMatch='W/"1"'),
        entry("GET", own, ifModifiedSince="2026-01-01T00:00:00.000Z"),
        entry("GET", own, ifModifiedSince="2025-12-31T23:59:59Z"),
        entry("GET", own, ifModifiedSince="2026"),
        entry("GET", own, ifMatch='W/"1"'),
        entry("GET", found, ifMatch="*"),
        entry("DELETE", found, ifMatch='W/"1"'),
        entry("DELETE", own, ifNoneMatch="*"),
        put(f"{own}?_format=json"),
        put(own, ifMatch='W/"2"'),
        entry("DELETE", found, ifMatch='W/"3"'),
    )
    expected = "412 412 412 412 400 400 400 400 400 400 304 200 304 200 400 412 400 412 412 400 200 204"
    assert batch_statuses(answers) == expected.split()
    known = answers.json()["entry"][10]
    assert ("resource" in known, known["response"]["etag"]) == (False, 'W/"2"')


def test_one_precondition_that_does_not_hold_fails_a_whole_transaction(
    web: TestClient, hospital: Hospital, name: str
) -> None:
    own, found, changed = f"Patient/{name}", where(name)[1:], person(name, gender="other")
    beside = entry("PUT", "Patient/beside", person("beside"))
    for asked, status in (
        (entry("PUT", own, changed, ifMatch='W/"1"'), 412),
        (entry("PUT", own, changed, ifNoneMatch="*"), 412),
        (entry("PUT", found, changed, ifMatch='W/"1"'), 412),
        (entry("DELETE", own, ifMatch='W/"1"'), 412),
        (entry("DELETE", found, ifNoneMatch='W/"2"'), 412),
        (entry("DELETE", where("nobody")[1:], ifMatch="*"), 412),
        (entry("PUT", "Patient/never", person("never"), ifMatch="*"), 412),
        (entry("GET", own, ifMatch='W/"1"'), 412),
        (entry("PUT", own, changed, ifModifiedSince="2026-01-01T00:00:00Z"), 400),
        (entry("PUT", own, changed, ifMatch="2"), 400),
        (entry("PUT", own, changed, ifUnmodifiedSince="2026-01-01T00:00:00Z"), 400),
        (entry("POST", "Patient", changed, ifNoneMatch="*"), 400),
    ):
        before = len(hospital.trail.events)
        refused = transact(web, beside, asked)
        assert refused.status_code == status, (asked, refused.text)
        assert "Bundle.entry[1]" in refused.text or asked["request"]["method"] == "GET"
        assert status == 400 or hospital.trail.events[before:]
    assert send(web, "GET", "/Patient/beside").status_code == 404
    assert version(web, name) == 'W/"2"'
    known = entry("GET", own, ifNoneMatch='W/"2"')
    assert statuses(done(web, known)) == "304"
    assert statuses(done(web, entry("PUT", own, changed, ifMatch='W/"2"', ifNoneMatch='W/"1"'))) == "200"
    assert statuses(done(web, entry("DELETE", found, ifMatch="*"))) == "204"
    assert statuses(done(web, entry("PUT", own, changed, ifNoneMatch="*"))) == "201"  # it was deleted: it begins anew


def test_a_status_says_what_the_write_did(web: TestClient, gone: str) -> None:
    assert update(web, gone).status_code == 201
    assert update(web, gone).status_code == 200
    assert send(web, "DELETE", f"/Patient/{gone}").status_code == 204
    assert statuses(done(web, entry("PUT", f"Patient/{gone}", person(gone)))) == "201"
    assert statuses(done(web, entry("PUT", f"Patient/{gone}", person(gone)))) == "200"
    assert batch_statuses(batch(web, entry("DELETE", f"Patient/{gone}"))) == ["204"]
    assert batch_statuses(batch(web, entry("PUT", f"Patient/{gone}", person(gone)))) == ["201"]


def test_who_may_not_write_a_patient_is_told_nothing_by_a_precondition(
    web: TestClient, hospital: Hospital, name: str
) -> None:
    twin = hospital.twins.find(f"Patient/{name}")
    hospital.consent(twin, Provision(effect="deny", categories=(Category.DEMOGRAPHICS,)))
    asked = [{"if_match": 'W/"1"'}, {"if_match": 'W/"2"'}, {"if_none_match": "*"}, {"if_unmodified_since": EARLIER}, {}]
    told = {outcome(update(web, name, **one))["diagnostics"] for one in asked}
    told |= {
        outcome(send(web, "DELETE", f"/Patient/{name}", headers={"if-match": tag}))["diagnostics"]
        for tag in ('W/"1"', 'W/"2"')
    }
    assert len(told) == 1
    reads = {send(web, "GET", f"/Patient/{name}", headers=one).status_code for one in ({"if-none-match": "*"}, {})}
    assert reads == {403}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/Patient/x?foo=1"),
        ("PUT", "/Patient/x?_summary=true"),
        ("DELETE", "/Patient/x?foo=1"),
        ("POST", "?foo=1"),
        ("GET", "/metadata?foo=1"),
        ("GET", "/metadata?mode=normative"),
        ("PUT", "/Patient?identifier=1&foo=1"),
        ("DELETE", "/Patient?identifier=1&foo=1"),
    ],
)
def test_parameters_that_a_request_does_not_have_are_refused_by_name(web: TestClient, method: str, path: str) -> None:
    bundle = {"resourceType": "Bundle", "type": "transaction"}
    content = json.dumps(bundle if method == "POST" else person("x"))
    refused = send(web, method, path, content=content)
    assert refused.status_code == 400
    assert path.rpartition("=")[0].rpartition("&")[2].rpartition("?")[2] in outcome(refused)["diagnostics"]


def test_wishes_are_taken_everywhere(web: TestClient, name: str) -> None:
    assert update(web, name, f"/Patient/{name}?_format=json&_pretty=true").status_code == 200
    assert send(web, "GET", "/metadata?mode=full&_format=json").status_code == 200
    assert send(web, "DELETE", f"/Patient/{name}?_pretty=true").status_code == 204
