"""Preconditions over HTTP (RFC 9110, section 13): which fields a route looks at, and the refusal of all others.

A route says with ``evaluates`` what it looks at. A write that comes with another field is refused by name once its
sender is known: a condition that is not looked at must not look as if it held. A read goes on without those that would
only save it (``If-None-Match``, ``If-Modified-Since``): the whole answer is right whatever they say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request

from twinward.access.interfaces import Principal
from twinward.core.errors import BadInput, Conflict
from twinward.core.preconditions import (
    EVERY,
    IF_MATCH,
    IF_NONE_MATCH,
    OF_READS,
    OF_WRITES,
    ONLY_SAVING,
    Preconditions,
    Selected,
    Tag,
    Tags,
    read_preconditions,
)

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_MARK = "evaluates"
_NOTHING: frozenset[str] = frozenset()
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_Tags = Annotated[str | None, Header(description="* or a list of entity tags")]
_Date = Annotated[str | None, Header(description="An HTTP date")]


class PreconditionFailed(Conflict):
    """What the client means to change is not what it saw."""

    http_status = 412


class PreconditionRequired(Conflict):
    """A change without a condition might undo somebody else's (RFC 6585, section 3)."""

    http_status = 428


def evaluates(*fields: str) -> Callable[[Endpoint], Endpoint]:
    """Say of a route's function which fields it looks at. It stands below the router's own decorator."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _MARK, frozenset(fields))
        return endpoint

    return mark


def conditions_checked(principal_of: Callable[..., Any]) -> Callable[..., Any]:
    """A dependency that yields the same principal, and then refuses conditions that the route does not look at.

    Raises:
        BadInput: one of them is there, by name.
    """

    async def principal(request: Request, caller: Principal = Depends(principal_of)) -> Principal:
        looked_at: frozenset[str] = getattr(request.scope.get("endpoint"), _MARK, _NOTHING)
        harmless = ONLY_SAVING if request.method in _SAFE else _NOTHING
        for name in sorted(EVERY - looked_at - harmless):
            if name in request.headers:
                raise BadInput(f"{name} is not evaluated by this request", hint="leave it out")
        return caller

    return principal


async def of_read(
    request: Request,
    if_match: _Tags = None,  # noqa: ARG001 - for the document: what is read is every line of each, below
    if_none_match: _Tags = None,  # noqa: ARG001
    if_modified_since: _Date = None,  # noqa: ARG001
    if_unmodified_since: _Date = None,  # noqa: ARG001
) -> Preconditions:
    """What a read is asked under. Raises ``BadInput`` for a field that cannot be read."""
    return read_preconditions({name: request.headers.getlist(name) for name in OF_READS})


async def of_write(
    request: Request,
    if_match: _Tags = None,  # noqa: ARG001 - as above
    if_none_match: _Tags = None,  # noqa: ARG001
    if_unmodified_since: _Date = None,  # noqa: ARG001
) -> Preconditions:
    """What a write is asked under. Raises ``BadInput`` for a field that cannot be read."""
    return read_preconditions({name: request.headers.getlist(name) for name in OF_WRITES})


async def of_tags(
    request: Request,
    if_match: _Tags = None,  # noqa: ARG001 - as above
    if_none_match: _Tags = None,  # noqa: ARG001
) -> Preconditions:
    """What is asked where there are tags and no dates. Raises ``BadInput`` for a field that cannot be read."""
    return read_preconditions({name: request.headers.getlist(name) for name in (IF_MATCH, IF_NONE_MATCH)})


def quoted(tag: str) -> str:
    """An entity tag as it stands in ``ETag``."""
    return f'"{tag}"'


def is_known(asked: Preconditions, tag: str) -> bool:
    """Whether the client has this very version: then it is answered 304.

    Raises:
        PreconditionFailed: it asked for another version.
    """
    failing = asked.failing(Selected(Tag(tag)))
    if failing and failing not in ONLY_SAVING:
        raise PreconditionFailed("this is not the version that is there")
    return bool(failing)


def require_fits(asked: Preconditions, tag: str | None, *, part: Callable[[str], str] = str) -> None:
    """Let a change go on only if its conditions hold, and it names what it changes.

    Args:
        asked: the conditions.
        tag: of what is there; None where there is nothing yet.
        part: the part of a client's tag that is compared.

    Raises:
        PreconditionFailed: another version is there, or one where there should be none.
        PreconditionRequired: something is there, and the request does not say that it was seen.
    """
    compared = replace(asked, if_match=_parts(asked.if_match, part), if_none_match=_parts(asked.if_none_match, part))
    failing = compared.failing(Selected(None if tag is None else Tag(tag)))
    if failing:
        here = failing == IF_NONE_MATCH
        what = "there is something here already" if here else "this is not the version that is there"
        raise PreconditionFailed(what, hint="read it again and repeat the change on what is there now")
    if tag is not None and asked.if_match is None:
        raise PreconditionRequired(
            "a change to what is there must say which version it was made to", hint="send its ETag as If-Match"
        )


def _parts(tags: Tags | None, part: Callable[[str], str]) -> Tags | None:
    if tags is None:
        return None
    return replace(tags, listed=tuple(replace(one, opaque=part(one.opaque)) for one in tags.listed))
