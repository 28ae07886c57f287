"""The console's pages of things: all of them, and one as it stands: a ward, a bed, a device, stock."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import Response

from twinward.access.interfaces import AccessContext
from twinward.access.sessions import Session
from twinward.console.devices import filing, instead_of
from twinward.console.pages import Console
from twinward.console.sessions import PATH, via_of
from twinward.console.tables import Column, Table
from twinward.console.viewer import decimal, gettext, message
from twinward.core.vocabulary import Purpose, Role
from twinward.live.intake.lines import NAME
from twinward.things.maintenance import Service
from twinward.things.models import Kind, Related, Relation, Thing
from twinward.things.shown import Shown
from twinward.things.wards import Lying, WardState

PAGE: Final = f"{PATH}/things"
KINDS: Final = {
    Kind.HOSPITAL: message("hospital"),
    Kind.WARD: message("ward"),
    Kind.BED: message("bed"),
    Kind.DEVICE: message("device"),
    Kind.STOCK: message("stock"),
}
_TYPES: Final = {
    "ventilator": message("ventilator"),
    "pump": message("pump"),
    "monitor": message("monitor"),
    "other": message("another device"),
    "supply": message("supplies"),
    "medication": message("medication"),
    "vaccine": message("vaccine"),
    "blood": message("blood"),
}
_RELATIONS: Final = {
    Relation.ASSIGNED_TO: message("with"),
    Relation.LOCATED_IN: message("in"),
    Relation.PART_OF: message("part of"),
}
_DUE: Final = {
    "fault": message("a fault was noted"),
    "days": message("so many days have gone by"),
    "hours": message("by its hours of use"),
}
_BANDS: Final = {
    "low": (message("NEWS2 low"), "good"),
    "medium": (message("NEWS2 medium"), "warn"),
    "high": (message("NEWS2 high"), "bad"),
    "unknown": (message("not measured"), "plain"),
    "withheld": (message("withheld from you"), "plain"),
}


_THINGS: Final = Table[Thing](
    "things",
    (
        Column(message("Name"), "name", lambda one: one.name),
        Column(
            message("Kind"), "kind", lambda one: list(KINDS).index(one.kind)
        ),  # as a hospital is made up: wards first
        Column(message("Added"), "added", lambda one: one.added_ms, falls=True),
    ),
    first="kind",
)
_LYING: Final = Table[Lying](
    "lying",
    (
        Column(message("Bed"), "bed", lambda one: one.bed),
        Column(message("Patient"), "patient", lambda one: one.twin),
        Column(message("Since"), "since", lambda one: one.since_ms, falls=True),
        Column("NEWS2", "news2", lambda one: one.score, "num symbol", falls=True),
    ),
)


def add_things(router: APIRouter, console: Console) -> None:
    """Add both pages to the pages' router."""
    node = console.node

    @router.get("/things")
    def things(request: Request, kind: Annotated[Kind | None, Query()] = None, begins: _Begins = "") -> Response:
        session = console.sessions.hospital_staff(request)
        found = [one for one in node.things.all(_by(request, session), kind) if one.name.startswith(begins)]
        return console.page(
            request,
            "things.html",
            session,
            kind=kind.value if kind else "",
            kinds=[(one.value, gettext(said)) for one, said in KINDS.items()],
            begins=begins,
            things=_THINGS.arranged(request, found).shown(_line),
        )

    @router.get("/things/{name}")
    def thing(request: Request, name: Annotated[str, InPath(pattern=f"^{NAME.pattern}$")]) -> Response:
        session = console.sessions.hospital_staff(request)
        shown = node.things.show(_by(request, session), name)
        return console.page(
            request,
            "thing.html",
            session,
            thing=_line(shown.thing),
            relations=[_related(one) for one in shown.relations],
            contains=[one.thing for one in shown.contains],
            service=_service(shown, node.clock.now_ms()),
            state=_state(shown.state) if shown.state else None,
            lying=_LYING.arranged(request, shown.state.lying if shown.state else ()).shown(_lying),
            wards=Role.CLINICIAN in session.roles,
        )


_Begins = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._:-]*$")]


def _by(request: Request, session: Session) -> AccessContext:
    """Whoever looks: an officer counts, all others keep records or treat."""
    if Role.CLINICIAN in session.roles or Role.OPERATOR in session.roles:
        return filing(request, session)
    return AccessContext(session.principal, Purpose.COMPLIANCE, detail=via_of(request))


def _line(one: Thing) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": "" if one.title == one.name else one.title,
        "kind": gettext(KINDS[one.kind]),
        "type": gettext(_TYPES[one.type]) if one.type in _TYPES else one.type,
        "is_stock": one.kind is Kind.STOCK,
        "unit": one.unit,
        "level": one.level,
        "added": one.added_ms,
        "by": one.by,
    }


def _related(one: Related) -> dict[str, Any]:
    is_patient = one.relation is Relation.ASSIGNED_TO
    return {
        "how": gettext(_RELATIONS[one.relation]),
        "target": one.target,
        "is_patient": is_patient,
        "instead": instead_of(one.target) if is_patient else "",
        "since": one.from_ms,
        "by": one.by,
    }


def _service(shown: Shown, now_ms: int) -> dict[str, Any] | None:
    one: Service | None = shown.service
    if one is None:
        return None
    return {
        "used": "" if one.used_h is None else decimal(one.used_h, 1),
        "due": one.due_ms,
        "is_due": one.is_due(now_ms),
        "why": gettext(_DUE[one.reason]) if one.reason in _DUE else "",
        "faults": one.faults,
        "serviced": one.serviced_ms,
    }


def _state(one: WardState) -> dict[str, Any]:
    acuity = [(*_BANDS[name], count) for name, count in (one.acuity or {}).items() if name in _BANDS]
    return {
        "counts": [
            (gettext("Beds"), one.beds),
            (gettext("Taken"), one.census),
            (gettext("Free"), one.free),
            (gettext("Devices"), one.devices),
            (gettext("In use"), one.in_use),
            (gettext("Due for service"), len(one.due)),
        ],
        "hides": "*" in (one.census, one.free, one.in_use),
        "acuity": None if one.acuity is None else [(gettext(said), badge, count) for said, badge, count in acuity],
        "due": one.due,
    }


def _lying(one: Lying) -> dict[str, Any]:
    return {
        "bed": one.bed,
        "twin": one.twin,
        "instead": instead_of(one.twin),
        "since": one.since_ms,
        "score": one.score,
        "badge": "plain" if one.score is None else "bad" if one.score >= 7 else "warn" if one.score >= 5 else "good",
    }
