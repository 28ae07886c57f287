"""Which category of consent and of keys a resource falls under.

A documented rule, read top to bottom: sensitive categories first (they may not be read without the patient's explicit
consent), recognised by what stands anywhere in the resource (``sensitivity``), then what the resource says of itself,
then its type.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from twinward.access.interfaces import AccessControl, Permit
from twinward.core.vocabulary import SENSITIVE, Category
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.resource_types import R4_TYPES, SHARED_TYPES
from twinward.fhir.sensitivity.content import sensitivities_of, sensitivities_of_content
from twinward.vault.interfaces import Record

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BY_TYPE = {
    Category.DEMOGRAPHICS: "Patient RelatedPerson Person",
    Category.CONDITIONS: "Condition AllergyIntolerance AdverseEvent DetectedIssue FamilyMemberHistory Flag "
    "RiskAssessment",
    Category.LABS: "Observation Specimen DiagnosticReport MeasureReport",
    Category.MEDICATIONS: "Medication MedicationRequest MedicationStatement MedicationAdministration "
    "MedicationDispense",
    Category.PROCEDURES: "Procedure ServiceRequest BodyStructure BiologicallyDerivedProduct Device DeviceMetric "
    "DeviceRequest DeviceUseStatement NutritionOrder SupplyDelivery SupplyRequest VisionPrescription",
    Category.IMMUNIZATIONS: "Immunization ImmunizationEvaluation ImmunizationRecommendation",
    Category.ENCOUNTERS: "Encounter EpisodeOfCare Appointment AppointmentResponse",
    Category.IMAGING: "ImagingStudy Media",
    Category.NOTES: "CarePlan CareTeam ClinicalImpression Communication CommunicationRequest Composition "
    "DocumentManifest DocumentReference Goal GuidanceResponse QuestionnaireResponse RequestGroup Binary Basic",
    Category.GENOMICS: "MolecularSequence",
}
_TYPE_CATEGORY = {name: category for category, names in _BY_TYPE.items() for name in names.split()}

_OBSERVATION = {
    "vital-signs": Category.VITALS,
    "vital-sign": Category.VITALS,  # not a code of HL7's, but in real files
    "laboratory": Category.LABS,
    "imaging": Category.IMAGING,
    "social-history": Category.SOCIAL,
    "sdoh": Category.SOCIAL,
    "survey": Category.NOTES,
    "exam": Category.PROCEDURES,
    "procedure": Category.PROCEDURES,
    "therapy": Category.PROCEDURES,
    "activity": Category.SOCIAL,
}
"""http://terminology.hl7.org/CodeSystem/observation-category."""

_REPORT = {
    "RAD": Category.IMAGING,
    "RUS": Category.IMAGING,
    "CT": Category.IMAGING,
    "NMR": Category.IMAGING,
    "XRC": Category.IMAGING,
    "LP29684-5": Category.IMAGING,
    "GE": Category.GENOMICS,
    "LAB": Category.LABS,
    "LP7839-6": Category.LABS,
    "LP29708-2": Category.NOTES,
}
"""HL7 v2 table 0074, and the LOINC parts US Core uses (radiology, pathology, cardiology)."""

_VITALS = _codes(
    "85353-1 85354-9 8480-6 8462-4 8478-0 8867-4 9279-1 8310-5 8331-1 8302-2 8306-3 29463-7 39156-5 2708-6 59408-5 "
    "9843-4 8287-5 8289-8 77606-2 59576-9"
)
"""LOINC codes of FHIR's vital signs profile, for observations that name no category."""

_CODED_ELEMENTS = ("code", "type", "reasonCode", "serviceType", "category")
_FIRST = (Category.PSYCHIATRY, Category.SUBSTANCE_USE, Category.HIV, Category.SEXUAL_HEALTH, Category.GENOMICS)
"""Under which sensitive category a record is filed that falls under several. It is released by leave for them all."""

_NEVER_FILED_APART = frozenset({"Patient"}) | SHARED_TYPES
"""Who a patient is must be found by whoever treats them, and what is shared tells of nobody."""


def category_of(resource: JsonObject) -> Category:
    """The category under which one decoded resource is filed. Anything unknown is administrative."""
    if resource.get("resourceType") in _NEVER_FILED_APART:
        return ordinary_category_of(resource)
    return filed_under(sensitivities_of(resource), ordinary_category_of(resource))


def filed_under(sensitivities: Collection[Category], ordinary: Category) -> Category:
    """The one category, of those a record falls under, whose key seals it."""
    return next((one for one in _FIRST if one in sensitivities), ordinary)


def categories_needed(record_type: str, category: Category, content: bytes) -> frozenset[Category]:
    """Every category that leave is needed for to be shown a stored record: what it is filed under, and what it tells.

    What is filed under a sensitive category is still a laboratory value or a condition, and needs leave for that too.
    """
    needed = sensitivities_of_content(record_type, content) | {category}
    if category in SENSITIVE and record_type in R4_TYPES:
        needed |= {ordinary_category_of(_tree(content))}
    return needed


def _tree(content: bytes) -> JsonObject:
    try:
        tree = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def ordinary_category_of(resource: JsonObject) -> Category:
    """What a resource is, whatever sensitive things it may tell of."""
    codings = [coding for name in _CODED_ELEMENTS for coding in _codings(resource.get(name))]
    resource_type = resource.get("resourceType")
    stated = [code for _, code in _codings(resource.get("category"))]
    if resource_type == "Observation":
        return _observation_category(stated, codings)
    if resource_type == "DiagnosticReport":
        return _report_category(resource, stated)
    return _TYPE_CATEGORY.get(str(resource_type), Category.ADMINISTRATIVE)


def categories_of_type(resource_type: str) -> frozenset[Category]:
    """Every category that resources of a type may fall under: what a search of the type has to ask leave for."""
    if resource_type in ("Patient", *SHARED_TYPES):
        return frozenset({_TYPE_CATEGORY.get(resource_type, Category.ADMINISTRATIVE), Category.ADMINISTRATIVE})
    found = {_TYPE_CATEGORY.get(resource_type, Category.ADMINISTRATIVE), *SENSITIVE}
    if resource_type == "Observation":
        found |= {*_OBSERVATION.values(), Category.VITALS, Category.LABS}
    if resource_type == "DiagnosticReport":
        found |= {*_REPORT.values(), Category.IMAGING, Category.LABS, Category.NOTES}
    return frozenset(found)


def _observation_category(stated: list[str], codings: list[tuple[str, str]]) -> Category:
    for code in stated:
        if code in _OBSERVATION:
            return _OBSERVATION[code]
    is_vital = any(system == LOINC and code in _VITALS for system, code in codings)
    return Category.VITALS if is_vital else Category.LABS


def _report_category(resource: JsonObject, stated: list[str]) -> Category:
    for code in stated:
        if code in _REPORT:
            return _REPORT[code]
    if "imagingStudy" in resource:
        return Category.IMAGING
    return Category.LABS if "result" in resource or "presentedForm" not in resource else Category.NOTES


def _codings(concepts: Any) -> Iterator[tuple[str, str]]:
    """(system, code) of every coding of a CodeableConcept or a list of them; other shapes give nothing."""
    for concept in concepts if isinstance(concepts, list) else [concepts]:
        codings = concept.get("coding") if isinstance(concept, dict) else None
        for coding in codings if isinstance(codings, list) else []:
            if isinstance(coding, dict):
                yield str(coding.get("system", "")), str(coding.get("code", ""))


class ReleaseByContent:
    """The ``Release`` of a node: a record needs leave for what it is filed under and for all that it tells of.

    So it does not matter under what a record was filed: by an earlier release that knew fewer codes, or under one of
    several categories that it falls under.
    """

    def __init__(self, access: AccessControl) -> None:
        self._access = access

    def needed(self, record: Record) -> frozenset[Category]:
        """Every category that leave is needed for, to be shown this record."""
        return categories_needed(record.record_type, record.category, record.content)

    def further(self, permit: Permit, categories: Collection[Category]) -> Sequence[Permit]:
        """Permits for further categories, as far as access control gives them."""
        return self._access.decide_further(permit, categories)
