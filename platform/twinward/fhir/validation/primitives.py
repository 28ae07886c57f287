"""FHIR's primitives as JSON has to write them. https://hl7.org/fhir/R4/datatypes.html, https://hl7.org/fhir/R4/json.html.

A string has no character below U+0020 but tab, line feed and carriage return. Dates are days that exist. base64 is
RFC 4648's alphabet in whole groups of four, padded at its end only; R4 allows white space between the groups.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

Check = Callable[[Any], bool]

MAX_STRING_CHARS = 1024 * 1024
_MOST_OF_32_BITS = 2**31 - 1

_STRING = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f]+")
_URI = re.compile(r"[^\s\x00-\x1f\x7f]+")
_CODE = re.compile(r"[^\s\x00-\x1f\x7f]+(?: [^\s\x00-\x1f\x7f]+)*")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_UUID = re.compile(r"urn:uuid:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
_GROUPS = re.compile(r"(?:\s*[0-9A-Za-z+/=]{4})+\s*", re.ASCII)
_SPACE = re.compile(r"\s+", re.ASCII)

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DAY = r"(?!0000)([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_PART = r"(?!0000)[0-9]{4}(?:-(?:0[1-9]|1[0-2]))?"
_TIME = re.compile(_CLOCK)
_DATE = re.compile(rf"{_DAY}|{_PART}")
_DATE_TIME = re.compile(rf"{_DAY}(?:T{_CLOCK}{_ZONE})?|{_PART}")
_INSTANT = re.compile(rf"{_DAY}T{_CLOCK}{_ZONE}")


def _text(pattern: re.Pattern[str]) -> Check:
    match = pattern.fullmatch
    return lambda value: type(value) is str and match(value) is not None


def _string(value: Any) -> bool:
    return type(value) is str and _STRING.fullmatch(value) is not None and len(value) <= MAX_STRING_CHARS


def _day(pattern: re.Pattern[str]) -> Check:
    """A pattern whose groups, where they matched, are a year, month and day."""

    def check(value: Any) -> bool:
        match = pattern.fullmatch(value) if type(value) is str else None
        if match is None:
            return False
        year, month, day = match.groups()
        return day is None or day <= "28" or _exists(int(year), int(month), int(day))

    return check


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _whole(least: int) -> Check:
    return lambda value: type(value) is int and least <= value <= _MOST_OF_32_BITS


def _number(value: Any) -> bool:
    return type(value) in (int, Decimal, float)


def _base64(value: Any) -> bool:
    if type(value) is not str or _GROUPS.fullmatch(value) is None:
        return False
    try:
        binascii.a2b_base64(_SPACE.sub("", value) if _SPACE.search(value) else value, strict_mode=True)
    except binascii.Error:
        return False
    return True


_WHOLE = "a whole number of 32 bits, written as one"
_SAID = "a string that is not empty and has no control characters"

PRIMITIVES: Mapping[str, tuple[Check, str]] = {
    "base64Binary": (_base64, "base64 (RFC 4648)"),
    "boolean": (lambda value: type(value) is bool, "true or false"),
    "canonical": (_text(_URI), "a canonical URL, which has no blanks"),
    "code": (_text(_CODE), "a code: words with single blanks between them"),
    "date": (_day(_DATE), "a date: YYYY, YYYY-MM or a day that exists, YYYY-MM-DD"),
    "dateTime": (_day(_DATE_TIME), "a dateTime: a date, or a moment with seconds and time zone"),
    "decimal": (_number, "a number"),
    "id": (_text(_ID), "an id: 1 to 64 letters, digits, hyphens and dots"),
    "instant": (_day(_INSTANT), "an instant: a moment with seconds and time zone"),
    "integer": (_whole(-(2**31)), _WHOLE),
    "markdown": (_string, _SAID),
    "oid": (_text(_OID), "an OID that begins with urn:oid:"),
    "positiveInt": (_whole(1), _WHOLE + ", 1 or more"),
    "string": (_string, _SAID),
    "time": (_text(_TIME), "a time: hh:mm:ss"),
    "unsignedInt": (_whole(0), _WHOLE + ", 0 or more"),
    "uri": (_text(_URI), "a URI, which has no blanks"),
    "url": (_text(_URI), "a URL, which has no blanks"),
    "uuid": (_text(_UUID), "a UUID that begins with urn:uuid:"),
}
"""How the value of each primitive is checked, and what belongs there."""
