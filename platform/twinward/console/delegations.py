"""The console's forms of lent roles: an officer lends their own role on the page of their account, and ends it there.

Whoever examines an account ends on its page what is lent to it. Lending and ending ask for a fresh proof of who it is.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.account_store import DAY_MS
from twinward.access.delegations import LENT, MOST_DAYS
from twinward.access.interfaces import AccessContext
from twinward.access.justification import MAX_CHARS
from twinward.access.sessions import Session
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf, via_of
from twinward.console.viewer import field, instant, message
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

_OWN: Final = f"{PATH}/account"
_ACCOUNTS: Final = f"{PATH}/accounts"
USUAL_DAYS: Final = 14
_Number = Annotated[int, InPath(ge=1, le=10**6)]
_Csrf = Annotated[str, Form(max_length=64)]
_Account = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:@-]{0,63}$")]


def add_delegations(router: APIRouter, console: Console) -> None:
    """Add the forms to the pages' router; the pages they stand on are ``account``'s and ``accounts``'s."""

    @router.post("/account/delegations")
    def lend(
        request: Request,
        to: Annotated[str, Form(max_length=64)],
        until: Annotated[str, Form(max_length=32)],
        reason: Annotated[str, Form(max_length=4 * MAX_CHARS)],
        csrf: _Csrf,
        begins: Annotated[str, Form(max_length=32)] = "",
        unit: Annotated[list[str], Form(max_length=20)] = [],  # noqa: B006 - FastAPI copies it
    ) -> Response:
        session = console.sessions.officer(request, fresh=_OWN)
        require_csrf(session, csrf)
        until_ms = instant(until)
        if not until_ms:
            raise BadInput(message("a role is lent until a day"), hint=message("go back and say until when"))
        console.node.delegations.give(
            to.strip(),
            _by(request, session),
            until_ms=until_ms,
            from_ms=instant(begins) or None,
            units=tuple(unit) or None,
            reason=reason,
        )
        return RedirectResponse(f"{_OWN}#lent", status_code=303)

    @router.post("/account/delegations/{account}/{number}/end")
    def end(request: Request, account: _Account, number: _Number, csrf: _Csrf) -> Response:
        session = console.sessions.officer(request, fresh=_OWN)
        require_csrf(session, csrf)
        console.node.delegations.end(account, number, _by(request, session))
        return RedirectResponse(f"{_OWN}#lent", status_code=303)

    @router.post("/accounts/{account}/delegations/{number}/end")
    def end_for(request: Request, account: _Account, number: _Number, csrf: _Csrf) -> Response:
        session = console.sessions.officer(request, fresh=f"{_ACCOUNTS}/{account}")
        require_csrf(session, csrf)
        console.node.delegations.end(account, number, _by(request, session))
        return RedirectResponse(f"{_ACCOUNTS}/{account}", status_code=303)


def lent_by(console: Console, session: Session) -> dict[str, Any] | None:
    """What a person lent and may lend, for the page of their account; None for whoever lends nothing."""
    record = console.node.accounts.find(session.principal.id)
    if record is None or record.role not in LENT or record.role is not session.principal.role:
        return None
    now_ms = console.node.clock.now_ms()
    given = [
        {"account": one.id, "number": lent.number, "from": lent.from_ms, "until": lent.until_ms, "reason": lent.reason}
        | {"state": lent.fault(now_ms) or message("in force"), "units": lent.units}
        for one in console.node.accounts.records()
        for lent in one.delegations
        if lent.by == record.id and lent.fault(now_ms) != "over"
    ]
    return {
        "role": record.role.value,
        "units": record.every_unit,
        "given": given,
        "until": field(now_ms + USUAL_DAYS * DAY_MS),
        "now": field(now_ms),
        "most": field(now_ms + MOST_DAYS * DAY_MS),
        "days": MOST_DAYS,
    }


def _by(request: Request, session: Session) -> AccessContext:
    return AccessContext(session.principal, Purpose.COMPLIANCE, detail=via_of(request))
