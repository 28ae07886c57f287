"""Signing in by the hospital's own OpenID provider: there, back, and the last page after signing out.

The cookie of a flow is ``SameSite=Lax``: the browser comes back from another site. The session's stays Strict, so that
whoever came back is shown a page of this console, which goes on by itself.
"""

from __future__ import annotations

from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from twinward.access.errors import SecondFactorNeeded, SignInRefused, TooManyAttempts, WrongRole
from twinward.access.oidc.hospital_sign_in import HospitalSignIn
from twinward.access.oidc.id_tokens import MOST_CHARS, ProviderRefused
from twinward.access.oidc.provider import ProviderSilent
from twinward.access.oidc.relying_party import FLOW_MS, MOST_CODE_CHARS, Answer
from twinward.api.http.caller import address_of
from twinward.console.confirmation import own_page
from twinward.console.pages import Console, said
from twinward.console.sessions import CODE_PAGE, PATH, too_many, via_of
from twinward.console.viewer import gettext
from twinward.core.errors import NotFound

VIA: Final = ("by", "hospital sign-in")
Next = Annotated[str, Query(alias="next", max_length=500)]
_Word = Annotated[str, Query(max_length=512)]
log = structlog.get_logger("twinward.console")


def add_hospital_sign_in(router: APIRouter, console: Console) -> None:
    """Add the addresses to the pages' router."""
    sessions = console.sessions

    @router.get("/sign-in/hospital")
    def begin(request: Request, then: Next = PATH) -> Response:
        return _sent(console, request, own_page(then))

    @router.get("/confirm/hospital")
    def confirm(request: Request, then: Next = PATH) -> Response:
        session = sessions.person(request, changing=True)
        return _sent(console, request, own_page(then), session.principal.id, session.name)

    @router.get("/sign-in/hospital/callback")
    def callback(
        request: Request,
        code: Annotated[str, Query(max_length=MOST_CODE_CHARS)] = "",
        state: _Word = "",
        iss: _Word = "",
        error: _Word = "",
    ) -> Response:
        answer = Answer(code, state, iss, error)
        if any(len(request.query_params.getlist(name)) > 1 for name in ("code", "state", "iss", "error")):
            answer = Answer()  # a parameter twice is no answer of OAuth 2 (RFC 6749, section 3.1)
        return _finished(console, request, answer)

    @router.post("/sign-in/hospital/logout")
    def logged_out(request: Request, logout_token: Annotated[str, Form(max_length=MOST_CHARS)]) -> Response:
        return _logged_out(console, request, logout_token)

    @router.get("/signed-out")
    def signed_out(request: Request) -> Response:
        found, address = console.node.hospital_sign_in, ""
        if found is not None:
            try:
                address = found.party.farewell(f"{found.origin}{PATH}/sign-in")
            except ProviderSilent as error:
                log.warning("provider", fault=str(error))
        return console.page(request, "signed_out.html", None, farewell=address)


def _logged_out(console: Console, request: Request, token: str) -> Response:
    """The provider says that somebody signed out there (OpenID Connect Back-Channel Logout 1.0, section 2.8)."""
    found, sessions = _here(console), console.sessions
    try:
        sessions.braked_address(request)
        identity = found.party.signed_out(token)
        record = found.people.linked(identity)
        if record is not None:
            sessions.sign_ins.end_every(record, "signed out everywhere, by the hospital's sign-in", via_of(request))
        sessions.gate.take_back_address(address_of(request))
    except TooManyAttempts as error:
        return Response(status_code=429, headers={"retry-after": str(error.wait_s)})
    except ProviderRefused as error:
        console.node.accounts.events.refused(None, f"the hospital's sign-in: {error}", via_of(request))
        return JSONResponse({"error": "invalid_request", "error_description": str(error)}, status_code=400)
    return Response(status_code=200, headers={"cache-control": "no-store"})


def _here(console: Console) -> HospitalSignIn:
    found = console.node.hospital_sign_in
    if found is None:
        raise NotFound("this console has no other sign-in", hint="sign in with an account of this node")
    return found


def _sent(console: Console, request: Request, then: str, account: str = "", session: str = "") -> Response:
    try:
        begun = _here(console).party.begin(then, account=account, session=session)
    except ProviderSilent as error:
        log.warning("provider", fault=str(error))
        return console.sign_in_page(request, refused=said(error), status=error.http_status)
    answer = RedirectResponse(begun.address, status_code=303)
    console.sessions.keep_flow(request, answer, begun.cookie, FLOW_MS // 1000)
    return answer


def _finished(console: Console, request: Request, answer: Answer) -> Response:
    found, sessions = _here(console), console.sessions
    try:
        sessions.braked_address(request)
        proven = found.party.finish(sessions.flow(request), answer)
        via = (*via_of(request), VIA)
        record = found.people.account_of(proven, via)
        if proven.account and proven.account != record.id:
            raise ProviderRefused("somebody else proved who they are")
        page = console.page(request, "signed_in.html", None, then=own_page(proven.then))
        try:
            sessions.start_by_provider(request, page, record, strong=proven.strong, instead_of=proven.session)
        except SecondFactorNeeded as needed:
            page = console.page(request, "signed_in.html", None, then=CODE_PAGE)
            sessions.keep_step(request, page, needed)
    except TooManyAttempts as error:
        return console.sign_in_page(request, refused=too_many(error), status=429)
    except ProviderSilent as error:
        log.warning("provider", fault=str(error))
        return console.sign_in_page(request, refused=said(error), status=error.http_status)
    except ProviderRefused as error:
        console.node.accounts.events.refused(None, f"the hospital's sign-in: {error}", via_of(request))
        return console.sign_in_page(
            request, refused=gettext("The hospital's sign-in did not work. Try it again."), status=401
        )
    except WrongRole:
        refused = gettext(
            "The console is for data officers, clinicians, operators and patients:"
            " sign in with an account of one of these."
        )
        return console.sign_in_page(request, refused=refused, status=403)
    except SignInRefused:
        refused = gettext(
            "You are known at the hospital's sign-in, and have no account here that may be used. Ask an officer."
        )
        return console.sign_in_page(request, refused=refused, status=403)
    sessions.drop_flow(request, page)
    return page
