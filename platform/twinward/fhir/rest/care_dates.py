"""When the care was given that a resource tells of: what ``start`` and ``end`` of ``$everything`` ask about.

https://hl7.org/fhir/R4/patient-operation-everything.html: care dates, and not when something was written down here.
"""

from __future__ import annotations

from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.times import ALWAYS, interval_of

_LASTING = frozenset({"Condition", "AllergyIntolerance"})
"""What is there until it abates, and not only on the day it began."""

_DATES = (
    *("effectiveDateTime", "effectivePeriod", "effectiveInstant", "performedDateTime", "performedPeriod"),
    *("occurrenceDateTime", "occurrencePeriod", "onsetDateTime", "onsetPeriod", "timingDateTime", "timingPeriod"),
    *("period", "billablePeriod", "servicedDate", "servicedPeriod", "started", "start", "startDate"),
    *("whenHandedOver", "whenPrepared", "authoredOn", "authored", "dateTime", "date", "recordedDate", "recorded"),
    *("dateAsserted", "issued", "created"),
)
"""Elements that say it, of any type: the first that is there counts."""


def care_interval(resource: JsonObject) -> tuple[int, int] | None:
    """From when until when, in ms since the epoch, the end excluded; None where a resource does not say."""
    found = next((one for name in _DATES if (one := interval_of(resource.get(name))) is not None), None)
    if found is None or resource.get("resourceType") not in _LASTING:
        return found
    abated = interval_of(resource.get("abatementDateTime") or resource.get("abatementPeriod"))
    return found[0], abated[1] if abated else ALWAYS[1]


def is_within(resource: JsonObject, asked: tuple[int, int]) -> bool:
    """Whether a resource tells of care in this time; what says no date is in any time, and so is who it is about."""
    kept = None if resource.get("resourceType") == "Patient" else care_interval(resource)
    return kept is None or (kept[0] < asked[1] and asked[0] < kept[1])
