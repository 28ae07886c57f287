"""Preconditions where FHIR states them: header fields of a request, members of a bundle's entry.

https://hl7.org/fhir/R4/http.html#concurrency. FHIR's entity tags are weak and name a version, so ``If-Match`` compares
weakly here (RFC 9110, section 8.8.3.2, would have a weak tag match nothing). A deleted resource is not there: its last
tag matches nothing, and ``If-Unmodified-Since`` sees the moment of its deletion.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from twinward.core.errors import BadInput
from twinward.core.preconditions import Preconditions, Selected, Tag, read_tags
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.values import interval
from twinward.twins.errors import VersionMismatch
from twinward.twins.models import Standing

MEMBERS = ("ifMatch", "ifModifiedSince", "ifNoneExist", "ifNoneMatch")
"""Of ``Bundle.entry.request``. R4 has none for ``If-Unmodified-Since``."""

_SERVED = {
    "GET": frozenset({"ifMatch", "ifNoneMatch", "ifModifiedSince"}),
    "PUT": frozenset({"ifMatch", "ifNoneMatch"}),
    "PATCH": frozenset({"ifMatch", "ifNoneMatch"}),
    "DELETE": frozenset({"ifMatch", "ifNoneMatch"}),
    "POST": frozenset({"ifNoneExist"}),
}
_KNOWN = frozenset({"method", "url", "id", "extension", *MEMBERS})
AS_WRITTEN = {"if-match": "If-Match", "if-none-match": "If-None-Match", "if-unmodified-since": "If-Unmodified-Since"}
_MAX_CHARS = 2000


def read_members(request: JsonObject, method: str, path: str) -> tuple[Preconditions, str]:
    """The preconditions of a bundle's entry, and its ``ifNoneExist`` (empty where there is none).

    Args:
        request: ``Bundle.entry.request``.
        method: of it; empty where the entry asks for nothing.
        path: where the request stands, e.g. ``Bundle.entry[3].request``.

    Raises:
        InvalidResource: a member that means nothing for this method or anywhere, or that cannot be read, by name.
    """
    unknown = next((name for name in request if name not in _KNOWN), None)
    if unknown is not None:  # it might be a condition that its sender relies on
        raise InvalidResource(Issue("structure", path, f"a request has no member {unknown[:40]!r} here"))
    given: dict[str, str] = {}
    for name in MEMBERS:
        if name not in request:
            continue
        value = request[name]
        if name not in _SERVED.get(method, ()):
            raise InvalidResource(Issue("not-supported", f"{path}.{name}", f"means nothing for {method or 'this'}"))
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_CHARS:
            raise InvalidResource(Issue("value", f"{path}.{name}", f"a text of 1 to {_MAX_CHARS} letters"))
        given[name] = value
    try:
        tags = {name: read_tags(name, given[name]) if name in given else None for name in ("ifMatch", "ifNoneMatch")}
    except BadInput as error:
        name = str(error).partition(" ")[0]
        raise InvalidResource(Issue("value", f"{path}.{name}", str(error)), hint=error.hint) from None
    since_ms = _last_ms(given["ifModifiedSince"], f"{path}.ifModifiedSince") if "ifModifiedSince" in given else None
    asked = Preconditions(if_match=tags["ifMatch"], if_none_match=tags["ifNoneMatch"], if_modified_since_ms=since_ms)
    return asked, given.get("ifNoneExist", "")


def require_standing(asked: Preconditions, reference: str, standing: Standing) -> None:
    """Let a write go on only if its preconditions hold of what stands under a reference.

    The caller sees to it that this stays so until the write is done, and that access is decided before the error is
    told.

    Raises:
        VersionMismatch: one of them does not.
    """
    failing = asked.failing(selected(standing), weakly=True)
    if failing:
        what = f"{reference} is at version {standing.version}" if standing.is_there else f"there is no {reference}"
        hint = "read it again and repeat the change on what is there now"
        raise VersionMismatch(f"{AS_WRITTEN[failing]} does not hold: {what}", hint=hint)


def require_nothing_to_match(asked: Preconditions) -> None:
    """Refuse what can only be true of one resource where an answer is none, and has neither tag nor date.

    Raises:
        InvalidResource: ``If-Match`` or ``If-Unmodified-Since`` is asked; the others ask for no more than is done.
    """
    if asked.if_match is not None or asked.if_unmodified_since_ms is not None:
        raise InvalidResource(
            Issue("not-supported", "", "this answer has no ETag and no date to hold If-Match against")
        )


def _last_ms(instant: str, path: str) -> int:
    covered = interval(instant) if "T" in instant else None
    if covered is None:
        raise InvalidResource(Issue("value", path, "an instant, e.g. 2024-01-31T08:00:00Z"))
    return covered[1] - 1


def selected(standing: Standing) -> Selected:
    """What stands, as RFC 9110 holds preconditions against it: its tag and date, none where nothing is there."""
    return Selected(Tag(str(standing.version), weak=True) if standing.is_there else None, standing.at_ms or None)


T = TypeVar("T")
_MOST_LOOKS = 3
"""How often a condition is looked at that is true of something else each time it is to be written."""


class Moved(VersionMismatch):
    """What was looked at is another version by now: it has to be looked at again."""


def moved() -> Moved:
    """Made in one place, so that every door says it alike."""
    return Moved("somebody else wrote first", hint="read it again and repeat the change")


def look_again(look: Callable[[], T]) -> T:
    """What a look and its write come to, looked at again where somebody else wrote in between. Raises ``Moved``."""
    for _ in range(_MOST_LOOKS - 1):
        with suppress(Moved):
            return look()
    return look()
