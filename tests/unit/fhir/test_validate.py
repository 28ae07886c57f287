from __future__ import annotations

from pathlib import Path

import pytest

from twinward.fhir.errors import InvalidResource
from twinward.fhir.resource_types import R4_ONLY, R4_TYPES, SHARED_TYPES
from twinward.fhir.strict_json import decode
from twinward.fhir.validate import validate

# Official R4 examples that the R4B models reject or do not know, and why this node takes them all the same. Found by
# running the library over every example; `test_every_official_example_is_accepted` keeps the list honest.
MENDED = {
    "Evidence-example.json": "R4B redesigned Evidence: exposureBackground went, variableDefinition became required",
    "EffectEvidenceSynthesis-example.json": "type dropped in R4B",
    "RiskEvidenceSynthesis-example.json": "type dropped in R4B",
    "SubstanceSpecification-example.json": "renamed SubstanceDefinition in R4B",
    "MedicinalProduct-example.json": "renamed MedicinalProductDefinition in R4B",
    "MedicinalProductAuthorization-example.json": "renamed RegulatedAuthorization in R4B",
    "MedicinalProductContraindication-example.json": "merged into ClinicalUseDefinition in R4B",
    "MedicinalProductIndication-example.json": "merged into ClinicalUseDefinition in R4B",
    "MedicinalProductInteraction-example.json": "merged into ClinicalUseDefinition in R4B",
    "MedicinalProductUndesirableEffect-example.json": "merged into ClinicalUseDefinition in R4B",
    "MedicinalProductIngredient-example.json": "renamed Ingredient in R4B",
    "MedicinalProductManufactured-example.json": "renamed ManufacturedItemDefinition in R4B",
    "MedicinalProductPackaged-example.json": "renamed PackagedProductDefinition in R4B",
    "MedicinalProductPharmaceutical-example.json": "renamed AdministrableProductDefinition in R4B",
}


def test_every_official_example_is_accepted(shared_data: Path) -> None:
    from fhir.resources.R4B import get_fhir_model_class

    files = sorted((shared_data / "fhir-r4-examples").glob("*.json"))
    assert len(files) == 360
    rejected_by_the_library = set()
    for path in files:
        resource = decode(path.read_bytes())
        validate(resource, depth="full")
        try:
            get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        except ValueError:
            rejected_by_the_library.add(path.name)
    assert rejected_by_the_library == set(MENDED)


def test_r4_types_are_known_and_others_are_not() -> None:
    assert len(R4_TYPES) == 146
    assert SHARED_TYPES < R4_TYPES
    for name in ("Citation", "SubscriptionTopic", "DomainResource", "Resource", "patient", "", None, 5, ["Patient"]):
        with pytest.raises(InvalidResource) as caught:
            validate({"resourceType": name}, depth="structure")
        assert caught.value.issues[0].path == "Resource.resourceType"


@pytest.mark.parametrize("name", sorted(R4_TYPES - R4_ONLY - {"Evidence"}))
def test_the_library_has_a_model_for_every_other_type(name: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        validate({"resourceType": name, "secretElement": "secret value"}, depth="full")
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
        ({"subject": {"reference": 5}}, "Patient.subject.reference"),
        ({"patient": [{"reference": {}}]}, "Patient.patient.reference"),
    ],
)
def test_structure(resource: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        validate({"resourceType": "Patient"} | resource, depth="structure")
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
        validate({"resourceType": "Patient"} | resource, depth="full")
    assert (caught.value.issues[0].code, caught.value.issues[0].path) == (code, path)
    validate({"resourceType": "Patient"} | resource, depth="structure")


def test_what_is_required_is_missed() -> None:
    with pytest.raises(InvalidResource) as caught:
        validate({"resourceType": "Observation", "status": "final"}, depth="full", path="Bundle.entry[3].resource")
    assert caught.value.issues[0].path == "Bundle.entry[3].resource.code"
    assert caught.value.issues[0].code == "required"
