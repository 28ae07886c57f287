"""The page on which whoever is signed in chooses how the console looks in this browser."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from twinward.console.pages import Console
from twinward.console.preferences import KEPT_S, PREFERENCES_COOKIE, Preferences, Theme
from twinward.console.sessions import PATH, require_csrf

_PAGE: Final = f"{PATH}/preferences"


def add_preferences(router: APIRouter, console: Console) -> None:
    """Add the page and its form to the pages' router."""
    sessions = console.sessions

    @router.get("/preferences")
    def page(request: Request) -> Response:
        session = sessions.person(request, changing=True)
        return console.page(request, "preferences.html", session, kept="kept" in request.query_params)

    @router.post("/preferences")
    def keep(request: Request, csrf: Annotated[str, Form(max_length=64)], theme: Annotated[Theme, Form()]) -> Response:
        require_csrf(sessions.person(request, changing=True), csrf)
        answer = RedirectResponse(f"{_PAGE}?kept=1", status_code=303)
        sessions.cookies(request).set(answer, PREFERENCES_COOKIE, Preferences(theme).cookie(), KEPT_S)
        return answer
