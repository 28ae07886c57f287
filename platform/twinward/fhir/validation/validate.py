"""Is this a FHIR R4 resource? One check, behind every door: single writes, bundles, bulk lines and files.

Messages name the element and the rule, never the value that broke it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.resource_types import R4_ONLY, R4_TYPES
from twinward.fhir.validation.conformity import faults

if TYPE_CHECKING:
    from pydantic import BaseModel

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""https://hl7.org/fhir/R4/datatypes.html#id."""


def validate(resource: JsonObject, *, path: str = "") -> str:
    """Return the type of an R4 resource that keeps R4's rules (``twinward.fhir.validation.conformity`` lists them).

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


def element(resource: JsonObject, *names: str) -> Any:
    """A nested element of decoded JSON, or None where a step is missing or not an object."""
    found: Any = resource
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found
