"""The routes of bulk export: kick off, ask, fetch, forget."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import Prefer, base_of
from twinward.api.fhir.parameters import taking
from twinward.fhir.bulk.export import MEDIA_TYPE, SERVED, Exports

_JOBS = "$export-jobs"


def add_exporting(router: APIRouter, exports: Exports, context_of: Callable[..., AccessContext]) -> None:
    """Add them to a router."""

    def start(request: Request, prefer: str, context: AccessContext, *, patients_only: bool) -> Response:
        name = exports.start(
            context,
            request.query_params.multi_items(),
            request=str(request.url),
            patients_only=patients_only,
            asynchronous="respond-async" in prefer,
        )
        return Response(status_code=202, headers={"content-location": f"{base_of(request)}/{_JOBS}/{name}"})

    @router.get(
        "/$export",
        status_code=202,
        response_class=Response,
        summary="Export everything kept, in the background",
        openapi_extra=taking(SERVED),
    )
    def export_all(
        request: Request,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
    ) -> Response:
        return start(request, prefer, context, patients_only=False)

    @router.get(
        "/Patient/$export",
        status_code=202,
        response_class=Response,
        summary="Export every patient, in the background",
        openapi_extra=taking(SERVED),
    )
    def export_patients(
        request: Request,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
    ) -> Response:
        return start(request, prefer, context, patients_only=True)

    @router.get(
        f"/{_JOBS}/{{job}}",
        summary="How far an export is, and where its files are",
        responses={
            200: {"description": "The manifest", "content": {"application/json": {"schema": {"type": "object"}}}},
            202: {"description": "It is being prepared"},
        },
        response_class=Response,
    )
    def status(
        request: Request,
        job: str,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        found = exports.job(context, job)
        if found.types is None:
            progress = f"{found.looked_at} of {len(found.twins)} patients looked at"
            return Response(status_code=202, headers={"x-progress": progress, "retry-after": "1"})
        manifest = found.manifest(f"{base_of(request)}/{_JOBS}/{job}")
        return Response(json.dumps(manifest), media_type="application/json")

    @router.delete(f"/{_JOBS}/{{job}}", status_code=202, response_class=Response, summary="Forget an export")
    def cancel(
        job: str,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        exports.cancel(context, job)
        return Response(status_code=202)

    @router.get(
        f"/{_JOBS}/{{job}}/{{file}}",
        summary="One file of an export: each patient's part is an access",
        responses={200: {"description": "A resource a line", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
        response_class=Response,
    )
    def fetch(
        job: str,
        file: str,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        lines = exports.file(context, job, file)
        return StreamingResponse(_started(lines), media_type=MEDIA_TYPE)


def _started(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The same lines, the first fetched already: what fails at once is an error and not a broken answer."""
    return chain([next(lines, b"")], lines)
