"""A patient's page of studies: what the hospital tells of, and the patient's answer."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from twinward.access.interfaces import AccessContext
from twinward.access.sessions import Session
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf, via_of
from twinward.core.vocabulary import Action, Purpose
from twinward.overview.contacts import OWN_INVITATIONS

PAGE: Final = f"{PATH}/my/studies"


def add_invitations(router: APIRouter, console: Console) -> None:
    """Add the page and its form to the pages' router."""
    desk = console.node.contacts

    @router.get("/my/studies")
    def studies(request: Request) -> Response:
        session, twin = console.sessions.own_record(request)
        console.node.access.decide(
            _context(request, session).request(Action.CONTACT, twin, detail=(("page", OWN_INVITATIONS),))
        )
        found = [
            {
                "name": one.request.name,
                "title": one.request.title,
                "vendor": one.request.vendor,
                "purpose": one.request.purpose,
                "text": one.request.text,
                "at": one.told.at_ms,
                "answer": one.told.answer,
            }
            for one in desk.invitations(twin)
        ]
        page = console.page(request, "my_studies.html", session, invitations=found)
        page.headers["cache-control"] = "no-store"
        return page

    @router.post("/my/studies")
    def answer(
        request: Request,
        csrf: Annotated[str, Form(max_length=64)],
        name: Annotated[str, Form(pattern=r"^[0-9a-f]{16}$")],
        wanted: Annotated[Literal["yes", "no"], Form()],
    ) -> Response:
        session, twin = console.sessions.own_record(request, fresh=PAGE)
        require_csrf(session, csrf)
        desk.answer(_context(request, session), twin, name, wanted=wanted == "yes")
        return RedirectResponse(PAGE, status_code=303)


def _context(request: Request, session: Session) -> AccessContext:
    return AccessContext(session.principal, Purpose.PATIENT_REQUEST, detail=via_of(request))
