"""A history as it was asked, of one resource, of a type or of all: which versions, and which page of them.

https://hl7.org/fhir/R4/http.html#history.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twinward.core.ids import UUID_PATTERN
from twinward.core.vocabulary import RecordId
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.search.parameters import SUBSETS, count_of, moment_of, require_served
from twinward.fhir.search.query import DEFAULT_COUNT
from twinward.fhir.search.representation import COUNTED, WHOLE, Subset, read_subset
from twinward.twins.read.changes import END_OF_TIME_MS, Wanted
from twinward.vault.interfaces import Record, Span, StoredAt

HISTORY_PARAMETERS = ("_at", "_count", "_cursor", "_since", *SUBSETS)


@dataclass(frozen=True, slots=True)
class InstanceHistory:
    """What was asked for. ``count`` is None for all at once; ``before`` is the version the last page ended with.

    ``at`` is a stretch ``[from, until)`` in ms in some of which a version was what was kept: until the next one was
    stored, whoever may see that.
    """

    count: int | None = None
    before: int = 0
    since_ms: int = 0
    at: tuple[int, int] | None = None
    subset: Subset = WHOLE
    used: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def page(self, versions: Sequence[Record], stored: Mapping[int, int]) -> tuple[list[Record], int, int]:
        """One page out of all versions, newest first; how many there are on all pages; the next page's cursor, or 0.

        Args:
            versions: those that may be seen, newest first.
            stored: when each version was stored, in ms, also those that may not be seen.
        """
        asked = [one for one in versions if one.committed_at_ms >= self.since_ms and self._was_kept(one, stored)]
        rest = [one for one in asked if not self.before or one.version < self.before]
        shown = rest if self.count is None else rest[: self.count]
        return shown, len(asked), shown[-1].version if shown and len(shown) < len(rest) else 0

    def _was_kept(self, one: Record, stored: Mapping[int, int]) -> bool:
        if self.at is None:
            return True
        followed_ms = stored.get(one.version + 1)
        return one.committed_at_ms < self.at[1] and (followed_ms is None or followed_ms > self.at[0])


def read_instance_history(pairs: Sequence[tuple[str, str]]) -> InstanceHistory:
    """What a request asks for. Raises ``InvalidResource`` for a parameter that is not served, or a value of none."""
    require_served("_history", pairs, HISTORY_PARAMETERS)
    count, before, since_ms, at = None, 0, 0, None
    for name, value in pairs:
        if name == "_count":
            count = count_of(value)
        elif name == "_cursor":
            before = _version_before(value)
        elif name == "_since":
            since_ms = moment_of(name, value)[0]
        elif name == "_at":
            at = moment_of(name, value)
    subset = read_subset(pairs)
    used = tuple(pair for pair in pairs if pair[0] in HISTORY_PARAMETERS and pair[0] != "_cursor")
    return InstanceHistory(count, before, since_ms, at, COUNTED if count == 0 else subset, used)


def _version_before(value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,9}", value):
        raise InvalidResource(Issue("value", "", "_cursor comes from the next link and is used as it is"))
    return int(value)


_CURSOR = re.compile(rf"([0-9]{{1,15}})/({UUID_PATTERN})/([1-9][0-9]{{0,9}})")


@dataclass(frozen=True, slots=True)
class TypeHistory:
    """Which versions, how many on a page, and which part of each is shown."""

    wanted: Wanted
    count: int = DEFAULT_COUNT
    subset: Subset = WHOLE
    used: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def read_type_history(pairs: Sequence[tuple[str, str]], resource_type: str = "") -> TypeHistory:
    """What a request asks for, of one type or (empty) of all.

    Raises:
        InvalidResource: a parameter that is not served, twice the same, or a value of none.
    """
    require_served("_history", pairs, HISTORY_PARAMETERS)
    asked = dict(pairs)
    if len(asked) != len(pairs):
        raise InvalidResource(Issue("value", "", "each parameter of a history stands once"))
    count = count_of(asked["_count"]) if "_count" in asked else DEFAULT_COUNT
    since_ms = moment_of("_since", asked["_since"])[0] if "_since" in asked else 0
    span = Span(since_ms, END_OF_TIME_MS, _place(asked["_cursor"]) if "_cursor" in asked else None)
    current = moment_of("_at", asked["_at"]) if "_at" in asked else None
    types = frozenset({resource_type}) if resource_type else R4_TYPES
    return TypeHistory(
        Wanted(types, span, current, resource_type or "all types"),
        count,
        read_subset(pairs) if count else COUNTED,
        tuple(pair for pair in pairs if pair[0] in HISTORY_PARAMETERS and pair[0] != "_cursor"),
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
