"""Errors over HTTP: one JSON shape, the right status, no traceback, and never what the caller sent."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from twinward.access.errors import ProofNeeded
from twinward.api.http.guard import secure
from twinward.core.errors import TwinwardError, UnsupportedMedia
from twinward.fhir.errors import Issue, operation_outcome
from twinward.fhir.search.representation import MEDIA_TYPE as FHIR_MEDIA_TYPE
from twinward_crypto.errors import CryptoError, MalformedBundle, MalformedKey, ParameterError

log = structlog.get_logger("twinward.api")

_CALLERS_FAULT = (MalformedBundle, MalformedKey, ParameterError)


_MAX_NAME_CHARS = 40
MEDIA_TYPE = "application/problem+json"


def problem(
    status: int, kind: str, message: str, hint: str = "", *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The one error body: an RFC 9457 problem, with the platform's own words in its member ``error``."""
    more = ({"www-authenticate": "Bearer"} if status == 401 else {}) | dict(headers or {})
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


def headers_of(error: TwinwardError) -> dict[str, str]:
    """What a refusal says in its headers, whatever its body is."""
    headers = {}
    if isinstance(error, ProofNeeded):  # RFC 9470 section 3
        word, said = "insufficient_user_authentication", "a fresh proof is asked for"
        challenge = f'Bearer error="{word}", error_description="{said}", max_age={error.max_age_s}'
        headers["www-authenticate"] = challenge
    elif error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    wait_s = getattr(error, "wait_s", None)
    if isinstance(wait_s, int):
        headers["retry-after"] = str(wait_s)  # RFC 9110 section 10.2.3
    if isinstance(error, UnsupportedMedia) and error.taken:
        headers["accept"] = ", ".join(error.taken)  # section 12.5.1: of the next request for this resource
        patches = [one for one in error.taken if "patch" in one]
        if patches:
            headers["accept-patch"] = ", ".join(patches)  # RFC 5789 section 2.2
    return headers


async def _expected(_: Request, error: Exception) -> Response:
    assert isinstance(error, TwinwardError)  # noqa: S101 - narrows the type; registered for this class only
    if error.http_status >= 500:
        log.warning("unavailable", kind=type(error).__name__, cause=type(error.__cause__).__name__)
    return problem(error.http_status, type(error).__name__, *error.outside(), headers=headers_of(error))


async def _crypto(_: Request, error: Exception) -> Response:
    if isinstance(error, _CALLERS_FAULT):
        return problem(400, type(error).__name__, str(error))
    log.error("crypto_error", kind=type(error).__name__)
    return problem(500, "InternalError", "the node could not answer; nothing was changed")


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    return problem(400, "BadInput", first_fault(error), "see /openapi.json for what this endpoint takes")


def refusal(path: str, error: HTTPException) -> Response:
    """An ``HTTPException`` as the door at ``path`` says it: FHIR's with an OperationOutcome, others with a problem.

    At the console it is for who stands before a page that was not reached: a sentence.

    Ours name their ``kind`` and their ``code``, which is FHIR's word; the framework's have neither.
    """
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    kind = getattr(error, "kind", "HttpError")
    if f"{path}/".startswith("/fhir/"):
        code = getattr(error, "code", "not-supported" if error.status_code == 405 else "not-found")
        issue = Issue(code, "", str(error.detail))
        return JSONResponse(operation_outcome([issue]), error.status_code, headers, FHIR_MEDIA_TYPE)
    if f"{path}/".startswith("/console/"):
        return PlainTextResponse(f"{error.detail}\n", error.status_code, headers)
    return problem(error.status_code, kind, str(error.detail), headers=headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    return refusal(request.url.path, error)


async def _defect(request: Request, error: Exception) -> Response:
    # The exception's text may hold data, so only its type is logged.
    log.error("defect", kind=type(error).__name__, method=request.method)
    answer = problem(500, "InternalError", "the node could not answer; nothing was changed")
    secure(answer.headers, request.scope["scheme"])  # it is sent from outside of ``Guard``
    return answer
