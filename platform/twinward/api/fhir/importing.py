"""The routes of bulk import: send, ask, forget."""

from __future__ import annotations

import json
from collections.abc import Callable

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import Principal
from twinward.api.fhir.context import AccessContext, Prefer, access_context, base_of
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.export import MEDIA_TYPE
from twinward.fhir.import_jobs import Imports

_JOBS = "$import-jobs"
_TAKEN = (MEDIA_TYPE, "application/ndjson", "application/x-ndjson")
_LINES = {"type": "string"}


def add_importing(router: APIRouter, imports: Imports, principal_of: Callable[..., Principal]) -> None:
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
        prefer: Prefer = "",
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        purpose = context.purpose(principal)
        await run_in_threadpool(imports.require, principal, purpose)
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given not in _TAKEN:
            raise InvalidResource(Issue("not-supported", "", f"the content type is {MEDIA_TYPE} here"))
        body = await request.body()
        asynchronous = "respond-async" in prefer
        name = await run_in_threadpool(imports.start, principal, purpose, body, asynchronous=asynchronous)
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
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        found = imports.job(principal, context.purpose(principal), job)
        if not found.done:
            progress = f"{found.tally.created + found.tally.updated} records written"
            return Response(status_code=202, headers={"x-progress": progress, "retry-after": "1"})
        return Response(json.dumps(found.manifest()), media_type="application/json")

    @router.delete(f"/{_JOBS}/{{job}}", status_code=202, response_class=Response, summary="Forget an import")
    def forget(
        job: str,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        imports.forget(principal, context.purpose(principal), job)
        return Response(status_code=202)
