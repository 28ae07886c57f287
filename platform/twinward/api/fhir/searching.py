"""The routes of search: with its parameters in the address, or in a form (which keeps them out of proxies' logs)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import (
    TYPE_PATH,
    Prefer,
    ResourceType,
    answers,
    base_of,
    fhir,
)
from twinward.api.fhir.parameters import COUNT, ID, taking
from twinward.api.http.json_body import small_body
from twinward.api.http.representation import require_acceptable
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.rest import histories
from twinward.fhir.rest.service import FhirService, resource_type_of
from twinward.fhir.search.parameters import SUBSETS
from twinward.fhir.search.query import read_query

_FORM = "application/x-www-form-urlencoded"
_MAX_FIELDS = 100
_COMMON = ("_count", "_cursor", "_id", "_total", *SUBSETS)
"""Parameters that every type has. The CapabilityStatement lists each type's own."""

_FORM_BODY = {
    "requestBody": {
        "content": {
            _FORM: {"schema": {"type": "object", "properties": {"_count": COUNT, "_id": ID}}},
        }
    }
}


def add_searching(router: APIRouter, service: FhirService, context_of: Callable[..., AccessContext]) -> None:
    """Add them to a router."""

    def page(
        request: Request,
        resource_type: str,
        pairs: list[tuple[str, str]],
        prefer: str,
        context: AccessContext,
    ) -> Response:
        query = read_query(
            resource_type_of(resource_type), pairs, lenient="handling=lenient" in prefer, base=base_of(request)
        )
        return fhir(service.search.page(context, query, base=base_of(request)))

    @router.get(
        TYPE_PATH,
        summary="Search resources of one type",
        responses=answers("Bundle", _200="One page"),
        openapi_extra=taking(_COMMON),
    )
    def search(
        request: Request,
        resource_type: ResourceType,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
    ) -> Response:
        return page(request, resource_type, request.query_params.multi_items(), prefer, context)

    @router.post(
        TYPE_PATH + "/_search",
        summary="Search, the parameters in a form",
        responses=answers("Bundle", _200="One page"),
        openapi_extra=_FORM_BODY,
    )
    async def search_by_form(
        request: Request,
        resource_type: ResourceType,
        prefer: Prefer = "",
        context: AccessContext = Depends(context_of),
    ) -> Response:
        form = await _form(request)
        require_acceptable(request, [value for name, value in form if name == "_format"])
        pairs = request.query_params.multi_items() + form
        return await run_in_threadpool(page, request, resource_type, pairs, prefer, context)


def add_histories(router: APIRouter, service: FhirService, context_of: Callable[..., AccessContext]) -> None:
    """Add the histories of a type and of all types."""

    def history(request: Request, resource_type: str, context: AccessContext) -> Response:
        found = service.history_of_all(
            context,
            resource_type,
            base=base_of(request),
            pairs=request.query_params.multi_items(),
        )
        return fhir(found)

    @router.get(
        "/_history",
        summary="The versions of all resources, newest first",
        responses=answers("Bundle", _200="One page of a history Bundle"),
        openapi_extra=taking(histories.HISTORY_PARAMETERS),
    )
    def history_of_system(
        request: Request,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        return history(request, "", context)

    @router.get(
        TYPE_PATH + "/_history",
        summary="The versions of all resources of one type, newest first",
        responses=answers("Bundle", _200="One page of a history Bundle"),
        openapi_extra=taking(histories.HISTORY_PARAMETERS),
    )
    def history_of_type(
        request: Request,
        resource_type: ResourceType,
        context: AccessContext = Depends(context_of),
    ) -> Response:
        return history(request, resource_type, context)


async def _form(request: Request) -> list[tuple[str, str]]:
    body = await small_body(request)
    form = body.of(_FORM)
    try:
        return parse_qsl(form.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise InvalidResource(Issue("structure", "", "the form cannot be read")) from None
