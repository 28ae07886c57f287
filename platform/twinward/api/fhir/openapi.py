"""What the OpenAPI document says of FHIR routes: bodies, answers, and parameters that they read by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twinward.fhir.json.patch import MEDIA_TYPE as PATCH
from twinward.fhir.json.patch import MOST_OPERATIONS
from twinward.fhir.search.representation import MEDIA_TYPE

TAKEN = (MEDIA_TYPE, "application/json")
"""Media types of a resource that is sent."""

COUNT = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
_MOMENT = {"type": "string", "format": "date-time"}
_EVENT = {"type": "string", "pattern": "^[0-9]{1,15}$"}
_DAY = {"type": "string", "format": "date"}

_KNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "_at": (_MOMENT, "Only versions that were what was kept at this moment, or in some moment of this day or month"),
    "_count": (COUNT, "How many a page shows; 0 only counts"),
    "_cursor": ({"type": "string", "maxLength": 1000}, "Of the next page: only as its link has it"),
    "_elements": (
        {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9]{0,63}(,[A-Za-z][A-Za-z0-9]{0,63}){0,49}$"},
        "Only these elements",
    ),
    "_id": (ID, "Of this id"),
    "_outputFormat": ({"enum": ["application/fhir+ndjson", "application/ndjson", "ndjson"]}, "Of the files"),
    "_since": (_MOMENT, "Only what was written here since"),
    "_summary": ({"enum": ["count", "data", "false", "text", "true"]}, "Only a part of each resource"),
    "_total": ({"enum": ["accurate", "estimate", "none"]}, "How exactly matches are counted"),
    "_type": ({"type": "string", "pattern": "^[A-Z][A-Za-z]*(,[A-Z][A-Za-z]*)*$"}, "Only these types"),
    "content": ({"enum": ["empty", "full-resource", "id-only"]}, "How much is told of each event"),
    "criteria": ({"type": "string", "maxLength": 200}, "Of this topic: its canonical URL"),
    "eventsSinceNumber": (_EVENT, "From this event on"),
    "eventsUntilNumber": (_EVENT, "Up to this event"),
    "id": (
        {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}(,[A-Za-z0-9\-.]{1,64}){0,19}$"},
        "Of this subscription; several with commas",
    ),
    "status": ({"enum": ["active", "error", "off", "requested"]}, "Of this status"),
    "end": (_DAY, "Of care that was given until then"),
    "start": (_DAY, "Of care that was given from then on"),
}


def taking(names: Iterable[str]) -> dict[str, Any]:
    """A route's ``openapi_extra`` for parameters that it takes."""
    return {"parameters": [_parameter(name, *_KNOWN[name]) for name in sorted(names)]}


def of_every_request() -> list[dict[str, Any]]:
    """Parameters that any FHIR request may carry."""
    formats = {"enum": ["json", "application/json", "text/json", "application/fhir+json"]}
    return [
        _parameter("_format", formats, "What is answered with, before what Accept says"),
        _parameter("_pretty", {"type": "boolean"}, "Taken; resources are shown as they are kept"),
    ]


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def body_of(resource_type: str = "") -> dict[str, Any]:
    """What OpenAPI says of a request body: a resource, of one type or of any."""
    schema = _resource(resource_type)
    return {"requestBody": {"required": True, "content": {each: {"schema": schema} for each in TAKEN}}}


def answers(resource_type: str = "", **meanings: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of answers that carry a resource: ``answers("Bundle", _200="A page")``."""
    content = {MEDIA_TYPE: {"schema": _resource(resource_type)}}
    return {name.removeprefix("_"): {"description": text, "content": content} for name, text in meanings.items()}


def _resource(resource_type: str) -> dict[str, Any]:
    kind = {"const": resource_type} if resource_type else {"type": "string"}
    return {"type": "object", "properties": {"resourceType": kind}, "required": ["resourceType"]}


_PATCH_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_OPERATIONS,
    "items": {
        "type": "object",
        "properties": {
            "op": {"enum": ["add", "copy", "move", "remove", "replace", "test"]},
            "path": {"type": "string"},
            "from": {"type": "string"},
            "value": {},
        },
        "required": ["op", "path"],
    },
}
PATCH_BODY = {"requestBody": {"required": True, "content": {PATCH: {"schema": _PATCH_SCHEMA}}}}
"""A JSON Patch (RFC 6902)."""
