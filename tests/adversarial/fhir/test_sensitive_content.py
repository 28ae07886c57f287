"""Attacks on what needs explicit consent: hidden in another element, filed elsewhere, asked for by another door.

A clinician without the patient's consent, an officer who exports, a consent to one thing that stands beside another.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import OFFICER, SYSTEM, Hospital
from tests.integration.fhir.web import PATIENT, send, transaction
from tests.vectors.sensitivity.cases import ICD10CM, LOINC, concept
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.disclosure.service import disclose
from twinward.fhir.bulk.ndjson_import import import_body
from twinward.twins.models import ImportRecord, PatientImport
from twinward.vault.errors import NotReleased
from twinward_crypto.disclosure import generate_recipient_key

F20 = concept(ICD10CM, "F20.0", display="Paranoid schizophrenia")
GLASS = {"x-purpose-of-use": "ETREAT", "x-justification": "unconscious in the lobby, overdose suspected"}


def of(kind: str, name: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": name, "subject": {"reference": "Patient/p"}, **elements}


def observation(name: str, **elements: Any) -> dict[str, Any]:
    return of("Observation", name, status="final", **({"code": concept(LOINC, "29463-7")} | elements))


def medication(name: str, **elements: Any) -> dict[str, Any]:
    return of("MedicationRequest", name, status="active", intent="order", **elements)


HIDDEN = (
    of("Condition", "snomed", code=concept("http://snomed.info/sct", "58214004")),
    of("Condition", "oid", code=concept("urn:oid:2.16.840.1.113883.6.90", "f20.0")),
    of("Condition", "words", code={"text": "Schizophrenia"}),
    of("Condition", "uncoded", code={"text": "what the patient told the chaplain"}),
    observation("value", valueCodeableConcept=F20),
    observation("component", component=[{"code": concept(LOINC, "44261-6"), "valueInteger": 20}]),
    observation("contained", contained=[of("Condition", "c1", code=F20)], focus=[{"reference": "#c1"}]),
    medication("clozapine", medicationCodeableConcept=concept("http://www.nlm.nih.gov/research/umls/rxnorm", "2626")),
    medication("reason", medicationCodeableConcept={"text": "x"}, reasonCode=[F20]),
    of("ClinicalImpression", "finding", status="completed", finding=[{"itemCodeableConcept": F20}]),
    of("CarePlan", "plan", status="active", intent="plan", activity=[{"detail": {"status": "completed", "code": F20}}]),
)


@pytest.fixture
def ward(web: TestClient, hospital: Hospital) -> TestClient:
    assert send(web, "POST", "", "system", content=transaction(PATIENT, *HIDDEN)).status_code == 200
    return web


def consent(hospital: Hospital, *provisions: Provision) -> None:
    hospital.consent(hospital.twins.find("Patient/p"), *provisions)


def yes(*categories: Category) -> Provision:
    return Provision(effect="permit", categories=categories)


def test_no_door_shows_a_clinician_what_is_hidden_where_no_consent_is(ward: TestClient) -> None:
    for one in HIDDEN:
        place = f"/{one['resourceType']}/{one['id']}"
        for door in (place, f"{place}/_history", f"{place}/_history/1"):
            refused = send(ward, "GET", door)
            assert refused.status_code == 403, door
            assert "F20" not in refused.text
    for kind in ("CarePlan", "Condition", "MedicationRequest", "Observation"):
        page = send(ward, "GET", f"/{kind}?patient=p")
        assert page.status_code == 200
        assert page.json()["total"] == 0, kind
        code = send(ward, "GET", f"/{kind}?patient=p&_summary=count")
        assert code.json()["total"] == 0
    assert send(ward, "GET", "/Condition?code=F20.0&patient=p").json()["total"] == 0
    everything = send(ward, "GET", "/Patient/p/$everything")
    assert [one["resource"]["resourceType"] for one in everything.json()["entry"]] == ["Patient", "OperationOutcome"]
    entries = [{"request": {"method": "GET", "url": f"{one['resourceType']}/{one['id']}"}} for one in HIDDEN]
    batch = send(ward, "POST", "", content=json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}))
    assert {one["response"]["status"][:3] for one in batch.json()["entry"]} == {"403"}


def test_consent_or_an_emergency_shows_it(ward: TestClient, hospital: Hospital) -> None:
    for one in HIDDEN:
        assert send(ward, "GET", f"/{one['resourceType']}/{one['id']}", headers=GLASS).status_code == 200
    consent(hospital, yes(Category.PSYCHIATRY))
    for one in HIDDEN:
        expected = 403 if one["id"] == "uncoded" else 200  # that may be anything, so it needs leave for everything
        assert send(ward, "GET", f"/{one['resourceType']}/{one['id']}").status_code == expected
    assert send(ward, "GET", "/Observation?patient=p").json()["total"] == 3
    consent(hospital, Provision(effect="permit"))
    assert send(ward, "GET", "/Condition/uncoded").status_code == 200


def test_consent_to_one_thing_shows_nothing_that_tells_of_another_too(web: TestClient, hospital: Hospital) -> None:
    both = observation("both", component=[{"code": F20}, {"code": concept(ICD10CM, "B20")}])
    assert send(web, "POST", "", "system", content=transaction(PATIENT, both)).status_code == 200
    for given in ((), (Category.PSYCHIATRY,), (Category.HIV,)):
        consent(hospital, *([yes(*given)] if given else []))
        assert send(web, "GET", "/Observation/both").status_code == 403
        assert send(web, "GET", "/Observation?patient=p").json()["total"] == 0
    consent(hospital, yes(Category.PSYCHIATRY))
    before = len(hospital.trail.events)
    assert send(web, "GET", "/Observation/both").status_code == 403
    asked = [(event.categories, event.decision) for event in hospital.trail.events[before:]]
    assert asked == [(("psychiatry",), "permit"), (("hiv",), "deny"), (("vitals",), "permit")]
    consent(hospital, yes(Category.PSYCHIATRY), yes(Category.HIV))
    assert send(web, "GET", "/Observation/both").status_code == 200
    assert send(web, "GET", "/Observation?patient=p").json()["total"] == 1
    consent(hospital, Provision(effect="permit"), Provision(effect="deny", categories=(Category.HIV,)))
    assert send(web, "GET", "/Observation/both").status_code == 403


def test_a_no_to_what_it_was_filed_under_before_still_holds(web: TestClient, hospital: Hospital) -> None:
    viral_load = observation("load", code=concept(LOINC, "25836-8"), category=[concept(None, "laboratory")])
    alcohol = of("Condition", "alcohol", code=concept(ICD10CM, "F10.2"))
    assert send(web, "POST", "", "system", content=transaction(PATIENT, viral_load, alcohol)).status_code == 200
    consent(hospital, Provision(effect="permit"))
    assert send(web, "GET", "/Observation/load").status_code == 200
    assert send(web, "GET", "/Condition/alcohol").status_code == 200
    consent(hospital, Provision(effect="permit"), Provision(effect="deny", categories=(Category.LABS,)))
    assert send(web, "GET", "/Observation/load").status_code == 403  # it tells of HIV, and is a laboratory value still
    consent(hospital, Provision(effect="permit"), Provision(effect="deny", categories=(Category.PSYCHIATRY,)))
    assert send(web, "GET", "/Condition/alcohol").status_code == 403  # which was psychiatry when that no was said


def test_what_an_earlier_release_filed_elsewhere_is_not_shown_either(web: TestClient, hospital: Hospital) -> None:
    assert send(web, "POST", "", "system", content=transaction(PATIENT)).status_code == 200
    content = json.dumps(
        observation("old", valueCodeableConcept=F20, identifier=[{"system": "s", "value": "v"}])
    ).encode()
    found_by = ('["Observation?identifier", "s", "v"]', '["Observation?identifier", null, "v"]')
    old = ImportRecord("Observation/old", "Observation", Category.LABS, content, found_by)
    hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), PatientImport("Patient/p", (old,)))
    for door in ("/Observation/old", "/Observation/old/_history", "/Observation/old/_history/1"):
        assert send(web, "GET", door).status_code == 403
    assert send(web, "GET", "/Observation?patient=p").json()["total"] == 0
    assert b"F20" not in send(web, "GET", "/Patient/p/$everything").content
    again = send(
        web,
        "POST",
        "/Observation",
        content=content,
        headers={"if-none-exist": "identifier=s|v", "prefer": "return=representation"},
    )
    assert (again.status_code, b"F20" in again.content) == (200, False)
    twin = hospital.twins.find("Patient/p")
    with pytest.raises(NotReleased):
        hospital.twins.read_reference(AccessContext(DR_KIM, Purpose.TREATMENT), "Observation/old")
    assert hospital.twins.read(AccessContext(DR_KIM, Purpose.TREATMENT), twin, [Category.LABS]) == []
    consent(hospital, yes(Category.PSYCHIATRY))
    assert send(web, "GET", "/Observation/old").status_code == 200
    assert send(web, "GET", "/Observation?patient=p").json()["total"] == 1


DR_KIM = Principal("dr-kim", Role.CLINICIAN)


def test_neither_an_export_nor_a_disclosure_takes_it_along(ward: TestClient, hospital: Hospital) -> None:
    twin = hospital.twins.find("Patient/p")
    for categories in ({Category.LABS, Category.VITALS, Category.MEDICATIONS}, {Category.CONDITIONS, Category.NOTES}):
        assert _disclosed(hospital, OFFICER, Purpose.PATIENT_REQUEST, twin, categories) == set()
    with pytest.raises(AccessDenied):
        _disclosed(hospital, OFFICER, Purpose.PATIENT_REQUEST, twin, {Category.PSYCHIATRY})
    consent(hospital, yes(Category.PSYCHIATRY))
    told = _disclosed(hospital, OFFICER, Purpose.PATIENT_REQUEST, twin, {Category.PSYCHIATRY})
    assert len(told) == len(HIDDEN) - 1


def _disclosed(
    hospital: Hospital, who: Principal, purpose: Purpose, twin: TwinId, categories: set[Category]
) -> set[bytes]:
    request = AccessRequest(who, Action.EXPORT, purpose, twin, frozenset(categories))
    disclosed, _ = disclose(
        hospital.access, hospital.vault, request, generate_recipient_key().public, origin="test.example/log"
    )
    return {one.content for one in disclosed.records}


def test_a_bulk_import_files_it_like_any_other_write(web: TestClient, hospital: Hospital) -> None:
    lines = [PATIENT, *(one for one in HIDDEN if one["resourceType"] == "Observation")]
    lines += [observation(f"plain-{n}", valueQuantity={"value": n}) for n in range(20)]
    lines += [
        observation(f"told-{n}", valueCodeableConcept=F20, effectiveDateTime="2026-01-01T00:00:00Z") for n in range(20)
    ]
    body = b"\n".join(json.dumps(one).encode() for one in lines)
    bad: list[Any] = []
    import_body(
        body, hospital.twins.bulk_import(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)), on_bad_line=bad.append
    )
    assert not bad
    page = send(web, "GET", "/Observation?patient=p&_count=100").json()
    assert page["total"] == 20
    assert send(web, "GET", "/Observation/told-3").status_code == 403
