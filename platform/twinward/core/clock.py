"""Time, passed in. No other module of the platform reads the system clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from twinward.core.errors import BadInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """A source of wall-clock time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000


@dataclass
class FixedClock:
    """A clock that stands still until it is moved: for tests and reproducible runs."""

    at_ms: int = 1_767_225_600_000  # 2026-01-01T00:00:00Z

    def now_ms(self) -> int:
        """The moment it was set to."""
        return self.at_ms

    def advance(self, milliseconds: int) -> None:
        """Move on."""
        self.at_ms += milliseconds


def iso(at_ms: int) -> str:
    """Milliseconds since the epoch as an RFC 3339 UTC instant, e.g. ``2026-01-01T00:00:00.000Z``."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


def instant_ms(text: str) -> int:
    """An RFC 3339 instant in milliseconds since 1970, rounded down. Raises ``BadInput``."""
    try:
        # In a query a plus sign stands for a space: the offset of a time that was not percent-encoded is mended.
        stamp = datetime.fromisoformat(text.replace(" ", "+"))
        if stamp.tzinfo is None:
            raise ValueError("no offset")
        since = stamp.astimezone(UTC) - _EPOCH  # in UTC, too, it has a year of 1 to 9999
        return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    except (ValueError, OverflowError):
        raise BadInput("a time is an RFC 3339 instant with its offset", hint="e.g. 2026-01-31T08:30:00Z") from None


@lru_cache(maxsize=64)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
