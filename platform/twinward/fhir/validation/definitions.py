"""What R4 says of each type: its elements, how often they stand, which values they take, which invariants hold.

``r4_definitions.json`` is HL7's own StructureDefinitions and ValueSets 4.0.1, cut down; how it was made stands in
``tests/checks/r4_definitions.py``. Value sets too large to list (currencies, MIME types, UCUM) bind nothing here.

``r4_invariants.json`` has HL7's constraints of severity *error* of R4 4.0.1 (CC0): path, key, FHIRPath expression,
text; how it was made stands in ``tests/checks/r4_invariants.py``. The product has no FHIRPath engine: each expression
was written as a rule of its own (``invariants``), and the tests hold the rules against the expressions, evaluated by
another's engine. Those of every element and every resource (``ele-1``, ``ext-1``, ``dom-2`` to ``dom-5``), ``ref-1``
and the narrative's are the validator's own.

Primitives are checked as JSON writes them: https://hl7.org/fhir/R4/datatypes.html, https://hl7.org/fhir/R4/json.html.
A string has no character below U+0020 but tab, line feed and carriage return. Dates are days that exist. base64 is
RFC 4648's alphabet in whole groups of four, padded at its end only; R4 allows white space between the groups.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from twinward.fhir.validation.invariants import care, datatypes, exchange, knowledge, structures
from twinward.fhir.validation.invariants.terms import Object, Rule

Check = Callable[[Any], bool]

MAX_STRING_CHARS = 1024 * 1024
_MOST_OF_32_BITS = 2**31 - 1

_STRING = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f]+")
_URI = re.compile(r"[^\s\x00-\x1f\x7f]+")
_CODE = re.compile(r"[^\s\x00-\x1f\x7f]+(?: [^\s\x00-\x1f\x7f]+)*")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_UUID = re.compile(r"urn:uuid:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
_GROUPS = re.compile(r"(?:\s*[0-9A-Za-z+/=]{4})+\s*", re.ASCII)
_SPACE = re.compile(r"\s+", re.ASCII)

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DAY = r"(?!0000)([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_PART = r"(?!0000)[0-9]{4}(?:-(?:0[1-9]|1[0-2]))?"
_TIME = re.compile(_CLOCK)
_DATE = re.compile(rf"{_DAY}|{_PART}")
_DATE_TIME = re.compile(rf"{_DAY}(?:T{_CLOCK}{_ZONE})?|{_PART}")
_INSTANT = re.compile(rf"{_DAY}T{_CLOCK}{_ZONE}")


def _text(pattern: re.Pattern[str]) -> Check:
    match = pattern.fullmatch
    return lambda value: type(value) is str and match(value) is not None


def _string(value: Any) -> bool:
    return type(value) is str and _STRING.fullmatch(value) is not None and len(value) <= MAX_STRING_CHARS


def _day(pattern: re.Pattern[str]) -> Check:
    """A pattern whose groups, where they matched, are a year, month and day."""

    def check(value: Any) -> bool:
        match = pattern.fullmatch(value) if type(value) is str else None
        if match is None:
            return False
        year, month, day = match.groups()
        return day is None or day <= "28" or _exists(int(year), int(month), int(day))

    return check


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _whole(least: int) -> Check:
    return lambda value: type(value) is int and least <= value <= _MOST_OF_32_BITS


def _number(value: Any) -> bool:
    return type(value) in (int, Decimal, float)


def _base64(value: Any) -> bool:
    if type(value) is not str or _GROUPS.fullmatch(value) is None:
        return False
    try:
        binascii.a2b_base64(_SPACE.sub("", value) if _SPACE.search(value) else value, strict_mode=True)
    except binascii.Error:
        return False
    return True


_WHOLE = "a whole number of 32 bits, written as one"
_SAID = "a string that is not empty and has no control characters"

PRIMITIVES: Mapping[str, tuple[Check, str]] = {
    "base64Binary": (_base64, "base64 (RFC 4648)"),
    "boolean": (lambda value: type(value) is bool, "true or false"),
    "canonical": (_text(_URI), "a canonical URL, which has no blanks"),
    "code": (_text(_CODE), "a code: words with single blanks between them"),
    "date": (_day(_DATE), "a date: YYYY, YYYY-MM or a day that exists, YYYY-MM-DD"),
    "dateTime": (_day(_DATE_TIME), "a dateTime: a date, or a moment with seconds and time zone"),
    "decimal": (_number, "a number"),
    "id": (_text(_ID), "an id: 1 to 64 letters, digits, hyphens and dots"),
    "instant": (_day(_INSTANT), "an instant: a moment with seconds and time zone"),
    "integer": (_whole(-(2**31)), _WHOLE),
    "markdown": (_string, _SAID),
    "oid": (_text(_OID), "an OID that begins with urn:oid:"),
    "positiveInt": (_whole(1), _WHOLE + ", 1 or more"),
    "string": (_string, _SAID),
    "time": (_text(_TIME), "a time: hh:mm:ss"),
    "unsignedInt": (_whole(0), _WHOLE + ", 0 or more"),
    "uri": (_text(_URI), "a URI, which has no blanks"),
    "url": (_text(_URI), "a URL, which has no blanks"),
    "uuid": (_text(_UUID), "a UUID that begins with urn:uuid:"),
}
"""How the value of each primitive is checked, and what belongs there."""

RULES: Final = datatypes.RULES | care.RULES | structures.RULES | knowledge.RULES | exchange.RULES
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
def _invariant_rows() -> list[list[str]]:
    text = (files("twinward.fhir.validation") / "r4_invariants.json").read_text(encoding="utf-8")
    found: list[list[str]] = json.loads(text)
    return found


@cache
def _messages() -> dict[tuple[str, str], str]:
    found = {}
    for path, key, _, human in _invariant_rows():
        found[key, path] = found[key, ""] = f"{human} ({key})"
    return found


@cache
def _simple_quantities() -> tuple[str, ...]:
    return tuple(path.replace("[x]", "Quantity") for path, key, *_ in _invariant_rows() if key == _SIMPLE)


def _without_comparator(names: tuple[str, ...]) -> Rule:
    def quantities(one: Object) -> Iterator[Object]:
        for name in names:
            if name in one:
                yield one[name]

    return lambda one: not any("comparator" in quantity for quantity in quantities(one))


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
    text = (files("twinward.fhir.validation") / "r4_definitions.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
