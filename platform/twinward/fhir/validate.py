"""Is this a FHIR R4 resource? Two depths: ``structure`` (cheap, ours) and ``full`` (the ``fhir.resources`` models).

The library has R4B models, not R4. Known differences, mended here:

- the types of ``R4_ONLY`` have no R4B model: structure only;
- ``Evidence`` was redesigned in R4B, so that valid R4 is rejected: structure only;
- types that only R4B has (``Citation``, ``SubscriptionTopic``, …) are not R4 and are refused.

Messages name the element and the rule, never the value that broke it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.primitives import faults
from twinward.fhir.resource_types import R4_ONLY, R4_TYPES
from twinward.fhir.strict_json import JsonObject

if TYPE_CHECKING:
    from pydantic import BaseModel

Depth = Literal["structure", "full"]

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""https://hl7.org/fhir/R4/datatypes.html#id."""

_STRUCTURE_ONLY = R4_ONLY | {"Evidence"}
_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MAX_ISSUES = 20


def validate(resource: JsonObject, *, depth: Depth = "full", path: str = "") -> None:
    """Raise ``InvalidResource`` unless this is an R4 resource, checked to this depth.

    Args:
        resource: a decoded resource.
        depth: ``structure`` (type, id, references, nesting of resources) or ``full`` (every element of the type).
        path: where the resource stands in what was sent, e.g. ``Bundle.entry[3].resource``; default: its type.
    """
    resource_type = check_structure(resource, path=path)
    if depth == "full" and resource_type not in _STRUCTURE_ONLY:
        _check_model(resource_type, resource, path or resource_type)


def check_structure(resource: JsonObject, *, path: str = "") -> str:
    """The cheap check of one resource; return its type."""
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str) or resource_type not in R4_TYPES:
        issue = Issue("structure", f"{path or 'Resource'}.resourceType", "not a resource type of FHIR R4")
        raise InvalidResource(issue, hint="R4 is version 4.0.1; R4B and R5 have types it does not")
    path = path or resource_type
    resource_id = resource.get("id")
    if resource_id is not None and not (isinstance(resource_id, str) and ID.fullmatch(resource_id)):
        raise InvalidResource(Issue("value", f"{path}.id", "an id is 1 to 64 letters, digits, hyphens and dots"))
    for element in ("subject", "patient"):
        _check_reference(resource.get(element), f"{path}.{element}")
    contained = resource.get("contained", [])
    if not isinstance(contained, list):
        raise InvalidResource(Issue("structure", f"{path}.contained", "contained resources stand in an array"))
    for index, inner in enumerate(contained):
        _check_contained(inner, f"{path}.contained[{index}]")
    return resource_type


def _check_contained(inner: object, path: str) -> None:
    if not isinstance(inner, dict):
        raise InvalidResource(Issue("structure", path, "a resource is a JSON object"))
    if "contained" in inner:
        raise InvalidResource(Issue("structure", f"{path}.contained", "contained resources do not contain others"))
    check_structure(inner, path=path)


def _check_reference(value: object, path: str) -> None:
    """A Reference, or a list of them; anything else that stands there is left to the full check."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict) and not isinstance(one.get("reference", ""), str):
            raise InvalidResource(Issue("value", f"{path}.reference", "a reference is a string"))


@lru_cache(maxsize=256)
def _model(resource_type: str) -> type[BaseModel]:
    # Imported when first needed, and one type at a time: the whole library takes seconds.
    from fhir.resources.R4B import get_fhir_model_class

    model: type[BaseModel] = get_fhir_model_class(resource_type)
    return model


@dataclass(frozen=True, slots=True)
class Summary:
    """Top-level elements of a type: those every resource of it has, and those its summary shows (none if unknown)."""

    required: frozenset[str] = frozenset()
    marked: frozenset[str] = frozenset()


@lru_cache(maxsize=256)
def summary_of(resource_type: str) -> Summary:
    """What R4B's model of a type says of its elements; nothing for the types it does not model."""
    if resource_type in R4_ONLY:
        return Summary()
    required, marked = set(), set()
    for name, field in _model(resource_type).model_fields.items():
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if marks.get("element_required") or field.is_required():
            required.add(field.alias or name)
        if marks.get("summary_element_property"):
            marked.add(field.alias or name)
    return Summary(frozenset(required), frozenset(marked))


def _check_model(resource_type: str, resource: JsonObject, path: str) -> None:
    try:
        _model(resource_type).model_validate(resource)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        issues = [_issue(path, one["loc"], one["type"], one["msg"]) for one in found[:_MAX_ISSUES]]
        raise InvalidResource(*issues, hint="https://hl7.org/fhir/R4/ describes every element") from None
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as slip:
        # The library looks nested resource types up by name and trusts what it finds; its slips are ours to report.
        if isinstance(slip, TypeError | AttributeError):
            _check_primitives(resource_type, resource, path)  # most often a primitive of another JSON type
        issue = Issue("invalid", path, f"the model of {resource_type} cannot read this resource")
        raise InvalidResource(issue) from None
    _check_primitives(resource_type, resource, path)


def _check_primitives(resource_type: str, resource: JsonObject, path: str) -> None:
    found = islice(faults(_model(resource_type), resource, path), _MAX_ISSUES)
    wrong = [Issue("value", place, f"{meaning} belongs here") for place, meaning in found]
    if wrong:
        hint = "https://hl7.org/fhir/R4/datatypes.html says how each is written"
        raise InvalidResource(*wrong, hint=hint) from None


def _issue(path: str, loc: tuple[int | str, ...], kind: str, message: str) -> Issue:
    code = {"missing": "required", "extra_forbidden": "structure"}.get(kind, "value")
    return Issue(code, path + "".join(_step(part) for part in loc), message.removeprefix("Value error, "))


def _step(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return "." + (part if _ELEMENT.fullmatch(part) else "?")


def element(resource: JsonObject, *names: str) -> Any:
    """A nested element of decoded JSON, or None where a step is missing or not an object."""
    found: Any = resource
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found
