"""The console's page of alerts that wait: seen, or silenced for a while with a reason."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.justification import MAX_CHARS
from twinward.api.twins.pages import TWIN
from twinward.console.live_words import alert_row
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.console.ward import PAGE as WARD
from twinward.console.ward import caring
from twinward.live.alerts.models import MAX_SILENCE_MS
from twinward.overview.ward import NAMED, name_of

PAGE: Final = f"{PATH}/alerts"
MOST_SHOWN: Final = 200
_Alert = Annotated[str, InPath(pattern=TWIN.pattern)]
_Csrf = Annotated[str, Form(max_length=64)]
_Then = Annotated[str, Form(pattern=f"^$|{TWIN.pattern}")]
"""The patient whose page to go back to; empty for the list."""


def add_alerts(router: APIRouter, console: Console) -> None:
    """Add the page and its forms to the pages' router."""
    live = console.node.live

    @router.get("/alerts")
    def page(request: Request) -> Response:
        session = console.sessions.clinician(request)
        found = live.ward.alerts(caring(request, session), NAMED)
        now_ms = console.node.clock.now_ms()
        names = {twin: name_of(console.node, permits) for twin, permits in found.permits.items()}
        rows = [alert_row(one, now_ms, names[one.twin]) for one in found.alerts]
        waiting = [one for one in rows if one["waits"]]
        shown = console.page(
            request,
            "alerts.html",
            session,
            now=now_ms,
            waiting=waiting[:MOST_SHOWN],
            seen=[one for one in rows if not one["waits"]][:MOST_SHOWN],
            escalated=sum(one["escalated"] is not None for one in waiting),
            left=max(0, len(waiting) - MOST_SHOWN),
            damaged=found.damaged,
        )
        shown.headers["cache-control"] = "no-store"
        return shown

    @router.post("/alerts/{alert}/acknowledge")
    def acknowledge(request: Request, alert: _Alert, csrf: _Csrf, then: _Then = "") -> Response:
        session = console.sessions.clinician(request)
        require_csrf(session, csrf)
        live.alerts.acknowledge(caring(request, session), alert)
        return _back(then)

    @router.post("/alerts/{alert}/silence")
    def silence(
        request: Request,
        alert: _Alert,
        csrf: _Csrf,
        minutes: Annotated[int, Form(ge=1, le=MAX_SILENCE_MS // 60_000)],
        reason: Annotated[str, Form(max_length=4 * MAX_CHARS)],
        then: _Then = "",
    ) -> Response:
        session = console.sessions.clinician(request)
        require_csrf(session, csrf)
        live.alerts.silence(caring(request, session), alert, minutes, reason[:MAX_CHARS])
        return _back(then)


def _back(then: str) -> Response:
    return RedirectResponse(f"{WARD}/{then}#alerts" if then else PAGE, status_code=303)
