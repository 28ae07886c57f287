"""The console's addresses. Pages answer errors with pages; what the script fetches answers errors with JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from twinward.access.errors import SignInRefused, TooManyAttempts
from twinward.access.passwords import MAX_LENGTH
from twinward.api.audit import MAX_INDEX
from twinward.console.accesses import add_accesses
from twinward.console.account import add_account
from twinward.console.accounts import add_accounts
from twinward.console.alerts import add_alerts
from twinward.console.breaches import add_breaches
from twinward.console.confirmation import add_confirmation
from twinward.console.consent_and_policy import add_consent_and_policy
from twinward.console.contacts import add_contacts
from twinward.console.delegations import add_delegations
from twinward.console.devices import PAGE as DEVICES_PAGE
from twinward.console.devices import add_devices
from twinward.console.emergencies import add_emergencies
from twinward.console.erasures import add_erasures
from twinward.console.errors import page_route
from twinward.console.exchange import add_exchange
from twinward.console.exports import add_exports
from twinward.console.hospital_sign_in import add_hospital_sign_in
from twinward.console.invitations import add_invitations
from twinward.console.node_page import add_node_page
from twinward.console.outbreaks import add_outbreaks
from twinward.console.pages import Console, said
from twinward.console.passkeys import add_passkeys
from twinward.console.patient import PAGE as PATIENTS_PAGE
from twinward.console.patient import add_patient
from twinward.console.people import add_people
from twinward.console.preferences_page import add_preferences
from twinward.console.quarantine import add_quarantine
from twinward.console.reviews import add_reviews
from twinward.console.second_factor import add_second_factor
from twinward.console.sessions import PATH, require_csrf, too_many
from twinward.console.studies import add_studies
from twinward.console.things import add_things
from twinward.console.vendor_page import add_vendor_page
from twinward.console.viewer import gettext, message
from twinward.console.ward import PAGE as WARD_PAGE
from twinward.console.ward import add_ward
from twinward.core.errors import NotFound, Refused
from twinward.core.vocabulary import Role
from twinward.node import Node
from twinward.overview.log import consistency_json, inclusion_json

_STATIC = Path(__file__).parent / "static"


def add_console(router: APIRouter, node: Node, *, secure: bool) -> None:
    """The console's routes. ``secure``: its cookies travel over TLS only."""
    console = Console(node, secure=secure)
    pages = APIRouter(prefix=PATH, include_in_schema=False, route_class=page_route(console.problem, console.viewer))
    _add_sign_in(pages, console)
    add_hospital_sign_in(pages, console)
    add_account(pages, console)
    add_second_factor(pages, console)
    add_confirmation(pages, console)
    add_passkeys(pages, console)
    add_accounts(pages, console)
    add_delegations(pages, console)
    add_preferences(pages, console)
    _add_log_pages(pages, console)
    _add_other_pages(pages, console)
    add_emergencies(pages, console)
    add_breaches(pages, console)
    add_erasures(pages, console)
    add_contacts(pages, console)
    add_node_page(pages, console)
    add_vendor_page(pages, console)
    add_accesses(pages, console)
    add_exports(pages, console)
    add_people(pages, console)
    add_reviews(pages, console)
    add_consent_and_policy(pages, console)
    add_patient(pages, console)
    add_invitations(pages, console)
    add_studies(pages, console)
    add_outbreaks(pages, console)
    add_exchange(pages, console)
    add_ward(pages, console)
    add_alerts(pages, console)
    add_devices(pages, console)
    add_things(pages, console)
    add_quarantine(pages, console)
    answers = APIRouter(prefix=PATH, include_in_schema=False)
    _add_proofs(answers, console)
    rest = APIRouter(prefix=PATH, include_in_schema=False, route_class=page_route(console.problem, console.viewer))
    _add_nowhere(rest)

    router.include_router(pages)
    router.include_router(answers)
    router.mount(f"{PATH}/static", StaticFiles(directory=_STATIC), name="console-static")
    router.include_router(rest)  # last: it takes what is left


def _add_sign_in(router: APIRouter, console: Console) -> None:
    @router.get("/sign-in")
    def sign_in_form(request: Request) -> Response:
        return console.sign_in_page(request)

    @router.post("/sign-in")
    def sign_in(
        request: Request,
        account: Annotated[str, Form(max_length=64)],
        password: Annotated[str, Form(max_length=MAX_LENGTH)],
        csrf: Annotated[str, Form(max_length=64)],
    ) -> Response:
        answer = RedirectResponse(PATH, status_code=303)
        try:
            console.sessions.start(request, answer, account, password, csrf)
        except SignInRefused:
            refused = gettext("Account and password do not fit together.")
            return console.sign_in_page(request, refused=refused, account=account, status=401)
        except TooManyAttempts as error:
            return console.sign_in_page(request, refused=too_many(error), account=account, status=429)
        except Refused as error:
            return console.sign_in_page(request, refused=said(error), account=account, status=403)
        return answer


def _add_log_pages(router: APIRouter, console: Console) -> None:
    @router.get("")
    def home(request: Request) -> Response:
        session = console.sessions.person(request)
        if Role.OFFICER not in session.roles:
            return RedirectResponse(_begins(session.roles), status_code=303)
        return console.home(request, console.sessions.officer(request))

    @router.get("/verify")
    def verify(request: Request) -> Response:
        return console.verify(request, console.sessions.officer(request))

    @router.post("/verify")
    def verify_again(request: Request, csrf: Annotated[str, Form(max_length=64)]) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        console.permit(session, "verify")
        console.derivation.begin(console.node.log.store.size())
        return RedirectResponse(f"{PATH}/verify", status_code=303)


def _begins(roles: frozenset[Role]) -> str:
    """Where somebody's own pages begin."""
    if Role.PATIENT in roles:
        return PATIENTS_PAGE
    return WARD_PAGE if Role.CLINICIAN in roles else DEVICES_PAGE


def _add_other_pages(router: APIRouter, console: Console) -> None:
    @router.get("/check")
    def check(request: Request) -> Response:
        return console.check(request, console.sessions.officer(request))

    @router.get("/outside")
    def external_use(request: Request) -> Response:
        return console.external_use(request, console.sessions.officer(request))


def _add_proofs(router: APIRouter, console: Console) -> None:
    @router.get("/proofs/{index}")
    def proof(request: Request, index: Annotated[int, InPath(ge=0, le=MAX_INDEX)]) -> Response:
        console.sessions.officer(request)  # a proof shows no event, so reading one is no access to anybody
        return JSONResponse(inclusion_json(console.node.audit, index))

    @router.get("/verify/progress")
    def progress(request: Request) -> Response:
        console.sessions.officer(request)  # how far it is shows no event, either
        now = console.derivation.now
        return JSONResponse({"running": now.running, "done": now.done, "of": now.of})

    @router.get("/consistency")
    def consistency(
        request: Request,
        old: Annotated[int, Query(ge=1, le=MAX_INDEX)],
        new: Annotated[int | None, Query(ge=1, le=MAX_INDEX)] = None,
    ) -> Response:
        console.sessions.officer(request)
        return JSONResponse(consistency_json(console.node.audit, old, new))


def _add_nowhere(router: APIRouter) -> None:
    @router.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def nowhere() -> Response:
        raise NotFound(message("there is no such page"), hint=message("use the navigation above, or sign in"))
