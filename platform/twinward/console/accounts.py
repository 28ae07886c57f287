"""The console's pages of all accounts: who may sign in, who is signed in where, and taking that away at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.account_store import AccountRecord, DelegationRecord
from twinward.access.interfaces import AccessContext
from twinward.access.sessions import Session
from twinward.access.shown_accounts import account_json
from twinward.console.account import Csrf, SessionName, session_row
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf, via_of
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, message
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose, TwinId

PAGE = f"{PATH}/accounts"
_Listed = tuple[AccountRecord, int | None]
"""An account, and the day it was used last, as a number; None for never."""
_ACCOUNTS: Final = Table[_Listed](
    "accounts",
    (
        Column(message("Account"), "account", lambda one: one[0].id),
        Column(message("Name"), "name", lambda one: one[0].name),
        Column(message("Role"), "role", lambda one: gettext(one[0].role.value)),
        Column(message("Unit"), "unit", lambda one: one[0].principal().units_said),
        Column(message("State"), "state", lambda one: int(one[0].disabled)),
        Column(message("Last used"), "used", lambda one: one[1], falls=True),
    ),
    first="account",
)
AccountId = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:@-]{0,63}$")]


def add_accounts(router: APIRouter, console: Console) -> None:
    """Add the pages and their forms to the pages' router."""
    desk = console.node.account_desk

    @router.get("/accounts")
    def accounts(request: Request) -> Response:
        session = console.sessions.officer(request)
        found = _ACCOUNTS.arranged(request, _listed(console, desk.all(_by(request, session))))
        return console.page(request, "accounts.html", session, accounts=found.shown(lambda one: _row(console, one[0])))

    @router.get("/accounts/{account}")
    def account(request: Request, account: AccountId) -> Response:
        session = console.sessions.officer(request)
        record = desk.one(account, _by(request, session))
        rows = [session_row(one) for one in console.node.sign_ins.sessions(record.id)]
        shown = _row(console, record)
        return console.page(request, "one_account.html", session, account=shown, sessions=rows)

    @router.post("/accounts/{account}")
    def change(
        request: Request, account: AccountId, change: Annotated[str, Form(max_length=16)], csrf: Csrf
    ) -> Response:
        session = console.sessions.officer(request, fresh=f"{PAGE}/{account}")
        require_csrf(session, csrf)
        verbs = {"disable": desk.disable, "enable": desk.enable, "end-sessions": desk.end_sessions}
        if change not in verbs:
            raise BadInput(
                message("an account is disabled, enabled or signed out here"), hint=message("go back and choose one")
            )
        verbs[change](account, _by(request, session))
        return RedirectResponse(f"{PAGE}/{account}", status_code=303)

    @router.post("/accounts/{account}/tie")
    def tie(request: Request, account: AccountId, twin: Annotated[str, Form(max_length=64)], csrf: Csrf) -> Response:
        session = console.sessions.officer(request, fresh=f"{PAGE}/{account}")
        require_csrf(session, csrf)
        desk.tie(account, TwinId(twin.strip()), _by(request, session))
        return RedirectResponse(f"{PAGE}/{account}", status_code=303)

    @router.post("/accounts/{account}/untie")
    def untie(request: Request, account: AccountId, csrf: Csrf) -> Response:
        session = console.sessions.officer(request, fresh=f"{PAGE}/{account}")
        require_csrf(session, csrf)
        desk.untie(account, _by(request, session))
        return RedirectResponse(f"{PAGE}/{account}", status_code=303)

    @router.post("/accounts/{account}/sessions/{name}")
    def sign_out(request: Request, account: AccountId, name: SessionName, csrf: Csrf) -> Response:
        session = console.sessions.officer(request, fresh=f"{PAGE}/{account}")
        require_csrf(session, csrf)
        desk.sign_out(account, name, _by(request, session))
        return RedirectResponse(f"{PAGE}/{account}", status_code=303)


def _by(request: Request, session: Session) -> AccessContext:
    return AccessContext(session.principal, Purpose.COMPLIANCE, detail=via_of(request))


def _lent(one: DelegationRecord, now_ms: int) -> dict[str, Any]:
    """A role that is lent to an account."""
    return {
        "number": one.number,
        "role": one.role.value,
        "by": one.by,
        "units": one.units,
        "from": one.from_ms,
        "until": one.until_ms,
        "reason": one.reason,
        "state": one.fault(now_ms) or message("in force"),
    }


def _listed(console: Console, records: Iterable[AccountRecord]) -> list[_Listed]:
    """What all accounts are sorted by, of one look at when they were used; a page's are read out whole."""
    used = console.node.accounts.used()

    def last(one: AccountRecord) -> int | None:
        tokens = [token.number for token in one.tokens] + ([0] if one.password else [])
        return max((day for number in tokens if (day := used.get((one.id, number))) is not None), default=None)

    return [(one, last(one)) for one in records]


def _row(console: Console, record: AccountRecord) -> dict[str, Any]:
    shown = account_json(console.node.accounts, record)
    good = sum(token["state"] == "good" for token in shown["tokens"])
    used = [one["last_used"] for one in (*shown["tokens"], shown["password"] or {"last_used": None})]
    return {
        "id": record.id,
        "name": record.name,
        "role": record.role.value,
        "unit": shown["unit"],
        "delegations": [_lent(one, console.node.clock.now_ms()) for one in record.delegations],
        "twin": record.twin,
        "disabled": record.disabled,
        "enabled_by_one": record.first_yes,
        "password": shown["password"],
        "second_factor": shown["second_factor"],
        "codes_held": shown["codes_held"],
        "passkeys": len(record.passkeys),
        "tokens": good,
        "used": max((day for day in used if day), default=gettext("never")),
    }
