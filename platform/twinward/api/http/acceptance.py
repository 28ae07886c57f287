"""In what form a request is answered: of the types and codings a route has, one that its client takes, else 406.

RFC 9110, sections 12.5.1, 12.5.3 and 15.5.7; for FHIR https://hl7.org/fhir/R4/http.html#mime-type, where ``_format``
comes before ``Accept``. It is asked once the caller is known and before anything is looked up, decided or written.
Refusals themselves are JSON whatever was asked for: whoever takes none at all still sees the status.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Depends, Request
from fastapi.datastructures import DefaultPlaceholder

from twinward.access.interfaces import Principal
from twinward.api.http import codings
from twinward.core.errors import BadInput, NotAcceptable
from twinward.core.media_types import Chosen, preferred
from twinward.fhir.bulk.export import MEDIA_TYPE as NDJSON
from twinward.fhir.search.render import MEDIA_TYPE as FHIR
from twinward.fhir.search.shared_parameters import format_asked

JSON = "application/json"
FHIR_TYPES = (FHIR, JSON, "text/json")
NDJSON_TYPES = (NDJSON, "application/ndjson", "application/x-ndjson")
PROBLEM_TYPES = ("application/problem+json", JSON)

_PACKED = ("/fhir/", "/api/1/twins/", "/api/1/audit/", "/openapi.json/")
_PACKED_TYPES = frozenset({*FHIR_TYPES, *NDJSON_TYPES, "text/csv"})


def accepted_by(principal_of: Callable[..., Any]) -> Callable[..., Any]:
    """The same FastAPI dependency, which also has the caller take what the route answers with.

    Raises what ``principal_of`` does, and then as ``require_acceptable``: strangers are told so, and no more.
    """

    async def caller(request: Request, principal: Principal = Depends(principal_of)) -> Principal:
        if not request.url.path.endswith("/_search"):  # its form may hold _format: it asks when it has read it
            require_acceptable(request)
        return principal

    return caller


async def acceptable(request: Request) -> None:
    """The same for a route that everybody may ask. Raises as ``require_acceptable``."""
    require_acceptable(request)


def require_acceptable(request: Request, formats: Sequence[str] = ()) -> None:
    """Let a request go on only if it can be answered in a form that its client takes.

    Args:
        request: which says so, and was matched by its route.
        formats: values of ``_format`` that came elsewhere than in the address.

    Raises:
        NotAcceptable: it cannot be; the message names what it could be.
        BadInput: a header is too long to be looked at, or ``_pretty`` is no boolean.
    """
    offers = offers_of(request.scope["route"], request.url.path)
    if _is_fhir(request.url.path) and not set(request.query_params.getlist("_pretty")) <= {"true", "false"}:
        raise BadInput("_pretty is true or false")
    chosen = _asked_by_name(request, formats) or preferred(accept_of(request), offers)
    if chosen is None:
        raise NotAcceptable(f"this is answered as {' or '.join(offers)}", hint="Accept one of them")
    taken = codings.acceptable(accept_encoding_of(request))
    given = (codings.IDENTITY, *(codings.CODINGS if is_packed(request.url.path, chosen.name) else ()))
    if not set(given) & set(taken):
        raise NotAcceptable(f"this is answered as {' or '.join(given)}", hint="Accept-Encoding takes none of them")


def accept_of(request: Request) -> str:
    """All that ``Accept`` says; empty where it says nothing."""
    return ", ".join(request.headers.getlist("accept"))


def accept_encoding_of(request: Request) -> str | None:
    """All that ``Accept-Encoding`` says; None where it is not there."""
    said = request.headers.getlist("accept-encoding")
    return ", ".join(said) if said else None


def offers_of(route: Any, path: str) -> tuple[str, ...]:
    """The types a route answers with, the usual one first: those that the OpenAPI document tells."""
    declared = _declared(route)
    if not _is_fhir(path):
        return declared or (JSON,)
    if NDJSON in declared:
        return NDJSON_TYPES
    # Whatever is answered, it may be refused in FHIR's words; and bulk clients send one Accept with all they ask.
    return tuple(dict.fromkeys([*declared, *FHIR_TYPES])) if declared else FHIR_TYPES


def label_of(request: Request, name: str) -> str:
    """What ``Content-Type`` says of an answer of a type: the same bytes under the name that was asked for."""
    family = FHIR_TYPES if name == FHIR and _is_fhir(request.url.path) else PROBLEM_TYPES
    if name != family[0]:
        return name
    try:
        chosen = (_asked_by_name(request) if family is FHIR_TYPES else None) or preferred(accept_of(request), family)
    except NotAcceptable:
        chosen = None
    return name if chosen is None else chosen.label


def is_packed(path: str, name: str) -> bool:
    """Whether answers of a type are packed for who asks.

    Only what is named here is. Never: the console's pages, which hold a form's secret beside what others wrote
    (BREACH); accounts, which show a new token once; the similarity protocol, where ciphertext does not shrink and
    nothing may be told by a length; event streams, whose every line is to arrive at once; tiles, which are hashes.
    """
    return f"{path.rstrip('/')}/".startswith(_PACKED) and name in _PACKED_TYPES


def is_negotiated(path: str) -> bool:
    """Whether what a path answers depends on ``Accept`` and ``Accept-Encoding``."""
    return path.startswith(("/fhir", "/api/", "/log/", "/openapi.json"))


def _is_fhir(path: str) -> bool:
    return f"{path}/".startswith("/fhir/")


def _asked_by_name(request: Request, formats: Sequence[str] = ()) -> Chosen | None:
    if not _is_fhir(request.url.path):
        return None
    named = [format_asked(one) for one in (*request.query_params.getlist("_format"), *formats)]
    return Chosen(named[-1], named[-1]) if named else None


def _declared(route: Any) -> tuple[str, ...]:
    kind = route.response_class
    usual = (kind.value if isinstance(kind, DefaultPlaceholder) else kind).media_type
    said = [
        one.partition(";")[0]
        for status, answer in route.responses.items()
        if str(status).startswith("2")
        for one in answer.get("content", {})
    ]
    return tuple(dict.fromkeys([*([usual] if usual else []), *said]))
