"""HL7's invariants: what the product's rules say, held against HL7's own expressions as another's engine reads them."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fhirpath_oracle import NOT_EVALUATED, broken, rows, verdicts
from tests.r4_specimens import drawn, holding, kinds_with_invariants
from twinward.fhir.bulk.ndjson_reader import NdjsonReader
from twinward.fhir.errors import InvalidResource
from twinward.fhir.json.strict_json import decode
from twinward.fhir.validation import validator
from twinward.fhir.validation.definitions import RULES
from twinward.fhir.validation.validator import faults

BROKEN: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "vectors" / "r4_broken.json").read_text(encoding="utf-8")
)
WALKED = {"dom-2", "dom-3", "dom-4", "dom-5", "ele-1", "ext-1", "ref-1", "sqty-1", "txt-1", "txt-2"}
"""What the walk itself asks."""
UNBREAKABLE = {
    "eld-11": "its select() answers true or false for each type, and either exists",
    "evv-1": "the elements it counts are one choice",
    "tst-4": "both of the elements it asks one of are required",
}
SAME_TYPE = {"tst-6": "tst-5", "tst-8": "tst-7", "tst-9": "tst-7", "tst-11": "tst-10", "tst-13": "tst-12"}
"""The same expression on the same type at another path: the product names the first."""
STRICTER = {"ctm-1": "a reference that says what it refers to needs no resolving, which the engine cannot do"}
_KEY = re.compile(r"\(([a-z]+-[0-9]+[ab]?)\)$")


def named(resource: dict[str, Any]) -> set[str]:
    """The keys that the product names."""
    said = [_KEY.search(issue.message) for issue in faults(resource, resource["resourceType"])]
    return {match.group(1) for match in said if match}


def is_well_formed(resource: dict[str, Any]) -> bool:
    return all(issue.code == "invariant" for issue in faults(resource, ""))


def test_every_invariant_has_a_rule_or_a_reason() -> None:
    ruled = {key for rules in RULES.values() for key in rules}
    assert {row.key for row in rows()} == ruled | WALKED | set(SAME_TYPE) | (set(UNBREAKABLE) - {"tst-4"})
    assert set(BROKEN) == {row.key for row in rows()} - set(UNBREAKABLE) - {"ele-1"}


@pytest.mark.parametrize("key", BROKEN)
def test_what_breaks_an_invariant_is_refused_by_its_key(key: str) -> None:
    resource = decode(json.dumps(BROKEN[key]).encode())
    assert SAME_TYPE.get(key, key) in named(resource)
    assert key in broken(BROKEN[key]) or key in NOT_EVALUATED or key in STRICTER
    assert not disagreements(BROKEN[key])


def disagreements(resource: dict[str, Any]) -> set[str]:
    """The keys on which the product and the expressions differ, where those say yes or no."""
    told = list(verdicts(resource))
    said = {SAME_TYPE.get(one.key, one.key) for one in told if one.says is False}
    unsaid = {SAME_TYPE.get(one.key, one.key) for one in told if one.says is None}
    return (said ^ named(resource)) - unsaid - set(STRICTER) - set(NOT_EVALUATED)


def drawn_resources(rounds: int) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for kind in kinds_with_invariants():
        random = Random(f"{kind} again")
        for _ in range(rounds):
            found.append((kind, holding(kind, drawn(kind, random, share=random.choice((0.1, 0.3, 0.5, 0.8))))))
    return found


@pytest.mark.slow
def test_drawn_resources_are_judged_as_hl7s_expressions_judge_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validator, "MAX_ISSUES", 10_000)
    judged = 0
    for kind, resource in drawn_resources(120):
        if is_well_formed(resource):
            judged += 1
            assert not disagreements(resource), (kind, disagreements(resource), resource)
    assert judged > 10_000


def test_what_hl7_gives_as_examples_breaks_nothing(shared_data: Path) -> None:
    said = {}
    for path in sorted((shared_data / "fhir-r4-examples").glob("*.json"))[::6]:
        resource = json.loads(path.read_text(encoding="utf-8"))
        said[path.name] = broken(resource) | (named(resource) - {"txt-2"})
    assert len(said) == 60
    assert not any(said.values())


@pytest.mark.slow
def test_no_example_and_no_record_of_synthea_breaks_anything(shared_data: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (shared_data / "fhir-r4-examples").glob("*.json")]
    texts += [gzip.decompress(path.read_bytes()).decode() for path in (shared_data / "synthea-r4").glob("*.gz")]
    assert len(texts) == 387
    for resource in map(json.loads, texts):
        assert not broken(resource)
        assert named(resource) <= {"txt-2"}


@pytest.mark.parametrize(
    ("more", "breaks"),
    [
        ({"valueInteger": 1, "component": [{"code": {"coding": [{"code": "a"}]}}]}, "obs-7"),
        ({"valueInteger": 1, "component": [{"code": {"coding": [{"code": "b"}]}}]}, ""),
        ({"component": [{"code": {"coding": [{"code": "a"}]}, "valueInteger": 1}]}, ""),
        ({"encounter": {"reference": "#e"}}, "ref-1"),
        ({"encounter": {"reference": "#e"}, "contained": [{"resourceType": "Basic", "id": "e", "code": {}}]}, "form"),
        ({"partOf": [{"reference": "#"}]}, ""),
        ({"effectivePeriod": {"start": "2020", "end": "2020-01-01"}}, ""),
        ({"effectivePeriod": {"start": "2020-02", "end": "2020-01-31"}}, "per-1"),
        ({"effectivePeriod": {"start": "2020-01-01T00:00:00+01:00", "end": "2019-12-31T23:00:00Z"}}, ""),
        ({"effectivePeriod": {"start": "2020-01-01T00:00:01+01:00", "end": "2019-12-31T23:00:00Z"}}, "per-1"),
        ({"effectivePeriod": {"start": "2020-01-02T05:00:00Z", "end": "2020-01-01"}}, ""),
        ({"effectivePeriod": {"start": "2020-01-02T15:00:00Z", "end": "2020-01-01"}}, "per-1"),
        ({"valueRange": {"low": {"value": 2, "unit": "g"}, "high": {"value": 1, "unit": "kg"}}}, ""),
        ({"valueRange": {"low": {"value": 2}, "high": {"value": 1}}}, "rng-2"),
        ({"valueQuantity": {"_value": {"id": "x"}, "code": "g"}}, "qty-3"),
        ({"valueQuantity": {"code": "g", "_system": {"id": "x"}}}, ""),
        ({"dataAbsentReason": {"text": "x"}, "_valueString": {"id": "x"}}, "obs-6"),
    ],
)
def test_what_the_expressions_leave_open_has_an_answer(more: dict[str, Any], breaks: str) -> None:
    about = {"subject": {"reference": "Patient/p"}, "code": {"coding": [{"code": "a"}]}}
    resource = {"resourceType": "Observation", "id": "o", "status": "final"} | about | more
    assert named(resource) == ({breaks} if "-" in breaks else set())
    assert is_well_formed(resource) == (breaks != "form")


LINE = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2026-01-01T10:00:00Z",
}
QUANTITY = {"value": 61, "unit": "/min"}


@pytest.mark.parametrize(
    "more",
    [
        {"valueQuantity": QUANTITY, "component": [{"code": LINE["code"], "valueQuantity": QUANTITY}]},
        {"valueQuantity": QUANTITY | {"code": "/min"}},
        {"encounter": {"reference": "#e"}},
        {"performer": [{"reference": "#e"}]},
        {"referenceRange": [{"low": QUANTITY | {"comparator": "<"}}]},
        {"referenceRange": [{"appliesTo": [{"text": "x"}]}]},
    ],
)
def test_the_fast_way_of_ndjson_asks_the_same(more: dict[str, Any]) -> None:
    reader = NdjsonReader(())
    reader.read(json.dumps(LINE).encode())
    for _ in range(2):
        with pytest.raises(InvalidResource, match=r"\([a-z]+-[0-9]\)"):
            reader.read(json.dumps(LINE | more).encode())
