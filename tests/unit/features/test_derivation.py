from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.features.derivation import (
    MOST_AWAITED,
    MOST_KEPT,
    Evidence,
    FeaturesUnreadable,
    FeatureVector,
    Measurement,
    News,
    Person,
    Reading,
    convert,
    derive,
    end_of,
    evidence_of,
    from_content,
    joined,
    to_content,
    without,
)
from twinward.features.schema import CARDIOMETABOLIC as SCHEMA
from twinward.features.schema import EQUIVALENT_CODES, canonical_code

ON = date(2026, 1, 1)
AT = 1_767_225_600_000
DAY = 86_400_000


def substance_of(code: str) -> str:
    return next((f.substance for f in SCHEMA.features if canonical_code(code) in f.loinc), "")


def measure(code: str, value: float, unit: str, days_before: int = 1) -> Measurement:
    return Measurement(code, value, unit, AT - days_before * DAY)


def known_of(*measurements: Measurement, person: Person | None = None, on: date = ON) -> Evidence:
    return evidence_of(SCHEMA, person, measurements, end_of(on))


def features_of(*measurements: Measurement, person: Person | None = None, on: date = ON) -> FeatureVector:
    return derive(SCHEMA, known_of(*measurements, person=person, on=on), on)


def test_the_latest_usable_value_counts() -> None:
    vector = features_of(
        measure("2345-7", 100, "mg/dL", 9), measure("2345-7", 120, "mg/dL", 3), measure("2345-7", 140, "furlongs", 1)
    )
    assert vector.readings["glucose_mg_dl"] == Reading(120, AT - 3 * DAY)
    assert "glucose_mg_dl" not in vector.missing
    assert len(vector.missing) == SCHEMA.dimension - 1


def test_the_latest_reading_counts_whatever_its_code_and_of_one_moment_the_schemas_first() -> None:
    first, third = measure("2339-0", 100, "mg/dL", 30), measure("1558-6", 90, "mg/dL", 1)
    assert features_of(first, third).readings["glucose_mg_dl"].value == 90
    assert features_of(measure("2339-0", 95, "mg/dL", 1), third).readings["glucose_mg_dl"].value == 95


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
    known = known_of(*measurements, person=Person(born, female))
    assert from_content(SCHEMA, to_content(known)) == known
    vector = derive(SCHEMA, known, ON)
    assert len(vector.levels) == SCHEMA.dimension
    assert all(0 <= level < SCHEMA.levels for level in vector.levels)
    assert set(vector.readings) | set(vector.missing) == {feature.name for feature in SCHEMA.features}
    assert set(vector.readings).isdisjoint(vector.missing)


@pytest.mark.slow
@given(MEASUREMENTS, MEASUREMENTS)
def test_neither_order_nor_parts_of_measurements_matter(first: list[Measurement], second: list[Measurement]) -> None:
    whole = known_of(*first, *second)
    assert to_content(known_of(*reversed(first + second))) == to_content(whole)
    for one, other in ((first, second), (second, first)):
        apart = joined(known_of(*one), known_of(*other), end_of(ON))
        assert to_content(apart) == to_content(whole) == to_content(joined(whole, apart, end_of(ON)))


@pytest.mark.parametrize("code", sorted(EQUIVALENT_CODES))
def test_a_code_that_records_really_carry_supplies_a_feature(code: str) -> None:
    feature = next(one for one in SCHEMA.features if canonical_code(code) in one.loinc)
    vector = features_of(measure(code, feature.default, feature.unit))
    assert vector.readings[feature.name].value == pytest.approx(feature.default)


@pytest.mark.parametrize("order", [1, -1])
def test_of_one_moment_the_more_final_counts_then_what_was_told_later(order: int) -> None:
    def glucose(value: float, finality: int, told_ms: int = 0) -> Measurement:
        return Measurement("2345-7", value, "mg/dL", AT - DAY, f"Observation/{value:.0f}", finality, told_ms)

    preliminary, final, corrected = glucose(70, 0, 9), glucose(90, 1), glucose(95, 2)
    for readings, expected in (
        ([preliminary, final], 90),
        ([preliminary, final, corrected], 95),
        ([final, glucose(91, 1, 5)], 91),
        ([final, replace(preliminary, at_ms=AT)], 70),  # another moment, so another reading
    ):
        assert features_of(*readings[::order]).readings["glucose_mg_dl"].value == expected


def test_what_is_dated_ahead_hides_nothing_and_counts_when_its_day_comes() -> None:
    ahead = Measurement("4548-4", 8, "%", AT + 40 * DAY, "Observation/ahead")
    far = [replace(ahead, at_ms=AT + n * 1000 * DAY) for n in range(1, 50)]
    known = known_of(measure("4548-4", 6, "%"), ahead, *far)
    for day, expected in ((ON, 6), (date(2026, 2, 9), 6), (date(2026, 2, 10), 8)):
        assert derive(SCHEMA, known, day).readings["hba1c_percent"].value == expected
    assert len(known.claims["hba1c_percent"]) == 1 + MOST_AWAITED


def test_a_record_that_takes_its_word_back_leaves_what_others_said() -> None:
    old = Measurement("4548-4", 6, "%", AT - 9 * DAY, "Observation/old")
    new = Measurement("4548-4", 9, "%", AT - DAY, "Observation/new")
    known = known_of(old, new)
    assert derive(SCHEMA, without(known, {"Observation/new"}), ON).readings["hba1c_percent"].value == 6
    assert without(known, {"Observation/new", "Observation/old"}).is_empty


def test_where_more_was_said_than_is_kept_the_feature_is_missing_before_it_is_wrong() -> None:
    many = [Measurement("4548-4", 5 + n / 100, "%", AT - n * DAY, f"Observation/{n}") for n in range(MOST_KEPT + 8)]
    known = known_of(*many[: MOST_KEPT // 2])
    for one in reversed(many):
        known = joined(known, known_of(one), end_of(ON))
    assert to_content(known) == to_content(known_of(*many))
    for taken_back in many[:MOST_KEPT]:
        assert derive(SCHEMA, known, ON).readings["hba1c_percent"].value == taken_back.value
        known = without(known, {taken_back.source})
    known = joined(known, known_of(many[-1]), end_of(ON))  # the best of the eight that are left is not known any more
    assert "hba1c_percent" in derive(SCHEMA, known, ON).missing


@pytest.mark.parametrize(
    ("person", "age"),
    [
        (Person(date(1960, 1, 1)), 66),
        (Person(date(1960, 1, 1), died=date(2001, 6, 1), is_dead=True), 41),
        (Person(date(1960, 1, 1), is_dead=True), None),
        (Person(date(1960, 1, 1), died=date(1950, 6, 1), is_dead=True), None),
    ],
)
def test_an_age_is_of_the_day_that_is_asked_about_and_the_dead_grow_no_older(person: Person, age: int | None) -> None:
    known = known_of(person=person)
    reading = derive(SCHEMA, known, ON).readings.get("age")
    assert (None if reading is None else reading.value) == age
    later = derive(SCHEMA, known, date(2036, 1, 1)).readings.get("age")
    assert (None if later is None else later.value) == (76 if age == 66 else age)


def damaged(**changes: object) -> bytes:
    stored = json.loads(to_content(known_of(measure("2345-7", 100, "mg/dL"))))
    return json.dumps(stored | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 30_000,
        b" " * 300_000,
        damaged(schema="0" * 64),
        damaged(claims={"shoe_size": [[44.0, 0, 1, 0, 0, ""]]}),
        damaged(claims={"bmi": [["fat", 0, 1, 0, 0, ""]]}),
        damaged(claims={"bmi": [[25.0, 0, 1, 0, 0, ""], [26.0, 1, 1, 0, 0, ""]]}),
        b'{"schema":"' + SCHEMA.fingerprint().encode() + b'","levels":[],"readings":{}}',  # as an earlier version wrote
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
    assert "117.25" not in repr(known_of(measure("2345-7", 117.25, "mg/dL")))


def news(person: Person | None = None, *measurements: Measurement, **facts: object) -> News:
    evidence = evidence_of(SCHEMA, person, measurements, end_of(ON))
    return replace(News(evidence, end_of(ON), is_kept=True, whole=person is not None), **facts)


def test_news_joins_what_is_kept_and_takes_out_what_is_retold() -> None:
    older = evidence_of(SCHEMA, None, [replace(measure("8480-6", 120, "mm[Hg]"), source="Observation/1")], end_of(ON))
    told = replace(measure("8867-4", 70, "/min"), source="Observation/2")
    known = news(None, told, retold=frozenset({"Observation/1"})).joined_to(older)
    assert known is not None
    assert set(known.claims) == {"heart_rate"}


def test_a_part_of_the_record_does_not_displace_what_cannot_be_read() -> None:
    pulse = measure("8867-4", 70, "/min")
    assert news(None, pulse).joined_to(None) is None
    whole, retold = news(Person(), pulse), news(None, pulse, retold=frozenset({"Observation/1"}))
    assert whole.joined_to(None) == whole.evidence
    assert retold.joined_to(None) == retold.evidence


def test_nothing_known_of_a_new_twin_makes_no_features() -> None:
    assert news(Person(), is_kept=False).joined_to(None) is None
    pulse = news(None, measure("8867-4", 70, "/min"), is_kept=False)
    assert pulse.joined_to(None) == pulse.evidence
