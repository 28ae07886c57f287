"""Lending one's role to a colleague, over HTTP: for officers and clinicians, each their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from twinward.access.account_store import AccountRecord
from twinward.access.delegations import Delegations
from twinward.access.interfaces import AccessContext
from twinward.access.justification import MAX_CHARS
from twinward.access.shown_accounts import delegation_json
from twinward.api.accounts import AccountPath, TokenPath
from twinward.api.http.caller import access_context, address_of
from twinward.api.http.json_body import Sent, documented, read_json, small_body
from twinward.core.clock import Clock
from twinward.core.vocabulary import Purpose


class NewDelegation(BaseModel):
    """To whom one's own role is lent, for which of one's own units (none said: all), and why."""

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str, Field(min_length=1, max_length=64)]
    until: AwareDatetime
    begins: AwareDatetime | None = None
    units: Annotated[list[Annotated[str, Field(max_length=64)]] | None, Field(max_length=20)] = None
    reason: Annotated[str, Field(min_length=1, max_length=MAX_CHARS)]


def delegations_router(delegations: Delegations, clock: Clock, principal_of: Callable[..., Any]) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/1/delegations", tags=["Accounts"])
    context_of = access_context(principal_of, Purpose.COMPLIANCE)

    async def doer(request: Request, context: AccessContext = Depends(context_of)) -> AccessContext:
        return replace(context, detail=(("via", "api"), ("address", address_of(request))))

    def shown(record: AccountRecord, number: int) -> dict[str, Any]:
        one = next(one for one in record.delegations if one.number == number)
        return {"account": record.id, **delegation_json(one, clock.now_ms())}

    @router.get("", summary="Roles that the caller lent or was lent")
    def own(by: AccessContext = Depends(doer)) -> dict[str, Any]:
        delegations.require_staff(by)
        return {"delegations": delegations.of(by.principal)}

    @router.post(
        "",
        status_code=201,
        summary="Lend one's own role to a colleague; for officers and clinicians",
        openapi_extra=documented(NewDelegation, required=True),
    )
    def give(by: AccessContext = Depends(doer), body: Sent = Depends(small_body)) -> dict[str, Any]:
        delegations.require_giver(by)
        new = read_json(NewDelegation, body)
        record = delegations.give(
            new.to,
            by,
            until_ms=_ms(new.until),
            from_ms=None if new.begins is None else _ms(new.begins),
            units=None if new.units is None else tuple(new.units),
            reason=new.reason,
        )
        return shown(record, record.delegations[-1].number)

    @router.delete("/{account}/{number}", summary="End one early: who lent it, who has it, or an officer")
    def end(account: AccountPath, number: TokenPath, by: AccessContext = Depends(doer)) -> dict[str, Any]:
        delegations.require_staff(by)
        return shown(delegations.end(account, number, by), number)

    return router


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
