"""The console's page of the exchange: what hospitals offer and need, what is on its way, what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from twinward.console.pages import Console
from twinward.console.sessions import PATH
from twinward.console.tables import Column, Table
from twinward.console.viewer import gettext, message

if TYPE_CHECKING:
    from twinward.exchange.models import ListingView, TransferView

PAGE: Final = f"{PATH}/exchange"
_STATES: Final = {
    "promised": (message("promised"), "plain"),
    "shipped": (message("on its way"), "plain"),
    "received": (message("received"), "good"),
    "disputed": (message("disputed"), "bad"),
    "settled": (message("settled"), "good"),
    "cancelled": (message("cancelled"), "warn"),
    "lapsed": (message("not kept"), "warn"),
}
_LATE: Final = {
    "not shipped in time": message("not shipped in time"),
    "not received in time": message("not received in time"),
    "received late": message("received late"),
}


def add_exchange(router: APIRouter, console: Console) -> None:
    """Add the page to the pages' router."""

    @router.get("/exchange")
    def exchange(request: Request) -> Response:
        from twinward.overview.exchanges import exchange_standing

        session = console.sessions.officer(request)
        console.permit(session, "exchange")
        found = exchange_standing(console.node)
        return console.page(
            request,
            "exchange.html",
            session,
            found=found,
            listings=_LISTINGS.arranged(request, found.listings).shown(_listing),
            transfers=_TRANSFERS.arranged(request, found.transfers).shown(_transfer),
            suggestions=[{"one": one, "resource": resource(one.resource)} for one in found.suggestions],
        )


def resource(code: str) -> str:
    """What a code stands for; a consortium's own is shown as it is."""
    from twinward.exchange.models import RESOURCES

    return gettext(RESOURCES[code]) if code in RESOURCES else code


_LISTINGS: Final = Table["ListingView"](
    "listings",
    (
        Column(message("Number"), "number", lambda one: one.number, "num"),
        Column(message("Hospital"), "hospital", lambda one: one.hospital),
        Column(message("What"), "what", lambda one: resource(one.resource)),
        Column(message("Left"), "left", lambda one: one.left, "num", falls=True),
        Column(message("Until"), "until", lambda one: one.until_s),
    ),
    several=True,
)
_TRANSFERS: Final = Table["TransferView"](
    "transfers",
    (
        Column(message("Number"), "number", lambda one: one.number, "num", falls=True),
        Column(message("From"), "from", lambda one: one.giver),
        Column(message("To"), "to", lambda one: one.receiver),
        Column(message("What"), "what", lambda one: resource(one.resource)),
        Column(message("Deadlines"), "deadline", lambda one: one.ship_by_s),
        Column(message("Stands"), "stands", lambda one: _transfer(one)["state"]),
    ),
    several=True,
)


def _listing(one: ListingView) -> dict[str, Any]:
    return {
        "number": one.number,
        "offered": one.kind == "offer",
        "hospital": one.hospital,
        "resource": resource(one.resource),
        "left": one.left,
        "quantity": one.quantity,
        "until": one.until_s * 1000,
    }


def _transfer(one: TransferView) -> dict[str, Any]:
    said, badge = _STATES.get(one.state, (one.state, "plain"))
    return {
        "number": one.number,
        "giver": one.giver,
        "receiver": one.receiver,
        "resource": resource(one.resource),
        "quantity": one.quantity,
        "arrived": one.arrived,
        "ship_by": one.ship_by_s * 1000,
        "receive_by": one.receive_by_s * 1000,
        "state": gettext(said),
        "late": gettext(_LATE[one.late]) if one.late else "",
        "badge": "warn" if one.late and badge == "plain" else badge,
    }
