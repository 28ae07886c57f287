"""When a machine's clock is not to be believed, seen from what a log has signed.

Two doubts, both of a clock that is or was far ahead:

* **a leap**: the clock is more than ``MAX_LEAP_S`` later than the newest time that anybody put his name to: a witness
  in a cosignature, the quorum in the last anchor, a chain elsewhere in its newest block. Nothing is signed then. What
  was signed in the future would stand in the way until it comes: a contract takes no anchor dated before the last;
* **an anchor ahead**: the last anchor is dated later than the clock by more than witnesses allow, so the clock was
  ahead once. Checkpoints are cosigned all the same, as a cosignature bears its witness's own time; anchors wait.

Both end by themselves when the clock is set right, or the time has come; or the operator accepts them. A smaller error
is for witnesses to refuse, each by its own clock (``MAX_SKEW_S``); embedded witnesses have no clock of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from twinward_ledger.witness.witness import MAX_SKEW_S

MAX_LEAP_S: Final = 31 * 86_400
"""How long a log may have rested before its operator is asked, in seconds."""

_LAST_YEAR_S: Final = 253_402_300_799


@dataclass(frozen=True, slots=True)
class ClockDoubt:
    """Why a clock is doubted.

    Attributes:
        leap: it has leapt ahead of everything known; else the last anchor is ahead of it.
        clock_s: what it says, Unix seconds.
        known_s: the newest time known, or the last anchor's, Unix seconds.
    """

    leap: bool
    clock_s: int
    known_s: int

    def __str__(self) -> str:
        days = abs(self.clock_s - self.known_s) / 86_400
        if self.leap:
            return (
                f"this machine's clock says {moment(self.clock_s)}, {days:.1f} days after the newest time that its "
                f"log, its witnesses and its chain know ({moment(self.known_s)}): nothing is signed by it"
            )
        return (
            f"the last anchor is dated {moment(self.known_s)}, {days:.1f} days ahead of this machine's clock "
            f"({moment(self.clock_s)}): no anchor may be dated before it"
        )


def leap(clock_s: int, known_s: Iterable[int]) -> ClockDoubt | None:
    """The doubt that a clock has leapt ahead of all times that are known; None where it has not, or none is known."""
    newest = max(known_s, default=0)
    return ClockDoubt(True, clock_s, newest) if 0 < newest < clock_s - MAX_LEAP_S else None


def anchor_ahead(clock_s: int, anchored_s: int) -> ClockDoubt | None:
    """The doubt that the last anchor is dated later than witnesses would sign; None where it is not."""
    return ClockDoubt(False, clock_s, anchored_s) if anchored_s > clock_s + MAX_SKEW_S else None


def moment(at_s: int) -> str:
    """Unix seconds for a sentence, e.g. ``2026-01-01 00:00 UTC``."""
    return datetime.fromtimestamp(min(at_s, _LAST_YEAR_S), UTC).strftime("%Y-%m-%d %H:%M UTC")
