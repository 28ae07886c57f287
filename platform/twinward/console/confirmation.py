"""The console's page where somebody proves anew who they are, before what matters most (step-up)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from twinward.access.errors import SignInRefused, TooManyAttempts
from twinward.access.sessions import Session
from twinward.console.account import Csrf, Password
from twinward.console.pages import Console
from twinward.console.second_factor import Code
from twinward.console.sessions import PATH, require_csrf, too_many

_OWN_PAGE: Final = re.compile(r"/console(?:/[A-Za-z0-9._~-]+)*(?:\?[A-Za-z0-9._~=&%+-]*)?", re.ASCII)
"""A page of this console and nothing that a browser would take for another host."""
Then = Annotated[str, Form(alias="next", max_length=500)]
Next = Annotated[str, Query(alias="next", max_length=500)]


def add_confirmation(router: APIRouter, console: Console) -> None:
    """Add the page and its form to the pages' router."""

    @router.get("/confirm")
    def page(request: Request, then: Next = PATH) -> Response:
        return confirmation_page(console, request, console.sessions.person(request, changing=True), own_page(then))

    @router.post("/confirm")
    def confirm(
        request: Request,
        password: Password,
        csrf: Csrf,
        then: Then = PATH,
        code: Code = "",
    ) -> Response:
        session = console.sessions.person(request, changing=True)
        require_csrf(session, csrf)
        answer = RedirectResponse(own_page(then), status_code=303)
        try:
            console.sessions.confirm(request, answer, password, code)
        except SignInRefused:
            refused = "That is not right. Nothing was done."
            return confirmation_page(console, request, session, own_page(then), refused=refused, status=401)
        except TooManyAttempts as error:
            return confirmation_page(console, request, session, own_page(then), refused=too_many(error), status=429)
        return answer


def confirmation_page(
    console: Console, request: Request, session: Session, then: str, *, refused: str = "", status: int = 200
) -> Response:
    """The page, for a session that is not fresh."""
    record = console.node.accounts.record(session.principal.id)
    return console.page(
        request,
        "confirm.html",
        session,
        status=status,
        then=own_page(then),
        passkey_options=console.node.sign_ins.passkeys.request_options(session.csrf, record.id)
        if record.passkeys
        else "",
        refused=refused,
        minutes=max(1, console.node.settings.fresh_sign_in_s // 60),
        second_factor=bool(record.totp),
        has_password=bool(record.password) and not (record.passkeys and not record.totp),
        hospital_sign_in=bool(record.identities) and console.node.hospital_sign_in is not None,
    )


def own_page(then: str) -> str:
    """A page to go on to: one of this console's, else its first."""
    return then if _OWN_PAGE.fullmatch(then) else PATH
