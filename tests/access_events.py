"""An access as tests and benchmarks log it."""

from __future__ import annotations

from twinward.audit.models import AccessEvent
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId


def read_by_a_clinician(twin: TwinId) -> AccessEvent:
    """A clinician reads a twin."""
    return AccessEvent(
        at_ms=1_767_225_612_345,
        agent="dr-osei",
        role=Role.CLINICIAN,
        unit="ward 4",
        action=Action.READ,
        purpose=Purpose.TREATMENT,
        twin=twin,
        categories=(Category.LABS, Category.VITALS),
        decision="permit",
        reason="clinicians may read for treatment",
        policy_hash="ab" * 32,
        consent_version=3,
        detail=(("route", "fhir"),),
    )
