"""What Conditions, MedicationRequests and Procedures say in codes: that it is so now, or that it was.

Nothing is read where a resource says that it is not what it seems (``modifierExtension``, entered in error, refuted,
not done, a mere proposal), or what is not sure yet (provisional, differential). A medication by reference is not
followed: its code stands in another record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from twinward.features.codes import Kind, Recorded, fact_code
from twinward.features.derivation import Measurement
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.values import to_ms

_CLINICAL: Final = {
    "active": Recorded.CURRENT,
    "recurrence": Recorded.CURRENT,
    "relapse": Recorded.CURRENT,
    "inactive": Recorded.PAST,
    "remission": Recorded.PAST,
    "resolved": Recorded.PAST,
}
"""http://terminology.hl7.org/CodeSystem/condition-clinical."""
_MEDICATION: Final = {
    "active": Recorded.CURRENT,
    "on-hold": Recorded.CURRENT,
    "completed": Recorded.PAST,
    "stopped": Recorded.PAST,
}
"""http://hl7.org/fhir/CodeSystem/medicationrequest-status: the others were never taken, or nobody knows."""
_PROCEDURE: Final = {"in-progress": Recorded.CURRENT, "completed": Recorded.PAST}
"""http://hl7.org/fhir/event-status."""
_ORDERS: Final = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})


def facts_of(resource: JsonObject, source: str) -> Iterator[Measurement]:
    """Every coding of what a resource says, as a measurement whose value is a ``Recorded``."""
    known = _READ.get(str(resource.get("resourceType")))
    if known is None or "modifierExtension" in resource:
        return
    kind, element, state_of = known
    state = state_of(resource)
    concept = resource.get(element)
    codings = concept.get("coding") if isinstance(concept, dict) else None
    if state is None or not isinstance(codings, list):
        return
    at_ms = _known_at_ms(resource)
    for coding in codings:
        if isinstance(coding, dict) and isinstance(coding.get("system"), str) and isinstance(coding.get("code"), str):
            code = fact_code(kind, coding["system"], coding["code"])
            yield Measurement(code, float(state), "{recorded}", at_ms, source)


def _condition(resource: JsonObject) -> Recorded | None:
    sure = _code(resource.get("verificationStatus"))
    if sure not in (None, "confirmed"):
        return None
    status = _code(resource.get("clinicalStatus"))
    if status is None:
        return Recorded.PAST if any(name.startswith("abatement") for name in resource) else Recorded.CURRENT
    return _CLINICAL.get(status)


def _medication(resource: JsonObject) -> Recorded | None:
    if resource.get("doNotPerform") is True or str(resource.get("intent")) not in _ORDERS:
        return None
    return _MEDICATION.get(str(resource.get("status")))


def _procedure(resource: JsonObject) -> Recorded | None:
    return _PROCEDURE.get(str(resource.get("status")))


_READ: Final[Mapping[str, tuple[Kind, str, Callable[[JsonObject], Recorded | None]]]] = {
    "Condition": (Kind.CONDITION, "code", _condition),
    "MedicationRequest": (Kind.MEDICATION, "medicationCodeableConcept", _medication),
    "Procedure": (Kind.PROCEDURE, "code", _procedure),
}


def _code(concept: Any) -> str | None:
    """The first code of a concept; None where there is none."""
    codings = concept.get("coding") if isinstance(concept, dict) else None
    first = codings[0] if isinstance(codings, list) and codings else None
    code = first.get("code") if isinstance(first, dict) else None
    return code if isinstance(code, str) else None


def _known_at_ms(resource: JsonObject) -> int:
    """When it began to be so; 0 where no moment is told: then it counts on every day."""
    period = resource.get("performedPeriod")
    candidates = (
        resource.get("onsetDateTime"),
        resource.get("recordedDate"),
        resource.get("authoredOn"),
        resource.get("performedDateTime"),
        period.get("start") if isinstance(period, dict) else None,
    )
    return next((at_ms for value in candidates if (at_ms := to_ms(value)) is not None), 0)
