"""Transactions over HTTP: a POST creates, placeholders live in one bundle, and all of it is done or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import PATIENT, outcome, send
from twinward.fhir.rest import entries
from twinward.fhir.rest.entries import MOST_READS
from twinward.fhir.validation.validator import validate

P = "urn:uuid:11111111-2222-4333-8444-555555555555"
BASE = "http://testserver/fhir"
ORG = {"resourceType": "Organization", "name": "O", "identifier": [{"system": "http://o.example", "value": "7"}]}
SAME = "identifier=http://o.example|7"


def entry(method: str, url: str, resource: Any = None, full_url: str = "", **more: str) -> dict[str, Any]:
    built: dict[str, Any] = {"request": {"method": method, "url": url} | more}
    built |= {} if resource is None else {"resource": resource}
    return built | ({"fullUrl": full_url} if full_url else {})


def post(resource: dict[str, Any], full_url: str = "", **more: str) -> dict[str, Any]:
    return entry("POST", resource["resourceType"], resource, full_url, **more)


def observed(reference: Any, **more: Any) -> dict[str, Any]:
    subject = reference if isinstance(reference, dict) else {"reference": reference}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "puff"}, "subject": subject, **more}


def transact(web: TestClient, *entries: dict[str, Any], who: str = "clinician") -> Any:
    body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": list(entries)})
    return send(web, "POST", "", who, content=body)


def done(web: TestClient, *entries: dict[str, Any], who: str = "clinician") -> list[dict[str, Any]]:
    answer = transact(web, *entries, who=who)
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    validate(bundle)
    assert bundle["type"] == "transaction-response"
    found: list[dict[str, Any]] = bundle.get("entry", [])
    return found


def references(entries: list[dict[str, Any]]) -> list[str]:
    return [one["response"]["location"].split("/_history")[0] for one in entries]


def statuses(entries: list[dict[str, Any]]) -> str:
    return " ".join(one["response"]["status"][:3] for one in entries)


def total(web: TestClient, query: str) -> int:
    found = send(web, "GET", query).json()
    return sum(one["search"]["mode"] == "match" for one in found.get("entry", []))


@pytest.fixture
def known(web: TestClient) -> TestClient:
    assert send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT)).status_code == 201
    return web


def test_a_post_creates_whatever_its_placeholder_id_or_bytes(web: TestClient, hospital: Hospital) -> None:
    person = {"resourceType": "Patient", "id": "mine", "name": [{"family": "A"}]}
    sent = [post(person, P), post(observed(P)), post(observed("Patient/mine"))]
    first, second = references(done(web, *sent)), references(done(web, *sent))
    assert len({*first, *second}) == 6
    assert len(hospital.twins.all()) == 2
    for patient, *observations in (first, second):
        assert total(web, f"/Observation?patient={patient}") == 2
        for one in observations:
            assert send(web, "GET", f"/{one}").json()["subject"]["reference"] == patient
    assert send(web, "GET", "/Patient/mine").status_code == 404


def test_several_patients_go_in_together_or_none(web: TestClient, hospital: Hospital) -> None:
    other = P.replace("1", "2")
    sent = [post({"resourceType": "Patient"}, P), post({"resourceType": "Patient"}, other), post(observed(other))]
    before = len(hospital.trail.events)
    made = references(done(web, *sent))
    assert len(hospital.trail.events) > before
    assert (total(web, f"/Observation?patient={made[0]}"), total(web, f"/Observation?patient={made[1]}")) == (0, 1)
    refused = transact(web, *sent, post(observed("Patient/nobody")))
    assert refused.status_code == 404
    taken = transact(web, *sent, entry("PUT", made[2], observed(P, id=made[2].partition("/")[2])))
    assert taken.status_code == 409
    assert len(hospital.twins.all()) == 2


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "urn:uuid:00000000-0000-4000-8000-0000000000ff"},
        {"reference": "https://other.example/fhir/Patient/999"},
        {"reference": "https://other.example/fhir/Patient/p"},
        {"identifier": {"system": "http://m.example", "value": "somebody"}},
        {"display": "Anna"},
        {"reference": "Patient?identifier=http://m.example|nobody"},
        {"reference": "#p"},
    ],
)
def test_whose_record_nobody_can_tell_fails_the_transaction(web: TestClient, hospital: Hospital, subject: Any) -> None:
    answer = transact(web, post({"resourceType": "Patient"}, P), post(observed(subject)))
    assert answer.status_code == 400
    assert outcome(answer)["expression"][0].startswith("Bundle.entry[1].resource")
    assert hospital.twins.all() == []


def test_if_none_exist_is_honoured_for_every_type(known: TestClient) -> None:
    for kind in (ORG, observed("Patient/p", identifier=ORG["identifier"]), PATIENT | {"identifier": ORG["identifier"]}):
        made = [references(done(known, post(kind, P, ifNoneExist=SAME)))[0] for _ in range(3)]
        assert len(set(made)) == 1
    by = PATIENT | {"managingOrganization": {"reference": P}}
    again = done(known, post(ORG, P, ifNoneExist=SAME), entry("PUT", "Patient/p", by))
    assert statuses(again) == "200 200"
    kept = send(known, "GET", "/Patient/p").json()["managingOrganization"]["reference"]
    assert kept == references(again)[0]
    twice = transact(known, *[post(ORG, ifNoneExist="identifier=http://o.example|8")] * 2)
    assert twice.status_code == 400
    send(known, "POST", "/Organization", content=json.dumps(ORG))
    assert transact(known, post(ORG, ifNoneExist=SAME)).status_code == 412


def test_who_may_not_read_is_told_that_there_is_one_and_not_which(known: TestClient) -> None:
    assert statuses(done(known, post(ORG, P, ifNoneExist=SAME), who="system")) == "201"
    (again,) = done(known, post(ORG, P, ifNoneExist=SAME), who="system")
    assert again["response"] == {"status": "200 OK"}
    by = PATIENT | {"managingOrganization": {"reference": P}}
    linked = transact(known, post(ORG, P, ifNoneExist=SAME), entry("PUT", "Patient/p", by), who="system")
    assert linked.status_code == 403


def test_conditional_references_are_resolved_or_fail(known: TestClient) -> None:
    by = {"managingOrganization": {"reference": f"Organization?{SAME}"}}
    assert transact(known, post({"resourceType": "Patient"} | by)).status_code == 400
    assert transact(known, entry("PUT", "Patient/p", PATIENT | by)).status_code == 400
    together = references(done(known, post({"resourceType": "Patient"} | by), post(ORG)))
    assert send(known, "GET", f"/{together[0]}").json()["managingOrganization"]["reference"] == together[1]
    later = references(done(known, post({"resourceType": "Patient"} | by)))
    assert send(known, "GET", f"/{later[0]}").json()["managingOrganization"]["reference"] == together[1]
    assert transact(known, post({"resourceType": "Patient"} | by), post(ORG)).status_code == 412
    alone = send(known, "PUT", "/Patient/p", content=json.dumps(PATIENT | by))
    assert (alone.status_code, "by a search" in outcome(alone)["diagnostics"]) == (400, True)


def test_puts_deletions_and_reads_happen_in_their_order(known: TestClient) -> None:
    kept = [references(done(known, post(observed("Patient/p"))))[0] for _ in range(2)]
    answers = done(
        known,
        entry("GET", kept[1]),
        entry("GET", "Observation?patient=p"),
        entry("GET", f"{kept[0]}/_history"),
        entry("GET", "Patient/p"),
        entry("GET", "metadata"),
        entry("PUT", "Patient/p", PATIENT | {"active": True}),
        entry("DELETE", kept[0]),
        entry("DELETE", "Observation?patient=p&status=cancelled"),
        entry("PUT", "Organization?" + SAME, ORG),
        entry("PUT", "Patient/p2", PATIENT | {"id": "p2"}),
    )
    assert statuses(answers) == "200 200 200 200 200 200 204 204 201 201"
    assert answers[1]["resource"]["total"] == 1
    assert [one["request"]["method"] for one in answers[2]["resource"]["entry"]] == ["DELETE", "PUT"]
    assert answers[3]["resource"]["active"] is True
    assert answers[4]["resource"]["resourceType"] == "CapabilityStatement"
    assert send(known, "GET", f"/{kept[0]}").status_code == 410
    assert (
        statuses(done(known, entry("DELETE", kept[0]), entry("PUT", "Patient/p", PATIENT | {"active": True})))
        == "204 200"
    )


def test_what_cannot_be_done_undoes_the_rest(known: TestClient, hospital: Hospital) -> None:
    change = entry("PUT", "Patient/p", PATIENT | {"active": True})
    wrong = [
        (entry("GET", "Observation/never"), 404),
        (entry("DELETE", "Observation/never"), 404),
        (entry("DELETE", "Patient/p"), 400),
        (entry("DELETE", "Nonsense/1"), 400),
        (entry("PATCH", "Patient/p", PATIENT), 400),
        ({"resource": PATIENT | {"id": "q"}}, 400),
        (entry("PUT", "Patient/q", PATIENT), 400),
        (entry("POST", "Patient", PATIENT, "Patient/q"), 400),
        (entry("POST", "Patient", PATIENT | {"gender": 7}), 400),
        (post(PATIENT, ifNoneExist=""), 400),
        (post(PATIENT, ifNoneExist="nonsense=1"), 400),
    ]
    for one, status in wrong:
        assert transact(known, change, one).status_code == status, one
    assert "active" not in send(known, "GET", "/Patient/p").json()
    assert len(hospital.twins.all()) == 1


def test_this_nodes_own_address_is_the_relative_reference_and_no_other_is(known: TestClient) -> None:
    own = observed(f"{BASE}/Patient/p", performer=[{"reference": "https://other.example/fhir/Practitioner/d"}])
    send(known, "PUT", "/Practitioner/d", content=json.dumps({"resourceType": "Practitioner", "id": "d"}))
    single = send(known, "POST", "/Observation", content=json.dumps(own))
    together = references(done(known, post(own)))[0]
    alone = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": [post(own)]})
    batched = send(known, "POST", "", content=alone)
    names = [f"Observation/{single.json()['id']}", together, *references(batched.json()["entry"])]
    for name in names:
        kept = send(known, "GET", f"/{name}").json()
        assert kept["subject"]["reference"] == "Patient/p"
        assert kept["performer"] == own["performer"]
    assert total(known, f"/Observation?patient={BASE}/Patient/p") == 3
    assert send(known, "GET", "/Observation?patient=https://other.example/fhir/Patient/p").status_code == 400
    found = send(known, "GET", "/Observation?patient=p&_include=Observation:performer").json()
    assert "include" not in {one["search"]["mode"] for one in found["entry"]}
    for asked, count in (
        ("https://third.example/fhir/Practitioner/d", 0),
        ("https://other.example/fhir/Practitioner/d", 3),
        (f"{BASE}/Practitioner/d", 0),
        ("Practitioner/d", 0),
        ("d", 0),
    ):
        assert total(known, f"/Observation?patient=p&performer={asked}") == count, asked


def test_entries_of_a_batch_stand_alone(known: TestClient) -> None:
    sent = [
        post({"resourceType": "Patient"}, P),
        post(observed("Patient/p", hasMember=[{"reference": P}])),
        post(observed("Patient/p"), "Observation/relative"),
        entry("GET", "metadata"),
        entry("GET", "Patient/p/_history"),
        entry("GET", "Patient/p/_history/1"),
        entry("GET", "Patient/p/_history/9"),
        entry("GET", "Patient/p?_elements=gender"),
        entry("GET", f"{BASE}/Patient/p"),
        entry("GET", "Patient/p/$everything"),
    ]
    answer = send(known, "POST", "", content=json.dumps({"resourceType": "Bundle", "type": "batch", "entry": sent}))
    answers = answer.json()["entry"]
    assert statuses(answers) == "201 400 400 200 200 200 404 200 200 200"
    for index, path in ((4, "/Patient/p/_history"), (5, "/Patient/p/_history/1"), (7, "/Patient/p?_elements=gender")):
        assert answers[index]["resource"] == send(known, "GET", path).json()


def test_who_may_not_write_learns_nothing_by_a_transaction(known: TestClient, hospital: Hospital) -> None:
    before = len(hospital.trail.events)
    asked = (entry("DELETE", "Observation/never"), post(ORG, ifNoneExist=SAME), post(observed("Patient/p")))
    for one in (*asked, post(observed("Patient/p") | {"status": 17})):
        assert transact(known, one, who="vendor").status_code == 403
    assert {event.decision for event in hospital.trail.events[before:]} == {"deny"}


def test_what_comes_along_with_a_question_is_not_looked_at(known: TestClient) -> None:
    for along in (["versionId"], "versionId", 5, {"meta": ["versionId"]}):
        assert transact(known, entry("GET", "Patient/p", along)).status_code == 200


def test_a_bundle_reads_so_much_and_no_more(web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of 50 bytes reads all of a patient, and nobody else's transaction goes on meanwhile."""
    assert send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT)).status_code == 201
    read = entry("GET", "Patient/p/$everything")
    many = transact(web, *[read] * (MOST_READS + 1), post(ORG))
    assert (many.status_code, outcome(many)["code"]) == (400, "too-costly")
    assert statuses(done(web, read, read, post(ORG))) == "200 200 201"

    monkeypatch.setattr(entries, "MOST_BYTES", 100)
    much = transact(web, read, post(ORG))
    assert (much.status_code, outcome(much)["code"]) == (400, "too-costly")
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry("GET", "metadata"), post(ORG)]}
    answer = send(web, "POST", "", content=json.dumps(batch)).json()
    assert statuses(answer["entry"]) == "400 201"
