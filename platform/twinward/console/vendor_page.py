"""The console's page of one vendor: what it asked, what is left to it, and what it could have learnt, in words."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import Response

from twinward.console import plots
from twinward.console.pages import Console
from twinward.console.sessions import PATH
from twinward.core.clock import iso
from twinward.core.config import Settings
from twinward.overview.vendors import Learnt, Spending, vendor_report

PAGE: Final = f"{PATH}/outside"
_MODES: Final = {
    "gated": "similarity queries, opened by the gate",
    "vendor-key": "similarity queries under the vendor’s own key",
    "matrix": "similarity queries by an outsourced index",
    "feasibility": "counts under hidden criteria",
}


def add_vendor_page(router: APIRouter, console: Console) -> None:
    """Add the page to the pages' router."""

    @router.get("/outside/{vendor}")
    def page(request: Request, vendor: Annotated[str, InPath(max_length=64)]) -> Response:
        session = console.sessions.officer(request)
        report = vendor_report(console.node, console.permit(session, "vendor"), vendor)
        spending, learnt = report.spending, report.learnt
        epochs, left = plots.steps_of(spending.window, spending.by_epoch)
        say = (
            f"Queries left of {spending.window} in {len(epochs)} epochs: {left[-1]}; "
            f"{spending.window - left[-1]} were spent"
        )
        return console.page(
            request,
            "vendor.html",
            session,
            vendor={"id": report.id, "name": report.name},
            spending=_spending(spending),
            chart=plots.burn_down(epochs, left, spending.window, say) if spending.window else None,
            chart_says=say,
            asked=[(_MODES[mode], number) for mode, number in learnt.asked.items()],
            learnt=_learnt(learnt),
            known=known_by(learnt, spending, console.node.settings),
        )


def known_by(learnt: Learnt, spending: Spending, settings: Settings) -> list[str]:
    """What a vendor could have learnt at most, whatever it is: each sentence stands on what it was answered."""
    found, asked = [], learnt.asked
    if answers := asked.get("gated"):
        found.append(
            f"Of similar patients: {_counted(answers, 'answer', 'answers')} at most. Each tells, for every group of at "
            f"least {settings.minimum_count} patients, whether half of it is like the question, and never who is who "
            "within a group. Many questions about one figure place a group between a few values of it."
        )
    if learnt.groups:
        found.append(
            f"It was told of {_counted(learnt.told, 'patient', 'patients')} in "
            f"{_counted(learnt.groups, 'group', 'groups')}, the smallest of {learnt.smallest}. Groups are kept for "
            "ever, so the next epoch tells nobody apart either."
        )
    if times := asked.get("vendor-key"):
        found.append(
            f"Under its own key: {_counted(times, 'time', 'times')} the distance of every patient to its question, "
            "blurred. A vendor that forms its questions dishonestly reads figures directly: this mode stands on its "
            "contract."
        )
    if asked.get("matrix"):
        found.append(
            "By the outsourced index: who holds it and knows a few patients can work out the figures of the others."
        )
    if counts := asked.get("feasibility"):
        spent = (spending.epsilon_granted_millis - spending.epsilon_left_millis) / 1000
        found.append(
            f"{_counted(counts, 'count', 'counts')} with noise: whether any one patient is among them hardly changes "
            f"an answer (ε {spent:g} spent in this epoch). The first one of an epoch told roughly how many patients "
            "can be searched."
        )
    if learnt.records:
        names = ", ".join(one.value for one in learnt.categories)
        found.append(
            f"It received records of {_counted(learnt.records, 'patient', 'patients')} ({names}), each by that "
            "patient’s own consent. It knows these people as their records do, and nothing here takes that back."
        )
    return found or ["Nothing: it was given no answer."]


def _spending(one: Spending) -> dict[str, Any]:
    return {
        "granted": one.granted,
        "left": one.left,
        "epoch": one.by_epoch[-1][0],
        "epochs": len(one.by_epoch),
        "window": one.window,
        "window_left": one.window_left,
        "epsilon": f"{one.epsilon_granted_millis / 1000:g}" if one.epsilon_granted_millis else "",
        "epsilon_left": f"{one.epsilon_left_millis / 1000:g}",
    }


def _learnt(one: Learnt) -> dict[str, Any]:
    return {
        "again": one.again,
        "refused": one.refused,
        "compared": one.compared,
        "told": one.told,
        "records": one.records,
        "since": _minute(one.since_ms) if one.since_ms else "",
        "until": _minute(one.until_ms) if one.until_ms else "",
        "whole": one.whole,
    }


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _minute(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")
