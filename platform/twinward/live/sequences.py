"""Which numbers of a source are settled: ranges, so that years of an orderly sender are a few bytes.

A sender that leaves gaps (a lost message that is sent later) makes ranges; one that leaves more than ``MOST_RANGES`` is
refused until it has closed some, so no sender makes this grow without bound.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

MOST_RANGES = 1_000
MAX_SEQ = 2**53 - 1
"""What any JSON reader keeps exactly."""


class SequenceSet:
    """Numbers as half-open ranges that neither touch nor overlap, ascending."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            self._starts.append(start)
            self._stops.append(stop)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._stops[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._stops, strict=True))

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._starts)

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(self._stops) - sum(self._starts)

    @property
    def missing(self) -> int:
        """How many were skipped between the first and the last."""
        return self._stops[-1] - self._starts[0] - self.count if self._stops else 0

    def has_room(self, number: int) -> bool:
        """Whether a number may be added: it extends a range, or there is room for one more."""
        return len(self) < MOST_RANGES or self._extends(number)

    def add(self, number: int) -> None:
        """Add one that is not in it."""
        at = bisect_right(self._starts, number)
        joins_before = at > 0 and self._stops[at - 1] == number
        joins_after = at < len(self._starts) and self._starts[at] == number + 1
        if joins_before and joins_after:
            self._stops[at - 1] = self._stops[at]
            del self._starts[at], self._stops[at]
        elif joins_before:
            self._stops[at - 1] = number + 1
        elif joins_after:
            self._starts[at] = number
        else:
            self._starts.insert(at, number)
            self._stops.insert(at, number + 1)

    def _extends(self, number: int) -> bool:
        at = bisect_right(self._starts, number)
        return (at > 0 and self._stops[at - 1] == number) or (at < len(self._starts) and self._starts[at] == number + 1)
