"""R4 resources made up from HL7's definitions: the least that a type needs, and objects drawn at random.

An object of a type is set into the least resource that can hold it: a part of a resource into that resource, a datatype
into an extension. Texts and codes are drawn from the type's value sets and from the words in its own invariants, so
that what is drawn keeps and breaks them both.
"""

from __future__ import annotations

import json
import re
from functools import cache
from random import Random
from typing import Any

from tests.fhirpath_oracle import FHIR, rows

Object = dict[str, Any]

_SAMPLES: dict[str, list[Any]] = {
    "base64Binary": ["AAAA"],
    "boolean": [True, False],
    "canonical": ["http://e.example/a", "urn:b", "#c"],
    "code": ["a", "b"],
    "date": ["2020-01-01", "2020-01-02", "2021"],
    "dateTime": ["2020-01-01", "2020-01-02", "2020-02", "2020-01-01T10:00:00Z", "2020-01-01T10:00:00-05:00"],
    "decimal": [0, 1, 1.5, -2, 101],
    "id": ["a", "b"],
    "instant": ["2020-01-01T10:00:00Z"],
    "integer": [0, 1, 2],
    "markdown": ["a", "b"],
    "oid": ["urn:oid:1.2"],
    "positiveInt": [1, 2],
    "string": ["a", "a.b", "2", "*", "b c"],
    "time": ["10:00:00"],
    "unsignedInt": [0, 1, 3],
    "uri": ["http://e.example/a", "urn:b"],
    "url": ["http://e.example/a"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
    "xhtml": ['<div xmlns="http://www.w3.org/1999/xhtml">a</div>'],
}
_IN_AN_EXTENSION = "http://e.example/extension"


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FHIR / "r4_definitions.json").read_text(encoding="utf-8"))
    return found


@cache
def _words(kind: str) -> tuple[str, ...]:
    """The words that the invariants of a type and of its elements compare with."""
    texts = [row.expression for row in rows() if row.path.rpartition(".")[0] == kind or row.path == kind]
    words = {word for text in texts for word in re.findall(r"'([A-Za-z][^'\\()]*)'", text)}
    return tuple(sorted(words | {"http://unitsofmeasure.org"} if any("%ucum" in text for text in texts) else words))


_MORE: dict[str, Object] = {
    "ConceptMap.group": {"element": [{"code": "a"}]},
    "StructureDefinition": {
        "baseDefinition": "http://e.example/a",
        "kind": "logical",
        "derivation": "specialization",
        "abstract": True,
        "type": "A",
    },
    "StructureDefinition.snapshot.element": {"id": "A", "path": "A", "definition": "a", "min": 0, "max": "1"}
    | {"base": {"path": "A", "min": 0, "max": "1"}},
}
"""What an object needs beside its required elements to hold another and break nothing by itself."""


def least(kind: str) -> Object:
    """The least well-formed object of a type, and what ``_MORE`` says; its other invariants are not looked at."""
    return drawn(kind, Random(0), share=0) | _MORE.get(kind, {})


def drawn(kind: str, random: Random, *, share: float, depth: int = 0) -> Object:
    """An object of a type with what is required and a share of the rest."""
    made: Object = {"resourceType": kind} if "." not in kind and "meta" in _names(kind) else {}
    taken: set[str] = set()
    listed = list(_table()["types"][kind])
    random.shuffle(listed)
    for name, element, flags, *more in listed:
        choice = more[0] if more else ""
        is_needed = "!" in flags and choice not in taken
        is_drawn = share > 0 and depth < 3 and name in _interesting(kind) and random.random() < share
        if (choice in taken and choice) or not (is_needed or is_drawn):
            continue
        times = random.choice((1, 1, 2, 3)) if "*" in flags and share > 0 else 1
        values = [_value(kind, name, element, more, random, share, depth) for _ in range(times)]
        if None in values:
            continue
        if choice:
            taken.add(choice)
        made[name] = values if "*" in flags else values[0]
    return made or {"id": "a"}


@cache
def _names(kind: str) -> frozenset[str]:
    return frozenset(row[0] for row in _table()["types"][kind])


@cache
def _interesting(kind: str) -> frozenset[str]:
    """What the invariants of a type speak of; of a type that has none, everything but extensions and contained."""
    texts = " ".join(
        row.expression
        for row in rows()
        if row.path == kind or row.path.startswith(f"{kind}.") or row.path.rpartition(".")[0] == kind
    )
    texts += " ".join(row.path.removeprefix(kind) for row in rows() if row.path.startswith(f"{kind}."))
    said = set(re.findall(r"[A-Za-z]+", texts))
    shy = {"extension", "modifierExtension", "contained", "meta", "text", "implicitRules"}
    return frozenset(
        row[0]
        for row in _table()["types"][kind]
        if row[0] in said or (len(row) > 3 and row[3] in said) or (not said and row[0] not in shy)
    )


def _value(kind: str, name: str, element: str, more: list[str], random: Random, share: float, depth: int) -> Any:
    codes = _table()["codes"].get(more[1]) if len(more) > 1 else None
    words = [word for word in _words(kind) if share > 0]
    if codes:
        pairs = [(system, code) for system, some in codes.items() for code in some]
        known = [pair for pair in pairs if pair[1] in words]
        system, code = random.choice(known if known and random.random() < 0.7 else pairs)
        return code if element == "code" else {"coding": [{"system": system, "code": code}]}
    if element in _SAMPLES:
        known = [word for word in words if element in ("string", "code") or (":" in word and element == "uri")]
        return random.choice(known if known and random.random() < 0.6 else _SAMPLES[element])
    if element == "Resource":
        return {"resourceType": random.choice(("Basic", "Composition", "MessageHeader"))} | _basics(random)
    if element == "CodeableConcept" and words and random.random() < 0.7:
        systems = [word for word in words if ":" in word or word == "something"] or ["http://e.example/a"]
        return {"coding": [{"system": random.choice(systems), "code": random.choice(words)}]}
    if element in ("Reference", "CodeableConcept", "Extension", "Meta", "Narrative", "Identifier"):
        return random.choice(_PLAIN[element])
    return drawn(element, random, share=share, depth=depth + 1)


_PLAIN: dict[str, list[Object]] = {
    "CodeableConcept": [
        {"text": "a"},
        {"coding": [{"system": "http://e.example/a", "code": "a"}]},
        {"coding": [{"system": "http://e.example/a", "code": "b"}]},
    ],
    "Extension": [{"url": _IN_AN_EXTENSION, "valueCode": "a"}],
    "Identifier": [{"system": "urn:a", "value": "a"}, {"value": "a"}],
    "Meta": [{"versionId": "1"}],
    "Narrative": [{"status": "generated", "div": _SAMPLES["xhtml"][0]}],
    "Reference": [{"display": "a"}, {"reference": "Patient/p"}],
}


def _basics(random: Random) -> Object:
    return random.choice(({"id": "a"}, {"id": "a", "meta": {"versionId": "1"}}, {"id": "b"}))


def holding(kind: str, one: Object) -> Object:
    """The least resource that has an object of a type in it."""
    if "resourceType" in one:
        return one
    steps = kind.split(".")
    if "meta" in _names(steps[0]) and kind != "Meta":
        return _around(steps, one)
    if steps[0] == "ElementDefinition":
        held = _around(steps, one) if len(steps) > 1 else one
        return _around(["StructureDefinition", "differential", "element"], {"id": "A", "path": "A"} | held)
    value = _around(steps, one) if len(steps) > 1 else one
    return {"resourceType": "Basic", "code": {"text": "a"}} | {
        "extension": [value if kind == "Extension" else {"url": _IN_AN_EXTENSION, f"value{steps[0]}": value}]
    }


def _around(steps: list[str], one: Object) -> Object:
    outer = ".".join(steps[:-1])
    holder = least(outer)
    is_many = next("*" in row[2] for row in _table()["types"][outer] if row[0] == steps[-1])
    holder[steps[-1]] = [one] if is_many else one
    return holder if len(steps) == 2 else _around(steps[:-1], holder)


@cache
def kinds_with_invariants() -> tuple[str, ...]:
    """The types that some invariant is asked of, or of whose elements it is."""
    types = _table()["types"]
    paths = {row.path for row in rows()}
    found = {path if path in types else path.rpartition(".")[0] for path in paths}
    return tuple(sorted(found - {"Element", "Narrative", ""}))


def value_of(kind: str, name: str, random: Random) -> Any:
    """A value for one element of a type."""
    row = next(row for row in _table()["types"][kind] if row[0] == name)
    value = _value(kind, name, row[1], row[3:], random, share=0.3, depth=1)
    return value if value is None or "*" not in row[2] else [value]
