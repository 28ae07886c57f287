"""A twin's feature vector: the latest usable value of each feature, and the levels encrypted search works on.

Stored as one JSON record of category ``features``. Each value keeps the moment it was measured, so that a later
import of a part of the record replaces only what it knows better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import msgspec

from twinward.errors import BadInput
from twinward.feature_schema import Feature, FeatureSchema
from twinward.twins.errors import FeaturesUnreadable
from twinward.twins.measurements import Measurement, Person, canonical_code, convert

AGE = "age"
SEX_FEMALE = "sex_female"
_MAX_CONTENT_BYTES = 64 * 1024


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature's value in the schema's unit, and when it was measured."""

    value: float
    at_ms: int


@dataclass(frozen=True, slots=True)
class FeatureVector:
    """Readings by feature name, and their levels in schema order. ``missing`` features took their default."""

    schema: str
    levels: tuple[int, ...] = field(repr=False)
    readings: Mapping[str, Reading] = field(repr=False)
    missing: tuple[str, ...]


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    schema: str
    levels: list[int]
    readings: dict[str, Reading]


def extract(schema: FeatureSchema, person: Person, measurements: Iterable[Measurement], on: date) -> FeatureVector:
    """The features of one patient as they stood on a day.

    For each feature the schema's LOINC codes are tried in order; the first that has a usable measurement supplies
    its latest. Measurements after ``on`` are left out. Age is in completed years on that day.
    """
    until_ms = int(datetime(on.year, on.month, on.day, 23, 59, 59, tzinfo=UTC).timestamp()) * 1000 + 999
    by_code: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        if measurement.at_ms <= until_ms:
            by_code.setdefault(canonical_code(measurement.code), []).append(measurement)
    readings = _of_person(schema, person, on, until_ms)
    for feature in schema.features:
        reading = _latest(feature, by_code)
        if reading is not None:
            readings[feature.name] = reading
    return _vector(schema, readings)


def merge(schema: FeatureSchema, older: FeatureVector, newer: FeatureVector) -> FeatureVector:
    """The later reading of each feature; on a tie the newer vector's."""
    readings = dict(older.readings)
    for name, reading in newer.readings.items():
        if name not in readings or reading.at_ms >= readings[name].at_ms:
            readings[name] = reading
    return _vector(schema, readings)


def to_content(vector: FeatureVector) -> bytes:
    """The bytes of a feature record. Equal vectors give equal bytes."""
    readings = {name: vector.readings[name] for name in sorted(vector.readings)}
    return msgspec.json.encode(_Content(vector.schema, list(vector.levels), readings))


def from_content(schema: FeatureSchema, content: bytes) -> FeatureVector:
    """A stored feature record.

    Raises:
        FeaturesUnreadable: malformed, or made under another schema (then it must be derived anew).
    """
    if len(content) > _MAX_CONTENT_BYTES:
        raise FeaturesUnreadable("a stored feature vector is implausibly large")
    try:
        stored = msgspec.json.decode(content, type=_Content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FeaturesUnreadable("a stored feature vector is malformed", hint="import the patient again") from error
    if stored.schema != schema.fingerprint():
        hint = "import the patient again: its features are then derived under the present schema"
        raise FeaturesUnreadable("this feature vector was made under another feature schema", hint=hint)
    try:
        vector = _vector(schema, stored.readings)
    except BadInput as error:
        raise FeaturesUnreadable("a stored feature vector names what its schema does not") from error
    if list(vector.levels) != stored.levels:
        raise FeaturesUnreadable("a stored feature vector contradicts itself", hint="import the patient again")
    return vector


def _of_person(schema: FeatureSchema, person: Person, on: date, at_ms: int) -> dict[str, Reading]:
    names = {feature.name for feature in schema.features}
    readings: dict[str, Reading] = {}
    if AGE in names and person.birth_date is not None and person.birth_date <= on:
        born = person.birth_date
        years = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
        readings[AGE] = Reading(float(years), at_ms)
    if SEX_FEMALE in names and person.female is not None:
        readings[SEX_FEMALE] = Reading(float(person.female), at_ms)
    return readings


def _latest(feature: Feature, by_code: Mapping[str, list[Measurement]]) -> Reading | None:
    for code in feature.loinc:
        usable = [
            Reading(float(value), measurement.at_ms)
            for measurement in by_code.get(code, ())
            if (value := convert(measurement, feature.unit, feature.substance)) is not None and math.isfinite(value)
        ]
        if usable:
            return max(usable, key=lambda reading: reading.at_ms)
    return None


def _vector(schema: FeatureSchema, readings: Mapping[str, Reading]) -> FeatureVector:
    levels = schema.quantise({name: reading.value for name, reading in readings.items()})
    missing = tuple(feature.name for feature in schema.features if feature.name not in readings)
    return FeatureVector(schema.fingerprint(), tuple(levels), readings, missing)
