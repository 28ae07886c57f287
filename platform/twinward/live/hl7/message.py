"""One HL7 v2 message, read: its header, its segments, and each field by its number in the standard.

HL7 v2.5.1 chapter 2 (control) and table 0211 (character sets). The ``hl7`` library cuts a message into its parts; what
it does with escapes and character sets is done here: its ``unescape`` drops ``\\X…\\`` and writes fields into logs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import hl7
from hl7.exceptions import HL7Exception

from twinward.live.hl7.errors import DATA_TYPE, MISSING, NOT_IN_TABLE, SEQUENCE, Hl7Fault, Where

MAX_SEGMENTS: Final = 5_000
MAX_FIELD_CHARS: Final = 65_536
MAX_PARTS: Final = 50_000
"""Of all fields together: each takes a hundred times its one byte once it is cut."""
# Table 0211, as far as it is met: HL7's name, and Python's.
CHARACTER_SETS: Final = {
    "": "ascii",
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/5": "iso8859-5",
    "8859/7": "iso8859-7",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
}
_SEGMENT: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_HEADER: Final = re.compile(rb"MSH([^\w\s])([^\w\s])([^\w\s])([^\w\s])([^\w\s])(?:[^\w\s])?\1")
_ESCAPE_CHARS: Final = 40
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
MOST_COMPONENTS: Final = 32


@dataclass(frozen=True, slots=True)
class Delimiters:
    """What a message is cut by: MSH-1 and MSH-2."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str

    def text(self, raw: str) -> str:
        """What an escaped text says. An escape that is none of the standard's stays as it stands."""
        if self.escape not in raw:
            return raw
        mark = re.escape(self.escape)
        return re.sub(f"{mark}([^{mark}]{{1,{_ESCAPE_CHARS}}}){mark}", self._meant, raw)

    def _meant(self, found: re.Match[str]) -> str:
        code = found[1]
        plain = {
            "F": self.field,
            "S": self.component,
            "R": self.repetition,
            "E": self.escape,
            "T": self.subcomponent,
            "H": "",
            "N": "",
            ".br": "\n",
        }
        if code in plain:
            return plain[code]
        if re.fullmatch("X([0-9A-Fa-f]{2})+", code):
            said = bytes.fromhex(code[1:]).decode("latin-1")
            return found[0] if _CONTROL.search(said) else said  # no text has those
        return found[0]


class Segment:
    """One segment. Fields are numbered as the standard numbers them, from 1; the segment's name is 0.

    Args:
        parts: as the library cut it.
        delimiters: the message's.
        where: its place.
    """

    __slots__ = ("_delimiters", "_parts", "where")

    def __init__(self, parts: hl7.Segment, delimiters: Delimiters, where: Where) -> None:
        self._parts = parts
        self._delimiters = delimiters
        self.where = where

    def at(self, field: int) -> Where:
        """A field's place."""
        return Where(self.where.segment, self.where.number, field)

    def text(self, field: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """A part of a field, unescaped, without blanks around it; empty where there is none.

        HL7's ``""`` (a value that was taken away) is empty, too.
        """
        found = self._raw(field, component, subcomponent, repetition)
        said = self._delimiters.text(found).strip()
        return "" if said == '""' else said

    def repetitions(self, field: int) -> int:
        """How often a field stands there, 0 where it is empty."""
        if field >= len(self._parts) or not str(self._parts[field]):
            return 0
        return len(self._parts[field])

    def is_plain(self, field: int, repetition: int = 1) -> bool:
        """Whether a field's first component is all of it, and of one part: what follows would be dropped silently."""
        later = (self._raw(field, place, 1, repetition) for place in range(2, MOST_COMPONENTS))
        return not self._raw(field, 1, 2, repetition) and not any(later)

    def is_whole(self, field: int, repetition: int = 1) -> bool:
        """Whether a field's first component is of one part."""
        return not any(self._raw(field, 1, place, repetition) for place in range(2, MOST_COMPONENTS))

    def required(self, field: int, what: str) -> str:
        """A field's first part. Raises ``Hl7Fault`` where it is empty."""
        found = self.text(field)
        if not found:
            raise Hl7Fault(MISSING, self.at(field), f"{self.at(field)} is empty: {what}")
        return found

    def _raw(self, field: int, component: int, subcomponent: int, repetition: int) -> str:
        found: object = self._parts
        places = (field, repetition - 1, component - 1, subcomponent - 1)
        for depth, place in enumerate(places):
            if isinstance(found, str):  # the library cuts no deeper than a text needs
                return "" if any(places[depth:]) else found
            if not isinstance(found, list) or place >= len(found):
                return ""
            found = found[place]
        return str(found)


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose header was read.

    Attributes:
        header: MSH.
        segments: all of them, MSH first.
        kind: MSH-9, e.g. ``ORU^R01``.
        control_id: MSH-10.
        digest: SHA-256 of what it says: MSH-9 and every segment but MSH, whose time a sender may set anew each time.
    """

    header: Segment
    segments: tuple[Segment, ...]
    kind: str
    control_id: str
    digest: bytes

    def first(self, name: str) -> Segment:
        """The first segment of a name. Raises ``Hl7Fault``."""
        found = next(self.all(name), None)
        if found is None:
            raise Hl7Fault(SEQUENCE, Where(name), f"the message has no {name} segment")
        return found

    def only(self, name: str) -> Segment:
        """The one segment of a name: what another would say would be taken as the first's. Raises ``Hl7Fault``."""
        found = self.first(name)
        if any(one.where.number > 1 for one in self.all(name)):
            raise Hl7Fault(SEQUENCE, Where(name, 2), f"a second {name} segment: a message is about one patient")
        return found

    def all(self, name: str) -> Iterator[Segment]:
        """Every segment of a name, in order."""
        return (one for one in self.segments if one.where.segment == name)


def read_message(raw: bytes) -> Message:
    """A message out of untrusted bytes.

    Raises:
        Hl7Fault: it is none; what is wrong is told by segment and field, never by what stands there.
    """
    opened = _HEADER.match(raw)
    if opened is None:
        raise Hl7Fault(SEQUENCE, Where("MSH", 1, 1), "a message begins with MSH and its delimiters")
    marks = tuple(mark.decode("latin-1") for mark in opened.groups())
    if len(set(marks)) != len(marks):
        raise Hl7Fault(DATA_TYPE, Where("MSH", 1, 2), "MSH-2: the delimiters are not five different ones")
    text = _decoded(raw, opened[1])
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    if len(lines) > MAX_SEGMENTS:
        raise Hl7Fault(SEQUENCE, Where("MSH"), f"a message has {MAX_SEGMENTS} segments at most")
    delimiters = Delimiters(marks[0], marks[1], marks[2], marks[3], marks[4])
    if sum(map(text.count, marks)) > MAX_PARTS:
        raise Hl7Fault(SEQUENCE, Where("MSH"), f"a message has {MAX_PARTS} fields and parts of fields at most")
    segments = _segments(lines, delimiters)
    header = segments[0]
    kind = f"{header.text(9)}^{header.text(9, 2)}"
    control_id = header.required(10, "a message is known by its control id")
    digest = hashlib.sha256("\r".join([kind, *lines[1:]]).encode()).digest()
    return Message(header, segments, kind, control_id, digest)


def _segments(lines: list[str], delimiters: Delimiters) -> tuple[Segment, ...]:
    for line in lines:
        name = line[:3]
        if not _SEGMENT.fullmatch(name) or line[3:4] not in ("", delimiters.field):
            raise Hl7Fault(SEQUENCE, Where("MSH"), "a line that is no segment")
        if _CONTROL.search(line):
            fields = line.split(delimiters.field)
            number = next(place for place, one in enumerate(fields) if _CONTROL.search(one)) + (name == "MSH")
            where = Where(name, 1, number)
            raise Hl7Fault(DATA_TYPE, where, f"{where}: a control character, which no text has")
        if max(map(len, line.split(delimiters.field))) > MAX_FIELD_CHARS:
            raise Hl7Fault(DATA_TYPE, Where(name), f"a field has {MAX_FIELD_CHARS} characters at most")
    try:
        parsed = hl7.parse("\r".join(lines))
    except (HL7Exception, ValueError, IndexError, KeyError):
        raise Hl7Fault(SEQUENCE, Where("MSH"), "the message cannot be cut into segments and fields") from None
    counted: dict[str, int] = {}
    found = []
    for one in parsed:
        name = str(one[0])
        counted[name] = counted.get(name, 0) + 1
        found.append(Segment(one, delimiters, Where(name, counted[name])))
    return tuple(found)


def _decoded(raw: bytes, mark: bytes) -> str:
    name = _character_set(raw, mark)
    try:
        return raw.decode(name)
    except UnicodeDecodeError:
        said = "MSH-18 names no character set, and" if name == "ascii" else "MSH-18:"
        raise Hl7Fault(DATA_TYPE, Where("MSH", 1, 18), f"{said} the message has bytes that it does not have") from None


def _character_set(raw: bytes, mark: bytes) -> str:
    """What MSH-18 says, before anything is decoded: all sets of table 0211 that are taken write MSH in ASCII."""
    fields = re.split(rb"[\r\n]", raw, maxsplit=1)[0].split(mark)
    named = fields[17].split(b"~")[0].strip().decode("latin-1") if len(fields) > 17 else ""
    found = CHARACTER_SETS.get(named.upper())
    if found is None:
        raise Hl7Fault(NOT_IN_TABLE, Where("MSH", 1, 18), f"MSH-18: one of {', '.join(filter(None, CHARACTER_SETS))}")
    return found
