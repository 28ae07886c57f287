"""The console's page of one's own account: what officers ask, another password, where one is signed in, signing out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.errors import SignInRefused, TooManyAttempts
from twinward.access.justification import MAX_CHARS
from twinward.access.passwords import MAX_LENGTH, MIN_LENGTH
from twinward.access.sessions import BY_PROVIDER, Session
from twinward.api.audit import MAX_INDEX
from twinward.console.delegations import lent_by
from twinward.console.pages import Console, may_be_asked, said
from twinward.console.sessions import PATH, require_csrf, too_many
from twinward.console.viewer import gettext, message
from twinward.core.errors import BadInput

PAGE = f"{PATH}/account"
Csrf = Annotated[str, Form(max_length=64)]
Password = Annotated[str, Form(max_length=MAX_LENGTH)]
SessionName = Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")]


def add_account(router: APIRouter, console: Console) -> None:
    """Add the page and its forms to the pages' router."""
    sessions = console.sessions

    @router.get("/account")
    def account_page(request: Request) -> Response:
        return _page(console, request, sessions.person(request, changing=True))

    @router.post("/account/password")
    def change_password(request: Request, present: Password, new: Password, again: Password, csrf: Csrf) -> Response:
        session = sessions.person(request, changing=True, fresh=PAGE)
        require_csrf(session, csrf)
        answer = RedirectResponse(f"{PAGE}?changed=1", status_code=303)
        try:
            if new != again:
                raise BadInput(message("the two new passwords are not the same"))
            sessions.change_password(request, answer, present, new)
        except SignInRefused:
            return _page(console, request, session, refused=gettext("The present password is not right."), status=401)
        except TooManyAttempts as error:
            return _page(console, request, session, refused=too_many(error), status=429)
        except BadInput as error:
            return _page(console, request, session, refused=said(error), status=400)
        return answer

    _add_answers(router, console)
    _add_sign_out(router, console)


def _add_answers(router: APIRouter, console: Console) -> None:
    @router.post("/account/answers/{index}")
    def answer(
        request: Request,
        index: Annotated[int, InPath(ge=0, le=MAX_INDEX)],
        note: Annotated[str, Form(max_length=4 * MAX_CHARS)],
        csrf: Csrf,
    ) -> Response:
        session = console.sessions.person(request)
        require_csrf(session, csrf)
        console.node.reviews.answer(session.principal, index, note)
        return RedirectResponse(f"{PAGE}?answered=1", status_code=303)


def _add_sign_out(router: APIRouter, console: Console) -> None:
    sessions = console.sessions

    @router.post("/account/sessions/{name}")
    def end_one(request: Request, name: SessionName, csrf: Csrf) -> Response:
        require_csrf(sessions.person(request, changing=True), csrf)
        sessions.end_one(request, name)
        return RedirectResponse(PAGE, status_code=303)

    @router.post("/account/end-sessions")
    def end_sessions(request: Request, csrf: Csrf) -> Response:
        require_csrf(sessions.person(request, changing=True), csrf)
        answer = RedirectResponse(f"{PATH}/sign-in", status_code=303)
        sessions.end_everywhere(request, answer)
        return answer

    @router.post("/sign-out")
    def sign_out(request: Request, csrf: Csrf) -> Response:
        require_csrf(sessions.person(request, changing=True), csrf)
        by = sessions.person(request, changing=True).by
        there = by.startswith(BY_PROVIDER)  # who also is signed in at the provider is told so
        answer = RedirectResponse(f"{PATH}/signed-out" if there else f"{PATH}/sign-in", status_code=303)
        sessions.end(request, answer)
        return answer


def _page(console: Console, request: Request, session: Session, *, refused: str = "", status: int = 200) -> Response:
    accounts, sign_ins = console.node.accounts, console.node.sign_ins
    record = accounts.record(session.principal.id)
    expires_at_ms = accounts.password_expires_at_ms(record)
    return console.page(
        request,
        "account.html",
        session,
        status=status,
        refused=refused,
        changed="changed" in request.query_params and not refused,
        answered="answered" in request.query_params,
        questions=_questions(console, session),
        since=record.password_at_ms,
        expires=expires_at_ms,
        least=MIN_LENGTH,
        most=MAX_LENGTH,
        sessions=[session_row(one) for one in sign_ins.sessions(record.id)],
        passkeys=[{"id": one.id, "name": one.name, "made": one.made_at_ms} for one in record.passkeys],
        passkey_options=sign_ins.passkeys.creation_options(record.id, session.csrf) if session.fresh else "",
        second_factor=bool(record.totp),
        recovery_left=len(record.recovery),
        lends=lent_by(console, session),
    )


def _questions(console: Console, session: Session) -> list[dict[str, Any]]:
    """What officers ask of this person about accesses of theirs, the oldest first; nothing before they are let in."""
    if not may_be_asked(session):
        return []
    found = console.node.reviews.questions(session.principal.id)
    return [{"index": case.index, "text": asked.note, "by": asked.by, "at": asked.at_ms} for case, asked in found]


def session_row(session: Session) -> dict[str, Any]:
    """A session as a row of a table."""
    return {
        "name": session.name,
        "origin": session.origin,
        "begun": session.begun_ms,
        "used": session.used_ms,
        "ends": session.expires_at_ms,
    }
