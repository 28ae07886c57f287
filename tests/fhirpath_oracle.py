"""What HL7's own expressions say of a resource, evaluated by ``fhirpathpy``: a second opinion on the product's rules.

Nothing here knows the rules of ``twinward.fhir.validation.invariants``. Of the product it takes the two tables made
from HL7's definitions: which type an element has, and which expression belongs to which path. What ``fhirpathpy`` lacks
is supplied: ``hasValue`` as FHIR defines it, ``resolve`` that finds nothing, and ``_MEANT``; ``matches`` means all of
the text, as in HL7's own validator. Moments of different precision are not compared, as FHIRPath demands, nor those of
different zones, which ``fhirpathpy`` compares by their digits.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fhirpathpy import compile as compiled
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

FHIR = Path(__file__).parents[1] / "platform" / "twinward" / "fhir" / "validation"

NOT_EVALUATED = {
    "ele-1": "asked of every element; the product refuses what is empty while it walks",
    "txt-1": "htmlChecks() is a function of HL7's own validator",
    "txt-2": "htmlChecks() is a function of HL7's own validator",
}
"""The keys that nobody's engine is asked, and why."""


_MEANT = {
    "low <= high": "(low.code = high.code and low.unit = high.unit) implies low.value <= high.value",
    "answer is Boolean": "answer is boolean",
    "descendants().as(": "descendants().ofType(",
}
"""What HL7 wrote, and how it is asked: Quantities of one unit by their values, FHIR's boolean, ``as`` of many items."""

_ORDERED = {
    "per-1": ("start", "end"),
    "inv-1": ("authoredOn", "lastModified"),
    "mdd-1": ("whenPrepared", "whenHandedOver"),
}


class Row(NamedTuple):
    """One of HL7's constraints of severity *error*."""

    path: str
    key: str
    expression: str
    human: str


class Verdict(NamedTuple):
    """What an expression says: True, False, or None where it says nothing (FHIRPath's empty)."""

    key: str
    path: str
    says: bool | None


def rows() -> list[Row]:
    return [Row(*one) for one in json.loads((FHIR / "r4_invariants.json").read_text(encoding="utf-8"))]


@cache
def elements(kind: str) -> dict[str, str]:
    """An element's name to its type."""
    return {row[0]: row[1] for row in _definitions()["types"][kind]}


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FHIR / "r4_definitions.json").read_text(encoding="utf-8"))
    return found


def verdicts(resource: dict[str, Any]) -> Iterator[Verdict]:
    """Every expression on every object of a well-formed resource that it belongs to."""
    yield from _of_resource(resource, None)


def broken(resource: dict[str, Any]) -> set[str]:
    """The keys of the invariants that a resource breaks for certain."""
    return {one.key for one in verdicts(resource) if one.says is False}


def _of_resource(resource: dict[str, Any], root: dict[str, Any] | None) -> Iterator[Verdict]:
    kind = resource["resourceType"]
    scope = {"resource": resource, "rootResource": root or resource}
    if root is None and "contained" in elements(kind):
        yield from _asked("DomainResource", resource, kind, scope)
    yield from _of_object(kind, resource, scope)


def _of_object(kind: str, one: dict[str, Any], scope: dict[str, Any]) -> Iterator[Verdict]:
    yield from _asked(kind, one, kind, scope)
    for path, name in _below(kind):
        for given in [key for key in one if _is_named(name, key)]:
            for each in _listed(one[given]):
                yield from _asked(path, each, path, scope)
    for name, kind_of_element in elements(kind).items():
        for each in _listed(one.get(name)):
            if isinstance(each, dict):
                if kind_of_element == "Resource":
                    yield from _of_resource(each, scope["rootResource"] if name == "contained" else None)
                else:
                    yield from _of_object(kind_of_element, each, scope)


def _listed(value: Any) -> list[Any]:
    return [each for each in value if each is not None] if isinstance(value, list) else [] if value is None else [value]


def _is_named(name: str, key: str) -> bool:
    return key.startswith(name[:-3]) if name.endswith("[x]") else key == name


@cache
def _below(kind: str) -> tuple[tuple[str, str], ...]:
    """The constraints that hang on an element, not on a type: their paths and the elements' names."""
    types = _definitions()["types"]
    return tuple(
        (path, path.rpartition(".")[2]) for path in _by_path() if path.rpartition(".")[0] == kind and path not in types
    )


@cache
def _by_path() -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in rows():
        if row.key not in NOT_EVALUATED:
            found[row.path].append(row)
    return dict(found)


def _asked(path: str, one: Any, base: str, scope: dict[str, Any]) -> Iterator[Verdict]:
    for row in _by_path().get(path, ()):
        if row.key == "sqty-1" and isinstance(one, dict) and "comparator" not in one:
            continue  # of a choice, only the Quantity has one
        if row.key in _ORDERED and not _are_alike(*map(one.get, _ORDERED[row.key])):
            yield Verdict(row.key, path, None)
            continue
        node = one if base == kind_named(one) else ResourceNode.create_node(one, base.replace("[x]", ""))
        said = _engine(row.expression)(node, scope | {"context": one})
        yield Verdict(row.key, path, said[0] if said else None)


def kind_named(one: Any) -> str:
    """The type of a resource; empty for what is none."""
    return one.get("resourceType", "") if isinstance(one, dict) else ""


def _are_alike(first: object, second: object) -> bool:
    """Whether two moments are of one precision and zone, or one is not said."""
    if not isinstance(first, str) or not isinstance(second, str):
        return True
    return (len(first[:10]), first[19:]) == (len(second[:10]), second[19:])


@cache
def _engine(expression: str) -> Callable[..., list[Any]]:
    text = re.sub(r"\.trace\([^()]*\)", "", expression)
    for written, meant in _MEANT.items():
        text = text.replace(written, meant)
    text = re.sub(r"path\.matches\('([^^].*)'\)$", r"path.matches('^(\1)$')", text)
    functions = {
        "hasValue": {"fn": _has_value, "arity": {0: []}},
        "resolve": {"fn": lambda inputs: [], "arity": {0: []}},
    }
    found: Callable[..., list[Any]] = compiled(text, models["r4"], {"userInvocationTable": functions})
    return found


def _has_value(inputs: list[Any]) -> list[bool]:
    return [len(inputs) == 1 and not isinstance(inputs[0], dict)]
