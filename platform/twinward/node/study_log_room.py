"""How much the published log grows when a hospital reads its patients for a study: a noisy number, the same each time.

Each patient's reading is an event of their own, which their report shows. By how many leaves the log grows so would
tell whoever sees its checkpoints how many patients consent, and how many joined or left between two studies. Fillers
about nobody make it a *room* (``audit.fillers``): events and noise, rounded up, kept for all later studies that read in
the same way, until one has more events than fit; then there is another, with noise of its own.

That a reading begins is on disk before its first event. One that was killed is completed by whoever reads next, or
starts the hospital's daemon: its events and its fillers are counted in the log, and what its room lacks is filled up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from twinward.audit.fillers import fill_up
from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import Noted
from twinward.core.clock import Clock
from twinward.core.turns import Turn
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward_crypto.feasibility.noise import GeometricNoise

STEP: Final = 64
"""A room is a multiple of this."""
MOST_EVENTS: Final = 3
"""Of one patient in one reading: monitoring, vital signs, laboratory results, each decided apart."""
SIZE_MILLIS: Final = 250
"""The epsilon, in thousandths, at which a room tells of one patient."""
_WAIT_S: Final = 600.0


class Events(Protocol):
    """The log's events of one action (``audit.action_log``)."""

    def size(self) -> int:
        """How many entries the log has."""
        ...

    def between(self, start: int, stop: int) -> list[Noted]:
        """Those of ``start <= index < stop``."""
        ...


class EventsOfSeveral:
    """``Events`` of several actions that read patients."""

    def __init__(self, *logs: Events) -> None:
        self._logs = logs

    def size(self) -> int:
        """How many entries the log has."""
        return self._logs[0].size()

    def between(self, start: int, stop: int) -> list[Noted]:
        """Those of ``start <= index < stop``, action by action."""
        return [noted for log in self._logs for noted in log.between(start, stop)]


class StudyLogRoom:
    """One hospital's log, as far as it grows by readings for studies.

    Args:
        trail: the log.
        trained, noted: its events of the actions that read patients, ``train`` and ``count``, and of ``note``.
        memory: what the hospital keeps of studies.
        lock: a file; readings of all processes take turns by it.
        clock: of fillers.
    """

    def __init__(
        self, trail: AuditTrail, trained: Events, noted: Events, memory: AnsweredRounds, lock: Path, clock: Clock
    ) -> None:
        self._trail, self._trained, self._noted, self._memory = trail, trained, noted, memory
        self._turn = Turn(lock, wait_s=_WAIT_S)
        self._clock = clock

    @contextmanager
    def reading(self, kind: str, study: str) -> Iterator[list[int]]:
        """Patients are read as long as this lasts; what it yields is told how many events each step logged.

        Raises:
            Unavailable: the room, or fillers, cannot be written: then nothing that was read may be used.
            Busy: another process reads patients, and takes long.
        """
        with self._turn:
            self.complete()
            self._memory.begin_reading(kind, study, self._trained.size())
            logged: list[int] = []
            try:
                yield logged
            finally:
                self._fill(kind, study, sum(logged), 0)

    def complete(self) -> None:
        """Fill up what a killed process began. Raises as ``reading``."""
        with self._turn:
            for kind, study, start in self._memory.open_readings():
                stop, beside = self._trained.size(), _beside(kind, study)
                events = sum(("study", study) in one.event.detail for one in self._trained.between(start, stop))
                filled = sum(("filler", beside) in one.event.detail for one in self._noted.between(start, stop))
                self._fill(kind, study, events, filled)

    def _fill(self, kind: str, study: str, events: int, filled: int) -> None:
        room = self._memory.log_room(kind, events, room_for)
        fill_up(self._trail, room - events - filled, self._clock.now_ms(), _beside(kind, study))
        self._memory.end_reading(kind)


def room_for(events: int) -> int:
    """A room for so many events: never fewer, with fresh noise from the operating system."""
    noise = GeometricNoise.of(SIZE_MILLIS // MOST_EVENTS)
    return -(-(events + noise.bound + noise.draw()) // STEP) * STEP


def _beside(kind: str, study: str) -> str:
    return f"{kind} of {study}"
