"""The console's pages. Each is an access of its own and stands in the log it shows."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.staticfiles import StaticFiles

from twinward.access.accounts import Session
from twinward.access.errors import SignInRefused
from twinward.api.audit import MAX_INDEX, officer_permit, proof_json
from twinward.api.guard import SignInBrake
from twinward.audit.errors import LogTampered
from twinward.audit.reader import AuditRow, Filters
from twinward.audit.service import verify_all
from twinward.clock import iso
from twinward.console import charts, facts
from twinward.console.sessions import PATH, Sessions, require_csrf
from twinward.console.wording import PURPOSES, row_sentence
from twinward.errors import BadInput, TwinwardError
from twinward.node import Node
from twinward.vocabulary import Action, TwinId

PAGE_ROWS = 50
CHART_EVENTS = 500
_TEMPLATES = Environment(loader=PackageLoader("twinward.console"), autoescape=True, undefined=StrictUndefined)


class Console:
    """The pages of one node's console."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.sessions = Sessions(node.accounts, node.settings.secure_cookies)
        self.brake = SignInBrake(node.clock)

    def page(
        self, request: Request, name: str, session: Session | None, *, status: int = 200, **shown: Any
    ) -> Response:
        """Render a template with what every page shows."""
        html = _TEMPLATES.get_template(name).render(
            hospital=self.node.settings.hospital,
            origin=self.node.log.origin,
            log_key=base64.b64encode(self.node.log.key.public_key).decode(),
            path=request.url.path,
            session=session,
            **shown,
        )
        return HTMLResponse(html, status_code=status)

    def sign_in_page(self, request: Request, *, refused: str = "", status: int = 200) -> Response:
        """The sign-in form."""
        token = self.sessions.new_form()
        page = self.page(request, "sign_in.html", None, status=status, csrf=token, refused=refused)
        self.sessions.bind_form(page, token)
        return page

    def home(self, request: Request, session: Session) -> Response:
        """One traffic light, what it rests on, and two charts."""
        node = self.node
        permit = officer_permit(node.access, session.principal, "home")
        page = node.audit_reader.events(permit, limit=CHART_EVENTS)
        status = node.audit.status()
        events = [row.event for row in page.rows if row.event is not None]
        seen_size, seen_at_ms = node.accounts.visit(session.principal.id, status.signed_size)
        latest = node.log.latest()
        return self.page(
            request,
            "home.html",
            session,
            lamp=facts.lamp(status, page.rows),
            facts=facts.facts(status, seen_size=seen_size, seen_at_ms=seen_at_ms),
            chart={"total": len(events), "timeline": charts.timeline(events), "roles": charts.by_role(events)},
            checkpoint=latest[1].encode().decode() if latest else "",
        )

    def accesses(self, request: Request, session: Session, before: int | None, chosen: dict[str, str]) -> Response:
        """The table of accesses, a page at a time."""
        node = self.node
        permit = officer_permit(node.access, session.principal, "accesses")
        page = node.audit_reader.events(permit, before=before, limit=PAGE_ROWS, filters=_filters(chosen))
        status = node.audit.status()
        query = {name: value for name, value in chosen.items() if value}
        older = f"{PATH}/accesses?{urlencode(query | {'before': page.before})}" if page.before else ""
        newer = f"{PATH}/accesses?{urlencode(query)}" if before is not None else ""
        return self.page(
            request,
            "accesses.html",
            session,
            rows=[_shown(row) for row in page.rows],
            size=status.size,
            signed_size=status.signed_size,
            filters=chosen,
            actions=[action.value for action in Action],
            older=older,
            newer=newer,
        )

    def verify(self, request: Request, session: Session) -> Response:
        """Re-derive the whole log and say what was compared."""
        node = self.node
        officer_permit(node.access, session.principal, "verify")
        try:
            report = node.audit.verify()
            shown = facts.sound(report)
        except LogTampered as error:
            shown = facts.tampered(error)
        latest = node.log.latest()
        signed = dict(verify_all(latest[1].encode(), node.audit.anchorer)) if latest else {}
        witnesses = [
            {"name": peer.key.name, "signed": peer.key.name in signed, "key": str(peer.key)} for peer in node.witnesses
        ]
        return self.page(request, "verify.html", session, report=shown, witnesses=witnesses)

    def outside(self, request: Request, session: Session) -> Response:
        """Vendors' budgets and registered models, from the chain."""
        node = self.node
        officer_permit(node.access, session.principal, "outside")
        epoch, vendors = facts.vendors(node)
        return self.page(request, "outside.html", session, epoch=epoch, vendors=vendors, models=facts.models(node))


def mount(app: FastAPI, node: Node) -> None:
    """Put the console onto a node's app, under ``/console``."""
    console = Console(node)
    router = APIRouter(prefix=PATH, include_in_schema=False)
    _sign_in_routes(router, console)
    _page_routes(router, console)
    app.include_router(router)
    app.mount(f"{PATH}/static", StaticFiles(directory=Path(__file__).parent / "static"), name="console-static")

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        return RedirectResponse(PATH, status_code=303)


def _sign_in_routes(router: APIRouter, console: Console) -> None:
    @router.get("/sign-in")
    def sign_in_form(request: Request) -> Response:
        return console.sign_in_page(request)

    @router.post("/sign-in")
    def sign_in(
        request: Request,
        account: Annotated[str, Form(max_length=64)],
        password: Annotated[str, Form(max_length=200)],
        csrf: Annotated[str, Form(max_length=64)],
    ) -> Response:
        client = request.client.host if request.client else "unknown"
        if not console.brake.admit(client):
            return console.sign_in_page(request, refused="Too many attempts. Wait a minute.", status=429)
        answer = RedirectResponse(PATH, status_code=303)
        try:
            console.sessions.require_form(request, csrf)
            console.sessions.start(answer, account, password)
        except SignInRefused as error:
            return console.sign_in_page(request, refused=str(error).capitalize() + ".", status=401)
        except TwinwardError as error:
            return console.sign_in_page(
                request, refused=f"{error}. {error.hint}".capitalize(), status=error.http_status
            )
        return answer

    @router.post("/sign-out")
    def sign_out(request: Request, csrf: Annotated[str, Form(max_length=64)]) -> Response:
        answer = RedirectResponse(f"{PATH}/sign-in", status_code=303)
        try:
            require_csrf(console.sessions.officer(request), csrf)
        except SignInRefused:
            return answer
        console.sessions.end(request, answer)
        return answer


def _page_routes(router: APIRouter, console: Console) -> None:
    @router.get("")
    def home(request: Request) -> Response:
        return _guarded(console, request, lambda session: console.home(request, session))

    @router.get("/accesses")
    def accesses(
        request: Request,
        before: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
        decision: Annotated[str, Query(max_length=16)] = "",
        action: Annotated[str, Query(max_length=32)] = "",
        agent: Annotated[str, Query(max_length=64)] = "",
        twin: Annotated[str, Query(max_length=36)] = "",
    ) -> Response:
        chosen = {"decision": decision, "action": action, "agent": agent, "twin": twin}
        return _guarded(console, request, lambda session: console.accesses(request, session, before, chosen))

    @router.get("/verify")
    def verify(request: Request) -> Response:
        return _guarded(console, request, lambda session: console.verify(request, session))

    @router.get("/outside")
    def outside(request: Request) -> Response:
        return _guarded(console, request, lambda session: console.outside(request, session))

    @router.get("/proofs/{index}")
    def proof(request: Request, index: int) -> Response:
        console.sessions.officer(request)  # a proof shows no event, so reading one is no access to anybody
        return JSONResponse(proof_json(console.node.audit, index))

    @router.get("/consistency")
    def consistency(request: Request, old: Annotated[int, Query(ge=1, le=MAX_INDEX)]) -> Response:
        console.sessions.officer(request)
        return JSONResponse(facts.consistency(console.node, old))


def _guarded(console: Console, request: Request, render: Any) -> Response:
    """A page for the signed-in officer; others are sent to sign in, errors become a page."""
    session: Session | None = None
    try:
        session = console.sessions.officer(request)
        answer: Response = render(session)
        return answer
    except SignInRefused:
        return RedirectResponse(f"{PATH}/sign-in", status_code=303)
    except TwinwardError as error:
        message = str(error)[:1].upper() + str(error)[1:]
        return console.page(
            request,
            "problem.html",
            session,
            status=error.http_status,
            message=message,
            hint=error.hint,
        )


def _filters(chosen: dict[str, str]) -> Filters:
    if chosen["decision"] not in ("", "permit", "deny"):
        raise BadInput("a decision is permit or deny")
    try:
        action = Action(chosen["action"]) if chosen["action"] else None
    except ValueError:
        raise BadInput("there is no such action") from None
    return Filters(
        twin=TwinId(chosen["twin"]) if chosen["twin"] else None,
        agent=chosen["agent"] or None,
        action=action,
        decision=chosen["decision"] or None,
    )


def _shown(row: AuditRow) -> dict[str, Any]:
    event = row.event
    return {
        "index": row.index,
        "at": iso(event.at_ms)[:19].replace("T", " ") if event else iso(row.minute_ms)[:16].replace("T", " "),
        "sentence": row_sentence(row),
        "reason": _reason(row),
        "twin": (event.twin or "") if event else "",
        "purpose": PURPOSES[event.purpose] if event else "",
        "consent": f"v{event.consent_version}" if event and event.consent_version else "",
        "decision": event.decision if event else row.state.value,
    }


def _reason(row: AuditRow) -> str:
    if row.event is None:
        return ""
    said = dict(row.event.detail).get("justification", "")
    return f"{row.event.reason}. Justification: {said}" if said else row.event.reason
