"""NEWS2 and qSOFA at both sides of every line of their published charts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.live.alerts.scores import news2, news2_total, qsofa

# Royal College of Physicians, NEWS2 (2017), chart 1: parameter, value, points. Each band by its first and last value.
BANDS = {
    "respiratory_rate": {1: (9, 11), 0: (12, 20), 2: (21, 24)},
    "spo2": {3: (50, 91), 2: (92, 93), 1: (94, 95), 0: (96, 100)},
    "systolic": {3: (40, 90), 2: (91, 100), 1: (101, 110), 0: (111, 219)},
    "heart_rate": {3: (20, 40), 1: (41, 50), 0: (51, 90), 2: (111, 130)},
    "temperature": {3: (34, 35.0), 1: (35.1, 36.0), 0: (36.1, 38.0), 2: (39.1, 41)},
    "glasgow_coma": {3: (3, 14), 0: (15, 15)},
}
CHART = [
    *((name, value, points) for name, bands in BANDS.items() for points, ends in bands.items() for value in ends),
    *(("respiratory_rate", 25, 3), ("respiratory_rate", 60, 3), ("respiratory_rate", 1, 3), ("respiratory_rate", 8, 3)),
    *(("systolic", 220, 3), ("systolic", 300, 3)),
    *(("heart_rate", 91, 1), ("heart_rate", 110, 1), ("heart_rate", 131, 3), ("heart_rate", 200, 3)),
    *(("temperature", 38.1, 1), ("temperature", 39.0, 1)),
]
# Chart 1, SpO2 scale 2: value, on air, on oxygen.
SCALE_2 = [
    *((v, 3, 3) for v in (70, 83)),
    *((v, 2, 2) for v in (84, 85)),
    *((v, 1, 1) for v in (86, 87)),
    *((v, 0, 0) for v in (88, 92)),
    *((v, 0, 1) for v in (93, 94)),
    *((v, 0, 2) for v in (95, 96)),
    *((v, 0, 3) for v in (97, 100)),
]
WELL = {
    **{"respiratory_rate": 16.0, "spo2": 98.0, "systolic": 120.0, "heart_rate": 70.0, "temperature": 37.0},
    "glasgow_coma": 15.0,
}


@pytest.mark.parametrize(("name", "value", "points"), CHART)
def test_each_line_of_the_chart(name: str, value: float, points: int) -> None:
    assert news2(WELL | {name: value}).total == points
    assert news2({name: value}).parts[name] == points


@pytest.mark.parametrize(("value", "on_air", "on_oxygen"), SCALE_2)
def test_the_second_scale_of_oxygen_saturation(value: float, on_air: int, on_oxygen: int) -> None:
    assert news2(WELL | {"spo2": value}, scale_2=True).total == on_air
    assert news2(WELL | {"spo2": value, "oxygen_flow": 2}, scale_2=True).total == 2 + on_oxygen


def test_oxygen_is_two_points_however_it_is_measured() -> None:
    assert news2(WELL).total == 0
    assert news2(WELL | {"oxygen_flow": 0.5}).total == 2
    assert news2(WELL | {"fio2": 28}).total == 2
    assert news2(WELL | {"fio2": 21, "oxygen_flow": 0}).total == 0


def test_the_worst_there_is() -> None:
    worst = {
        "respiratory_rate": 30,
        "spo2": 80,
        "systolic": 80,
        "heart_rate": 140,
        "temperature": 34,
        "glasgow_coma": 3,
    }
    assert news2({**worst, "oxygen_flow": 15}).total == 20


def test_what_was_not_measured_is_named_and_the_sum_is_the_least_it_can_be() -> None:
    found = news2({"spo2": 90.0})
    assert (found.total, "spo2" in found.missing, len(found.missing)) == (3, False, 5)


def test_values_between_two_lines_are_rounded_as_a_reader_of_the_chart_does() -> None:
    assert news2({"respiratory_rate": 20.4}).total == 0
    assert news2({"respiratory_rate": 20.5}).total == 2
    assert news2({"temperature": 38.04}).total == 0
    assert news2({"temperature": 38.05}).total == 1


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ({"respiratory_rate": 21, "systolic": 101, "glasgow_coma": 15}, 0),
        ({"respiratory_rate": 22, "systolic": 101, "glasgow_coma": 15}, 1),
        ({"respiratory_rate": 21, "systolic": 100, "glasgow_coma": 15}, 1),
        ({"respiratory_rate": 21, "systolic": 101, "glasgow_coma": 14}, 1),
        ({"respiratory_rate": 22, "systolic": 100, "glasgow_coma": 14}, 3),
    ],
)
def test_qsofa(values: dict[str, float], total: int) -> None:
    assert qsofa(values).total == total
    assert qsofa({}).missing == ("respiratory_rate", "glasgow_coma", "systolic")


def test_a_three_in_one_parameter_is_a_red_score_whatever_the_sum() -> None:
    calm = {
        "respiratory_rate": 16,
        "spo2": 97,
        "systolic": 120,
        "heart_rate": 80,
        "temperature": 37,
        "glasgow_coma": 15,
    }
    assert not news2(calm).is_red
    assert (news2(calm | {"heart_rate": 131}).total, news2(calm | {"heart_rate": 131}).is_red) == (3, True)
    spread = news2(calm | {"heart_rate": 111, "spo2": 93, "temperature": 39.5})
    assert (spread.total, spread.is_red) == (6, False)


@given(
    st.dictionaries(
        st.sampled_from([*WELL, "oxygen_flow", "fio2"]), st.floats(0, 250, width=32) | st.integers(0, 250).map(float)
    ),
    st.booleans(),
)
def test_the_sum_alone_is_the_scores(values: dict[str, float], scale_2: bool) -> None:
    assert news2_total(values, scale_2=scale_2) == news2(values, scale_2=scale_2).total
