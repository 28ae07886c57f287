"""Series of a twin over HTTP: a span of a signal, its value at a moment, its newest values, and what comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from twinward.access.interfaces import AccessContext, Principal
from twinward.api.http.caller import access_context
from twinward.api.twins.events import MEDIA_TYPE, EventStreams, frame, last_event, wants_events
from twinward.api.twins.pages import TWIN
from twinward.core.clock import instant_ms, iso
from twinward.core.errors import TwinwardError
from twinward.core.vocabulary import Action, TwinId
from twinward.live.errors import BadQuery
from twinward.live.following import Follower
from twinward.live.models import Quality
from twinward.live.service import Live, signal_named
from twinward.live.signals import LOINC, Signal
from twinward.live.timeseries import MIN_STEP_MS, Aggregate, Point, Span
from twinward.twins.errors import TwinNotFound
from twinward.twins.service import Twins

TwinPath = Annotated[str, Path(pattern=TWIN.pattern)]
SignalPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="A signal, e.g. heart_rate.")]
Time = Annotated[str, Query(max_length=40, description="RFC 3339, with its offset.")]
_DAY_MS = 86_400_000
_ENCODER = msgspec.json.Encoder()
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Points by time",
        "content": {"application/json": {}, MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


def add_series(
    router: APIRouter,
    live: Live,
    known: Callable[[AccessContext, str], TwinId],
    streams: EventStreams,
    principal_of: Callable[..., Any],
    require_standing: Callable[[Principal], None],
) -> None:
    """The routes."""
    context_of = access_context(principal_of)
    _add_span(router, live, known, streams, context_of, require_standing)
    _add_moments(router, live, known, context_of)


def known_twins(twins: Twins) -> Callable[[AccessContext, str], TwinId]:
    """The twin of a path, for whoever may read twins at all. Raises ``AccessDenied``, ``TwinNotFound``."""

    def known(context: AccessContext, twin: str) -> TwinId:
        if context.principal.own_twin != twin:
            twins.require(context, Action.READ)
        if twins.all(TwinId(twin), 1) != [twin]:
            raise TwinNotFound("there is no such twin")
        return TwinId(twin)

    return known


def _add_span(
    router: APIRouter,
    live: Live,
    known: Callable[[AccessContext, str], TwinId],
    streams: EventStreams,
    context_of: Callable[..., Any],
    require_standing: Callable[[Principal], None],
) -> None:
    @router.get(
        "/twins/{twin}/features/{signal}/timeseries",
        summary="A signal over a span, as it is or by steps; or, as text/event-stream, what comes",
        response_class=Response,
        responses=_ANSWER,
    )
    def timeseries(
        request: Request,
        twin: TwinPath,
        signal: SignalPath,
        context: AccessContext = Depends(context_of),
        since: Annotated[Time | None, Query(alias="from", description="Default: a day before `to`.")] = None,
        until: Annotated[Time | None, Query(alias="to", description="Default: now.")] = None,
        step: Annotated[int, Query(ge=0, le=400 * _DAY_MS, description="Milliseconds; 0: samples as they are.")] = 0,
        agg: Annotated[Aggregate, Query(description="Of the samples of a step.")] = Aggregate.MEAN,
    ) -> Response:
        found = known(context, twin)
        if wants_events(request):
            after = last_event(request)
            return streams.tell(
                context.principal.id,
                lambda: _Samples(live.follow(context, found, signal, after)),
                lambda: require_standing(context.principal),
            )
        to_ms = live.clock.now_ms() + 1 if until is None else instant_ms(until)
        from_ms = max(0, to_ms - _DAY_MS) if since is None else instant_ms(since)
        if agg is not Aggregate.MEAN and not step:
            raise BadQuery("agg wants a step", hint=f"e.g. step=60000&agg={agg.value}; a step is {MIN_STEP_MS} or more")
        points = live.series(context, found, signal, Span(from_ms, to_ms, step, agg))
        return _json(
            _head(twin, signal_named(signal))
            | {"from": iso(from_ms), "to": iso(to_ms), "step": step, "agg": agg if step else None}
            | {"points": [_point(one) for one in points]}
        )


def _add_moments(
    router: APIRouter, live: Live, known: Callable[[AccessContext, str], TwinId], context_of: Callable[..., Any]
) -> None:
    @router.get(
        "/twins/{twin}/features/{signal}/timeseries/value",
        summary="A signal's value as it stands, or stood at a moment",
        response_class=Response,
        responses={200: {"description": "The last sample measured up to then", "content": {"application/json": {}}}},
    )
    def value(
        twin: TwinPath,
        signal: SignalPath,
        context: AccessContext = Depends(context_of),
        at: Annotated[Time | None, Query(alias="at-time", description="Default: now.")] = None,
    ) -> Response:
        point = live.at(context, known(context, twin), signal, None if at is None else instant_ms(at))
        return _json(_head(twin, signal_named(signal)) | _point(point))

    @router.get(
        "/twins/{twin}/live",
        summary="The newest value of every signal",
        response_class=Response,
        responses={200: {"description": "Signals that have one", "content": {"application/json": {}}}},
    )
    def newest(
        twin: TwinPath,
        context: AccessContext = Depends(context_of),
        at: Annotated[Time | None, Query(alias="at-time", description="Default: now.")] = None,
    ) -> Response:
        shown, withheld = live.newest(context, known(context, twin), None if at is None else instant_ms(at))
        signals = {one.signal.name: {"unit": one.signal.unit} | _point(one.point) for one in shown}
        return _json({"twinId": twin, "withheld": sorted(withheld), "signals": signals})


class _Samples:
    """A signal's samples as frames; ``id`` is the time of the last."""

    timeout_s = 0

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def begin(self) -> bytes:
        return frame("ready", "{}", self._follower.after_ms)

    def poll(self) -> Iterator[bytes]:
        points = self._follower.poll()
        if points:
            yield frame("samples", _ENCODER.encode([_point(one) for one in points]).decode(), self._follower.after_ms)

    def end(self, error: TwinwardError) -> bytes:
        message, hint = error.outside()
        said = {"error": {"kind": type(error).__name__, "message": message, "hint": hint}}
        return frame("end", json.dumps(said, ensure_ascii=False, separators=(",", ":")))


def _head(twin: str, signal: Signal) -> dict[str, object]:
    return {"twinId": twin, "signal": signal.name, "code": f"{LOINC}|{signal.loinc[0]}", "unit": signal.unit}


def _point(point: Point) -> dict[str, object]:
    shown: dict[str, object] = {"time": iso(point.time_ms), "value": point.value}
    if point.quality is not Quality.GOOD:
        shown["quality"] = point.quality
    return shown


def _json(content: dict[str, object]) -> Response:
    return Response(_ENCODER.encode(content), media_type="application/json")
