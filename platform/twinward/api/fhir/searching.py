"""The routes of search: with its parameters in the address, or in a form (which keeps them out of proxies' logs)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import Principal
from twinward.api.fhir.context import (
    TYPE_PATH,
    AccessContext,
    Prefer,
    ResourceType,
    access_context,
    answers,
    base_of,
    fhir,
)
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.query import read_query
from twinward.fhir.service import FhirService, resource_type_of

_FORM = "application/x-www-form-urlencoded"
_MAX_FORM_BYTES = 64 * 1024
_MAX_FIELDS = 100
_COUNT = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
_PARAMETERS = [
    {"name": "_count", "in": "query", "schema": _COUNT, "description": "Matches on a page"},
    {"name": "_id", "in": "query", "schema": _ID},
]
"""Those that every type has. The CapabilityStatement lists each type's own."""

_FORM_BODY = {
    "requestBody": {
        "content": {
            _FORM: {"schema": {"type": "object", "properties": {"_count": _COUNT, "_id": _ID}}},
        }
    }
}


def add_searching(router: APIRouter, service: FhirService, principal_of: Callable[..., Principal]) -> None:
    """Add them to a router."""

    def page(
        request: Request,
        resource_type: str,
        pairs: list[tuple[str, str]],
        prefer: str,
        principal: Principal,
        context: AccessContext,
    ) -> Response:
        purpose, why = context.purpose(principal), context.justification
        query = read_query(resource_type_of(resource_type), pairs, lenient="handling=lenient" in prefer)
        return fhir(service.search.page(principal, query, base=base_of(request), purpose=purpose, justification=why))

    @router.get(
        TYPE_PATH,
        summary="Search resources of one type",
        responses=answers("Bundle", _200="One page"),
        openapi_extra={"parameters": _PARAMETERS},
    )
    def search(
        request: Request,
        resource_type: ResourceType,
        prefer: Prefer = "",
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        return page(request, resource_type, request.query_params.multi_items(), prefer, principal, context)

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
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        pairs = request.query_params.multi_items() + await _form(request)
        return await run_in_threadpool(page, request, resource_type, pairs, prefer, principal, context)


async def _form(request: Request) -> list[tuple[str, str]]:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if not body:
        return []
    if given != _FORM or len(body) > _MAX_FORM_BYTES:
        raise InvalidResource(Issue("not-supported", "", f"a search sends a form here: {_FORM}, 64 KiB at most"))
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise InvalidResource(Issue("structure", "", "the form cannot be read")) from None
