"""The routes of single resources: read, vread, history; create, update and delete, by id or on a condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import (
    ID_PATH,
    TYPE_PATH,
    Prefer,
    ResourceId,
    ResourceType,
    answers,
    base_of,
    body_of,
    fhir,
    resource_body,
)
from twinward.api.fhir.parameters import taking
from twinward.api.http.conditions import evaluates, of_read, of_write
from twinward.api.http.guard import read_body
from twinward.core.media_types import require_taken
from twinward.core.preconditions import IF_NONE_EXIST, OF_READS, OF_WRITES, Preconditions
from twinward.core.vocabulary import Action
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.edits import local
from twinward.fhir.json.patch import MEDIA_TYPE as PATCH
from twinward.fhir.json.patch import MOST_OPERATIONS, patched, read_patch
from twinward.fhir.json.strict_json import REQUEST_LIMITS
from twinward.fhir.rest import histories
from twinward.fhir.rest.service import FhirService, reference_to, resource_type_of
from twinward.fhir.rest.writes import Written
from twinward.fhir.search.conditional import condition_of, read_condition
from twinward.fhir.search.parameters import SUBSETS, require_served
from twinward.fhir.search.representation import Subset, is_known, shown, subset_asked
from twinward.vault.interfaces import Record

IfNoneExist = Annotated[str | None, Header(max_length=2000)]
_PATCH_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_OPERATIONS,
    "items": {
        "type": "object",
        "properties": {
            "op": {"enum": ["add", "copy", "move", "remove", "replace", "test"]},
            "path": {"type": "string"},
            "from": {"type": "string"},
            "value": {},
        },
        "required": ["op", "path"],
    },
}
VersionId = Annotated[str, Path(json_schema_extra={"pattern": "^[1-9][0-9]{0,9}$"})]
_FORMATTING = frozenset({"_format", "_pretty"})
_WRITES = answers(_200="What is kept now", _201="It was created", _412="A precondition does not hold")
_READS = answers(_200="The resource", _412="It is another version") | {
    304: {"description": "The caller has it already"}
}


def add_resources(router: APIRouter, service: FhirService, context_of: Callable[..., AccessContext]) -> None:
    """Add them to a router."""
    _add_reads(router, service, context_of)
    _add_creates(router, service, context_of)
    _add_changes(router, service, context_of)
    _add_conditional_writes(router, service, context_of)


def _add_reads(router: APIRouter, service: FhirService, context_of: Callable[..., AccessContext]) -> None:
    @router.get(
        ID_PATH,
        summary="Read one resource, byte for byte as it was taken in",
        responses=_READS,
        openapi_extra=taking(SUBSETS),
    )
    @evaluates(*OF_READS)
    def read(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_read),
    ) -> Response:
        subset = subset_asked(request.query_params.multi_items())
        record = service.read(context, resource_type, resource_id)
        return _read(record, subset, asked)

    @router.get(
        ID_PATH + "/_history",
        summary="The versions of one resource, newest first",
        responses=answers("Bundle", _200="A history Bundle"),
        openapi_extra=taking(histories.HISTORY_PARAMETERS),
    )
    def history(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        base = base_of(request)
        pairs = request.query_params.multi_items()
        return fhir(service.history(context, resource_type, resource_id, base=base, pairs=pairs))

    @router.get(
        ID_PATH + "/_history/{version_id}",
        summary="Read one version of one resource",
        responses=_READS,
        openapi_extra=taking(SUBSETS),
    )
    @evaluates(*OF_READS)
    def read_version(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        version_id: VersionId,
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_read),
    ) -> Response:
        subset = subset_asked(request.query_params.multi_items())
        record = service.read_version(context, resource_type, resource_id, version_id)
        return _read(record, subset, asked)


def _add_creates(router: APIRouter, service: FhirService, context_of: Callable[..., AccessContext]) -> None:
    @router.post(
        TYPE_PATH,
        summary="Create a resource under a new id; with If-None-Exist only if there is none such",
        status_code=201,
        responses=_WRITES,
        openapi_extra=body_of(),
    )
    @evaluates(IF_NONE_EXIST)
    async def create(
        request: Request,
        resource_type: ResourceType,
        if_none_exist: IfNoneExist = None,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
    ) -> Response:
        kind = resource_type_of(resource_type)
        body = await run_in_threadpool(local, await resource_body(request), base_of(request))
        # Some clients (fhirpy's get_or_create) put the condition into the address instead of the header.
        pairs = [(name, value) for name, value in request.query_params.multi_items() if name not in _FORMATTING]
        unless = condition_of(kind, pairs, base=base_of(request)) if pairs else None
        if if_none_exist is not None:
            if pairs or len(request.headers.getlist(IF_NONE_EXIST)) > 1:
                raise InvalidResource(Issue("conflict", "", "one condition: If-None-Exist once, or the address"))
            unless = read_condition(kind, if_none_exist, base=base_of(request))
        create = service.writes.create
        written = await run_in_threadpool(create, context, kind, body, unless=unless)
        return _written(request, written, prefer)


def _add_changes(router: APIRouter, service: FhirService, context_of: Callable[..., AccessContext]) -> None:
    def require_no_parameters(request: Request, what: str, context: AccessContext) -> None:
        """Refuse parameters of a write that names its resource, once it is known that the caller may write at all."""
        if request.query_params:
            service.twins.require(context, Action.WRITE)
            require_served(what, request.query_params.multi_items(), ())

    @router.put(
        ID_PATH,
        summary="Update a resource, or create it",
        responses=_WRITES,
        openapi_extra=body_of(),
    )
    @evaluates(*OF_WRITES)
    async def update(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_write),
    ) -> Response:
        reference_to(resource_type, resource_id)
        require_no_parameters(request, "an update", context)
        body = await run_in_threadpool(local, await resource_body(request), base_of(request))
        written = await run_in_threadpool(
            service.writes.update,
            context,
            resource_type,
            resource_id,
            body,
            asked=asked,
        )
        return _written(request, written, prefer)

    @router.patch(
        ID_PATH,
        summary="Change parts of a resource (JSON Patch, RFC 6902)",
        responses=answers(_200="What is kept now", _412="A precondition does not hold"),
        openapi_extra={"requestBody": {"required": True, "content": {PATCH: {"schema": _PATCH_SCHEMA}}}},
    )
    @evaluates(*OF_WRITES)
    async def patch(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_write),
    ) -> Response:
        reference_to(resource_type, resource_id)
        base = base_of(request)
        require_no_parameters(request, "a patch", context)
        require_taken(request.headers.getlist("content-type"), (PATCH,))
        operations = read_patch(await read_body(request))

        def change(present: bytes) -> bytes:
            return local(patched(present, operations, most_bytes=REQUEST_LIMITS.size_bytes), base)

        written = await run_in_threadpool(
            service.writes.patch,
            context,
            resource_type,
            resource_id,
            change,
            asked=asked,
        )
        return _written(request, written, prefer)

    @router.delete(ID_PATH, status_code=204, summary="Delete a resource; its history remains")
    @evaluates(*OF_WRITES)
    def delete(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_write),
    ) -> Response:
        reference_to(resource_type, resource_id)
        require_no_parameters(request, "a deletion", context)
        head = service.writes.delete(context, resource_type, resource_id, asked=asked)
        return fhir(b"", 204, version=head.version, at_ms=head.committed_at_ms)


def _add_conditional_writes(router: APIRouter, service: FhirService, context_of: Callable[..., AccessContext]) -> None:
    @router.put(
        TYPE_PATH,
        summary="Update the one resource that a search finds, or create it",
        responses=_WRITES,
        openapi_extra=body_of(),
    )
    @evaluates(*OF_WRITES)
    async def update_where(
        request: Request,
        resource_type: ResourceType,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_write),
    ) -> Response:
        kind = resource_type_of(resource_type)
        service.twins.require(context, Action.WRITE)
        where = condition_of(kind, request.query_params.multi_items(), base=base_of(request))
        body = await run_in_threadpool(local, await resource_body(request), base_of(request))
        update = service.writes.update_where
        written = await run_in_threadpool(update, context, kind, where, body, asked=asked)
        return _written(request, written, prefer)

    @router.delete(TYPE_PATH, status_code=204, summary="Delete the one resource that a search finds, if any")
    @evaluates(*OF_WRITES)
    def delete_where(
        request: Request,
        resource_type: ResourceType,
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_write),
    ) -> Response:
        kind = resource_type_of(resource_type)
        service.twins.require(context, Action.WRITE)
        where = condition_of(kind, request.query_params.multi_items(), base=base_of(request))
        head = service.writes.delete_where(context, where, asked=asked)
        return fhir(b"", 204) if head is None else fhir(b"", 204, version=head.version, at_ms=head.committed_at_ms)


def _read(record: Record, subset: Subset, asked: Preconditions) -> Response:
    if is_known(asked, record.version, record.committed_at_ms):
        return fhir(b"", 304, version=record.version, at_ms=record.committed_at_ms)
    return fhir(shown(record, subset), version=record.version, at_ms=record.committed_at_ms)


def _written(request: Request, written: Written, prefer: str) -> Response:
    location = f"{base_of(request)}/{written.reference}/_history/{written.version}" if written.reference else ""
    content = b"" if "return=minimal" in prefer else written.content
    status = 201 if written.created else 200
    return fhir(content, status, version=written.version, at_ms=written.at_ms, location=location)
