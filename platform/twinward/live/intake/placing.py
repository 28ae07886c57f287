"""Where a reading belongs: its signal, its twin, its values in the signal's unit; or why it belongs nowhere yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId
from twinward.features.units import UnitUnknown
from twinward.live.assignments import AssignmentLine
from twinward.live.models import Placed, Reading, Reason
from twinward.live.signals import Signal, signal_of

FUTURE_MS: Final = 5 * 60_000
"""How far ahead a clock may be. A reading from further in the future would hide what is measured until then."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A reading that belongs nowhere yet, and why."""

    reading: Reading
    reason: Reason
    detail: str
    twin: TwinId | None = None
    """Whose it is all the same, where that is known."""


@dataclass(frozen=True, slots=True)
class Placer:
    """Places readings, for one batch.

    Attributes:
        subjects: twins by patients' references, of those that the batch names.
        line_of: a device's assignments.
        now_ms: when the batch came.
    """

    subjects: Mapping[str, TwinId]
    line_of: Callable[[str], AssignmentLine]
    now_ms: int

    def place(self, reading: Reading) -> Placed | Unplaced:
        """One reading."""
        signal = signal_of(reading.code)
        if signal is None:
            return self._unplaced(reading, Reason.UNKNOWN_CODE, "code: no signal that is taken here")
        try:
            values = tuple(signal.value_of(value, reading.unit) for value in reading.values)
        except UnitUnknown:  # its words repeat what was sent
            return self._unplaced(reading, Reason.UNKNOWN_UNIT, f"unit: none that can be turned into {signal.unit}")
        except BadInput as error:
            return self._unplaced(reading, Reason.IMPOSSIBLE_VALUE, f"value: {error}")
        last_ms = reading.time_ms + (len(values) - 1) * reading.period_ms
        if last_ms > self.now_ms + FUTURE_MS:
            return self._unplaced(reading, Reason.FUTURE_TIME, f"time: more than {FUTURE_MS // 60_000} minutes ahead")
        return self._with_twin(reading, signal, values, last_ms)

    def _unplaced(self, reading: Reading, reason: Reason, detail: str) -> Unplaced:
        if reading.subject:
            return Unplaced(reading, reason, detail, self.subjects.get(reading.subject))
        found = self.line_of(reading.device).at(reading.time_ms)
        return Unplaced(reading, reason, detail, None if found is None else found.twin)

    def _with_twin(
        self, reading: Reading, signal: Signal, values: tuple[float, ...], last_ms: int
    ) -> Placed | Unplaced:
        if reading.subject:
            twin = self.subjects.get(reading.subject)
            if twin is None:
                return Unplaced(reading, Reason.UNKNOWN_SUBJECT, "subject: no twin of this patient is kept here")
        else:
            twin = self.line_of(reading.device).owner(reading.time_ms, last_ms)
            if twin is None:
                return self._unplaced(reading, Reason.NOT_ASSIGNED, "device: assigned to nobody when it measured")
        return Placed(twin, signal, reading, values)
