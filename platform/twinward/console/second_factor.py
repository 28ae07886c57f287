"""The console's pages of the second factor: a code at sign-in; setting an app up, other codes, taking it away."""

from __future__ import annotations

from typing import Annotated, Final

import segno
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from twinward.access.errors import SignInRefused, TooManyAttempts
from twinward.access.sessions import Session
from twinward.access.sign_ins import own
from twinward.console.account import PAGE as ACCOUNT
from twinward.console.account import Csrf
from twinward.console.pages import Console, said
from twinward.console.sessions import CODE_PAGE, PATH, require_csrf, too_many, via_of
from twinward.core.errors import BadInput

Code = Annotated[str, Form(max_length=64)]
_MODULE_PX: Final = 5


def add_second_factor(router: APIRouter, console: Console) -> None:
    """Add the pages and their forms to the pages' router."""
    _add_code(router, console)
    _add_setting_up(router, console)
    factors = console.node.sign_ins.factors

    @router.post("/account/second-factor/codes")
    def new_codes(request: Request, csrf: Csrf) -> Response:
        session = console.sessions.person(request, fresh=ACCOUNT)
        require_csrf(session, csrf)
        codes = factors.new_codes(session.principal.id, own(session.principal, via_of(request)))
        return console.page(request, "recovery_codes.html", session, codes=codes)

    @router.post("/account/second-factor/remove")
    def remove(request: Request, csrf: Csrf) -> Response:
        session = console.sessions.person(request, fresh=ACCOUNT)
        require_csrf(session, csrf)
        factors.remove(session.principal.id, own(session.principal, via_of(request)))
        return RedirectResponse(f"{PATH}/sign-in", status_code=303)


def _add_code(router: APIRouter, console: Console) -> None:
    sessions = console.sessions

    @router.get("/sign-in/code")
    def code_page(request: Request) -> Response:
        sessions.waits(request)
        return _code_page(console, request)

    @router.post("/sign-in/code")
    def give_code(request: Request, code: Code, csrf: Csrf) -> Response:
        answer = RedirectResponse(PATH, status_code=303)
        sessions.waits(request)  # else to the beginning: whoever took too long gives the password anew
        try:
            sessions.give_code(request, answer, code, csrf)
        except SignInRefused:
            refused = "This code is not right, or was used. The app shows another one every 30 seconds."
            return _code_page(console, request, refused=refused, status=401)
        except TooManyAttempts as error:
            return _code_page(console, request, refused=too_many(error), status=429)
        return answer


def _code_page(console: Console, request: Request, *, refused: str = "", status: int = 200) -> Response:
    token = console.sessions.new_form()
    page = console.page(
        request, "sign_in_code.html", None, status=status, csrf=token, refused=refused, action=CODE_PAGE
    )
    console.sessions.bind_form(request, page, token)
    return page


def _add_setting_up(router: APIRouter, console: Console) -> None:
    factors = console.node.sign_ins.factors

    @router.post("/account/second-factor")
    def begin(request: Request, csrf: Csrf) -> Response:
        session = console.sessions.person(request, changing=True, fresh=ACCOUNT)
        require_csrf(session, csrf)
        waiting, secret, uri = factors.begin(session.principal.id)
        return _setting_up(console, request, session, waiting, secret, uri)

    @router.post("/account/second-factor/finish")
    def finish(request: Request, waiting: Annotated[str, Form(max_length=64)], code: Code, csrf: Csrf) -> Response:
        session = console.sessions.person(request, changing=True, fresh=ACCOUNT)
        require_csrf(session, csrf)
        account = session.principal.id
        try:
            codes = factors.finish(account, waiting, code, own(session.principal, via_of(request)))
        except BadInput as error:
            secret, uri = factors.again(account, waiting)  # or it took too long: then that is said
            return _setting_up(console, request, session, waiting, secret, uri, refused=said(error), status=400)
        return console.page(request, "recovery_codes.html", session, codes=codes)


def _setting_up(
    console: Console,
    request: Request,
    session: Session,
    waiting: str,
    secret: str,
    uri: str,
    *,
    refused: str = "",
    status: int = 200,
) -> Response:
    picture = segno.make(uri, micro=False, error="m").svg_inline(scale=_MODULE_PX, border=4)
    return console.page(
        request,
        "second_factor.html",
        session,
        status=status,
        refused=refused,
        waiting=waiting,
        secret=secret,
        picture=Markup(picture),  # noqa: S704 - drawn here, of modules alone
    )
