"""The console's page of what could not be placed: why, from where, how much. No value and no patient is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from twinward.console.devices import filing
from twinward.console.live_words import REASONS
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, message
from twinward.live.models import Outcome, Reason
from twinward.live.storage.quarantine import Held

PAGE: Final = f"{PATH}/quarantine"
MOST_LOOKED_AT: Final = 10_000
"""The oldest; of more, the page says that there are more."""
MOST_REPLAYED: Final = 2_000
"""By one press of the button: as many as nobody waits long for."""
_GROUPS: Final = Table[dict[str, Any]](
    "quarantine",
    (
        Column(message("Source"), "source", lambda one: str(one["source"])),
        Column(message("Reason"), "reason", lambda one: str(one["says"])),
        Column(message("Readings"), "readings", lambda one: int(one["count"]), "num", falls=True),
        Column(message("Since"), "since", lambda one: int(one["first"]), falls=True),
        Column(message("Last"), "last", lambda one: int(one["last"]), falls=True),
        Column(message("Step")),
    ),
    first="-readings",
    forgets=("placed", "stayed"),
)
_Group = tuple[str, str, Reason, str]
_Csrf = Annotated[str, Form(max_length=64)]


def add_quarantine(router: APIRouter, console: Console) -> None:
    """Add the page and its button to the pages' router."""
    live = console.node.live

    def held(request: Request, most: int) -> Iterator[Held]:
        context = filing(request, console.sessions.operator(request))
        after = ""
        while most > 0 and (some := live.quarantine(context, after=after, most=min(1_000, most))):
            after, most = some[-1].id, most - len(some)
            yield from some

    @router.get("/quarantine")
    def page(
        request: Request,
        placed: Annotated[int | None, Query(ge=0, le=MOST_REPLAYED)] = None,
        stayed: Annotated[int, Query(ge=0, le=MOST_REPLAYED)] = 0,
    ) -> Response:
        session = console.sessions.operator(request)
        groups: dict[_Group, dict[str, Any]] = {}
        looked_at = 0
        for one in held(request, MOST_LOOKED_AT):
            looked_at += 1
            _count(groups, one)
        rows = _GROUPS.arranged(request, sorted(groups.values(), key=lambda row: str(row["source"])))
        return console.page(
            request,
            "quarantine.html",
            session,
            rows=rows,
            total=looked_at,
            most=MOST_LOOKED_AT if looked_at == MOST_LOOKED_AT else None,
            placed=placed,
            stayed=stayed,
        )

    @router.post("/quarantine/replay")
    def replay(
        request: Request,
        csrf: _Csrf,
        source: Annotated[str, Form(max_length=200)] = "",
        account: Annotated[str, Form(max_length=64)] = "",
        reason: Annotated[Reason | None, Form()] = None,
    ) -> Response:
        session = console.sessions.operator(request)
        require_csrf(session, csrf)
        wanted = [
            one
            for one in held(request, MOST_LOOKED_AT)
            if one.reading is not None
            and (not source or (one.source, one.account) == (source, account))
            and (reason is None or one.reason is reason)
        ][:MOST_REPLAYED]
        outcomes = [one.outcome for one in live.replay(filing(request, session), wanted)]
        placed = outcomes.count(Outcome.STORED)
        return RedirectResponse(f"{PAGE}?placed={placed}&stayed={len(outcomes) - placed}", status_code=303)


def _count(groups: dict[_Group, dict[str, Any]], one: Held) -> None:
    key = (one.account, one.source, one.reason, one.detail)
    row = groups.setdefault(
        key,
        {
            "source": one.source,
            "account": one.account,
            "reason": one.reason.value,
            "says": gettext(REASONS[one.reason]),
            "detail": one.detail,
            "count": 0,
            "first": one.at_ms,
            "last": one.at_ms,
            "readable": False,
        },
    )
    row["count"] += 1
    row["first"], row["last"] = min(row["first"], one.at_ms), max(row["last"], one.at_ms)
    row["readable"] = row["readable"] or one.reading is not None
