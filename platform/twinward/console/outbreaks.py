"""The console's page of outbreaks: alerts in force, forecasts, periods of daily counts, their cost; approving one.

An invitation is pasted, read in plain words, and approved from there; nothing of it is kept before it is approved.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from twinward.access.interfaces import AccessContext
from twinward.access.justification import MAX_CHARS
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, message
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.outbreak.agreeing import PeriodStanding
    from twinward.outbreak.agreement import PeriodTerms
    from twinward_contracts.bindings import OutbreakState

PAGE: Final = f"{PATH}/outbreaks"
MOST_BYTES: Final = 256 << 10
"""The longest invitation (``federation.signed_json.MAX_BYTES``, which is loaded with studies)."""

_Invitation = Annotated[str, Form(max_length=MOST_BYTES)]
_Reason = Annotated[str, Form(max_length=4 * MAX_CHARS)]
_Csrf = Annotated[str, Form(max_length=64)]
_Period = Annotated[str, Form(pattern=r"^[0-9a-f]{64}$")]
_STATES = {
    "withdrawn": (message("withdrawn"), "plain"),
    "unpaid": (message("approved, not paid for yet"), "warn"),
    "running": (message("running"), "good"),
    "over": (message("released to the last day"), "plain"),
    "elsewhere": (message("agreed on code lists of another release: nothing more is released"), "warn"),
}


def add_outbreaks(router: APIRouter, console: Console) -> None:
    """Add the page and its forms to the pages' router."""
    _add_page(router, console)
    _add_decisions(router, console)


def _add_page(router: APIRouter, console: Console) -> None:
    @router.get("/outbreaks")
    def outbreaks(request: Request) -> Response:
        from twinward.console.outbreak_forecasts import AHEAD, shown_forecast
        from twinward.overview.outbreaks import forecasts_of, outbreak_standing

        session = console.sessions.officer(request)
        console.permit(session, "outbreaks")
        found = outbreak_standing(console.node, AccessContext(session.principal, Purpose.OPERATIONS))
        return console.page(
            request,
            "outbreaks.html",
            session,
            periods=_PERIODS.arranged(request, found.periods).shown(_period),
            alerts=_ALERTS.arranged(request, found.alerts).shown(_alert),
            left=found.left,
            forecasts=[shown_forecast(one) for one in forecasts_of(console.node, AHEAD)],
            most=MOST_BYTES,
        )

    @router.post("/outbreaks/invitation")
    def invitation(request: Request, invitation: _Invitation, csrf: _Csrf) -> Response:
        from twinward.node.outbreak_releases import invited_period

        session = console.sessions.officer(request, fresh=PAGE)
        require_csrf(session, csrf)
        console.permit(session, "outbreak invitation")
        text = _file(invitation)
        asked, left = invited_period(console.node, text, AccessContext(session.principal, Purpose.COMPLIANCE))
        return console.page(
            request,
            "outbreak_invitation.html",
            session,
            text=text.decode(),
            period=_terms(asked.terms),
            coordinator=asked.coordinator,
            keys=[
                (name, key.hex(), name == console.node.settings.tenant) for name, key in sorted(asked.roster.items())
            ],
            left=left,
            enough=asked.terms.cost <= left,
        )


_NO_REASON = message("a decision on daily counts has a reason")


def _add_decisions(router: APIRouter, console: Console) -> None:
    @router.post("/outbreaks/approve")
    def approve(request: Request, invitation: _Invitation, reason: _Reason, csrf: _Csrf) -> Response:
        from twinward.node.outbreak_releases import releases_of
        from twinward.outbreak.agreement import PeriodInvitation

        by, tenant = console.decider(request, csrf, reason, _NO_REASON, fresh=PAGE), console.node.settings.tenant
        text = _file(invitation)
        name = PeriodInvitation.parse(text).terms.name
        with releases_of(console.node, tenant, by) as (releases, known_as):
            content = releases.approve(known_as, text)
        file = f"{name}.{tenant}.approval.json"
        headers = {"content-disposition": f'attachment; filename="{file}"', "cache-control": "no-store"}
        return Response(content, media_type="application/json", headers=headers)

    @router.post("/outbreaks/withdraw")
    def withdraw(request: Request, period: _Period, reason: _Reason, csrf: _Csrf) -> Response:
        from twinward.node.outbreak_releases import releases_of

        by = console.decider(request, csrf, reason, _NO_REASON)
        with releases_of(console.node, console.node.settings.tenant, by) as (releases, known_as):
            releases.withdraw(known_as, releases.invitation_of(bytes.fromhex(period)))
        return RedirectResponse(PAGE, status_code=303)


def _file(pasted: str) -> bytes:
    """The invitation's file as it was before a browser sent it."""
    return pasted.replace("\r\n", "\n").strip().encode() + b"\n"


def _terms(terms: PeriodTerms) -> dict[str, Any]:
    return {
        "fingerprint": terms.fingerprint().hex(),
        "name": terms.name,
        "syndromes": ", ".join(terms.syndromes),
        "hospitals": ", ".join(terms.hospitals),
        "first": str(terms.first_day),
        "last": str(terms.last_day),
        "days": terms.days,
        "epsilon": f"{terms.epsilon:g}",
        "delta": f"{terms.delta:g}",
        "honest": terms.honest,
        "cost": terms.cost,
    }


def _period(one: PeriodStanding) -> dict[str, Any]:
    terms = one.terms
    state = "withdrawn" if not one.approved else "unpaid" if not one.reservation else "running"
    if one.approved and one.released == terms.days:
        state = "over"
    elif one.approved and not terms.is_counted_here:
        state = "elsewhere"
    said, badge = _STATES[state]
    return _terms(terms) | {
        "released": one.released,
        "approved": one.approved,
        "officer": one.officer,
        "state": gettext(said),
        "badge": badge,
    }


_ALERTS: Final = Table["OutbreakState"](
    "alerts",
    (
        Column(message("Number"), "number", lambda one: one.number, "num", falls=True),
        Column(message("Syndrome"), "syndrome", lambda one: str(_alert(one)["syndrome"])),
        Column(message("Day"), "day", lambda one: one.said.day, falls=True),
        Column(message("Counted"), "counted", lambda one: one.said.counted, "num", falls=True),
        Column(message("Expected"), "expected", lambda one: one.said.expected_milli, "num", falls=True),
        Column(message("Raised"), "raised", lambda one: one.raised_at_s, falls=True),
    ),
    several=True,
)
_PERIODS: Final = Table["PeriodStanding"](
    "periods",
    (
        Column(message("Period"), "period", lambda one: one.terms.name),
        Column(message("Counts"), "counts", lambda one: ", ".join(one.terms.syndromes)),
        Column(message("Days"), "days", lambda one: str(one.terms.first_day), falls=True),
        Column(message("Released"), "released", lambda one: one.released, "num", falls=True),
        Column("ε", "epsilon", lambda one: one.terms.epsilon, "num symbol", falls=True),
        Column(message("Cost"), "cost", lambda one: one.terms.cost, "num", falls=True),
        Column(message("Stands"), "stands", lambda one: _period(one)["state"]),
    ),
    several=True,
)


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
