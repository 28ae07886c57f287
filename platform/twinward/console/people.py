"""The console's look-up of a person: names are shown in the answer to a form with a reason, and nowhere else."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from twinward.access.justification import MAX_CHARS
from twinward.console.pages import Console, said
from twinward.console.sessions import require_csrf
from twinward.core.errors import BadInput
from twinward.overview import people

_NOTHING: Final = {"identifier": "", "name": "", "reason": ""}


def add_people(router: APIRouter, console: Console) -> None:
    """Add the page and its form to the pages' router."""

    @router.get("/people")
    def page(request: Request) -> Response:
        session = console.sessions.officer(request)
        console.permit(session, "person look-up")
        return console.page(request, "people.html", session, found=None, refused="", asked=_NOTHING)

    @router.post("/people")
    def look_up(
        request: Request,
        csrf: Annotated[str, Form(max_length=64)],
        identifier: Annotated[str, Form(max_length=4 * people.MAX_TEXT)] = "",
        name: Annotated[str, Form(max_length=4 * people.MAX_TEXT)] = "",
        reason: Annotated[str, Form(max_length=4 * MAX_CHARS)] = "",
    ) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        asked, found, refused = {"identifier": identifier, "name": name, "reason": reason}, None, ""
        try:
            officer = session.principal
            found = people.look_up(console.node, officer, identifier=identifier, name=name, reason=reason)
        except BadInput as error:
            refused = said(error)
        status = 400 if refused else 200
        answer = console.page(request, "people.html", session, found=found, refused=refused, asked=asked, status=status)
        answer.headers["cache-control"] = "no-store"
        return answer
