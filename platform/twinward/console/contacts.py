"""The console's pages of vendors' contact requests: all of them, one with its decision, and whom the hospital told."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.interfaces import AccessContext
from twinward.access.justification import MAX_CHARS
from twinward.access.sessions import Session
from twinward.console.pages import Console
from twinward.console.sessions import PATH, asked_again, require_csrf
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, message, minute
from twinward.core.clock import iso
from twinward.core.vocabulary import Purpose
from twinward.overview.contacts import reading_of
from twinward.protocol.contacts import ContactState
from twinward.recruitment.models import ContactRequest, Told

PAGE = f"{PATH}/contacts"

_STATES = {
    ContactState.WAITING: (message("waits for an officer"), "warn"),
    ContactState.APPROVED: (message("approved"), "good"),
    ContactState.REFUSED: (message("refused"), "plain"),
}
_Name = Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")]
_Csrf = Annotated[str, Form(max_length=64)]
_Reason = Annotated[str, Form(max_length=4 * MAX_CHARS)]


def add_contacts(router: APIRouter, console: Console) -> None:
    """Add the pages and their forms to the pages' router."""
    _add_pages(router, console)
    _add_decisions(router, console)


def _add_pages(router: APIRouter, console: Console) -> None:
    @router.get("/contacts")
    def requests(request: Request) -> Response:
        session = console.sessions.officer(request)
        found = console.node.contacts.all(_context(session))
        return console.page(
            request,
            "contacts.html",
            session,
            waiting=_WAITING.arranged(request, (one for one in found if not _is_done(one))).shown(_shown),
            done=_DONE.arranged(request, (one for one in found if _is_done(one))).shown(_shown),
        )

    @router.get("/contacts/{name}")
    def one(request: Request, name: _Name) -> Response:
        session = console.sessions.officer(request)
        found, people = console.node.contacts.one(_context(session), name)
        reading, fault = reading_of(console.node, found)
        return console.page(
            request,
            "contact.html",
            session,
            contact=_shown(found),
            progress=console.node.contacts.progress(name),
            reading=reading,
            fault=fault,
            people=_PEOPLE.arranged(request, people).shown(_person),
            count=len(people),
            agreed=sum(one.answer is True for one in people),
        )

    @router.get("/contacts/{name}/people.csv")
    def people(request: Request, name: _Name) -> Response:
        session = console.sessions.officer(request, fresh=asked_again(request))
        _, told = console.node.contacts.one(_context(session), name)
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(("twin", "told", "answer"))
        writer.writerows((one.twin, iso(one.at_ms), one.said) for one in told)
        headers = {"content-disposition": f'attachment; filename="contact-{name}.csv"', "cache-control": "no-store"}
        return Response(table.getvalue(), media_type="text/csv", headers=headers)


def _add_decisions(router: APIRouter, console: Console) -> None:
    def context(request: Request, name: str, csrf: str) -> AccessContext:
        session = console.sessions.officer(request, fresh=f"{PAGE}/{name}")
        require_csrf(session, csrf)
        return _context(session)

    @router.post("/contacts/{name}/approve")
    def approve(request: Request, name: _Name, csrf: _Csrf, reason: _Reason) -> Response:
        console.node.contacts.approve(context(request, name, csrf), name, reason)
        return RedirectResponse(f"{PAGE}/{name}", status_code=303)

    @router.post("/contacts/{name}/refuse")
    def refuse(request: Request, name: _Name, csrf: _Csrf, reason: _Reason) -> Response:
        console.node.contacts.refuse(context(request, name, csrf), name, reason)
        return RedirectResponse(f"{PAGE}/{name}", status_code=303)

    @router.post("/contacts/{name}/finish")
    def finish(request: Request, name: _Name, csrf: _Csrf) -> Response:
        console.node.contacts.resume(context(request, name, csrf), name)
        return RedirectResponse(f"{PAGE}/{name}", status_code=303)


def _context(session: Session) -> AccessContext:
    return AccessContext(session.principal, Purpose.COMPLIANCE, detail=(("via", "console"),))


def _is_done(one: ContactRequest) -> bool:
    return one.state is ContactState.REFUSED or bool(one.finished_ms)


def _shown(one: ContactRequest) -> dict[str, Any]:
    said, badge = _STATES[one.state]
    cut_off = one.state is ContactState.APPROVED and not one.finished_ms
    return {
        "name": one.name,
        "title": one.title,
        "vendor": one.vendor,
        "purpose": one.purpose,
        "text": one.text,
        "epoch": one.epoch,
        "proposed": minute(one.proposed_ms),
        "state": gettext(message("approved; patients are being told") if cut_off else said),
        "badge": "warn" if cut_off else badge,
        "is_waiting": one.state is ContactState.WAITING,
        "is_cut_off": cut_off,
        "decided": minute(one.decided_ms) if one.decided_ms else "",
        "decided_by": one.decided_by,
        "carried_by": one.carried_by,
        "reason": one.reason,
        "finished": minute(one.finished_ms) if one.finished_ms else "",
    }


def _person(one: Told) -> dict[str, str]:
    return {"twin": one.twin, "at": minute(one.at_ms), "answer": gettext(_ANSWERS[one.answer])}


_ANSWERS: Final = {None: message("no answer yet"), True: message("yes: pass the contact on"), False: message("no")}
_COLUMNS: Final[tuple[Column[ContactRequest], ...]] = (
    Column(message("Study"), "study", lambda one: one.title),
    Column(message("Company"), "company", lambda one: one.vendor),
    Column(message("Asked"), "asked", lambda one: one.proposed_ms, falls=True),
    Column(message("State"), "state", lambda one: _shown(one)["state"]),
)
_WAITING: Final = Table("waiting", _COLUMNS, several=True)
_DONE: Final = Table("decided", _COLUMNS, several=True)
_PEOPLE: Final = Table[Told](
    "people",
    (
        Column(message("Twin"), "twin", lambda one: one.twin),
        Column(message("Told"), "told", lambda one: one.at_ms, falls=True),
        Column(message("Answer"), "answer", lambda one: gettext(_ANSWERS[one.answer])),
    ),
)
