"""What a record is searched by, and what a search wants of it. Opaque here: whoever reads content says both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

Rank = tuple[int, int, int, str]
"""Where a match stands in the order asked for: 0, or 1 where it says nothing of the key; the key; its record id."""

BEGINNING: Final = -(1 << 63)
END: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Facets:
    """What one version of a record is searched by.

    Attributes:
        words: what is true of it, each once.
        moments: a name and an interval in ms, the end excluded; a name may come several times.
    """

    words: tuple[str, ...] = ()
    moments: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where an interval of a name must begin and end, in ms, all included."""

    name: str
    begins_from: int = BEGINNING
    begins_until: int = END
    ends_from: int = BEGINNING
    ends_until: int = END


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search wants: a superset of its matches, which are opened and looked at.

    Attributes:
        record_type: of all of them.
        words: of each group, one word must be true.
        bounds: of each group, one must hold.
        order: a moment's name to sort by, by record id without; and whether the last comes first.
    """

    record_type: str
    words: tuple[frozenset[str], ...] = field(default=(), repr=False)
    bounds: tuple[tuple[Bounds, ...], ...] = field(default=(), repr=False)
    order: tuple[str, bool] | None = None

    def rank(self, record_id: str, intervals: Sequence[tuple[int, int]]) -> Rank:
        """Where a record stands whose moments of the order's name are these: by the first, or the last comes first."""
        if self.order is None:
            return 0, 0, 0, record_id
        if not intervals:
            return 1, 0, 0, record_id
        if not self.order[1]:
            return 0, *min(intervals), record_id
        start, end = max(intervals, key=lambda one: one[::-1])
        return 0, -end, -start, record_id
