"""The console's page of erasures: looked at, proposed by one officer, approved by another, and shown by a receipt."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.interfaces import AccessContext
from twinward.access.justification import MAX_CHARS
from twinward.access.sessions import Session
from twinward.audit.events.wording import PURPOSES
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, message, minute
from twinward.core.errors import BadInput, NotFound
from twinward.core.vocabulary import Category, Purpose, TwinId
from twinward.erasure.proposals import ERASED, MOOT, UNDER_WAY, WAITING, WITHDRAWN, ProposedErasure
from twinward.overview.erasures import Extent, extent, receipt

PAGE: Final = f"{PATH}/erasures"
REASONS: Final = (Purpose.PATIENT_REQUEST, Purpose.COMPLIANCE)
_BADGES = {WAITING: "warn", UNDER_WAY: "warn", ERASED: "good", WITHDRAWN: "plain", MOOT: "plain"}
_STATES = {
    WAITING: message("waits for a second officer"),
    UNDER_WAY: message("keys destroyed, backups being closed"),
    ERASED: message("done"),
    WITHDRAWN: message("withdrawn"),
    MOOT: message("erased by other means"),
}
_OPEN: Final = (WAITING, UNDER_WAY)
_CLOSED: Final = Table[ProposedErasure](
    "closed",
    (
        Column(message("What"), "what", lambda one: gettext(_STATES[one.state])),
        Column(message("Who and why"), "who", lambda one: one.proposed_by),
        Column(message("When"), "when", lambda one: one.done_ms or one.at_ms, falls=True),
        Column(message("Receipt")),
    ),
    first="-when",
)
_Name = Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")]
_Csrf = Annotated[str, Form(max_length=64)]
_TWIN_CHARS: Final = 36


def add_erasures(router: APIRouter, console: Console) -> None:
    """Add the page, its forms and receipts to the pages' router."""
    _add_page(router, console)
    _add_steps(router, console)

    @router.get("/erasures/{name}/receipt")
    def receipt_file(request: Request, name: _Name) -> Response:
        session = console.sessions.officer(request, fresh=PAGE)
        permit = console.permit(session, "erasure receipt")
        made = receipt(console.node, permit, console.node.erasure_desk.proposal(name))
        headers = {"Content-Disposition": f'attachment; filename="erasure-{name}.proof"'}
        return Response(made.encode(), media_type="application/octet-stream", headers=headers)


def _add_page(router: APIRouter, console: Console) -> None:
    @router.get("/erasures")
    def page(
        request: Request,
        twin: Annotated[str, Query(max_length=_TWIN_CHARS)] = "",
        category: Annotated[list[Category], Query(max_length=len(Category))] = [],  # noqa: B006 - FastAPI copies it
        purpose: Purpose = Purpose.PATIENT_REQUEST,
    ) -> Response:
        session, name = console.sessions.officer(request), TwinId(twin.strip())
        permit = console.permit(session, "erasure dry run" if name else "erasures", name or None)
        del permit  # what is shown is counted, nothing is opened; that it was looked at is in the log
        asked = _context(session, purpose)
        found, refused = None, ""
        if name:
            try:
                found = _extent(extent(console.node, asked, name, category))
            except NotFound:
                refused = gettext("There is no such twin, or it is erased already.")
        every = console.node.erasure_desk.all()
        return console.page(
            request,
            "erasures.html",
            session,
            twin=name,
            chosen=[one.value for one in category],
            purpose=purpose.value,
            reasons=[(one.value, gettext(PURPOSES[one])) for one in REASONS],
            categories=[one.value for one in Category if one is not Category.FEATURES],
            found=found,
            refused=refused,
            open=[_shown(one, session) for one in every if one.state in _OPEN],
            closed=_CLOSED.arranged(request, (one for one in every if one.state not in _OPEN)).shown(
                lambda one: _shown(one, session)
            ),
            progress=console.node.erasure_desk.progress,
        )


def _add_steps(router: APIRouter, console: Console) -> None:
    def done(request: Request) -> Response:
        del request
        return RedirectResponse(PAGE, status_code=303)

    @router.post("/erasures")
    def propose(
        request: Request,
        twin: Annotated[str, Form(max_length=_TWIN_CHARS)],
        reason: Annotated[str, Form(max_length=4 * MAX_CHARS)],
        purpose: Annotated[Purpose, Form()],
        csrf: _Csrf,
        category: Annotated[list[Category], Form(max_length=len(Category))] = [],  # noqa: B006 - FastAPI copies it
    ) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        if purpose not in REASONS:
            raise BadInput(
                message("an erasure is for the patient's request or for compliance"),
                hint=message("go back and choose one"),
            )
        console.node.erasure_desk.propose(_context(session, purpose), TwinId(twin.strip()), category, reason)
        return done(request)

    @router.post("/erasures/{name}/approve")
    def approve(request: Request, name: _Name, csrf: _Csrf) -> Response:
        session = console.sessions.officer(request, fresh=PAGE)
        require_csrf(session, csrf)
        console.node.erasure_desk.approve(_context(session, Purpose.COMPLIANCE), name)
        return done(request)

    @router.post("/erasures/{name}/withdraw")
    def withdraw(request: Request, name: _Name, csrf: _Csrf) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        console.node.erasure_desk.withdraw(_context(session, Purpose.COMPLIANCE), name)
        return done(request)


def _context(session: Session, purpose: Purpose) -> AccessContext:
    return AccessContext(session.principal, purpose, detail=(("via", "console"),))


def _extent(found: Extent) -> dict[str, Any]:
    return {
        "permitted": found.permitted,
        "reason": found.reason,
        "records": found.records,
        "total": found.total,
        "kept": found.kept,
        "consents": found.consents,
        "in_cohort": found.in_cohort,
        "wrapped": found.keys,
        "kek": found.kek,
        "retiring": ", ".join(map(str, found.retiring)),
    }


def _shown(one: ProposedErasure, session: Session) -> dict[str, Any]:
    return {
        "name": one.name,
        "twin": one.twin or "",
        "what": ", ".join(sorted(one.categories)) or gettext("everything"),
        "purpose": gettext(PURPOSES[one.purpose]),
        "why": one.why,
        "by": one.proposed_by,
        "at": minute(one.at_ms),
        "own": one.proposed_by == session.principal.id,
        "interrupted_by": one.interrupted_by,
        "approved_by": one.approved_by,
        "done": minute(one.done_ms) if one.done_ms else "",
        "index": one.done_at_index,
        "withdrawn_by": one.withdrawn_by,
        "state": one.state,
        "badge": _BADGES[one.state],
        "say": gettext(_STATES[one.state]),
    }
