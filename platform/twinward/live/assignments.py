"""Whose a device's readings are: a line of assignments in time.

A reading belongs to whom its device was assigned to *when it measured*, however late it comes and in whatever order.
Assignments do not overlap; each is from a moment up to, not including, another. What has been placed stays true: no
assignment begins or ends at a time up to which readings of the device were placed already, so no reading is ever with
one patient and, by the line as it stands now, another's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from twinward.core.clock import iso
from twinward.core.sentences import sentence
from twinward.core.vocabulary import TwinId
from twinward.live.errors import AssignmentConflict

MOST_ASSIGNMENTS: Final = 10_000
"""Of one device."""
ERASED: Final = TwinId("erased")
"""Stands for a patient who was erased since."""
WITHHELD: Final = TwinId("withheld")
"""Stands for a patient with whom a device was, where policy or consent keeps the caller from knowing."""


class Assignment(msgspec.Struct, frozen=True):
    """A device with a patient for a time: FHIR's DeviceUseStatement. ``until_ms`` None: it still is.

    Attributes:
        twin: whose.
        from_ms, until_ms: half-open.
        by: the account that said so.
    """

    twin: TwinId
    from_ms: int
    until_ms: int | None
    by: str


class AssignmentLine:
    """One device's assignments, by time.

    Args:
        assignments: oldest first.
        placed_until_ms: readings measured before this were placed; 0 where none was.
    """

    __slots__ = ("assignments", "placed_until_ms")

    def __init__(self, assignments: Sequence[Assignment] = (), placed_until_ms: int = 0) -> None:
        self.assignments = tuple(assignments)
        self.placed_until_ms = placed_until_ms

    @property
    def current(self) -> Assignment | None:
        """The one that has no end yet."""
        last = self.assignments[-1] if self.assignments else None
        return last if last is not None and last.until_ms is None else None

    def at(self, time_ms: int) -> Assignment | None:
        """The one in force at a moment."""
        place = bisect_right(self.assignments, time_ms, key=lambda one: one.from_ms) - 1
        found = self.assignments[place] if place >= 0 else None
        return found if found is not None and (found.until_ms is None or time_ms < found.until_ms) else None

    def owner(self, first_ms: int, last_ms: int) -> TwinId | None:
        """Whose a reading is that was measured from one moment to another; nobody's if it spans an assignment's end."""
        found = self.at(first_ms)
        return found.twin if found is not None and found == self.at(last_ms) else None

    def assigned(self, twin: TwinId, from_ms: int, by: str) -> AssignmentLine:
        """The line with one more assignment, open-ended.

        Raises:
            AssignmentConflict: it is with somebody then or later, or readings from then on were placed already.
        """
        current = self.current
        if current is not None:
            raise AssignmentConflict(
                "the device is assigned to a patient", hint="release it first: `twinward device release`"
            )
        if len(self.assignments) >= MOST_ASSIGNMENTS:
            raise AssignmentConflict(
                sentence("a device has {most} assignments at most", most=MOST_ASSIGNMENTS), hint="give it a new name"
            )
        last = self.assignments[-1] if self.assignments else None
        if last is not None and last.until_ms is not None and from_ms < last.until_ms:
            raise AssignmentConflict(
                sentence("the device was assigned until {at}", at=iso(last.until_ms)), hint="assign it from then on"
            )
        self._require_unplaced(from_ms)
        return AssignmentLine((*self.assignments, Assignment(twin, from_ms, None, by)), self.placed_until_ms)

    def released(self, until_ms: int) -> AssignmentLine:
        """The line with its open assignment ended.

        Raises:
            AssignmentConflict: there is none, it began later, or readings from then on were placed already.
        """
        current = self.current
        if current is None:
            raise AssignmentConflict("the device is assigned to nobody", hint="`twinward device list` shows all")
        if until_ms <= current.from_ms:
            raise AssignmentConflict(
                sentence("the assignment began at {at}", at=iso(current.from_ms)), hint="release it later than that"
            )
        self._require_unplaced(until_ms)
        ended = msgspec.structs.replace(current, until_ms=until_ms)
        return AssignmentLine((*self.assignments[:-1], ended), self.placed_until_ms)

    def told(self, name: Callable[[TwinId], TwinId]) -> AssignmentLine:
        """The line as it is shown, with other names for its patients; it is not to be stored."""
        shown = [msgspec.structs.replace(one, twin=name(one.twin)) for one in self.assignments]
        return AssignmentLine(shown, self.placed_until_ms)

    def placed(self, last_ms: int) -> AssignmentLine:
        """The line once a reading measured at this moment was placed by it."""
        return AssignmentLine(self.assignments, max(self.placed_until_ms, last_ms + 1))

    def _require_unplaced(self, at_ms: int) -> None:
        if at_ms < self.placed_until_ms:
            raise AssignmentConflict(
                sentence("readings of this device up to {at} are placed already", at=iso(self.placed_until_ms)),
                hint="a change can be dated from then on",
            )
