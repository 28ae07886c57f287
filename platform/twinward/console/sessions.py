"""The console's own sign-in: an HttpOnly, SameSite=Strict cookie, and a token in every form (CSRF)."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from twinward.access.accounts import SESSION_LIFETIME_MS, Accounts, Session
from twinward.access.errors import SignInRefused
from twinward.errors import Refused
from twinward.vocabulary import Role

SESSION_COOKIE = "twinward_session"
FORM_COOKIE = "twinward_form"
PATH = "/console"


@dataclass(frozen=True, slots=True)
class Sessions:
    """Cookies in and out. ``secure`` adds the Secure attribute: set it behind TLS."""

    accounts: Accounts
    secure: bool

    def officer(self, request: Request) -> Session:
        """The signed-in officer. Raises ``SignInRefused``, or ``Refused`` for another role."""
        session_id = request.cookies.get(SESSION_COOKIE, "")
        if not session_id:
            raise SignInRefused
        session = self.accounts.session(session_id)
        _require_officer(session)
        return session

    def start(self, request: Request, response: Response, account: str, password: str) -> None:
        """Sign in and set the cookie; a session this browser had before ends.

        Raises:
            SignInRefused: wrong name or password.
            Refused: right, but not an officer's; no session stays behind.
        """
        session_id = self.accounts.sign_in(account, password)
        try:
            _require_officer(self.accounts.session(session_id))
        except Refused:
            self.accounts.sign_out(session_id)
            raise
        self.accounts.sign_out(request.cookies.get(SESSION_COOKIE, ""))
        self._set(response, SESSION_COOKIE, session_id, SESSION_LIFETIME_MS // 1000)
        self._drop(response, FORM_COOKIE)

    def end(self, request: Request, response: Response) -> None:
        """Sign out and drop the cookie."""
        self.accounts.sign_out(request.cookies.get(SESSION_COOKIE, ""))
        self._drop(response, SESSION_COOKIE)

    def new_form(self) -> str:
        """A token for the sign-in form, before there is a session."""
        return secrets.token_urlsafe(16)

    def bind_form(self, response: Response, token: str) -> None:
        """Let the sign-in form be sent back by this browser only."""
        self._set(response, FORM_COOKIE, token, 3600)

    def require_form(self, request: Request, token: str) -> None:
        """Refuse a sign-in form that this browser was not given."""
        expected = request.cookies.get(FORM_COOKIE, "")
        if not expected or not hmac.compare_digest(expected.encode(), token.encode()):
            raise Refused("this form is too old or not yours", hint="open the sign-in page again")

    def _set(self, response: Response, name: str, value: str, max_age_s: int) -> None:
        response.set_cookie(
            name, value, max_age=max_age_s, path=PATH, secure=self.secure, httponly=True, samesite="strict"
        )

    def _drop(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path=PATH, secure=self.secure, httponly=True, samesite="strict")


def _require_officer(session: Session) -> None:
    if session.principal.role is not Role.OFFICER:
        raise Refused("the console is for data officers", hint="sign in with an officer's account")


def require_csrf(session: Session, token: str) -> None:
    """Refuse a form that does not carry its session's token."""
    if not hmac.compare_digest(session.csrf.encode(), token.encode()):
        raise Refused("this form is not from your session", hint="go back and try again")
