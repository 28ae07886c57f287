"""The FHIR R4 routes: parse, call ``FhirService``, render."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from twinward.access.interfaces import Principal
from twinward.api.fhir.bundles import add_bundles
from twinward.api.fhir.context import PREFIX, FhirResponse, FhirRoute, fhir_context
from twinward.api.fhir.exporting import add_exporting
from twinward.api.fhir.importing import add_importing
from twinward.api.fhir.resources import add_resources
from twinward.api.fhir.searching import add_histories, add_searching
from twinward.api.http.conditions import heeding
from twinward.fhir.bulk.export import Exports
from twinward.fhir.bulk.import_jobs import Imports
from twinward.fhir.rest.service import FhirService


def fhir_router(service: FhirService, principal_of: Callable[..., Principal]) -> APIRouter:
    """The routes, under ``/fhir``.

    Args:
        service: what they call.
        principal_of: a FastAPI dependency that yields the caller or raises ``NotAuthenticated``.
    """
    router = APIRouter(prefix=PREFIX, tags=["FHIR R4"], route_class=FhirRoute, default_response_class=FhirResponse)
    context_of = fhir_context(heeding(principal_of))
    add_bundles(router, service, context_of)
    add_exporting(router, Exports(service.twins, service.clock), context_of)
    add_importing(router, Imports(service.twins, service.clock), context_of)
    add_searching(router, service, context_of)
    add_histories(router, service, context_of)
    add_resources(router, service, context_of)
    return router
