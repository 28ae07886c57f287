"""The console's addresses. Pages answer errors with pages; what the script fetches answers errors with JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Form, Query, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from twinward.access.errors import SignInRefused
from twinward.api.audit import MAX_INDEX, proof_json
from twinward.audit.export_format import ExportFormat
from twinward.console import facts
from twinward.console.errors import page_route
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.errors import NotFound, Refused
from twinward.node import Node
from twinward.vocabulary import TwinId

_STATIC = Path(__file__).parent / "static"


def mount(app: FastAPI, node: Node) -> None:
    """Put the console onto a node's app, under ``/console``."""
    console = Console(node)
    pages = APIRouter(prefix=PATH, include_in_schema=False, route_class=page_route(console.problem))
    _sign_in_routes(pages, console)
    _page_routes(pages, console)
    answers = APIRouter(prefix=PATH, include_in_schema=False)
    _proof_routes(answers, console)
    rest = APIRouter(prefix=PATH, include_in_schema=False, route_class=page_route(console.problem))
    _nowhere(rest)

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        return RedirectResponse(PATH, status_code=303)

    app.include_router(pages)
    app.include_router(answers)
    app.mount(f"{PATH}/static", StaticFiles(directory=_STATIC), name="console-static")
    app.include_router(rest)  # last: it takes what is left


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
            refused = "Too many attempts. Wait a minute, then try again."
            return console.sign_in_page(request, refused=refused, account=account, status=429)
        answer = RedirectResponse(PATH, status_code=303)
        try:
            console.sessions.require_form(request, csrf)
            console.sessions.start(request, answer, account, password)
        except SignInRefused:
            refused = "Account and password do not fit together."
            return console.sign_in_page(request, refused=refused, account=account, status=401)
        except Refused as error:
            message = str(error)[:1].upper() + str(error)[1:]
            return console.sign_in_page(request, refused=f"{message}: {error.hint}.", account=account, status=403)
        return answer

    @router.post("/sign-out")
    def sign_out(request: Request, csrf: Annotated[str, Form(max_length=64)]) -> Response:
        require_csrf(console.sessions.officer(request), csrf)
        answer = RedirectResponse(f"{PATH}/sign-in", status_code=303)
        console.sessions.end(request, answer)
        return answer


def _page_routes(router: APIRouter, console: Console) -> None:
    @router.get("")
    def home(request: Request) -> Response:
        return console.home(request, console.sessions.officer(request))

    @router.get("/accesses")
    def accesses(
        request: Request,
        before: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
        decision: Annotated[str, Query(max_length=16)] = "",
        action: Annotated[str, Query(max_length=32)] = "",
        agent: Annotated[str, Query(max_length=64)] = "",
        twin: Annotated[str, Query(max_length=36)] = "",
    ) -> Response:
        session = console.sessions.officer(request)
        chosen = {"decision": decision, "action": action, "agent": agent.strip(), "twin": twin.strip()}
        return console.accesses(request, session, before, chosen)

    @router.get("/verify")
    def verify(request: Request) -> Response:
        return console.verify(request, console.sessions.officer(request))

    @router.get("/check")
    def check(request: Request) -> Response:
        return console.check(request, console.sessions.officer(request))

    @router.get("/exports/{twin}")
    def export(
        request: Request,
        twin: Annotated[str, InPath(min_length=1, max_length=36)],
        form: Annotated[ExportFormat, Query(alias="format")],
    ) -> Response:
        return console.export(console.sessions.officer(request), TwinId(twin), form)

    @router.get("/outside")
    def outside(request: Request) -> Response:
        return console.outside(request, console.sessions.officer(request))


def _proof_routes(router: APIRouter, console: Console) -> None:
    @router.get("/proofs/{index}")
    def proof(request: Request, index: Annotated[int, InPath(ge=0, le=MAX_INDEX)]) -> Response:
        console.sessions.officer(request)  # a proof shows no event, so reading one is no access to anybody
        return JSONResponse(proof_json(console.node.audit, index))

    @router.get("/consistency")
    def consistency(
        request: Request,
        old: Annotated[int, Query(ge=1, le=MAX_INDEX)],
        new: Annotated[int | None, Query(ge=1, le=MAX_INDEX)] = None,
    ) -> Response:
        console.sessions.officer(request)
        return JSONResponse(facts.consistency(console.node, old, new))


def _nowhere(router: APIRouter) -> None:
    @router.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def nowhere() -> Response:
        raise NotFound("there is no such page", hint="use the navigation above, or sign in")
