"""How a search is shown: in which order, with what beside it, and which part of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.door import Door
from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import PATIENT, outcome, send
from twinward.fhir.validation.validator import validate


def observation(name: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/p"},
    } | more


RESOURCES: list[dict[str, Any]] = [
    PATIENT | {"birthDate": "1970-01-01", "name": [{"family": "P"}], "_birthDate": {"id": "b"}},
    PATIENT | {"id": "q"},
    {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Lee"}]},
    {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"},
        "participant": [{"individual": {"reference": "Practitioner/dr"}}],
    },
    observation(
        "o1",
        effectiveDateTime="2024-03-01",
        encounter={"reference": "Encounter/e"},
        performer=[{"reference": "Practitioner/dr"}, {"reference": "Practitioner/nobody"}],
        text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
        note=[{"text": "n"}],
    ),
    observation("o2", effectiveDateTime="2024-01-01"),
    observation("o3"),
    observation("o4", effectivePeriod={"start": "2024-02-01", "end": "2024-05-01"}),
    observation("s", category=[{"coding": [{"code": "survey"}]}], subject={"reference": "Patient/q"}),
    {
        "resourceType": "Provenance",
        "id": "pr",
        "recorded": "2024-01-01T00:00:00Z",
        "target": [{"reference": "Observation/o1"}],
        "agent": [{"who": {"reference": "Practitioner/dr"}}],
        "patient": {"reference": "Patient/p"},
    },
]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """One for all tests of this file: what they add they delete."""
    house = Hospital(tmp_path_factory.mktemp("shapes"))
    yield house
    house.close()


@pytest.fixture(scope="module")
def ward(door: Door, hospital: Hospital) -> TestClient:
    web = door.open_to(hospital)
    for one in RESOURCES[:-1]:
        hospital.clock.advance(1000)
        answer = send(web, "PUT", f"/{one['resourceType']}/{one['id']}", content=json.dumps(one))
        assert answer.status_code == 201, answer.text
    # R4's Provenance names its patient nowhere: it comes with the patient it is about.
    provenance = {name: value for name, value in RESOURCES[-1].items() if name != "patient"}
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in (RESOURCES[0], provenance)
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert send(web, "POST", "", content=json.dumps(bundle)).status_code == 200
    return web


def shown(web: TestClient, query: str, mode: str = "match", **more: Any) -> list[str]:
    answer = send(web, "GET", query, **more)
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    validate(bundle)
    return [one["resource"]["id"] for one in bundle.get("entry", []) if one["search"]["mode"] == mode]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("date", "o2 o4 o1 o3"),
        ("-date", "o4 o1 o2 o3"),
        ("_lastUpdated", "o1 o2 o3 o4"),
        ("-_lastUpdated", "o4 o3 o2 o1"),
        ("-_id", "o4 o3 o2 o1"),
        ("status,-date", "o4 o1 o2 o3"),
    ],
)
def test_matches_come_in_the_order_asked_for_over_all_pages(ward: TestClient, sort: str, expected: str) -> None:
    assert shown(ward, f"/Observation?patient=p&_sort={sort}") == expected.split()
    found: list[str] = []
    url = f"/Observation?patient=p&_sort={sort}&_count=3"
    while url:
        bundle = send(ward, "GET", url).json()
        found += [one["resource"]["id"] for one in bundle.get("entry", []) if one["search"]["mode"] == "match"]
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        url = following[0].partition("/fhir")[2] if following else ""
    assert found == expected.split()


@pytest.mark.parametrize(
    "query",
    [
        "Observation?patient=p&_sort=nonsense",
        "Observation?patient=p&_sort=subject",
        "Observation?patient=p&_sort=" + ",".join(["date"] * 9),
        "Observation?patient=p&_include=Observation:nonsense",
        "Observation?patient=p&_include=Encounter:participant",
        "Observation?patient=p&_include=*",
        "Observation?patient=p&_include:iterate=Observation:subject",
        "Observation?patient=p&_revinclude=Observation:encounter",
        "Observation?patient=p&_summary=everything",
        "Observation?patient=p&_elements=a.b",
        "Observation?patient=p&_elements=code&_summary=text",
    ],
)
def test_what_is_not_served_is_refused_by_name(ward: TestClient, query: str) -> None:
    answer = send(ward, "GET", f"/{query}")
    assert answer.status_code == 400
    outcome(answer)


@pytest.mark.parametrize(
    ("query", "included"),
    [
        ("Observation?_id=o1&_include=Observation:subject", "p"),
        ("Observation?_id=o1&_include=Observation:patient", "p"),
        ("Observation?_id=o1&_include=Observation:performer", "dr"),
        ("Observation?_id=o1&_include=Observation:encounter&_include=Observation:performer", "dr e"),
        ("Observation?_id=o1&_include=Observation:subject:Patient", "p"),
        ("Observation?_id=o1&_include=Observation:subject:Group", ""),
        ("Observation?_id=o2&_include=Observation:encounter", ""),
        ("Observation?patient=p&_revinclude=Provenance:target", "pr"),
        ("Observation?_id=o2&_revinclude=Provenance:target", ""),
        ("Encounter?patient=p&_include=Encounter:participant", "dr"),
        ("Observation?patient=p&encounter=e&_include=Observation:encounter", "e"),
    ],
)
def test_what_comes_along(ward: TestClient, query: str, included: str) -> None:
    assert sorted(shown(ward, f"/{query}", "include")) == included.split()


def test_what_matches_does_not_come_along_again(ward: TestClient) -> None:
    panel = observation("panel", hasMember=[{"reference": "Observation/o1"}, {"reference": "Observation/o2"}])
    assert send(ward, "PUT", "/Observation/panel", content=json.dumps(panel)).status_code == 201
    query = "/Observation?_id=o1,panel&_include=Observation:has-member"
    assert (shown(ward, query), shown(ward, query, "include")) == (["o1", "panel"], ["o2"])
    assert send(ward, "DELETE", "/Observation/panel").status_code == 204


def test_what_comes_along_is_an_access(ward: TestClient, hospital: Hospital) -> None:
    before = len(hospital.trail.events)
    shown(ward, "/Observation?_id=o1&_include=Observation:subject&_include=Observation:performer")
    assert len(hospital.trail.events) - before == 3  # the match, its patient, its performer


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("patient=p&encounter=Encounter/e", "o1"),
        ("patient=p&encounter=e", "o1"),
        ("patient=p&encounter=Encounter/f", ""),
        ("patient=p&performer=Practitioner/nobody", "o1"),
        ("performer=Practitioner/dr", "o1"),
    ],
)
def test_references_are_searched(ward: TestClient, query: str, expected: str) -> None:
    assert shown(ward, f"/Observation?{query}") == expected.split()


ALWAYS = {"resourceType", "id", "meta"}


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        ("_elements=subject", {"status", "code", "subject"}),
        ("_elements=subject,effectiveDateTime", {"status", "code", "subject", "effectiveDateTime"}),
        ("_summary=text", {"status", "code", "text"}),
        ("_summary=true", {"status", "code", "subject", "effectiveDateTime", "encounter", "performer"}),
        (
            "_summary=data",
            {"status", "code", "subject", "effectiveDateTime", "encounter", "performer", "note"},
        ),
    ],
)
@pytest.mark.parametrize("address", ["/Observation?_id=o1&", "/Observation/o1?"])
def test_a_part_of_a_resource_is_marked_as_one(ward: TestClient, address: str, part: str, kept: set[str]) -> None:
    body = send(ward, "GET", address + part).json()
    resource = body["entry"][0]["resource"] if body["resourceType"] == "Bundle" else body
    assert set(resource) == kept | ALWAYS
    assert resource["meta"]["tag"][-1]["code"] == "SUBSETTED"
    validate(resource)


def test_an_extended_element_keeps_its_extension_and_digits_their_bytes(ward: TestClient) -> None:
    resource = send(ward, "GET", "/Patient/p?_elements=birthDate").json()
    assert set(resource) == ALWAYS | {"birthDate", "_birthDate"}
    dose = observation("d", valueQuantity={"value": 1, "unit": "g"}, meta={"tag": [{"code": "t"}]})
    exact = json.dumps(dose).replace('"value": 1', '"value": 1.10e+1')
    assert send(ward, "PUT", "/Observation/d", content=exact).status_code == 201
    part = send(ward, "GET", "/Observation/d?_elements=valueQuantity")
    assert b'"value": 1.10e+1' in part.content
    assert [tag["code"] for tag in part.json()["meta"]["tag"]] == ["t", "SUBSETTED"]
    assert send(ward, "DELETE", "/Observation/d").status_code == 204


def test_a_count_shows_nothing(ward: TestClient) -> None:
    bundle = send(ward, "GET", "/Observation?patient=p&_summary=count").json()
    assert bundle["total"] == 4
    assert [one["search"]["mode"] for one in bundle["entry"]] == ["outcome"]  # what is withheld is not counted


def test_the_whole_is_not_marked(ward: TestClient) -> None:
    assert "tag" not in send(ward, "GET", "/Observation/o1?_summary=false").json()["meta"]
