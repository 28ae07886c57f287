"""What every FHIR route shares: the purpose of an access, errors as OperationOutcomes, bodies and media types.

Every answer is ``application/fhir+json``; every refusal is an OperationOutcome with the error's own status. The
purpose of use may come in the ``X-Purpose-Of-Use`` header (an HL7 v3 ActReason code; else the usual one of the
caller's role), and a reason for breaking the glass in ``X-Justification``: both are logged with the access.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Annotated, Any, TypeVar

from fastapi import Header, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor

from twinward.access.interfaces import AccessContext, Principal
from twinward.api.fhir.openapi import TAKEN
from twinward.api.http.caller import access_context, stated_in_headers
from twinward.api.http.direct import Handler
from twinward.api.http.guard import BodyRefused, read_body
from twinward.api.http.problems import headers_of
from twinward.core.errors import TwinwardError
from twinward.core.media_types import require_taken
from twinward.core.vocabulary import Purpose, Role
from twinward.fhir.errors import Issue, operation_outcome, outcome_of
from twinward.fhir.json.strict_json import REQUEST_LIMITS, require_few_values
from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.search.representation import MEDIA_TYPE, etag

PREFIX = "/fhir"


class _TypeName(Convertor[str]):
    """A path's part that may be a type: it begins with a capital letter, so ``metadata`` and ``$export`` are none.

    A Subscription is no record: it has routes of its own, and no others.
    """

    regex = "(?!Subscription(?:/|$))[A-Z][^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _IdName(_TypeName):
    """A path's part that may be an id: operations begin with a dollar sign, interactions with an underscore."""

    regex = "[^$_/][^/]*"


register_url_convertor("fhir_type", _TypeName())
register_url_convertor("fhir_id", _IdName())
TYPE_PATH = "/{resource_type:fhir_type}"
ID_PATH = TYPE_PATH + "/{resource_id:fhir_id}"

_USUAL = {
    Role.SYSTEM: Purpose.RECORD_MANAGEMENT,
    Role.OPERATOR: Purpose.RECORD_MANAGEMENT,
    Role.OFFICER: Purpose.RECORD_MANAGEMENT,
    Role.PATIENT: Purpose.PATIENT_REQUEST,
}
Prefer = Annotated[str, Header(max_length=256)]
"""What the caller would rather have: ``return=minimal``, ``handling=lenient``, ``respond-async``."""

ResourceType = Annotated[str, Path(json_schema_extra={"enum": sorted(R4_TYPES - {"Subscription"})})]
"""Only the document says which there are: another one is answered with an OperationOutcome, not by FastAPI."""

ResourceId = Annotated[str, Path(json_schema_extra={"pattern": r"^[A-Za-z0-9\-.]{1,64}$"})]

Done = TypeVar("Done")

ContextOf = Callable[..., Awaitable[AccessContext]]
"""The dependency that yields who asks and why; it raises ``NotAuthenticated`` for strangers."""


def fhir_context(principal_of: Callable[..., Any]) -> ContextOf:
    """The dependency that says who asks and why: headers only, and else the usual purpose of the caller's role."""
    return access_context(principal_of, usual=usual_purpose, stated_by=stated_in_headers)


def usual_purpose(principal: Principal) -> Purpose:
    """What a role asks for where no purpose is stated."""
    return _USUAL.get(principal.role, Purpose.TREATMENT)


class FhirRoute(APIRoute):
    """A route whose refusals are told in FHIR's words."""

    def get_route_handler(self) -> Handler:
        """FastAPI's hook around one route."""
        return told_in_fhir(super().get_route_handler())


def told_in_fhir(handle: Handler) -> Handler:
    """The same, with the platform's errors as OperationOutcomes, those of dependencies (sign-in) included."""

    async def handled(request: Request) -> Response:
        try:
            return await handle(request)
        except TwinwardError as error:
            return JSONResponse(outcome_of(error), error.http_status, headers_of(error), MEDIA_TYPE)
        except BodyRefused as refusal:
            issue = Issue(refusal.code, "", str(refusal.detail))
            return JSONResponse(operation_outcome([issue]), refusal.status_code, refusal.headers, MEDIA_TYPE)
        except RequestValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            issue = Issue("value", "", f"{where}: {error.errors()[0]['msg']}")
            return JSONResponse(operation_outcome([issue]), 400, media_type=MEDIA_TYPE)

    return handled


class FhirResponse(JSONResponse):
    """What OpenAPI takes the media type of FHIR answers from; the answers themselves are bytes as they are kept."""

    media_type = MEDIA_TYPE


def fhir(content: bytes, status: int = 200, *, version: int = 0, at_ms: int = 0, location: str = "") -> Response:
    """A FHIR answer; with a version, its entity tag and moment."""
    headers: dict[str, str] = {}
    if version:
        headers = {"etag": etag(version), "last-modified": formatdate(at_ms / 1000, usegmt=True)}
    if location:
        headers["location"] = location
    return Response(content, status, headers, MEDIA_TYPE if content else None)


def base_of(request: Request) -> str:
    """The service's base URL, without a slash at the end."""
    return str(request.base_url).rstrip("/") + PREFIX


@dataclass(frozen=True, slots=True)
class Sent:
    """A body that nobody has walked over yet."""

    raw: bytes = field(repr=False)

    def __call__(self) -> bytes:
        """It, once it is known to have few enough values. Raises ``InvalidResource``."""
        require_few_values(self.raw, REQUEST_LIMITS)  # before anything walks over them
        return self.raw


async def with_resource(request: Request, do: Callable[[bytes], Done]) -> Done:
    """Do something with a request's resource, in one turn of a thread: whatever walks over it takes time.

    Raises ``UnsupportedMedia`` for another media type, ``InvalidResource`` for too many values, and as ``read_body``.
    """
    checked = await sent_resource(request)
    return await run_in_threadpool(lambda: do(checked()))


async def sent_resource(request: Request) -> Sent:
    """A request's resource, as it was sent; whoever calls it has it checked. Raises as ``with_resource``."""
    require_taken(request.headers.getlist("content-type"), TAKEN)
    return Sent(await read_body(request, REQUEST_LIMITS.size_bytes))


async def resource_body(request: Request) -> bytes:
    """A request's resource by itself. Raises as ``with_resource``."""
    return await with_resource(request, bytes)
