"""The FHIR R4 routes: parse, call ``FhirService``, render."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request

from twinward.access.interfaces import Principal
from twinward.api.fhir.bulk import add_export, add_import
from twinward.api.fhir.context import PREFIX, FhirResponse, FhirRoute, fhir_context
from twinward.api.fhir.reads import add_endpoint, add_histories, add_reads
from twinward.api.fhir.search import add_search
from twinward.api.fhir.subscriptions import Streaming, add_subscriptions
from twinward.api.fhir.writes import add_bundles, add_writes
from twinward.api.http.conditions import conditions_checked
from twinward.fhir.bulk.export import Exports
from twinward.fhir.bulk.import_jobs import Imports
from twinward.fhir.rest.service import FhirService


def fhir_router(
    service: FhirService,
    principal_of: Callable[..., Principal],
    streaming: Streaming | None = None,
    token_url_of: Callable[[Request], str] | None = None,
) -> APIRouter:
    """The routes, under ``/fhir``.

    Args:
        service: what they call.
        principal_of: a FastAPI dependency that yields the caller or raises ``NotAuthenticated``.
        streaming: what tells subscriptions; None where there are none.
        token_url_of: where tokens are given, as a request's answer names it; None where none are.
    """
    router = APIRouter(prefix=PREFIX, tags=["FHIR R4"], route_class=FhirRoute, default_response_class=FhirResponse)
    context_of = fhir_context(conditions_checked(principal_of))
    add_endpoint(router, service, context_of, token_url_of)
    add_bundles(router, service, context_of)
    add_export(router, Exports(service.twins, service.clock, service.live), context_of)
    add_import(router, Imports(service.twins, service.clock), context_of)
    if streaming is not None:
        add_subscriptions(router, streaming, context_of)
    add_search(router, service, context_of)
    add_histories(router, service, context_of)
    add_reads(router, service, context_of)
    add_writes(router, service, context_of)
    return router
