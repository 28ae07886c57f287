"""The routes that read: one resource, its versions, histories, all of a patient, and what the endpoint can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import ID_PATH, TYPE_PATH, ContextOf, ResourceId, ResourceType, base_of, fhir
from twinward.api.fhir.openapi import answers, taking
from twinward.api.http.conditions import evaluates, of_read
from twinward.api.http.representation import acceptable
from twinward.api.http.together import Together
from twinward.core.errors import told
from twinward.core.preconditions import OF_READS, Preconditions
from twinward.core.vocabulary import Purpose
from twinward.fhir.rest.everything import EVERYTHING_PARAMETERS
from twinward.fhir.rest.histories import HISTORY_PARAMETERS
from twinward.fhir.rest.service import FhirService
from twinward.fhir.search.parameters import SUBSETS
from twinward.fhir.search.representation import Subset, is_known, shown, subset_asked
from twinward.twins.read.each import Unopened
from twinward.vault.interfaces import Record

MOST_LARGE: Final = 2
"""Large records that are opened at once: each takes the interpreter from whoever reads a usual one."""
VersionId = Annotated[str, Path(json_schema_extra={"pattern": "^[1-9][0-9]{0,9}$"})]
_HISTORY = answers("Bundle", _200="One page of a history Bundle")
_READS = answers(_200="The resource", _412="It is another version") | {
    304: {"description": "The caller has it already"}
}


def add_endpoint(
    router: APIRouter,
    service: FhirService,
    context_of: ContextOf,
    token_url_of: Callable[[Request], str] | None = None,
) -> None:
    """What the endpoint can do, and all of one patient."""

    @router.get(
        "/metadata",
        summary="CapabilityStatement",
        responses=answers("CapabilityStatement", _200="What this endpoint serves"),
        dependencies=[Depends(acceptable)],
    )
    def metadata(request: Request) -> Response:
        token_url = token_url_of(request) if token_url_of else ""
        pairs = request.query_params.multi_items()
        return fhir(service.metadata(base=base_of(request), token_url=token_url, pairs=pairs))

    @router.get(
        "/Patient/{patient_id:fhir_id}/$everything",
        summary="All that the caller may see of a patient",
        responses=answers("Bundle", _200="A searchset, the Patient first"),
        openapi_extra=taking(EVERYTHING_PARAMETERS),
    )
    def everything(request: Request, patient_id: ResourceId, context: AccessContext = Depends(context_of)) -> Response:
        pairs = request.query_params.multi_items()
        return fhir(service.everything(context, patient_id, base=base_of(request), pairs=pairs))


def add_histories(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    """The histories of a type and of all types."""

    def history(request: Request, resource_type: str, context: AccessContext) -> Response:
        pairs = request.query_params.multi_items()
        return fhir(service.history_of_all(context, resource_type, base=base_of(request), pairs=pairs))

    @router.get(
        "/_history",
        summary="The versions of all resources, newest first",
        responses=_HISTORY,
        openapi_extra=taking(HISTORY_PARAMETERS),
    )
    def history_of_system(request: Request, context: AccessContext = Depends(context_of)) -> Response:
        return history(request, "", context)

    @router.get(
        TYPE_PATH + "/_history",
        summary="The versions of all resources of one type, newest first",
        responses=_HISTORY,
        openapi_extra=taking(HISTORY_PARAMETERS),
    )
    def history_of_type(
        request: Request, resource_type: ResourceType, context: AccessContext = Depends(context_of)
    ) -> Response:
        return history(request, resource_type, context)


def add_reads(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    """One resource: its newest version, all of its versions, one of them."""
    _add_read(router, service, context_of)
    _add_history(router, service, context_of)
    _add_read_version(router, service, context_of)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One read, and what is made of the record."""

    context: AccessContext
    reference: str
    answer: Callable[[Record], Response]


_Answered = Response | Unopened


def _add_read(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    def answered(some: Sequence[_Asked]) -> list[_Answered | Exception]:
        outcomes: dict[int, _Answered | Exception] = {}
        found = service.read_each([(one.context, one.reference) for one in some])
        for number, (one, opened) in enumerate(zip(some, found, strict=True)):
            with told(outcomes, number):
                outcomes[number] = one.answer(opened) if isinstance(opened, Record) else opened
        return [outcomes[number] for number in range(len(some))]

    together: Together[_Asked, _Answered] = Together(answered, repeatable=True)
    large = ThreadPoolExecutor(MOST_LARGE, thread_name_prefix="large")

    @router.get(
        ID_PATH,
        summary="Read one resource, byte for byte as it was taken in",
        responses=_READS,
        openapi_extra=taking(SUBSETS),
    )
    @evaluates(*OF_READS)
    async def read(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        context: AccessContext = Depends(context_of),
        asked: Preconditions = Depends(of_read),
    ) -> Response:
        subset = subset_asked(request.query_params.multi_items())
        answer = partial(_read, subset=subset, asked=asked)
        reference = service.reference_if_kept(resource_type, resource_id)
        if reference is not None and context.purpose is not Purpose.EMERGENCY:  # which waits for nobody
            given = await together.ask(_Asked(context, reference, answer))
            if not isinstance(given, Unopened):
                return given
            return await asyncio.get_running_loop().run_in_executor(large, lambda: answer(given.open()))
        return await run_in_threadpool(lambda: answer(service.read(context, resource_type, resource_id)))


def _add_history(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    @router.get(
        ID_PATH + "/_history",
        summary="The versions of one resource, newest first",
        responses=answers("Bundle", _200="A history Bundle"),
        openapi_extra=taking(HISTORY_PARAMETERS),
    )
    def history(
        request: Request,
        resource_type: ResourceType,
        resource_id: ResourceId,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        pairs = request.query_params.multi_items()
        return fhir(service.history(context, resource_type, resource_id, base=base_of(request), pairs=pairs))


def _add_read_version(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
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
        return _read(service.read_version(context, resource_type, resource_id, version_id), subset, asked)


def _read(record: Record, subset: Subset, asked: Preconditions) -> Response:
    if is_known(asked, record.version, record.committed_at_ms):
        return fhir(b"", 304, version=record.version, at_ms=record.committed_at_ms)
    return fhir(shown(record, subset), version=record.version, at_ms=record.committed_at_ms)
