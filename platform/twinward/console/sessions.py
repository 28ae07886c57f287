"""The console's own sign-in: a cookie, and a token in every form (CSRF)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from twinward.access.account_store import AccountRecord
from twinward.access.errors import (
    NotFresh,
    PasswordMustChange,
    SecondFactorMissing,
    SecondFactorNeeded,
    SignInRefused,
    TooManyAttempts,
    WrongRole,
)
from twinward.access.networks import Networks
from twinward.access.sessions import Session
from twinward.access.sign_ins import SECOND_STEP_MS, SignIns, own
from twinward.api.http.caller import address_of
from twinward.api.http.fair_share import CONSOLE_SESSION, asked_by
from twinward.console.address import PATH as PATH
from twinward.console.browsers import browser_of
from twinward.console.cookies import Cookies
from twinward.console.sign_in_gate import BROWSER_LIFETIME_MS, Attempt, SignInGate
from twinward.console.viewer import gettext, message
from twinward.console.wrong_role import (
    for_clinicians,
    for_hospital,
    for_officers,
    for_operators,
    for_others,
    for_patients,
    for_staff,
)
from twinward.core.errors import Refused
from twinward.core.vocabulary import Role, TwinId

SESSION_COOKIE = CONSOLE_SESSION
FORM_COOKIE = "twinward_form"
BROWSER_COOKIE = "twinward_browser"
FLOW_COOKIE = "twinward_flow"
STEP_COOKIE = "twinward_step"
CODE_PAGE = f"{PATH}/sign-in/code"
_ROLES = frozenset({Role.OFFICER, Role.PATIENT, Role.CLINICIAN, Role.OPERATOR})

_STAFF = frozenset({Role.CLINICIAN, Role.OPERATOR})
_HOSPITAL = _STAFF | {Role.OFFICER}


@dataclass(frozen=True, slots=True)
class Sessions:
    """Who is signed in, and from which of ``networks`` each request of theirs comes.

    ``secure``: cookies travel over TLS only, also where a request does not say that it came so.
    """

    sign_ins: SignIns
    gate: SignInGate
    secure: bool
    networks: Networks

    def officer(self, request: Request, *, changing: bool = False, fresh: str = "") -> Session:
        """The signed-in officer. As ``person``; raises ``Refused`` for anybody else, whatever the page is about."""
        return self._of(request, frozenset({Role.OFFICER}), for_officers, changing=changing, fresh=fresh)

    def patient(self, request: Request, *, fresh: str = "") -> Session:
        """The signed-in patient, tied to a record or not. As ``officer``."""
        return self._of(request, frozenset({Role.PATIENT}), for_patients, changing=False, fresh=fresh)

    def clinician(self, request: Request) -> Session:
        """Whoever is signed in and looks after patients. As ``officer``."""
        return self._of(request, frozenset({Role.CLINICIAN}), for_clinicians, changing=False, fresh="")

    def operator(self, request: Request) -> Session:
        """Whoever is signed in and runs the node. As ``officer``."""
        return self._of(request, frozenset({Role.OPERATOR}), for_operators, changing=False, fresh="")

    def ward_staff(self, request: Request) -> Session:
        """Whoever is signed in and is one of these two. As ``officer``."""
        return self._of(request, _STAFF, for_staff, changing=False, fresh="")

    def hospital_staff(self, request: Request) -> Session:
        """Whoever is signed in and works here: an officer as well. As ``officer``."""
        return self._of(request, _HOSPITAL, for_hospital, changing=False, fresh="")

    def own_record(self, request: Request, *, fresh: str = "") -> tuple[Session, TwinId]:
        """The signed-in patient and the record that an officer tied the account to. Raises ``Refused``: to none."""
        session = self.patient(request, fresh=fresh)
        if session.principal.own_twin is None:
            raise Refused(
                message("your account is not connected with a record yet"),
                hint=message("the data office of your hospital connects it"),
            )
        return session, session.principal.own_twin

    def person(self, request: Request, *, changing: bool = False, fresh: str = "") -> Session:
        """Whoever is signed in, at their own account.

        Args:
            request: with the cookie.
            changing: also one who has to choose a new password, or to set up a second factor, first.
            fresh: for what matters most (erasure, export, policy, consent, ways of signing in): only one who proved a
                short while ago who she is, and the page that she is sent back to once she has.

        Raises:
            SignInRefused: nobody is signed in.
            Refused: somebody is, whose role has no business here.
            PasswordMustChange: somebody is, who has to choose a new password first.
            SecondFactorMissing: somebody is, who has to set up a second factor first.
            NotFresh: somebody is, who has to confirm this.
        """
        return self._standing(self._session(request), changing=changing, fresh=fresh)

    def _of(
        self, request: Request, roles: frozenset[Role], refusal: Callable[[], Refused], *, changing: bool, fresh: str
    ) -> Session:
        session = self._session(request)
        if not roles & session.roles:
            raise refusal()
        return self._standing(session, changing=changing, fresh=fresh)

    def _session(self, request: Request) -> Session:
        session_id = self.cookies(request).get(SESSION_COOKIE)
        if not session_id:
            raise SignInRefused
        session = self.sign_ins.session(session_id)
        asked_by(request, session.principal.id)
        if not session.roles & _ROLES:
            raise for_others()
        network = self.networks.of(address_of(request))
        return replace(session, principal=replace(session.principal, network=network))

    def _standing(self, session: Session, *, changing: bool, fresh: str) -> Session:
        if session.must_change and not changing:
            raise PasswordMustChange
        if session.must_enrol and not changing:
            raise SecondFactorMissing
        if fresh and not session.fresh:
            raise NotFresh(fresh)
        return session

    def start(self, request: Request, response: Response, account: str, password: str, csrf: str) -> None:
        """Sign in and set the cookie; a session this browser had before ends. Who needs a code is sent to give it.

        Raises:
            TooManyAttempts: too many were made; nothing was looked at.
            SignInRefused: wrong name or password.
            Refused: a form of another browser; or right, but not an officer's. No session stays behind.
        """
        self._braked(request, account, csrf)
        attempt = self._admitted(request, account)
        try:
            session_id = self.sign_ins.by_password(
                account,
                password,
                via=via_of(request),
                roles=_ROLES,
                origin=browser_of(request),
                ends=self.cookies(request).get(SESSION_COOKIE),
            )
        except WrongRole:
            raise for_others() from None
        except SecondFactorNeeded as needed:
            attempt.succeeded()
            self.keep_step(request, response, needed)
            response.headers["location"] = CODE_PAGE
            return
        attempt.succeeded()
        self._begin(request, response, account, session_id)

    def start_by_passkey(self, request: Request, response: Response, answer: str, csrf: str) -> None:
        """Sign in by a passkey, as ``start``. Raises as that."""
        self._braked(request, "", csrf)
        try:
            account, session_id = self.sign_ins.by_passkey(
                answer,
                csrf,
                via=via_of(request),
                roles=_ROLES,
                origin=browser_of(request),
                ends=self.cookies(request).get(SESSION_COOKIE),
            )
        except WrongRole:
            raise for_others() from None
        self._begin(request, response, account, session_id)

    def start_by_provider(
        self, request: Request, response: Response, record: AccountRecord, *, strong: bool, instead_of: str
    ) -> None:
        """Sign in whom the hospital's provider vouches for. Raises ``WrongRole``, ``SecondFactorNeeded``."""
        session_id = self.sign_ins.by_provider(
            record,
            strong=strong,
            via=via_of(request),
            roles=_ROLES,
            origin=browser_of(request),
            instead_of=instead_of,
        )
        self._begin(request, response, record.id, session_id)
        self.gate.take_back_address(address_of(request))

    def keep_step(self, request: Request, response: Response, needed: SecondFactorNeeded) -> None:
        """Have the browser go on by a code."""
        self.cookies(request).set(response, STEP_COOKIE, needed.waiting, SECOND_STEP_MS // 1000)

    def keep_flow(self, request: Request, response: Response, flow: str, max_age_s: int) -> None:
        """Have the browser come back from the hospital's provider with this."""
        self.cookies(request).set(response, FLOW_COOKIE, flow, max_age_s, samesite="lax")

    def flow(self, request: Request) -> str:
        """What it comes back with, or nothing."""
        return self.cookies(request).get(FLOW_COOKIE)

    def drop_flow(self, request: Request, response: Response) -> None:
        """Have it forget that."""
        self.cookies(request).drop(response, FLOW_COOKIE)

    def braked_address(self, request: Request) -> None:
        """Count the address of whoever comes without a name. Raises ``TooManyAttempts``, logged."""
        try:
            self.gate.admit_address(address_of(request), "", "")
        except TooManyAttempts:
            self.sign_ins.accounts.braked("", via=via_of(request))
            raise

    def confirm_by_passkey(self, request: Request, response: Response, answer: str) -> None:
        """As ``confirm``, by a passkey. Raises ``SignInRefused``."""
        session = self.person(request, changing=True)
        present = self.cookies(request).get(SESSION_COOKIE)
        session_id = self.sign_ins.confirm_by_passkey(present, answer, via=via_of(request))
        self._renewed(request, response, session, session_id)

    def waits(self, request: Request) -> str:
        """Whose code this browser is to give. Raises ``SignInRefused``: nobody's, or no longer."""
        return self.sign_ins.waits(self.cookies(request).get(STEP_COOKIE))

    def give_code(self, request: Request, response: Response, code: str, csrf: str) -> None:
        """Go on from a right password by a code, as ``start``.

        Raises:
            TooManyAttempts, SignInRefused, Refused: as ``start``.
        """
        cookies, waiting = self.cookies(request), self.cookies(request).get(STEP_COOKIE)
        account = self.sign_ins.waits(waiting)
        self._require_form(request, csrf)
        attempt = self._admitted(request, account)
        session_id = self.sign_ins.by_code(
            waiting, code, via=via_of(request), origin=browser_of(request), ends=cookies.get(SESSION_COOKIE)
        )
        attempt.succeeded()
        cookies.drop(response, STEP_COOKIE)
        self._begin(request, response, account, session_id)

    def confirm(self, request: Request, response: Response, password: str, code: str) -> None:
        """Have the signed-in officer prove anew who she is: her session has another id, and is fresh.

        Raises:
            TooManyAttempts, SignInRefused: as ``start``.
        """
        session = self.person(request, changing=True)
        attempt = self._admitted(request, session.principal.id)
        present = self.cookies(request).get(SESSION_COOKIE)
        session_id = self.sign_ins.confirm(present, password, code, via=via_of(request))
        attempt.succeeded()
        self._renewed(request, response, session, session_id)

    def _renewed(self, request: Request, response: Response, session: Session, session_id: str) -> None:
        left_s = max(1, (session.expires_at_ms - self.sign_ins.accounts.now_ms()) // 1000)
        self.cookies(request).set(response, SESSION_COOKIE, session_id, left_s)

    def change_password(self, request: Request, response: Response, present: str, new: str) -> None:
        """Change the signed-in officer's password; all her sessions end, and this browser gets a new one.

        Raises:
            TooManyAttempts, SignInRefused: as ``start``, for the present password.
            BadInput: the new one is weak.
        """
        session = self.person(request, changing=True)
        attempt = self._admitted(request, session.principal.id)
        session_id = self.sign_ins.change_password(
            session, present, new, via=via_of(request), origin=browser_of(request)
        )
        attempt.succeeded()
        self._begin(request, response, session.principal.id, session_id)

    def end(self, request: Request, response: Response) -> None:
        """Sign out and drop the cookie."""
        self.sign_ins.sign_out(self.cookies(request).get(SESSION_COOKIE), via=via_of(request))
        self.cookies(request).drop(response, SESSION_COOKIE)

    def end_one(self, request: Request, name: str) -> None:
        """End one of the officer's own sessions. Raises ``NotFound``."""
        who = self.person(request, changing=True).principal
        self.sign_ins.end_session(who.id, name, own(who, via_of(request)))

    def end_everywhere(self, request: Request, response: Response) -> None:
        """End the officer's sessions in every browser, and whatever runs by her tokens."""
        who = self.person(request, changing=True).principal
        self.sign_ins.accounts.change(who.id, lambda one: one.ended(), "sessions ended", own(who, via_of(request)))
        self.cookies(request).drop(response, SESSION_COOKIE)

    def new_form(self) -> str:
        """A token for the sign-in form, before there is a session."""
        return secrets.token_urlsafe(16)

    def bind_form(self, request: Request, response: Response, token: str) -> None:
        """Let the sign-in form be sent back by this browser only."""
        self.cookies(request).set(response, FORM_COOKIE, token, 3600)

    def _braked(self, request: Request, account: str, csrf: str) -> None:
        """Count the address, then refuse a form that this browser was not given."""
        try:
            self.gate.admit_address(address_of(request), account, self.cookies(request).get(BROWSER_COOKIE))
        except TooManyAttempts:
            self.sign_ins.accounts.braked(account, via=via_of(request))
            raise
        self._require_form(request, csrf)

    def _require_form(self, request: Request, csrf: str) -> None:
        expected = self.cookies(request).get(FORM_COOKIE)
        if not expected or not hmac.compare_digest(expected.encode(), csrf.encode()):
            raise Refused(message("this form is too old or not yours"), hint=message("open the sign-in page again"))

    def _admitted(self, request: Request, account: str) -> Attempt:
        try:
            return self.gate.admit(address_of(request), account, self.cookies(request).get(BROWSER_COOKIE))
        except TooManyAttempts:
            self.sign_ins.accounts.braked(account, via=via_of(request))
            raise

    def _begin(self, request: Request, response: Response, account: str, session_id: str) -> None:
        cookies = self.cookies(request)
        cookies.set(response, SESSION_COOKIE, session_id, self.sign_ins.lifetime_ms // 1000)
        cookies.set(response, BROWSER_COOKIE, self.gate.cookie(account), BROWSER_LIFETIME_MS // 1000)

    def cookies(self, request: Request) -> Cookies:
        """The console's cookies of one request."""
        return Cookies(request, self.secure or request.url.scheme == "https")


def too_many(error: TooManyAttempts) -> str:
    """The brake in the words of a page."""
    if error.wait_s <= 60:
        return gettext("Too many attempts. Wait a minute, then try again.")
    wait = gettext("Too many attempts. Wait %d minutes, or use a browser that signed in here before.")
    return wait % -(-error.wait_s // 60)


def via_of(request: Request) -> tuple[tuple[str, str], ...]:
    """What the log says of where something was asked."""
    return (("via", "console"), ("address", address_of(request)))


def asked_again(request: Request) -> str:
    """The page that a request asks for, to come back to once it is confirmed."""
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def require_csrf(session: Session, token: str) -> None:
    """Refuse a form that does not carry its session's token."""
    if not hmac.compare_digest(session.csrf.encode(), token.encode()):
        raise Refused(message("this form is not from your session"), hint=message("go back and try again"))
