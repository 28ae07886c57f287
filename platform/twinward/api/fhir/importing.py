"""The routes of bulk import: send, ask, forget."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import Prefer, base_of
from twinward.api.http.guard import read_body
from twinward.core.media_types import require_taken
from twinward.core.vocabulary import Again
from twinward.fhir.bulk.export import MEDIA_TYPE
from twinward.fhir.bulk.import_jobs import Imports
from twinward.fhir.mapping.ids import MAX_SOURCE_CHARS, Origin

MAX_BODY_BYTES = 64 * 1024 * 1024
_JOBS = "$import-jobs"
_TAKEN = (MEDIA_TYPE, "application/ndjson", "application/x-ndjson")
SourceName = Annotated[
    str, Query(max_length=MAX_SOURCE_CHARS, description="What the lines come from: their ids are its own")
]
WhatOfIt = Annotated[Again | None, Query(description="What becomes of what was imported before")]
_LINES = {"type": "string"}


def add_importing(router: APIRouter, imports: Imports, context_of: Callable[..., AccessContext]) -> None:
    """Add them to a router."""

    @router.post(
        "/$import",
        status_code=202,
        response_class=Response,
        summary="Import a resource a line, in the background",
        openapi_extra={
            "requestBody": {"required": True, "content": {each: {"schema": _LINES} for each in sorted(_TAKEN)}}
        },
    )
    async def start(
        request: Request,
        source: SourceName = "",
        again: WhatOfIt = None,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
    ) -> Response:
        await run_in_threadpool(imports.require, context)
        origin = Origin(source, again)
        require_taken(request.headers.getlist("content-type"), _TAKEN)
        body = await read_body(request, MAX_BODY_BYTES)
        asynchronous = "respond-async" in prefer
        name = await run_in_threadpool(imports.start, context, body, asynchronous=asynchronous, origin=origin)
        return Response(status_code=202, headers={"content-location": f"{base_of(request)}/{_JOBS}/{name}"})

    @router.get(
        f"/{_JOBS}/{{job}}",
        summary="How far an import is, and which lines were refused",
        responses={
            200: {"description": "What became of it", "content": {"application/json": {"schema": {"type": "object"}}}},
            202: {"description": "It is running"},
        },
        response_class=Response,
    )
    def status(
        job: str,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        found = imports.job(context, job)
        if not found.done:
            progress = f"{found.tally.created + found.tally.updated} records written"
            return Response(status_code=202, headers={"x-progress": progress, "retry-after": "1"})
        return Response(json.dumps(found.manifest()), media_type="application/json")

    @router.delete(f"/{_JOBS}/{{job}}", status_code=202, response_class=Response, summary="Forget an import")
    def forget(
        job: str,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        imports.forget(context, job)
        return Response(status_code=202)
