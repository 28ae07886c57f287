"""FHIR's date and dateTime as moments. https://hl7.org/fhir/R4/datatypes.html#dateTime."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

_DATE_TIME = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2}))?)?)?"
)

_ASKED = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
"""A moment as a search may write it: https://hl7.org/fhir/R4/search.html#date leaves out seconds and zone."""

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
ALWAYS = (-(1 << 62), 1 << 62)
"""An interval that every moment is in."""

_END_OF_TIME_MS = 253_402_300_800_000  # 10000-01-01, which a datetime cannot say


def to_ms(text: object) -> int | None:
    """A dateTime, date or instant in ms since the epoch; None for anything else. A partial date is its first day."""
    match = _DATE_TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        # A leap second (:60) is legal in FHIR and unknown to datetime: it counts as the second before.
        moment = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),
            tzinfo=_zone(zone),
        )
    except ValueError:
        return None
    return int(moment.timestamp()) * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def interval(text: object) -> tuple[int, int] | None:
    """What a date, dateTime or instant covers, in ms since the epoch, the end excluded: a year, a day, a second …"""
    start = to_ms(text)
    match = _DATE_TIME.fullmatch(text) if isinstance(text, str) else None
    if start is None or match is None:
        return None
    year, month, day, hour, _, _, fraction, _ = match.groups()
    if hour is not None:
        return start, start + (1 if fraction else 1000)
    if day is not None:
        return start, start + _DAY_MS
    years = int(year) + (month in (None, "12"))
    following = to_ms(f"{years:04d}-{1 if month is None else int(month) % 12 + 1:02d}")
    return start, _END_OF_TIME_MS if following is None else following


def asked_interval(text: str) -> tuple[int, int] | None:
    """What a date or moment of a query covers: also one without seconds (a minute) or without a zone (UTC)."""
    moment = text.replace(" ", "+")  # the + of a zone that was not escaped arrives as a blank
    match = _ASKED.fullmatch(moment)
    if match is None:
        return interval(moment)
    minute, rest, zone = match.groups()
    found = interval(f"{minute}{rest or ':00'}{zone or 'Z'}")
    return found if rest or found is None else (found[0], found[0] + _MINUTE_MS)


def interval_of(value: object) -> tuple[int, int] | None:
    """What a date, dateTime, instant or Period covers; an end that is not said is open. None for anything else."""
    if not isinstance(value, dict):
        return interval(value)
    start, end = interval(value.get("start")), interval(value.get("end"))
    if start is None and end is None:
        return None
    return (start[0] if start else ALWAYS[0], end[1] if end else ALWAYS[1])


def to_date(text: object) -> date | None:
    """A full or partial FHIR date; a partial one is its middle, so that an age is off by the least."""
    match = re.fullmatch(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?", text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day = match.groups()
    try:
        return date(int(year), int(month or 7), int(day or (15 if month else 1)))
    except ValueError:
        return None


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)
