"""Is this a FHIR R4 resource? One check, behind every door: single writes, bundles, bulk lines and files.

Every element is walked along its type's definition, and each fault named with its path and the rule, never with the
value that broke it. Checked are: names, types and cardinality of elements; what is required; one of a choice;
primitives as JSON writes them; nothing empty, null only where it keeps a place in an array of primitives; required
bindings; HL7's invariants. Not checked are profiles and other bindings.

A path is linked tuples while nothing is wrong with it: ``(outer, step)``. It is written out for a fault alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.validation.definitions import Element, Kind, kind_of, message_of
from twinward.fhir.validation.narrative import narrative_fault

if TYPE_CHECKING:
    pass


ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""https://hl7.org/fhir/R4/datatypes.html#id."""


def validate(resource: JsonObject, *, path: str = "") -> str:
    """Return the type of an R4 resource that keeps R4's rules (``twinward.fhir.validation.validator`` lists them).

    Args:
        resource: a decoded resource.
        path: where the resource stands in what was sent, e.g. ``Bundle.entry[3].resource``; default: its type.

    Raises:
        InvalidResource: it breaks them; the first faults are named.
    """
    resource_type = check_structure(resource, path=path)
    found = faults(resource, path or resource_type)
    if found:
        raise InvalidResource(*found, hint="https://hl7.org/fhir/R4/ describes every element")
    return resource_type


def check_structure(resource: JsonObject, *, path: str = "") -> str:
    """What must hold before a resource can be named: its type, which is returned, and its id."""
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str) or resource_type not in R4_TYPES:
        issue = Issue("structure", f"{path or 'Resource'}.resourceType", "not a resource type of FHIR R4")
        raise InvalidResource(issue, hint="R4 is version 4.0.1; R4B and R5 have types it does not")
    path = path or resource_type
    resource_id = resource.get("id", "")
    if "id" in resource and not (isinstance(resource_id, str) and ID.fullmatch(resource_id)):
        raise InvalidResource(Issue("value", f"{path}.id", "an id is 1 to 64 letters, digits, hyphens and dots"))
    return resource_type


MAX_ISSUES = 20
"""Faults that are named; looking stops at the last of them."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_Place = tuple[Any, str | int]
_ADDRESSES = frozenset({"canonical", "uri", "url"})


class _Enough(Exception):
    """So many faults were found that the rest need not be looked for."""


def faults(resource: Any, path: str) -> Sequence[Issue]:
    """What is wrong with a decoded resource of a known type: the first 20 faults, none where it is valid.

    Args:
        resource: as ``strict_json`` decodes it; its nesting is bounded there.
        path: where it stands, e.g. ``Bundle.entry[3].resource``.
    """
    walk = _Walk()
    with suppress(_Enough):
        walk.resource(resource, (None, path))
    return walk.found


def element_faults(type_name: str, element: str, value: Any) -> Sequence[Issue]:
    """What is wrong with one element of a type, by itself."""
    walk = _Walk()
    with suppress(_Enough):
        walk.element(kind_of(type_name).elements[element], value, {}, (None, element))
    return walk.found


class _Walk:
    """One walk; ``found`` grows to ``MAX_ISSUES``."""

    def __init__(self) -> None:
        self.found: list[Issue] = []
        self._malformed = 0
        self._contained: frozenset[str] = frozenset()
        self._referred_to: set[str] = set()

    def resource(self, value: Any, at: _Place, *, contained: bool = False) -> None:
        if not isinstance(value, dict):
            self._fault("structure", at, "a resource is a JSON object")
            return
        name = value.get("resourceType")
        if not isinstance(name, str) or name not in R4_TYPES:
            self._fault("structure", (at, "resourceType"), "not a resource type of FHIR R4")
            return
        if not contained:
            self._with_contained(kind_of(name), value, at)
        elif "contained" in value:
            self._fault("structure", (at, "contained"), "contained resources do not contain others (dom-2)")
        else:
            self._object(kind_of(name), value, at, is_resource=True)

    def _with_contained(self, kind: Kind, value: dict[str, Any], at: _Place) -> None:
        """A resource that may contain others: what is local is looked for in it, and in none around it."""
        inner = value.get("contained")
        if inner is None and not self._contained:
            self._object(kind, value, at, is_resource=True)
            return
        outer, before = (self._contained, self._referred_to), self._malformed
        resources = [one for one in inner if isinstance(one, dict)] if isinstance(inner, list) else []
        self._contained = frozenset(one["id"] for one in resources if isinstance(one.get("id"), str))
        self._referred_to = set()
        self._object(kind, value, at, is_resource=True)
        if self._malformed == before:
            self._are_linked(kind, value, resources, (at, "contained"))
            for index, one in enumerate(resources):
                self._is_partial(one.get("meta", {}), (((at, "contained"), index), "meta"))
        self._contained, self._referred_to = outer

    def _are_linked(self, kind: Kind, value: dict[str, Any], resources: list[dict[str, Any]], at: _Place) -> None:
        """dom-3: a reference leads to each contained resource, or a URI does, or it refers to what contains it."""
        alone = [index for index, one in enumerate(resources) if f"#{one.get('id')}" not in self._referred_to]
        used = frozenset(_local(kind, value)) if alone else frozenset()
        for index in alone:
            one = resources[index]
            if f"#{one.get('id')}" not in used and "#" not in _local(kind_of(one["resourceType"]), one):
                self._fault("invariant", (at, index), message_of("dom-3"))

    def _is_partial(self, meta: dict[str, Any], at: _Place) -> None:
        """dom-4, dom-5: what is contained has no version, time and labels of its own."""
        if any(name in meta or f"_{name}" in meta for name in ("versionId", "lastUpdated")):
            self._fault("invariant", at, message_of("dom-4"))
        if "security" in meta:
            self._fault("invariant", at, message_of("dom-5"))

    def element(self, element: Element, value: Any, beside: dict[str, Any], at: _Place) -> None:
        """One element's value; ``beside`` has the extensions of primitives that stand in an array."""
        if not element.many:
            self._one(element, value, at)
        elif not isinstance(value, list):
            self._fault("value", at, "an array belongs here")
        elif not value:
            self._fault("value", at, "an array is not empty: leave the element out")
        else:
            shadows = beside.get(f"_{at[1]}") if element.check is not None else None
            for index, one in enumerate(value):
                if one is None and _at(shadows, index) is not None:
                    continue  # null keeps the place of a value that only its extension speaks of
                self._one(element, one, (at, index))

    def _one(self, element: Element, value: Any, at: _Place) -> None:
        check = element.check
        if check is not None:
            if not check(value):
                self._not_primitive(element, value, at)
        elif element.kind == "Resource":
            self.resource(value, at, contained=_is_contained(at))
        elif element.kind == "xhtml":
            reason = narrative_fault(value) if isinstance(value, str) else "XHTML belongs here, as a string"
            if reason:
                self._fault("invalid" if isinstance(value, str) else "value", at, reason)
        elif not isinstance(value, dict):
            self._fault("value", at, f"an object ({element.kind}) belongs here")
        else:
            self._object(kind_of(element.kind), value, at)
            if element.bound:
                self._bound(element, value, at)

    def _object(self, kind: Kind, value: dict[str, Any], at: _Place, *, is_resource: bool = False) -> None:
        if not value:
            self._fault("value", at, "an object is not empty: leave the element out")
            return
        elements = kind.elements
        before = self._malformed
        chosen: dict[str, str] = {}
        for name, one in value.items():
            element = elements.get(name)
            if element is None:
                if not (is_resource and name == "resourceType"):
                    self._other(kind, name, one, value, (at, name))
                continue
            if element.choice and chosen.setdefault(element.choice, name) != name:
                self._fault("structure", (at, name), f"one {element.choice}[x] only")
            if element.many or element.check is None:
                self.element(element, one, value, (at, name))
            elif not element.check(one):
                self._not_primitive(element, one, (at, name))
        for names in kind.required:
            if not any(name in value or f"_{name}" in value for name in names):
                self._fault(
                    "required", (at, names[0]), "is required" if len(names) == 1 else "one of these is required"
                )
        if kind.invariants:
            if self._malformed == before:
                for holds, message in kind.invariants:
                    if not holds(value):
                        self._fault("invariant", at, message)
        elif kind.name == "Reference":
            told = value.get("reference")
            if type(told) is str and told[:1] == "#":
                self._local_reference(told, at)
        elif kind.name == "Extension":
            self._extension(value, at)

    def _other(self, kind: Kind, name: str, one: Any, value: dict[str, Any], at: _Place) -> None:
        """A member that is no element by its own name: the extension of a primitive (``_birthDate``), or unknown."""
        element = kind.elements.get(name[1:]) if name.startswith("_") else None
        if element is None or element.check is None:
            self._fault("structure", at, f"{kind.name} has no such element in R4")
        elif not element.many:
            self._shadow(one, at)
        elif not isinstance(one, list) or not one:
            self._fault("value", at, "an array that is not empty belongs here, beside the one of its element")
        else:
            values = value.get(name[1:])
            for index, each in enumerate(one):
                if each is not None:
                    self._shadow(each, (at, index))
                elif _at(values, index) is None:
                    self._fault("value", (at, index), "null stands for nothing here")

    def _shadow(self, value: Any, at: _Place) -> None:
        if isinstance(value, dict):
            self._object(kind_of("Element"), value, at)
        else:
            self._fault("value", at, "an object (Element) belongs here")

    def _extension(self, value: dict[str, Any], at: _Place) -> None:
        """ext-1: https://hl7.org/fhir/R4/extensibility.html."""
        has_value = any(name.startswith(("value", "_value")) for name in value)
        if has_value == ("extension" in value):
            self._fault("invariant", at, "an extension has either a value or extensions (ext-1)")

    def _local_reference(self, told: str, at: _Place) -> None:
        """ref-1: https://hl7.org/fhir/R4/references.html#contained. ``#`` alone is the resource around it."""
        self._referred_to.add(told)
        if told != "#" and told[1:] not in self._contained:
            self._fault("invariant", at, message_of("ref-1"))

    def _bound(self, element: Element, value: dict[str, Any], at: _Place) -> None:
        codings = value.get("coding")
        for one in codings if isinstance(codings, list) else []:
            pair = (one.get("system"), one.get("code")) if isinstance(one, dict) else (None, None)
            if all(isinstance(part, str) for part in pair) and pair in element.bound:
                return
        wanted = ", ".join(sorted(code for _, code in element.bound))
        self._fault("code-invalid", at, f"one coding is of the required value set: {wanted}")

    def _not_primitive(self, element: Element, value: Any, at: _Place) -> None:
        code = "code-invalid" if isinstance(value, str) and element.meaning.startswith("one of ") else "value"
        self._fault(code, at, f"{element.meaning} belongs here")

    def _fault(self, code: str, at: _Place, message: str) -> None:
        self._malformed += code != "invariant"
        self.found.append(Issue(code, _written(at), message))
        if len(self.found) == MAX_ISSUES:
            raise _Enough


def _local(kind: Kind, value: dict[str, Any]) -> Iterator[str]:
    """The addresses in a well-formed object that begin with ``#``."""
    for name, one in value.items():
        element = kind.elements.get(name) or kind.elements.get(name.removeprefix("_"))
        if element is None or element.kind == "xhtml":
            continue
        for each in one if isinstance(one, list) else [one]:
            if isinstance(each, dict):
                inner = each["resourceType"] if element.kind == "Resource" else element.kind
                yield from _local(kind_of("Element" if name.startswith("_") else inner), each)
            elif isinstance(each, str) and each[:1] == "#" and (name == "reference" or element.kind in _ADDRESSES):
                yield each


def _at(values: Any, index: int) -> Any:
    return values[index] if isinstance(values, list) and index < len(values) else None


def _is_contained(at: _Place) -> bool:
    """Whether the place is an index of an element ``contained``."""
    outer = at[0]
    return isinstance(outer, tuple) and outer[1] == "contained"


def _written(at: _Place | None) -> str:
    steps: list[str] = []
    while at is not None:
        outer, step = at
        if outer is None:
            steps.append(str(step))
        elif isinstance(step, int):
            steps.append(f"[{step}]")
        else:
            # A key is attacker-supplied text: only what looks like an element name is repeated in an error.
            steps.append("." + (step if _NAME.fullmatch(step) else "?"))
        at = outer
    return "".join(reversed(steps))
