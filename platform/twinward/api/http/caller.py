"""Who asks over HTTP, what for and why: one ``AccessContext``, read in one place for every route.

The API takes bearer tokens only; the console's cookie is good for the console only.

The headers ``X-Purpose-Of-Use`` (an HL7 v3 ActReason code) and ``X-Justification`` go everywhere; routes under
``/api`` take the query parameters ``purpose`` and ``justification`` too (in FHIR those names are search parameters).
Whoever says nothing has the usual purpose of the route. What is said and cannot be meant is refused, never dropped: an
unknown code, a header or parameter given twice, a header that contradicts the query.

HTTP headers are bytes. A justification outside ASCII is sent percent-encoded as UTF-8, with or without the ``UTF-8''``
of RFC 8187; raw UTF-8 and ISO-8859-1 are understood as well, so that no emergency fails for an umlaut.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import unquote, unquote_to_bytes

from fastapi import Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from twinward.access import justification as sentences
from twinward.access import scopes
from twinward.access.accounts import Accounts
from twinward.access.client_tokens import PREFIX as ACCESS_PREFIX
from twinward.access.client_tokens import ClientTokens
from twinward.access.errors import ProofNeeded, ScopeTooNarrow, SignInRefused, TokenRefused
from twinward.access.fresh_proofs import PREFIX as PROOF_PREFIX
from twinward.access.fresh_proofs import FreshProofs, is_sensitive
from twinward.access.interfaces import AccessContext, Principal
from twinward.access.networks import Networks
from twinward.api.http.fair_share import asked_by
from twinward.api.http.guard import sent_by
from twinward.core.errors import BadInput
from twinward.core.one_look import one_look
from twinward.core.vocabulary import Purpose

_BEARER = HTTPBearer(auto_error=False, description="A token from `twinward node add-system`, or from `/oauth/token`.")
PURPOSE_HEADER, JUSTIFICATION_HEADER = "X-Purpose-Of-Use", "X-Justification"
CERTIFICATE = "client_certificate"
"""Where a connection's server says so, in a request's state."""
_CODES = [one.value for one in Purpose]
_MAX_HEADER_CHARS = 12 * sentences.MAX_CHARS
"""A character of UTF-8 has four bytes at most, and each is three characters when it is percent-encoded."""

_EXTENDED = re.compile(r"utf-8'[A-Za-z0-9-]*'", re.IGNORECASE)


def address_of(request: Request) -> str:
    """From where a request came: the socket's other end, or what a proxy named in ``trusted_proxies`` says of it."""
    return request.client.host[:64] if request.client else "unknown"


def certificate_of(request: Request) -> str:
    """The thumbprint of the certificate that the connection itself proved; empty for none. No header says it."""
    return str(request.scope.get("state", {}).get(CERTIFICATE, ""))


def bearer_principal(
    accounts: Accounts,
    access_tokens: ClientTokens | None = None,
    proofs: FreshProofs | None = None,
    networks: Networks | None = None,
) -> Callable[..., Any]:
    """A FastAPI dependency that turns a bearer token into its principal, and says from which network it comes.

    Raises ``SignInRefused`` (401), its ``ProofNeeded`` where a fresh proof is wanted beside the token, and
    ``ScopeTooNarrow`` (403) for an access token that was granted less than this.
    """

    places = networks or Networks()

    async def require_fresh(request: Request, found: Principal) -> None:
        if proofs is None or not is_sensitive(request.method, request.scope["route"].path):
            return
        try:
            proofs.require(found)
        except ProofNeeded:
            via = (("via", "token"), ("address", address_of(request)))
            await run_in_threadpool(proofs.missing, found, via)
            raise

    def known(token: str, certificate: str) -> tuple[Principal, tuple[str, ...] | None]:
        if proofs is not None and token.startswith(PROOF_PREFIX):
            return proofs.by_token(token), None
        if access_tokens is None or not token.startswith(ACCESS_PREFIX):
            return accounts.by_token(token), None
        return access_tokens.by_token(token, certificate)

    # Async, so that it runs where the request is: one indexed look-up and a SHA-256 cost less than a thread's turn.
    async def principal(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Principal:
        if credentials is None:
            raise SignInRefused
        try:
            certificate = certificate_of(request)
            with one_look():
                found, granted = known(credentials.credentials, certificate)
                _require_certificate(accounts, found, certificate)
        except TokenRefused as refusal:
            via = (("via", "token"), ("address", address_of(request)))
            await run_in_threadpool(accounts.token_refused, refusal, via)
            raise SignInRefused from None  # the log is told more than whoever holds the token
        if access_tokens is not None and granted is not None:
            try:
                scopes.require(granted, request.method, request.url.path)
            except ScopeTooNarrow:
                via = (("via", "access token"), ("address", address_of(request)))
                await run_in_threadpool(access_tokens.too_narrow, found, via)
                raise
        await require_fresh(request, found)
        sent_by(request, found.id)
        asked_by(request, found.id)
        return replace(found, network=places.of(address_of(request)))

    return principal


def _require_certificate(accounts: Accounts, principal: Principal, presented: str) -> None:
    """Raise ``TokenRefused`` where an account wants its certificate, and the connection did not prove one of them.

    ``presented``: the thumbprint of the connection's certificate; empty for none.
    """
    record = accounts.find(principal.id)
    if record is not None and (fault := record.certificate_fault(presented, accounts.now_ms())):
        raise TokenRefused(record.id, principal.standing.token if principal.standing else 0, fault)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a request says of its reason; ``purpose`` is None where it does not say."""

    purpose: Purpose | None = None
    justification: str = ""


async def stated_in_headers(
    request: Request,
    x_purpose_of_use: Annotated[
        str, Header(max_length=32, json_schema_extra={"enum": ["", *_CODES]}, description="HL7 v3 ActReason.")
    ] = "",
    x_justification: Annotated[
        str,
        Header(
            max_length=_MAX_HEADER_CHARS,
            json_schema_extra={"maxLength": sentences.MAX_CHARS},
            description="UTF-8, percent-encoded outside ASCII; so long once it is decoded.",
        ),
    ] = "",
) -> Stated:
    """What the headers say. Raises ``BadInput`` for an unknown purpose, a header given twice, one not to be read."""
    for name in (PURPOSE_HEADER, JUSTIFICATION_HEADER):
        if len(request.headers.getlist(name)) > 1:
            raise BadInput(f"{name} is given more than once", hint="send it once")
    return Stated(_purpose(x_purpose_of_use), _said(_decoded(x_justification)))


def _said(justification: str) -> str:
    """Tidied; most requests say none."""
    return sentences.bounded(justification) if justification else ""


async def stated(
    request: Request,
    headers: Annotated[Stated, Depends(stated_in_headers)],
    purpose: Annotated[Purpose | None, Query(description="HL7 v3 ActReason, as X-Purpose-Of-Use.")] = None,
    justification: Annotated[str, Query(max_length=sentences.MAX_CHARS, description="As X-Justification.")] = "",
) -> Stated:
    """What headers and query say together. Raises ``BadInput`` where they contradict each other."""
    for name in ("purpose", "justification"):
        if len(request.query_params.getlist(name)) > 1:
            raise BadInput(f"the parameter {name} is given more than once", hint="send it once")
    said = _said(justification)
    if headers.purpose and purpose and headers.purpose is not purpose:
        raise BadInput(f"{PURPOSE_HEADER} and the parameter purpose contradict each other", hint="send one of them")
    if headers.justification and said and headers.justification != said:
        raise BadInput(f"{JUSTIFICATION_HEADER} and the parameter justification differ", hint="send one of them")
    return Stated(purpose or headers.purpose, said or headers.justification)


def access_context(
    principal_of: Callable[..., Any],
    usual: Purpose | Callable[[Principal], Purpose] = Purpose.TREATMENT,
    stated_by: Callable[..., Any] = stated,
) -> Callable[..., Awaitable[AccessContext]]:
    """The FastAPI dependency that says who asks, what for and why. Who it is comes first: only then is more read.

    Args:
        principal_of: the dependency that yields the caller, or raises ``NotAuthenticated``.
        usual: the purpose where none is stated, of the route or of the caller's role.
        stated_by: the dependency that reads what is stated.
    """

    async def context(principal: Principal = Depends(principal_of), said: Stated = Depends(stated_by)) -> AccessContext:
        otherwise = usual if isinstance(usual, Purpose) else usual(principal)
        return AccessContext(principal, said.purpose or otherwise, said.justification)

    return context


def _purpose(code: str) -> Purpose | None:
    try:
        return Purpose(code.strip()) if code.strip() else None
    except ValueError:
        raise BadInput(f"{PURPOSE_HEADER} is not a purpose known here", hint=f"one of {', '.join(_CODES)}") from None


def _decoded(header: str) -> str:
    """A header's text. Servers hand headers over as ISO-8859-1, whatever bytes were sent."""
    raw = header.strip().encode("latin-1", errors="replace")
    extended = _EXTENDED.match(header.strip())
    if extended:
        try:
            return unquote_to_bytes(raw[extended.end() :]).decode()
        except UnicodeDecodeError:
            hint = "percent-encode its UTF-8 bytes, e.g. UTF-8''%E6%98%8F%E8%BF%B7"
            raise BadInput(f"{JUSTIFICATION_HEADER} is not UTF-8 as RFC 8187 has it", hint=hint) from None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text  # "SpO2 fell to 80%ab": a per cent sign that encodes nothing
