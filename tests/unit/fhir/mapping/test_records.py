"""Resources to categories, measurements and moments."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from twinward.core.vocabulary import Category
from twinward.features.derivation import Measurement
from twinward.fhir.json.strict_json import decode
from twinward.fhir.json.values import to_date, to_ms
from twinward.fhir.mapping.categories import LOINC, SNOMED, categories_of_type, category_of
from twinward.fhir.mapping.records import measurements_of, person_of
from twinward.fhir.resource_types import R4_TYPES


def coded(code: str, system: str = LOINC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def resource(kind: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": kind, **elements}


@pytest.mark.parametrize(
    ("given", "category"),
    [
        (resource("Patient"), Category.DEMOGRAPHICS),
        (resource("Observation", category=[coded("laboratory", "x")]), Category.LABS),
        (resource("Observation", category=[coded("vital-signs", "x")]), Category.VITALS),
        (resource("Observation", category=[coded("social-history", "x")]), Category.SOCIAL),
        (resource("Observation", code=coded("8480-6")), Category.VITALS),
        (resource("Observation", code=coded("8480-6", "http://example.org")), Category.LABS),
        (resource("Observation", category=[coded("survey", "x")], code=coded("44249-1")), Category.PSYCHIATRY),
        (resource("Observation", category=[coded("laboratory", "x")], code=coded("48018-6")), Category.GENOMICS),
        (resource("Condition", code=coded("38341003", SNOMED)), Category.CONDITIONS),
        (resource("Condition", code=coded("35489007", SNOMED)), Category.PSYCHIATRY),
        (resource("Condition", code=coded("F32.1", "http://hl7.org/fhir/sid/icd-10-cm")), Category.PSYCHIATRY),
        (resource("Condition", code=coded("F32.1", "http://hl7.org/fhir/sid/icd-10")), Category.PSYCHIATRY),
        (resource("Condition", code=coded("E11.9", "http://hl7.org/fhir/sid/icd-10")), Category.CONDITIONS),
        (resource("Condition", code=coded("296.2", "http://hl7.org/fhir/sid/icd-9-cm")), Category.PSYCHIATRY),
        (resource("Condition", code=coded("250.0", "http://hl7.org/fhir/sid/icd-9-cm")), Category.CONDITIONS),
        (resource("Encounter", reasonCode=[coded("192127007", SNOMED)]), Category.PSYCHIATRY),
        (resource("Encounter"), Category.ENCOUNTERS),
        (resource("DiagnosticReport", category=[coded("LAB", "x")]), Category.LABS),
        (resource("DiagnosticReport", category=[coded("RAD", "x")]), Category.IMAGING),
        (resource("DiagnosticReport", imagingStudy=[{}]), Category.IMAGING),
        (resource("DiagnosticReport", presentedForm=[{}]), Category.NOTES),
        (resource("MedicationRequest"), Category.MEDICATIONS),
        (resource("Immunization"), Category.IMMUNIZATIONS),
        (resource("Procedure"), Category.PROCEDURES),
        (resource("CarePlan"), Category.NOTES),
        (resource("MolecularSequence"), Category.GENOMICS),
        (resource("ExplanationOfBenefit"), Category.ADMINISTRATIVE),
        (
            resource("Claim", type=5, category="x", code=[None, {"coding": "x"}, {"coding": [None]}]),
            Category.ADMINISTRATIVE,
        ),
    ],
)
def test_category(given: dict[str, Any], category: Category) -> None:
    assert category_of(given) is category


def quantity(value: Any, unit: str = "mg/dL", **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit, **more}


def observed(**elements: Any) -> dict[str, Any]:
    base = {"status": "final", "effectiveDateTime": "2026-01-01T00:00:00Z", "code": coded("2345-7")}
    return resource("Observation", **(base | {"valueQuantity": quantity(Decimal("95.5"))} | elements))


AT = 1_767_225_600_000


def test_resources_may_fall_under_every_category_but_what_the_node_makes() -> None:
    reached = {category for kind in R4_TYPES for category in categories_of_type(kind)}
    assert set(Category) - reached == {Category.FEATURES, Category.MONITORING}


def test_a_value_and_its_components_are_measurements() -> None:
    assert list(measurements_of(observed(), "Observation/o")) == [
        Measurement("2345-7", 95.5, "mg/dL", AT, "Observation/o")
    ]
    parts = [{"code": coded(code), "valueQuantity": quantity(120, "mm[Hg]")} for code in ("8480-6", "8462-4")]
    pressure = observed(component=parts, valueQuantity=None)
    assert [(one.code, one.value) for one in measurements_of(pressure, "Observation/o")] == [
        ("8480-6", 120),
        ("8462-4", 120),
    ]


@pytest.mark.parametrize(
    "elements",
    [
        {"status": "entered-in-error"},
        {"status": "cancelled"},
        {"status": []},
        {"effectiveDateTime": None},
        {"effectiveDateTime": "yesterday"},
        {"valueQuantity": quantity(Decimal("0.2"), comparator="<")},
        {"valueQuantity": quantity(True)},
        {"valueQuantity": quantity("95")},
        {"valueQuantity": {"value": 95}},
        {"valueQuantity": []},
        {"code": coded("2345-7", "http://example.org")},
        {"code": {"coding": "2345-7"}},
        {"component": {}, "valueQuantity": None},
        {"component": [None], "valueQuantity": None},
        {"status": "registered"},
        {"status": "unknown"},
        {"valueQuantity": quantity(5, comparator=">=")},
        {"dataAbsentReason": {"text": "error"}},
        {"focus": [{"reference": "Patient/child"}]},
        {"modifierExtension": [{"url": "http://example.org/not", "valueBoolean": True}]},
    ],
)
def test_what_is_no_measurement_is_left_out(elements: dict[str, Any]) -> None:
    assert list(measurements_of(observed(**elements), "Observation/o")) == []


@pytest.mark.parametrize(
    "taken",
    [
        {"effectiveDateTime": "2026-01-01"},
        {"effectiveInstant": "2026-01-01T00:00:00Z"},
        {"effectivePeriod": {"start": "2025-12-30", "end": "2026-01-01"}},
        {"effectivePeriod": {"start": "2026-01-01"}},
        {"effectiveTiming": {"event": ["2025-01-01", "2026-01-01", "2024-01-01"]}},
        {"effectiveTiming": {"repeat": {"boundsPeriod": {"start": "2026-01-01"}}}},
        {"issued": "2026-01-01T00:00:00Z"},
    ],
)
def test_every_way_to_say_when_it_was_taken(taken: dict[str, Any]) -> None:
    one = observed(**({"effectiveDateTime": None} | taken))
    assert [number.at_ms for number in measurements_of(one, "Observation/o")] == [AT]


def test_the_ucum_code_counts_before_the_printed_unit() -> None:
    value = quantity(1, "mmol/L") | {"unit": "millimoles"}
    assert [one.unit for one in measurements_of(observed(valueQuantity=value), "Observation/o")] == ["mmol/L"]
    value["system"] = "http://example.org"
    assert [one.unit for one in measurements_of(observed(valueQuantity=value), "Observation/o")] == ["millimoles"]


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T02:00:00.25+02:00", 250),
        ("1969-12-31", -86_400_000),
        ("2026", AT),
        ("2026-01", AT),
        ("2026-01-01T00:00:60Z", AT + 59_000),
        ("2026-13", None),
        ("2026-02-30", None),
        ("0000", None),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01T00:00:00+25:00", None),
        ("２０２６", None),
        (2026, None),
        (None, None),
    ],
)
def test_moments(text: Any, at_ms: int | None) -> None:
    assert to_ms(text) == at_ms


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("1980-02-29", "1980-02-29"),
        ("1980-02", "1980-02-15"),
        ("1980", "1980-07-01"),
        ("1981-02-29", "None"),
        ("", "None"),
    ],
)
def test_partial_birth_dates_are_taken_in_their_middle(text: str, day: str) -> None:
    assert str(to_date(text)) == day


def test_other_genders_stay_unknown() -> None:
    genders = ("female", "male", "other", "unknown", None, ["female"])
    assert [person_of({"gender": gender}).female for gender in genders] == [True, False, None, None, None, None]


def test_every_official_example_has_a_category(shared_data: Path) -> None:
    found = {
        path.name: category_of(decode(path.read_bytes())) for path in (shared_data / "fhir-r4-examples").glob("*.json")
    }
    assert found["Observation-heart-rate.json"] is Category.VITALS
    assert found["Observation-example-genetics-brcapat.json"] is Category.GENOMICS
    assert found["ImagingStudy-example-xr.json"] is Category.IMAGING
    assert found["DiagnosticReport-ultrasound.json"] is Category.IMAGING
    assert found["MedicationRequest-medrx002.json"] is Category.MEDICATIONS
    assert found["Account-example.json"] is Category.ADMINISTRATIVE
