"""The console's review of accesses: what nothing explains, by risk; a sample beside it; and what officers found."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, RedirectResponse, Response

from twinward.access.justification import MAX_CHARS
from twinward.access.sessions import Session
from twinward.api.audit import MAX_INDEX
from twinward.audit.queries import AccessQuery, day_of
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.console.viewer import decimal, gettext, in_words, message, minute
from twinward.core.errors import BadInput
from twinward.overview.work import REVIEWED_A_DAY
from twinward.review.models import ReviewCase, Verdict, Visit

PAGE: Final = f"{PATH}/reviews"

_VERDICTS: Final = {
    Verdict.SIGNED_OFF.value: Verdict.SIGNED_OFF,
    Verdict.ASKED.value: Verdict.ASKED,
    Verdict.ESCALATED.value: Verdict.ESCALATED,
}
_WORDS: Final = {
    Verdict.SIGNED_OFF: message("signed off"),
    Verdict.ASKED: message("asked"),
    Verdict.ANSWERED: message("answered"),
    Verdict.ESCALATED: message("escalated"),
}


def add_reviews(router: APIRouter, console: Console) -> None:
    """Add the page and its form to the pages' router."""

    @router.get("/reviews")
    def page(request: Request, day: Annotated[str, Query(max_length=10)] = "") -> Response:
        session = console.sessions.officer(request)
        return _page(console, request, session, _day(console, day))

    @router.get("/reviews/progress/{day}")
    def progress(request: Request, day: Annotated[str, InPath(max_length=10)]) -> Response:
        console.sessions.officer(request)  # how far it is shows no event
        now = console.node.examinations.standing(_day(console, day))
        return JSONResponse({"running": now.running, "done": now.done, "of": now.of})

    @router.post("/reviews")
    def examine(
        request: Request,
        day: Annotated[str, Form(max_length=10)],
        csrf: Annotated[str, Form(max_length=64)],
    ) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        asked = _day(console, day)
        console.node.examinations.begin(console.permit(session, f"review of {asked.isoformat()}"), asked)
        return RedirectResponse(f"{PAGE}?day={asked.isoformat()}", status_code=303)

    @router.post("/reviews/{index}")
    def find(
        request: Request,
        index: Annotated[int, InPath(ge=0, le=MAX_INDEX)],
        verdict: Annotated[str, Form(max_length=16)],
        note: Annotated[str, Form(max_length=4 * MAX_CHARS)],
        csrf: Annotated[str, Form(max_length=64)],
        day: Annotated[str, Form(max_length=10)] = "",
    ) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        if verdict not in _VERDICTS:
            raise BadInput(message("a review signs off, asks or escalates"), hint=message("go back and choose one"))
        back = _day(console, day)
        permit = console.permit(session, f"review of {index}")
        console.node.reviews.find(permit, session.principal, index, _VERDICTS[verdict], note)
        return RedirectResponse(f"{PAGE}?day={back.isoformat()}#v-{index}", status_code=303)


def yesterday(console: Console) -> date:
    """The newest day that is over (UTC)."""
    return day_of(console.node.clock.now_ms()) - timedelta(days=1)


def _day(console: Console, written: str) -> date:
    """The day that is asked for; yesterday where none is."""
    asked = AccessQuery.of({"since": written}).since if written else None
    day = asked or yesterday(console)
    if day > day_of(console.node.clock.now_ms()):
        raise BadInput(message("this day has not come yet"), hint=message("choose a day that is over"))
    return day


def _page(console: Console, request: Request, session: Session, day: date) -> Response:
    node = console.node
    permit = console.permit(session, f"review of {day.isoformat()}")
    review, newer = node.examinations.day(permit, day)
    cases = node.reviews.cases() if review else {}
    answered = node.findings.answered()
    suspects = [
        {
            **_visit(one.visit, cases.get(one.visit.index), session),
            "risk": round(100 * one.risk),
            "reasons": [in_words(reason.sentence) for reason in one.reasons],
        }
        for one in (review.suspects[:REVIEWED_A_DAY] if review else ())
    ]
    return console.page(
        request,
        "reviews.html",
        session,
        answers=[_answer(one, session) for one in answered[:REVIEWED_A_DAY]],
        more_answers=max(0, len(answered) - REVIEWED_A_DAY),
        day=day.isoformat(),
        today=day_of(node.clock.now_ms()).isoformat(),
        is_over=day < day_of(node.clock.now_ms()),
        before=(day - timedelta(days=1)).isoformat(),
        after=(day + timedelta(days=1)).isoformat() if day < yesterday(console) else "",
        review=review,
        newer=newer,
        examining=node.examinations.standing(day),
        share=decimal(100 * review.explained_share, 1) if review else "",
        suspects=suspects,
        waiting=sum(not one["closed"] for one in suspects),
        more=max(0, len(review.suspects) - REVIEWED_A_DAY) if review else 0,
        sample=[
            {**_visit(one, cases.get(one.index), session), "why": in_words(why)}
            for one, why in (review.sample if review else ())
        ],
    )


def _visit(visit: Visit, case: ReviewCase | None, session: Session) -> dict[str, Any]:
    categories = sorted({category.value for one in visit.accesses for category in one.categories})
    return {
        "index": visit.index,
        "agent": visit.agent,
        "role": visit.role.value,
        "unit": visit.unit,
        "twin": visit.twin,
        "when": minute(visit.at_ms),
        "count": len(visit.accesses),
        "categories": ", ".join(categories) or gettext("no category"),
        "own": visit.agent == session.principal.id,
        "closed": case is not None and case.is_closed,
        "asked": case is not None and case.question is not None,
        "steps": _steps(case),
    }


def _answer(case: ReviewCase, session: Session) -> dict[str, Any]:
    """A case whose question was answered, of whichever day."""
    return {
        "index": case.index,
        "agent": case.agent,
        "own": case.agent == session.principal.id,
        "closed": case.is_closed,
        "asked": False,
        "steps": _steps(case),
    }


def _steps(case: ReviewCase | None) -> list[dict[str, Any]]:
    return [
        {
            "by": one.by,
            "at": minute(one.at_ms),
            "word": gettext(_WORDS[one.verdict]),
            "verdict": one.verdict.value,
            "note": one.note,
        }
        for one in (case.steps if case else ())
    ]
