"""What R4 asks of every resource, a row a rule; and the library's models as a second opinion."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward.fhir.json.strict_json import decode
from twinward.fhir.resource_types import R4_ONLY
from twinward.fhir.validation.validator import MAX_ISSUES, faults

OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
NUMBER = {"value": 1, "unit": "mg"}
PART = {"code": {"text": "x"}}
URL = "http://e.example/x"
PNG = {"contentType": "image/png"}


def found(resource: dict[str, Any]) -> list[tuple[str, str]]:
    text = json.dumps(resource).encode()
    return [(issue.path, issue.code) for issue in faults(decode(text), resource["resourceType"])]


PATIENTS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": []}, "Patient.name", "value"),
    ({"name": {}}, "Patient.name", "value"),
    ({"name": [{}]}, "Patient.name[0]", "value"),
    ({"name": [None]}, "Patient.name[0]", "value"),
    ({"name": None}, "Patient.name", "value"),
    ({"name": [{"family": None}]}, "Patient.name[0].family", "value"),
    ({"name": [{"family": ""}]}, "Patient.name[0].family", "value"),
    ({"name": [{"family": "a\0b"}]}, "Patient.name[0].family", "value"),
    ({"name": [{"family": ["a"]}]}, "Patient.name[0].family", "value"),
    ({"name": [{"given": [None]}]}, "Patient.name[0].given[0]", "value"),
    ({"name": [{"given": ["a"], "_given": [None]}]}, "", ""),
    ({"name": [{"given": ["a", None], "_given": [{"id": "x"}]}]}, "Patient.name[0].given[1]", "value"),
    ({"name": [{"_given": [None]}]}, "Patient.name[0]._given[0]", "value"),
    ({"name": [{"_given": []}]}, "Patient.name[0]._given", "value"),
    ({"name": [{"_family": []}]}, "Patient.name[0]._family", "value"),
    ({"_name": [{"id": "x"}]}, "Patient._name", "structure"),
    ({"_birthDate": {}}, "Patient._birthDate", "value"),
    ({"_birthDate": {"extension": []}}, "Patient._birthDate.extension", "value"),
    ({"meta": {}}, "Patient.meta", "value"),
    ({"meta": {"tag": []}}, "Patient.meta.tag", "value"),
    ({"contained": []}, "Patient.contained", "value"),
    ({"gender": "dog"}, "Patient.gender", "code-invalid"),
    ({"gender": "F"}, "Patient.gender", "code-invalid"),
    ({"gender": "Male"}, "Patient.gender", "code-invalid"),
    ({"contact": [{"gender": "dog"}]}, "Patient.contact[0].gender", "code-invalid"),
    ({"name": [{"use": "mine"}]}, "Patient.name[0].use", "code-invalid"),
    ({"telecom": [{"system": "carrier-pigeon"}]}, "Patient.telecom[0].system", "code-invalid"),
    ({"link": [{"type": "seealso"}]}, "Patient.link[0].other", "required"),
    ({"deceasedBoolean": False, "deceasedDateTime": "2020"}, "Patient.deceasedDateTime", "structure"),
    ({"birthDate": "2023-02-29"}, "Patient.birthDate", "value"),
    ({"birthDate": "2024-02-29"}, "", ""),
    ({"birthDate": "0000"}, "Patient.birthDate", "value"),
    ({"deceasedDateTime": "2024-02-30T00:00:00Z"}, "Patient.deceasedDateTime", "value"),
    ({"deceasedDateTime": "2024-02-29T24:00:00Z"}, "Patient.deceasedDateTime", "value"),
    ({"deceasedDateTime": "2024-02-29T10:00Z"}, "Patient.deceasedDateTime", "value"),
    ({"multipleBirthInteger": 2**31}, "Patient.multipleBirthInteger", "value"),
    ({"photo": [PNG | {"data": "YWJj"}]}, "", ""),
    ({"photo": [{"data": "YW Jj"}]}, "Patient.photo[0].data", "value"),
    ({"photo": [PNG | {"data": "YWJj\nYWJj"}]}, "", ""),
    ({"photo": [{"data": "YWJ"}]}, "Patient.photo[0].data", "value"),
    ({"photo": [PNG | {"data": "YW=="}]}, "", ""),
    ({"photo": [{"data": "YW==YWJj"}]}, "Patient.photo[0].data", "value"),
    ({"photo": [{"data": "===="}]}, "Patient.photo[0].data", "value"),
    ({"photo": [{"data": "YW-_"}]}, "Patient.photo[0].data", "value"),
    ({"photo": [{"size": -1}]}, "Patient.photo[0].size", "value"),
    ({"extension": [{"url": URL}]}, "Patient.extension[0]", "invariant"),
    ({"extension": [{"url": URL, "valueString": "x"}]}, "", ""),
    ({"extension": [{"url": URL, "_valueString": {"id": "x"}}]}, "", ""),
    (
        {"extension": [{"url": URL, "valueString": "x", "extension": [{"url": URL, "valueCode": "x"}]}]},
        "Patient.extension[0]",
        "invariant",
    ),
    ({"extension": [{"valueString": "x"}]}, "Patient.extension[0].url", "required"),
    (
        {"extension": [{"url": URL, "valueString": "x", "valueCode": "y"}]},
        "Patient.extension[0].valueCode",
        "structure",
    ),
    ({"modifierExtension": [{"url": URL}]}, "Patient.modifierExtension[0]", "invariant"),
    ({"text": {"status": "generated"}}, "Patient.text.div", "required"),
    ({"text": {"status": "x", "div": "<div>x</div>"}}, "Patient.text.status", "code-invalid"),
    ({"text": {"status": "generated", "div": "<p>x</p>"}}, "Patient.text.div", "invalid"),
    ({"contained": [{"resourceType": "Patient", "gender": "dog"}]}, "Patient.contained[0].gender", "code-invalid"),
    ({"nickname\n": "x"}, "Patient.?", "structure"),
    ({"fhir_comments": ["x"]}, "Patient.fhir_comments", "structure"),
]


@pytest.mark.parametrize(("patient", "path", "code"), PATIENTS, ids=[json.dumps(one[0])[:60] for one in PATIENTS])
def test_each_rule_by_its_path(patient: dict[str, Any], path: str, code: str) -> None:
    assert found({"resourceType": "Patient"} | patient) == ([(path, code)] if path else [])


@pytest.mark.parametrize(
    ("more", "path", "code"),
    [
        ({"status": 17}, "Observation.status", "value"),
        ({"status": "done"}, "Observation.status", "code-invalid"),
        ({"status": "entered-in-error"}, "", ""),
        ({"valueQuantity": NUMBER, "valueString": "x"}, "Observation.valueString", "structure"),
        ({"valueQuantity": NUMBER | {"comparator": "~"}}, "Observation.valueQuantity.comparator", "code-invalid"),
        ({"valueQuantity": {"value": "1"}}, "Observation.valueQuantity.value", "value"),
        ({"code": {}}, "Observation.code", "value"),
        ({"component": []}, "Observation.component", "value"),
        ({"component": [{"valueString": "x"}]}, "Observation.component[0].code", "required"),
        ({"component": [PART | {"referenceRange": [{"low": NUMBER}]}]}, "", ""),
        ({"component": [PART | {"referenceRange": [{}]}]}, "Observation.component[0].referenceRange[0]", "value"),
    ],
)
def test_observations(more: dict[str, Any], path: str, code: str) -> None:
    assert found(OBSERVATION | more) == ([(path, code)] if path else [])


def test_a_required_value_set_binds_codings_too() -> None:
    system = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    sick = {"resourceType": "Condition", "subject": {"reference": "Patient/p"}}
    for coding, ok in (
        ({"system": system, "code": "active"}, True),
        ({"system": system, "code": "lively"}, False),
        ({"system": "http://e.example", "code": "active"}, False),
        ({"code": "active"}, False),
    ):
        told = found(sick | {"clinicalStatus": {"coding": [{"display": "x"}, coding]}})
        assert told == ([] if ok else [("Condition.clinicalStatus", "code-invalid")])


def test_looking_ends_at_the_twentieth_fault() -> None:
    assert len(found({"resourceType": "Patient", "name": [{}] * 1000})) == MAX_ISSUES


def test_eighteen_digits_are_a_number() -> None:
    for written in ("123456789.012345678", "0.123456789012345678", "1E-10", "1.00"):
        text = json.dumps(OBSERVATION)[:-1] + ',"valueQuantity":{"value":' + written + "}}"
        assert not faults(decode(text.encode()), "Observation")


@pytest.fixture(scope="module")
def examples(shared_data: Path) -> list[dict[str, Any]]:
    wanted = ("Patient", "Observation", "Condition", "MedicationRequest", "Encounter", "Questionnaire", "Claim")
    files = sorted(one for name in wanted for one in (shared_data / "fhir-r4-examples").glob(f"{name}-*.json"))
    return [decode(path.read_bytes()) for path in files]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) of a tree."""
    for key, inner in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_the_librarys_models_refuse_is_refused(examples: list[dict[str, Any]], data: st.DataObject) -> None:
    """Not the other way round: the models know no value sets, and take some primitives as they should not."""
    from fhir.resources.R4B import get_fhir_model_class

    resource = copy.deepcopy(data.draw(st.sampled_from(examples)))
    if resource["resourceType"] in R4_ONLY:
        return
    holder, key = data.draw(st.sampled_from([one for one in _places(resource) if one[1] != "resourceType"]))
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(st.sampled_from([True, 7, "x y", " ", {}, [], {"x": 1}, ["x"], {"reference": 5}]))
    found = faults(resource, "x")
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except (ValueError, KeyError, TypeError, AttributeError):
        assert found


@pytest.mark.parametrize("name", ["system", "code"])
@pytest.mark.parametrize("value", [{}, [], {"a": 1}, ["active"], None, True])
def test_a_coding_of_what_is_no_text_is_refused(name: str, value: Any) -> None:
    coding = {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"} | {name: value}
    condition = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}}
    assert faults(condition | {"clinicalStatus": {"coding": [coding]}}, "Condition")
