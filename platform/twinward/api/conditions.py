"""Conditional requests (RFC 9110, section 13): what version a client has, or means to replace."""

from __future__ import annotations

import re
from collections.abc import Callable

from fastapi import Request

from twinward.errors import BadInput, Conflict

_TAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e]{0,80})"\s*(?:,|$)')
_MAX_HEADER_CHARS = 2000
ANY = "*"


class PreconditionFailed(Conflict):
    """What the client means to change is not what it saw."""

    http_status = 412


class PreconditionRequired(Conflict):
    """A change without a condition might undo somebody else's (RFC 6585, section 3)."""

    http_status = 428


def quoted(tag: str) -> str:
    """An entity tag as it stands in ``ETag``."""
    return f'"{tag}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether ``If-None-Match`` says that the client has this very version: then it is answered 304."""
    given = _tags(request, "if-none-match")
    return given is not None and (ANY in given or tag in given)


def require_fits(request: Request, tag: str | None, *, part: Callable[[str], str] = str) -> None:
    """Let a change go on only if its conditions hold.

    Args:
        request: the conditions.
        tag: of what is there; None where there is nothing yet.
        part: the part of a client's tag that is compared.

    Raises:
        PreconditionFailed: another version is there, or one where there should be none.
        PreconditionRequired: something is there, and the request does not say that it was seen.
    """
    must, must_not = (_parts(_tags(request, name), part) for name in ("if-match", "if-none-match"))
    hint = "read it again and repeat the change on what is there now"
    if must is not None and (tag is None or (ANY not in must and tag not in must)):
        raise PreconditionFailed("this is not the version that is there", hint=hint)
    if must_not is not None and tag is not None and (ANY in must_not or tag in must_not):
        raise PreconditionFailed("there is something here already", hint=hint)
    if tag is not None and must is None and must_not is None:
        raise PreconditionRequired(
            "a change to what is there must say which version it was made to", hint="send its ETag as If-Match"
        )


def _parts(tags: frozenset[str] | None, part: Callable[[str], str]) -> frozenset[str] | None:
    return None if tags is None else frozenset(map(part, tags))


def _tags(request: Request, header: str) -> frozenset[str] | None:
    text = ", ".join(request.headers.getlist(header)).strip()
    if not text:
        return None
    if text == ANY:
        return frozenset({ANY})
    found, at = [], 0
    while at < len(text) <= _MAX_HEADER_CHARS:
        match = _TAG.match(text, at)
        if match is None:
            break
        found.append(match.group(1))
        at = match.end()
    if at < len(text):
        raise BadInput(f"{header} is not a list of entity tags", hint='e.g. "12.ab34", or *')
    return frozenset(found)
