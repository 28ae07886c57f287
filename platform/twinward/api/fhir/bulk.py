"""The routes of bulk export and import: jobs that are started, asked after, and forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import ContextOf, Prefer, base_of
from twinward.api.fhir.openapi import taking
from twinward.api.http.guard import read_body
from twinward.core.media_types import require_taken
from twinward.core.vocabulary import Again
from twinward.fhir.bulk.export import MEDIA_TYPE, SERVED, Exports
from twinward.fhir.bulk.import_jobs import Imports
from twinward.fhir.mapping.ids import MAX_SOURCE_CHARS, Origin

MAX_BODY_BYTES = 64 * 1024 * 1024
_EXPORTS, _IMPORTS = "$export-jobs", "$import-jobs"
_TAKEN = (MEDIA_TYPE, "application/ndjson", "application/x-ndjson")
_LINES = {"schema": {"type": "string"}}
_REPORT = {"application/json": {"schema": {"type": "object"}}}

SourceName = Annotated[
    str, Query(max_length=MAX_SOURCE_CHARS, description="What the lines come from: their ids are its own")
]
WhatOfIt = Annotated[Again | None, Query(description="What becomes of what was imported before")]


def add_export(router: APIRouter, exports: Exports, context_of: ContextOf) -> None:
    """Export: kick off, ask, fetch, forget."""
    _add_export_starts(router, exports, context_of)
    _add_export_jobs(router, exports, context_of)
    _add_export_files(router, exports, context_of)


def _add_export_starts(router: APIRouter, exports: Exports, context_of: ContextOf) -> None:
    def start(request: Request, prefer: str, context: AccessContext, *, patients_only: bool) -> Response:
        name = exports.start(
            context,
            request.query_params.multi_items(),
            request=str(request.url),
            patients_only=patients_only,
            asynchronous="respond-async" in prefer,
        )
        return _started(request, _EXPORTS, name)

    said: dict[str, Any] = {"status_code": 202, "response_class": Response, "openapi_extra": taking(SERVED)}

    @router.get("/$export", summary="Export everything kept, in the background", **said)
    def export_all(request: Request, prefer: Prefer = "", context: AccessContext = Depends(context_of)) -> Response:
        return start(request, prefer, context, patients_only=False)

    @router.get("/Patient/$export", summary="Export every patient, in the background", **said)
    def export_patients(
        request: Request, prefer: Prefer = "", context: AccessContext = Depends(context_of)
    ) -> Response:
        return start(request, prefer, context, patients_only=True)


def _add_export_jobs(router: APIRouter, exports: Exports, context_of: ContextOf) -> None:
    @router.get(
        f"/{_EXPORTS}/{{job}}",
        summary="How far an export is, and where its files are",
        responses={
            200: {"description": "The manifest", "content": _REPORT},
            202: {"description": "It is being prepared"},
        },
        response_class=Response,
    )
    def status(request: Request, job: str, context: AccessContext = Depends(context_of)) -> Response:
        found = exports.job(context, job)
        if found.types is None:
            return _running(f"{found.looked_at} of {len(found.twins)} patients looked at")
        return _report(found.manifest(f"{base_of(request)}/{_EXPORTS}/{job}"))

    @router.delete(f"/{_EXPORTS}/{{job}}", status_code=202, response_class=Response, summary="Forget an export")
    def cancel(job: str, context: AccessContext = Depends(context_of)) -> Response:
        exports.cancel(context, job)
        return Response(status_code=202)


def _add_export_files(router: APIRouter, exports: Exports, context_of: ContextOf) -> None:
    @router.get(
        f"/{_EXPORTS}/{{job}}/{{file}}",
        summary="One file of an export: each patient's part is an access",
        responses={200: {"description": "A resource a line", "content": {MEDIA_TYPE: _LINES}}},
        response_class=Response,
    )
    def fetch(job: str, file: str, context: AccessContext = Depends(context_of)) -> Response:
        return StreamingResponse(_begun(exports.file(context, job, file)), media_type=MEDIA_TYPE)


def add_import(router: APIRouter, imports: Imports, context_of: ContextOf) -> None:
    """Import: send, ask, forget."""
    _add_import_start(router, imports, context_of)
    _add_import_jobs(router, imports, context_of)


def _add_import_start(router: APIRouter, imports: Imports, context_of: ContextOf) -> None:
    @router.post(
        "/$import",
        status_code=202,
        response_class=Response,
        summary="Import a resource a line, in the background",
        openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(sorted(_TAKEN), _LINES)}},
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
        return _started(request, _IMPORTS, name)


def _add_import_jobs(router: APIRouter, imports: Imports, context_of: ContextOf) -> None:
    @router.get(
        f"/{_IMPORTS}/{{job}}",
        summary="How far an import is, and which lines were refused",
        responses={
            200: {"description": "What became of it", "content": _REPORT},
            202: {"description": "It is running"},
        },
        response_class=Response,
    )
    def status(job: str, context: AccessContext = Depends(context_of)) -> Response:
        found = imports.job(context, job)
        if not found.done:
            return _running(f"{found.tally.created + found.tally.updated} records written")
        return _report(found.manifest())

    @router.delete(f"/{_IMPORTS}/{{job}}", status_code=202, response_class=Response, summary="Forget an import")
    def forget(job: str, context: AccessContext = Depends(context_of)) -> Response:
        imports.forget(context, job)
        return Response(status_code=202)


def _started(request: Request, jobs: str, name: str) -> Response:
    return Response(status_code=202, headers={"content-location": f"{base_of(request)}/{jobs}/{name}"})


def _running(progress: str) -> Response:
    return Response(status_code=202, headers={"x-progress": progress, "retry-after": "1"})


def _report(manifest: dict[str, Any]) -> Response:
    return Response(json.dumps(manifest), media_type="application/json")


def _begun(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The same lines, the first fetched already: what fails at once is an error and not a broken answer."""
    return chain([next(lines, b"")], lines)
