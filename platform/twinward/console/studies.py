"""The console's pages of studies: what this hospital is invited to, in plain words with its decision; the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.justification import MAX_CHARS
from twinward.access.sessions import Session
from twinward.console import charts
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, in_words, message, minute

if TYPE_CHECKING:
    from twinward.overview.studies import Charge, InvitedStudy

PAGE: Final = f"{PATH}/studies"
MOST_BYTES: Final = 256 << 10
"""The longest invitation (``federation.signed_json.MAX_BYTES``, which is loaded with studies)."""

_BADGES = {"waiting": "warn", "unfinished": "bad", "approved": "good", "withdrawn": "plain", "replaced": "plain"}
_STATES = {
    "waiting": message("waits for you"),
    "unfinished": message("approve it once more"),
    "approved": message("approved"),
    "withdrawn": message("withdrawn"),
    "replaced": message("another invitation to this study was decided on"),
}
_CHARGED = {
    "reserved": message("reserved"),
    "committed": message("paid for a model"),
    "burned": message("spent, without a model"),
}
_WAITING: Final = ("waiting", "unfinished")
_CHARGES: Final = Table["Charge"](
    "charges",
    (
        Column(message("Reservation"), "reservation", lambda one: one.number, "num", falls=True),
        Column(message("Study"), "study", lambda one: one.study),
        Column(message("Cost"), "cost", lambda one: one.micros, "num", falls=True),
        Column(message("Left after it"), "left", lambda one: one.left, "num", falls=True),
        Column(message("What became of it"), "state", lambda one: _charge(one)["state"]),
    ),
    several=True,
)
_DECIDED: Final = Table["InvitedStudy"](
    "decided",
    (
        Column(message("Study"), "study", lambda one: one.received.invitation.study.study_id),
        Column(message("Who runs it"), "who", lambda one: one.received.invitation.researcher),
        Column("ε", "epsilon", lambda one: one.received.invitation.study.epsilon, "num symbol", falls=True),
        Column(message("Decision"), "decision", lambda one: gettext(_STATES[one.state])),
        Column(message("When"), "when", lambda one: one.decision.at_ms if one.decision else None, falls=True),
    ),
    several=True,
)
_Digest = Annotated[str, InPath(pattern=r"^[0-9a-f]{64}$")]
_Reason = Annotated[str, Form(max_length=4 * MAX_CHARS)]
_Csrf = Annotated[str, Form(max_length=64)]


def add_studies(router: APIRouter, console: Console) -> None:
    """Add the pages and their forms to the pages' router."""
    _add_pages(router, console)
    _add_decisions(router, console)


def _add_pages(router: APIRouter, console: Console) -> None:
    @router.get("/studies")
    def studies(request: Request) -> Response:
        from twinward.overview import studies as read

        session = console.sessions.officer(request)
        console.permit(session, "studies")
        every = read.invited_studies(console.node)
        charges = read.charges(console.node)
        return console.page(
            request,
            "studies.html",
            session,
            waiting=[_shown(one) for one in every if one.state in _WAITING],
            decided=_DECIDED.arranged(request, (one for one in every if one.state not in _WAITING)).shown(_shown),
            charges=_CHARGES.arranged(request, charges).shown(_charge),
            chart=charts.burn_down([(one.study, one.left + one.micros, one.left) for one in reversed(charges)]),
            most=MOST_BYTES,
        )

    @router.get("/studies/{digest}")
    def study(request: Request, digest: _Digest) -> Response:
        session = console.sessions.officer(request)
        console.permit(session, "study")
        return _study_page(console, request, session, digest)


_NO_REASON = message("a decision on a study has a reason")


def _add_decisions(router: APIRouter, console: Console) -> None:
    @router.post("/studies")
    def receive(request: Request, invitation: Annotated[str, Form(max_length=MOST_BYTES)], csrf: _Csrf) -> Response:
        from twinward.node.study_approvals import receive as take_in

        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        console.permit(session, "study invitation")
        received = take_in(console.node, invitation.replace("\r\n", "\n").strip().encode() + b"\n")
        return RedirectResponse(f"{PAGE}/{received.digest}", status_code=303)

    @router.post("/studies/{digest}/approve")
    def approve(request: Request, digest: _Digest, reason: _Reason, csrf: _Csrf) -> Response:
        from twinward.node.study_approvals import approve as approve_for
        from twinward.node.study_inbox import StudyInbox

        by, node = console.decider(request, csrf, reason, _NO_REASON, fresh=f"{PAGE}/{digest}"), console.node
        approve_for(node, node.settings.tenant, StudyInbox(node.settings.home).read(digest).content, by)
        return RedirectResponse(f"{PAGE}/{digest}", status_code=303)

    @router.post("/studies/{digest}/withdraw")
    def withdraw(request: Request, digest: _Digest, reason: _Reason, csrf: _Csrf) -> Response:
        from twinward.node.study_approvals import withdraw as withdraw_for
        from twinward.node.study_inbox import StudyInbox

        by, node = console.decider(request, csrf, reason, _NO_REASON), console.node
        invitation = StudyInbox(node.settings.home).read(digest).invitation
        withdraw_for(node, node.settings.tenant, invitation.study, by)
        return RedirectResponse(f"{PAGE}/{digest}", status_code=303)


def _study_page(console: Console, request: Request, session: Session, digest: str) -> Response:
    from twinward.node.study_inbox import StudyInbox
    from twinward.overview import studies as read

    node = console.node
    one = read.invited(node, StudyInbox(node.settings.home).read(digest))
    terms = read.terms_of(node, one.received.invitation, [node.settings.tenant])
    return console.page(
        request,
        "study.html",
        session,
        study=_shown(one),
        words=[_sentence(in_words(said)) for said in terms.words[1:]],
        keys=[(name, key, name == node.settings.tenant) for name, key in terms.keys.items()],
        enough=all(budget.reaches for budget in terms.budgets),
    )


def _shown(one: InvitedStudy) -> dict[str, Any]:
    invitation, decision = one.received.invitation, one.decision
    study = invitation.study
    return {
        "digest": one.received.digest,
        "name": study.study_id,
        "detector": study.detector.value,
        "epsilon": f"{study.epsilon:g}",
        "delta": f"{study.delta:g}",
        "rounds": study.rounds,
        "hospitals": ", ".join(study.hospitals),
        "coordinator": invitation.coordinator,
        "researcher": invitation.researcher,
        "fingerprint": study.fingerprint().hex(),
        "state": one.state.value,
        "said": gettext(_STATES[one.state]),
        "badge": _BADGES[one.state],
        "by": decision.officer if decision else "",
        "at": minute(decision.at_ms) if decision else "",
        "reason": decision.reason if decision else "",
    }


def _charge(one: Charge) -> dict[str, Any]:
    return {
        "number": one.number,
        "study": one.study,
        "cost": f"{one.micros / 1_000_000:.6f}",
        "left": f"{one.left / 1_000_000:.6f}",
        "state": gettext(_CHARGED.get(one.state, one.state)),
    }


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
