"""The words every domain shares: who acts, on what, why. Values are wire values and do not change."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

TwinId = NewType("TwinId", str)
"""A twin's opaque name: a UUIDv7, never derived from anything about the patient."""

RecordId = NewType("RecordId", str)
"""A sealed record's opaque name: a UUIDv7 the vault gives; a FHIR id is inside the ciphertext."""


class Category(StrEnum):
    """What a record is about. Each twin has one key per category, and consent speaks in these words."""

    DEMOGRAPHICS = "demographics"
    VITALS = "vitals"
    LABS = "labs"
    MEDICATIONS = "medications"
    CONDITIONS = "conditions"
    PROCEDURES = "procedures"
    IMMUNIZATIONS = "immunizations"
    ENCOUNTERS = "encounters"
    IMAGING = "imaging"
    NOTES = "notes"
    GENOMICS = "genomics"
    PSYCHIATRY = "psychiatry"
    SOCIAL = "social"
    ADMINISTRATIVE = "administrative"
    FEATURES = "features"
    """The twin's numeric feature vector, derived from the categories above."""
    MONITORING = "monitoring"
    """Bedside monitor tensors: hours x signals."""


class Role(StrEnum):
    """What a principal is to the hospital."""

    OFFICER = "officer"
    CLINICIAN = "clinician"
    RESEARCHER = "researcher"
    VENDOR = "vendor"
    OPERATOR = "operator"
    PATIENT = "patient"
    PEER_HOSPITAL = "peer-hospital"
    SYSTEM = "system"
    """The node's own jobs: cohort snapshots, heartbeats."""


class Action(StrEnum):
    """What is about to be done to a twin or to the node."""

    READ = "read"
    WRITE = "write"
    SEARCH = "search"
    EXPORT = "export"
    QUERY = "query"
    """A vendor's encrypted similarity query over a cohort."""
    COHORT = "cohort"
    """Reading one twin's feature vector into a cohort snapshot."""
    TRAIN = "train"
    AUDIT = "audit"
    """Reading the access log itself."""
    SHRED = "shred"
    CONSENT = "consent"
    BREAK_GLASS = "break-glass"


class Purpose(StrEnum):
    """Why: codes of HL7 v3 ActReason (PurposeOfUse)."""

    TREATMENT = "TREAT"
    EMERGENCY = "ETREAT"
    RESEARCH = "HRESCH"
    OPERATIONS = "HOPERAT"
    COMPLIANCE = "HCOMPL"
    PATIENT_REQUEST = "PATRQT"
    RECORD_MANAGEMENT = "RECORDMGT"
    SIMILARITY = "CLINTRCH"
    """Clinical-trial style research by an outside party: what a vendor's query is logged as."""
