"""The routes of the whole endpoint: its capabilities, bundles, and all of one patient."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import (
    ResourceId,
    answers,
    base_of,
    body_of,
    fhir,
    resource_body,
)
from twinward.api.fhir.parameters import taking
from twinward.api.http.representation import acceptable
from twinward.fhir.rest.batch import Batch, is_batch
from twinward.fhir.rest.everything import EVERYTHING_PARAMETERS
from twinward.fhir.rest.service import FhirService
from twinward.fhir.rest.transaction import Transaction
from twinward.fhir.search.parameters import require_served


def add_bundles(router: APIRouter, service: FhirService, context_of: Callable[..., AccessContext]) -> None:
    """Add them to a router."""

    @router.get(
        "/metadata",
        summary="CapabilityStatement",
        responses=answers("CapabilityStatement", _200="What this endpoint serves"),
        dependencies=[Depends(acceptable)],
    )
    def metadata(request: Request) -> Response:
        return fhir(service.metadata(base=base_of(request), pairs=request.query_params.multi_items()))

    @router.post(
        "",
        summary="Take in a transaction Bundle, or do a batch",
        responses=answers("Bundle", _200="What became of each entry"),
        openapi_extra=body_of("Bundle"),
    )
    async def bundle(
        request: Request,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        body = await resource_body(request)
        require_served("a bundle", request.query_params.multi_items(), ())
        if await run_in_threadpool(is_batch, body):
            batch = Batch(service, context, base_of(request))
            return fhir(await run_in_threadpool(batch.run, body))
        transaction = Transaction(service, context, base_of(request))
        return fhir(await run_in_threadpool(transaction.run, body))

    @router.get(
        "/Patient/{patient_id:fhir_id}/$everything",
        summary="All that the caller may see of a patient",
        responses=answers("Bundle", _200="A searchset, the Patient first"),
        openapi_extra=taking(EVERYTHING_PARAMETERS),
    )
    def everything(
        request: Request,
        patient_id: ResourceId,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        base = base_of(request)
        return fhir(service.everything(context, patient_id, base=base, pairs=request.query_params.multi_items()))
