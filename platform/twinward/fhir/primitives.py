"""FHIR's primitives as JSON has to write them. https://hl7.org/fhir/R4/json.html#primitive.

The models of ``fhir.resources`` convert what they are given: ``"true"`` passes for a boolean, ``1`` for a dateTime.
This node keeps bytes as they came, so whoever reads them later would find a string where R4 has a boolean. Each
element is therefore held against what R4 lets JSON write there; which element is what, the models say themselves.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

_Check = Callable[[Any], bool]

_CODE = re.compile(r"[^\s]+(?: [^\s]+)*")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_NO_SPACE = re.compile(r"\S+")
_UUID = re.compile(r"urn:uuid:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _text(pattern: re.Pattern[str] | None = None) -> _Check:
    return lambda value: isinstance(value, str) and (pattern is None or pattern.fullmatch(value) is not None)


def _whole(value: Any) -> bool:
    return type(value) is int


def _number(value: Any) -> bool:
    return type(value) in (int, Decimal, float)


_CHECKS: Mapping[str, tuple[_Check, str]] = {
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "Integer": (_whole, "a whole number, written as one"),
    "UnsignedInt": (_whole, "a whole number, written as one"),
    "PositiveInt": (_whole, "a whole number, written as one"),
    "Decimal": (_number, "a number"),
    "Id": (_text(_ID), "an id: 1 to 64 letters, digits, hyphens and dots"),
    "Code": (_text(_CODE), "a code: words with single blanks between them"),
    "Uri": (_text(_NO_SPACE), "a URI, which has no blanks"),
    "Url": (_text(_NO_SPACE), "a URL, which has no blanks"),
    "Canonical": (_text(_NO_SPACE), "a canonical URL, which has no blanks"),
    "UuidVersion": (_text(_UUID), "a UUID that begins with urn:uuid:"),
}
_OTHERWISE = (_text(), "a string")


@dataclass(frozen=True, slots=True)
class _Element:
    """One element: how its value is checked, or the model of the elements within it (None: any resource)."""

    check: _Check | None
    meaning: str
    model: type[BaseModel] | None = None


def faults(model: type[BaseModel], resource: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where a resource that fits its model writes a primitive as R4 does not: the path, and what belongs there.

    Args:
        model: a model of ``fhir.resources``.
        resource: a decoded resource, already accepted by the model.
        path: where it stands.
    """
    if not isinstance(resource, dict):
        return
    elements = _elements(model)
    for name, value in resource.items():
        element = elements.get(name)
        if element is None:
            continue
        for index, one in enumerate(value) if isinstance(value, list) else ((None, value),):
            place = f"{path}.{name}" if index is None else f"{path}.{name}[{index}]"
            if element.check is None:
                inner = element.model or _resource_model(one)
                if inner is not None:
                    yield from faults(inner, one, place)
            elif one is None and index is not None:
                continue  # null keeps the place of a value that only its extension speaks of
            elif not element.check(one):
                yield place, element.meaning


def _resource_model(resource: Any) -> type[BaseModel] | None:
    from fhir.resources.R4B import get_fhir_model_class

    try:
        found: type[BaseModel] = get_fhir_model_class(resource["resourceType"])
    except (KeyError, TypeError):
        return None  # a type without a model, which was checked for structure only
    return found


@lru_cache(maxsize=1024)
def _elements(model: type[BaseModel]) -> dict[str, _Element]:
    found = {}
    for name, field in model.model_fields.items():
        alias = field.alias or name
        if alias not in ("resourceType", "resource_type", "fhir_comments"):
            found[alias] = _element(_inner(field.annotation))
    return found


def _element(annotation: Any) -> _Element:
    if typing.get_origin(annotation) is typing.Annotated:
        check, meaning = _CHECKS.get(type(typing.get_args(annotation)[-1]).__name__, _OTHERWISE)
        return _Element(check, meaning)
    if hasattr(annotation, "get_model_klass"):
        name = annotation.__name__
        return _Element(None, "", None if name in ("ResourceType", "ElementType") else annotation.get_model_klass())
    check, meaning = _CHECKS.get(getattr(annotation, "__name__", ""), _OTHERWISE)
    return _Element(check, meaning)


def _inner(annotation: Any) -> Any:
    """What a list or an optional value is of."""
    while typing.get_origin(annotation) in (list, typing.Union, UnionType):
        annotation = next(one for one in typing.get_args(annotation) if one is not type(None))
    return annotation
