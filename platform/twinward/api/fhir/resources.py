"""The routes of single resources: read, vread, history, create, update, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import Principal
from twinward.api.fhir.context import AccessContext, Prefer, access_context, base_of, body_of, fhir, resource_body
from twinward.fhir.editing import Written
from twinward.fhir.service import FhirService, reference_to, resource_type_of
from twinward.vault.interfaces import Record

IfMatch = Annotated[str, Header(max_length=64)]


def add_resources(router: APIRouter, service: FhirService, principal_of: Callable[..., Principal]) -> None:
    """Add them to a router."""
    _add_reads(router, service, principal_of)
    _add_writes(router, service, principal_of)


def _add_reads(router: APIRouter, service: FhirService, principal_of: Callable[..., Principal]) -> None:
    @router.get("/{resource_type}/{resource_id}", summary="Read one resource, byte for byte as it was taken in")
    def read(
        resource_type: str,
        resource_id: str,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        purpose, why = context.purpose(principal), context.justification
        return _record(service.read(principal, resource_type, resource_id, purpose=purpose, justification=why))

    @router.get("/{resource_type}/{resource_id}/_history", summary="The versions of one resource, newest first")
    def history(
        request: Request,
        resource_type: str,
        resource_id: str,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        purpose, why, base = context.purpose(principal), context.justification, base_of(request)
        return fhir(
            service.history(principal, resource_type, resource_id, base=base, purpose=purpose, justification=why)
        )

    @router.get("/{resource_type}/{resource_id}/_history/{version_id}", summary="Read one version of one resource")
    def read_version(
        resource_type: str,
        resource_id: str,
        version_id: str,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        purpose, why = context.purpose(principal), context.justification
        return _record(
            service.read_version(principal, resource_type, resource_id, version_id, purpose=purpose, justification=why)
        )


def _add_writes(router: APIRouter, service: FhirService, principal_of: Callable[..., Principal]) -> None:
    @router.post("/{resource_type}", summary="Create a resource under a new id", openapi_extra=body_of())
    async def create(
        request: Request,
        resource_type: str,
        prefer: Prefer = "",
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        kind, purpose = resource_type_of(resource_type), context.purpose(principal)
        body = await resource_body(request)
        written = await run_in_threadpool(service.editing.create, principal, kind, body, purpose=purpose)
        return _written(request, written, prefer)

    @router.put("/{resource_type}/{resource_id}", summary="Update a resource, or create it", openapi_extra=body_of())
    async def update(
        request: Request,
        resource_type: str,
        resource_id: str,
        if_match: IfMatch = "",
        prefer: Prefer = "",
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        reference_to(resource_type, resource_id)
        body, purpose = await resource_body(request), context.purpose(principal)
        written = await run_in_threadpool(
            service.editing.update, principal, resource_type, resource_id, body, purpose=purpose, if_match=if_match
        )
        return _written(request, written, prefer)

    @router.delete("/{resource_type}/{resource_id}", status_code=204, summary="Delete a resource; its history remains")
    def delete(
        resource_type: str,
        resource_id: str,
        if_match: IfMatch = "",
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        reference_to(resource_type, resource_id)
        purpose = context.purpose(principal)
        head = service.editing.delete(principal, resource_type, resource_id, purpose=purpose, if_match=if_match)
        return fhir(b"", 204, version=head.version, at_ms=head.committed_at_ms)


def _record(record: Record) -> Response:
    return fhir(record.content, version=record.version, at_ms=record.committed_at_ms)


def _written(request: Request, written: Written, prefer: str) -> Response:
    location = f"{base_of(request)}/{written.reference}/_history/{written.version}"
    content = b"" if "return=minimal" in prefer else written.content
    status = 201 if written.created else 200
    return fhir(content, status, version=written.version, at_ms=written.at_ms, location=location)
