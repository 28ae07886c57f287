"""The routes of search: with its parameters in the address, or in a form (which keeps them out of proxies' logs)."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext
from twinward.api.fhir.context import (
    TYPE_PATH,
    ContextOf,
    Prefer,
    ResourceType,
    base_of,
    fhir,
)
from twinward.api.fhir.openapi import COUNT, ID, answers, taking
from twinward.api.http.json_body import small_body
from twinward.api.http.representation import require_acceptable
from twinward.fhir.errors import InvalidResource, Issue
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


def add_search(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
    """Search by address and by form."""
    _add_search(router, service, context_of)
    _add_search_by_form(router, service, context_of)


def _page(
    service: FhirService,
    request: Request,
    resource_type: str,
    pairs: list[tuple[str, str]],
    prefer: str,
    context: AccessContext,
) -> Response:
    kind, lenient = resource_type_of(resource_type), "handling=lenient" in prefer
    query = read_query(kind, pairs, lenient=lenient, base=base_of(request))
    return fhir(service.search.page(context, query, base=base_of(request)))


def _add_search(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
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
        return _page(service, request, resource_type, request.query_params.multi_items(), prefer, context)


def _add_search_by_form(router: APIRouter, service: FhirService, context_of: ContextOf) -> None:
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
        return await run_in_threadpool(_page, service, request, resource_type, pairs, prefer, context)


async def _form(request: Request) -> list[tuple[str, str]]:
    body = await small_body(request)
    form = body.of(_FORM)
    try:
        return parse_qsl(form.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise InvalidResource(Issue("structure", "", "the form cannot be read")) from None
