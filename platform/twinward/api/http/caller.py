"""Who is asking over HTTP. The API takes bearer tokens only; the console's cookie is good for the console only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from twinward.access.accounts import Accounts
from twinward.access.errors import SignInRefused, TokenRefused
from twinward.access.interfaces import Principal
from twinward.api.http.guard import sent_by

_BEARER = HTTPBearer(auto_error=False, description="A token from `twinward node add-system`.")


def address_of(request: Request) -> str:
    """From where a request came: the socket's other end, or what a proxy named in ``trusted_proxies`` says of it."""
    return request.client.host[:64] if request.client else "unknown"


def bearer_principal(accounts: Accounts) -> Callable[..., Any]:
    """A FastAPI dependency that turns a bearer token into its principal. Raises ``SignInRefused`` (401)."""

    # Async, so that it runs where the request is: one indexed look-up and a SHA-256 cost less than a thread's turn.
    async def principal(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Principal:
        if credentials is None:
            raise SignInRefused
        try:
            found = accounts.by_token(credentials.credentials)
        except TokenRefused as refusal:
            via = (("via", "token"), ("address", address_of(request)))
            await run_in_threadpool(accounts.token_refused, refusal, via)
            raise SignInRefused from None  # the log is told more than whoever holds the token
        sent_by(request, found.id)
        return found

    return principal
