"""When doses are due, and which of them were answered: pure.

Times of the day are those of the clock on the wall: where clocks go forward over one it is due as much later, where
they go back over one it is due once, the first time. An interval elapses, whatever clocks show. A dose is missed one
hour after it was due, two where it is given once a day or less often: Institute for Safe Medication Practices, Acute
Care Guidelines for Timely Administration of Scheduled Medications, 2011. (Its half hour for time-critical medication
would take a list of those.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from twinward.live.medication.models import Charted, Dose, Plan, Timing

_HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * _HOUR_MS
SOON_MS, LATER_MS = _HOUR_MS, 2 * _HOUR_MS
"""How late a dose may be: of several a day, and of one a day or fewer."""
_SELDOM_MS: Final = 20 * _HOUR_MS
_REACH_MS: Final = 12 * _HOUR_MS
"""What is charted further from a dose is not of it."""
_MOST_DAYS: Final = 400
"""That are counted through for an order of so many doses in all."""
MOST_DOSES: Final = 1_000
_FIRST_MS: Final = -70 * 365 * DAY_MS
"""No order is older: what began in the year 1 began in the year 0 by some clocks, which calendars have not."""


def due_between(timing: Timing, zone: ZoneInfo, from_ms: int, to_ms: int) -> list[int]:
    """Moments at which doses are due, in order, ``to_ms`` excluded; a thousand at most."""
    stop_ms = to_ms if timing.end_ms is None else min(to_ms, timing.end_ms)
    first_ms = counted_ms = max(from_ms, timing.begin_ms)
    if timing.most is not None and timing.interval_ms:
        stop_ms = min(stop_ms, timing.begin_ms + timing.most * timing.interval_ms)
    elif timing.most is not None:  # counted from the first on
        counted_ms = max(timing.begin_ms, stop_ms - _MOST_DAYS * DAY_MS)
    found = sorted({one for one in timing.at_ms if counted_ms <= one < stop_ms})
    found += _elapsing(timing, first_ms, stop_ms)
    found += [one for one in _by_the_clock(timing, zone, counted_ms, stop_ms) if counted_ms <= one < stop_ms]
    if timing.most is not None and not timing.interval_ms:
        found = found[: timing.most]
    return [one for one in found if one >= first_ms][:MOST_DOSES]


def doses(plan: Plan, charted: Iterable[Charted], zone: ZoneInfo, from_ms: int, to_ms: int) -> list[Dose]:
    """Doses of an order that are due in a span, and which of them were answered."""
    reach = _REACH_MS
    due = sorted({one for timing in plan.timings for one in due_between(timing, zone, from_ms - reach, to_ms + reach)})
    answered = answered_of(due, [one.at_ms for one in charted if one.request == plan.request])
    gap_ms = min((after - before for before, after in pairwise(due)), default=DAY_MS)
    late_ms = LATER_MS if gap_ms >= _SELDOM_MS else SOON_MS
    return [Dose(plan.request, plan.says, one, one + late_ms, one in answered) for one in due if from_ms <= one < to_ms]


def answered_of(due: Sequence[int], charted: Iterable[int]) -> set[int]:
    """Which doses were given: what is charted answers the nearest dose that nothing answers yet, half a day at most."""
    answered: set[int] = set()
    for at_ms in sorted(charted):
        near = [one for one in due if one not in answered and abs(one - at_ms) <= _REACH_MS]
        if near:
            answered.add(min(near, key=lambda one: (abs(one - at_ms), one)))
    return answered


def _elapsing(timing: Timing, first_ms: int, stop_ms: int) -> list[int]:
    if not timing.interval_ms:
        return []
    steps = max(0, -(-(first_ms - timing.begin_ms) // timing.interval_ms))
    begin = timing.begin_ms + steps * timing.interval_ms
    return list(range(begin, stop_ms, timing.interval_ms)[:MOST_DOSES])


def _by_the_clock(timing: Timing, zone: ZoneInfo, first_ms: int, stop_ms: int) -> list[int]:
    if not timing.times or stop_ms <= first_ms:
        return []
    begin, day, last = (_day_of(max(at_ms, _FIRST_MS), zone) for at_ms in (timing.begin_ms, first_ms, stop_ms))
    found: list[int] = []
    while day <= last and (len(found) < MOST_DOSES or timing.most is not None):
        if (day - begin).days % timing.every_days == 0 and (not timing.weekdays or day.weekday() in timing.weekdays):
            found += [_moment(day, seconds, zone) for seconds in sorted(timing.times)]
        day += timedelta(days=1)
    return found


def _day_of(at_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at_ms / 1000, zone).date()


def _moment(day: date, seconds: int, zone: ZoneInfo) -> int:
    """PEP 495: fold 0 is the first of two, and in a gap the time before it goes on."""
    at = datetime.combine(day, time(seconds // 3600, seconds // 60 % 60, seconds % 60), zone)
    return round(at.astimezone(UTC).timestamp()) * 1000
