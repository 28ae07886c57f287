"""FHIR value sets in a code list: flat, nested, and what does not list its codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinward.backup.create import _files
from twinward.core.errors import BadInput
from twinward.features.codes import CodeList, read_code_list
from twinward.node.code_list import code_list_of

ICD = "http://hl7.org/fhir/sid/icd-10"
LIST = """
name = "ours"
[[features]]
name = "diabetes"
title = "Diabetes"
kind = "condition"
value_set = "diabetes.json"
"""
NESTED = {
    "resourceType": "ValueSet",
    "url": "https://hospital.example/vs/diabetes",
    "expansion": {
        "contains": [
            {"system": ICD, "code": "E14"},
            {
                "system": ICD,
                "code": "E11",
                "display": "Type 2",
                "contains": [
                    {"system": ICD, "code": "E11.9"},
                    {"system": ICD, "code": "E11.2", "contains": [{"system": ICD, "code": "E11.21"}]},
                ],
            },
            {
                "abstract": True,
                "system": ICD,
                "code": "x",
                "display": "Rare",
                "contains": [{"system": ICD, "code": "E13"}],
            },
        ]
    },
}


def read(resource: dict[str, Any], text: str = LIST) -> CodeList:
    return read_code_list(text, lambda name: json.dumps(resource).encode())


def test_a_nested_expansion_is_a_hierarchy_that_is_asked_at_any_level() -> None:
    found = read(NESTED)
    assert [one.name for one in found.features] == ["diabetes", "diabetes_e11", "diabetes_x", "diabetes_e11_e11_2"]
    assert found.features[0].url == "https://hospital.example/vs/diabetes"
    assert found.telling(f"condition:{ICD}|E11.21") == ("diabetes", "diabetes_e11", "diabetes_e11_e11_2")
    assert found.telling(f"condition:{ICD}|E11") == ("diabetes", "diabetes_e11")
    assert found.telling(f"condition:{ICD}|E13") == ("diabetes", "diabetes_x")
    assert found.telling(f"condition:{ICD}|x") == ()
    assert found.telling(f"medication:{ICD}|E11") == ()


def test_concepts_that_are_composed_are_taken_as_they_stand() -> None:
    resource = {
        "resourceType": "ValueSet",
        "compose": {"include": [{"system": ICD, "concept": [{"code": "E10"}, {"code": "E11"}]}]},
    }
    assert read(resource).features[0].codes == (f"{ICD}|E10", f"{ICD}|E11")


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "CodeSystem"},
        {"resourceType": "ValueSet"},
        {"resourceType": "ValueSet", "compose": {"include": [{"system": ICD}]}},
        {"resourceType": "ValueSet", "compose": {"include": [{"system": ICD, "filter": [{"op": "is-a"}]}]}},
        {"resourceType": "ValueSet", "compose": {"include": [{"valueSet": ["other"]}]}},
        {
            "resourceType": "ValueSet",
            "compose": {"include": [{"system": ICD, "concept": [{"code": "E10"}]}], "exclude": [{"system": ICD}]},
        },
        {"resourceType": "ValueSet", "expansion": {"contains": ["E11"]}},
        {"resourceType": "ValueSet", "expansion": {"contains": []}},
    ],
)
def test_what_does_not_list_its_codes_is_refused(resource: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read(resource)


def test_a_set_that_nests_for_ever_or_names_a_file_elsewhere_is_refused() -> None:
    concept: dict[str, Any] = {"system": ICD, "code": "E11"}
    for _ in range(40):
        concept = {"system": ICD, "code": "E", "contains": [concept]}
    with pytest.raises(BadInput, match="nests deeper"):
        read({"resourceType": "ValueSet", "expansion": {"contains": [concept]}})
    with pytest.raises(BadInput, match="folder value-sets"):
        read(NESTED, LIST.replace("diabetes.json", "../secret.json"))
    with pytest.raises(BadInput):
        read_code_list(LIST)


def test_a_home_takes_its_value_sets_from_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "code-list.toml").write_text(LIST)
    with pytest.raises(BadInput, match="cannot be read"):
        code_list_of(tmp_path)
    (tmp_path / "value-sets").mkdir()
    (tmp_path / "value-sets" / "diabetes.json").write_text(json.dumps(NESTED))
    assert len(code_list_of(tmp_path)) == 4
    kept, left = _files(tmp_path)
    assert ([one.name for one in kept], left) == (["code-list.toml", "diabetes.json"], [])
