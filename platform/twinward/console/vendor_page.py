"""The console's page of one vendor: what it asked, what is left to it, and what it could have learnt, in words."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import Response

from twinward.console import plots
from twinward.console.pages import Console
from twinward.console.sessions import PATH
from twinward.console.viewer import gettext, in_words, message, minute
from twinward.core.config import Settings
from twinward.core.sentences import Sentence, counted, sentence
from twinward.overview.vendors import Learnt, Spending, vendor_report

PAGE: Final = f"{PATH}/outside"
_MODES: Final = {
    "gated": message("similarity queries, opened by the gate"),
    "vendor-key": message("similarity queries under the vendor’s own key"),
    "matrix": message("similarity queries by an outsourced index"),
    "feasibility": message("counts under hidden criteria"),
}


def add_vendor_page(router: APIRouter, console: Console) -> None:
    """Add the page to the pages' router."""

    @router.get("/outside/{vendor}")
    def page(request: Request, vendor: Annotated[str, InPath(max_length=64)]) -> Response:
        session = console.sessions.officer(request)
        report = vendor_report(console.node, console.permit(session, "vendor"), vendor)
        spending, learnt = report.spending, report.learnt
        epochs, left = plots.steps_of(spending.window, spending.by_epoch)
        say = sentence(
            "Queries left of {window} in {epochs} epochs: {left}; {spent} were spent",
            window=spending.window,
            epochs=len(epochs),
            left=left[-1],
            spent=spending.window - left[-1],
        )
        return console.page(
            request,
            "vendor.html",
            session,
            vendor={"id": report.id, "name": report.name},
            spending=_spending(spending),
            chart=plots.burn_down(
                epochs, left, spending.window, in_words(say), (gettext("epoch"), gettext("queries left"))
            )
            if spending.window
            else None,
            chart_says=say,
            asked=[(gettext(_MODES[mode]), number) for mode, number in learnt.asked.items()],
            learnt=_learnt(learnt),
            known=known_by(learnt, spending, console.node.settings),
        )


def known_by(learnt: Learnt, spending: Spending, settings: Settings) -> list[Sentence]:
    """What a vendor could have learnt at most, whatever it is: each sentence stands on what it was answered."""
    found: list[Sentence] = []
    asked = learnt.asked
    if answers := asked.get("gated"):
        found.append(
            sentence(
                "Of similar patients: {how_many} at most. Each tells, for every group of at least "
                "{minimum_count} patients, whether half of it is like the question, and never who is who within "
                "a group. Many questions about one figure place a group between a few values of it.",
                how_many=counted("{count} answer", "{count} answers", answers),
                minimum_count=settings.minimum_count,
            )
        )
    found += _told(learnt)
    if times := asked.get("vendor-key"):
        found.append(
            sentence(
                "Under its own key: {how_many} the distance of every patient to its question, blurred. A vendor "
                "that forms its questions dishonestly reads figures directly: this mode stands on its contract.",
                how_many=counted("{count} time", "{count} times", times),
            )
        )
    if asked.get("matrix"):
        found.append(
            sentence(
                "By the outsourced index: who holds it and knows a few patients can work out the figures of the others."
            )
        )
    if counts := asked.get("feasibility"):
        spent = (spending.epsilon_granted_millis - spending.epsilon_left_millis) / 1000
        found.append(
            sentence(
                "{how_many} with noise: whether any one patient is among them hardly changes an answer (ε "
                "{spent} spent in this epoch). The first one of an epoch told roughly how many patients can be "
                "searched.",
                how_many=counted("{count} count", "{count} counts", counts),
                spent=f"{spent:g}",
            )
        )
    if learnt.records:
        names = ", ".join(one.value for one in learnt.categories)
        found.append(
            sentence(
                "It received records of {how_many} ({names}), each by that patient’s own consent. It knows these "
                "people as their records do, and nothing here takes that back.",
                how_many=counted("{count} patient", "{count} patients", learnt.records),
                names=names,
            )
        )
    if not learnt.whole:
        found.append(sentence("It may be more: older events are still being taken in. Look again in a while."))
    return found or [sentence("Nothing: it was given no answer.")]


def _told(learnt: Learnt) -> list[Sentence]:
    """What it knows by the handles that it was given."""
    how_many = counted("{count} patient", "{count} patients", learnt.told)
    if learnt.groups:
        return [
            sentence(
                "It was told of {how_many} in {groups}, the smallest of {smallest}. Groups are kept for ever, so "
                "the next epoch tells nobody apart either.",
                how_many=how_many,
                groups=counted("{count} group", "{count} groups", learnt.groups),
                smallest=learnt.smallest,
            )
        ]
    if learnt.told:
        said = sentence(
            "The log says that it was told of {how_many}; the history of releases has no group of them.",
            how_many=how_many,
        )
        return [said]
    return []


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
        "since": minute(one.since_ms) if one.since_ms else "",
        "until": minute(one.until_ms) if one.until_ms else "",
        "whole": one.whole,
    }
