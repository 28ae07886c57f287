"""A twin's feature vector: what stands of the evidence on a day, and the levels encrypted search works on.

It is derived each time it is asked for, never stored: an age grows, and a reading dated later comes due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from twinward.features.schema import FeatureSchema
from twinward.twins.evidence import Evidence
from twinward.twins.measurements import Person

AGE = "age"
SEX_FEMALE = "sex_female"


@dataclass(frozen=True, slots=True)
class Reading:
    """One feature's value in the schema's unit, and when it was measured: for an age the day it is of, 0 for a sex."""

    value: float = field(repr=False)
    at_ms: int


@dataclass(frozen=True, slots=True)
class FeatureVector:
    """Readings by feature name, and their levels in schema order. ``missing`` features took their default."""

    schema: str
    levels: tuple[int, ...] = field(repr=False)
    readings: Mapping[str, Reading] = field(repr=False)
    missing: tuple[str, ...]


def day_of(at_ms: int) -> date:
    """The day of a moment, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).date()


def end_of(day: date) -> int:
    """The last ms of a day in UTC, since the epoch."""
    return _start_of(day) + int(timedelta(days=1).total_seconds()) * 1000 - 1


def derive(schema: FeatureSchema, evidence: Evidence, on: date) -> FeatureVector:
    """The features of one patient as they stand on a day: readings dated after it do not count yet.

    Age is in completed years on that day, of the dead on the day they died; it is missing where that day is not known.
    """
    until_ms = end_of(on)
    readings = _of_person({feature.name for feature in schema.features}, evidence.person or Person(), on)
    for name, claims in evidence.claims.items():
        best = next((claim for claim in claims if claim.at_ms <= until_ms), None)
        if best is not None:
            readings[name] = Reading(best.value, best.at_ms)
    levels = schema.quantise({name: reading.value for name, reading in readings.items()})
    missing = tuple(feature.name for feature in schema.features if feature.name not in readings)
    return FeatureVector(schema.fingerprint(), tuple(levels), readings, missing)


def _of_person(names: set[str], person: Person, on: date) -> dict[str, Reading]:
    readings: dict[str, Reading] = {}
    day = on if person.died is None else min(on, person.died)
    is_dated = not person.is_dead or person.died is not None
    if AGE in names and person.birth_date is not None and person.birth_date <= day and is_dated:
        born = person.birth_date
        years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
        readings[AGE] = Reading(float(years), _start_of(day))
    if SEX_FEMALE in names and person.female is not None:
        readings[SEX_FEMALE] = Reading(float(person.female), 0)
    return readings


def _start_of(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
