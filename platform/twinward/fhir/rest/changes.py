"""A history of a type, or of everything, as it was asked. https://hl7.org/fhir/R4/http.html#history."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from twinward.core.vocabulary import RecordId
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.search.query import DEFAULT_COUNT
from twinward.fhir.search.shared_parameters import SUBSETS, count_of, moment_of, require_served
from twinward.fhir.search.subset import COUNTED, WHOLE, Subset, read_subset
from twinward.twins.read.changes import END_OF_TIME_MS, Wanted
from twinward.vault.interfaces import Span, StoredAt

SERVED = ("_at", "_count", "_cursor", "_since", *SUBSETS)
_CURSOR = re.compile(r"([0-9]{1,15})/([0-9a-f-]{36})/([1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class ChangesAsked:
    """Which versions, how many on a page, and which part of each is shown."""

    wanted: Wanted
    count: int = DEFAULT_COUNT
    subset: Subset = WHOLE
    used: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def read_changes(pairs: Sequence[tuple[str, str]], resource_type: str = "") -> ChangesAsked:
    """What a request asks for, of one type or (empty) of all.

    Raises:
        InvalidResource: a parameter that is not served, twice the same, or a value of none.
    """
    require_served("_history", pairs, SERVED)
    asked = dict(pairs)
    if len(asked) != len(pairs):
        raise InvalidResource(Issue("value", "", "each parameter of a history stands once"))
    count = count_of(asked["_count"]) if "_count" in asked else DEFAULT_COUNT
    since_ms = moment_of("_since", asked["_since"])[0] if "_since" in asked else 0
    span = Span(since_ms, END_OF_TIME_MS, _place(asked["_cursor"]) if "_cursor" in asked else None)
    current = moment_of("_at", asked["_at"]) if "_at" in asked else None
    types = frozenset({resource_type}) if resource_type else R4_TYPES
    return ChangesAsked(
        Wanted(types, span, current, resource_type or "all types"),
        count,
        read_subset(pairs) if count else COUNTED,
        tuple(pair for pair in pairs if pair[0] in SERVED and pair[0] != "_cursor"),
    )


def cursor_of(place: StoredAt) -> str:
    """What a ``next`` link carries."""
    return base64.urlsafe_b64encode("/".join(map(str, place)).encode()).decode().rstrip("=")


def _place(text: str) -> StoredAt:
    try:
        decoded = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
    except (ValueError, binascii.Error):
        decoded = ""
    match = _CURSOR.fullmatch(decoded)
    if match is None:
        raise InvalidResource(Issue("value", "", "_cursor comes from the next link and is used as it is"))
    return int(match[1]), RecordId(match[2]), int(match[3])
