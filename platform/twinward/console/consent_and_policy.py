"""The console's pages of the policy, in sentences and versions, and of one patient's consents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, RedirectResponse, Response

from twinward.access.consent_choices import CHOICES, chosen, offered
from twinward.access.interfaces import AccessContext, Permit
from twinward.access.justification import MAX_CHARS
from twinward.access.policy import Policy
from twinward.access.policy_preview import Preview
from twinward.access.policy_rules import MAX_POLICY_BYTES, Rule, checked, rules, warnings
from twinward.access.policy_store import PolicyVersion, Proposal
from twinward.access.sessions import Session
from twinward.audit.events.wording import PURPOSES
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, in_words, message, minute
from twinward.core.beside import Standing
from twinward.core.errors import TwinwardError
from twinward.core.vocabulary import Category, Purpose, TwinId
from twinward.node import Node
from twinward.overview.consents import ConsentChange, check_effects, preview_consent, provision_sentence, recorded_by
from twinward.overview.policy import preview_of

PAGE = f"{PATH}/policy"
_Csrf = Annotated[str, Form(max_length=64)]
_Name = Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")]
_Reason = Annotated[str, Form(max_length=4 * MAX_CHARS)]
_VERSIONS: Final = Table[PolicyVersion](
    "versions",
    (
        Column(message("Version"), "version", lambda one: one.version, "num", falls=True),
        Column(message("When"), "when", lambda one: one.at_ms if one.version else None, falls=True),
        Column(message("Who"), "who", lambda one: one.proposed_by),
        Column(message("Why"), "why", lambda one: one.reason),
        Column(message("Bring back")),
    ),
)


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
            rules=_rules(newest.text),
            text=newest.text,
            versions=_VERSIONS.arranged(request, store.versions()).shown(_version),
            waiting=waiting,
            most=MAX_POLICY_BYTES,
        )

    @router.get("/policy/{name}/progress")
    def progress(request: Request, name: _Name) -> Response:
        console.sessions.officer(request)  # how far it is shows no event
        found = next((one for one in console.node.policy.proposals() if one.name == name), None)
        now = console.previews.standing(found) if found else Standing()
        return JSONResponse({"running": now.running, "done": now.done, "of": now.of})

    @router.post("/policy/preview")
    def preview(request: Request, text: Annotated[str, Form(max_length=MAX_POLICY_BYTES)], csrf: _Csrf) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        permit = console.permit(session, "policy preview")
        written = text.replace("\r\n", "\n")
        try:
            then = checked(written, console.node.networks.names)
        except TwinwardError as error:
            said = "; ".join(filter(None, map(in_words, error.outside())))
            return console.page(
                request, "policy_preview.html", session, status=400, text=written, refused=said, found=None, doubts=[]
            )
        found = preview_shown(preview_of(console.node, permit, then))
        doubts = warnings(then)
        return console.page(
            request,
            "policy_preview.html",
            session,
            text=written,
            refused="",
            found=found,
            doubts=[in_words(one) for one in doubts],
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
    def consents(
        request: Request,
        twin: Annotated[str, Query(max_length=36)] = "",
        keep: Annotated[list[int], Query(max_length=200)] = [],  # noqa: B006 - FastAPI copies it
        add: Annotated[list[str], Query(max_length=50)] = [],  # noqa: B006 - FastAPI copies it
        version: Annotated[int, Query(ge=-1, le=10**9)] = -1,
    ) -> Response:
        session, name = console.sessions.officer(request), TwinId(twin.strip())
        permit = console.permit(session, "consents", name or None)
        kept = console.node.consents.kept(name) if name else []
        by = recorded_by(console.node, permit, name) if kept else {}
        versions = [
            {
                "version": one.consent.version,
                "at": minute(one.at_ms),
                "by": by.get(one.consent.version, gettext("the node")),
                "provisions": [provision_sentence(each) for each in one.consent.provisions],
            }
            for one in kept
        ]
        effects = check_effects(console.node, name) if name else []
        then, found = None, None
        if name and version >= 0:
            now = console.node.access.consent_of(name)
            said = chosen(now, version, keep, add, console.node.clock.now_ms())
            found = consent_change(preview_consent(console.node, permit, name, said))
        if name:
            then = thought_of(console.node, name, keep if found else None, add)
        return console.page(
            request,
            "consents.html",
            session,
            twin=name,
            versions=versions,
            effects=effects,
            then=then,
            found=found,
        )


def _rules(text: str) -> list[dict[str, Any]]:
    return [_rule(one) for one in rules(text)]


def _rule(one: Rule) -> dict[str, Any]:
    """In the viewer's words, where it is one of those that come with Twinward; else in its author's."""
    return {"name": one.name, "permits": one.permits, "sentence": gettext(one.sentence), "scene": in_words(one.scene)}


def thought_of(node: Node, twin: TwinId, keep: Sequence[int] | None, add: Sequence[str]) -> dict[str, Any]:
    """What may be chosen for another consent, and what is chosen of it; ``keep`` None for all that stands."""
    now = node.access.consent_of(twin)
    return {
        "version": now.version,
        "kept": [
            {"place": place, "say": provision_sentence(one), "chosen": keep is None or place in keep}
            for place, one in enumerate(now.provisions)
        ],
        "offered": [
            {"name": name, "say": provision_sentence(CHOICES[name]), "chosen": name in add} for name in offered(now)
        ],
    }


def consent_change(found: ConsentChange) -> dict[str, Any]:
    """What another consent would change, for a page."""
    return {
        "effects": [
            {"who": in_words(one.who), "gained": _named(one.gained), "lost": _named(one.lost)} for one in found.effects
        ],
        "decisions": preview_shown(found.decisions),
    }


def _named(categories: Sequence[Category]) -> str:
    return ", ".join(one.value for one in categories)


def _version(one: PolicyVersion) -> dict[str, Any]:
    return {
        "version": one.version,
        "sha256": one.sha256,
        "at": minute(one.at_ms) if one.version else "",
        "proposed_by": one.proposed_by,
        "approved_by": one.approved_by,
        "reason": one.reason if one.version else gettext(one.reason),
        "restores": one.restores,
    }


def _proposal(console: Console, session: Session, permit: Permit, one: Proposal) -> dict[str, Any]:
    then = Policy(one.text)  # checked when it was proposed, and again by whoever approves it
    present = {rule.name: rule for rule in rules(console.node.policy.current().text)}
    new = {rule.name: rule for rule in rules(one.text)}
    looked = console.previews.of(permit, one, then)
    return {
        "name": one.name,
        "by": one.proposed_by,
        "own": one.proposed_by == session.principal.id,
        "stale": one.base != console.node.policy.current().hash,
        "at": minute(one.at_ms),
        "reason": one.reason,
        "restores": one.restores,
        "added": [_rule(rule) for name, rule in new.items() if name not in present],
        "removed": [_rule(rule) for name, rule in present.items() if name not in new],
        "text": one.text,
        "doubts": [in_words(one) for one in warnings(then)],
        "found": preview_shown(looked.found) if looked else None,
        "looked": minute(looked.at_ms) if looked else "",
        "looking": console.previews.standing(one),
    }


def preview_shown(found: Preview) -> dict[str, Any]:
    """Decisions that would come out otherwise, for a page."""
    return {
        "looked_at": found.looked_at,
        "unknown": found.unknown,
        "placeless": found.placeless,
        "changed": found.changed,
        "differences": [
            {
                "who": one.role,
                "action": one.action,
                "why": gettext(PURPOSES[Purpose(one.purpose)]),
                "then": one.then,
                "reason": one.then_reason,
                "count": one.count,
                "examples": one.examples,
            }
            for one in found.differences
        ],
    }
