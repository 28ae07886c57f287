"""The console's page of outbreaks: alerts in force, periods of daily counts, what they cost."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from twinward.access.interfaces import AccessContext
from twinward.console.pages import Console
from twinward.console.sessions import PATH
from twinward.console.viewer import gettext, message
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.outbreak.agreeing import PeriodStanding
    from twinward_contracts.bindings import OutbreakState

PAGE: Final = f"{PATH}/outbreaks"
_STATES = {
    "withdrawn": (message("withdrawn"), "plain"),
    "unpaid": (message("approved, not paid for yet"), "warn"),
    "running": (message("running"), "good"),
    "over": (message("released to the last day"), "plain"),
}


def add_outbreaks(router: APIRouter, console: Console) -> None:
    """Add the page to the pages' router."""

    @router.get("/outbreaks")
    def outbreaks(request: Request) -> Response:
        from twinward.overview.outbreaks import outbreak_standing

        session = console.sessions.officer(request)
        console.permit(session, "outbreaks")
        found = outbreak_standing(console.node, AccessContext(session.principal, Purpose.OPERATIONS))
        return console.page(
            request,
            "outbreaks.html",
            session,
            periods=[_period(one) for one in found.periods],
            alerts=[_alert(one) for one in found.alerts],
            left=found.left,
        )


def _period(one: PeriodStanding) -> dict[str, Any]:
    terms = one.terms
    state = "withdrawn" if not one.approved else "unpaid" if not one.reservation else "running"
    if state == "running" and one.released == terms.days:
        state = "over"
    said, badge = _STATES[state]
    return {
        "name": terms.name,
        "syndromes": ", ".join(terms.syndromes),
        "hospitals": ", ".join(terms.hospitals),
        "first": str(terms.first_day),
        "last": str(terms.last_day),
        "released": one.released,
        "days": terms.days,
        "epsilon": f"{terms.epsilon:g}",
        "cost": terms.cost,
        "officer": one.officer,
        "state": gettext(said),
        "badge": badge,
    }


def _alert(one: OutbreakState) -> dict[str, Any]:
    from twinward.outbreak.alerts import syndrome_word

    return {
        "number": one.number,
        "syndrome": syndrome_word(one.said.syndrome),
        "day": str(date(1970, 1, 1) + timedelta(days=one.said.day)),
        "counted": one.said.counted,
        "expected": round(one.said.expected_milli / 1000),
        "raised": one.raised_at_s * 1000,
    }
