"""Invariants of StructureDefinition, ElementDefinition and StructureMap.

https://hl7.org/fhir/R4/structuredefinition.html, https://hl7.org/fhir/R4/elementdefinition.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from twinward.fhir.validation.invariants.terms import (
    WHOLE,
    Object,
    Rule,
    any_there,
    chosen,
    distinct,
    needs,
    parts,
    there,
    values,
)

_SLICE_NAME = re.compile(r"[a-zA-Z0-9/\-_\[\]@]+")
_NAME = r"[^\s.,:;'\"/|?!@#$%&*()\[\]{}]{1,64}"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME}(?:\[x\])?(?::[^\s.]+)?)*")
_HL7S = "http://hl7.org/fhir/StructureDefinition"
_HL7S_TYPE = re.compile(r"[a-zA-Z0-9.]+|http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+")
_HL7S_CHANGED_TYPE = re.compile(r"[a-zA-Z0-9]+|http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+")

# Structures: https://hl7.org/fhir/R4/structuredefinition.html, https://hl7.org/fhir/R4/elementdefinition.html


def _elements(one: Object, *views: str) -> Iterator[Object]:
    for view in views or ("snapshot", "differential"):
        yield from parts(one, view, "element")


def _is_root(element: Object) -> bool:
    return "." not in element.get("path", ".")


def _roots_without(*names: str) -> Rule:
    return lambda one: (
        not any(_is_root(element) and any(there(element, name) for name in names) for element in _elements(one))
    )


def _first(one: Object, view: str) -> Object:
    return next(_elements(one, view), {})


def _is_its_own_snapshot(one: Object) -> bool:
    """sdf-8."""
    paths = [element.get("path", "") for element in _elements(one, "snapshot")]
    if not paths:
        return True
    return (one.get("kind") == "logical" or paths[0] == one.get("type")) and all(
        path.startswith(f"{paths[0]}.") for path in paths[1:]
    )


def _is_its_own_differential(one: Object) -> bool:
    """sdf-8a."""
    paths = [element.get("path", "") for element in _elements(one, "differential")]
    if not paths:
        return True
    return (one.get("kind") == "logical" or paths[0].startswith(one.get("type", ""))) and all(
        path.startswith(f"{paths[0].split('.')[0]}.") for path in paths[1:]
    )


def _all_have(view: str, *names: str) -> Rule:
    return lambda one: all(there(element, name) for element in _elements(one, view) for name in names)


def _identifies(view: str) -> Rule:
    all_have = _all_have(view, "id")
    return lambda one: all_have(one) and distinct(values(_elements(one, view), "id"))


def _is_bound(element: Object) -> bool:
    binding = element.get("binding")
    return binding is None or there(binding, "valueSet") or there(binding, "description")


def _uses_hl7s_types(one: Object) -> bool:
    if not one.get("url", "").startswith(_HL7S):
        return True
    return all(
        pattern.fullmatch(code) is not None
        for view, pattern in (("differential", _HL7S_CHANGED_TYPE), ("snapshot", _HL7S_TYPE))
        for code in values(parts(one, view, "element", "type"), "code")
    )


def _defaults(one: Object, *views: str) -> bool:
    return any(chosen(element, "defaultValue") for element in _elements(one, *views))


def _min_fits_max(one: Object) -> bool:
    least, most = one.get("min"), one.get("max")
    return least is None or most is None or WHOLE.fullmatch(most) is None or least <= int(most)


_NOT_BESIDE_CONTENT = ("type", "example", "maxLength", "binding")
_CHOICES_NOT_BESIDE_CONTENT = ("defaultValue", "fixed", "pattern", "minValue", "maxValue")


def _has_content_of_one_kind(one: Object) -> bool:
    return not there(one, "contentReference") or not (
        any(there(one, name) for name in _NOT_BESIDE_CONTENT)
        or any(chosen(one, name) for name in _CHOICES_NOT_BESIDE_CONTENT)
    )


def _is_of_one_type(choice: str) -> Rule:
    return lambda one: len(one.get("type", ())) <= 1 or not chosen(one, choice)


RULES: dict[str, dict[str, Rule]] = {
    "ElementDefinition": {
        "eld-2": _min_fits_max,
        "eld-3": lambda one: one.get("max") in (None, "*") or WHOLE.fullmatch(one["max"]) is not None,
        "eld-5": _has_content_of_one_kind,
        "eld-6": _is_of_one_type("fixed"),
        "eld-7": _is_of_one_type("pattern"),
        "eld-8": lambda one: not (chosen(one, "pattern") and chosen(one, "fixed")),
        "eld-13": lambda one: distinct(values(parts(one, "type"), "code")),
        "eld-14": lambda one: distinct(values(parts(one, "constraint"), "key")),
        "eld-15": lambda one: not (chosen(one, "defaultValue") and there(one, "meaningWhenMissing")),
        "eld-16": lambda one: one.get("sliceName") is None or _SLICE_NAME.fullmatch(one["sliceName"]) is not None,
        "eld-18": lambda one: one.get("isModifier") is not True or there(one, "isModifierReason"),
        "eld-19": lambda one: one.get("path") is None or _PATH.fullmatch(one["path"]) is not None,
        "eld-22": needs("sliceIsConstraining", "sliceName"),
    },
    "ElementDefinition.binding": {
        "eld-12": lambda one: one.get("valueSet") is None or one["valueSet"].startswith(("http:", "https", "urn:"))
    },
    "ElementDefinition.slicing": {"eld-1": any_there("discriminator", "description")},
    "ElementDefinition.type": {
        "eld-4": lambda one: (
            not there(one, "aggregation") or one.get("code", "Reference") in ("Reference", "canonical")
        ),
        "eld-17": lambda one: (
            not there(one, "targetProfile") or one.get("code", "Reference") in ("Reference", "canonical")
        ),
    },
    "StructureDefinition": {
        "sdf-1": lambda one: (
            one.get("derivation") == "constraint" or distinct(values(_elements(one, "snapshot"), "path"))
        ),
        "sdf-4": lambda one: one.get("abstract") is True or there(one, "baseDefinition"),
        "sdf-5": lambda one: (
            one.get("type") != "Extension" or one.get("derivation") == "specialization" or "context" in one
        ),
        "sdf-6": any_there("snapshot", "differential"),
        "sdf-9": _roots_without("label", "code", "requirements"),
        "sdf-11": lambda one: (
            one.get("kind") == "logical"
            or "snapshot" not in one
            or _first(one, "snapshot").get("path") == one.get("type")
        ),
        "sdf-14": lambda one: all(there(element, "id") for element in _elements(one)),
        "sdf-15": lambda one: one.get("kind") == "logical" or "type" not in _first(one, "snapshot"),
        "sdf-15a": lambda one: (
            one.get("kind") == "logical"
            or not _is_root(_first(one, "differential"))
            or "type" not in _first(one, "differential")
        ),
        "sdf-16": _identifies("snapshot"),
        "sdf-17": _identifies("differential"),
        "sdf-18": lambda one: not there(one, "contextInvariant") or one.get("type", "Extension") == "Extension",
        "sdf-19": _uses_hl7s_types,
        "sdf-21": lambda one: not _defaults(one, "differential") or one.get("derivation") == "specialization",
        "sdf-22": lambda one: not one.get("url", "").startswith(_HL7S) or not _defaults(one),
        "sdf-23": _roots_without("sliceName"),
        # HL7 hangs these on the snapshot and the differential; the structure has both in sight.
        "sdf-3": _all_have("snapshot", "definition", "min", "max"),
        "sdf-8": _is_its_own_snapshot,
        "sdf-8a": _is_its_own_differential,
        "sdf-8b": _all_have("snapshot", "base"),
        "sdf-10": lambda one: all(map(_is_bound, _elements(one, "snapshot"))),
        "sdf-20": lambda one: (
            not any(_is_root(element) and "slicing" in element for element in _elements(one, "differential"))
        ),
    },
    "StructureDefinition.mapping": {"sdf-2": any_there("name", "uri")},
    "StructureMap.group.rule.target": {
        "smp-1": needs("element", "context"),
        "smp-2": needs("context", "contextType"),
    },
}
