"""The console's forms of passkeys: signing in by one, confirming by one, adding and removing one's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from twinward.access.errors import SignInRefused, TooManyAttempts
from twinward.access.passkeys import MAX_ANSWER_CHARS, NAME_CHARS
from twinward.access.sign_ins import own
from twinward.console.account import PAGE as ACCOUNT
from twinward.console.account import Csrf
from twinward.console.confirmation import Then, confirmation_page, own_page
from twinward.console.pages import Console, said
from twinward.console.sessions import PATH, require_csrf, too_many, via_of
from twinward.core.errors import Refused

Answer = Annotated[str, Form(max_length=MAX_ANSWER_CHARS)]


def add_passkeys(router: APIRouter, console: Console) -> None:
    """Add the forms to the pages' router."""
    _add_signing_in(router, console)
    sessions, passkeys = console.sessions, console.node.sign_ins.passkeys

    @router.post("/account/passkeys")
    def add(
        request: Request, answer: Answer, csrf: Csrf, name: Annotated[str, Form(max_length=4 * NAME_CHARS)] = ""
    ) -> Response:
        session = sessions.person(request, changing=True, fresh=ACCOUNT)
        require_csrf(session, csrf)
        by = own(session.principal, via_of(request))
        passkeys.add(session.principal.id, name, answer, session.csrf, by)
        return RedirectResponse(ACCOUNT, status_code=303)

    @router.post("/account/passkeys/remove")
    def remove(request: Request, passkey: Annotated[str, Form(max_length=2048)], csrf: Csrf) -> Response:
        session = sessions.person(request, fresh=ACCOUNT)
        require_csrf(session, csrf)
        passkeys.remove(session.principal.id, passkey, own(session.principal, via_of(request)))
        return RedirectResponse(f"{PATH}/sign-in", status_code=303)


def _add_signing_in(router: APIRouter, console: Console) -> None:
    @router.post("/sign-in/passkey")
    def sign_in(request: Request, answer: Answer, csrf: Csrf) -> Response:
        done = RedirectResponse(PATH, status_code=303)
        try:
            console.sessions.start_by_passkey(request, done, answer, csrf)
        except SignInRefused:
            refused = "This passkey is not known here, or took too long."
            return console.sign_in_page(request, refused=refused, status=401)
        except TooManyAttempts as error:
            return console.sign_in_page(request, refused=too_many(error), status=429)
        except Refused as error:
            return console.sign_in_page(request, refused=said(error), status=403)
        return done

    @router.post("/confirm/passkey")
    def confirm(request: Request, answer: Answer, csrf: Csrf, then: Then = PATH) -> Response:
        session = console.sessions.person(request, changing=True)
        require_csrf(session, csrf)
        done = RedirectResponse(own_page(then), status_code=303)
        try:
            console.sessions.confirm_by_passkey(request, done, answer)
        except SignInRefused:
            refused = "This passkey is not yours, or took too long. Nothing was done."
            return confirmation_page(console, request, session, then, refused=refused, status=401)
        return done
