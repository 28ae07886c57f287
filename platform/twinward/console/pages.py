"""The console's pages. Each is an access of its own and stands in the log it shows."""

from __future__ import annotations

import base64
import hmac
import json
import re
import threading
from collections import OrderedDict
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from twinward.access.interfaces import AccessContext, Permit
from twinward.access.justification import bounded
from twinward.access.sessions import Session
from twinward.audit.errors import LogTampered
from twinward.console import charts, external_use, health
from twinward.console.derivation import AT_ONCE, Derivation
from twinward.console.preferences import PREFERENCES_COOKIE, Preferences
from twinward.console.previews import WaitingPreviews
from twinward.console.script_words import script_words
from twinward.console.sessions import Sessions, require_csrf
from twinward.console.sign_in_gate import SignInGate
from twinward.console.viewer import (
    Viewer,
    day,
    gettext,
    in_words,
    message,
    minute,
    number,
    reasons,
    say,
    say_many,
    second,
    shown,
    viewer,
)
from twinward.console.work import work_waiting
from twinward.core.errors import BadInput, TwinwardError
from twinward.core.vocabulary import Purpose, Role, TwinId
from twinward.node import Node
from twinward.overview import status as standing
from twinward.overview.log import permit_to_examine

CHART_EVENTS = 500
CHECKED_EVENTS = 500
"""Of the newest entries, those that each look at Home holds against their leaves."""
_KEPT_DOMAIN = b"twinward/entered/1\n"
_MAX_VISITS = 1000
_COMMANDS = re.compile("`|twinward |--")
"""What a hint says to whoever has a command line. Patients have none."""


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("twinward.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        extensions=["jinja2.ext.i18n"],
    )
    made.policies["ext.i18n.trimmed"] = True
    made.newstyle_gettext = True  # type: ignore[attr-defined] # the extension's
    made.globals |= {"gettext": say, "ngettext": say_many, "_": say}
    made.filters |= {
        "minute": minute,
        "second": second,
        "day": day,
        "number": number,
        "words": in_words,
        "reasons": reasons,
    }
    return made


TEMPLATES = _environment()


class Console:
    """The pages of one node's console."""

    def __init__(self, node: Node, *, secure: bool) -> None:
        self.node = node
        gate = SignInGate(node.clock, node.identity.browser_key())
        self.sessions = Sessions(node.sign_ins, gate, secure, node.networks)
        self.derivation = Derivation(node.audit.verify, node.clock, node.log_check.note)
        self.previews = WaitingPreviews(node)
        self._visits: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._visits_lock = threading.Lock()

    def page(
        self, request: Request, name: str, session: Session | None, *, status: int = 200, **values: Any
    ) -> Response:
        """Render a template with what every page shows."""
        keys = self.node.log.known_history
        html = TEMPLATES.get_template(name).render(
            hospital=self.node.settings.hospital,
            origin=self.node.log.origin,
            log_key=base64.b64encode(keys.newest.public_key).decode(),
            log_keys=[
                *([base64.b64encode(one.key.public_key).decode(), one.until] for one in keys.earlier),
                [base64.b64encode(keys.newest.public_key).decode(), None],
            ],
            path=request.url.path,
            preferences=self.preferences(request),
            viewer=viewer(),
            script_words=script_words(),
            session=session,
            kept_key=self._kept_key(session) if session else "",
            standing=self.node.emergencies.counts() if session and Role.OFFICER in session.roles else None,
            to_answer=self.node.findings.asked_of(session.principal.id) if session and may_be_asked(session) else 0,
            **values,
        )
        return HTMLResponse(html, status_code=status)

    def _kept_key(self, session: Session) -> str:
        """The key under which this account's browsers seal what was entered and not taken (``static/kept.js``)."""
        made = hmac.digest(self.node.identity.browser_key(), _KEPT_DOMAIN + session.principal.id.encode(), "sha256")
        return base64.b64encode(made).decode()

    def preferences(self, request: Request) -> Preferences:
        """What this browser's user chose."""
        return Preferences.of(self.sessions.cookies(request).get(PREFERENCES_COOKIE))

    def viewer(self, request: Request) -> Viewer:
        """For whom a request's page is made."""
        accepted = request.headers.get("accept-language", "")
        return self.preferences(request).viewer(accepted, self.node.settings.time_zone)

    def permit(self, session: Session, page: str, twin: TwinId | None = None) -> Permit:
        """The officer's leave to look at a page; the log has it before anything is shown."""
        return permit_to_examine(self.node.access, AccessContext(session.principal, Purpose.COMPLIANCE), page, twin)

    def decider(self, request: Request, csrf: str, reason: str, no_reason: str, *, fresh: str = "") -> AccessContext:
        """The officer who decides by a form, with what they say why. Raises ``BadInput`` where they say nothing.

        Args:
            no_reason: what that refusal says.
            fresh: the page to come back to, where they have to prove anew who they are.
        """
        session = self.sessions.officer(request, fresh=fresh)
        require_csrf(session, csrf)
        said = bounded(reason)
        if not said:
            raise BadInput(no_reason, hint=message("one sentence; it stays in the log"))
        return AccessContext(session.principal, Purpose.COMPLIANCE, said, detail=(("via", "console"),))

    def problem(self, request: Request, status: int, message: str, hint: str) -> Response:
        """An error's page, with the navigation of whoever is signed in."""
        said = {"message": _sentence(in_words(message)), "hint": _sentence(in_words(hint))}
        try:
            session = self.sessions.person(request)
            if session.principal.role is Role.PATIENT and _COMMANDS.search(hint):
                said["hint"] = gettext("Please ask the data office of your hospital.")
            return self.page(request, "problem.html", session, status=status, code=status, **said)
        except Exception:  # noqa: BLE001 - nobody is signed in, or what broke the page breaks its navigation, too
            return self.page(request, "problem.html", None, status=status, code=status, **said)

    def sign_in_page(self, request: Request, *, refused: str = "", account: str = "", status: int = 200) -> Response:
        """The sign-in form."""
        token = self.sessions.new_form()
        page = self.page(
            request,
            "sign_in.html",
            None,
            status=status,
            csrf=token,
            refused=refused,
            account=account,
            hospital_sign_in=self.node.hospital_sign_in is not None,
            passkey_options=self.node.sign_ins.passkeys.request_options(token),
        )
        self.sessions.bind_form(request, page, token)
        return page

    def home(self, request: Request, session: Session) -> Response:
        """One traffic light, what it rests on, and two charts."""
        node = self.node
        permit = self.permit(session, "home")
        said = health.emergencies(node.emergencies.counts())
        try:
            damaged = node.audit.newest.damaged(CHECKED_EVENTS)
            events = node.access_search.newest(permit, CHART_EVENTS)
            log = node.audit.status()
        except LogTampered as error:
            return self.page(
                request,
                "home.html",
                session,
                **health.alarm(error),
                chart=None,
                checkpoint="",
                emergencies=said,
                waiting=[],
            )
        seen_size, seen_at_ms = self._visit_before(session, log.signed_size)
        now_ms = node.clock.now_ms()
        latest = node.log.latest()
        return self.page(
            request,
            "home.html",
            session,
            health=health.health(log, bool(damaged), node.log_check.last, now_ms),
            findings=health.status(log, node.log_check.last, seen_size=seen_size, seen_at_ms=seen_at_ms)
            + health.alerts(standing.failing_witnesses(node.audit), standing.proposals(node), now_ms),
            chart={"total": len(events), "timeline": charts.timeline(events), "roles": charts.by_role(events)},
            checkpoint=latest[1].encode().decode() if latest else "",
            emergencies=said,
            waiting=work_waiting(node),
        )

    def verify(self, request: Request, session: Session) -> Response:
        """The whole log derived again, and what was compared; how far that is, where the log is large."""
        node, derivation = self.node, self.derivation
        self.permit(session, "verify")
        size = node.log.store.size()
        if size <= AT_ONCE:
            now = derivation.at_once()
        else:
            if not derivation.now.at_ms:
                derivation.begin(size)
            now = derivation.now
        report = health.sound(now.report) if now.report else health.tampered(now.fault) if now.fault else None
        return self.page(
            request,
            "verify.html",
            session,
            report=report,
            derived=now,
            repeatable=size > AT_ONCE,
            witnesses=[] if report is None or report["bad"] else health.witnesses(standing.witnesses(node.audit)),
        )

    def check(self, request: Request, session: Session) -> Response:
        """Where a browser checks files that some hospital handed out. Reads nothing of this node's log."""
        return self.page(request, "check.html", session, trust=json.dumps(self.node.trust().shown()))

    def external_use(self, request: Request, session: Session) -> Response:
        """Vendors' and studies' budgets and registered models, from the chain."""
        self.permit(session, "outside")
        return self.page(request, "external_use.html", session, **external_use.rows(self.node, request))

    def _visit_before(self, session: Session, signed_size: int) -> tuple[int, int]:
        """Size and time of the visit before this session: opening a page again does not make it the last visit."""
        with self._visits_lock:
            if session.csrf not in self._visits:
                self._visits[session.csrf] = self.node.accounts.visit(session.principal.id, signed_size)
                while len(self._visits) > _MAX_VISITS:
                    self._visits.popitem(last=False)
            return self._visits[session.csrf]


def may_be_asked(session: Session) -> bool:
    """Whether officers' questions are shown to somebody: to no patient, and to nobody who is not let in yet."""
    return not (session.must_change or session.must_enrol or session.principal.role is Role.PATIENT)


def said(error: TwinwardError) -> str:
    """An error in the words of a page."""
    message, hint = map(in_words, error.outside())
    return _sentence(f"{message}: {hint}" if hint else message)


def _sentence(text: str) -> str:
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
