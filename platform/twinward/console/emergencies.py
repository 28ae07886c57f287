"""The console's page of emergencies: what waits for a review, what is overdue, and the form that reviews one."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.emergencies import Emergencies
from twinward.access.emergency import JUSTIFIED, UNJUSTIFIED, Emergency
from twinward.access.justification import MAX_CHARS
from twinward.access.sessions import Session
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, message, minute
from twinward.core.errors import BadInput

PAGE = f"{PATH}/emergencies"

_BADGES = {"overdue": "bad", "open": "warn", "waiting": "warn", "reviewed": "good"}
_STATES = {
    "overdue": message("review overdue"),
    "open": message("open now"),
    "waiting": message("to be reviewed"),
    "reviewed": message("reviewed"),
}


_REVIEWED: Final = Table[Emergency](
    "reviewed",
    (
        Column(message("When"), "when", lambda one: one.started_ms, falls=True),
        Column(message("Who"), "who", lambda one: one.agent),
        Column(message("Why"), "why", lambda one: one.justification),
        Column(message("Found"), "found", lambda one: int(one.finding == JUSTIFIED)),
        Column(message("By"), "by", lambda one: one.reviewer),
        Column(message("On the contract"), "contract", lambda one: 0 if one.late else 2 if one.closed else 1),
    ),
    first="-when",
)


def add_emergencies(router: APIRouter, console: Console) -> None:
    """Add the page and its form to the pages' router."""

    @router.get("/emergencies")
    def page(request: Request) -> Response:
        return _page(console, request, console.sessions.officer(request))

    @router.post("/emergencies/{name}")
    def review(
        request: Request,
        name: Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")],
        finding: Annotated[str, Form(max_length=16)],
        note: Annotated[str, Form(max_length=4 * MAX_CHARS)],
        csrf: Annotated[str, Form(max_length=64)],
    ) -> Response:
        session, node = console.sessions.officer(request), console.node
        require_csrf(session, csrf)
        if finding not in (JUSTIFIED, UNJUSTIFIED):
            raise BadInput(
                message("a review finds an emergency justified or unjustified"), hint=message("go back and choose one")
            )
        permit = console.permit(session, "emergency review")
        node.emergencies.review(permit, name, justified=finding == JUSTIFIED, note=note)
        return RedirectResponse(PAGE, status_code=303)


def _page(console: Console, request: Request, session: Session) -> Response:
    node = console.node
    every = node.emergencies.all(console.permit(session, "emergencies"))
    review_s = node.emergencies.limits.review_s
    waiting = sorted((one for one in every if not one.finding), key=lambda one: one.due_ms(review_s))
    reviewed = _REVIEWED.arranged(request, (one for one in every if one.finding))
    return console.page(
        request,
        "emergencies.html",
        session,
        waiting=[_shown(node.emergencies, one, node.clock.now_ms()) for one in waiting],
        reviewed=reviewed.shown(lambda one: _shown(node.emergencies, one, node.clock.now_ms())),
        limits=node.emergencies.limits,
        undeclared=node.emergencies.counts().undeclared,
        problem=node.follow_up.problem,
    )


def _shown(emergencies: Emergencies, one: Emergency, now_ms: int) -> dict[str, Any]:
    review_s = emergencies.limits.review_s
    state = one.state(now_ms, review_s)
    return {
        "name": one.name,
        "badge": _BADGES[state],
        "state": gettext(_STATES[state]),
        "agent": one.agent or gettext("unknown"),
        "unit": one.unit,
        "twin": one.twin or "",
        "justification": one.justification,
        "started": minute(one.started_ms),
        "ended": "" if one.is_open(now_ms) else minute(one.until_ms if one.ended_ms is None else one.ended_ms),
        "due": minute(one.due_ms(review_s)),
        "declared": one.deadline_ms is not None,
        "in_log": one.index is not None,
        "finding": one.finding,
        "note": one.note,
        "reviewer": one.reviewer,
        "late": one.late,
        "closed": one.closed,
    }
