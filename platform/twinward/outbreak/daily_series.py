"""Daily sums of one syndrome as one series, in which days may be missing: of periods, or of lines of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from twinward.outbreak.errors import OutbreakInvalid

if TYPE_CHECKING:
    from twinward.outbreak.shares import SummedDays

_LINE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}),(-?[0-9]{1,15})?")
_MOST_DAYS: Final = 20_000
_FIRST, _LAST = date(1970, 1, 1), date(9998, 12, 31)
"""Days that have others behind them."""
_MOST_COUNTED: Final = 10**9


@dataclass(frozen=True, slots=True)
class DailySeries:
    """Sums of days that follow each other.

    Attributes:
        first_day: of the first.
        counts: each day's sum, the noise with it; None where it is not known.
        variances: of the noise in each; of a missing day, that of the day before.
    """

    first_day: date
    counts: tuple[int | None, ...]
    variances: tuple[float, ...]

    @property
    def last_day(self) -> date:
        """Of the last."""
        return self.first_day + timedelta(days=len(self.counts) - 1)

    @property
    def known(self) -> int:
        """How many days are not missing."""
        return sum(one is not None for one in self.counts)

    def weekday(self, place: int) -> int:
        """Of the day at a place from 0, which may lie behind the last; 0 is a Monday."""
        return (self.first_day.weekday() + place) % 7

    def last(self, days: int) -> DailySeries:
        """No more than so many of the last days."""
        cut = max(0, len(self.counts) - days)
        first = self.first_day + timedelta(days=cut)
        return replace(self, first_day=first, counts=self.counts[cut:], variances=self.variances[cut:])

    def until(self, days: int) -> DailySeries:
        """The first so many days."""
        return replace(self, counts=self.counts[:days], variances=self.variances[:days])


def series_of_periods(periods: Sequence[SummedDays], syndrome: str) -> DailySeries:
    """Periods of the same hospitals as one series; days between them are missing, of a day of two the quieter stands.

    Raises:
        OutbreakInvalid: they are of different hospitals, or one of them does not count this syndrome.
    """
    if len({frozenset(one.terms.hospitals) for one in periods}) > 1:
        raise OutbreakInvalid("these periods are of different hospitals: their sums are no one series")
    found: dict[date, tuple[int | None, float]] = {}
    for one in sorted(periods, key=lambda period: (period.terms.noise, period.terms.first_day)):
        for number, count in enumerate(one.daily(syndrome), 1):
            found.setdefault(one.terms.date_of(number), (count, float(one.terms.noise)))
    return _filled(found)


def series_of_lines(raw: bytes, variance: float) -> DailySeries:
    """Lines of YYYY-MM-DD,COUNT, oldest first; a day without a line, or without a count on it, is missing.

    Raises:
        OutbreakInvalid: a line is neither, or is not of a later day than the one before; or no noise has this variance.
    """
    if not 0 <= variance <= _MOST_COUNTED**2:
        raise OutbreakInvalid(f"the variance of noise is a number from 0 to {_MOST_COUNTED**2:.0e}")
    found: dict[date, tuple[int | None, float]] = {}
    before: date | None = None
    for number, line in enumerate(raw.decode("utf-8", "replace").split(), 1):
        day, count = _read(number, line)
        if before is not None and day <= before:
            raise OutbreakInvalid(f"line {number} is not of a later day than the line before")
        found[day], before = (count, variance), day
    return _filled(found)


def _read(number: int, line: str) -> tuple[date, int | None]:
    read = _LINE.fullmatch(line)
    try:
        day = date.fromisoformat(read[1]) if read else None
    except ValueError:
        day = None
    if read is None or day is None or not _FIRST <= day <= _LAST:
        raise OutbreakInvalid(f"line {number} is no day and count", hint="e.g. 2026-01-31,57")
    return day, None if read[2] is None else int(read[2])


def _filled(found: dict[date, tuple[int | None, float]]) -> DailySeries:
    """With the days between. Raises ``OutbreakInvalid``: there are none, or they lie a lifetime apart."""
    if not found:
        raise OutbreakInvalid("there are no daily sums", hint="lines of YYYY-MM-DD,COUNT")
    first, last = min(found), max(found)
    days = (last - first).days + 1
    if any(count is not None and abs(count) > _MOST_COUNTED for count, _ in found.values()):
        raise OutbreakInvalid(f"a day has {_MOST_COUNTED} cases at most")
    if days > _MOST_DAYS:
        raise OutbreakInvalid(f"a series has {_MOST_DAYS} days at most")
    counts: list[int | None] = []
    variances: list[float] = []
    for number in range(days):
        count, variance = found.get(first + timedelta(days=number), (None, variances[-1] if variances else 0.0))
        counts.append(count)
        variances.append(variance)
    return DailySeries(first, tuple(counts), tuple(variances))
