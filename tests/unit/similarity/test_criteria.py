"""Criteria as recruiters write them: what they cost, what is refused, and that the sum says who is eligible."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward.core.errors import BadInput
from twinward.features.codes import CodeList, Recorded, read_code_list
from twinward.features.schema import CARDIOMETABOLIC, Feature, FeatureSchema
from twinward.protocol.criteria import Criteria
from twinward.protocol.criteria_costs import costs_of, matches

CODES = read_code_list(
    """
name = "small"
[[features]]
name = "diabetes"
title = "Diabetes"
kind = "condition"
url = "https://st-anna.example/ValueSet/diabetes"
includes = ["type_2"]
codes = ["urn:x|E14"]
[[features]]
name = "type_2"
title = "Type 2"
kind = "condition"
codes = ["urn:x|E11*"]
[[features]]
name = "dialysis"
title = "Dialysis"
kind = "procedure"
codes = ["urn:p|1"]
"""
)
SCHEMA = FeatureSchema(
    name="tiny",
    levels=5,
    features=tuple(
        Feature(name=name, title=name, unit="1", low=0, high=4, default=2) for name in ("age", "bmi", "hba1c")
    ),
)
UNKNOWN = SCHEMA.levels
EVERY = list(itertools.product(range(6), range(6), (0, UNKNOWN), (0, 3), range(4), (0, 1, 2)))
"""Rows: age, bmi, hba1c, diabetes, type 2, dialysis."""


def eligible(told: dict[str, Any], codes: CodeList = CODES) -> set[tuple[int, ...]]:
    """Whose costs say yes."""
    costs = costs_of(Criteria.of(told), SCHEMA, codes)
    found = {row for row in EVERY if matches(costs, [row])}
    assert len(found) == matches(costs, EVERY)
    return found


def where(condition: Any) -> set[tuple[int, ...]]:
    """Whom plain Python says yes to."""
    return {row for row in EVERY if condition(*row)}


CASES: list[tuple[dict[str, Any], Any]] = [
    ({"include": [{"feature": "age", "from": 1, "to": 3}]}, lambda age, *_: 1 <= age <= 3),
    ({"include": [{"feature": "age", "from": 2}]}, lambda age, *_: 2 <= age < UNKNOWN),
    ({"include": [{"feature": "age", "to": 2, "unknown": "include"}]}, lambda age, *_: age <= 2 or age == UNKNOWN),
    ({"include": [{"feature": "age", "values": [0, 3]}]}, lambda age, *_: age in (0, 3)),
    ({"include": [{"feature": "age", "known": True}]}, lambda age, *_: age != UNKNOWN),
    ({"exclude": [{"feature": "age", "known": True}]}, lambda age, *_: age == UNKNOWN),
    ({"exclude": [{"feature": "age", "from": 3}]}, lambda age, *_: age < 3 or age == UNKNOWN),
    ({"exclude": [{"feature": "age", "from": 3, "unknown": "exclude"}]}, lambda age, *_: age < 3),
    ({"include": [{"condition": "type_2"}]}, lambda a, b, h, d, two, p: two == Recorded.CURRENT),
    ({"include": [{"condition": "type_2", "state": "ever"}]}, lambda a, b, h, d, two, p: two in (1, 2)),
    ({"include": [{"condition": "type_2", "state": "past"}]}, lambda a, b, h, d, two, p: two == 1),
    ({"exclude": [{"condition": "urn:x|E11*"}]}, lambda a, b, h, d, two, p: two != 2),
    (
        {"include": [{"condition": "https://st-anna.example/ValueSet/diabetes", "unknown": "include"}]},
        lambda a, b, h, d, two, p: d in (2, 3),
    ),
    ({"include": [{"procedure": "urn:p|1"}]}, lambda a, b, h, d, two, p: p in (1, 2)),
    (
        {
            "include": [{"feature": "age", "from": 1}, {"feature": "bmi", "to": 2}],
            "exclude": [{"procedure": "dialysis"}],
        },
        lambda age, bmi, h, d, two, p: 1 <= age < UNKNOWN and bmi <= 2 and p == 0,
    ),
    (
        {
            "include": [{"feature": "hba1c", "known": True}],
            "at_least": {
                "count": 2,
                "of": [{"feature": "age", "from": 3}, {"feature": "bmi", "from": 3}, {"condition": "type_2"}],
            },
        },
        lambda age, bmi, h, d, two, p: h != UNKNOWN and (3 <= age < 5) + (3 <= bmi < 5) + (two == 2) >= 2,
    ),
    (
        {"at_least": {"count": 1, "of": [{"feature": "age", "from": 4}, {"procedure": "dialysis"}]}},
        lambda age, bmi, h, d, two, p: age == 4 or p > 0,
    ),
    (
        {
            "at_least": {
                "count": 2,
                "of": [
                    {"feature": "age", "from": 4, "points": 2},
                    {"feature": "bmi", "to": 0},
                    {"condition": "type_2"},
                ],
            }
        },
        lambda age, bmi, h, d, two, p: 2 * (age == 4) + (bmi == 0) + (two == 2) >= 2,
    ),
    (
        {
            "at_most": {
                "count": 1,
                "of": [{"feature": "age", "to": 2}, {"feature": "bmi", "to": 2}, {"condition": "type_2"}],
            }
        },
        lambda age, bmi, h, d, two, p: (age <= 2) + (bmi <= 2) + (two == 2) <= 1,
    ),
]


@pytest.mark.parametrize(("told", "condition"), CASES, ids=range(len(CASES)))
def test_costs_say_what_the_criteria_say(told: dict[str, Any], condition: Any) -> None:
    assert eligible(told) == where(condition)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_two_parts_together_are_those_who_meet_both(data: st.DataObject) -> None:
    plain = [(told, condition) for told, condition in CASES if not {"at_least", "at_most"} & told.keys()]
    (one, first), (other, second) = data.draw(st.sampled_from(plain)), data.draw(st.sampled_from(CASES))
    both = {name: [*one.get(name, []), *other.get(name, [])] for name in ("include", "exclude")}
    both |= {name: other[name] for name in ("at_least", "at_most") if name in other}  # type: ignore[misc]
    assert eligible(both) == where(lambda *row: first(*row) and second(*row))


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({}, "no criterion"),
        ({"include": [{}]}, "include.0: name one of"),
        ({"include": [{"feature": "age", "condition": "type_2", "from": 1}]}, "name one of"),
        ({"include": [{"feature": "age"}]}, "give a range"),
        ({"include": [{"feature": "age", "from": 1, "known": True}]}, "give a range"),
        ({"include": [{"feature": "age", "from": 3, "to": 1}]}, "from is above to"),
        ({"include": [{"feature": "age", "from": float("nan")}]}, "include.0.from"),
        ({"include": [{"feature": "age", "from": float("inf")}]}, "include.0.from"),
        ({"include": [{"feature": "age", "from": 1, "state": "past"}]}, "a state is of"),
        ({"include": [{"condition": "type_2", "from": 1}]}, "codes have a state"),
        ({"include": [{"feature": "age", "weight": 1, "from": 1}]}, "include.0.weight"),
        ({"include": [{"feature": "height", "from": 1}]}, "unknown feature 'height'"),
        ({"include": [{"feature": "age", "from": 9}]}, "beyond what this hospital tells apart, 0 to 4"),
        ({"include": [{"feature": "age", "to": -3}]}, "beyond what this hospital"),
        ({"include": [{"feature": "age", "from": 1, "unit": "kg"}]}, "age"),
        ({"include": [{"condition": "cancer"}]}, "counts by no condition 'cancer'"),
        ({"include": [{"medication": "type_2"}]}, "counts by no medication"),
        ({"include": [{"condition": "urn:x|E11.9"}]}, "only as part of diabetes and type_2"),
        ({"at_least": {"count": 0, "of": [{"condition": "type_2"}]}}, "cannot be met, or always is"),
        ({"at_least": {"count": 2, "of": [{"condition": "type_2"}]}}, "cannot be met, or always is"),
        ({"at_least": {"count": 1, "of": [{"condition": "type_2"}] * 17}}, "needs 17 slots"),
        ({"at_most": {"count": 16, "of": [{"condition": "type_2"}] * 17}}, "needs 17 slots"),
        ({"at_least": [{"count": 1}, {"count": 2}]}, "each group needs a score of its own"),
        (
            {"at_least": {"count": 1, "of": [{"at_least": {"count": 1, "of": []}}]}},
            "groups within groups need several scores",
        ),
        (
            {
                "at_least": {"count": 1, "of": [{"condition": "type_2"}]},
                "at_most": {"count": 1, "of": [{"condition": "type_2"}]},
            },
            "need two scores",
        ),
        ({"include": [{"condition": ""}]}, "counts by no condition"),
        ({"exclude": [{"procedure": ""}]}, "counts by no procedure"),
    ],
)
def test_what_cannot_be_counted_is_refused_with_the_reason(told: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        costs_of(Criteria.of(told), SCHEMA, CODES)


@pytest.mark.parametrize(
    "text", ["include = 3", "[[include]\n", "x = 1", "include = ['a']", f"x = {'9' * 5000}", f"x = {'[' * 9999}"]
)
def test_what_is_no_file_of_criteria_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        Criteria.read(text)


def test_clinical_units_are_understood_and_the_reading_says_what_counts() -> None:
    text = '[[include]]\nfeature = "hba1c_percent"\nfrom = 53\nto = 86\nunit = "mmol/mol"\n'
    costs = costs_of(Criteria.read(text), CARDIOMETABOLIC, CodeList())
    levels = [level for level, cost in enumerate(costs.table[6]) if not cost]
    assert (levels[0], levels[-1]) == (35, 69)
    assert costs.reading == ("include hba1c_percent from 6.988 to 10.02 %",)
