"""The noun of this room: a reading, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from twinward.core.vocabulary import TwinId
from twinward.live.signals import Signal

MAX_NAME_CHARS = 64
"""Of a source, a device, a code's part; of a subject's reference."""
MAX_SERIES = 4_096
"""Values of one reading."""


class Quality(StrEnum):
    """What the sender says of its own measurement."""

    GOOD = "good"
    QUESTIONABLE = "questionable"
    ARTEFACT = "artefact"
    """Kept and shown; no rule and no aggregate looks at it."""


QUALITIES = tuple(Quality)
_PLACES = {one: place for place, one in enumerate(QUALITIES)}


@dataclass(frozen=True, slots=True)
class Reading:
    """One message of a source, as it was sent.

    Attributes:
        seq: its number, the source's own; with the source it names the reading for ever.
        subject, device: whose it is: a patient's reference, or a device that is assigned to somebody. One of them.
        code: LOINC, or ``system|code``.
        values: in order of time; one, or a series.
        period_ms: between two values of a series.
        unit: UCUM.
        time_ms: of the first value, by the clock of whoever measured.
    """

    seq: int
    subject: str
    device: str
    code: str
    values: tuple[float, ...] = field(repr=False)
    period_ms: int
    unit: str
    time_ms: int
    quality: Quality = Quality.GOOD


class Outcome(StrEnum):
    """What became of a reading. Everything but ``refused`` is settled: the sender need not send it again."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """It was settled before; nothing was done."""
    QUARANTINED = "quarantined"
    """Kept sealed, apart from any patient, with the reason, for an operator to look at and replay."""
    REFUSED = "refused"
    """Not taken at all: it is not a reading, or policy or consent says no."""


class Reason(StrEnum):
    """Why a reading was not stored."""

    MALFORMED = "malformed"
    UNKNOWN_CODE = "unknown-code"
    UNKNOWN_UNIT = "unknown-unit"
    IMPOSSIBLE_VALUE = "impossible-value"
    UNKNOWN_SUBJECT = "unknown-subject"
    NOT_ASSIGNED = "not-assigned"
    FUTURE_TIME = "future-time"
    NOT_PERMITTED = "not-permitted"
    TOO_MANY_GAPS = "too-many-gaps"
    BAD_MESSAGE = "bad-message"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told of one line. ``detail`` names the member that is wrong, never a value."""

    seq: int | None
    outcome: Outcome
    reason: Reason | None = None
    detail: str = ""


class Sample(NamedTuple):
    """One value of a series as it is kept."""

    time_ms: int
    seq: int
    value: float
    quality: int
    """Its place in ``QUALITIES``."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A reading that belongs to a twin: its signal is known and its values are in the signal's unit."""

    twin: TwinId
    signal: Signal
    reading: Reading
    values: tuple[float, ...] = field(repr=False)

    def samples(self) -> list[Sample]:
        """One for each value."""
        one = self.reading
        quality = _PLACES[one.quality]
        if len(self.values) == 1:
            return [Sample(one.time_ms, one.seq, self.values[0], quality)]
        return [
            Sample(one.time_ms + number * one.period_ms, one.seq, value, quality)
            for number, value in enumerate(self.values)
        ]


@dataclass(frozen=True, slots=True)
class MessageId:
    """A message of a source whose messages have names, not numbers.

    Attributes:
        name: the source's own, e.g. HL7's control id.
        digest: SHA-256 of its bytes.
    """

    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Merger:
    """Who was looked up by one of ``names`` is another patient, by system and value of an identifier, from now on.

    Attributes:
        names: a string a patient is looked up by, or their twin.
        system, value: the other's identifier.
        twin: the other's: what is kept of it is forgotten when this twin is erased.
    """

    names: tuple[str, ...]
    system: str
    value: str
    twin: TwinId
