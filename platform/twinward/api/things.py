"""Twins of things over HTTP: what there is, how it stands, what happens to it, and its WoT Thing Description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from twinward.access.interfaces import AccessContext
from twinward.api.http.caller import access_context
from twinward.api.http.json_body import Sent, documented, read_json, small_body
from twinward.api.twins.pages import TWIN
from twinward.core.clock import instant_ms, iso
from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId
from twinward.live.intake.lines import NAME
from twinward.things.descriptions import MEDIA_TYPE
from twinward.things.errors import NoSuchAffordance
from twinward.things.interactions import Report
from twinward.things.models import MAX_NOTE_CHARS, MAX_TITLE_CHARS, Happening, Kind, Related, Relation, Thing, What
from twinward.things.service import New, Things, usual_purpose
from twinward.twins.errors import TwinNotFound
from twinward.twins.service import Twins

NamePath = Annotated[str, Path(pattern=f"^{NAME.pattern}$", max_length=64, description="What the thing is called.")]
Time = Annotated[str, Field(max_length=40, description="RFC 3339, with its offset.")]
_TD: dict[int | str, dict[str, Any]] = {
    200: {"description": "W3C WoT Thing Description 1.1", "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}
}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewThing(_Asked):
    """A thing that is to be added."""

    name: Annotated[str, Field(max_length=64)]
    kind: Kind
    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE_CHARS)]
    type: Annotated[str, Field(max_length=20)] = ""
    serviceHours: Annotated[int, Field(ge=0, le=100_000)] = 0  # noqa: N815 - as on the wire
    serviceDays: Annotated[int, Field(ge=0, le=10_000)] = 0  # noqa: N815
    unit: Annotated[str, Field(max_length=20)] = ""


class NewRelation(_Asked):
    """How a thing stands to another, or to a patient's twin."""

    relation: Relation
    target: Annotated[str, Field(min_length=1, max_length=64)]
    since: Time | None = None


class End(_Asked):
    """Since when a thing stands so no longer."""

    until: Time | None = None


class Action(_Asked):
    """What is said of an action."""

    twin: Annotated[str, Field(pattern=TWIN.pattern)] | None = None
    amount: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    note: Annotated[str, Field(max_length=MAX_NOTE_CHARS)] = ""


class Question(_Asked):
    """What is to be other than it is; what is not said stays as it is."""

    beds: Annotated[int, Field(ge=1, le=10_000)] | None = None
    arrivals: Annotated[str, Field(max_length=32, description="E.g. 3/day.")] | None = None
    stay: Annotated[str, Field(max_length=32, description="The mean, e.g. 3.5d.")] | None = None
    spread: Annotated[float, Field(ge=0, le=10, description="Standard deviation over mean.")] | None = None
    staff: Annotated[int, Field(ge=1, le=10_000)] | None = None
    perStaff: Annotated[float, Field(ge=0, le=1_000)] | None = None  # noqa: N815
    waiting: Annotated[int, Field(ge=-1, le=1_000_000, description="How many may wait; -1: all.")] | None = None
    days: Annotated[float, Field(ge=0, le=3_660)] | None = None
    runs: Annotated[int, Field(ge=2, le=1_000)] = 100
    seed: Annotated[int, Field(ge=0, le=2**53)] = 1


MOST_ARRIVALS: Final = 100_000
"""Of one question over HTTP: a second of work."""


def things_router(things: Things, twins: Twins, principal_of: Callable[..., Any], public_url: str) -> APIRouter:
    """The routes. ``public_url``: the node's address as others reach it, where the settings say so."""
    router = APIRouter(prefix="/api/1/things", tags=["Things"])
    context_of = access_context(principal_of, usual_purpose)
    _add_looks(router, things, context_of, public_url)
    _add_changes(router, things, twins, context_of)
    _add_relations(router, things, twins, context_of)
    _add_question(router, things, context_of)
    return router


def _add_looks(router: APIRouter, things: Things, context_of: Callable[..., Any], public_url: str) -> None:
    @router.get("", summary="Things, by name")
    def all_things(
        context: AccessContext = Depends(context_of),
        kind: Annotated[Kind | None, Query(description="Of this kind only.")] = None,
    ) -> JSONResponse:
        return JSONResponse({"things": [_thing(one) for one in things.all(context, kind)]})

    @router.get("/{name}", summary="A thing as it stands: what it is, where, with whom, what is in it")
    def one_thing(name: NamePath, context: AccessContext = Depends(context_of)) -> JSONResponse:
        found = things.show(context, name)
        relations = [_relation(one) for one in found.relations]
        contains = sorted(one.thing for one in found.contains)
        about = _thing(found.thing) | {"relations": relations, "contains": contains}
        return JSONResponse(about | {"properties": found.properties()})

    @router.get("/{name}/properties", summary="A thing's properties, as its description names them")
    def all_properties(name: NamePath, context: AccessContext = Depends(context_of)) -> JSONResponse:
        return JSONResponse(things.properties(context, name))

    @router.get("/{name}/properties/{property}", summary="One of a thing's properties")
    def one_property(
        name: NamePath,
        property_: Annotated[str, Path(alias="property", pattern="^[A-Za-z]{1,40}$")],
        context: AccessContext = Depends(context_of),
    ) -> JSONResponse:
        found = things.properties(context, name)
        if property_ not in found:
            raise NoSuchAffordance("the thing has no such property, or it is not for you to see")
        return JSONResponse(found[property_])

    @router.get(
        "/{name}/description", summary="A thing's WoT Thing Description", response_class=Response, responses=_TD
    )
    def describe(request: Request, name: NamePath, context: AccessContext = Depends(context_of)) -> JSONResponse:
        base = public_url or str(request.base_url).rstrip("/")
        return JSONResponse(things.describe(context, name, base.rstrip("/")), media_type=MEDIA_TYPE)

    @router.get("/{name}/history", summary="All that a thing was, and that happened to it")
    def history(name: NamePath, context: AccessContext = Depends(context_of)) -> JSONResponse:
        found = things.history(context, name)
        return JSONResponse({"history": [_relation(o) if isinstance(o, Related) else _happening(o) for o in found]})


def _add_changes(router: APIRouter, things: Things, twins: Twins, context_of: Callable[..., Any]) -> None:
    @router.post("", summary="Add a thing", status_code=201, openapi_extra=documented(NewThing, required=True))
    def add(context: AccessContext = Depends(context_of), body: Sent = Depends(small_body)) -> JSONResponse:
        things.require(context)
        asked = read_json(NewThing, body)
        hours, days = asked.serviceHours, asked.serviceDays
        new = New(asked.name, asked.kind, asked.title, asked.type, hours, days, asked.unit)
        return JSONResponse(_thing(things.add(context, new)), 201)

    @router.post(
        "/{name}/actions/{action}",
        summary="Note that something happened to a thing: started, stopped, used, filled, fault, serviced",
        openapi_extra=documented(Action, required=False),
    )
    def act(
        name: NamePath, action: What, context: AccessContext = Depends(context_of), body: Sent = Depends(small_body)
    ) -> JSONResponse:
        things.require(context)
        asked = read_json(Action, body)
        twin = None if asked.twin is None else _known(twins, asked.twin)
        report = Report(action, twin, asked.amount, asked.note)
        return JSONResponse(_happening(things.interactions.record(context, name, report)))


def _add_relations(router: APIRouter, things: Things, twins: Twins, context_of: Callable[..., Any]) -> None:
    @router.post(
        "/{name}/relations",
        summary="Say how a thing stands to another, or with which patient it is",
        openapi_extra=documented(NewRelation, required=True),
    )
    def relate(
        name: NamePath, context: AccessContext = Depends(context_of), body: Sent = Depends(small_body)
    ) -> JSONResponse:
        things.require(context)
        asked = read_json(NewRelation, body)
        target = asked.target
        if asked.relation is Relation.ASSIGNED_TO:
            if not TWIN.fullmatch(target):
                raise BadInput("assigned-to is to a patient's twin", hint="the opaque id of one")
            target = _known(twins, target)
        since_ms = None if asked.since is None else instant_ms(asked.since)
        return JSONResponse(_relation(things.relations.relate(context, name, asked.relation, target, since_ms)))

    @router.post(
        "/{name}/relations/{relation}/end",
        summary="Say that a thing stands so no longer",
        openapi_extra=documented(End, required=False),
    )
    def end(
        name: NamePath,
        relation: Relation,
        context: AccessContext = Depends(context_of),
        body: Sent = Depends(small_body),
    ) -> JSONResponse:
        things.require(context)
        asked = read_json(End, body)
        until_ms = None if asked.until is None else instant_ms(asked.until)
        return JSONResponse(_relation(things.relations.end(context, name, relation, until_ms)))


def _add_question(router: APIRouter, things: Things, context_of: Callable[..., Any]) -> None:
    @router.post(
        "/{name}/what-if",
        summary="What comes of other numbers, from how a ward or a hospital stands now: simulated",
        openapi_extra=documented(Question, required=False),
    )
    def what_if(
        name: NamePath, context: AccessContext = Depends(context_of), body: Sent = Depends(small_body)
    ) -> JSONResponse:
        from twinward.things.what_if.answers import answer
        from twinward.things.what_if.baseline import Changes
        from twinward.things.what_if.scenario import hours, per_hour

        things.require(context)
        asked = read_json(Question, body)
        changes = Changes(
            places=asked.beds,
            arrivals_h=None if asked.arrivals is None else per_hour(asked.arrivals),
            mean_h=None if asked.stay is None else hours(asked.stay),
            spread=asked.spread,
            staff=asked.staff,
            per_staff=asked.perStaff,
            waiting=asked.waiting,
            days=asked.days,
        )
        outlook = things.what_if(context, name, changes, asked.runs, asked.seed, most_arrivals=MOST_ARRIVALS)
        return JSONResponse(answer(outlook))


def _known(twins: Twins, twin: str) -> TwinId:
    if twins.all(TwinId(twin), 1) != [twin]:
        raise TwinNotFound("there is no such twin")
    return TwinId(twin)


def _thing(thing: Thing) -> dict[str, Any]:
    about: dict[str, Any] = {"name": thing.name, "kind": thing.kind.value, "title": thing.title, "type": thing.type}
    about |= {"id": thing.id, "serviceHours": thing.service_hours, "serviceDays": thing.service_days}
    return about | ({"level": thing.level, "unit": thing.unit} if thing.kind is Kind.STOCK else {})


def _relation(one: Related) -> dict[str, Any]:
    until = None if one.until_ms is None else iso(one.until_ms)
    about = {"thing": one.thing, "relation": one.relation.value, "target": one.target}
    return about | {"from": iso(one.from_ms), "until": until, "by": one.by}


def _happening(one: Happening) -> dict[str, Any]:
    about = {"thing": one.thing, "what": one.what.value, "at": iso(one.at_ms), "by": one.by}
    return about | {"twinId": one.twin, "amount": one.amount or None, "note": one.note or None}
