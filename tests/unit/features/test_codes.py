"""Code lists and coded features: what a list may say, what a resource tells, and what stands of it for a patient."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from twinward.core.errors import BadInput
from twinward.features.codes import CodeList, Kind, Recorded, cardiometabolic_codes, fact_code, read_code_list
from twinward.features.derivation import (
    Evidence,
    News,
    Person,
    derive,
    end_of,
    evidence_of,
    from_content,
    joined,
    to_content,
    without,
)
from twinward.features.schema import CARDIOMETABOLIC
from twinward.fhir.mapping.coded_facts import facts_of

LIST = read_code_list(
    """
name = "small"
[[features]]
name = "diabetes"
title = "Diabetes"
kind = "condition"
includes = ["type_2"]
codes = ["urn:x|E14"]
[[features]]
name = "type_2"
title = "Type 2"
kind = "condition"
codes = ["urn:x|E11*"]
[[features]]
name = "metformin"
title = "Metformin"
kind = "medication"
codes = ["urn:rx|6809"]
"""
)
SCHEMA = CARDIOMETABOLIC.model_copy(update={"codes": LIST})
ON = date(2026, 5, 1)
CONFIRMED = {"coding": [{"code": "confirmed"}]}


def condition(code: str = "E11.9", status: str | None = "active", **more: Any) -> dict[str, Any]:
    """A Condition."""
    told = {"clinicalStatus": {"coding": [{"code": status}]}} if status else {}
    coded = {"coding": [{"system": "urn:x", "code": code}]}
    return {"resourceType": "Condition", "code": coded, "verificationStatus": CONFIRMED, **told, **more}


def known(*resources: tuple[str, dict[str, Any]], person: Person | None = None) -> Evidence:
    """What resources, each under its name, say."""
    return evidence_of(SCHEMA, person, [one for name, body in resources for one in facts_of(body, name)], end_of(ON))


def recorded(evidence: Evidence, on: date = ON) -> dict[str, Recorded]:
    """By name."""
    found = derive(SCHEMA, evidence, on).recorded
    return {feature.name: level for feature, level in zip(LIST.features, found, strict=True)}


def test_a_code_tells_of_its_value_set_and_of_all_that_include_it() -> None:
    assert LIST.telling(fact_code(Kind.CONDITION, "urn:x", "E11.65")) == ("diabetes", "type_2")
    assert LIST.telling(fact_code(Kind.CONDITION, "urn:x", "E14")) == ("diabetes",)
    assert LIST.telling(fact_code(Kind.CONDITION, "urn:x", "E14.9")) == ()
    assert LIST.telling(fact_code(Kind.CONDITION, "urn:y", "E11.9")) == ()
    assert LIST.telling(fact_code(Kind.PROCEDURE, "urn:x", "E11.9")) == ()


def test_the_list_that_comes_along_is_one_and_its_fingerprint_is_its_own() -> None:
    shipped = cardiometabolic_codes()
    assert len(shipped) == 27
    assert "metformin" in shipped.telling("medication:http://www.nlm.nih.gov/research/umls/rxnorm|861007")
    assert shipped.fingerprint != LIST.fingerprint
    assert SCHEMA.fingerprint() == CARDIOMETABOLIC.fingerprint()  # distances, and what is stored of numbers, stay


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('name = "type_2"', "name stands twice"),
        ('includes = ["nobody"]', "no condition of this list"),
        ('includes = ["metformin"]', "no condition of this list"),
        ('includes = ["third"]', "includes itself"),
        ("codes = []", "has no code"),
        ('codes = ["no bar"]', "codes.0"),
        ('codes = ["urn:x|a*b"]', "codes.0"),
        ('kind = "allergy"', "kind"),
        ("weight = 2", "weight"),
        ("name = ", "not a code list"),
        (f"weight = {'9' * 5000}", "not a code list"),
        (f"weight = {'[' * 9999}", "not a code list"),
    ],
)
def test_what_is_no_list_is_refused_with_the_place(change: str, says: str) -> None:
    text = 'name = "small"\n' + "".join(
        f'[[features]]\nname = "{name}"\ntitle = "T"\nkind = "{kind}"\ncodes = ["urn:x|{name}"]\n'
        for name, kind in (("type_2", "condition"), ("metformin", "medication"))
    )
    entry = ['name = "third"', 'title = "T"', 'kind = "condition"', 'codes = ["urn:x|T"]']
    key = change.partition(" ")[0]
    lines = [change if line.startswith(key + " ") else line for line in entry]
    text += "[[features]]\n" + "\n".join(lines if change in lines else [*lines, change]) + "\n"
    with pytest.raises(BadInput, match=says):
        read_code_list(text)


@pytest.mark.parametrize(
    ("body", "level"),
    [
        (condition(), Recorded.CURRENT),
        (condition(status="recurrence"), Recorded.CURRENT),
        (condition(status="resolved"), Recorded.PAST),
        (condition(status="remission"), Recorded.PAST),
        (condition(status=None), Recorded.CURRENT),
        (condition(status=None, abatementDateTime="2020"), Recorded.PAST),
        (condition(status="strange"), Recorded.NEVER),
        (condition(verificationStatus={"coding": [{"code": "refuted"}]}), Recorded.NEVER),
        (condition(verificationStatus={"coding": [{"code": "entered-in-error"}]}), Recorded.NEVER),
        (condition(verificationStatus={"coding": [{"code": "provisional"}]}), Recorded.NEVER),
        (condition(modifierExtension=[{"url": "x"}]), Recorded.NEVER),
        (condition(code="E10"), Recorded.NEVER),
        (condition(recordedDate="2026-05-02T00:00:00Z"), Recorded.NEVER),
        ({"resourceType": "Condition", "code": "E11.9"}, Recorded.NEVER),
        ({"resourceType": "Condition", "code": {"coding": [None, {"system": 1, "code": 2}]}}, Recorded.NEVER),
    ],
)
def test_what_a_condition_tells(body: dict[str, Any], level: Recorded) -> None:
    assert recorded(known(("Condition/1", body)))["type_2"] is level


@pytest.mark.parametrize(
    ("more", "level"),
    [
        ({"status": "active", "intent": "order"}, Recorded.CURRENT),
        ({"status": "on-hold", "intent": "original-order"}, Recorded.CURRENT),
        ({"status": "stopped", "intent": "order"}, Recorded.PAST),
        ({"status": "cancelled", "intent": "order"}, Recorded.NEVER),
        ({"status": "active", "intent": "proposal"}, Recorded.NEVER),
        ({"status": "active", "intent": "order", "doNotPerform": True}, Recorded.NEVER),
    ],
)
def test_what_a_prescription_tells(more: dict[str, Any], level: Recorded) -> None:
    coded = {"coding": [{"system": "urn:rx", "code": "6809"}]}
    body = {"resourceType": "MedicationRequest", "medicationCodeableConcept": coded, **more}
    assert recorded(known(("MedicationRequest/1", body)))["metformin"] is level


@pytest.mark.parametrize(
    ("status", "level"), [("completed", 1), ("in-progress", 2), ("not-done", None), ("entered-in-error", None)]
)
def test_what_a_procedure_tells(status: str, level: int | None) -> None:
    body = {"resourceType": "Procedure", "status": status, "code": {"coding": [{"system": "urn:s", "code": "1"}]}}
    told = list(facts_of(body, "Procedure/1"))
    assert [one.value for one in told] == ([] if level is None else [level])


def test_the_highest_that_stands_counts_and_leaves_with_its_record() -> None:
    both = known(("Condition/1", condition(status="resolved")), ("Condition/2", condition()))
    assert recorded(both) == {"diabetes": 2, "type_2": 2, "metformin": 0}
    assert recorded(without(both, ["Condition/2"]))["type_2"] is Recorded.PAST
    assert recorded(without(both, ["Condition/1", "Condition/2"]))["type_2"] is Recorded.NEVER


def test_what_is_stored_comes_back_and_joining_again_changes_nothing() -> None:
    one, other = known(("Condition/1", condition())), known(("Condition/2", condition(code="E14")))
    both = joined(one, other, end_of(ON))
    assert from_content(SCHEMA, to_content(both)) == both
    assert to_content(joined(both, one, end_of(ON))) == to_content(both) == to_content(joined(other, one, end_of(ON)))


def test_before_there_was_a_list_nothing_is_known_and_numbers_stand() -> None:
    bare = evidence_of(CARDIOMETABOLIC, Person(female=True), [], end_of(ON))
    assert b"code" not in to_content(bare)  # to the byte what earlier releases wrote
    older = from_content(SCHEMA, to_content(bare))
    assert set(recorded(older).values()) == {Recorded.UNKNOWN}
    assert derive(SCHEMA, older, ON).readings["sex_female"].value == 1
    said = known(("Condition/1", condition()))
    part = News(said, end_of(ON), is_kept=True, whole=False).joined_to(older)
    whole = News(said, end_of(ON), is_kept=True, whole=True).joined_to(older)
    assert part is not None
    assert whole is not None
    assert set(recorded(part).values()) == {Recorded.UNKNOWN}  # one record is not all of a patient's history
    assert recorded(whole) == {"diabetes": 2, "type_2": 2, "metformin": 0}


def test_another_list_than_the_stored_one_knows_nothing() -> None:
    other = SCHEMA.model_copy(update={"codes": cardiometabolic_codes()})
    stored = to_content(known(("Condition/1", condition())))
    assert set(derive(other, from_content(other, stored), ON).recorded) == {Recorded.UNKNOWN}


def test_levels_for_criteria_tell_what_was_measured_from_what_was_not() -> None:
    vector = derive(SCHEMA, replace(known(), person=Person(female=True)), ON)
    levels = vector.eligibility(SCHEMA)
    assert len(levels) == SCHEMA.dimension + 3
    assert levels[1] == SCHEMA.levels - 1
    assert {level for place, level in enumerate(levels[:-3]) if place != 1} == {SCHEMA.levels}
    assert all(level < most for level, most in zip(levels, SCHEMA.eligibility_levels, strict=True))


def test_a_list_of_many_paths_is_read_at_once_and_one_of_too_many_is_refused() -> None:
    """Lists come from hospitals that a vendor does not trust: 2^40 paths from the first entry to the last."""

    def entry(name: str, *includes: str) -> dict[str, Any]:
        code = (f"urn:x|{name}",)
        return {"name": name, "title": "T", "kind": "condition", "codes": code, "includes": includes}

    depth = 40
    made = [
        entry(f"{side}{at}", *([f"a{at + 1}", f"b{at + 1}"] if at < depth else []))
        for at in range(depth + 1)
        for side in "ab"
    ]
    wide = CodeList.model_validate({"features": made})
    assert len(wide.codes_of(wide.features[0])) == 2 * depth + 1
    with pytest.raises(ValueError, match="inclusions"):
        CodeList.model_validate({"features": [entry("a0", *["b0"] * 4097), entry("b0")]})
