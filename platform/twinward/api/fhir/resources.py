"""The routes of single resources: read, vread, history; create, update and delete, by id or on a condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import Principal
from twinward.api.fhir.context import (
    ID_PATH,
    TYPE_PATH,
    AccessContext,
    Prefer,
    ResourceId,
    ResourceType,
    access_context,
    answers,
    base_of,
    body_of,
    fhir,
    resource_body,
)
from twinward.fhir.conditional import condition_of, read_condition
from twinward.fhir.editing import Written
from twinward.fhir.service import FhirService, reference_to, resource_type_of
from twinward.fhir.subset import read_subset
from twinward.vocabulary import Action

IfMatch = Annotated[str, Header(max_length=64)]
IfNoneExist = Annotated[str, Header(max_length=2000)]
VersionId = Annotated[str, Path(json_schema_extra={"pattern": "^[1-9][0-9]{0,9}$"})]
_FORMATTING = frozenset({"_format", "_pretty"})
_WRITES = answers(_200="What is kept now", _201="It was created")


def add_resources(router: APIRouter, service: FhirService, principal_of: Callable[..., Principal]) -> None:
    """Add them to a router."""
    _add_reads(router, service, principal_of)
    _add_writes(router, service, principal_of)
    _add_conditional_writes(router, service, principal_of)


def _add_reads(router: APIRouter, service: FhirService, principal_of: Callable[..., Principal]) -> None:
    @router.get(
        ID_PATH,
        summary="Read one resource, byte for byte as it was taken in",
        responses=answers(_200="The resource"),
    )
    def read(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        purpose, why = context.purpose(principal), context.justification
        subset = read_subset(request.query_params.multi_items())
        record = service.read(principal, resource_type, resource_id, purpose=purpose, justification=why)
        content = subset.of(resource_type, record.content)
        return fhir(content, version=record.version, at_ms=record.committed_at_ms)

    @router.get(
        ID_PATH + "/_history",
        summary="The versions of one resource, newest first",
        responses=answers("Bundle", _200="A history Bundle"),
    )
    def history(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        purpose, why, base = context.purpose(principal), context.justification, base_of(request)
        return fhir(
            service.history(principal, resource_type, resource_id, base=base, purpose=purpose, justification=why)
        )

    @router.get(
        ID_PATH + "/_history/{version_id}",
        summary="Read one version of one resource",
        responses=answers(_200="The resource"),
    )
    def read_version(
        resource_type: ResourceType,
        resource_id: ResourceId,
        version_id: VersionId,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        purpose, why = context.purpose(principal), context.justification
        record = service.read_version(
            principal, resource_type, resource_id, version_id, purpose=purpose, justification=why
        )
        return fhir(record.content, version=record.version, at_ms=record.committed_at_ms)


def _add_writes(router: APIRouter, service: FhirService, principal_of: Callable[..., Principal]) -> None:
    @router.post(
        TYPE_PATH,
        summary="Create a resource under a new id; with If-None-Exist only if there is none such",
        status_code=201,
        responses=_WRITES,
        openapi_extra=body_of(),
    )
    async def create(
        request: Request,
        resource_type: ResourceType,
        if_none_exist: IfNoneExist = "",
        prefer: Prefer = "",
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        kind, purpose = resource_type_of(resource_type), context.purpose(principal)
        body = await resource_body(request)
        # Some clients (fhirpy's get_or_create) put the condition into the address instead of the header.
        asked = [(name, value) for name, value in request.query_params.multi_items() if name not in _FORMATTING]
        unless = condition_of(kind, asked) if asked else None
        if if_none_exist:
            unless = read_condition(kind, if_none_exist)
        create = service.editing.create
        written = await run_in_threadpool(create, principal, kind, body, purpose=purpose, unless=unless)
        return _written(request, written, prefer)

    @router.put(
        ID_PATH,
        summary="Update a resource, or create it",
        responses=_WRITES,
        openapi_extra=body_of(),
    )
    async def update(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
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

    @router.delete(ID_PATH, status_code=204, summary="Delete a resource; its history remains")
    def delete(
        resource_type: ResourceType,
        resource_id: ResourceId,
        if_match: IfMatch = "",
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        reference_to(resource_type, resource_id)
        purpose = context.purpose(principal)
        head = service.editing.delete(principal, resource_type, resource_id, purpose=purpose, if_match=if_match)
        return fhir(b"", 204, version=head.version, at_ms=head.committed_at_ms)


def _add_conditional_writes(router: APIRouter, service: FhirService, principal_of: Callable[..., Principal]) -> None:
    @router.put(
        TYPE_PATH,
        summary="Update the one resource that a search finds, or create it",
        responses=_WRITES,
        openapi_extra=body_of(),
    )
    async def update_where(
        request: Request,
        resource_type: ResourceType,
        prefer: Prefer = "",
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        kind, purpose = resource_type_of(resource_type), context.purpose(principal)
        service.twins.require(principal, Action.WRITE, purpose)
        where = condition_of(kind, request.query_params.multi_items())
        body = await resource_body(request)
        update = service.editing.update_where
        written = await run_in_threadpool(update, principal, kind, where, body, purpose=purpose)
        return _written(request, written, prefer)

    @router.delete(TYPE_PATH, status_code=204, summary="Delete the one resource that a search finds, if any")
    def delete_where(
        request: Request,
        resource_type: ResourceType,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        kind, purpose = resource_type_of(resource_type), context.purpose(principal)
        service.twins.require(principal, Action.WRITE, purpose)
        where = condition_of(kind, request.query_params.multi_items())
        head = service.editing.delete_where(principal, where, purpose=purpose)
        return fhir(b"", 204) if head is None else fhir(b"", 204, version=head.version, at_ms=head.committed_at_ms)


def _written(request: Request, written: Written, prefer: str) -> Response:
    location = f"{base_of(request)}/{written.reference}/_history/{written.version}" if written.reference else ""
    content = b"" if "return=minimal" in prefer else written.content
    status = 201 if written.created else 200
    return fhir(content, status, version=written.version, at_ms=written.at_ms, location=location)
