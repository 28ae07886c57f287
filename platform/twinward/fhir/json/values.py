"""FHIR's values as the platform reads them: moments as ms, names by their letters, HTML's references resolved.

https://hl7.org/fhir/R4/datatypes.html#dateTime. Names and addresses are compared as
https://hl7.org/fhir/R4/search.html#string says: case and accents do not matter, nor do punctuation and blanks' width.
"""

from __future__ import annotations

import html
import re
import unicodedata
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


_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "ŋ": "n"}
) | str.maketrans({"æ": "ae", "œ": "oe", "þ": "th"})
"""Letters that Unicode does not take apart into a letter and a mark."""

_PART_OF_LETTER = frozenset({0, 7, 8, 9})
"""Combining classes of marks that make another letter (nukta, voicing of kana, virama) and not an accented one."""


MOST_MARKS = 30
"""In a row on one letter: the Stream-Safe Text Format of Unicode, https://www.unicode.org/reports/tr15/ section 13."""

_MARKS = re.compile(rf"[^\x00-\x7f\w]{{{MOST_MARKS + 1},}}")
"""Where there may be more: to ``re`` a mark is no letter, but for two of half-width katakana's."""

_HALF_WIDTH_MARKS = str.maketrans("\uff9e\uff9f", "\u3099\u309a")


def stream_safe(text: str) -> str:
    """A text to be brought into a compatibility form, without the marks that no letter has in such a number.

    Every normal form sorts the marks of a letter, in time by their square, within one call that lets no other thread
    have a word: half a million of them stopped a node for an hour.
    """
    return text if text.isascii() else _MARKS.sub(_first_marks, text.translate(_HALF_WIDTH_MARKS))


def _first_marks(run: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for one in run[0]:
        # Some have no combining class of their own and are taken apart into marks.
        marks = marks + 1 if unicodedata.combining(unicodedata.normalize("NFKD", one)[0]) else 0
        if marks <= MOST_MARKS:
            kept.append(one)
    return "".join(kept)


def folded(text: str) -> str:
    """The text without case, accents, width, punctuation and superfluous blanks; empty where nothing is left."""
    # Twice: folding case makes new marks (of a Turkish capital İ, say).
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", stream_safe(text)).casefold())
    plain = "".join(map(_spoken, apart)).translate(_PLAIN)
    return unicodedata.normalize("NFC", " ".join(plain.split()))


def _spoken(letter: str) -> str:
    kind = unicodedata.category(letter)
    if unicodedata.combining(letter) not in _PART_OF_LETTER or kind == "Cf":
        return ""
    if kind == "Pd" or kind == "Cc":
        return " "
    return "" if kind.startswith("P") else letter


_DECIMAL_REFERENCE = re.compile(r"&#0*([0-9]+)")
_MOST_DIGITS = 9
"""More than any character's number has; so many nines are none's, and stay none's."""


def unescaped(text: str) -> str:
    """A text without character references. Never fails: ``html.unescape`` does, for one of more digits than Python
    takes for a number at once, and leading zeros count there.
    """
    try:
        return html.unescape(text)
    except ValueError:
        return html.unescape(_DECIMAL_REFERENCE.sub(lambda found: f"&#{found[1][:_MOST_DIGITS]}", text))


MAX_NUMBER_CHARS = 64
"""A FHIR decimal has at most 18 significant digits; this leaves room for exponents and other people's habits."""

MAX_EXPONENT = 300

_EXPONENT = re.compile(r"[eE][+-]?0*([0-9]*)$")


def number_fault(token: str) -> str:
    """What is wrong with a JSON number token, or nothing."""
    if len(token) > MAX_NUMBER_CHARS:
        return f"a number longer than {MAX_NUMBER_CHARS} characters"
    exponent = _EXPONENT.search(token)
    if exponent and int(exponent[1] or 0) > MAX_EXPONENT:
        return f"a number whose exponent is beyond ±{MAX_EXPONENT}"
    return ""
