"""The value sets that ship with Twinward: which codes, labels and words tell of which sensitive category.

They stand in ``sets/*.toml``, each with its source. What can never be listed (all of SNOMED CT below a concept, every
product of RxNorm) is recognised by its text too: ``words``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from twinward.core.vocabulary import SENSITIVE, Category

Labels = frozenset[Category]
NOTHING: Labels = frozenset()

_RANGE = re.compile(r"(.*?)([0-9]+)-(.*?)([0-9]+)")


@dataclass(frozen=True, slots=True)
class CodeSet:
    """One terminology's codes: whole ones, and beginnings of codes in a hierarchy that shows in the code."""

    codes: Mapping[str, Labels] = field(default_factory=dict)
    prefixes: Mapping[str, Labels] = field(default_factory=dict)
    lengths: tuple[int, ...] = ()

    def labels_of(self, code: str) -> Labels:
        """What a normalised code tells of."""
        found = self.codes.get(code, NOTHING)
        for length in self.lengths:
            found |= self.prefixes.get(code[:length], NOTHING)
        return found


@cache
def code_sets() -> Mapping[str, CodeSet]:
    """Every terminology's codes, by the names ``terminologies`` gives them."""
    codes: dict[str, dict[str, Labels]] = {}
    prefixes: dict[str, dict[str, Labels]] = {}
    for category, tables in tables_of_all():
        for terminology, table in tables.items():
            if terminology == "words":
                continue
            listed = table.get("codes", "")
            whole = listed.split() if isinstance(listed, str) else listed
            for code in (*whole, *table.get("entities", ())):
                _add(codes.setdefault(terminology, {}), normal(terminology, code), category)
            for spelled in table.get("prefixes", ()):
                for prefix in expanded(spelled):
                    _add(prefixes.setdefault(terminology, {}), normal(terminology, prefix), category)
    names = codes.keys() | prefixes.keys()
    return {
        name: CodeSet(
            codes.get(name, {}),
            prefixes.get(name, {}),
            tuple(sorted({len(one) for one in prefixes.get(name, {})})),
        )
        for name in names
    }


def tables_of_all() -> Iterator[tuple[Category, Mapping[str, Any]]]:
    """Each sensitive category with its file."""
    folder = resources.files("twinward.fhir.sensitivity") / "sets"
    for category in sorted(SENSITIVE):
        text = (folder / f"{category.value}.toml").read_text(encoding="utf-8")
        yield category, tomllib.loads(text)


def normal(terminology: str, code: str) -> str:
    """A code as it is compared: no case, no blanks, and no dots where the terminology only decorates with them."""
    plain = "".join(code.split()).upper()
    return plain if terminology in ("snomed", "loinc", "rxnorm", "labels") else plain.replace(".", "").replace("-", "")


def expanded(spelled: str) -> list[str]:
    """``F00-F03`` as its four prefixes; anything else as itself."""
    match = _RANGE.fullmatch(spelled)
    if match is None or match[1] != match[3] or len(match[2]) != len(match[4]):
        return [spelled]
    width = len(match[2])
    return [f"{match[1]}{number:0{width}}" for number in range(int(match[2]), int(match[4]) + 1)]


def _add(into: dict[str, Labels], code: str, category: Category) -> None:
    into[code] = into.get(code, NOTHING) | {category}
