"""The page on which whoever is signed in chooses how the console looks in this browser."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from twinward.console.pages import Console
from twinward.console.preferences import KEPT_S, PREFERENCES_COOKIE, Preferences, Theme
from twinward.console.sessions import PATH, require_csrf
from twinward.console.viewer import NAMES, Language, zones
from twinward.core.errors import BadInput

_PAGE: Final = f"{PATH}/preferences"


def add_preferences(router: APIRouter, console: Console) -> None:
    """Add the page and its form to the pages' router."""
    sessions = console.sessions

    @router.get("/preferences")
    def page(request: Request) -> Response:
        session = sessions.person(request, changing=True)
        return console.page(
            request,
            "preferences.html",
            session,
            kept="kept" in request.query_params,
            languages=NAMES,
            zones=zones(),
            hospital_zone=console.node.settings.time_zone,
        )

    @router.post("/preferences")
    def keep(
        request: Request,
        csrf: Annotated[str, Form(max_length=64)],
        theme: Annotated[Theme, Form()] = Theme.BROWSER,  # FastAPI takes an empty field for one that was not sent
        language: Annotated[Language | Literal[""], Form()] = "",
        zone: Annotated[str, Form(max_length=64)] = "",
    ) -> Response:
        require_csrf(sessions.person(request, changing=True), csrf)
        if zone and zone not in zones():
            raise BadInput("there is no such time zone", hint="choose one of the list")
        chosen = Preferences(theme, language or None, zone)
        answer = RedirectResponse(f"{_PAGE}?kept=1", status_code=303)
        sessions.cookies(request).set(answer, PREFERENCES_COOKIE, chosen.cookie(), KEPT_S)
        return answer
