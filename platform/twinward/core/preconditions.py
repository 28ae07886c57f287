"""Preconditions of a request: what must be true of what is there now (RFC 9110, section 13).

Pure: header fields in, a verdict out. Who asks sees to it that what the verdict is about stays as it is until the
write is done, and that access was decided before anybody is told. The order is that of section 13.2.2:

1. ``If-Match``: one of its tags is that of what is there; ``*`` is true of anything that is there.
2. without it ``If-Unmodified-Since``: what is there was not changed after that moment.
3. ``If-None-Match``: none of its tags is that of what is there; ``*`` is true of nothing.
4. without it ``If-Modified-Since``, of a read: what is there was changed after that moment.

A field that cannot be read is refused, since a write must not go on without the condition it came with. The one
exception is a moment in ``If-Modified-Since``: section 13.1.3 has it ignored, and the whole answer does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from twinward.core.errors import BadInput

IF_MATCH, IF_NONE_MATCH = "if-match", "if-none-match"
IF_UNMODIFIED_SINCE, IF_MODIFIED_SINCE = "if-unmodified-since", "if-modified-since"
IF_NONE_EXIST = "if-none-exist"
"""FHIR's own, of a create: https://hl7.org/fhir/R4/http.html#ccreate. Only FHIR's routes know what it means."""

OF_WRITES = frozenset({IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH})
OF_READS = OF_WRITES | {IF_MODIFIED_SINCE}
EVERY = OF_READS | {IF_NONE_EXIST}
ONLY_SAVING = frozenset({IF_NONE_MATCH, IF_MODIFIED_SINCE})
"""Those that fail because the caller has it already: a read is then answered 304, a write 412."""

_MAX_CHARS = 2000
_ELEMENT = re.compile(r'[ \t]*+(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*+)")?[ \t]*+(?:,|$)')
"""Possessive, so that many blanks take time by their number and not by its square."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_WEEKDAY}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) {_CLOCK} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}}) {_CLOCK} GMT",
        rf"{_WEEKDAY} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ 0-9][0-9]) {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)
"""RFC 9110, section 5.6.7: IMF-fixdate, and the two obsolete forms that a recipient has to know."""


@dataclass(frozen=True, slots=True)
class Tag:
    """An entity tag (RFC 9110, section 8.8.3)."""

    opaque: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Tags:
    """What ``If-Match`` or ``If-None-Match`` lists; ``any`` is the asterisk."""

    any: bool = False
    listed: tuple[Tag, ...] = ()

    def hold(self, tag: Tag, *, weakly: bool) -> bool:
        """Whether one of them is this tag: by the weak comparison of section 8.8.3.2, or else the strong one."""
        if self.any:
            return True
        same = [one for one in self.listed if one.opaque == tag.opaque]
        return bool(same) if weakly else not tag.weak and any(not one.weak for one in same)


@dataclass(frozen=True, slots=True)
class Selected:
    """What is there when a precondition is looked at.

    Attributes:
        tag: its entity tag; None where nothing is there.
        changed_ms: when it was changed last, in ms since the epoch: also by being deleted. None where nobody can tell.
    """

    tag: Tag | None = None
    changed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Preconditions:
    """Those of one request. Moments are the last ms that they cover; None is a field that was not sent."""

    if_match: Tags | None = None
    if_unmodified_since_ms: int | None = None
    if_none_match: Tags | None = None
    if_modified_since_ms: int | None = None

    @property
    def are_none(self) -> bool:
        """Whether the request goes on whatever is there."""
        return self == NONE

    def failing(self, selected: Selected, *, weakly: bool = False) -> str:
        """The field that does not hold, as in ``IF_MATCH``; empty where all of them do.

        Args:
            selected: what is there.
            weakly: whether ``If-Match`` compares weakly: where every tag is a weak one, as in FHIR.
        """
        tag, changed_ms = selected.tag, selected.changed_ms
        if self.if_match is not None:
            if tag is None or not self.if_match.hold(tag, weakly=weakly):
                return IF_MATCH
        elif _is_later(changed_ms, self.if_unmodified_since_ms):
            return IF_UNMODIFIED_SINCE
        if self.if_none_match is not None:
            return IF_NONE_MATCH if tag is not None and self.if_none_match.hold(tag, weakly=True) else ""
        if self.if_modified_since_ms is None or tag is None or changed_ms is None:
            return ""
        return IF_MODIFIED_SINCE if changed_ms <= self.if_modified_since_ms else ""


NONE = Preconditions()


def read_preconditions(fields: Mapping[str, Sequence[str]]) -> Preconditions:
    """The preconditions that header fields state.

    Args:
        fields: every line of each field that was sent, by its name in small letters.

    Raises:
        BadInput: one of them cannot be read, by name.
    """
    sent = {name: lines for name, lines in fields.items() if lines}
    unmodified = _moment_ms(sent.get(IF_UNMODIFIED_SINCE, ()))
    if IF_UNMODIFIED_SINCE in sent and unmodified is None:
        raise BadInput("if-unmodified-since is no HTTP date", hint="send Last-Modified as it was given")
    return Preconditions(
        read_tags(IF_MATCH, ", ".join(sent[IF_MATCH])) if IF_MATCH in sent else None,
        unmodified,
        read_tags(IF_NONE_MATCH, ", ".join(sent[IF_NONE_MATCH])) if IF_NONE_MATCH in sent else None,
        _moment_ms(sent.get(IF_MODIFIED_SINCE, ())),
    )


def read_tags(name: str, text: str) -> Tags:
    """A list of entity tags, or an asterisk.

    Raises:
        BadInput: neither, or a list without any tag; ``name`` says of what.
    """
    if text.strip(" \t") == "*":
        return Tags(any=True)
    found: list[Tag] = []
    at = 0
    while at < len(text) <= _MAX_CHARS:
        match = _ELEMENT.match(text, at)
        if match is None:
            break
        if match[2] is not None:
            found.append(Tag(match[2], weak=match[1] is not None))
        at = match.end()
    if at < len(text) or not found:
        raise BadInput(f"{name} is neither * nor a list of entity tags", hint='send the ETag as it was given: W/"3"')
    return Tags(listed=tuple(found))


def _is_later(changed_ms: int | None, than_ms: int | None) -> bool:
    return changed_ms is not None and than_ms is not None and changed_ms > than_ms


def _moment_ms(lines: Sequence[str]) -> int | None:
    """The last ms of the second that an HTTP date names; None for anything else, also for several dates."""
    text = lines[0].strip(" \t") if len(lines) == 1 else ""
    match = next((found for date in _DATES if (found := date.fullmatch(text))), None)
    if match is None or match["month"] not in _MONTHS:
        return None
    month, year = _MONTHS.index(match["month"]) + 1, int(match["year"])
    if len(match["year"]) == 2:
        year += 2000 if year < 70 else 1900  # a clock would tell better (section 5.6.7), and nothing here has one
    clock = (int(match["hour"]), int(match["minute"]), min(int(match["second"]), 59))
    try:
        return int(datetime(year, month, int(match["day"]), *clock, tzinfo=UTC).timestamp()) * 1000 + 999
    except ValueError:
        return None
