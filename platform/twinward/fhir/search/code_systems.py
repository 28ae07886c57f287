"""The code systems of elements whose type is ``code``: a ``code`` carries none, its required binding implies it.

https://hl7.org/fhir/R4/terminologies-systems.html. Only elements that a search looks at are here.
"""

from __future__ import annotations

_HL7 = "http://hl7.org/fhir/"

CODE_SYSTEMS = {
    ("Patient", "gender"): _HL7 + "administrative-gender",
    ("AllergyIntolerance", "category"): _HL7 + "allergy-intolerance-category",
    ("CarePlan", "status"): _HL7 + "request-status",
    ("CareTeam", "status"): _HL7 + "care-team-status",
    ("Device", "status"): _HL7 + "device-status",
    ("DiagnosticReport", "status"): _HL7 + "diagnostic-report-status",
    ("DocumentReference", "status"): _HL7 + "document-reference-status",
    ("Encounter", "status"): _HL7 + "encounter-status",
    ("Goal", "lifecycleStatus"): _HL7 + "goal-status",
    ("Immunization", "status"): _HL7 + "event-status",
    ("Medication", "status"): _HL7 + "CodeSystem/medication-status",
    ("MedicationDispense", "status"): "http://terminology.hl7.org/CodeSystem/medicationdispense-status",
    ("MedicationRequest", "intent"): _HL7 + "CodeSystem/medicationrequest-intent",
    ("MedicationRequest", "status"): _HL7 + "CodeSystem/medicationrequest-status",
    ("Observation", "status"): _HL7 + "observation-status",
    ("Procedure", "status"): _HL7 + "event-status",
    ("QuestionnaireResponse", "status"): _HL7 + "questionnaire-answers-status",
    ("ServiceRequest", "status"): _HL7 + "request-status",
}
"""By type and element."""
