"""The console's page of the node itself: log, witnesses, chain, keys and backups, as an officer understands them.

It is what `node doctor` finds and `node status` sums up. What is to be typed is said as something to ask of whoever
runs the node; an officer types nothing.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from twinward.console import health
from twinward.console.pages import Console
from twinward.console.sessions import PATH
from twinward.console.viewer import gettext, in_words, message, minute
from twinward.core.sentences import Moment, sentence
from twinward.node import Node
from twinward.node.last_backup import last_backup
from twinward.overview.condition import Area, areas, to_do, verdict, worst
from twinward.overview.doctor import SLOW, Finding, Severity, examined
from twinward.overview.status import witnesses

PAGE: Final = f"{PATH}/node"
_KINDS: Final = {Severity.OK: "good", Severity.NOTE: "plain", Severity.WARN: "warn", Severity.BAD: "bad"}
_LIGHTS: Final = {Severity.OK: "good", Severity.NOTE: "good", Severity.WARN: "warn", Severity.BAD: "bad"}
_WORDS: Final = {
    Severity.OK: message("in order"),
    Severity.NOTE: message("to know"),
    Severity.WARN: message("soon"),
    Severity.BAD: message("now"),
}
_PAGES: Final = {
    "emergencies": (f"{PATH}/emergencies", "Emergencies"),
    "breaches": (f"{PATH}/breaches", "Breaches"),
    "policy": (f"{PATH}/policy", "Policy"),
}
"""Where officers do themselves what the command line would."""
_SIGNS: Final = {"good": "✓", "warn": "!", "bad": "✗"}


def add_node_page(router: APIRouter, console: Console) -> None:
    """Add the page to the pages' router."""

    @router.get("/node")
    def page(request: Request) -> Response:
        session = console.sessions.officer(request)
        console.permit(session, "node")
        node = console.node
        findings = [*examined(node, without=SLOW), _checked(node)]
        light = _LIGHTS[worst(findings)]
        return console.page(
            request,
            "node.html",
            session,
            light=light,
            sign=_SIGNS[light],
            say=_begun(in_words(verdict(findings))),
            waiting=[_finding(one) for one in to_do(findings)],
            areas=[_area(one) for one in areas(findings)],
            witnesses=health.witnesses(witnesses(node.audit)),
            keks=_keks(node),
            backup=_backup(node),
        )


def _checked(node: Node) -> Finding:
    """What the background's check of the whole log and of the stores came to, instead of another one now."""
    last = node.log_check.last
    if last.fault:
        return Finding("stores", Severity.BAD, last.fault, "open the page Verify, and keep the files as evidence")
    if not last.at_ms:
        say = sentence(
            "the whole log and the small stores are being checked for the first time since this node was started"
        )
        return Finding("stores", Severity.NOTE, say)
    say = sentence("all {size} events and the small stores were checked at {at}", size=last.size, at=Moment(last.at_ms))
    if last.trouble:
        return Finding(
            "stores",
            Severity.WARN,
            sentence("{say}; the check after it could not be made: {trouble}", say=say, trouble=last.trouble),
        )
    return Finding("stores", Severity.OK, say)


def _area(one: Area) -> dict[str, Any]:
    return {
        "name": one.name,
        "question": one.question,
        "means": one.means,
        "kind": _KINDS[one.severity],
        "word": gettext(_WORDS[one.severity]),
        "findings": [_finding(each) for each in one.findings],
    }


def _finding(one: Finding) -> dict[str, Any]:
    """A finding, and its remedy as a command to ask for or as words to act on."""
    remedy = in_words(one.remedy)
    before, _, command = remedy.rpartition("twinward ")
    typed = f"twinward {command}" if before or remedy.startswith("twinward ") else ""
    return {
        "check": one.check,
        "kind": _KINDS[one.severity],
        "word": gettext(_WORDS[one.severity]),
        "say": in_words(one.say),
        "page": _PAGES.get(one.check, ("", "")) if one.remedy else ("", ""),
        "do": "" if typed else remedy,
        "before": _begun(before.rstrip(" :;,")),
        "command": typed,
    }


def _keks(node: Node) -> list[dict[str, Any]]:
    census = node.keyring.census()
    return [
        {
            "version": one,
            "wraps": census.wrapped.get(one, 0),
            "say": gettext(
                message("newest")
                if one == census.keks[-1]
                else message("older")
                if census.wrapped.get(one)
                else message("wraps nothing")
            ),
        }
        for one in reversed(census.keks)
    ]


def _backup(node: Node) -> dict[str, Any] | None:
    made = last_backup(node.settings.home)
    if made is None:
        return None
    newer = max(0, node.log.store.size() - made.log_size)
    return {"at": minute(made.at_ms), "size": made.log_size, "newer": newer, "keks": ", ".join(map(str, made.keks))}


def _begun(said: str) -> str:
    """As a sentence begins."""
    return said[:1].upper() + said[1:]
