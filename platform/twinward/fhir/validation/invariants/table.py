"""Which of HL7's invariants a type keeps, and in which words they are refused.

``r4_invariants.json`` has HL7's constraints of severity *error* of R4 4.0.1 (CC0): path, key, FHIRPath expression,
text; how it was made stands in ``tests/checks/r4_invariants.py``. The product has no FHIRPath engine: each expression
was written as a rule of its own, and the tests hold the rules against the expressions, evaluated by another's engine.
Those of every element and every resource (``ele-1``, ``ext-1``, ``dom-2`` to ``dom-5``), ``ref-1`` and the narrative's
are the walk's own (``twinward.fhir.validation.conformity``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from twinward.fhir.validation.invariants import care, datatypes, definitional
from twinward.fhir.validation.invariants.terms import Object, Rule

RULES: Final = datatypes.RULES | care.RULES | definitional.RULES
"""For each type, its invariants by key."""

_SIMPLE = "sqty-1"


class Invariant(NamedTuple):
    """A rule, and what is said where it is broken: HL7's text and the key."""

    holds: Rule
    message: str


@cache
def invariants_of(kind: str) -> tuple[Invariant, ...]:
    """The invariants of a type, e.g. ``Patient.contact``."""
    rules = {**RULES.get(kind, {})}
    simple = tuple(path.rpartition(".")[2] for path in _simple_quantities() if path.rpartition(".")[0] == kind)
    if simple:
        rules[_SIMPLE] = _without_comparator(simple)
    return tuple(Invariant(rule, message_of(key, kind)) for key, rule in rules.items())


def message_of(key: str, kind: str = "") -> str:
    """What is said where a type's invariant is broken. Raises ``KeyError`` for a key that R4 has not."""
    messages = _messages()
    return messages.get((key, kind)) or messages[key, ""]


@cache
def _rows() -> list[list[str]]:
    text = (files("twinward.fhir") / "r4_invariants.json").read_text(encoding="utf-8")
    found: list[list[str]] = json.loads(text)
    return found


@cache
def _messages() -> dict[tuple[str, str], str]:
    found = {}
    for path, key, _, human in _rows():
        found[key, path] = found[key, ""] = f"{human} ({key})"
    return found


@cache
def _simple_quantities() -> tuple[str, ...]:
    return tuple(path.replace("[x]", "Quantity") for path, key, *_ in _rows() if key == _SIMPLE)


def _without_comparator(names: tuple[str, ...]) -> Rule:
    def quantities(one: Object) -> Iterator[Object]:
        for name in names:
            if name in one:
                yield one[name]

    return lambda one: not any("comparator" in quantity for quantity in quantities(one))
