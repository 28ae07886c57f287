"""The console's page of devices: with whom each is and was, and how the clocks of their sources stand."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from twinward.access.interfaces import AccessContext
from twinward.access.sessions import Session
from twinward.console.live_words import ago
from twinward.console.pages import Console
from twinward.console.sessions import PATH, require_csrf, via_of
from twinward.console.tables import Column, Table
from twinward.console.viewer import decimal, gettext, instant, message
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.live.assignments import ERASED, WITHHELD
from twinward.live.storage.devices import DeviceAt
from twinward.live.storage.sources import SourceState
from twinward.twins.errors import TwinNotFound

PAGE: Final = f"{PATH}/devices"
MOST_OFFERED: Final = 200
"""Devices that the form of releasing one proposes."""
MOST_EARLIER: Final = 20
"""Of one device's assignments, the newest."""
AHEAD_MS: Final = -2_000
BEHIND_MS: Final = 60_000
"""From where on a clock is said to be wrong: what is measured is with the node within a minute."""
_DEVICES: Final = Table[DeviceAt](
    "devices",
    (
        Column(message("Device"), "device", lambda one: one.device),
        Column(message("With"), "with", lambda one: one.line.current.twin if one.line.current else None),
        Column(
            message("Since"), "since", lambda one: one.line.current.from_ms if one.line.current else None, falls=True
        ),
        Column(message("Before")),
    ),
    first="device",
    several=True,
)
_SOURCES: Final = Table[SourceState](
    "sources",
    (
        Column(message("Source"), "source", lambda one: one.name),
        Column(message("Clock"), "clock", lambda one: one.lag_ms, falls=True),
        Column(message("Heard"), "heard", lambda one: one.heard_ms or None, falls=True),
        Column(message("Stored"), "stored", lambda one: one.stored, "num", falls=True),
        Column(message("Quarantined"), "quarantined", lambda one: one.quarantined, "num", falls=True),
        Column(message("Skipped numbers"), "skipped", lambda one: one.settled().missing, "num", falls=True),
    ),
    first="source",
    several=True,
)
_Csrf = Annotated[str, Form(max_length=64)]
_Device = Annotated[str, Form(min_length=1, max_length=64)]
_When = Annotated[str, Form(max_length=32)]


def filing(request: Request, session: Session) -> AccessContext:
    """Whoever says where devices are: an operator keeps records, a clinician treats."""
    purpose = Purpose.RECORD_MANAGEMENT if Role.OPERATOR in session.roles else Purpose.TREATMENT
    return AccessContext(session.principal, purpose, detail=via_of(request))


def add_devices(router: APIRouter, console: Console) -> None:
    """Add the page and its forms to the pages' router."""
    node = console.node

    @router.get("/devices")
    def page(
        request: Request,
        begins: Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._:-]*$")] = "",
        twin: Annotated[str, Query(max_length=36, pattern=r"^[0-9a-f-]*$")] = "",
    ) -> Response:
        session = console.sessions.ward_staff(request)
        context, now_ms = filing(request, session), node.clock.now_ms()
        found = [one for one in node.live.devices(context) if one.device.startswith(begins)]
        devices = [one for one in found if not twin or any(each.twin == twin for each in one.line.assignments)]
        return console.page(
            request,
            "devices.html",
            session,
            begins=begins,
            twin=twin,
            devices=_DEVICES.arranged(request, devices).shown(_shown),
            held=[one.device for one in devices if one.line.current][:MOST_OFFERED],
            sources=_SOURCES.arranged(request, node.live.sources(context)).shown(lambda one: _source(one, now_ms)),
            wards=Role.CLINICIAN in session.roles,
        )

    @router.post("/devices/assign")
    def assign(
        request: Request,
        device: _Device,
        twin: Annotated[str, Form(max_length=64)],
        csrf: _Csrf,
        begins: _When = "",
    ) -> Response:
        session = console.sessions.ward_staff(request)
        require_csrf(session, csrf)
        context, name = filing(request, session), TwinId(twin.strip().lower())
        node.access.require(context.request(Action.WRITE))
        if node.twins.all(name, 1) != [name]:
            raise TwinNotFound(
                message("there is no such twin"), hint=message("a clinician's ward shows each patient's")
            )
        node.live.assign(context, device.strip(), name, _moment(begins))
        return RedirectResponse(PAGE, status_code=303)

    @router.post("/devices/release")
    def release(request: Request, device: _Device, csrf: _Csrf, ends: _When = "") -> Response:
        session = console.sessions.ward_staff(request)
        require_csrf(session, csrf)
        node.live.release(filing(request, session), device.strip(), _moment(ends))
        return RedirectResponse(PAGE, status_code=303)


def _moment(written: str) -> int | None:
    at_ms = instant(written)
    if at_ms < 0:
        raise BadInput(message("a device changes hands after 1970"), hint=message("go back and enter it again"))
    return at_ms or None


def _shown(one: DeviceAt) -> dict[str, Any]:
    current = one.line.current
    earlier = [each for each in reversed(one.line.assignments) if each.until_ms is not None]
    return {
        "name": one.device,
        "twin": current.twin if current else "",
        "instead": instead_of(current.twin) if current else "",
        "since": current.from_ms if current else None,
        "by": current.by if current else "",
        "earlier": [
            {
                "twin": each.twin,
                "instead": instead_of(each.twin),
                "from": each.from_ms,
                "until": each.until_ms,
                "by": each.by,
            }
            for each in earlier[:MOST_EARLIER]
        ],
        "left": max(0, len(earlier) - MOST_EARLIER),
    }


def instead_of(twin: str) -> str:
    """What is shown of a patient who is not; empty for any other."""
    return gettext("withheld from you") if twin == WITHHELD else gettext("erased") if twin == ERASED else ""


def _source(one: SourceState, now_ms: int) -> dict[str, Any]:
    lag = one.lag_ms
    clock = "none" if lag is None else "ahead" if lag < AHEAD_MS else "behind" if lag > BEHIND_MS else "right"
    return {
        "name": one.name,
        "account": one.account,
        "stored": one.stored,
        "quarantined": one.quarantined,
        "missing": one.settled().missing,
        "heard": ago(one.heard_ms, now_ms) if one.heard_ms else "",
        "lag": "" if lag is None else decimal(abs(lag) / 1000, 1),
        "clock": clock,
    }
