"""NDJSON in: one reading a line, checked member by member, so that each line is answered for itself.

    {"seq": 17, "device": "monitor-7", "code": "8867-4", "value": 72, "unit": "/min", "time": "2026-01-31T08:30:00Z"}

``subject`` (``Patient/123``) may stand for ``device``; ``series`` (``{"periodMs": 4, "values": […]}``) for ``value``;
``quality`` is good, questionable or artefact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Annotated, Final

import msgspec

from twinward.core.errors import BadInput
from twinward.live.models import MAX_NAME_CHARS, MAX_SERIES, Quality, Reading, Reason
from twinward.live.sequences import MAX_SEQ

MAX_LINE_BYTES: Final = 64 * 1024
MAX_LINES: Final = 20_000
"""Of one batch."""
MAX_VALUES: Final = 1_000_000
"""Of one batch: a value takes two bytes on the way, and fifty times as many on its way into a row."""
_OF_FILE: Final = 5_000
_HOUR_MS: Final = 3_600_000
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
MAX_PERIOD_MS: Final = 3_600_000
_MAX_TIME_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
"""What a source or a device may be called."""
_SUBJECT: Final = re.compile(r"Patient/[A-Za-z0-9\-.]{1,64}", re.ASCII)

_Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
_Value = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
_Code = Annotated[str, msgspec.Meta(min_length=1, max_length=2 * MAX_NAME_CHARS)]


class _Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    period_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_PERIOD_MS)]
    values: Annotated[list[_Value], msgspec.Meta(min_length=1, max_length=MAX_SERIES)]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seq: _Seq
    code: _Code
    unit: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    subject: str = ""
    device: str = ""
    value: _Value | None = None
    series: _Series | None = None
    quality: Quality = Quality.GOOD


class _Numbered(msgspec.Struct, frozen=True):
    seq: _Seq


class _Whose(msgspec.Struct, frozen=True):
    subject: str = ""
    device: str = ""


_LINE: Final = msgspec.json.Decoder(_Line)
_NUMBERED: Final = msgspec.json.Decoder(_Numbered)
_WHOSE: Final = msgspec.json.Decoder(_Whose)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Fault:
    """A line, or a message of another source, that is no reading. ``seq``, and whose, where it says so nevertheless."""

    seq: int | None
    detail: str
    content: bytes
    reason: Reason = Reason.MALFORMED
    subject: str = ""
    device: str = ""


def require_name(text: str, what: str) -> str:
    """A source's or a device's name. Raises ``BadInput``."""
    if not NAME.fullmatch(text):
        raise BadInput(f"a {what} is called by 1 to 64 of A-Z a-z 0-9 . _ : - and begins with a letter or digit")
    return text


def read_lines(body: bytes) -> list[Reading | Fault]:
    """Every line of a batch; blank ones are passed over. Raises ``BadInput`` for a batch that is too large.

    A series counts for as many lines as it spans hours: each is a row, sealed and told to the log by itself.
    """
    if len(body) > MAX_BATCH_BYTES:
        raise BadInput(f"a batch has {MAX_BATCH_BYTES} bytes at most", hint="send several")
    # Told by counting: four million lines of a byte would be twenty times as large once they are cut.
    is_short = body.count(b"\n") <= 2 * MAX_LINES
    lines = [line for line in body.split(b"\n") if line.strip()] if is_short else []
    if not is_short or len(lines) > MAX_LINES:
        raise BadInput(f"a batch has {MAX_LINES} lines at most", hint="send several")
    found, weight, values = [], 0, 0
    for line in lines:
        one = read_line(line)
        found.append(one)
        weight, values = weight + _weight(one), values + _values(one)
        if weight > MAX_LINES or values > MAX_VALUES:
            raise BadInput(
                f"a batch has {MAX_LINES} lines and {MAX_VALUES} values at most",
                hint="a series counts for as many lines as it spans hours: send several batches",
            )
    return found


def batches(content: bytes) -> Iterator[list[Reading | Fault]]:
    """A file of any number of lines, as batches that may be taken."""
    some: list[Reading | Fault] = []
    weight = values = 0
    for line in BytesIO(content):  # one at a time: cut at once, a hundred million of a byte would fill the memory
        if not line.strip():
            continue
        one = read_line(line.removesuffix(b"\n"))
        hours, count = _weight(one), _values(one)
        if some and (weight + hours > _OF_FILE or values + count > MAX_VALUES):
            yield some
            some, weight, values = [], 0, 0
        some.append(one)
        weight, values = weight + hours, values + count
    if some:
        yield some


def is_one_batch(items: Sequence[Reading | Fault]) -> bool:
    """Whether so much may be taken together, by hours and by values: as ``batches`` cuts it."""
    return sum(map(_weight, items)) <= _OF_FILE and sum(map(_values, items)) <= MAX_VALUES


def _weight(one: Reading | Fault) -> int:
    """How many hours it may be of, at least one."""
    if isinstance(one, Fault) or len(one.values) == 1:
        return 1
    return min(len(one.values), 1 + (len(one.values) - 1) * one.period_ms // _HOUR_MS)


def _values(one: Reading | Fault) -> int:
    return 0 if isinstance(one, Fault) else len(one.values)


def read_line(line: bytes) -> Reading | Fault:
    """One line. What is wrong is said of the first member that is."""
    if len(line) > MAX_LINE_BYTES:
        return Fault(None, f"a line has {MAX_LINE_BYTES} bytes at most", b"")
    try:
        return _reading(_LINE.decode(line))
    except BadInput as error:
        return _fault(line, str(error))
    except msgspec.ValidationError as error:
        return _fault(line, _said(error))
    except _UNREADABLE:
        return Fault(None, "the line is no JSON object", line)


def _reading(line: _Line) -> Reading:
    if bool(line.subject) == bool(line.device):
        raise BadInput("subject or device: give one of them")
    if (line.value is None) == (line.series is None):
        raise BadInput("value or series: give one of them")
    if line.subject and not _SUBJECT.fullmatch(line.subject):
        raise BadInput("subject: a patient's reference, e.g. Patient/123")
    if line.device and not NAME.fullmatch(line.device):
        raise BadInput("device: 1 to 64 of A-Z a-z 0-9 . _ : -")
    time_ms = math.floor(line.time.timestamp() * 1000 + 1e-6)
    if not 0 <= time_ms <= _MAX_TIME_MS:
        raise BadInput("time: from 1970 on")
    values = (line.value,) if line.value is not None else tuple(line.series.values if line.series else ())
    period_ms = line.series.period_ms if line.series else 0
    return Reading(line.seq, line.subject, line.device, line.code, values, period_ms, line.unit, time_ms, line.quality)


def _fault(line: bytes, detail: str) -> Fault:
    try:
        seq = _NUMBERED.decode(line).seq
    except _UNREADABLE:
        return Fault(None, detail, line)
    try:
        whose = _WHOSE.decode(line)
    except _UNREADABLE:
        return Fault(seq, detail, line)
    subject = whose.subject if _SUBJECT.fullmatch(whose.subject) else ""
    device = whose.device if NAME.fullmatch(whose.device) else ""
    return Fault(seq, detail, line, subject=subject, device=device)


def _said(error: msgspec.ValidationError) -> str:
    """The library's sentence, which names a member and a type; where it would repeat what was sent, one of ours."""
    if str(error).startswith("Invalid enum"):
        return "quality: not one of good, questionable, artefact"  # the only enumeration
    if str(error).startswith("Object contains unknown field"):
        return "a member that a reading does not have"
    text, _, path = str(error).partition(" - at `$")
    where = re.sub(r"[^A-Za-z0-9_.\[\]]", "", path)[:40].removeprefix(".")
    return f"{where}: {text[:120]}" if where else text[:120]
