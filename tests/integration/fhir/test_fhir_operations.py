"""$everything, histories and reads: what they take, page by page, and what they refuse by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import PATIENT, outcome, principal_of, send
from twinward.api.fhir import fhir_router
from twinward.fhir.validation.validator import validate

HYPERTENSION = {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]}
CLINICAL = "http://terminology.hl7.org/CodeSystem"
EVERYTHING = "/Patient/anna/$everything"
ABOUT = {"subject": {"reference": "Patient/anna"}}


def observation(name: str, when: dict[str, Any]) -> dict[str, Any]:
    return ABOUT | {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": "x"}} | when


RESOURCES: list[dict[str, Any]] = [
    observation("old", {"effectiveDateTime": "2001-05-05"}),
    PATIENT | {"id": "anna", "birthDate": "1950-01-01"},
    observation("open", {"effectivePeriod": {"start": "2010"}}),
    observation("undated", {}),
    ABOUT | {"resourceType": "Condition", "id": "lasting", "code": HYPERTENSION, "onsetDateTime": "2003"},
    ABOUT
    | {
        "resourceType": "Condition",
        "id": "abated",
        "code": HYPERTENSION,
        "onsetDateTime": "2003",
        "abatementDateTime": "2005",
        "clinicalStatus": {"coding": [{"system": f"{CLINICAL}/condition-clinical", "code": "resolved"}]},
    },
    {
        "resourceType": "AllergyIntolerance",
        "id": "allergy",
        "patient": {"reference": "Patient/anna"},
        "recordedDate": "2020-01-01",
        "clinicalStatus": {"coding": [{"system": f"{CLINICAL}/allergyintolerance-clinical", "code": "active"}]},
    },
]


def put(web: TestClient, resource: dict[str, Any]) -> None:
    answer = send(web, "PUT", f"/{resource['resourceType']}/{resource['id']}", content=json.dumps(resource))
    assert answer.status_code in (200, 201), answer.text


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    hospital = Hospital(tmp_path_factory.mktemp("ward"))
    yield hospital
    hospital.close()


@pytest.fixture(scope="module")
def ward(house: Hospital) -> TestClient:
    """Anna, with one resource a second; the open Observation was written three times, and one was deleted."""
    app = FastAPI()
    app.include_router(fhir_router(house.fhir, principal_of))
    web = TestClient(app, raise_server_exceptions=False)
    put(web, RESOURCES[1])
    for one in RESOURCES:
        house.clock.advance(1000)
        put(web, one)
    for status in ("amended", "corrected"):
        house.clock.advance(1000)
        put(web, RESOURCES[2] | {"status": status})
    put(web, observation("gone", {}))
    assert send(web, "DELETE", "/Observation/gone").status_code == 204
    return web


def shown(bundle: dict[str, Any]) -> list[str]:
    validate(bundle)
    return [one["resource"]["id"] for one in bundle.get("entry", []) if one["search"]["mode"] == "match"]


def next_page(bundle: dict[str, Any]) -> str:
    links = {one["relation"]: one["url"] for one in bundle["link"]}
    return links.get("next", "").removeprefix("http://testserver/fhir")


ALL = {"anna", "old", "open", "undated", "lasting", "abated", "allergy"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ALL),
        ("_type=Condition", {"lasting", "abated"}),
        ("_type=Condition,Patient", {"anna", "lasting", "abated"}),
        ("_type=Encounter", set()),
        ("_since=2026-01-01T00:00:08Z", {"open"}),
        ("_since=2026-01-01T00:00:08", {"open"}),
        ("_since=2026-01-01T02:00:08+02:00", {"open"}),
        ("_since=2030", set()),
        ("start=2004&end=2004", {"anna", "undated", "lasting", "abated"}),
        ("start=2006", {"anna", "open", "undated", "lasting", "allergy"}),
        ("end=2001-05-05", {"anna", "old", "undated"}),
        ("start=2001-05-06&end=2002", {"anna", "undated"}),
        ("start=2004&_type=Condition&_format=application/fhir+json&_pretty=false", {"lasting", "abated"}),
        ("_elements=clinicalStatus", ALL),  # what ait-1 wants of a part, too
    ],
)
def test_everything_that_is_asked_for(ward: TestClient, query: str, expected: set[str]) -> None:
    bundle = send(ward, "GET", f"{EVERYTHING}?{query}").json()
    assert set(shown(bundle)) == expected
    assert bundle["total"] == len(expected)
    assert shown(bundle)[:1] == (["anna"] if "anna" in expected else shown(bundle)[:1])
    entry = {"request": {"method": "GET", "url": f"{EVERYTHING[1:]}?{query}"}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = send(ward, "POST", "", content=json.dumps(batch)).json()["entry"][0]
    assert answer["resource"] == bundle  # the + of a zone in a bundle's url is one, too


@pytest.mark.parametrize("count", [1, 2, 6, 7, 500])
def test_everything_comes_in_pages(ward: TestClient, count: int) -> None:
    url, seen = f"{EVERYTHING}?_count={count}", []
    while url:
        bundle = send(ward, "GET", url).json()
        assert len(shown(bundle)) <= count
        assert bundle["total"] == len(ALL)
        seen += shown(bundle)
        url = next_page(bundle)
    assert seen[0] == "anna"
    assert sorted(seen) == sorted(ALL)


def test_history_comes_in_pages_and_since(ward: TestClient) -> None:
    url, seen = "/Observation/open/_history?_count=1", []
    while url:
        bundle = send(ward, "GET", url).json()
        validate(bundle)
        assert bundle["total"] == 3
        seen += [one["resource"]["status"] for one in bundle["entry"]]
        url = next_page(bundle)
    assert seen == ["corrected", "amended", "final"]
    since = send(ward, "GET", "/Observation/open/_history?_since=2026-01-01T00:00:08Z").json()
    assert (since["total"], len(since["entry"])) == (2, 2)
    deleted = send(ward, "GET", "/Observation/gone/_history?_elements=status").json()
    validate(deleted)
    assert [one["request"]["method"] for one in deleted["entry"]] == ["DELETE", "PUT"]


@pytest.mark.parametrize("path", [EVERYTHING, "/Observation/open/_history"])
def test_a_page_of_none_is_a_count(ward: TestClient, path: str) -> None:
    none, count = (send(ward, "GET", f"{path}?{query}").json() for query in ("_count=0", "_summary=count"))
    assert none["total"] == count["total"] > 0
    for bundle in (none, count):
        assert not any("id" in one["resource"] for one in bundle.get("entry", []))
        assert [one["relation"] for one in bundle["link"]] == ["self"]


@pytest.mark.parametrize(
    "path",
    [
        f"{EVERYTHING}?{query}"
        for query in (
            "code=1",
            "_type=Stay",
            "_type=",
            "start=yesterday",
            "end=ge2020",
            "_since=x",
            "_count=-1",
            "_cursor=x",
            "_sort=date",
            "_format=xml",
            "_include=*",
        )
    ]
    + [
        f"/Observation/open/_history?{query}"
        for query in ("_at=ever", "_list=x", "_type=Patient", "_cursor=0", "_count=x")
    ]
    + [
        f"/Observation/open{path}"
        for path in ("?status=final", "?_count=1", "/_history/1?x=1", "/_history/1?_format=ttl")
    ],
)
def test_what_is_not_served_is_refused_by_name_at_every_door(ward: TestClient, path: str) -> None:
    alone = send(ward, "GET", path)
    assert alone.status_code == (406 if "_format" in path else 400)
    assert outcome(alone)["code"] in ("not-supported", "value")
    entry = {"request": {"method": "GET", "url": path[1:]}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = send(ward, "POST", "", content=json.dumps(batch)).json()["entry"][0]
    assert answer["response"]["status"].startswith(str(alone.status_code))
    assert answer["response"]["outcome"] == alone.json()


def test_a_read_shows_a_part_of_any_version(ward: TestClient) -> None:
    for path in ("/Observation/open", "/Observation/open/_history/1"):
        part = send(ward, "GET", f"{path}?_elements=status&_format=json&_pretty=true").json()
        assert part["meta"]["tag"][0]["code"] == "SUBSETTED"
        assert "effectivePeriod" not in part
