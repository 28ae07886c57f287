"""Invariants of what is told of patients and of those who care for them."""

from __future__ import annotations

import json

from twinward.fhir.validation.invariants.terms import (
    UCUM,
    Object,
    Rule,
    any_there,
    chosen,
    in_order,
    is_coded,
    needs,
    not_both,
    one_there,
    parts,
    there,
    values,
)

_SYSTEMS = "http://terminology.hl7.org/CodeSystem/"
_AS_HL7_WROTE_IT = "something"
"""The system that HL7's expressions of ppc-2 to ppc-5 name; no code system has it."""


def _is_retracted(one: Object, system: str) -> bool:
    return is_coded(one.get("verificationStatus"), _SYSTEMS + system, "entered-in-error")


def _has_no_value_of_a_component(one: Object) -> bool:
    if "component" not in one or not chosen(one, "value"):
        return True
    own = set(map(_text_of, parts(one, "code", "coding")))
    return own.isdisjoint(map(_text_of, parts(one, "component", "code", "coding")))


def _text_of(coding: Object) -> str:
    """The same text for equal codings: sets of them meet in linear time, however many a sender puts in."""
    return json.dumps(coding, sort_keys=True, default=str)


def _is_percentage(one: Object, bound: str) -> bool:
    quantity = one.get("probabilityRange", {}).get(bound)
    return quantity is None or (quantity.get("code"), quantity.get("system")) == ("%", UCUM)


def _is_on_behalf(one: Object) -> bool:
    """A member that is not plainly something else than a Practitioner."""
    told = one.get("member", {}).get("reference")
    steps = told.split("/") if isinstance(told, str) else []
    kind = next((step for step in reversed(steps[:-1]) if step[:1].isupper()), "Practitioner")
    return not there(one, "onBehalfOf") or kind == "Practitioner"


def _is_parameter(one: Object) -> bool:
    return ("part" in one) + chosen(one, "value") + ("resource" in one) == 1


def _names_a_patient(scope: str) -> Rule:
    return lambda one: "patient" in one or not is_coded(one.get("scope"), _AS_HL7_WROTE_IT, scope)


RULES: dict[str, dict[str, Rule]] = {
    "AllergyIntolerance": {
        "ait-1": lambda one: "clinicalStatus" in one or _is_retracted(one, "allergyintolerance-verification"),
        "ait-2": lambda one: "clinicalStatus" not in one or not _is_retracted(one, "allergyintolerance-verification"),
    },
    "Appointment": {
        "app-2": lambda one: there(one, "start") == there(one, "end"),
        "app-3": lambda one: (
            (there(one, "start") and there(one, "end"))
            or one.get("status", "proposed") in ("proposed", "cancelled", "waitlist")
        ),
        "app-4": lambda one: "cancelationReason" not in one or one.get("status", "noshow") in ("noshow", "cancelled"),
    },
    "Appointment.participant": {"app-1": any_there("type", "actor")},
    "AppointmentResponse": {"apr-1": any_there("participantType", "actor")},
    "AuditEvent.entity": {"sev-1": not_both("name", "query")},
    "CarePlan.activity": {"cpl-3": not_both("detail", "reference")},
    "CareTeam.participant": {"ctm-1": _is_on_behalf},
    "Composition.section": {
        "cmp-1": any_there("text", "entry", "section"),
        "cmp-2": not_both("emptyReason", "entry"),
    },
    "Condition": {
        "con-4": lambda one: (
            not chosen(one, "abatement")
            or is_coded(one.get("clinicalStatus"), _SYSTEMS + "condition-clinical", "resolved", "remission", "inactive")
        ),
        "con-5": lambda one: "clinicalStatus" not in one or not _is_retracted(one, "condition-ver-status"),
    },
    "Condition.evidence": {"con-2": any_there("code", "detail")},
    "Condition.stage": {"con-1": any_there("summary", "assessment")},
    "Consent": {
        "ppc-1": any_there("policy", "policyRule"),
        "ppc-2": _names_a_patient("patient-privacy"),
        "ppc-3": _names_a_patient("research"),
        "ppc-4": _names_a_patient("adr"),
        "ppc-5": _names_a_patient("treatment"),
    },
    "CoverageEligibilityResponse.insurance.item": {"ces-1": one_there("category", "productOrService")},
    "FamilyMemberHistory": {
        "fhs-1": lambda one: not (chosen(one, "age") and chosen(one, "born")),
        "fhs-2": lambda one: chosen(one, "age") or not there(one, "estimatedAge"),
    },
    "Goal.target": {"gol-1": lambda one: "measure" in one or not chosen(one, "detail")},
    "Group": {"grp-1": lambda one: "member" not in one or one.get("actual") is True},
    "Immunization.education": {"imm-1": any_there("documentType", "reference")},
    "ImmunizationRecommendation.recommendation": {"imr-1": any_there("vaccineCode", "targetDisease")},
    "InsurancePlan": {"ipn-1": any_there("identifier", "name")},
    "Linkage": {"lnk-1": lambda one: len(one["item"]) > 1},
    "List": {
        "lst-1": not_both("emptyReason", "entry"),
        "lst-2": lambda one: (
            one.get("mode") == "changes" or not any(there(each, "deleted") for each in parts(one, "entry"))
        ),
        "lst-3": lambda one: (
            one.get("mode") == "working" or not any(there(each, "date") for each in parts(one, "entry"))
        ),
    },
    "MeasureReport": {
        "mrp-1": lambda one: one.get("type") != "data-collection" or "group" not in one,
        "mrp-2": lambda one: all(
            ("value" in each) != ("component" in each) for each in parts(one, "group", "stratifier", "stratum")
        ),
    },
    "MedicationAdministration.dosage": {"mad-1": lambda one: "dose" in one or chosen(one, "rate")},
    "MedicationDispense": {"mdd-1": lambda one: in_order(one.get("whenPrepared"), one.get("whenHandedOver"))},
    "MolecularSequence": {"msq-3": lambda one: one.get("coordinateSystem", 0) in (0, 1)},
    "MolecularSequence.referenceSeq": {
        "msq-5": lambda one: there(one, "genomeBuild") == there(one, "chromosome"),
        "msq-6": lambda one: (
            sum(
                there(one, name)
                for name in ("genomeBuild", "referenceSeqId", "referenceSeqPointer", "referenceSeqString")
            )
            == 1
        ),
    },
    "Observation": {
        "obs-6": lambda one: "dataAbsentReason" not in one or not chosen(one, "value"),
        "obs-7": _has_no_value_of_a_component,
    },
    "Observation.referenceRange": {"obs-3": any_there("low", "high", "text")},
    "Organization": {
        "org-1": any_there("identifier", "name"),
        "org-2": lambda one: "home" not in values(parts(one, "address"), "use"),
        "org-3": lambda one: "home" not in values(parts(one, "telecom"), "use"),
    },
    "Parameters.parameter": {"inv-1": _is_parameter},
    "Patient.contact": {"pat-1": any_there("name", "telecom", "address", "organization")},
    "QuestionnaireResponse.item": {"qrs-1": not_both("answer", "item")},
    "RequestGroup.action": {"rqg-1": one_there("resource", "action")},
    "RiskAssessment.prediction": {
        "ras-1": lambda one: _is_percentage(one, "low") and _is_percentage(one, "high"),
        "ras-2": lambda one: one.get("probabilityDecimal", 0) <= 100,
    },
    "ServiceRequest": {"prr-1": needs("orderDetail", "code")},
    "Task": {"inv-1": lambda one: in_order(one.get("authoredOn"), one.get("lastModified"))},
}
