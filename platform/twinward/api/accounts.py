"""Accounts over HTTP, for data officers: who may sign in, and taking that away at once. Secrets are never told again.

Accounts are made on the node's own machine (``twinward node add-person``, ``add-system``): a stolen officer's token
makes nobody new. Each call is an event of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from twinward.access.account_desk import AccountDesk
from twinward.access.account_store import AccountRecord
from twinward.access.interfaces import AccessContext
from twinward.access.passwords import MAX_LENGTH
from twinward.access.shown_accounts import account_json, session_json
from twinward.api.http.caller import access_context, address_of
from twinward.api.http.json_body import Sent, documented, read_json, small_body
from twinward.core.vocabulary import Purpose

_ID = r"^[A-Za-z0-9][A-Za-z0-9.:@-]{0,63}$"
AccountPath = Annotated[str, Path(pattern=_ID, description="An account's id.")]
SessionPath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="A session, as the list calls it.")]
TokenPath = Annotated[int, Path(ge=1, le=1000, description="A token's number.")]


_DoerOf = Callable[..., Coroutine[Any, Any, AccessContext]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Disabling(_Body):
    """How an account is disabled."""

    last_officer: bool = False


class NewToken(_Body):
    """What a new token is to be."""

    expires_in_days: Annotated[int | None, Field(ge=1, le=3660)] = None


class NewPassword(_Body):
    """A password that its owner has to change when signing in."""

    password: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]


@dataclass(frozen=True, slots=True)
class _Accounts:
    """The desk, and what is shown of an account: never a secret."""

    desk: AccountDesk

    def shown(self, record: AccountRecord) -> dict[str, Any]:
        return account_json(self.desk.accounts, record)


def accounts_router(desk: AccountDesk, principal_of: Callable[..., Any]) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/1/accounts", tags=["Accounts"])
    context_of = access_context(principal_of, Purpose.COMPLIANCE)

    async def doer(request: Request, context: AccessContext = Depends(context_of)) -> AccessContext:
        via = (("via", "api"), ("address", address_of(request)))
        return replace(context, detail=via)

    _add_looks(router, _Accounts(desk), doer)
    _add_standing(router, _Accounts(desk), doer)
    _add_tokens(router, _Accounts(desk), doer)
    _add_passwords(router, _Accounts(desk), doer)
    return router


def _add_looks(router: APIRouter, known: _Accounts, doer: _DoerOf) -> None:
    desk, shown = known.desk, known.shown

    @router.get("", summary="Every account; for officers")
    def accounts(by: AccessContext = Depends(doer)) -> dict[str, Any]:
        return {"accounts": [shown(one) for one in desk.all(by)]}

    @router.get("/{account}", summary="One account; for officers")
    def account(account: AccountPath, by: AccessContext = Depends(doer)) -> dict[str, Any]:
        return shown(desk.one(account, by))


def _add_standing(router: APIRouter, known: _Accounts, doer: _DoerOf) -> None:
    desk, shown = known.desk, known.shown

    @router.post(
        "/{account}/disable",
        summary="Let nobody sign in, and end whoever has; for officers",
        openapi_extra=documented(Disabling, required=False),
    )
    def disable(
        account: AccountPath,
        by: AccessContext = Depends(doer),
        body: Sent = Depends(small_body),
    ) -> dict[str, Any]:
        desk.require_leave(account, by)
        how = read_json(Disabling, body)
        return shown(desk.disable(account, by, last_officer=how.last_officer))

    @router.post("/{account}/enable", summary="Let an account be used again; for officers")
    def enable(account: AccountPath, by: AccessContext = Depends(doer)) -> dict[str, Any]:
        return shown(desk.enable(account, by))

    @router.get("/{account}/sessions", summary="An account's sessions in browsers; for officers")
    def sessions(account: AccountPath, by: AccessContext = Depends(doer)) -> dict[str, Any]:
        return {"account": account, "sessions": [session_json(one) for one in desk.sessions(account, by)]}

    @router.delete("/{account}/sessions/{session}", status_code=204, summary="End one session; for officers")
    def sign_out(account: AccountPath, session: SessionPath, by: AccessContext = Depends(doer)) -> Response:
        desk.sign_out(account, session, by)
        return Response(status_code=204)

    @router.post("/{account}/end-sessions", summary="End sessions, streams and exports of an account; for officers")
    def end_sessions(account: AccountPath, by: AccessContext = Depends(doer)) -> dict[str, Any]:
        return shown(desk.end_sessions(account, by))


def _add_tokens(router: APIRouter, known: _Accounts, doer: _DoerOf) -> None:
    desk, shown = known.desk, known.shown

    @router.post(
        "/{account}/tokens",
        status_code=201,
        summary="Another bearer token, shown this once; for officers",
        openapi_extra=documented(NewToken, required=False),
    )
    def new_token(
        account: AccountPath,
        by: AccessContext = Depends(doer),
        body: Sent = Depends(small_body),
    ) -> dict[str, Any]:
        desk.require_leave(account, by)
        days = read_json(NewToken, body).expires_in_days
        number, token = desk.new_token(account, by, expires_in_days=days)
        return {"account": account, "number": number, "token": token}

    @router.delete("/{account}/tokens/{number}", summary="Revoke a token and end what runs by it; for officers")
    def revoke(account: AccountPath, number: TokenPath, by: AccessContext = Depends(doer)) -> dict[str, Any]:
        return shown(desk.revoke_token(account, number, by))


def _add_passwords(router: APIRouter, known: _Accounts, doer: _DoerOf) -> None:
    desk, shown = known.desk, known.shown

    @router.put(
        "/{account}/password",
        summary="Reset a password; it has to be changed at sign-in; for officers",
        openapi_extra=documented(NewPassword, required=True),
    )
    def reset(
        account: AccountPath,
        by: AccessContext = Depends(doer),
        body: Sent = Depends(small_body),
    ) -> dict[str, Any]:
        desk.require_leave(account, by)
        new = read_json(NewPassword, body)
        return shown(desk.reset_password(account, new.password, by))

    @router.post("/{account}/expire-password", summary="Have a new password chosen at the next sign-in; for officers")
    def expire(account: AccountPath, by: AccessContext = Depends(doer)) -> dict[str, Any]:
        return shown(desk.expire_password(account, by))
