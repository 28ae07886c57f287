"""What hour it is at the hospital, for rules that ask: by the time zone of the settings, summer time and all."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

_MINUTE_MS = 60_000


class Hour(NamedTuple):
    """An hour of the week: ``hour`` 0 to 23, ``weekday`` 1 (Monday) to 7 (Sunday), as ISO 8601 counts."""

    hour: int
    weekday: int


NO_HOUR = Hour(0, 0)
"""For what no rule asks about: no day of the week has the number."""
EVERY_HOUR = tuple(Hour(hour, weekday) for weekday in range(1, 8) for hour in range(24))


class _Reading(NamedTuple):
    minute: int
    hour: Hour
    until_ms: int


class Hours:
    """The hospital's clock. The minute that was asked about last is remembered: decisions come many at a time.

    Args:
        zone: a name of the IANA database.
    """

    def __init__(self, zone: str = "UTC") -> None:
        self.name = zone
        self._zone = ZoneInfo(zone)
        self._last = self._read(0)

    def at(self, at_ms: int) -> Hour:
        """The hour that a moment is in."""
        return self._reading(at_ms).hour

    def until_ms(self, at_ms: int) -> int:
        """When the hour that a moment is in ends, or clocks are changed before: until then ``at`` says the same."""
        return self._reading(at_ms).until_ms

    def _reading(self, at_ms: int) -> _Reading:
        last = self._last  # taken once: another thread may put another there
        if last.minute != at_ms // _MINUTE_MS:
            last = self._last = self._read(at_ms // _MINUTE_MS)
        return last

    def _read(self, minute: int) -> _Reading:
        # Clocks are changed at whole minutes, and show whole minutes beside UTC, everywhere since 1972.
        now = self._local(minute)
        ends = minute + 60 - now.minute
        while self._local(ends - 1).utcoffset() != now.utcoffset():
            ends -= 1
        return _Reading(minute, Hour(now.hour, now.isoweekday()), ends * _MINUTE_MS)

    def _local(self, minute: int) -> datetime:
        return datetime.fromtimestamp(minute * 60, self._zone)
