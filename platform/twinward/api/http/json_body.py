"""A small JSON body from an untrusted client: bounded before it is built, strict, and no number that is none.

A route that takes one depends on ``small_body``, and reads it with ``read_json`` once its caller has been told that it
may send it; ``documented`` says in the OpenAPI document what it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from twinward.api.http.body import USUAL_BYTES, read_body
from twinward.core.errors import BadInput
from twinward.core.media_types import require_taken
from twinward.core.small_json import MAX_DEPTH, decode

__all__ = ["JSON", "MAX_BYTES", "MAX_DEPTH", "Sent", "decode", "documented", "read_json", "small_body"]

JSON = "application/json"

MAX_BYTES = USUAL_BYTES
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
    return Sent(await read_body(request, MAX_BYTES), request.headers.getlist("content-type"))


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
