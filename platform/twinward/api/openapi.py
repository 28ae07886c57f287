"""The OpenAPI document: what FastAPI derives from the routes, and what every route here has in common besides.

FastAPI documents what a route returns when all is well, and a 422 that this API never sends. What else may come back
is the same everywhere, because one set of handlers makes it (``twinward.api.http.problems``, ``FhirRoute``): so it is
written into the document here, once, and not route by route. A route's own words on a status stay. So are the media
types that a FHIR resource is shown as, and the links from a resource that was written to what may be done with it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from twinward.api.fhir.openapi import of_every_request
from twinward.api.http.doors import open_all
from twinward.api.http.representation import FHIR_TYPES, PROBLEM_TYPES, is_negotiated
from twinward.fhir.search.representation import MEDIA_TYPE
from twinward.protocol.messages import PREFIX as QUERIES

_METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})
_FHIR = "/fhir"
_PROBLEM, _OUTCOME = "Problem", "OperationOutcome"

_TYPE = f"{_FHIR}/{{resource_type}}"
_RESOURCE = f"{_TYPE}/{{resource_id}}"
_NAMED = {"resource_type": "$response.body#/resourceType", "resource_id": "$response.body#/id"}
_LINKS = {
    "read": ("get", _RESOURCE, _NAMED),
    "vread": ("get", f"{_RESOURCE}/_history/{{version_id}}", _NAMED | {"version_id": "$response.body#/meta/versionId"}),
    "history": ("get", f"{_RESOURCE}/_history", _NAMED),
    "update": ("put", _RESOURCE, _NAMED),
    "delete": ("delete", _RESOURCE, _NAMED),
}

_TEXT = {"type": "string"}
_SCHEMAS: dict[str, dict[str, Any]] = {
    _PROBLEM: {
        "title": "What went wrong, and what to do (RFC 9457)",
        "type": "object",
        "required": ["type", "title", "status", "error"],
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "error": {
                "type": "object",
                "required": ["kind", "message", "hint"],
                "properties": {"kind": _TEXT, "message": _TEXT, "hint": _TEXT},
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    },
    _OUTCOME: {
        "title": "FHIR R4 OperationOutcome: what went wrong, and where",
        "type": "object",
        "required": ["resourceType", "issue"],
        "properties": {
            "resourceType": {"const": "OperationOutcome"},
            "issue": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["severity", "code", "diagnostics"],
                    "properties": {
                        "severity": {"enum": ["fatal", "error", "warning", "information"]},
                        "code": _TEXT,
                        "diagnostics": _TEXT,
                        "expression": {"type": "array", "minItems": 1, "items": _TEXT},
                    },
                    "additionalProperties": False,
                },
            },
        },
        "additionalProperties": False,
    },
}

_EVERYWHERE = {400: "Something in the request cannot be taken", 503: "Something this needs does not answer"}
_SIGNED_IN = {
    401: "No bearer token, or not a genuine one",
    403: "Policy, consent or a budget says no; the refusal is logged",
    404: "There is no such thing, or the caller may not know that there is",
    409: "The present version or state stands in the way",
    429: "More requests of this account at once than leave threads to others; Retry-After says when to come again. Or "
    "more patients opened in emergencies than one clinician may, which is logged",
}
_NEGOTIATED = {406: "Accept, Accept-Encoding or _format take nothing of what this is answered with"}
_WITH_BODY = {
    408: "The body came too slowly",
    413: "The body is larger than this route takes, packed or unpacked",
    415: "The body is of another media type, charset or content coding than this route takes",
}
_OF_QUERIES = {429: "More requests in a minute than this hospital answers one vendor; the hint says how long to wait"}
_OF_FHIR = {
    410: "It was deleted; its history is still there",
    412: "A condition of the request does not hold: another version is there, or several match",
}
_UNSENT = "422"
"""FastAPI's status for input that fails its checks; ``twinward.api.http.problems`` sends 400."""


def complete(app: FastAPI) -> None:
    """Have an app's document say what every route may answer. Call once, in place of nothing else."""
    derive, making = app.openapi, threading.Lock()
    made: list[dict[str, Any]] = []  # FastAPI keeps its own before it is whole

    def openapi() -> dict[str, Any]:
        with making:
            if not made:
                made.append(whole())
            return made[0]

    def whole() -> dict[str, Any]:
        open_all(app.router.routes)
        document = derive()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_SCHEMAS)
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path, operation in _operations(document):
            _add_refusals(path, operation)
            if path.startswith(_FHIR):
                _add_media_types(operation)
        _add_links(document["paths"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in _METHODS:
                yield path, operation


def _add_refusals(path: str, operation: dict[str, Any]) -> None:
    of_fhir = path == _FHIR or path.startswith(f"{_FHIR}/")
    refusals = _EVERYWHERE | (_NEGOTIATED if is_negotiated(path) else {})
    if operation.get("security"):
        refusals |= _SIGNED_IN | (_OF_FHIR if of_fhir else {})
    elif "{" in path:
        refusals[404] = _SIGNED_IN[404]
    if "requestBody" in operation:
        refusals |= _WITH_BODY | (_OF_QUERIES if path.startswith(f"{QUERIES}/") else {})
    if of_fhir:
        operation.setdefault("parameters", []).extend(of_every_request())
    responses = operation["responses"]
    responses.pop(_UNSENT, None)
    for status, meaning in sorted(refusals.items()):
        shape = _OUTCOME if of_fhir else _PROBLEM
        responses.setdefault(str(status), {"description": meaning, "content": _content(shape)})


def _add_media_types(operation: dict[str, Any]) -> None:
    """A resource is shown as each of FHIR's JSON types, as Accept or ``_format`` asks."""
    for response in operation["responses"].values():
        content = response.get("content", {})
        if MEDIA_TYPE in content:
            response["content"] = dict.fromkeys(FHIR_TYPES, content[MEDIA_TYPE]) | content


def _add_links(paths: dict[str, Any]) -> None:
    """From what a create or an update answers to reads, versions, history, updates and deletion of that resource.

    https://spec.openapis.org/oas/v3.1.0#link-object
    """
    if _RESOURCE not in paths:
        return
    links = {
        name: {"operationId": paths[path][method]["operationId"], "parameters": parameters}
        for name, (method, path, parameters) in _LINKS.items()
    }
    for operation in (paths[_TYPE]["post"], paths[_RESOURCE]["put"]):
        for status in ("200", "201"):
            operation["responses"][status]["links"] = links


def _content(shape: str) -> dict[str, Any]:
    said = {"schema": {"$ref": f"#/components/schemas/{shape}"}}
    return dict.fromkeys(FHIR_TYPES if shape == _OUTCOME else PROBLEM_TYPES, said)
