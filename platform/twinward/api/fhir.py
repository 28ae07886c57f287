"""The FHIR R4 routes: parse, call ``FhirService``, render. Mount them under ``/fhir``.

Every answer is ``application/fhir+json``; every refusal is an OperationOutcome with the error's own status. The
purpose of use may come in the ``X-Purpose-Of-Use`` header (an HL7 v3 ActReason code; else the usual one of the
caller's role), and a reason for breaking the glass in ``X-Justification``: both are logged with the access.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from email.utils import formatdate
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import Principal
from twinward.errors import BadInput, TwinwardError
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.outcome import operation_outcome, outcome_of
from twinward.fhir.render import MEDIA_TYPE, etag
from twinward.fhir.service import FhirService
from twinward.vocabulary import Purpose, Role

_TAKEN = frozenset({MEDIA_TYPE, "application/json"})
_MAX_JUSTIFICATION_CHARS = 1000
_USUAL = {
    Role.SYSTEM: Purpose.RECORD_MANAGEMENT,
    Role.OPERATOR: Purpose.RECORD_MANAGEMENT,
    Role.PATIENT: Purpose.PATIENT_REQUEST,
}
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


_BUNDLE_BODY = {
    "requestBody": {
        "required": True,
        "content": {MEDIA_TYPE: {"schema": {"type": "object", "properties": {"resourceType": {"const": "Bundle"}}}}},
    }
}


@dataclass(frozen=True, slots=True)
class AccessContext:
    """Why the caller wants this; ``stated`` is None where no header says."""

    stated: Purpose | None
    justification: str

    def purpose(self, principal: Principal) -> Purpose:
        """The stated purpose, else the usual one of the caller's role."""
        return self.stated or _USUAL.get(principal.role, Purpose.TREATMENT)


def access_context(
    x_purpose_of_use: Annotated[str, Header(max_length=16)] = "",
    x_justification: Annotated[str, Header(max_length=_MAX_JUSTIFICATION_CHARS)] = "",
) -> AccessContext:
    """The purpose of use and justification of a request. Raises ``BadInput`` for an unknown code."""
    try:
        stated = Purpose(x_purpose_of_use) if x_purpose_of_use else None
    except ValueError:
        known = ", ".join(purpose.value for purpose in Purpose)
        raise BadInput("X-Purpose-Of-Use is not a purpose known here", hint=f"one of {known}") from None
    return AccessContext(stated, x_justification)


class FhirRoute(APIRoute):
    """Turns the platform's errors into OperationOutcomes, those of dependencies (sign-in) included."""

    def get_route_handler(self) -> _Handler:
        """FastAPI's hook around one route."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except TwinwardError as error:
                headers = {"www-authenticate": "Bearer"} if error.http_status == 401 else None
                return JSONResponse(outcome_of(error), error.http_status, headers, MEDIA_TYPE)
            except RequestValidationError as error:
                where = ".".join(str(part) for part in error.errors()[0]["loc"])
                issue = Issue("value", "", f"{where}: {error.errors()[0]['msg']}")
                return JSONResponse(operation_outcome([issue]), 400, media_type=MEDIA_TYPE)

        return handled


def fhir_router(service: FhirService, principal_of: Callable[..., Principal], *, prefix: str = "/fhir") -> APIRouter:
    """The routes.

    Args:
        service: what they call.
        principal_of: a FastAPI dependency that yields the caller or raises ``NotAuthenticated``.
        prefix: where they stand.
    """
    router = APIRouter(prefix=prefix, tags=["FHIR R4"], route_class=FhirRoute)

    @router.get("/metadata", summary="CapabilityStatement")
    def metadata(request: Request) -> Response:
        return _fhir(service.metadata(base=_base(request, prefix)))

    @router.post("", summary="Take in a transaction Bundle", openapi_extra=_BUNDLE_BODY)
    async def transaction(
        request: Request,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        _check_media_type(request)
        body = await request.body()
        return _fhir(await run_in_threadpool(service.transaction, principal, body, purpose=context.purpose(principal)))

    @router.get("/Patient/{patient_id}/$everything", summary="All that the caller may see of a patient")
    def everything(
        request: Request,
        patient_id: str,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        base, why = _base(request, prefix), context.justification
        return _fhir(
            service.everything(principal, patient_id, base=base, purpose=context.purpose(principal), justification=why)
        )

    @router.get("/{resource_type}/{resource_id}", summary="Read one resource, byte for byte as it was taken in")
    def read(
        resource_type: str,
        resource_id: str,
        principal: Principal = Depends(principal_of),
        context: AccessContext = Depends(access_context),
    ) -> Response:
        why = context.justification
        record = service.read(
            principal, resource_type, resource_id, purpose=context.purpose(principal), justification=why
        )
        return _fhir(record.content, version=etag(record), at_ms=record.committed_at_ms)

    return router


def _fhir(content: bytes, *, version: str = "", at_ms: int = 0) -> Response:
    headers = {"etag": version, "last-modified": formatdate(at_ms / 1000, usegmt=True)} if version else None
    return Response(content, media_type=MEDIA_TYPE, headers=headers)


def _base(request: Request, prefix: str) -> str:
    return str(request.base_url).rstrip("/") + prefix


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in _TAKEN:
        raise InvalidResource(Issue("not-supported", "", f"the content type is {MEDIA_TYPE} or application/json here"))
