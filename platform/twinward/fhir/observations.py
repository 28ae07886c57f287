"""Numbers out of Observations: valueQuantity and components, by LOINC code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from twinward.fhir.categories import LOINC
from twinward.fhir.strict_json import JsonObject
from twinward.fhir.times import to_date, to_ms
from twinward.fhir.validate import element
from twinward.twins.measurements import Measurement, Person

_COUNTS = ("final", "amended", "corrected", "preliminary")
"""Observation.status values whose number stands; not registered, cancelled, entered-in-error or unknown."""


def measurements_of(observation: JsonObject) -> Iterator[Measurement]:
    """Every LOINC-coded number of one Observation that says when it was taken."""
    if observation.get("resourceType") != "Observation" or observation.get("status") not in _COUNTS:
        return
    at_ms = _taken_at_ms(observation)
    if at_ms is None:
        return
    components = observation.get("component")
    for part in [observation, *(components if isinstance(components, list) else [])]:
        if isinstance(part, dict):
            yield from _numbers(part, at_ms)


def person_of(patient: JsonObject) -> Person:
    """Birth date and administrative gender of a Patient. Other and unknown genders stay unknown."""
    female = {"female": True, "male": False}.get(str(patient.get("gender")))
    return Person(birth_date=to_date(patient.get("birthDate")), female=female)


def _taken_at_ms(observation: JsonObject) -> int | None:
    candidates = (
        observation.get("effectiveDateTime"),
        observation.get("effectiveInstant"),
        element(observation, "effectivePeriod", "end"),
        element(observation, "effectivePeriod", "start"),
        observation.get("issued"),
    )
    return next((at_ms for value in candidates if (at_ms := to_ms(value)) is not None), None)


def _numbers(part: JsonObject, at_ms: int) -> Iterator[Measurement]:
    quantity = part.get("valueQuantity")
    # A comparator makes a bound of the number ("< 0.2"), not a measurement.
    if not isinstance(quantity, dict) or "comparator" in quantity:
        return
    value, unit = quantity.get("value"), _unit(quantity)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not unit:
        return
    number = float(value)
    codings = element(part, "code", "coding")
    for coding in codings if isinstance(codings, list) and math.isfinite(number) else []:
        if isinstance(coding, dict) and coding.get("system") == LOINC and isinstance(coding.get("code"), str):
            yield Measurement(coding["code"], number, unit, at_ms)


def _unit(quantity: JsonObject) -> str:
    coded: Any = quantity.get("code") if quantity.get("system") == "http://unitsofmeasure.org" else None
    unit = coded or quantity.get("unit")
    return unit if isinstance(unit, str) else ""
