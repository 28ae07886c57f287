"""Which category of consent and of keys a resource falls under.

A coarse and documented rule, read top to bottom: sensitive categories first (psychiatry and genomics may not be read
without the patient's explicit consent), then what the resource says of itself, then its type. It looks at codes only:
a psychiatric diagnosis that is only written in free text is not recognised, and ends where its type says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from twinward.fhir.resource_types import SHARED_TYPES
from twinward.fhir.strict_json import JsonObject
from twinward.vocabulary import Category

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

_GENOMIC = _codes(
    "48018-6 48004-6 48005-3 51958-7 51963-7 53037-8 55232-3 69547-8 69548-6 81247-9 81252-9 83005-9 84413-4 "
    "59041-4 79716-7 363779003"
)
"""LOINC: gene studied, DNA change, amino acid change, transcript, variant assessment, genetic panels and reports, drug
metabolism by gene product; SNOMED CT: genotype determination."""

_PSYCHIATRIC_LOINC = _codes("44249-1 44261-6 55758-7 69737-5 70274-6 75626-2 73831-0 93373-9")
"""PHQ-9, PHQ-2, GAD-7, AUDIT-C, adolescent depression screen, C-SSRS."""

_PSYCHIATRIC_SNOMED = _codes(
    "74732009 35489007 370143000 36923009 66344007 78667006 197480006 21897009 371631005 231504006 13746004 58214004 "
    "69322001 47505003 191736004 72366004 192127007 406506008 408856003 35919005 7200002 66590003 15167005 5602001 "
    "75544000 6525002 55680006 82313006 225444004 52448006 228557008 171207006"
)
"""Mental disorder and its common children: depression, anxiety, panic, bipolar, schizophrenia, psychosis, PTSD, OCD,
eating disorders, attention deficit, autism, alcohol and opioid abuse, overdose, suicidality, dementia, therapy and
screening."""

_PSYCHIATRIC_ICD10 = re.compile(r"F[0-9]{2}(?:\..{1,4}|[0-9]{1,4})?")
_PSYCHIATRIC_ICD9 = re.compile(r"(?:29[0-9]|30[0-9]|31[0-9])(?:\..{1,2})?")
_CODED_ELEMENTS = ("code", "type", "reasonCode", "serviceType", "category")


def category_of(resource: JsonObject) -> Category:
    """The category of one decoded resource. Anything unknown is administrative."""
    codings = [coding for name in _CODED_ELEMENTS for coding in _codings(resource.get(name))]
    if any(_is_psychiatric(system, code) for system, code in codings):
        return Category.PSYCHIATRY
    if any(system in (LOINC, SNOMED) and code in _GENOMIC for system, code in codings) or _has_genetics(resource):
        return Category.GENOMICS
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
    found = {_TYPE_CATEGORY.get(resource_type, Category.ADMINISTRATIVE), Category.PSYCHIATRY, Category.GENOMICS}
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


def _is_psychiatric(system: str, code: str) -> bool:
    if system == SNOMED:
        return code in _PSYCHIATRIC_SNOMED
    if system == LOINC:
        return code in _PSYCHIATRIC_LOINC
    if "icd-10" in system:
        return _PSYCHIATRIC_ICD10.fullmatch(code) is not None
    return "icd-9" in system and _PSYCHIATRIC_ICD9.fullmatch(code) is not None


def _has_genetics(resource: JsonObject) -> bool:
    """Whether one of HL7's genetics extensions is used, e.g. ``…/observation-geneticsGene``."""
    extensions = resource.get("extension")
    urls = [one.get("url") for one in extensions if isinstance(one, dict)] if isinstance(extensions, list) else []
    return any(isinstance(url, str) and "-genetics" in url for url in urls)


def _codings(concepts: Any) -> Iterator[tuple[str, str]]:
    """(system, code) of every coding of a CodeableConcept or a list of them; other shapes give nothing."""
    for concept in concepts if isinstance(concepts, list) else [concepts]:
        codings = concept.get("coding") if isinstance(concept, dict) else None
        for coding in codings if isinstance(codings, list) else []:
            if isinstance(coding, dict):
                yield str(coding.get("system", "")), str(coding.get("code", ""))
