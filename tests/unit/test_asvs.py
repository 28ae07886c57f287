"""The page of ASVS: each requirement stands in one place, each test that it names is one, and its counts are right."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

from tests.tools import ROOT

PAGE = (ROOT / "platform/docs/asvs.md").read_text("utf-8")
HEAD, _, MET = PAGE.partition("\n## V1 ")
NUMBER = re.compile(r"(?<![\d.])\d{1,2}\.\d{1,2}(?:\.\d{1,2})?(?![\d.]*\d)")
WHOLE_SECTIONS = {"1.9": 2}
"""Sections that are not looked at as a whole, and how many requirements up to level 2 they have."""
OPEN = "**Open.**"


def met() -> list[str]:
    """The requirements that lines claim, in their order."""
    return [one for said in re.findall(r"^- \*\*([\d., ]+)\*\*", MET, re.MULTILINE) for one in said.split(", ")]


def part(begin: str, end: str) -> list[str]:
    """The requirements in a part of the page's head; ranges are written out."""
    text = HEAD.partition(begin)[2].partition(end)[0]
    text = re.sub(
        r"(\d+\.\d+)\.(\d+) to \1\.(\d+)",
        lambda found: ", ".join(f"{found[1]}.{n}" for n in range(int(found[2]), int(found[3]) + 1)),
        text,
    )
    return NUMBER.findall(text)


def test_each_requirement_stands_in_one_place() -> None:
    everywhere = Counter([*met(), *part("**Not applicable**", OPEN), *part(OPEN, "closely enough to claim:")])
    everywhere.update(part("closely enough to claim:", "\n\n"))
    twice = [one for one, count in everywhere.items() if count > 1]
    assert twice == [], "a requirement is met, open or not applicable, and that is said once"


def test_its_counts_are_those_of_its_lines() -> None:
    words = {"one": 1, "two": 2, "three": 3}
    of, here, further, documents = re.search(  # type: ignore[union-attr]
        r"Of the (\d+) lines up to level 2 that apply, (\d+) stand here \(and\s+(\w+) of level 3\); (\d+) of them",
        HEAD,
    ).groups()
    assert len(met()) == int(here) + words[further]
    assert sum(one.startswith("1.") for one in met()) == int(documents)
    left = part(OPEN, "closely enough to claim:") + part("closely enough to claim:", "\n\n")
    assert int(here) + sum(WHOLE_SECTIONS.get(one, 1) for one in left) == int(of)


def test_each_test_that_it_names_is_a_test_and_each_file_holds_some() -> None:
    named = re.findall(r"`(tests/[\w./-]+\.py)(?:::(\w+))?`", MET)
    assert len(named) > 100
    assert MET.count("`tests/") == len(named), "a name that is not written as file.py or file.py::test"
    for path, name in named:
        tests = _tests(ROOT / path)
        assert tests, path
        assert not name or name in tests, f"{path}::{name}"


def _tests(path: Path) -> set[str]:
    """Names of the functions that pytest collects there, in classes and in suites that a class of it takes over."""
    tree = ast.parse(path.read_text("utf-8"))
    found = {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")}
    suites = {one.name for one in ast.walk(tree) if isinstance(one, ast.ClassDef) and one.name.startswith("Test")}
    return found | suites
