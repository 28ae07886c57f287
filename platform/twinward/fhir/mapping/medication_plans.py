"""MedicationRequests as plans, MedicationAdministrations as what was charted (https://hl7.org/fhir/R4/datatypes.html#Timing).

Followed are ``event``, ``timeOfDay``, ``when``, ``dayOfWeek``, frequency and period in minutes, hours, days and weeks,
bounds as Period or Duration, ``count``, and the codes of GTS abbreviations (BID …). FHIR leaves the hours of those to
the institution: ``HOUSE_TIMES``. What says when otherwise is counted as unclear, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.values import interval, to_ms
from twinward.live.medication.models import Charted, Plan, Timing

_ORDERS: Final = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})
_ANSWERS: Final = frozenset({"completed", "in-progress", "on-hold", "stopped", "not-done"})
"""What was begun, and what was withheld by somebody; entered in error and unknown tell of nothing."""
_HOUR: Final = 3_600
HOUSE_TIMES: Final[Mapping[int, tuple[int, ...]]] = {
    1: (8,),
    2: (8, 20),
    3: (8, 14, 20),
    4: (8, 12, 18, 22),
}
"""Hours of the day at which so many doses a day are given, where an order does not say."""
_WHEN: Final[Mapping[str, float]] = {
    "MORN": 8, "MORN.early": 7, "MORN.late": 10, "NOON": 12, "AFT": 15, "AFT.early": 14, "AFT.late": 16,
    "EVE": 18, "EVE.early": 18, "EVE.late": 20, "NIGHT": 22, "HS": 22, "WAKE": 7,
    "CM": 8, "CD": 12, "CV": 18, "ACM": 7.5, "ACD": 11.5, "ACV": 17.5, "PCM": 8.5, "PCD": 12.5, "PCV": 18.5,
}  # fmt: skip
_CODES: Final[Mapping[str, tuple[int, ...]]] = {
    "QD": HOUSE_TIMES[1], "BID": HOUSE_TIMES[2], "TID": HOUSE_TIMES[3], "QID": HOUSE_TIMES[4],
    "AM": (8,), "PM": (20,), "BED": (22,),
}  # fmt: skip
_EVERY: Final = re.compile(r"Q(\d{1,2})H")
_UNITS_MS: Final[Mapping[str, int]] = {"min": 60_000, "h": 3_600_000, "d": 86_400_000, "wk": 7 * 86_400_000}
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.\d+)?")
_LEAST_MS: Final = 5 * 60_000
_MOST_TIMES: Final = 48
"""What comes more often than each so long, or at more times a day, is not followed: nobody charts it dose by dose."""
_LONGEST_MS: Final = 150 * 365 * 86_400_000
_MOST_TEXT: Final = 200


def plan_of(request: JsonObject) -> Plan | None:
    """What an order in force plans; None for one that is none, has ended, or is as needed alone."""
    if request.get("status") != "active" or request.get("intent") not in _ORDERS or request.get("doNotPerform") is True:
        return None
    authored = to_ms(request.get("authoredOn")) or 0
    timings, unclear = [], 0
    for dosage in _objects(request.get("dosageInstruction")):
        if dosage.get("asNeededBoolean") is True or "asNeededCodeableConcept" in dosage:
            continue
        found = _timing(dosage.get("timing"), authored)
        timings += [found] if found else []
        unclear += found is None
    if not timings and not unclear:
        return None
    return Plan(f"MedicationRequest/{request.get('id', '')}", _says(request), tuple(timings), unclear)


def charted_of(administration: JsonObject) -> Charted | None:
    """Which order's dose was answered, and when; None where it does not say so."""
    request = administration.get("request")
    reference = request.get("reference") if isinstance(request, dict) else None
    period = administration.get("effectivePeriod")
    began = period.get("start") if isinstance(period, dict) else administration.get("effectiveDateTime")
    at_ms = to_ms(began)
    if administration.get("status") not in _ANSWERS or not isinstance(reference, str) or at_ms is None:
        return None
    return Charted("/".join(reference.split("/_history/")[0].split("/")[-2:]), at_ms)


def _says(request: JsonObject) -> str:
    concept = request.get("medicationCodeableConcept")
    concept = concept if isinstance(concept, dict) else {}
    codings = _objects(concept.get("coding"))
    words = [concept.get("text"), *(one.get("display") for one in codings), *(one.get("code") for one in codings)]
    name = next((one for one in words if isinstance(one, str) and one.strip()), "medication")
    dosage = next((one.get("text") for one in _objects(request.get("dosageInstruction"))), None)
    both = f"{name}: {dosage}" if isinstance(dosage, str) and dosage.strip() else name
    return " ".join(both.split())[:_MOST_TEXT]


def _timing(timing: Any, authored_ms: int) -> Timing | None:
    if not isinstance(timing, dict):
        return None
    events = tuple(at_ms for one in _items(timing.get("event")) if (at_ms := to_ms(one)) is not None)
    if events:
        return Timing(min(events), at_ms=events)
    repeat = timing.get("repeat")
    code = _code(timing.get("code"))
    if not isinstance(repeat, dict):
        return _by_code(code, authored_ms) if code else None
    bounds = _bounds(repeat, authored_ms)
    if bounds is None:
        return None
    begin_ms, end_ms = bounds
    count = repeat.get("count")
    most = count if isinstance(count, int) and count > 0 else None
    days = [_DAYS.index(one) for one in _items(repeat.get("dayOfWeek")) if one in _DAYS]
    rhythm = _rhythm(repeat) or (_of_code(code) if code else None)
    if rhythm is None:
        return None
    times, every_days, interval_ms = rhythm
    if (not times and days) or len(times) > _MOST_TIMES:
        return None
    return Timing(begin_ms, end_ms, (), times, every_days, frozenset(days), interval_ms, most)


_Rhythm = tuple[tuple[int, ...], int, int]
"""Seconds of the day, each so many days; or milliseconds that elapse."""


def _rhythm(repeat: JsonObject) -> _Rhythm | None:
    if {"frequencyMax", "periodMax"} & repeat.keys():
        return None
    frequency, period, unit = repeat.get("frequency", 1), repeat.get("period"), repeat.get("periodUnit")
    named = _named(repeat)
    days = 1
    if period is not None:
        span_ms = _span_ms(period, unit)
        if not isinstance(frequency, int) or frequency < 1 or span_ms is None:
            return None
        days, rest = divmod(span_ms, _UNITS_MS["d"])
        if named is None and (rest or days < 1):
            step = span_ms // frequency
            return ((), 1, step) if step >= _LEAST_MS else None
        if rest or days < 1:
            return None
        if named is None and "dayOfWeek" not in repeat:
            hours = HOUSE_TIMES.get(frequency) if days == 1 else HOUSE_TIMES[1] if frequency == 1 else None
            if hours is None:
                return ((), 1, span_ms // frequency)
            return tuple(one * _HOUR for one in hours), days, 0
    if "dayOfWeek" in repeat:
        if days not in (1, 7):
            return None
        days = 1
    elif named is None and period is None:
        return None
    return named or (HOUSE_TIMES[1][0] * _HOUR,), max(days, 1), 0


def _named(repeat: JsonObject) -> tuple[int, ...] | None:
    """Times of the day that are named; None where none is."""
    if "timeOfDay" in repeat:
        found = [_TIME.fullmatch(one) if isinstance(one, str) else None for one in _items(repeat["timeOfDay"])]
        return tuple(int(one[1]) * _HOUR + int(one[2]) * 60 + int(one[3]) for one in found if one)
    if "when" in repeat and all(isinstance(one, str) and one in _WHEN for one in _items(repeat["when"])):
        shift = repeat.get("offset", 0)
        return tuple(round(_WHEN[str(one)] * _HOUR) + _shift(str(one), shift) for one in _items(repeat["when"]))
    return None


def _shift(when: str, minutes: object) -> int:
    """Minutes before (AC…) or after an event of the day, in seconds."""
    seconds = minutes * 60 if isinstance(minutes, int) and 0 <= minutes <= 120 else 0
    return -seconds if when.startswith("AC") else seconds


def _by_code(code: str, begin_ms: int) -> Timing | None:
    found = _of_code(code)
    return None if found is None else Timing(begin_ms, None, (), found[0], found[1], interval_ms=found[2])


def _of_code(code: str) -> _Rhythm | None:
    every = _EVERY.fullmatch(code)
    if every and int(every[1]):
        return (), 1, int(every[1]) * _UNITS_MS["h"]
    if code == "QOD":
        return (HOUSE_TIMES[1][0] * _HOUR,), 2, 0
    return (tuple(one * _HOUR for one in _CODES[code]), 1, 0) if code in _CODES else None


def _bounds(repeat: JsonObject, authored_ms: int) -> tuple[int, int | None] | None:
    period, length = repeat.get("boundsPeriod"), repeat.get("boundsDuration")
    if "boundsRange" in repeat:
        return None
    if isinstance(period, dict):
        start, end = to_ms(period.get("start")), interval(period.get("end"))
        return authored_ms if start is None else start, None if end is None else end[1]
    if isinstance(length, dict):
        span_ms = _span_ms(length.get("value"), length.get("code"))
        return None if span_ms is None else (authored_ms, authored_ms + span_ms)
    return authored_ms, None


def _span_ms(value: object, unit: object) -> int | None:
    """How long; None for what is no length of time, or one that no order has: a decimal of FHIR has no end."""
    if not isinstance(value, int | float) or not isinstance(unit, str) or unit not in _UNITS_MS:
        return None
    return round(value * _UNITS_MS[unit]) if 0 < value <= _LONGEST_MS / _UNITS_MS[unit] else None


def _code(concept: Any) -> str:
    codings = _objects(concept.get("coding")) if isinstance(concept, dict) else []
    return next((str(one["code"]) for one in codings if isinstance(one.get("code"), str)), "")


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: Any) -> list[JsonObject]:
    return [one for one in _items(value) if isinstance(one, dict)]
