"""The console's pages of the policy, in sentences and versions, and of one patient's consents."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response

from twinward.access.interfaces import AccessContext, Permit
from twinward.access.justification import MAX_CHARS
from twinward.access.policy_preview import Preview
from twinward.access.policy_rules import MAX_POLICY_BYTES, checked, rules, warnings
from twinward.access.policy_store import PolicyVersion, Proposal
from twinward.access.sessions import Session
from twinward.audit.events.wording import PURPOSES
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.core.clock import iso
from twinward.core.errors import TwinwardError
from twinward.core.vocabulary import Purpose, TwinId
from twinward.overview.consents import check_effects, provision_sentence, recorded_by
from twinward.overview.policy import preview_of

PAGE = f"{PATH}/policy"
_Csrf = Annotated[str, Form(max_length=64)]
_Name = Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")]
_Reason = Annotated[str, Form(max_length=4 * MAX_CHARS)]


def add_consent_and_policy(router: APIRouter, console: Console) -> None:
    """Add the pages and their forms to the pages' router."""
    _add_policy(router, console)
    _add_changes(router, console)
    _add_consents(router, console)


def _add_policy(router: APIRouter, console: Console) -> None:
    @router.get("/policy")
    def policy(request: Request) -> Response:
        session = console.sessions.officer(request)
        permit = console.permit(session, "policy")
        store = console.node.policy
        newest = store.newest()
        waiting = [_proposal(console, session, permit, one) for one in store.proposals()]
        return console.page(
            request,
            "policy.html",
            session,
            newest=_version(newest),
            rules=rules(newest.text),
            text=newest.text,
            versions=[_version(one) for one in store.versions()],
            waiting=waiting,
            most=MAX_POLICY_BYTES,
        )

    @router.post("/policy/preview")
    def preview(request: Request, text: Annotated[str, Form(max_length=MAX_POLICY_BYTES)], csrf: _Csrf) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        permit = console.permit(session, "policy preview")
        written = text.replace("\r\n", "\n")
        try:
            then = checked(written)
        except TwinwardError as error:
            said = " ".join(filter(None, error.outside()))
            return console.page(
                request, "policy_preview.html", session, status=400, text=written, refused=said, found=None, doubts=[]
            )
        found = _preview(preview_of(console.node, permit, then))
        doubts = warnings(then)
        return console.page(
            request, "policy_preview.html", session, text=written, refused="", found=found, doubts=doubts
        )


def _add_changes(router: APIRouter, console: Console) -> None:
    def asked(request: Request, csrf: str, *, fresh: str = "") -> AccessContext:
        session = console.sessions.officer(request, fresh=fresh)
        require_csrf(session, csrf)
        return AccessContext(session.principal, Purpose.COMPLIANCE, detail=(("via", "console"),))

    @router.post("/policy/propose")
    def propose(
        request: Request, text: Annotated[str, Form(max_length=MAX_POLICY_BYTES)], reason: _Reason, csrf: _Csrf
    ) -> Response:
        console.node.policy_desk.propose(asked(request, csrf), text, reason)
        return RedirectResponse(PAGE, status_code=303)

    @router.post("/policy/restore")
    def restore(
        request: Request, version: Annotated[int, Form(ge=0, le=1_000_000)], reason: _Reason, csrf: _Csrf
    ) -> Response:
        console.node.policy_desk.restore(asked(request, csrf), version, reason)
        return RedirectResponse(PAGE, status_code=303)

    @router.post("/policy/{name}/approve")
    def approve(request: Request, name: _Name, csrf: _Csrf) -> Response:
        console.node.policy_desk.approve(asked(request, csrf, fresh=PAGE), name)
        return RedirectResponse(PAGE, status_code=303)

    @router.post("/policy/{name}/withdraw")
    def withdraw(request: Request, name: _Name, csrf: _Csrf) -> Response:
        console.node.policy_desk.withdraw(asked(request, csrf), name)
        return RedirectResponse(PAGE, status_code=303)


def _add_consents(router: APIRouter, console: Console) -> None:
    @router.get("/consents")
    def consents(request: Request, twin: Annotated[str, Query(max_length=36)] = "") -> Response:
        session, name = console.sessions.officer(request), TwinId(twin.strip())
        permit = console.permit(session, "consents", name or None)
        kept = console.node.consents.kept(name) if name else []
        by = recorded_by(console.node, permit, name) if kept else {}
        versions = [
            {
                "version": one.consent.version,
                "at": _minute(one.at_ms),
                "by": by.get(one.consent.version, "the node"),
                "provisions": [provision_sentence(each) for each in one.consent.provisions],
            }
            for one in kept
        ]
        effects = check_effects(console.node, name) if name else []
        return console.page(request, "consents.html", session, twin=name, versions=versions, effects=effects)


def _version(one: PolicyVersion) -> dict[str, Any]:
    return {
        "version": one.version,
        "sha256": one.sha256,
        "at": _minute(one.at_ms) if one.version else "",
        "proposed_by": one.proposed_by,
        "approved_by": one.approved_by,
        "reason": one.reason,
        "restores": one.restores,
    }


def _proposal(console: Console, session: Session, permit: Permit, one: Proposal) -> dict[str, Any]:
    then = checked(one.text)
    present = {rule.name: rule for rule in rules(console.node.policy.current().text)}
    new = {rule.name: rule for rule in rules(one.text)}
    return {
        "name": one.name,
        "by": one.proposed_by,
        "own": one.proposed_by == session.principal.id,
        "stale": one.base != console.node.policy.current().hash,
        "at": _minute(one.at_ms),
        "reason": one.reason,
        "restores": one.restores,
        "added": [rule for name, rule in new.items() if name not in present],
        "removed": [rule for name, rule in present.items() if name not in new],
        "text": one.text,
        "doubts": warnings(then),
        "found": _preview(preview_of(console.node, permit, then)),
    }


def _preview(found: Preview) -> dict[str, Any]:
    return {
        "looked_at": found.looked_at,
        "unknown": found.unknown,
        "changed": found.changed,
        "differences": [
            {
                "who": one.role,
                "action": one.action,
                "why": PURPOSES[Purpose(one.purpose)],
                "then": one.then,
                "reason": one.then_reason,
                "count": one.count,
                "examples": one.examples,
            }
            for one in found.differences
        ],
    }


def _minute(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")
