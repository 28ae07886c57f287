"""The words every domain shares: who acts, on what, why. Values are wire values and do not change."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NewType

TwinId = NewType("TwinId", str)
"""A twin's opaque name: a UUIDv7, never derived from anything about the patient."""

NOBODY: Final = TwinId("nobody")
"""No patient: whom fillers of the log are about. It has no key and no record, and no twin is ever named so."""

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
    """Mental health, without substance use."""
    SUBSTANCE_USE = "substance-use"
    HIV = "hiv"
    SEXUAL_HEALTH = "sexual-health"
    """Sexual and reproductive health."""
    SOCIAL = "social"
    ADMINISTRATIVE = "administrative"
    FEATURES = "features"
    """The twin's numeric feature vector, derived from the categories above."""
    MONITORING = "monitoring"
    """Bedside monitor tensors: hours x signals."""


SENSITIVE = frozenset(
    {Category.PSYCHIATRY, Category.SUBSTANCE_USE, Category.HIV, Category.SEXUAL_HEALTH, Category.GENOMICS}
)
"""Categories that are read only with the patient's explicit consent: after HL7 v3 ActInformationSensitivityPolicy."""

DERIVED_FROM: Mapping[Category, frozenset[Category]] = MappingProxyType(
    {
        Category.FEATURES: frozenset(
            {
                Category.DEMOGRAPHICS,
                Category.VITALS,
                Category.LABS,
                Category.CONDITIONS,
                Category.MEDICATIONS,
                Category.PROCEDURES,
            }
        )
    }
)
"""What the node computes from records, and the categories of those records. It leaves as what it is, features or a
match, and never as a record."""

RECORD_CATEGORIES = frozenset(Category) - DERIVED_FROM.keys()
"""The categories that records can be asked for in."""


HOLDS: Final[Mapping[Category, frozenset[Category]]] = MappingProxyType(
    {
        Category.MONITORING: frozenset({Category.VITALS, Category.LABS}),
        Category.PSYCHIATRY: frozenset(
            {Category.CONDITIONS, Category.MEDICATIONS, Category.NOTES, Category.PROCEDURES, Category.ENCOUNTERS}
        ),
        Category.SUBSTANCE_USE: frozenset({Category.PSYCHIATRY}),
        Category.GENOMICS: frozenset({Category.LABS}),
    }
)
"""Categories whose records are records of these as well: a monitor's tensor holds vital signs and blood gases, a
psychiatric diagnosis is a condition that is kept apart, a genomic finding a laboratory result."""


@lru_cache(maxsize=1024)
def with_sources(categories: frozenset[Category]) -> frozenset[Category]:
    """The categories whose denial forbids these: derived data needs leave for everything it was derived from, and what
    is kept apart for what it is besides.

    Asked for beside some of its sources, derived data is asked for as far as it comes from those: features and vitals
    are the features that were measured as vitals.
    """
    hidden = [DERIVED_FROM[one] for one in categories if one in DERIVED_FROM and not DERIVED_FROM[one] & categories]
    return categories.union(*hidden, *(HOLDS[one] for one in categories if one in HOLDS))


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
    """A ward system that files records."""
    NODE = "node"
    """The node itself: cohort snapshots, keeping features up to date. No account has this role."""


class Action(StrEnum):
    """What is about to be done to a twin or to the node."""

    READ = "read"
    WRITE = "write"
    SEARCH = "search"
    EXPORT = "export"
    QUERY = "query"
    """A vendor's encrypted similarity query over a cohort; with a twin: that the query was compared with it."""
    MATCH = "match"
    """Telling a vendor that a twin matches: its handle, or a distance. No record."""
    COHORT = "cohort"
    """Reading one twin's feature vector into a cohort snapshot."""
    TRAIN = "train"
    COUNT = "count"
    """Reading one twin's Conditions into a day's count of cases, of which a sum with noise leaves."""
    AUDIT = "audit"
    """Reading the access log itself."""
    SHRED = "shred"
    CONSENT = "consent"
    BREAK_GLASS = "break-glass"
    NOTE = "note"
    """The node writing down where one of its own stores stands. No principal is ever permitted it."""
    SIGN_IN = "sign-in"
    """A person proves who it is and gets a session; a deny is a failure or a lock-out."""
    SIGN_OUT = "sign-out"
    ACCOUNT = "account"
    """Looking at accounts, or changing who may sign in and how."""
    STUDY = "study"
    """A hospital's part in a study before it runs: its key, an invitation, an officer's approval or its withdrawal."""
    BREACH = "breach"
    """A step of a breach's case: opened, assessed, drafted, notified, closed."""
    REVIEW = "review"
    """A finding on somebody's accesses: signed off, asked, answered, escalated."""
    POLICY = "policy"
    """Looking at the hospital's policy, or changing it."""
    CONTACT = "contact"
    """A step of a vendor's contact request; with a twin: that its patient is told, compared with it, or answers."""
    EXCHANGE = "exchange"
    """A step of an exchange of resources with other hospitals: offered, promised, shipped, received, disputed."""
    OUTBREAK = "outbreak"
    """A step of an alert of an outbreak, or of daily counts: paid for, released, added up, signed, sent."""


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
    PUBLIC_HEALTH = "PUBHLTH"
    """Watching for outbreaks with other hospitals."""


_BROADER: Final[Mapping[Purpose, Purpose]] = MappingProxyType(
    {
        Purpose.EMERGENCY: Purpose.TREATMENT,
        Purpose.SIMILARITY: Purpose.RESEARCH,
        Purpose.COMPLIANCE: Purpose.OPERATIONS,
        Purpose.RECORD_MANAGEMENT: Purpose.OPERATIONS,
    }
)
"""ETREAT is a TREAT, CLINTRCH a HRESCH, HCOMPL and RECORDMGT are HOPERAT: the is-a hierarchy of the code system
http://terminology.hl7.org/CodeSystem/v3-ActReason, below PurposeOfUse, as far as this house uses it."""


def is_a(purpose: Purpose, broader: Purpose) -> bool:
    """Whether a purpose is another one or, by the hierarchy of v3 ActReason, a kind of it."""
    found: Purpose | None = purpose
    while found is not None and found is not broader:
        found = _BROADER.get(found)
    return found is broader


class Again(StrEnum):
    """What becomes of a resource that was imported before."""

    SKIP = "skip"
    """What is kept stays."""
    UPDATE = "update"
    """A new version, where it differs."""
    NEW = "new"
    """Another one."""
