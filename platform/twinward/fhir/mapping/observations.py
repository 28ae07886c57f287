"""Numbers out of Observations: valueQuantity and components, by LOINC code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from twinward.features.derivation import Measurement, Person
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.times import to_date, to_ms
from twinward.fhir.mapping.categories import LOINC
from twinward.fhir.validation.validate import element

FINALITY = {"preliminary": 0, "final": 1, "amended": 2, "corrected": 2}
"""Observation.status values whose number stands, as of ``Measurement``; not registered, cancelled, entered-in-error or
unknown. R4's value set has ``corrected`` as a kind of ``amended``."""


def measurements_of(observation: JsonObject, source: str) -> Iterator[Measurement]:
    """Every LOINC-coded number of one Observation that says when it was taken; ``source`` is the record's name.

    Nothing where it is about something else than its subject (``focus``), or a ``modifierExtension`` says that it is
    not what it seems: nobody may read it who does not know the extension (R4, extensibility, 2.4.0.1).
    """
    finality = FINALITY.get(str(observation.get("status")))
    if observation.get("resourceType") != "Observation" or finality is None or "focus" in observation:
        return
    at_ms = _taken_at_ms(observation)
    if at_ms is None or "modifierExtension" in observation:
        return
    told_ms = to_ms(observation.get("issued")) or 0
    components = observation.get("component")
    for part in [observation, *(components if isinstance(components, list) else [])]:
        if isinstance(part, dict) and "modifierExtension" not in part:
            for code, number, unit in _numbers(part):
                yield Measurement(code, number, unit, at_ms, source, finality, told_ms)


def person_of(patient: JsonObject) -> Person:
    """Birth date, administrative gender and death of a Patient. Other and unknown genders stay unknown."""
    female = {"female": True, "male": False}.get(str(patient.get("gender")))
    died = patient.get("deceasedDateTime")
    return Person(
        birth_date=to_date(patient.get("birthDate")),
        female=female,
        died=to_date(died[:10]) if isinstance(died, str) else None,
        is_dead=died is not None or patient.get("deceasedBoolean") is True,
    )


def _taken_at_ms(observation: JsonObject) -> int | None:
    events = element(observation, "effectiveTiming", "event")
    candidates = (
        observation.get("effectiveDateTime"),
        observation.get("effectiveInstant"),
        *sorted(events if isinstance(events, list) else (), key=lambda event: to_ms(event) or 0, reverse=True),
        element(observation, "effectiveTiming", "repeat", "boundsPeriod", "end"),
        element(observation, "effectiveTiming", "repeat", "boundsPeriod", "start"),
        element(observation, "effectivePeriod", "end"),
        element(observation, "effectivePeriod", "start"),
        observation.get("issued"),
    )
    return next((at_ms for value in candidates if (at_ms := to_ms(value)) is not None), None)


def _numbers(part: JsonObject) -> Iterator[tuple[str, float, str]]:
    """LOINC code, number and unit."""
    quantity = part.get("valueQuantity")
    # A comparator makes a bound of the number ("< 0.2"), not a measurement; a reason why there is none denies it.
    if not isinstance(quantity, dict) or "comparator" in quantity or "dataAbsentReason" in part:
        return
    value, unit = quantity.get("value"), _unit(quantity)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not unit:
        return
    number = float(value)
    codings = element(part, "code", "coding")
    for coding in codings if isinstance(codings, list) and math.isfinite(number) else []:
        if isinstance(coding, dict) and coding.get("system") == LOINC and isinstance(coding.get("code"), str):
            yield coding["code"], number, unit


def _unit(quantity: JsonObject) -> str:
    coded: Any = quantity.get("code") if quantity.get("system") == "http://unitsofmeasure.org" else None
    unit = coded or quantity.get("unit")
    return unit if isinstance(unit, str) else ""
