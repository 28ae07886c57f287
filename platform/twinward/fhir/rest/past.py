"""A history as it was asked: which versions, and which page of them. https://hl7.org/fhir/R4/http.html#history."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.search.shared_parameters import SUBSETS, count_of, moment_of, require_served
from twinward.fhir.search.subset import COUNTED, WHOLE, Subset, read_subset
from twinward.vault.interfaces import Record

SERVED = ("_at", "_count", "_cursor", "_since", *SUBSETS)


@dataclass(frozen=True, slots=True)
class Past:
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


def read_past(pairs: Sequence[tuple[str, str]]) -> Past:
    """What a request asks for. Raises ``InvalidResource`` for a parameter that is not served, or a value of none."""
    require_served("_history", pairs, SERVED)
    count, before, since_ms, at = None, 0, 0, None
    for name, value in pairs:
        if name == "_count":
            count = count_of(value)
        elif name == "_cursor":
            before = _cursor_of(value)
        elif name == "_since":
            since_ms = moment_of(name, value)[0]
        elif name == "_at":
            at = moment_of(name, value)
    subset = read_subset(pairs)
    used = tuple(pair for pair in pairs if pair[0] in SERVED and pair[0] != "_cursor")
    return Past(count, before, since_ms, at, COUNTED if count == 0 else subset, used)


def _cursor_of(value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,9}", value):
        raise InvalidResource(Issue("value", "", "_cursor comes from the next link and is used as it is"))
    return int(value)
