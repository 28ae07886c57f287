"""Twins over HTTP, in the shape of Eclipse Ditto's things: read now or as they were, listed, followed.

Every read is an access: decided, logged, and only then answered. What a caller may not see of a twin is left out of
the whole (``attributes.withheld`` says what) and refused where it is asked for by name.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.api import selectors, twin_shape
from twinward.api.conditions import is_known, quoted
from twinward.api.twin_events import MEDIA_TYPE, EventStreams, last_event, wants_events
from twinward.api.twin_moment import Moment, moment
from twinward.api.twin_reason import Reason, reason
from twinward.errors import BadInput, NotFound
from twinward.twins.following import FollowingAll, FollowingOne, Subscriber, Writes
from twinward.twins.service import Twins
from twinward.twins.state import FeatureState, TwinState
from twinward.vault.errors import TwinShredded
from twinward.vocabulary import Action, TwinId

PREFIX = "/api/1/twins"
SIZE, MOST = 25, 200
_TWIN = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
TwinPath = Annotated[str, Path(pattern=_TWIN.pattern)]
FeaturePath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="A feature of the schema.")]
InnerPath = Annotated[str, Path(max_length=500, description="Names of members, with slashes between.")]
Fields = Annotated[
    str, Query(max_length=selectors.MAX_CHARS, description="Wanted members: twinId,features/bmi(properties)")
]
_OPTION = re.compile(r"\s*(size|cursor)\(([^()]*)\)\s*(?:,|$)")
_OUTLINED = {"twinId", "_revision", "_modified"}
_TAGGED = {"headers": {"ETag": {"schema": {"type": "string"}, "description": "Which version this is."}}}
_EVENTS = {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
READING: dict[int | str, dict[str, Any]] = {
    200: _TAGGED,
    304: {"description": "The client has this version (If-None-Match)"},
}
READING_OR_FOLLOWING: dict[int | str, dict[str, Any]] = READING | {200: _TAGGED | _EVENTS}


def twins_router(
    twins: Twins,
    access: AccessControl,
    writes: Writes,
    streams: EventStreams,
    principal_of: Callable[..., Principal],
    by_token: Callable[[str], Principal],
) -> APIRouter:
    """The routes that read and follow. ``by_token`` says, while a stream is open, whose token it still is."""
    router = APIRouter(prefix=PREFIX, tags=["Twins"])
    states = twins.states
    schema = states.schema

    def subscription(request: Request) -> Callable[[], None]:
        """Raises once the token of this request is no longer good."""
        token = request.headers.get("authorization", "").partition(" ")[2].strip()

        def still_signed_in() -> None:
            by_token(token)

        return still_signed_in

    @router.get("", summary="All twins, by page; or their changes, as text/event-stream", responses={200: _EVENTS})
    def list_twins(
        request: Request,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        option: Annotated[str, Query(max_length=200, description="size(25),cursor(…)")] = "",
        fields: Fields = "",
    ) -> Response:
        selection = selectors.parse(fields)
        if wants_events(request):
            after = last_event(request)
            return streams.serve(
                lambda: FollowingAll(
                    states, access, writes, Subscriber(principal, why.purpose, why.justification), after=after
                ),
                subscription(request),
                lambda state: twin_shape.whole(state, schema, selection),
            )
        size, after_twin = _option(option)
        access.decide(
            AccessRequest(
                principal,
                Action.SEARCH,
                why.purpose,
                justification=why.justification,
                detail=(("list", ",".join(sorted(selection)) or "outlines"),),
            )
        )
        every = twins.all()
        start = bisect.bisect_right(every, after_twin)
        items = []
        for twin in every[start : start + size]:
            try:
                outline = states.outline(twin)
                if set(selection) <= _OUTLINED:
                    items.append(selectors.pick(twin_shape.outlined(outline), selection))
                    continue
                state = states.read(principal, why.purpose, outline, justification=why.justification)
            except (AccessDenied, TwinShredded):
                continue  # the refusal is logged; a shredded twin is there no more
            items.append(twin_shape.whole(state, schema, selection))
        more = len(every) > start + size
        return JSONResponse({"items": items} | ({"cursor": _cursor(every[start + size - 1])} if more else {}))

    @router.get("/{twin}", summary="One twin; or its changes, as text/event-stream", responses=READING_OR_FOLLOWING)
    def one_twin(
        request: Request,
        twin: TwinPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        when: Moment = Depends(moment),
        fields: Fields = "",
    ) -> Response:
        selection = selectors.parse(fields)
        if wants_events(request):
            after = last_event(request)
            subscriber = Subscriber(principal, why.purpose, why.justification)
            return streams.serve(
                lambda: FollowingOne(states, access, writes, subscriber, TwinId(twin), after=after),
                subscription(request),
                lambda state: twin_shape.whole(state, schema, selection),
            )
        state = whole_state(twin, principal, why, when)
        tag = twin_shape.tag_of(state.outline, "twin", sorted(state.withheld), fields)
        return _answer(request, tag, twin_shape.whole(state, schema, selection))

    @router.get("/{twin}/features", summary="The features that have anything to show", responses=READING)
    def features(
        request: Request,
        twin: TwinPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        when: Moment = Depends(moment),
        fields: Fields = "",
    ) -> Response:
        selection = selectors.parse(fields)
        state = whole_state(twin, principal, why, when)
        tag = twin_shape.tag_of(state.outline, "features", sorted(state.withheld), fields)
        return _answer(request, tag, selectors.pick(twin_shape.features(state), selection))

    @router.get("/{twin}/features/{feature}", summary="One feature: measured, and aimed at", responses=READING)
    def one_feature(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        when: Moment = Depends(moment),
    ) -> Response:
        tag, state = feature_state(twin, feature, principal, why, when)
        return _answer(request, tag, _something(twin_shape.feature(state) or None))

    @router.get(
        "/{twin}/features/{feature}/properties",
        summary="What was measured: value, unit, when, from which record",
        responses=READING,
    )
    def properties(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        when: Moment = Depends(moment),
    ) -> Response:
        tag, state = feature_state(twin, feature, principal, why, when)
        return _answer(request, tag, _something(state.properties))

    @router.get(
        "/{twin}/features/{feature}/properties/{path:path}",
        summary="One member of what was measured",
        responses=READING,
    )
    def one_property(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        path: InnerPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        when: Moment = Depends(moment),
    ) -> Response:
        tag, state = feature_state(twin, feature, principal, why, when)
        return _answer(request, tag, twin_shape.at_path(state.properties, twin_shape.segments(path)))

    @router.get("/{twin}/features/{feature}/desiredProperties", summary="The care target", responses=READING)
    def desired(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        when: Moment = Depends(moment),
    ) -> Response:
        tag, state = feature_state(twin, feature, principal, why, when, measured=False)
        return _answer(request, tag, _something(state.desired))

    @router.get(
        "/{twin}/features/{feature}/desiredProperties/{path:path}",
        summary="One member of the care target",
        responses=READING,
    )
    def one_desired(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        path: InnerPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        when: Moment = Depends(moment),
    ) -> Response:
        tag, state = feature_state(twin, feature, principal, why, when, measured=False)
        return _answer(request, tag, twin_shape.at_path(state.desired, twin_shape.segments(path)))

    def whole_state(twin: str, principal: Principal, why: Reason, when: Moment) -> TwinState:
        outline = states.outline(TwinId(twin))
        state = states.read(principal, why.purpose, outline, justification=why.justification)
        if when == Moment():
            return state
        # Only now: whether there was such a revision is told to those who may read.
        then = states.outline(TwinId(twin), revision=when.revision, at_ms=when.at_ms)
        return states.read(principal, why.purpose, then, justification=why.justification)

    def feature_state(
        twin: str, feature: str, principal: Principal, why: Reason, when: Moment, *, measured: bool = True
    ) -> tuple[str, FeatureState]:
        if feature not in states.units:
            raise NotFound("the schema has no such feature", hint=f"one of {', '.join(states.units)}")
        outline = states.outline(TwinId(twin))
        state = states.read_feature(
            principal, why.purpose, outline, feature, measured=measured, justification=why.justification
        )
        if when != Moment():
            outline = states.outline(TwinId(twin), revision=when.revision, at_ms=when.at_ms)
            state = states.read_feature(
                principal, why.purpose, outline, feature, measured=measured, justification=why.justification
            )
        return twin_shape.tag_of(outline, feature) if measured else twin_shape.target_tag(outline, feature), state

    return router


def _answer(request: Request, tag: str, content: Any) -> Response:
    headers = {"etag": quoted(tag)}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(content, headers=headers)


def _something(content: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if content is None:
        raise NotFound("there is nothing here")
    return content


def _option(text: str) -> tuple[int, TwinId]:
    """Page size and the twin after which the page begins. Raises ``BadInput``."""
    size, after, at = SIZE, "", 0
    while at < len(text):
        match = _OPTION.match(text, at)
        if match is None:
            raise BadInput("this option is not known", hint="e.g. option=size(25),cursor(…)")
        name, value = match.groups()
        if name == "cursor":
            after = _after(value)
        elif value.isascii() and value.isdigit() and 1 <= int(value[:4]) <= MOST and len(value) < 4:
            size = int(value)
        else:
            raise BadInput(f"a page has 1 to {MOST} twins")
        at = match.end()
    return size, TwinId(after)


def _cursor(twin: TwinId) -> str:
    return base64.urlsafe_b64encode(twin.encode()).decode().rstrip("=")


def _after(cursor: str) -> str:
    try:
        twin = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        twin = ""
    if _TWIN.fullmatch(twin) is None:
        raise BadInput("this is not a cursor of this list", hint="take it from the last page, unaltered")
    return twin
