from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.feature_schema import CARDIOMETABOLIC as SCHEMA
from twinward.twins.errors import FeaturesUnreadable
from twinward.twins.features import FeatureVector, Reading, extract, from_content, merge, to_content
from twinward.twins.measurements import Measurement, Person, canonical_code, convert

ON = date(2026, 1, 1)
AT = 1_767_225_600_000
DAY = 86_400_000


def substance_of(code: str) -> str:
    return next((f.substance for f in SCHEMA.features if canonical_code(code) in f.loinc), "")


def measure(code: str, value: float, unit: str, days_before: int = 1) -> Measurement:
    return Measurement(code, value, unit, AT - days_before * DAY)


def features_of(*measurements: Measurement, person: Person = Person(), on: date = ON) -> FeatureVector:  # noqa: B008
    return extract(SCHEMA, person, measurements, on)


def test_the_latest_usable_value_counts() -> None:
    vector = features_of(
        measure("2345-7", 100, "mg/dL", 9), measure("2345-7", 120, "mg/dL", 3), measure("2345-7", 140, "furlongs", 1)
    )
    assert vector.readings["glucose_mg_dl"] == Reading(120, AT - 3 * DAY)
    assert "glucose_mg_dl" not in vector.missing
    assert len(vector.missing) == SCHEMA.dimension - 1


def test_the_first_code_of_the_schema_counts_before_a_later_value_of_another() -> None:
    vector = features_of(measure("2339-0", 100, "mg/dL", 30), measure("1558-6", 90, "mg/dL", 1))
    assert vector.readings["glucose_mg_dl"].value == 100


def test_what_was_measured_after_the_day_is_left_out() -> None:
    later = Measurement("2345-7", 100, "mg/dL", AT + DAY)
    same_day = Measurement("2345-7", 90, "mg/dL", AT + DAY - 1)
    assert features_of(later).missing == tuple(feature.name for feature in SCHEMA.features)
    assert features_of(later, same_day).readings["glucose_mg_dl"].value == 90


@pytest.mark.parametrize(
    ("born", "on", "years"),
    [
        ("1980-01-01", "2026-01-01", 46),
        ("1980-01-02", "2026-01-01", 45),
        ("1980-02-29", "2025-02-28", 44),
        ("1980-02-29", "2025-03-01", 45),
        ("2026-01-01", "2026-01-01", 0),
    ],
)
def test_age_is_in_completed_years(born: str, on: str, years: int) -> None:
    vector = features_of(person=Person(date.fromisoformat(born)), on=date.fromisoformat(on))
    assert vector.readings["age"].value == years


def test_an_unborn_or_unknown_person_has_no_age() -> None:
    assert "age" in features_of(person=Person(date(2026, 1, 2))).missing
    assert {"age", "sex_female"} <= set(features_of().missing)
    assert features_of(person=Person(female=False)).readings["sex_female"].value == 0


@pytest.mark.parametrize(
    ("code", "value", "unit", "wanted", "expected"),
    [
        ("2345-7", 5.55, "mmol/L", "mg/dL", 100),
        ("14749-6", 5.55, "mmol/L", "mg/dL", 100),
        ("2093-3", 5.17, "mmol/l", "mg/dL", 200),
        ("14927-8", 1.69, "mmol/L", "mg/dL", 150),
        ("14682-9", 88.4, "umol/L", "mg/dL", 1),
        ("38483-4", 176.8, "µmol/L", "mg/dL", 2),
        ("59261-8", 53, "mmol/mol", "%", 7),
        ("2947-0", 140, "mEq/L", "mmol/L", 140),
        ("33914-3", 60, "mL/min", "mL/min/{1.73_m2}", 60),
        ("8480-6", 120, "mmHg", "mm[Hg]", 120),
        ("8867-4", 72, "beats/minute", "/min", 72),
        ("39156-5", 25, "kg/m^2", "kg/m2", 25),
    ],
)
def test_units_seen_in_real_records(code: str, value: float, unit: str, wanted: str, expected: float) -> None:
    converted = convert(Measurement(code, value, unit, 0), wanted, substance_of(code))
    assert converted == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize(
    ("code", "unit", "wanted"),
    [
        ("2345-7", "mg", "mg/dL"),
        ("2345-7", "", "mg/dL"),
        ("2345-7", "meq/L", "mg/dL"),
        ("2345-7", "mg/{mL", "mg/dL"),
        ("4548-4", "mol/mol", "%"),  # HbA1c's two scales are no plain ratio
        ("2093-3", "mL/min", "mL/min/{1.73_m2}"),
        ("17861-6", "meq/L", "mmol/L"),  # calcium is divalent: one milliequivalent is half a millimole
    ],
)
def test_an_unknown_unit_is_no_number(code: str, unit: str, wanted: str) -> None:
    assert convert(Measurement(code, 5, unit, 0), wanted, substance_of(code)) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_infinite_value_is_no_number(value: float) -> None:
    assert features_of(Measurement("2345-7", value, "mg/dL", AT)).readings == {}


MEASUREMENTS = st.lists(
    st.builds(
        Measurement,
        st.sampled_from([code for feature in SCHEMA.features for code in feature.loinc]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["mg/dL", "mmol/L", "mm[Hg]", "%", "kg/m2", "/min", "mL/min/{1.73_m2}", "x", ""]),
        st.integers(0, AT),
    ),
    max_size=30,
)


@given(MEASUREMENTS, st.dates(date(1900, 1, 1), ON), st.booleans())
def test_a_vector_survives_storage_and_fits_the_schema(
    measurements: list[Measurement], born: date, female: bool
) -> None:
    vector = extract(SCHEMA, Person(born, female), measurements, ON)
    assert from_content(SCHEMA, to_content(vector)) == vector
    assert len(vector.levels) == SCHEMA.dimension
    assert all(0 <= level < SCHEMA.levels for level in vector.levels)
    assert set(vector.readings) | set(vector.missing) == {feature.name for feature in SCHEMA.features}
    assert set(vector.readings).isdisjoint(vector.missing)


@given(MEASUREMENTS, MEASUREMENTS)
def test_order_of_measurements_does_not_matter_for_distinct_moments(
    first: list[Measurement], second: list[Measurement]
) -> None:
    unique = list({one.at_ms: one for one in first + second}.values())
    assert to_content(features_of(*unique)) == to_content(features_of(*reversed(unique)))


def test_merging_keeps_the_later_reading_of_each_feature() -> None:
    older = features_of(measure("2345-7", 100, "mg/dL", 5), measure("8480-6", 120, "mm[Hg]", 1))
    newer = features_of(measure("2345-7", 140, "mg/dL", 3), measure("8480-6", 150, "mm[Hg]", 2))
    merged = merge(SCHEMA, older, newer)
    assert {name: reading.value for name, reading in merged.readings.items()} == {
        "glucose_mg_dl": 140,
        "systolic_mmhg": 120,
    }
    assert merge(SCHEMA, merged, merged) == merged


def damaged(**changes: object) -> bytes:
    stored = json.loads(to_content(features_of(measure("2345-7", 100, "mg/dL"))))
    return json.dumps(stored | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 30_000,
        b" " * 70_000,
        damaged(schema="0" * 64),
        damaged(levels=[0] * SCHEMA.dimension),
        damaged(readings={"shoe_size": {"value": 44.0, "at_ms": 0}}),
        damaged(readings={"age": {"value": "old", "at_ms": 0}}),
        damaged(extra=1),
    ],
)
def test_a_damaged_or_foreign_vector_is_a_typed_error(content: bytes) -> None:
    with pytest.raises(FeaturesUnreadable):
        from_content(SCHEMA, content)


def test_values_stay_out_of_representations() -> None:
    vector = features_of(measure("2345-7", 117.25, "mg/dL"))
    assert "117.25" not in repr(vector)
    assert str(list(vector.levels)) not in repr(vector)
