"""Search across patients over HTTP: sorted, counted, chained; each patient decided, the refused as if never kept."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.plain_search import Resource, Store, search
from tests.integration.fhir.web import PEOPLE, outcome, principal_of, send
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.api.fhir import fhir_router
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Category, Purpose
from twinward.fhir.search.query import read_query
from twinward.fhir.search.service import Search
from twinward.fhir.validation.validator import validate

LOINC, SNOMED, RXNORM = "http://loinc.org", "http://snomed.info/sct", "http://www.nlm.nih.gov/research/umls/rxnorm"
KIM = PEOPLE["colleague"]
GLUCOSE, PULSE, PANEL = "2345-7", "8867-4", "24323-8"
NAMES = ("Abel", "Abel", "Baum", "Baum", "Curie", "Abel", "Baum")
_OF = {"Patient": "demographics", "Encounter": "encounters", "Condition": "conditions"}
_WITHHELD: dict[str, dict[str, frozenset[str]]] = {
    "clinician": {"p4": frozenset(Category)},
    "colleague": {
        "p2": frozenset(Category),
        "p3": frozenset({"labs"}),
        "p4": frozenset(Category),
        "p5": frozenset({"demographics"}),
        "p6": frozenset({"encounters"}),
    },
}
"""What the consents below withhold from whom."""


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _of_patient(number: int) -> Iterator[Resource]:
    name = f"p{number}"
    subject = {"subject": {"reference": f"Patient/{name}"}}
    visit = {"encounter": {"reference": f"Encounter/{name}-e{number % 2}"}}
    yield {
        "resourceType": "Patient",
        "id": name,
        "gender": "female" if number % 2 else "male",
        "name": [{"family": NAMES[number]}],
        "identifier": [{"system": "urn:mrn", "value": f"m{number}"}],
        "birthDate": f"19{70 - number}-01-01",
    }
    for each, status in enumerate(("finished", "in-progress")):
        yield {
            "resourceType": "Encounter",
            "id": f"{name}-e{each}",
            "status": status,
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": ("AMB", "IMP")[each]},
            "participant": [{"individual": {"reference": f"Practitioner/d{number % 2}"}}],
            **subject,
        }
    for each, (code, category) in enumerate(((GLUCOSE, "laboratory"), (PULSE, "vital-signs"), (PANEL, "laboratory"))):
        if (number + each) % 4 == 3:
            continue
        yield {
            "resourceType": "Observation",
            "id": f"{name}-o{each}",
            "status": "final" if number % 3 else "amended",
            "category": [_concept("http://terminology.hl7.org/CodeSystem/observation-category", category)],
            "code": _concept(LOINC, code),
            "effectiveDateTime": f"2024-0{1 + (number * 5 + each) % 8}-01",
            **({"hasMember": [{"reference": f"Observation/{name}-o0"}]} if code == PANEL else {}),
            **subject,
            **(visit if each else {}),
        }
    yield {
        "resourceType": "Condition",
        "id": f"{name}-c",
        "code": _concept(SNOMED, ("44054006", "38341003")[number % 2]),
        **subject,
        **visit,
    }
    yield {
        "resourceType": "MedicationRequest",
        "id": f"{name}-m",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": _concept(RXNORM, ("860975", "314076")[number // 3 % 2]),
        **subject,
        **visit,
    }


STAFF = [
    {"resourceType": "Practitioner", "id": f"d{each}", "name": [{"family": ("Lee", "Kim")[each]}]} for each in (0, 1)
]
RESOURCES: list[Resource] = [*STAFF, *(one for number in range(len(NAMES)) for one in _of_patient(number))]


def _category(resource: Resource) -> str:
    if resource["resourceType"] == "Observation":
        return "vitals" if PULSE in json.dumps(resource) else "labs"
    return _OF.get(resource["resourceType"], "medications")


def visible_to(who: str) -> Store:
    """The resources that somebody may see."""
    withheld = _WITHHELD[who]
    return {
        f"{one['resourceType']}/{one['id']}": one
        for one in RESOURCES
        if one in STAFF or _category(one) not in withheld.get(one["id"][:2], ())
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    house = Hospital(tmp_path_factory.mktemp("across"))
    yield house
    house.close()


@pytest.fixture(scope="module")
def ward(house: Hospital) -> TestClient:
    app = FastAPI()
    app.include_router(fhir_router(house.fhir, principal_of))
    web = TestClient(app, raise_server_exceptions=False)
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in RESOURCES
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = send(web, "POST", "", "system", content=json.dumps(bundle))
    assert answer.status_code == 200, answer.text
    for name, categories in _WITHHELD["colleague"].items():
        whole = len(categories) == len(Category)
        no = Provision(
            effect="deny",
            actors=() if name == "p4" else (KIM.id,),
            categories=() if whole else tuple(Category(one) for one in categories),
        )
        house.consent(house.twins.find(f"Patient/{name}"), no)
    return web


def pages(web: TestClient, url: str, who: str) -> Iterator[dict[str, Any]]:
    while url:
        answer = send(web, "GET", url, who)
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        validate(bundle)
        yield bundle
        url = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), "").partition("/fhir")[2]


def matches(bundle: dict[str, Any]) -> list[Resource]:
    return [one["resource"] for one in bundle.get("entry", []) if one["search"]["mode"] == "match"]


CRITERIA = {
    "Patient": [
        ("family", "abel"),
        ("gender", "female"),
        ("_has:Observation:patient:code", GLUCOSE),
        ("_has:Observation:subject:code", f"{LOINC}|{PULSE}"),
        ("_has:Condition:patient:code", "44054006"),
        ("_has:Encounter:patient:status", "in-progress"),
        ("_has:MedicationRequest:patient:code", "860975"),
        ("_has:Observation:patient:date", "ge2024-06-01"),
        ("_has:Observation:patient:status", "cancelled"),
    ],
    "Observation": [
        ("code", GLUCOSE),
        ("status", "amended"),
        ("subject:Patient.name", "Ba"),
        ("patient.family", "curie"),
        ("patient.gender", "male"),
        ("patient.identifier", "urn:mrn|m5"),
        ("patient.identifier", "m2"),
        ("subject:Patient.identifier", "urn:mrn|m4"),
        ("patient._id", "p3"),
        ("encounter.status", "finished"),
        ("encounter:Encounter.class", "IMP"),
        ("has-member.code", GLUCOSE),
        ("_has:Observation:has-member:code", PANEL),
    ],
    "Condition": [
        ("subject.name", "Baum"),
        ("encounter.class", "AMB"),
        ("patient:Patient.identifier", "m6"),
        ("code", "38341003"),
    ],
    "Encounter": [
        ("status", "finished"),
        ("patient.name", "a"),
        ("_has:Observation:encounter:code", PULSE),
        ("_has:Condition:encounter:code", "38341003"),
        ("participant:Practitioner.family", "kim"),
    ],
    "MedicationRequest": [
        ("patient.gender", "female"),
        ("encounter.status", "finished"),
        ("code", "860975"),
    ],
}
SORTS = {
    "Patient": {"birthdate": "birthDate", "-birthdate": "birthDate"},
    "Observation": {"date": "effectiveDateTime", "-date": "effectiveDateTime", "status": "status"},
    "Encounter": {"-status": "status"},
}


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]], str, int, str]:
    kind = draw(st.sampled_from(sorted(CRITERIA)))
    criteria = draw(st.lists(st.sampled_from(CRITERIA[kind]), max_size=3, unique=True))
    order = draw(st.sampled_from(["", *SORTS.get(kind, {})]))
    return kind, criteria, order, draw(st.integers(1, 9)), draw(st.sampled_from(["", "none", "estimate", "accurate"]))


@pytest.mark.parametrize("who", ["clinician", "colleague"])
@settings(max_examples=20)
@given(asked=searches())
def test_any_search_finds_what_a_plain_one_finds_among_what_may_be_seen(
    ward: TestClient, who: str, asked: tuple[str, list[tuple[str, str]], str, int, str]
) -> None:
    kind, criteria, order, count, total = asked
    right = search(visible_to(who), kind, criteria)
    how = [("_count", str(count))] + [("_sort", order)] * bool(order) + [("_total", total)] * bool(total)
    found: list[Resource] = []
    for bundle in pages(ward, f"/{kind}?{urlencode(criteria + how)}", who):
        shown = matches(bundle)
        assert len(shown) <= count
        found += shown
        told = total in ("accurate", "estimate") or (bool(order) and total != "none")
        assert bundle.get("total") == (len(right) if told else None)
    assert sorted(one["id"] for one in found) == sorted(right)
    if order:
        keys = [one[SORTS[kind][order]] for one in found]
        assert keys == sorted(keys, reverse=order.startswith("-"))
    counted = send(ward, "GET", f"/{kind}?{urlencode([*criteria, ('_summary', 'count')])}", who).json()
    assert (counted["total"], counted.get("entry")) == (len(right), None)


def test_each_patient_that_is_looked_at_is_decided_and_whoever_tells_nothing_is_not_opened_further(
    ward: TestClient, house: Hospital
) -> None:
    twins = {f"p{number}": house.twins.find(f"Patient/p{number}") for number in range(len(NAMES))}
    before = len(house.trail.events)
    [bundle] = pages(ward, f"/Observation?patient.family=curie&code={GLUCOSE}&_total=accurate", "colleague")
    assert bundle["total"] == 0  # p4 is Curie's, and withheld
    events = house.trail.events[before:]
    assert {dict(one.detail)["search"] for one in events} == {"Patient"}
    assert {one.twin for one in events} == set(twins.values())
    assert {one.twin for one in events if one.decision == "deny"} == {twins["p2"], twins["p4"]}
    before = len(house.trail.events)
    [bundle] = pages(ward, "/Observation?patient.identifier=urn:mrn|m1&_sort=date", "colleague")
    assert bundle["total"] == 2
    events = house.trail.events[before:]
    assert [(one.twin, dict(one.detail)["search"]) for one in events] == [
        (twins["p1"], "Patient"),
        (twins["p1"], "Observation"),
    ]
    assert {one.action for one in events} == {Action.SEARCH}


@pytest.mark.parametrize(
    "query",
    [
        "/Observation?patient.identifier=urn:mrn|{}",
        "/Observation?subject:Patient._id={}&_sort=-date",
        "/Condition?patient.identifier={}&_summary=count",
        "/Patient?_has:Observation:patient:_id={}-o0&_total=accurate",
        "/Encounter?_has:Condition:encounter:patient={}",
    ],
)
def test_who_is_refused_is_answered_as_who_never_was_with_as_many_events(
    ward: TestClient, house: Hospital, query: str
) -> None:
    answers, logged = [], []
    for name in ("m2", "p2", "zz"):
        before = len(house.trail.events)
        answer = send(ward, "GET", query.format(name), "colleague")
        answers.append((answer.status_code, answer.text.replace(name, "")))
        logged.append(len(house.trail.events) - before)
    assert answers[0][0] == 200
    assert answers[0] == answers[1] == answers[2]
    assert logged == [1, 1, 1]


def test_a_sorted_cursor_of_somebody_elses_record_is_as_one_of_none(ward: TestClient) -> None:
    told = []
    for name in ("p2-o0", "p4-o0", "none"):
        cursor = urlsafe_b64encode(f"Observation/{name}/_history/1".encode()).decode().rstrip("=")
        answer = send(ward, "GET", f"/Observation?_sort=date&_cursor={cursor}", "colleague")
        told.append((answer.status_code, answer.text))
    assert told[0] == told[1] == told[2]
    assert told[0][0] == 400


def test_a_chain_within_a_named_patient_says_what_was_withheld(ward: TestClient) -> None:
    [bundle] = pages(ward, "/Observation?patient=p1&encounter.status=in-progress", "colleague")
    assert {one["id"] for one in matches(bundle)} == {"p1-o1"}
    [bundle] = pages(ward, "/Observation?patient=p6&encounter.status=finished", "colleague")
    assert matches(bundle) == []
    assert "encounters" in bundle["entry"][0]["resource"]["issue"][0]["diagnostics"]
    assert send(ward, "GET", "/Observation?patient=p2&encounter.status=finished", "colleague").status_code == 403


@pytest.mark.parametrize("query", ["subject:Patient=p1", "patient:Patient=p1,zz", "encounter:Encounter=p1-e1,p1-e0"])
def test_a_reference_may_say_its_type_beside_its_name(ward: TestClient, query: str) -> None:
    [typed] = pages(ward, f"/Condition?{query}", "clinician")
    assert [one["id"] for one in matches(typed)] == ["p1-c"]


def test_a_page_opens_no_more_patients_than_may_be_on_it(ward: TestClient, house: Hospital) -> None:
    before = len(house.trail.events)
    first = next(pages(ward, "/Patient?_has:Encounter:patient:status=finished&_count=2", "clinician"))
    assert len(matches(first)) == 2
    assert len({one.twin for one in house.trail.events[before:]}) <= 4  # of seven: two, and p4 in vain, perhaps


@pytest.mark.parametrize(
    "query",
    [
        "Observation?subject:Patient.nonsense=1",
        "Observation?subject:Group.name=x",
        "Observation?subject:Patient.name:exact=Abel",
        "Observation?performer.name=x",
        "Observation?encounter.subject.name=x",
        "Observation?encounter.service-provider.name=x",
        "Observation?code.text=x",
        "Observation?patient.=x",
        "Observation?patient.name=",
        "Observation?patient.birthdate=yesterday",
        "Observation?patient._id=a b",
        "Observation?patient.identifier=urn:mrn|",
        "Observation?subject:Group=p1",
        "Observation?subject:Patient=Patient/p1",
        "Observation?code:Patient=p1",
        "Patient?_has:Observation:patient=x",
        "Patient?_has:Observation:encounter:code=x",
        "Patient?_has:Observation:patient:code:not=x",
        "Patient?_has:Observation:patient:_has:Encounter:patient:status=x",
        "Patient?_has:Observation:patient:encounter.status=x",
        "Patient?_has:Nonsense:patient:code=x",
        "Practitioner?_has:Encounter:participant:status=finished",
        "Observation?_total=about",
        "Observation?" + "&".join(["patient.name=a"] * 6),
        "Observation?_sort=patient.name",
        "Observation?_sort=subject",
        "Observation?_cursor=x&_sort=date",
    ],
)
def test_what_is_not_served_is_refused_by_name(ward: TestClient, query: str) -> None:
    answer = send(ward, "GET", f"/{query}")
    assert answer.status_code == 400
    said = outcome(answer)["diagnostics"]
    name = query.partition("?")[2].partition("=")[0]
    assert name.rpartition(".")[2].partition(":")[0] in said or "chained" in said, said


def test_whoever_is_lenient_is_told_of_a_chain_that_was_ignored(ward: TestClient) -> None:
    lenient = {"prefer": "handling=lenient"}
    bundle = send(ward, "GET", "/Patient?_id=p1&organization.nonsense=x", headers=lenient).json()
    assert [one["id"] for one in matches(bundle)] == ["p1"]
    assert "organization.nonsense" in json.dumps(bundle["entry"])


def test_a_condition_of_a_write_takes_no_chain(ward: TestClient) -> None:
    body = json.dumps({"resourceType": "Observation", "status": "final", "code": {"text": "x"}})
    answer = send(ward, "PUT", "/Observation?patient.name=Abel", content=body)
    assert answer.status_code == 400
    assert "chain" in outcome(answer)["diagnostics"]


def test_a_search_that_would_open_too_many_or_take_too_long_is_refused(house: Hospital, ward: TestClient) -> None:
    clinician, purpose = PEOPLE["clinician"], Purpose.TREATMENT
    for asked in (("_sort", "date"), ("_summary", "count"), ("_total", "accurate")):
        query = read_query("Observation", [asked])
        for bounded in (Search(house.twins, most_twins=6), Search(house.twins, most_s=-1)):
            with pytest.raises(BadInput, match="at most"):
                bounded.page(AccessContext(clinician, purpose), query, base="http://h/fhir")
    estimated = Search(house.twins, most_twins=6).find(
        AccessContext(clinician, purpose), read_query("Patient", [("_total", "estimate")])
    )
    assert (estimated.total, len(estimated.records)) == (None, 6)
    narrowed = read_query("Observation", [("_sort", "date"), ("patient.identifier", "m1")])
    assert Search(house.twins, most_twins=6).find(AccessContext(clinician, purpose), narrowed).total == 2
