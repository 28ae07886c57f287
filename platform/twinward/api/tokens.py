"""``POST /oauth/token`` (RFC 6749 section 4.4, RFC 7523) and the SMART document that leads there.

The one grant is ``client_credentials``; a client is authenticated by a signed assertion, or over mutual TLS by a
certificate that is registered (RFC 8705). Answers have RFC 6749's
shape; a client that cannot be authenticated is told ``invalid_client`` and nothing else, whatever was wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from twinward.access.client_keys import ALGORITHMS
from twinward.access.client_tokens import AccessToken, ClientTokens
from twinward.access.errors import NoToken, TooManyAttempts
from twinward.access.scopes import SUPPORTED
from twinward.api.http.caller import address_of, certificate_of
from twinward.api.http.guard import read_body
from twinward.api.http.pipeline import address_called

PATH: Final = "/oauth/token"
SMART: Final = "/fhir/.well-known/smart-configuration"
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT: Final = "client_credentials"
MOST_BYTES: Final = 16 * 1024
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 16

_TEXT: Final = {"type": "string"}
_GIVEN: Final = {
    "type": "object",
    "required": ["access_token", "token_type", "expires_in", "scope"],
    "properties": {
        "access_token": _TEXT,
        "token_type": {"const": "bearer"},
        "expires_in": {"type": "integer", "minimum": 1, "maximum": 300},
        "scope": _TEXT,
    },
}
_NOT_GIVEN: Final = {
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {"error": _TEXT, "error_description": _TEXT},
}
_TAKES: Final = {
    "type": "object",
    "required": ["grant_type", "scope"],
    "properties": {
        "grant_type": {"const": GRANT},
        "client_assertion_type": {"const": ASSERTION_TYPE},
        "client_assertion": {"type": "string", "maxLength": 8192, "description": "A JWT, signed ES384 or RS384."},
        "client_id": {
            "type": "string",
            "maxLength": 64,
            "description": "Wanted where a certificate proves the client.",
        },
        "scope": {"type": "string", "enum": list(SUPPORTED)},
    },
}


def token_urls(public_url: str) -> Callable[[Request], str]:
    """Where tokens are given, which is whom an assertion has to be meant for: never what a Host header says."""
    return lambda request: address_called(request.scope, public_url) + PATH


def tokens_router(
    tokens: ClientTokens, token_url_of: Callable[[Request], str], *, mutual_tls: bool = False
) -> APIRouter:
    """The routes. ``mutual_tls``: whether connections may bring certificates, which is said to clients."""
    router = APIRouter(tags=["Access tokens"])

    @router.post(
        PATH,
        summary="An access token for a signed assertion: SMART Backend Services",
        response_class=JSONResponse,
        responses={
            200: {"description": "The token", "content": {"application/json": {"schema": _GIVEN}}},
            400: {
                "description": "No token (RFC 6749, section 5.2)",
                "content": {"application/json": {"schema": _NOT_GIVEN}},
            },
            429: {
                "description": "Too many attempts; Retry-After says how long to wait",
                "content": {"application/json": {"schema": _NOT_GIVEN}},
            },
        },
        openapi_extra={"requestBody": {"required": True, "content": {_FORM: {"schema": _TAKES}}}},
    )
    async def token(request: Request) -> JSONResponse:
        try:
            fields = _fields(request, await read_body(request, MOST_BYTES))
            given = await run_in_threadpool(
                tokens.give,
                fields.get("client_assertion", ""),
                fields["scope"],
                audience=token_url_of(request),
                named=fields.get("client_id", ""),
                address=address_of(request),
                certificate=certificate_of(request),
            )
        except NoToken as error:
            return _answer({"error": error.code, "error_description": str(error)}, 400)
        except TooManyAttempts as error:
            said = {"error": "temporarily_unavailable", "error_description": "too many attempts"}
            return _answer(said, 429, {"retry-after": str(error.wait_s)})
        return _answer(_shown(given), 200)

    @router.get(SMART, summary="Where tokens are given, and how (SMART App Launch)", include_in_schema=False)
    async def smart_configuration(request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "token_endpoint": token_url_of(request),
                "grant_types_supported": [GRANT],
                "token_endpoint_auth_methods_supported": ["private_key_jwt", *(["tls_client_auth"] * mutual_tls)],
                "tls_client_certificate_bound_access_tokens": mutual_tls,
                "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
                "scopes_supported": list(SUPPORTED),
                "capabilities": ["client-confidential-asymmetric", "permission-v2"],
            }
        )

    return router


def _fields(request: Request, body: bytes) -> dict[str, str]:
    """The form, each field once; what is unknown is ignored (RFC 6749, section 3.2). Raises ``NoToken``."""
    said = request.headers.getlist("content-type")
    if len(said) != 1 or said[0].partition(";")[0].strip().lower() != _FORM:
        raise NoToken("invalid_request", f"the body is {_FORM}")
    try:
        pairs = parse_qsl(body.decode("ascii"), True, True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise NoToken("invalid_request", "the form cannot be read") from None
    fields = {name: value for name, value in pairs if value}
    if len(dict(pairs)) < len(pairs):
        raise NoToken("invalid_request", "a parameter is given more than once")
    if "grant_type" not in fields:
        raise NoToken("invalid_request", "grant_type is missing")
    if fields["grant_type"] != GRANT:
        raise NoToken("unsupported_grant_type", f"the grant here is {GRANT}")
    if "client_secret" in fields or "authorization" in request.headers:
        raise NoToken("invalid_request", "a client is authenticated by its assertion or certificate alone")
    by_certificate = bool(certificate_of(request)) and "client_id" in fields and "client_assertion" not in fields
    signed = fields.get("client_assertion_type") == ASSERTION_TYPE and "client_assertion" in fields
    if not signed and not (by_certificate and "client_assertion_type" not in fields):
        raise NoToken("invalid_client", "the client could not be authenticated")
    if "scope" not in fields:
        raise NoToken("invalid_scope", f"scope is missing: {' or '.join(SUPPORTED)}")
    return fields


def _shown(given: AccessToken) -> dict[str, Any]:
    return {
        "access_token": given.token,
        "token_type": "bearer",
        "expires_in": given.lifetime_s,
        "scope": " ".join(given.scopes),
    }


def _answer(said: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    # RFC 6749 section 5.1: no cache keeps it. ``Guard`` says no-store of every answer; Pragma is for HTTP/1.0.
    return JSONResponse(said, status, {"pragma": "no-cache", **(headers or {})})
