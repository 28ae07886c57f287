"""What an officer asks the log for: filters that meet, an order, a page. As an address carries it, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from twinward.audit.models import AuditRow
from twinward.core.errors import BadInput
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId

MAX_TEXT: Final = 200
_LONGEST: Final = {"agent": 64, "unit": 128, "twin": 36, "text": MAX_TEXT, "zone": 64}
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_YES: Final = "yes"
_Word = TypeVar("_Word", bound=StrEnum)


class Sort(StrEnum):
    """What a list is in the order of."""

    NEWEST = "newest"
    OLDEST = "oldest"
    AGENT = "agent"
    ROLE = "role"
    UNIT = "unit"
    ACTION = "action"
    PURPOSE = "purpose"
    TWIN = "twin"
    DECISION = "decision"


_BY_TIME: Final = (Sort.NEWEST, Sort.OLDEST)


@dataclass(frozen=True, slots=True)
class AccessQuery:
    """Which events, in which order. What is None or empty asks for nothing; the rest must all hold.

    Attributes:
        since, until: days of ``zone``, both included.
        agent, unit, twin: exactly this one.
        emergency: True: in an emergency, or about one.
        text: occurs in account, unit, reason or the event's details, letter case aside.
        hides_own: leave out officers' own looks at the log, which otherwise fill it.
        falls: the order is turned round: the last by agent first, say; equals stay the newest first. Never of an order
            by time, which has two names.
        zone: whose days they are: a name of the IANA database.
    """

    since: date | None = None
    until: date | None = None
    agent: str = ""
    role: Role | None = None
    unit: str = ""
    action: Action | None = None
    purpose: Purpose | None = None
    category: Category | None = None
    decision: str = ""
    emergency: bool = False
    twin: TwinId | None = None
    text: str = ""
    hides_own: bool = True
    sort: Sort = Sort.NEWEST
    falls: bool = False
    zone: str = "UTC"

    @classmethod
    def of(cls, given: Mapping[str, str], zone: str = "UTC") -> AccessQuery:
        """Read an address's parameters; those that are no filter are not looked at.

        Args:
            given: the parameters.
            zone: whose days are meant where they do not say so.

        Raises:
            BadInput: one of them is not what it may be; the hint says what may be.
        """
        for name, longest in _LONGEST.items():
            if len(given.get(name, "")) > longest:
                raise BadInput(
                    sentence("{field} is at most {longest} characters", field=sentence(name), longest=longest),
                    hint="shorten it",
                )
        said = {name: value.strip() for name, value in given.items()}
        since, until = _day(said, "since"), _day(said, "until")
        if since and until and until < since:
            raise BadInput("the last day is before the first", hint="change the two dates")
        decision = said.get("decision", "")
        if decision not in ("", "permit", "deny"):
            raise BadInput("a decision is permit or deny", hint="choose one from the list")
        sort, falls = _order(said)
        return cls(
            since=since,
            until=until,
            agent=said.get("agent", ""),
            role=_word(Role, said, "role"),
            unit=said.get("unit", ""),
            action=_word(Action, said, "action"),
            purpose=_word(Purpose, said, "purpose"),
            category=_word(Category, said, "category"),
            decision=decision,
            emergency=_flag(said, "emergency"),
            twin=TwinId(said["twin"]) if said.get("twin") else None,
            text=said.get("text", ""),
            hides_own=not _flag(said, "own"),
            sort=sort,
            falls=falls,
            zone=_zone(said.get("zone") or zone).key,
        )

    def parameters(self) -> dict[str, str]:
        """What an address carries so that ``of`` gives this again: only what differs from asking for nothing."""
        said = {
            "since": self.since.isoformat() if self.since else "",
            "until": self.until.isoformat() if self.until else "",
            "agent": self.agent,
            "role": self.role or "",
            "unit": self.unit,
            "action": self.action or "",
            "purpose": self.purpose or "",
            "category": self.category or "",
            "decision": self.decision,
            "emergency": _YES if self.emergency else "",
            "twin": self.twin or "",
            "text": self.text,
            "own": "" if self.hides_own else _YES,
            "sort": "" if self.sort is Sort.NEWEST else self.order,
            "zone": self.zone if self.since or self.until else "",  # UTC too: else they are days of who reads it next
        }
        return {name: str(value) for name, value in said.items() if value}

    @property
    def order(self) -> str:
        """The order as an address says it: ``agent``, and ``-agent`` for the other way round."""
        falls = self.falls and self.sort not in _BY_TIME
        return f"-{self.sort.value}" if falls else self.sort.value

    @property
    def narrows(self) -> bool:
        """Whether it asks for less than everything but the officers' own looks."""
        return bool(self.parameters().keys() - {"own", "sort", "zone"})

    @property
    def since_ms(self) -> int | None:
        """When the first day begins."""
        return _begin_ms(self.since, self.zone) if self.since else None

    @property
    def until_ms(self) -> int | None:
        """When the day after the last begins."""
        return _begin_ms(self.until + timedelta(days=1), self.zone) if self.until else None


@dataclass(frozen=True, slots=True)
class FoundAccesses:
    """A page of what a query found.

    Attributes:
        rows: the page's, read from the log.
        total: how many there are on all pages.
        page: its number, 1 the first.
        pages: how many pages.
        below: every page is of events below this index, so pages stay as they are while the log grows.
        reached: everything from this index on was searched; 0 is the whole log.
        reached_ms: when that event was.
        units: the units that occur, for a list to choose from.
    """

    rows: tuple[AuditRow, ...]
    total: int
    page: int
    pages: int
    below: int
    reached: int
    reached_ms: int
    units: tuple[str, ...]


def day_of(at_ms: int) -> date:
    """The day of a moment (UTC)."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


def _begin_ms(day: date, zone: str) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput("zone is a time zone", hint="write it as Europe/Berlin, or leave it out for UTC") from None


def _day(said: Mapping[str, str], name: str) -> date | None:
    written = said.get(name, "")
    if not written:
        return None
    try:
        if not _DATE.fullmatch(written):
            raise ValueError
        day = date.fromisoformat(written)
        if not date(1970, 1, 1) <= day <= date.max - timedelta(days=2):
            raise ValueError
    except ValueError:
        raise BadInput(
            sentence("{field} is a day, not {written!r}", field=sentence(name), written=written[:20]),
            hint="write it as 2026-01-31",
        ) from None
    return day


def _word(words: type[_Word], said: Mapping[str, str], name: str) -> _Word | None:
    written = said.get(name, "")
    try:
        return words(written) if written else None
    except ValueError:
        hint = sentence("one of {names}", names=", ".join(one.value for one in words))
        raise BadInput(
            sentence("there is no {field} {written!r}", field=sentence(name), written=written[:32]), hint=hint
        ) from None


def _order(said: Mapping[str, str]) -> tuple[Sort, bool]:
    written = said.get("sort", "")
    falls = written.startswith("-") and written[1:] not in _BY_TIME
    return _word(Sort, {"sort": written[1:] if falls else written}, "sort") or Sort.NEWEST, falls


def _flag(said: Mapping[str, str], name: str) -> bool:
    written = said.get(name, "")
    if written not in ("", _YES):
        raise BadInput(sentence("{field} is yes, or is left out", field=sentence(name)), hint="choose it on the page")
    return bool(written)
