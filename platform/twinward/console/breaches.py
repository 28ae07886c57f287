"""The console's pages of breaches: all cases, and one with its clocks, whom it affects, drafts and timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, RedirectResponse, Response

from twinward.access.interfaces import Permit
from twinward.access.justification import MAX_CHARS
from twinward.access.sessions import Session
from twinward.api.audit import MadeFile, made_in_turn
from twinward.breach.affected import LOGGED, Affected, Subject
from twinward.breach.drafts import places
from twinward.breach.entry import MAX_TEXT_BYTES
from twinward.breach.files import ENDINGS, MEDIA_TYPES, BreachFormat
from twinward.breach.models import DRAFTED, HOUR_MS, MANY, Audience, BreachCase, Outcome, Scope, ScopeKind, Step
from twinward.console.file_stream import Told, streamed, wants_progress
from twinward.console.pages import Console, said
from twinward.console.sessions import PATH, asked_again, require_csrf
from twinward.console.tables import Column, Table
from twinward.console.viewer import field, gettext, instant, message, minute, ngettext
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Role, TwinId
from twinward.overview.breaches import file_of

PAGE = f"{PATH}/breaches"
SHOWN_ENTRIES = 5

_BADGES = {"overdue": "bad", "open": "warn", "told": "good", "closed": "plain"}
_STATES = {
    "overdue": message("authority overdue"),
    "open": message("the 72 hours run"),
    "told": message("authority told"),
    "closed": message("closed"),
}
_KINDS = {
    ScopeKind.ACCOUNT: message("what one account did"),
    ScopeKind.VENDOR: message("what one vendor was told"),
    ScopeKind.PATIENT: message("one patient’s record"),
    ScopeKind.TIME: message("everything between two moments"),
    ScopeKind.KEY: message("a lost key"),
}
_OUTCOMES = {
    Outcome.NOTIFIED: message("the authority was notified"),
    Outcome.NO_RISK: message("unlikely to put anybody at risk"),
    Outcome.NO_BREACH: message("it was no breach"),
}
_FORMS = {
    BreachFormat.PDF: message("Report (PDF)"),
    BreachFormat.CSV: message("Table (CSV)"),
    BreachFormat.PROOFS: message("Proofs (ZIP)"),
}
_HEADINGS = {Audience.AUTHORITY: message("To the authority"), Audience.PATIENTS: message("To the patients")}
_CLOSED: Final = Table[BreachCase](
    "closed",
    (
        Column(message("What"), "what", lambda one: one.title),
        Column(message("Affected"), "affected", lambda one: one.assessment.subjects if one.assessment else None),
        Column(message("Outcome"), "outcome", lambda one: gettext(_OUTCOMES[Outcome(one.outcome)])),
        Column(message("Closed"), "closed", lambda one: one.closed_ms, falls=True),
    ),
    first="-closed",
)
_SUBJECTS: Final = Table[Subject](
    "affected",
    (
        Column(message("Twin"), "twin", lambda one: one.twin),
        Column(message("Accesses"), "accesses", lambda one: len(one.indices), "num", falls=True),
        Column(message("Categories"), "categories", lambda one: ", ".join(sorted(one.categories))),
        Column(message("First and last"), "first", lambda one: one.first_ms or None),
        Column(message("How one knows"), "known", lambda one: int(one.known_by == LOGGED)),
    ),
    first="-accesses",
    several=True,
)
_STEPS: Final = Table[Step](
    "steps",
    (
        Column(message("Log entry"), "entry", lambda one: one.index, "num"),
        Column(message("When"), "when", lambda one: one.at_ms),
        Column(message("Who"), "who", lambda one: one.by),
        Column(message("What"), "what", lambda one: gettext(one.kind)),
    ),
    first="entry",
    several=True,
)
_Name = Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")]
_Text = Annotated[str, Form(max_length=4 * MAX_CHARS)]
_Csrf = Annotated[str, Form(max_length=64)]
_Act = Callable[[Permit], object]


def add_breaches(router: APIRouter, console: Console) -> None:
    """Add the pages and their forms to the pages' router."""
    _add_pages(router, console)
    _add_files(router, console)
    _add_opening(router, console)
    _add_steps(router, console)


def _add_pages(router: APIRouter, console: Console) -> None:
    @router.get("/breaches")
    def cases(request: Request) -> Response:
        session = console.sessions.officer(request)
        node = console.node
        found = node.breaches.all(console.permit(session, "breaches"))
        now_ms = node.clock.now_ms()
        return console.page(
            request,
            "breaches.html",
            session,
            running=[_shown(one, now_ms) for one in found if one.closed_ms is None],
            closed=_CLOSED.arranged(request, (one for one in found if one.closed_ms is not None)).shown(
                lambda one: _shown(one, now_ms)
            ),
            kinds=[(kind.value, gettext(said)) for kind, said in _KINDS.items()],
            vendors=[(one.id, one.name) for one in node.accounts.of_role(Role.VENDOR)],
            now=field(now_ms),
        )

    @router.get("/breaches/{name}")
    def case(request: Request, name: _Name) -> Response:
        session = console.sessions.officer(request)
        permit = console.permit(session, "breach")
        return _case_page(console, request, session, permit, name)

    @router.get("/breaches/{name}/progress")
    def progress(request: Request, name: _Name) -> Response:
        console.sessions.officer(request)  # how far it is shows no event
        now = console.node.breach_counting.standing(name)
        return JSONResponse({"running": now.running, "done": now.done, "of": now.of})


def _add_files(router: APIRouter, console: Console) -> None:
    @router.get("/breaches/{name}/take/{form}")
    def take(request: Request, name: _Name, form: BreachFormat) -> Response:
        session = console.sessions.officer(request, fresh=asked_again(request))  # the file is an access, this is none
        return console.page(
            request,
            "export.html",
            session,
            heading=gettext("Whom a breach affects, to take out"),
            file=f"{PAGE}/{name}/file?form={form.value}",
            kind=gettext(_FORMS[form]),
            twin="",
            back=f"{PAGE}/{name}",
        )

    @router.get("/breaches/{name}/file")
    def file(request: Request, name: _Name, form: BreachFormat) -> Response:
        session = console.sessions.officer(request, fresh=asked_again(request))
        permit = console.permit(session, f"breach export {form.value}")
        case = console.node.breaches.case(permit, name)

        def made(told: Told = lambda _step, _done, _of: None) -> MadeFile:
            with made_in_turn(session.principal.id):
                content = file_of(console.node, permit, case, form, told)
            console.node.access.require(permit.request)
            return MadeFile(f"breach-{name}{ENDINGS[form]}", MEDIA_TYPES[form], content)

        if wants_progress(request):
            return streamed(made, said)
        at_once = made()
        headers = {"Content-Disposition": f'attachment; filename="{at_once.name}"', "Cache-Control": "no-store"}
        return Response(at_once.content, media_type=at_once.media_type, headers=headers)


def _add_opening(router: APIRouter, console: Console) -> None:
    @router.post("/breaches")
    def open_case(
        request: Request,
        title: _Text,
        kind: Annotated[ScopeKind, Form()],
        csrf: _Csrf,
        subject: Annotated[str, Form(max_length=64)] = "",
        since: Annotated[str, Form(max_length=32)] = "",
        until: Annotated[str, Form(max_length=32)] = "",
        aware: Annotated[str, Form(max_length=32)] = "",
    ) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        scope = _scope(kind, subject.strip(), instant(since), instant(until))
        aware_ms = instant(aware) or None
        permit = console.permit(session, "breach")
        opened = console.node.breaches.open(permit, scope, title, aware_ms)
        return RedirectResponse(f"{PAGE}/{opened.name}", status_code=303)


def _add_steps(router: APIRouter, console: Console) -> None:
    def done(request: Request, name: str, csrf: str, act: _Act) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        act(console.permit(session, "breach"))
        return RedirectResponse(f"{PAGE}/{name}", status_code=303)

    @router.post("/breaches/{name}/assess")
    def assess(request: Request, name: _Name, csrf: _Csrf) -> Response:
        return done(request, name, csrf, lambda permit: console.node.breach_counting.ask(permit, name))

    @router.post("/breaches/{name}/draft")
    def draft(
        request: Request,
        name: _Name,
        audience: Annotated[Audience, Form()],
        csrf: _Csrf,
        text: Annotated[str, Form(max_length=MAX_TEXT_BYTES)] = "",
    ) -> Response:
        breaches = console.node.breaches
        return done(request, name, csrf, lambda permit: breaches.draft(permit, name, audience, text or None))

    @router.post("/breaches/{name}/note")
    def note(request: Request, name: _Name, said: _Text, csrf: _Csrf) -> Response:
        return done(request, name, csrf, lambda permit: console.node.breaches.note(permit, name, said))

    @router.post("/breaches/{name}/notify")
    def notify(
        request: Request,
        name: _Name,
        audience: Annotated[Audience, Form()],
        reference: _Text,
        csrf: _Csrf,
        at: Annotated[str, Form(max_length=32)] = "",
        late: Annotated[str, Form(max_length=4 * MAX_CHARS)] = "",
    ) -> Response:
        at_ms, breaches = instant(at) or None, console.node.breaches
        return done(
            request,
            name,
            csrf,
            lambda permit: breaches.notify(permit, name, audience, reference, at_ms=at_ms, late=late),
        )

    @router.post("/breaches/{name}/close")
    def close(
        request: Request, name: _Name, outcome: Annotated[Outcome, Form()], reason: _Text, csrf: _Csrf
    ) -> Response:
        return done(request, name, csrf, lambda permit: console.node.breaches.close(permit, name, outcome, reason))


def _case_page(console: Console, request: Request, session: Session, permit: Permit, name: str) -> Response:
    counting, now_ms = console.node.breach_counting, console.node.clock.now_ms()
    case, found = counting.read(permit, name)
    known = case.assessment
    return console.page(
        request,
        "breach.html",
        session,
        case=_shown(case, now_ms),
        found=_affected(found) if found else None,
        subjects=_SUBJECTS.arranged(request, found.subjects if found else ()).shown(_subject),
        known=known,
        newer=console.node.log.store.size() - known.size if known else 0,
        asked=_asked(case),
        counting=counting.standing(name),
        drafts=[_drafts(case, audience) for audience in DRAFTED],
        notices=[
            {"audience": one.audience.value, "at": minute(one.at_ms), "by": one.by, "reference": one.reference}
            for one in case.notices
        ],
        steps=_STEPS.arranged(request, case.steps).shown(
            lambda one: {
                "index": one.index,
                "at": minute(one.at_ms),
                "by": one.by,
                "kind": gettext(one.kind),
                "say": one.say,
            }
        ),
        many=known is not None and known.subjects >= MANY,
        audiences=[(one.value, gettext(one.value)) for one in Audience],
        forms=[(one.value, gettext(said)) for one, said in _FORMS.items()],
        outcomes=[(one.value, gettext(said)) for one, said in _OUTCOMES.items()],
        now=field(now_ms),
    )


def _shown(case: BreachCase, now_ms: int) -> dict[str, Any]:
    state, left = case.state(now_ms), case.left_ms(now_ms)
    hours = abs(left) // HOUR_MS
    clock = ngettext("{count} hour left", "{count} hours left", hours).format(count=hours)
    if left < 0:
        clock = ngettext("{count} hour too late", "{count} hours too late", hours).format(count=hours)
    return {
        "name": case.name,
        "title": case.title,
        "badge": _BADGES[state],
        "state": gettext(_STATES[state]),
        "is_open": case.is_open,
        "clock": clock if state in ("open", "overdue") else "",
        "share": min(72, max(0, 72 - left / HOUR_MS)),
        "scope": case.scope.sentence(),
        "twin": case.scope.twin or "",
        "account": case.scope.account,
        "opened": minute(case.opened_ms),
        "opened_by": case.opened_by,
        "aware": minute(case.aware_ms),
        "due": minute(case.due_ms),
        "patients_due": minute(case.patients_due_ms),
        "late": left < 0,
        "subjects": case.assessment.subjects if case.assessment else None,
        "outcome": gettext(_OUTCOMES[Outcome(case.outcome)]) if case.outcome else "",
        "reason": case.reason,
        "closed": minute(case.closed_ms) if case.closed_ms is not None else "",
    }


def _affected(found: Affected) -> dict[str, Any]:
    return {
        "size": found.size,
        "count": len(found.subjects),
        "accesses": found.accesses,
        "refused": found.refused,
        "erased": found.erased,
        "others": found.others,
        "categories": found.categories,
    }


def _subject(one: Subject) -> dict[str, Any]:
    return {
        "twin": one.twin,
        "accesses": len(one.indices),
        "categories": ", ".join(sorted(one.categories)),
        "actions": ", ".join(sorted(one.actions)),
        "first": minute(one.first_ms) if one.indices else "",
        "last": minute(one.last_ms) if one.indices else "",
        "altered": one.altered,
        "logged": one.known_by == LOGGED,
        "indices": one.indices[:SHOWN_ENTRIES],
        "further": max(0, len(one.indices) - SHOWN_ENTRIES),
    }


def _asked(case: BreachCase) -> dict[str, Any] | None:
    asked = case.asked if case.is_open else None
    return {"by": asked.by, "at": minute(asked.at_ms), "size": asked.size} if asked else None


def _drafts(case: BreachCase, audience: Audience) -> dict[str, Any]:
    versions = case.drafts_for(audience)
    newest = versions[-1] if versions else None
    return {
        "audience": audience.value,
        "heading": gettext(_HEADINGS[audience]),
        "law": gettext("GDPR article 33")
        if audience is Audience.AUTHORITY
        else gettext("GDPR article 34, HIPAA 164.404"),
        "version": newest.version if newest else 0,
        "by": newest.by if newest else "",
        "at": minute(newest.at_ms) if newest else "",
        "text": newest.text if newest else "",
        "lines": min(40, newest.text.count("\n") + 2) if newest else 0,
        "places": places(newest.text) if newest else [],
        "earlier": [
            {"version": one.version, "at": minute(one.at_ms), "by": one.by, "text": one.text} for one in versions[:-1]
        ],
    }


def _scope(kind: ScopeKind, subject: str, from_ms: int, until_ms: int) -> Scope:
    if kind is ScopeKind.KEY:
        if not (subject.isascii() and subject.isdigit() and len(subject) < 9):
            raise BadInput(message("a key is named by its number"), hint="`twinward keys status` prints them")
        return Scope(kind, kek=int(subject), from_ms=from_ms, until_ms=until_ms)
    if kind is ScopeKind.PATIENT:
        return Scope(kind, twin=TwinId(subject), from_ms=from_ms, until_ms=until_ms)
    return Scope(kind, "" if kind is ScopeKind.TIME else subject, from_ms=from_ms, until_ms=until_ms)
