"""In what form a request is answered, and how that travels: of the types and codings a route has, one its client takes.

RFC 9110, sections 12.5.1, 12.5.3 and 15.5.7; for FHIR https://hl7.org/fhir/R4/http.html#mime-type, where ``_format``
comes before ``Accept``. It is asked once the caller is known and before anything is looked up, decided or written:
else 406. Refusals themselves are JSON whatever was asked for: whoever takes none at all still sees the status.

A strong entity tag names bytes, so that of a packed answer says how it is packed (``"12.ab"`` becomes
``"12.ab--gzip"``); coming back it means the same state. A stream is packed piece by piece, each to be read as soon as
it has come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from anyio import to_thread
from fastapi import Depends, Request
from fastapi.datastructures import DefaultPlaceholder
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.access.interfaces import Principal
from twinward.api.http import codings
from twinward.core.errors import BadInput, NotAcceptable
from twinward.core.media_types import MAX_HEADER_CHARS, Chosen, preferred
from twinward.fhir.bulk.export import MEDIA_TYPE as NDJSON
from twinward.fhir.search.parameters import format_asked
from twinward.fhir.search.representation import MEDIA_TYPE as FHIR

JSON = "application/json"
FHIR_TYPES = (FHIR, JSON, "text/json")
NDJSON_TYPES = (NDJSON, "application/ndjson", "application/x-ndjson")
PROBLEM_TYPES = ("application/problem+json", JSON)

_PACKED = ("/fhir/", "/api/1/twins/", "/api/1/audit/", "/openapi.json/")
_PACKED_TYPES = frozenset({*FHIR_TYPES, *NDJSON_TYPES, "text/csv"})

LEAST_BYTES = 1024
"""Below it packing saves no packet."""

_LOOP_BYTES = 32 * 1024
"""What takes longer to pack than a thread takes to be called."""

_CONDITIONS = frozenset({b"if-match", b"if-none-match"})
_TAGGED = re.compile(rf'(")([^"]*)--({"|".join(codings.CODINGS)})"'.encode())

_MEMBER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*;\s*[qQ]=(0?\.\d{1,3}|[01](?:\.\d{0,3})?))?")


def form_checked(principal_of: Callable[..., Any]) -> Callable[..., Any]:
    """The same FastAPI dependency, which also has the caller take what the route answers with.

    Raises what ``principal_of`` does, and then as ``require_acceptable``: strangers are told so, and no more.
    """

    async def caller(request: Request, principal: Principal = Depends(principal_of)) -> Principal:
        if not request.scope["path"].endswith("/_search"):  # its form may hold _format: it asks when it has read it
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
    offers = offers_of(request.scope["route"], request.scope["path"])
    pretty = request.query_params.getlist("_pretty") if request.scope["query_string"] else ()
    if pretty and _is_fhir(request.scope["path"]) and not {*pretty} <= {"true", "false"}:
        raise BadInput("_pretty is true or false")
    chosen = _asked_by_name(request, formats) or preferred(accept_of(request), offers)
    if chosen is None:
        raise NotAcceptable(f"this is answered as {' or '.join(offers)}", hint="Accept one of them")
    taken = codings_taken(accept_encoding_of(request))
    given = (codings.IDENTITY, *(codings.CODINGS if is_packed(request.scope["path"], chosen.name) else ()))
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
    family = FHIR_TYPES if name == FHIR and _is_fhir(request.scope["path"]) else PROBLEM_TYPES
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
    if not _is_fhir(request.scope["path"]) or not (formats or request.scope["query_string"]):
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


def codings_taken(accept_encoding: str | None) -> tuple[str, ...]:
    """The codings that a client takes, the one it would rather have first; ``identity`` is one of them.

    RFC 9110 section 12.5.3. Without the header the answer goes as it is, and so where all of it is refused but what
    this node does not know: only ``identity;q=0`` or ``*;q=0`` says that it must not. Raises ``BadInput`` for a header
    that is too long.
    """
    if accept_encoding is None:
        return (codings.IDENTITY,)
    if len(accept_encoding) > MAX_HEADER_CHARS:
        raise BadInput(f"Accept-Encoding has {MAX_HEADER_CHARS} characters at most here")
    return _codings_taken(accept_encoding)


@lru_cache(maxsize=256)
def _codings_taken(accept_encoding: str) -> tuple[str, ...]:
    weights: dict[str, float] = {}
    for member in accept_encoding.lower().split(","):
        found = _MEMBER.fullmatch(member.strip())
        if found is not None:
            name = codings.ALIASES.get(found[1], found[1])
            weights[name] = max(weights.get(name, 0.0), min(float(found[2] or 1), 1.0))
    others = weights.get("*", 0.0)
    liked = {name: weights.get(name, others) for name in codings.CODINGS}
    # Not said, it is taken last; only what refuses it, or everything that is not named, refuses it.
    liked[codings.IDENTITY] = weights.get(codings.IDENTITY, 0.0 if weights.get("*") == 0 else 0.0001)
    return tuple(sorted((name for name in liked if liked[name]), key=lambda name: -liked[name]))


class Representation:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not is_negotiated(scope["path"]):
            await self._app(scope, receive, send)
            return
        answer = _Answer(Request(scope), send, _untagged(scope))
        await self._app(scope, receive, answer.send)


class _Answer:
    """One answer on its way out. ``tags``: those the client sent of packed answers, by what the routes know of them."""

    def __init__(self, request: Request, send: Send, tags: dict[str, str]) -> None:
        self._request = request
        self._send = send
        self._tags = tags
        self._start: Message | None = None
        self._coding = codings.IDENTITY
        self._packer: codings.Packer | None = None

    async def send(self, message: Message) -> None:
        """Take the next message of the application."""
        if message["type"] == "http.response.start":
            self._begin(message)
            if self._coding == codings.IDENTITY:
                await self._send(message)
            else:
                self._start = message
        elif message["type"] != "http.response.body" or self._coding == codings.IDENTITY:
            await self._send(message)
        else:
            await self._pack(message)

    def _begin(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        headers.add_vary_header("Accept, Accept-Encoding")
        name, _, parameters = headers.get("content-type", "").partition(";")
        if name and not parameters:
            headers["content-type"] = label_of(self._request, name)
        if message["status"] == 304 and headers.get("etag", "") in self._tags:
            headers["etag"] = self._tags[headers["etag"]]
        if message["status"] in (200, 201) and "content-encoding" not in headers:
            self._coding = self._coding_for(name, int(headers.get("content-length", LEAST_BYTES)))
        if self._coding == codings.IDENTITY:
            return
        headers["content-encoding"] = self._coding
        if headers.get("etag", "").startswith('"'):
            headers["etag"] = f'{headers["etag"][:-1]}--{self._coding}"'

    def _coding_for(self, name: str, size_bytes: int) -> str:
        try:
            taken = codings_taken(accept_encoding_of(self._request))
        except BadInput:  # a refusal is on its way, which says so
            return codings.IDENTITY
        if not taken or not is_packed(self._request.scope["path"], name):
            return codings.IDENTITY
        return taken[0] if size_bytes >= LEAST_BYTES or codings.IDENTITY not in taken else codings.IDENTITY

    async def _pack(self, message: Message) -> None:
        last = not message.get("more_body", False)
        if self._packer is None:
            self._packer = codings.packer(self._coding)
        packed = await _packed(self._packer, bytes(message.get("body", b"")), last=last)
        if self._start is not None:
            headers = MutableHeaders(scope=self._start)
            if last:
                headers["content-length"] = str(len(packed))
            elif "content-length" in headers:
                del headers["content-length"]
            await self._send(self._start)
            self._start = None
        await self._send({**message, "body": packed})


async def _packed(packer: codings.Packer, piece: bytes, *, last: bool) -> bytes:
    if len(piece) <= _LOOP_BYTES:
        return packer.pack(piece, last=last)
    return await to_thread.run_sync(lambda: packer.pack(piece, last=last))


def _untagged(scope: Scope) -> dict[str, str]:
    """Have a request name the states its tags are of, and tell which tags were sent for them."""
    sent: dict[str, str] = {}

    def plain(found: re.Match[bytes]) -> bytes:
        state = b'"' + found[2] + b'"'
        sent[state.decode("latin-1")] = found[0].decode("latin-1")
        return state

    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if any(name in _CONDITIONS for name, _ in headers):
        scope["headers"] = [
            (name, _TAGGED.sub(plain, value) if name in _CONDITIONS else value) for name, value in headers
        ]
    return sent
