"""Parameters that are no search criteria: those any request may carry, those that operations share, and the refusal of
all others by name.

https://hl7.org/fhir/R4/http.html#parameters. Answers are JSON, their resources byte for byte as they are kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from twinward.core.errors import NotAcceptable
from twinward.core.media_types import read_media_type
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.times import asked_interval
from twinward.fhir.resource_types import R4_TYPES

MAX_COUNT = 500
SUBSETS = ("_elements", "_summary")
WISHES = ("_format", "_pretty")
_FHIR_JSON = "application/fhir+json"
_FORMATS = frozenset({"application/json", "text/json", _FHIR_JSON})
_BOOLEANS = frozenset({"true", "false"})


def is_wish(name: str, value: str) -> bool:
    """Whether a parameter asks for no more than what is done anyway. Raises ``NotAcceptable`` as ``format_asked``."""
    if name == "_format":
        return bool(format_asked(value))
    return name == "_pretty" and value in _BOOLEANS


def format_asked(value: str) -> str:
    """The media type that ``_format`` asks for. Raises ``NotAcceptable`` for one that is not served, at every door."""
    if value.strip().lower() == "json":
        return _FHIR_JSON
    name, _, parameters = value.partition(";")
    # The + of a media type that was not escaped arrives as a blank.
    asked = read_media_type(f"{name.strip().replace(' ', '+')};{parameters}")
    if asked is None or asked.name not in _FORMATS or not asked.is_spoken:
        raise NotAcceptable(f"_format is json or {_FHIR_JSON} here", hint="resources are answered as JSON of R4 only")
    return asked.name


def require_served(what: str, pairs: Sequence[tuple[str, str]], served: Collection[str]) -> None:
    """Refuse a request that carries anything but these and wishes.

    Args:
        what: is asked, as the refusal names it.
        pairs: names and values.
        served: names whose values are looked at elsewhere.

    Raises:
        InvalidResource: the first that is not served, by name.
    """
    for name, value in pairs:
        if name not in served and not is_wish(name, value):
            issue = Issue("not-supported", "", f"{what} has no parameter {name[:40]!r} here, or not with this value")
            raise InvalidResource(issue, hint=f"one of {', '.join(sorted((*served, *WISHES)))}")


def count_of(value: str) -> int:
    """How many a page shows, bounded. Raises ``InvalidResource`` for what is no number."""
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InvalidResource(Issue("value", "", "_count is a number"))
    return min(int(value), MAX_COUNT)


def types_of(value: str) -> frozenset[str]:
    """The types that ``_type`` lists. Raises ``InvalidResource`` where one is none of R4."""
    found = frozenset(value.split(","))
    if not found <= R4_TYPES:
        raise InvalidResource(Issue("not-supported", "", "_type takes types of R4, with commas between them"))
    return found


def moment_of(name: str, value: str) -> tuple[int, int]:
    """What a date or moment covers, in ms since the epoch, the end excluded. Raises ``InvalidResource``."""
    found = asked_interval(value)
    if found is None:
        raise InvalidResource(Issue("value", "", f"{name} takes a date or a moment such as 2024-01-31T08:00:00Z"))
    return found
