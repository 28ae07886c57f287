"""Twins over HTTP, in the shape of Eclipse Ditto's things: read now or as they were, listed, followed.

Every read is an access: decided, logged, and only then answered. What a caller may not see of a twin is left out of
the whole (``attributes.withheld`` says what) and refused where it is asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from twinward.access.interfaces import AccessContext, AccessControl, Principal
from twinward.api.http.caller import access_context
from twinward.api.http.conditions import evaluates, is_known, of_tags, quoted
from twinward.api.twins import shape
from twinward.api.twins.events import MEDIA_TYPE, EventStreams, last_event, wants_events
from twinward.api.twins.pages import TWIN, Pages
from twinward.core.clock import instant_ms
from twinward.core.errors import BadInput, NotFound
from twinward.core.preconditions import IF_MATCH, IF_NONE_MATCH, Preconditions
from twinward.core.vocabulary import TwinId
from twinward.twins.service import Twins
from twinward.twins.state.states import FeatureState, TwinState
from twinward.twins.state.subscriptions import AllTwinsSubscription, TwinSubscription, Writes

PREFIX = "/api/1/twins"
TwinPath = Annotated[str, Path(pattern=TWIN.pattern)]
FeaturePath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="A feature of the schema.")]
InnerPath = Annotated[str, Path(max_length=500, description="Names of members, with slashes between.")]
Fields = Annotated[
    str, Query(max_length=shape.MAX_CHARS, description="Wanted members: twinId,features/bmi(properties)")
]
_TAGGED = {"headers": {"ETag": {"schema": {"type": "string"}, "description": "Which version this is."}}}
_EVENTS = {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
READING: dict[int | str, dict[str, Any]] = {
    200: _TAGGED,
    304: {"description": "The client has this version (If-None-Match)"},
    412: {"description": "It is another version (If-Match)"},
}
READING_OR_FOLLOWING: dict[int | str, dict[str, Any]] = READING | {200: _TAGGED | _EVENTS}
_FEATURE = "/{twin}/features/{feature}"
_MOST = 2**53 - 1
_MAX_TIME_CHARS = 40


@dataclass(frozen=True, slots=True)
class Moment:
    """At most one of them is set; neither is now."""

    revision: int | None = None
    at_ms: int | None = None


_Revision = Annotated[int | None, Query(ge=1, le=_MOST, description="The twin as it was at this revision.")]
_Time = Annotated[str | None, Query(max_length=_MAX_TIME_CHARS, description="The twin as it was then (RFC 3339).")]


def moment(
    at_revision: Annotated[_Revision, Query(alias="at-revision")] = None,
    at_time: Annotated[_Time, Query(alias="at-time")] = None,
    historical_revision: Annotated[_Revision, Query(alias="at-historical-revision")] = None,
    historical_timestamp: Annotated[_Time, Query(alias="at-historical-timestamp")] = None,
    header_revision: Annotated[int | None, Header(alias="at-historical-revision", ge=1, le=_MOST)] = None,
    header_timestamp: Annotated[str | None, Header(alias="at-historical-timestamp", max_length=_MAX_TIME_CHARS)] = None,
) -> Moment:
    """The moment a request names. Raises ``BadInput`` if it names two, or a time that is none."""
    revisions = {one for one in (at_revision, historical_revision, header_revision) if one is not None}
    times = {instant_ms(one) for one in (at_time, historical_timestamp, header_timestamp) if one is not None}
    if len(revisions) + len(times) > 1:
        raise BadInput("the request names several moments", hint="give one revision or one time")
    return Moment(next(iter(revisions), None), next(iter(times), None))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every read of a twin says: who asks and why, of which moment, and what the caller has already."""

    context: AccessContext
    when: Moment
    conditions: Preconditions


_Asker = Callable[..., Coroutine[Any, Any, _Asked]]
"""The dependency that gathers it."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads twins for who may see them, and follows them for as long as a token is good."""

    twins: Twins
    pages: Pages
    writes: Writes
    streams: EventStreams
    access: AccessControl
    require_standing: Callable[[Principal], None]

    def whole(self, twin: TwinId, asked: _Asked) -> TwinState:
        """All that the caller may see of a twin. Whether there was a revision is told to those who may read."""
        states = self.twins.states
        state = states.read(asked.context, self.pages.now(twin))
        if asked.when == Moment():
            return state
        then = states.outline(twin, revision=asked.when.revision, at_ms=asked.when.at_ms)
        return states.read(asked.context, then)

    def feature(self, twin: TwinId, name: str, asked: _Asked, *, measured: bool = True) -> tuple[str, FeatureState]:
        """One feature, or its target alone, and the entity tag of that."""
        states = self.twins.states
        if name not in states.units:
            raise NotFound("the schema has no such feature", hint=f"one of {', '.join(states.units)}")
        read = partial(states.read_feature, asked.context, measured=measured)
        outline = self.pages.now(twin)
        state = read(outline, name)
        if asked.when != Moment():
            outline = states.outline(twin, revision=asked.when.revision, at_ms=asked.when.at_ms)
            state = read(outline, name)
        return shape.tag_of(outline, name) if measured else shape.target_tag(outline, name), state

    def follow_all(self, request: Request, context: AccessContext, selection: shape.Selection) -> Response:
        """The changes of every twin, as a stream."""
        after = last_event(request)
        return self._stream(
            lambda: AllTwinsSubscription(self.twins.states, self.access, self.writes, context, after=after),
            context.principal,
            selection,
        )

    def follow(self, request: Request, twin: TwinId, asked: _Asked, selection: shape.Selection) -> Response:
        """The changes of one twin, as a stream."""
        after, context = last_event(request), asked.context
        return self._stream(
            lambda: TwinSubscription(self.twins.states, self.access, self.writes, context, twin, after=after),
            context.principal,
            selection,
        )

    def _stream(
        self,
        begin: Callable[[], AllTwinsSubscription] | Callable[[], TwinSubscription],
        principal: Principal,
        selection: shape.Selection,
    ) -> Response:
        return self.streams.serve(
            principal.id,
            begin,
            lambda: self.require_standing(principal),
            lambda state: shape.whole(state, self.twins.states.schema, selection),
        )


def twins_router(
    twins: Twins,
    access: AccessControl,
    writes: Writes,
    streams: EventStreams,
    principal_of: Callable[..., Any],
    require_standing: Callable[[Principal], None],
) -> APIRouter:
    """The routes that read and follow. ``require_standing`` raises once a token is good no longer: its streams end."""
    router = APIRouter(prefix=PREFIX, tags=["Twins"])
    reading = _Reading(twins, Pages(twins, access), writes, streams, access, require_standing)

    context_of = access_context(principal_of)

    async def asked(
        context: AccessContext = Depends(context_of),
        when: Moment = Depends(moment),
        conditions: Preconditions = Depends(of_tags),
    ) -> _Asked:
        return _Asked(context, when, conditions)

    _add_list(router, reading, context_of)
    _add_whole(router, reading, asked)
    _add_features(router, reading, asked)
    _add_properties(router, reading, asked)
    _add_targets(router, reading, asked)
    return router


def _add_list(router: APIRouter, reading: _Reading, context_of: Callable[..., Any]) -> None:
    @router.get("", summary="All twins, by page; or their changes, as text/event-stream", responses={200: _EVENTS})
    def list_twins(
        request: Request,
        context: AccessContext = Depends(context_of),
        option: Annotated[str, Query(max_length=200, description="size(25),cursor(…)")] = "",
        fields: Fields = "",
    ) -> Response:
        selection = shape.selection_of(fields)
        if wants_events(request):
            return reading.follow_all(request, context, selection)
        return JSONResponse(reading.pages.page(context, option, selection))


def _add_whole(router: APIRouter, reading: _Reading, asked_of: _Asker) -> None:
    @router.get("/{twin}", summary="One twin; or its changes, as text/event-stream", responses=READING_OR_FOLLOWING)
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def one_twin(request: Request, twin: TwinPath, asked: _Asked = Depends(asked_of), fields: Fields = "") -> Response:
        selection = shape.selection_of(fields)
        if wants_events(request):
            return reading.follow(request, TwinId(twin), asked, selection)
        state = reading.whole(TwinId(twin), asked)
        tag = shape.tag_of(state.outline, "twin", sorted(state.withheld), fields)
        return _answer(asked, tag, shape.whole(state, reading.twins.states.schema, selection))


def _add_features(router: APIRouter, reading: _Reading, asked_of: _Asker) -> None:
    @router.get("/{twin}/features", summary="The features that have anything to show", responses=READING)
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def features(twin: TwinPath, asked: _Asked = Depends(asked_of), fields: Fields = "") -> Response:
        selection = shape.selection_of(fields)
        state = reading.whole(TwinId(twin), asked)
        tag = shape.tag_of(state.outline, "features", sorted(state.withheld), fields)
        return _answer(asked, tag, shape.pick(shape.features(state), selection))

    @router.get(_FEATURE, summary="One feature: measured, and aimed at", responses=READING)
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def one_feature(twin: TwinPath, feature: FeaturePath, asked: _Asked = Depends(asked_of)) -> Response:
        tag, state = reading.feature(TwinId(twin), feature, asked)
        return _answer(asked, tag, _something(shape.feature(state) or None))


def _add_properties(router: APIRouter, reading: _Reading, asked_of: _Asker) -> None:
    @router.get(
        _FEATURE + "/properties",
        summary="What was measured: value, unit, when, from which record",
        responses=READING,
    )
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def properties(twin: TwinPath, feature: FeaturePath, asked: _Asked = Depends(asked_of)) -> Response:
        tag, state = reading.feature(TwinId(twin), feature, asked)
        return _answer(asked, tag, _something(state.properties))

    @router.get(_FEATURE + "/properties/{path:path}", summary="One member of what was measured", responses=READING)
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def one_property(
        twin: TwinPath, feature: FeaturePath, path: InnerPath, asked: _Asked = Depends(asked_of)
    ) -> Response:
        tag, state = reading.feature(TwinId(twin), feature, asked)
        return _answer(asked, tag, shape.at_path(state.properties, shape.segments(path)))


def _add_targets(router: APIRouter, reading: _Reading, asked_of: _Asker) -> None:
    @router.get(_FEATURE + "/desiredProperties", summary="The care target", responses=READING)
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def desired(twin: TwinPath, feature: FeaturePath, asked: _Asked = Depends(asked_of)) -> Response:
        tag, state = reading.feature(TwinId(twin), feature, asked, measured=False)
        return _answer(asked, tag, _something(state.desired))

    @router.get(_FEATURE + "/desiredProperties/{path:path}", summary="One member of the care target", responses=READING)
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def one_desired(
        twin: TwinPath, feature: FeaturePath, path: InnerPath, asked: _Asked = Depends(asked_of)
    ) -> Response:
        tag, state = reading.feature(TwinId(twin), feature, asked, measured=False)
        return _answer(asked, tag, shape.at_path(state.desired, shape.segments(path)))


def _answer(asked: _Asked, tag: str, content: Any) -> Response:
    headers = {"etag": quoted(tag)}
    if is_known(asked.conditions, tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(content, headers=headers)


def _something(content: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if content is None:
        raise NotFound("there is nothing here")
    return content
