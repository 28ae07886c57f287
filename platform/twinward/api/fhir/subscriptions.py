"""The routes of topic-based subscriptions: a Subscription, how it stands, what it told, the stream that tells it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext, Principal
from twinward.api.fhir.context import ContextOf, Prefer, ResourceId, base_of, fhir, resource_body
from twinward.api.fhir.openapi import answers, body_of, taking
from twinward.api.twins.events import MEDIA_TYPE, EventStreams, frame, last_event
from twinward.core.errors import TwinwardError
from twinward.fhir.errors import outcome_of
from twinward.fhir.search.parameters import require_served
from twinward.fhir.subscriptions.service import OF_EVENTS, OF_STATUS, SEARCHED, Subscriptions
from twinward.fhir.subscriptions.store import Kept
from twinward.fhir.subscriptions.telling import Followed

_ALL = "/Subscription"
_ONE = _ALL + "/{resource_id:fhir_id}"
_KEPT = answers("Subscription", _200="The subscription", _201="It was made")
_STATUS = answers("Bundle", _200="A searchset of Parameters, one a subscription")
_NOTIFICATION = answers("Bundle", _200="A notification Bundle")
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Notification Bundles", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}


@dataclass(frozen=True, slots=True)
class Streaming:
    """What tells subscriptions: their service, the node's places for streams, and whether a token is still good."""

    subscriptions: Subscriptions
    streams: EventStreams
    require_standing: Callable[[Principal], None]


class _Notifications:
    """A subscription's notifications as frames; ``id`` is the number of the last event told."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self.timeout_s = followed.timeout_s

    def begin(self) -> bytes:
        return self._frame(self._followed.first)

    def poll(self) -> Iterator[bytes]:
        for bundle in self._followed.poll():
            yield self._frame(bundle)

    def end(self, error: TwinwardError) -> bytes:
        return frame("end", json.dumps(outcome_of(error), ensure_ascii=False, separators=(",", ":")))

    def _frame(self, bundle: bytes) -> bytes:
        # JSON's own line breaks, and those of a resource as it is kept, would end the line: they are blanks to JSON.
        data = bundle.decode().replace("\r", " ").replace("\n", " ")
        return frame("subscription-notification", data, self._followed.resume)


def add_subscriptions(router: APIRouter, streaming: Streaming, context_of: ContextOf) -> None:
    """Before the routes of any type, which refuse a Subscription."""
    _add_search(router, streaming.subscriptions, context_of)
    _add_statuses(router, streaming.subscriptions, context_of)
    _add_events(router, streaming.subscriptions, context_of)
    _add_stream(router, streaming, context_of)
    _add_reads(router, streaming.subscriptions, context_of)
    _add_writes(router, streaming.subscriptions, context_of)


def _add_search(router: APIRouter, service: Subscriptions, context_of: ContextOf) -> None:
    @router.get(
        _ALL,
        summary="The caller's subscriptions",
        responses=answers("Bundle", _200="All of them"),
        openapi_extra=taking(SEARCHED),
    )
    def search(request: Request, context: AccessContext = Depends(context_of)) -> Response:
        return fhir(service.search(context, request.query_params.multi_items(), base_of(request)))


def _add_statuses(router: APIRouter, service: Subscriptions, context_of: ContextOf) -> None:
    @router.get(
        _ALL + "/$status",
        summary="How the caller's subscriptions stand",
        responses=_STATUS,
        openapi_extra=taking(OF_STATUS),
    )
    def statuses(request: Request, context: AccessContext = Depends(context_of)) -> Response:
        return fhir(service.statuses(context, request.query_params.multi_items(), base_of(request)))

    @router.get(_ONE + "/$status", summary="How a subscription stands", responses=_STATUS)
    def status(request: Request, resource_id: ResourceId, context: AccessContext = Depends(context_of)) -> Response:
        return fhir(service.statuses(context, request.query_params.multi_items(), base_of(request), resource_id))


def _add_events(router: APIRouter, service: Subscriptions, context_of: ContextOf) -> None:
    @router.get(
        _ONE + "/$events",
        summary="The newest events of a subscription",
        responses=_NOTIFICATION,
        openapi_extra=taking(OF_EVENTS),
    )
    def events(request: Request, resource_id: ResourceId, context: AccessContext = Depends(context_of)) -> Response:
        return fhir(service.events(context, resource_id, request.query_params.multi_items(), base_of(request)))


def _add_stream(router: APIRouter, streaming: Streaming, context_of: ContextOf) -> None:
    service = streaming.subscriptions

    @router.get(
        _ONE + "/$stream",
        summary="A subscription's notifications, as text/event-stream",
        response_class=Response,
        responses=_STREAM,
    )
    def stream(request: Request, resource_id: ResourceId, context: AccessContext = Depends(context_of)) -> Response:
        service.require(context)
        require_served("$stream", request.query_params.multi_items(), ())
        after, base = last_event(request), base_of(request)
        return streaming.streams.tell(
            context.principal.id,
            lambda: _Notifications(service.follow(context, resource_id, base=base, after=after)),
            lambda: streaming.require_standing(context.principal),
        )


def _add_reads(router: APIRouter, service: Subscriptions, context_of: ContextOf) -> None:
    @router.get(_ONE, summary="Read a subscription of the caller's", responses=_KEPT)
    def read(request: Request, resource_id: ResourceId, context: AccessContext = Depends(context_of)) -> Response:
        service.require(context)
        require_served("a read of a Subscription", request.query_params.multi_items(), ())
        return _answer(request, service, service.read(context, resource_id))


def _add_writes(router: APIRouter, service: Subscriptions, context_of: ContextOf) -> None:
    async def body_for(request: Request, what: str, context: AccessContext) -> bytes:
        await run_in_threadpool(service.require, context)
        require_served(what, request.query_params.multi_items(), ())
        return await resource_body(request)

    @router.post(
        _ALL, summary="Subscribe to a topic", status_code=201, responses=_KEPT, openapi_extra=body_of("Subscription")
    )
    async def create(request: Request, prefer: Prefer = "", context: AccessContext = Depends(context_of)) -> Response:
        body = await body_for(request, "a creation", context)
        kept = await run_in_threadpool(service.create, context, body)
        return _answer(request, service, kept, 201, prefer)

    @router.put(
        _ONE, summary="Change a subscription of the caller's", responses=_KEPT, openapi_extra=body_of("Subscription")
    )
    async def update(
        request: Request, resource_id: ResourceId, prefer: Prefer = "", context: AccessContext = Depends(context_of)
    ) -> Response:
        body = await body_for(request, "an update", context)
        kept = await run_in_threadpool(service.update, context, resource_id, body)
        return _answer(request, service, kept, 200, prefer)

    @router.delete(_ONE, status_code=204, summary="End a subscription of the caller's")
    def delete(request: Request, resource_id: ResourceId, context: AccessContext = Depends(context_of)) -> Response:
        service.require(context)
        require_served("a deletion", request.query_params.multi_items(), ())
        service.delete(context, resource_id)
        return fhir(b"", 204)


def _answer(request: Request, service: Subscriptions, kept: Kept, status: int = 200, prefer: str = "") -> Response:
    content = b"" if "return=minimal" in prefer else service.shown(kept)
    location = f"{base_of(request)}/Subscription/{kept.id}" if status == 201 else ""
    return fhir(content, status, version=kept.version, at_ms=kept.changed_ms, location=location)
