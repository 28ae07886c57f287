"""The console's pages of accesses: a list by filters, one access's whole story, a list taken out as CSV or on paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from twinward.access.interfaces import AccessContext, Permit
from twinward.access.sessions import Session
from twinward.api.audit import MAX_INDEX
from twinward.audit.events.wording import PURPOSES
from twinward.audit.exports.csv_table import EVENT_COLUMNS, event_cells
from twinward.audit.models import AuditRow
from twinward.audit.queries import AccessQuery, FoundAccesses, Sort
from twinward.audit.saved_filters import MAX_NAME, described
from twinward.console.pages import Console
from twinward.console.rows import shown
from twinward.console.sessions import PATH, asked_again, require_csrf
from twinward.console.story import story
from twinward.console.tables import Column, Head
from twinward.console.viewer import gettext, message, minute, viewer
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Category, Purpose, Role
from twinward.overview.log import permit_to_examine

PAGE: Final = f"{PATH}/accesses"
PAGE_ROWS: Final = 50
MAX_PAGE: Final = 10**6
PRINTED_ROWS: Final = 200
"""On one page that is printed, some seven sheets; the next ones are a page of their own."""

_FLUSHED_BYTES: Final = 1 << 16
_CHOICES: Final = {
    "role": [(one.value, one.value) for one in Role],
    "action": [(one.value, one.value) for one in Action],
    "purpose": [(one.value, PURPOSES[one]) for one in Purpose],
    "category": [(one.value, one.value) for one in Category],
    "decision": [("permit", message("permitted")), ("deny", message("refused"))],
}
_COLUMNS: Final[tuple[Column[AuditRow], ...]] = (
    Column(message("No."), css="num"),
    Column(message("When"), "when", falls=True, rising=Sort.OLDEST.value, falling=Sort.NEWEST.value),
    Column(message("Who"), Sort.AGENT.value),
    Column(message("What, and why"), Sort.ACTION.value),
    Column(message("Twin"), Sort.TWIN.value),
    Column(message("Decision"), Sort.DECISION.value),
    Column(message("Proof")),
)
"""Sorted by the index of events, of a million as well; whoever reads on paper has the order of the list they came from.

By proof, or by a number that says no more than the time, nothing is sorted: the one is known to the browser alone."""


def add_accesses(router: APIRouter, console: Console) -> None:
    """Add the pages and their forms to the pages' router."""
    _add_lists(router, console)
    _add_saved(router, console)

    @router.get("/accesses/{index}")
    def one(request: Request, index: Annotated[int, InPath(ge=0, le=MAX_INDEX)]) -> Response:
        session = console.sessions.officer(request)
        permit = console.permit(session, f"access {index}")
        return console.page(request, "access.html", session, heads=_plain_heads(), **story(console.node, permit, index))


def _add_lists(router: APIRouter, console: Console) -> None:
    @router.get("/accesses")
    def page(
        request: Request,
        before: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
        page: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1,
    ) -> Response:
        session = console.sessions.officer(request)
        query = AccessQuery.of(request.query_params, viewer().zone)
        permit = console.permit(session, "accesses")
        found = console.node.access_search.page(permit, query, page=page, below=before, limit=PAGE_ROWS)
        return _listed(console, request, session, query, found, before)

    @router.get("/accesses/list.csv")
    def as_csv(request: Request, before: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None) -> Response:
        session = console.sessions.officer(request, fresh=asked_again(request))
        query, permit, size = _taken_out(console, session, request, "list as CSV", before)
        rows = console.node.access_search.stream(permit, query, below=size)[1]
        still = partial(console.node.access.require, permit.request)
        name = f"accesses-{console.node.settings.tenant}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        return StreamingResponse(_csv(rows, still), media_type="text/csv; charset=utf-8", headers=headers)

    @router.get("/accesses/print")
    def on_paper(
        request: Request,
        before: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
        page: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1,
    ) -> Response:
        session = console.sessions.officer(request)
        query, permit, size = _taken_out(console, session, request, "list on paper", before)
        found = console.node.access_search.page(permit, query, page=page, below=size, limit=PRINTED_ROWS)
        here = query.parameters() | {"before": str(found.below)}
        return console.page(
            request,
            "accesses_print.html",
            session,
            rows=[shown(row) for row in found.rows],
            heads=_plain_heads(),
            found=found,
            first=(found.page - 1) * PRINTED_ROWS + 1,
            part=lambda number: f"{PAGE}/print?{urlencode(here | {'page': str(number)})}",
            query=described(query.parameters()),
            hides_own=query.hides_own,
            at=minute(console.node.clock.now_ms()),
            signed_size=console.node.audit.signed_size(),
        )


def _add_saved(router: APIRouter, console: Console) -> None:
    @router.post("/accesses/filters")
    def keep(
        request: Request,
        name: Annotated[str, Form(max_length=4 * MAX_NAME)],
        csrf: Annotated[str, Form(max_length=64)],
        query: Annotated[str, Form(max_length=2000)] = "",
    ) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        kept = AccessQuery.of(dict(_pairs(query)), viewer().zone)
        console.node.saved_filters.keep(session.principal.id, name, kept)
        return RedirectResponse(_address(kept), status_code=303)

    @router.post("/accesses/filters/{name}/drop")
    def drop(
        request: Request,
        name: Annotated[str, InPath(pattern=r"^[0-9a-f]{16}$")],
        csrf: Annotated[str, Form(max_length=64)],
    ) -> Response:
        session = console.sessions.officer(request)
        require_csrf(session, csrf)
        console.node.saved_filters.drop(session.principal.id, name)
        return RedirectResponse(PAGE, status_code=303)


def _listed(
    console: Console, request: Request, session: Session, query: AccessQuery, found: FoundAccesses, before: int | None
) -> Response:
    parameters = query.parameters()
    here = parameters | {"before": str(found.below)}

    def at_page(number: int) -> str:
        return f"{PAGE}?{urlencode(here | {'page': str(number)})}"

    return console.page(
        request,
        "accesses.html",
        session,
        rows=[shown(row) for row in found.rows],
        found=found,
        first=(found.page - 1) * PAGE_ROWS + 1,
        reached=minute(found.reached_ms) if found.reached else "",
        signed_size=console.node.audit.signed_size(),
        query=query,
        parameters=parameters,
        choices=_choices(),
        heads=[one.head(query.order, lambda order: _address(query, sort=order)) for one in _COLUMNS],
        filtered=query.narrows,
        asked=urlencode(parameters),
        taken=urlencode(here),
        own=_address(query, own="" if not query.hides_own else "yes"),
        saved=[
            {
                "id": one.id,
                "name": one.name,
                "address": f"{PAGE}?{urlencode(one.parameters)}",
                "asks": described(one.parameters),
            }
            for one in console.node.saved_filters.of(session.principal.id)
        ],
        newest=_address(query) if before is not None or found.page > 1 else "",
        newer=at_page(found.page - 1) if found.page > 1 else "",
        older=at_page(found.page + 1) if found.page < found.pages else "",
    )


def _taken_out(
    console: Console, session: Session, request: Request, how: str, before: int | None
) -> tuple[AccessQuery, Permit, int]:
    """Leave to take a list out of the console: an event says by which filters, and up to which event."""
    node, query = console.node, AccessQuery.of(request.query_params, viewer().zone)
    size = node.log.store.size() if before is None else min(before, node.log.store.size())
    context = AccessContext(session.principal, Purpose.COMPLIANCE)
    said = (("filter", described(query.parameters())), ("below", str(size)))
    return query, permit_to_examine(node.access, context, how, detail=said), size


def _csv(rows: Iterator[AuditRow], still: Callable[[], None]) -> Iterator[bytes]:
    """Its pieces; ``still`` is asked before each, and what it raises breaks the download off."""
    text = io.StringIO(newline="")
    text.write("\ufeff")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(EVENT_COLUMNS)
    for row in rows:
        writer.writerow(event_cells(row))
        if text.tell() > _FLUSHED_BYTES:
            still()
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    still()
    yield text.getvalue().encode()


def _choices() -> dict[str, list[tuple[str, str]]]:
    """What may be chosen, in the viewer's words; roles, actions and categories as policy and the log call them."""
    return {name: [(value, gettext(words)) for value, words in one] for name, one in _CHOICES.items()}


def _plain_heads() -> list[Head]:
    """Of a table that is not put in another order."""
    return [Head(gettext(one.words), one.css) for one in _COLUMNS]


def _address(query: AccessQuery, **other: str) -> str:
    changed = {name: value for name, value in (query.parameters() | other).items() if value}
    if changed.get("sort") == Sort.NEWEST:
        del changed["sort"]
    return f"{PAGE}?{urlencode(changed)}" if changed else PAGE


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, max_num_fields=40, strict_parsing=bool(query))
    except ValueError:
        raise BadInput(
            message("this is no filter"), hint=message("go back, choose the filters again, and save them then")
        ) from None
