from __future__ import annotations

from pathlib import Path

import pytest

from twinward.fhir.errors import InvalidResource
from twinward.fhir.json.strict_json import JsonObject, decode
from twinward.fhir.resource_types import R4_TYPES, SHARED_TYPES
from twinward.fhir.validation.validator import validate

SILENT = {"ActivityDefinition-blood-tubes-supply.json", "EventDefinition-example.json"}
"""Official examples whose narrative says nothing: against txt-2, so they are refused."""


@pytest.fixture(scope="module")
def examples(shared_data: Path) -> dict[str, JsonObject]:
    files = sorted((shared_data / "fhir-r4-examples").glob("*.json"))
    assert len(files) == 360
    return {path.name: decode(path.read_bytes()) for path in files}


def test_every_official_example_is_accepted(examples: dict[str, JsonObject]) -> None:
    refused = {}
    for name, resource in examples.items():
        try:
            validate(resource)
        except InvalidResource as error:
            refused[name] = {issue.path.partition(".")[2] for issue in error.issues}
    assert refused == {name: {"text.div"} for name in SILENT}


def test_r4_types_are_known_and_others_are_not() -> None:
    assert len(R4_TYPES) == 146
    assert SHARED_TYPES < R4_TYPES
    for name in ("Citation", "SubscriptionTopic", "DomainResource", "Resource", "patient", "", None, 5, ["Patient"]):
        with pytest.raises(InvalidResource) as caught:
            validate({"resourceType": name})
        assert caught.value.issues[0].path == "Resource.resourceType"


@pytest.mark.parametrize("name", sorted(R4_TYPES))
def test_every_type_is_defined_and_no_value_repeated(name: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        validate({"resourceType": name, "secretElement": "secret value"})
    assert f"{name}.secretElement" in [issue.path for issue in caught.value.issues]
    assert all("secret value" not in issue.message for issue in caught.value.issues)


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ({"id": "a b"}, "Patient.id"),
        ({"id": ""}, "Patient.id"),
        ({"id": "x" * 65}, "Patient.id"),
        ({"id": "a\n"}, "Patient.id"),
        ({"id": 5}, "Patient.id"),
        ({"contained": {}}, "Patient.contained"),
        ({"contained": ["x"]}, "Patient.contained[0]"),
        ({"contained": [{"resourceType": "Secret"}]}, "Patient.contained[0].resourceType"),
        (
            {"contained": [{"resourceType": "Organization", "contained": []}]},
            "Patient.contained[0].contained",
        ),
        ({"managingOrganization": {"reference": 5}}, "Patient.managingOrganization.reference"),
    ],
)
def test_structure(resource: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        validate({"resourceType": "Patient"} | resource)
    assert caught.value.issues[0].path == path


@pytest.mark.parametrize(
    ("resource", "code", "path"),
    [
        ({"birthDate": "1999-13-45"}, "value", "Patient.birthDate"),
        ({"name": "x"}, "value", "Patient.name"),
        ({"name": [{"given": [5]}]}, "value", "Patient.name[0].given[0]"),
        ({"nickname": "x"}, "structure", "Patient.nickname"),
        ({"contact": [{"gender": []}]}, "value", "Patient.contact[0].gender"),
    ],
)
def test_full_validation_names_the_element(resource: dict[str, object], code: str, path: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        validate({"resourceType": "Patient"} | resource)
    assert (caught.value.issues[0].code, caught.value.issues[0].path) == (code, path)


def test_what_is_required_is_missed() -> None:
    with pytest.raises(InvalidResource) as caught:
        validate({"resourceType": "Observation", "status": "final"}, path="Bundle.entry[3].resource")
    assert caught.value.issues[0].path == "Bundle.entry[3].resource.code"
    assert caught.value.issues[0].code == "required"
