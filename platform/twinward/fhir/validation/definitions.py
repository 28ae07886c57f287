"""What R4 says of each type: its elements, how often they stand, which codes they take.

The table ``r4_definitions.json`` is HL7's own StructureDefinitions and ValueSets 4.0.1, cut down; how it was made
stands in ``tests/checks/r4_definitions.py``. Value sets too large to list (currencies, MIME types, UCUM) bind nothing
here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from twinward.fhir.validation.invariants.table import Invariant, invariants_of
from twinward.fhir.validation.primitives import PRIMITIVES


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type.

    Attributes:
        kind: the name of its type; of a primitive, ``xhtml`` or ``Resource``, too.
        many: whether it is an array.
        choice: of ``value[x]`` and its like, the name before the bracket; else empty.
        check: whether a value is one, for primitives and codes; None for what has elements of its own.
        meaning: what belongs there, for primitives and codes.
        bound: the (system, code) pairs of which a CodeableConcept must have one; empty where nothing is required.
    """

    kind: str
    many: bool
    choice: str
    check: Callable[[Any], bool] | None
    meaning: str
    bound: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type with elements: a resource, a datatype or a part of one (``Patient.contact``).

    ``required`` has one tuple for each element that must be there: its names, several for a choice. ``invariants`` are
    asked once its parts are known to be well formed.
    """

    name: str
    elements: Mapping[str, Element]
    required: tuple[tuple[str, ...], ...]
    invariants: tuple[Invariant, ...]


@cache
def kind_of(name: str) -> Kind:
    """The definition of a type. Raises ``KeyError`` for a name that R4 has not."""
    rows = _table()["types"][name]
    required: dict[str, list[str]] = {}
    elements = {}
    for row in rows:
        element = elements[row[0]] = _element(*row)
        if "!" in row[2]:
            required.setdefault(element.choice or row[0], []).append(row[0])
    return Kind(name, elements, tuple(map(tuple, required.values())), invariants_of(name))


def _element(_name: str, kind: str, flags: str, choice: str = "", value_set: str = "") -> Element:
    codes: dict[str, list[str]] = _table()["codes"].get(value_set, {})
    primitive = PRIMITIVES.get(kind)
    check, meaning = (None, "") if primitive is None else primitive
    bound: frozenset[tuple[str, str]] = frozenset()
    if codes and primitive is None:
        bound = frozenset((system, code) for system, listed in codes.items() for code in listed)
    elif codes:
        listed = frozenset(code for some in codes.values() for code in some)
        check, meaning = _one_of(listed), _said(listed)
    return Element(kind, "*" in flags, choice, check, meaning, bound)


def _one_of(listed: frozenset[str]) -> Callable[[Any], bool]:
    return lambda value: type(value) is str and value in listed


def _said(listed: frozenset[str]) -> str:
    most = 12
    more = f" … ({len(listed)} codes)" if len(listed) > most else ""
    return "one of " + ", ".join(sorted(listed)[:most]) + more


@cache
def _table() -> dict[str, Any]:
    text = (files("twinward.fhir") / "r4_definitions.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
