"""A patient's own pages: who looked at the record, what the patient consents to, and all of it to take along.

No address and no form here names a record: it is the one that an officer tied the account to, or none.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from twinward.access.consent import Provision
from twinward.access.consent_choices import chosen
from twinward.access.interfaces import AccessContext
from twinward.access.sessions import Session
from twinward.api.audit import MAX_INDEX
from twinward.audit.exports import ExportFormat
from twinward.console.exports import KINDS, accesses_file
from twinward.console.own_consents import choices, earlier, kept, would_change
from twinward.console.pages import Console
from twinward.console.sessions import PATH, asked_again, require_csrf, via_of
from twinward.console.viewer import gettext
from twinward.core.vocabulary import Action, Purpose, TwinId
from twinward.node import Node
from twinward.overview.consents import CHANGED, LOOKED, preview_consent
from twinward.overview.log import permit_to_examine
from twinward.overview.own_record import own_accesses, own_bundle, own_relations

PAGE: Final = f"{PATH}/my"
PAGE_ROWS: Final = 25


class _Choice(BaseModel):
    """What a patient chose: of the consents of this version which stay, and which are added."""

    csrf: Annotated[str, Field(max_length=64)]
    version: Annotated[int, Field(ge=0, le=MAX_INDEX)]
    keep: Annotated[list[int], Field(max_length=200)] = []
    add: Annotated[list[str], Field(max_length=50)] = []

    def said(self, node: Node, twin: TwinId) -> tuple[Provision, ...]:
        """The consent it comes to. Raises as ``chosen``."""
        return tuple(chosen(node.access.consent_of(twin), self.version, self.keep, self.add, node.clock.now_ms()))


def add_patient(router: APIRouter, console: Console) -> None:
    """Add the pages and their forms to the pages' router."""
    _add_looks(router, console)
    _add_consents(router, console)
    _add_downloads(router, console)

    @router.get("/my")
    def home(request: Request) -> Response:
        session = console.sessions.patient(request)
        return console.page(request, "my.html", session, tied=session.principal.own_twin is not None)


def _add_looks(router: APIRouter, console: Console) -> None:
    @router.get("/my/accesses")
    def accesses(
        request: Request,
        before: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
        looks: Annotated[str, Query(pattern="^(yes)?$")] = "",
        related: Annotated[str, Query(pattern="^(yes)?$")] = "",
    ) -> Response:
        session, twin = console.sessions.own_record(request)
        node, shows = console.node, looks == "yes"
        permit = permit_to_examine(node.access, _context(request, session), "own accesses", twin)
        account = session.principal.id
        rows, older = own_accesses(
            node, permit, twin, account, before=before, limit=PAGE_ROWS, looks=shows, say=gettext
        )
        why = own_relations(node, twin, rows) if related else {}
        shown = [
            {
                "at": one.at_ms,
                "words": one.words,
                "related": gettext(why[one.index]) if one.index in why else "",
                "times": one.times,
                "since": one.since_ms,
            }
            for one in rows
        ]
        also = "".join(f"&{name}=yes" for name, given in (("looks", looks), ("related", related)) if given)
        page = console.page(
            request,
            "my_accesses.html",
            session,
            rows=shown,
            older=older,
            newest=before is None,
            looks=shows,
            related=related,
            also=also,
        )
        page.headers["cache-control"] = "no-store"
        return page


def _add_consents(router: APIRouter, console: Console) -> None:
    node = console.node

    def page_of(session: Session, request: Request, twin: TwinId, **chosen: Any) -> Response:
        now, now_ms = node.access.consent_of(twin), node.clock.now_ms()
        page = console.page(
            request,
            "my_consents.html",
            session,
            version=now.version,
            kept=kept(now, now_ms),
            choices=choices(now),
            earlier=earlier(node.consents.kept(twin)),
            **chosen,
        )
        page.headers["cache-control"] = "no-store"
        return page

    @router.get("/my/consents")
    def consents(request: Request) -> Response:
        session, twin = console.sessions.own_record(request)
        node.access.decide(_context(request, session, LOOKED).request(Action.CONSENT, twin))
        return page_of(session, request, twin, found=None, keep=None, add=[])

    @router.post("/my/consents/preview")
    def look(request: Request, form: Annotated[_Choice, Form()]) -> Response:
        session, twin = console.sessions.own_record(request)
        require_csrf(session, form.csrf)
        permit = permit_to_examine(node.access, _context(request, session), "own consent preview", twin)
        found = would_change(preview_consent(node, permit, twin, form.said(node, twin)))
        return page_of(session, request, twin, found=found, keep=form.keep, add=form.add)

    @router.post("/my/consents")
    def change(request: Request, form: Annotated[_Choice, Form()]) -> Response:
        session, twin = console.sessions.own_record(request, fresh=f"{PAGE}/consents")
        require_csrf(session, form.csrf)
        node.access.set_consent(_context(request, session, CHANGED), twin, form.said(node, twin))
        return RedirectResponse(f"{PAGE}/consents", status_code=303)


def _add_downloads(router: APIRouter, console: Console) -> None:
    @router.get("/my/downloads")
    def downloads(request: Request) -> Response:
        session, _ = console.sessions.own_record(request)
        return console.page(request, "my_downloads.html", session)

    @router.get("/my/downloads/{form}")
    def in_the_making(request: Request, form: Literal[ExportFormat.PDF, ExportFormat.PROOF]) -> Response:
        session, _ = console.sessions.own_record(request, fresh=asked_again(request))
        file = f"{PAGE}/accesses.{'pdf' if form is ExportFormat.PDF else 'json'}"
        back = f"{PAGE}/downloads"
        heading = gettext("Who looked at my record, to take along")
        return console.page(
            request,
            "export.html",
            session,
            heading=heading,
            file=file,
            kind=KINDS.get(form, ""),
            twin="",
            back=back,
        )

    @router.get("/my/record.json")
    def record(request: Request) -> Response:
        session, twin = console.sessions.own_record(request, fresh=asked_again(request))
        content = own_bundle(console.node, _context(request, session), twin)
        headers = {"content-disposition": 'attachment; filename="my-record.json"', "cache-control": "no-store"}
        return Response(content, media_type="application/fhir+json", headers=headers)

    def report(request: Request, form: ExportFormat) -> Response:
        session, twin = console.sessions.own_record(request, fresh=asked_again(request))
        permit = permit_to_examine(console.node.access, _context(request, session), f"own export {form.value}", twin)
        return accesses_file(console, request, permit, twin, form)

    @router.get("/my/accesses.json")
    def proof(request: Request) -> Response:
        return report(request, ExportFormat.PROOF)

    @router.get("/my/accesses.pdf")
    def on_paper(request: Request) -> Response:
        return report(request, ExportFormat.PDF)


def _context(request: Request, session: Session, *more: tuple[str, str]) -> AccessContext:
    return AccessContext(session.principal, Purpose.PATIENT_REQUEST, detail=(*via_of(request), *more))
