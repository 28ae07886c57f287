"""JSON bodies from untrusted clients: bounded before they are built, strict, and without ``NaN`` or ``Infinity``.

A route that takes a small one depends on ``small_body``, and reads it with ``read_json`` once its caller has been told
that it may send it; ``documented`` says in the OpenAPI document what it takes. Messages of the similarity protocol,
which may be large, are read by ``read_message``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from twinward.api.http.guard import USUAL_BYTES, read_body
from twinward.core.errors import BadInput
from twinward.core.media_types import require_taken
from twinward.core.small_json import decode

JSON = "application/json"
MESSAGE_MEMBERS = 4096
"""Values in one message of the similarity protocol: encrypted parts are one string each, a query a few hundred."""

BodyT = TypeVar("BodyT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sent:
    """A small body, unread, and what its sender says it is: the values of ``Content-Type``."""

    content: bytes
    said: Sequence[str] = ()

    def of(self, *taken: str) -> bytes:
        """The body, if it is said to be of one of these types; nothing at all is of every type.

        Raises ``UnsupportedMedia``.
        """
        if self.content:
            require_taken(self.said, taken)
        return self.content


async def small_body(request: Request) -> Sent:
    """The request's body, unread: who may not send it is told so first. Raises as ``read_body``."""
    return Sent(await read_body(request), request.headers.getlist("content-type"))


def read_json(kind: type[BodyT], body: Sent) -> BodyT:
    """What a body says; an empty one says nothing.

    Raises:
        UnsupportedMedia: it is not said to be JSON.
        BadInput: it is not such a body; never with what was sent.
    """
    content = body.of(JSON)
    try:
        return kind.model_validate(decode(content) if content.strip() else {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"]) or "body"
        raise BadInput(f"{where}: {first['msg']}", hint="see /openapi.json for what this endpoint takes") from None


def documented(kind: type[BaseModel], *, required: bool) -> dict[str, Any]:
    """The body a route reads by itself, for the OpenAPI document."""
    content = {JSON: {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


async def read_message(request: Request, kind: type[BodyT], most_bytes: int = USUAL_BYTES) -> BodyT:
    """A JSON body as a message of the similarity protocol; decoded off the event loop.

    Raises:
        PackedOtherwise, TooLarge, TooSlow, TooMuchAtOnce: as ``read_body``.
        UnsupportedMedia: it is not said to be JSON.
        BadInput: it has more values than any message.
        RequestValidationError: it is not such a message.
    """
    require_taken(request.headers.getlist("content-type"), ("application/json",))
    raw = await read_body(request, most_bytes)
    return await run_in_threadpool(_message, kind, raw)


def _message(kind: type[BodyT], raw: bytes) -> BodyT:
    # Counted before anything is built, and in strings too: none of this protocol's holds a comma or a bracket.
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > MESSAGE_MEMBERS:
        raise BadInput(f"a message has {MESSAGE_MEMBERS} values at most")
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in faults]) from None
