"""Errors over HTTP: one JSON shape, the right status, no traceback, and never what the caller sent."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from twinward.errors import TwinwardError
from twinward.fhir.errors import Issue
from twinward.fhir.outcome import operation_outcome
from twinward.fhir.render import MEDIA_TYPE as FHIR_MEDIA_TYPE
from twinward_crypto.errors import CryptoError, MalformedBundle, MalformedKey, ParameterError

log = structlog.get_logger("twinward.api")

_CALLERS_FAULT = (MalformedBundle, MalformedKey, ParameterError)


_MAX_NAME_CHARS = 40
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
MEDIA_TYPE = "application/problem+json"


def problem(
    status: int, kind: str, message: str, hint: str = "", *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The one error body: an RFC 9457 problem, with the platform's own words in its member ``error``."""
    more = dict(headers or {}) | ({"www-authenticate": "Bearer"} if status == 401 else {})
    body = {
        "type": f"urn:twinward:problem:{kind}",
        "title": message,
        "status": status,
        "error": {"kind": kind, "message": message, "hint": hint},
    }
    return JSONResponse(body, status_code=status, headers=more, media_type=MEDIA_TYPE)


def first_fault(error: RequestValidationError) -> str:
    """What is wrong with a request, in one line. Names of fields are cut: an unknown one is the caller's own text."""
    first = error.errors()[0]
    where = ".".join(str(part)[:_MAX_NAME_CHARS] for part in first["loc"])
    return f"{where}: {first['msg']}"


def install(app: FastAPI) -> None:
    """Give an app handlers for everything that can go wrong."""
    app.add_exception_handler(TwinwardError, _expected)
    app.add_exception_handler(CryptoError, _crypto)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _defect)


async def _expected(_: Request, error: Exception) -> Response:
    assert isinstance(error, TwinwardError)  # noqa: S101 - narrows the type; registered for this class only
    return problem(error.http_status, type(error).__name__, str(error), error.hint)


async def _crypto(_: Request, error: Exception) -> Response:
    if isinstance(error, _CALLERS_FAULT):
        return problem(400, type(error).__name__, str(error))
    log.error("crypto_error", kind=type(error).__name__)
    return problem(500, "InternalError", "the node could not answer; nothing was changed")


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    return problem(400, "BadInput", first_fault(error), "see /openapi.json for what this endpoint takes")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        headers["allow"] = ", ".join(_allowed(request))
    if request.url.path.startswith("/fhir/"):
        issue = Issue("not-supported" if error.status_code == 405 else "not-found", "", str(error.detail))
        return JSONResponse(operation_outcome([issue]), error.status_code, headers, FHIR_MEDIA_TYPE)
    return problem(error.status_code, "HttpError", str(error.detail), headers=headers)


def _allowed(request: Request) -> list[str]:
    """Every method that some route has for this path; the router names only those of the first route that fits."""
    scope = dict(request.scope)
    return [
        method
        for method in _METHODS
        if any(route.matches(scope | {"method": method})[0] is Match.FULL for route in request.app.routes)
    ]


async def _defect(request: Request, error: Exception) -> Response:
    # The exception's text may hold data, so only its type is logged.
    log.error("defect", kind=type(error).__name__, method=request.method)
    return problem(500, "InternalError", "the node could not answer; nothing was changed")
