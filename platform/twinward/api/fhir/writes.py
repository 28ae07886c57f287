"""The routes that write: create, update, patch and delete, by id or on a condition; transactions and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import (
    ID_PATH,
    TYPE_PATH,
    ContextOf,
    Prefer,
    ResourceId,
    ResourceType,
    base_of,
    fhir,
    sent_resource,
    with_resource,
)
from twinward.api.fhir.openapi import PATCH_BODY, answers, body_of
from twinward.api.http.conditions import evaluates, of_write
from twinward.api.http.guard import USUAL_BYTES, read_body
from twinward.api.http.together import Together
from twinward.core.media_types import require_taken
from twinward.core.preconditions import IF_NONE_EXIST, OF_WRITES, Preconditions
from twinward.core.vocabulary import Action
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.edits import local
from twinward.fhir.json.patch import MEDIA_TYPE as PATCH
from twinward.fhir.json.patch import patched, read_patch
from twinward.fhir.json.strict_json import REQUEST_LIMITS
from twinward.fhir.rest.batch import Batch, is_batch
from twinward.fhir.rest.service import FhirService, reference_to, resource_type_of
from twinward.fhir.rest.transaction import Transaction
from twinward.fhir.rest.writes import New, Written
from twinward.fhir.search.conditional import condition_of, read_condition
from twinward.fhir.search.parameters import require_served
from twinward.fhir.search.query import Query
from twinward.vault.interfaces import RecordHead

IfNoneExist = Annotated[str | None, Header(max_length=2000)]
_FORMATTING = frozenset({"_format", "_pretty"})
_WRITES = answers(_200="What is kept now", _201="It was created", _412="A precondition does not hold")
_PATCHES = answers(_200="What is kept now", _412="A precondition does not hold")


def add_bundles(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    """Transactions and batches."""

    @router.post(
        "",
        summary="Take in a transaction Bundle, or do a batch",
        responses=answers("Bundle", _200="What became of each entry"),
        openapi_extra=body_of("Bundle"),
    )
    async def bundle(request: Request, context: AccessContext = Depends(context_of)) -> Response:
        pairs, base = request.query_params.multi_items(), base_of(request)

        def run(body: bytes) -> bytes:
            require_served("a bundle", pairs, ())
            kind = Batch if is_batch(body) else Transaction
            return kind(service, context, base).run(body)

        return fhir(await with_resource(request, run))


def add_writes(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    """Writes of one resource: by its id, and on a condition that names it."""
    for add in (_add_create, _add_update, _add_patch, _add_delete):
        add(router, service, context_of)
    for add in (_add_update_where, _add_patch_where, _add_delete_where):
        add(router, service, context_of)


def _add_create(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    together: Together[New, Written] = Together(lambda some: service.writes.create_each(some))

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
        kind, base = resource_type_of(resource_type), base_of(request)
        sent = await sent_resource(request)
        if if_none_exist is None and not request.query_params and len(sent.raw) <= USUAL_BYTES:
            written = await together.ask(New(context, kind, lambda: local(sent(), base)))
        else:  # what takes longer keeps nobody waiting but whoever sent it

            def write() -> Written:
                body, unless = local(sent(), base), _unless(request, kind, if_none_exist)
                return service.writes.create(context, kind, body, unless=unless)

            written = await run_in_threadpool(write)
        return _written(request, written, prefer)


def _unless(request: Request, kind: str, if_none_exist: str | None) -> Query | None:
    """The condition of a conditional create. Some clients (fhirpy's get_or_create) put it into the address."""
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name not in _FORMATTING]
    in_address = condition_of(kind, pairs, base=base_of(request)) if pairs else None
    if if_none_exist is None:
        return in_address
    if pairs or len(request.headers.getlist(IF_NONE_EXIST)) > 1:
        raise InvalidResource(Issue("conflict", "", "one condition: If-None-Exist once, or the address"))
    return read_condition(kind, if_none_exist, base=base_of(request))


def _add_update(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    @router.put(ID_PATH, summary="Update a resource, or create it", responses=_WRITES, openapi_extra=body_of())
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
        _require_no_parameters(service, request, "an update", context)

        def write(body: bytes) -> Written:
            return service.writes.update(context, resource_type, resource_id, body, asked=asked)

        return _written(request, await _with_local(request, write), prefer)


def _add_patch(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    @router.patch(
        ID_PATH,
        summary="Change parts of a resource (JSON Patch, RFC 6902)",
        responses=_PATCHES,
        openapi_extra=PATCH_BODY,
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
        _require_no_parameters(service, request, "a patch", context)
        change = await _change(request)
        patch = service.writes.patch
        written = await run_in_threadpool(patch, context, resource_type, resource_id, change, asked=asked)
        return _written(request, written, prefer)


def _add_delete(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
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
        _require_no_parameters(service, request, "a deletion", context)
        return _deleted(service.writes.delete(context, resource_type, resource_id, asked=asked))


def _add_update_where(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
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
        kind, where = _where(service, request, resource_type, context)

        def write(body: bytes) -> Written:
            return service.writes.update_where(context, kind, where, body, asked=asked)

        return _written(request, await _with_local(request, write), prefer)


def _add_patch_where(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    @router.patch(
        TYPE_PATH,
        summary="Change parts of the one resource that a search finds (JSON Patch, RFC 6902)",
        responses=_PATCHES,
        openapi_extra=PATCH_BODY,
    )
    @evaluates(*OF_WRITES)
    async def patch_where(
        request: Request,
        resource_type: ResourceType,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_write),
    ) -> Response:
        _, where = _where(service, request, resource_type, context)
        change = await _change(request)
        written = await run_in_threadpool(service.writes.patch_where, context, where, change, asked=asked)
        return _written(request, written, prefer)


def _add_delete_where(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    @router.delete(TYPE_PATH, status_code=204, summary="Delete the one resource that a search finds, if any")
    @evaluates(*OF_WRITES)
    def delete_where(
        request: Request,
        resource_type: ResourceType,
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_write),
    ) -> Response:
        _, where = _where(service, request, resource_type, context)
        return _deleted(service.writes.delete_where(context, where, asked=asked))


def _where(service: FhirService, request: Request, resource_type: str, context: AccessContext) -> tuple[str, Query]:
    """The type and the condition of a write that names nothing; told to nobody who may not write at all."""
    kind = resource_type_of(resource_type)
    service.twins.require(context, Action.WRITE)
    return kind, condition_of(kind, request.query_params.multi_items(), base=base_of(request))


def _require_no_parameters(service: FhirService, request: Request, what: str, context: AccessContext) -> None:
    """Refuse parameters of a write that names its resource, once it is known that the caller may write at all."""
    if request.query_params:
        service.twins.require(context, Action.WRITE)
        require_served(what, request.query_params.multi_items(), ())


async def _with_local(request: Request, do: Callable[[bytes], Written]) -> Written:
    """``with_resource``, the references in it at this base made relative."""
    base = base_of(request)
    return await with_resource(request, lambda body: do(local(body, base)))


async def _change(request: Request) -> Callable[[bytes], bytes]:
    """What a patch makes of a resource. Raises ``UnsupportedMedia``, and ``BadInput`` for what is no patch."""
    require_taken(request.headers.getlist("content-type"), (PATCH,))
    operations, base = read_patch(await read_body(request)), base_of(request)
    return lambda present: local(patched(present, operations, most_bytes=REQUEST_LIMITS.size_bytes), base)


def _written(request: Request, written: Written, prefer: str) -> Response:
    location = f"{base_of(request)}/{written.reference}/_history/{written.version}" if written.reference else ""
    content = b"" if "return=minimal" in prefer else written.content
    status = 201 if written.created else 200
    return fhir(content, status, version=written.version, at_ms=written.at_ms, location=location)


def _deleted(head: RecordHead | None) -> Response:
    """The answer to a deletion; there is no version where there was nothing to delete."""
    return fhir(b"", 204) if head is None else fhir(b"", 204, version=head.version, at_ms=head.committed_at_ms)
