"""How much the published log grows when a hospital reads its patients for a study: a noisy number, the same each time.

Each patient's reading is an event of their own, which their report shows. By how many leaves the log grows so would
tell whoever sees its checkpoints how many patients consent, and how many joined or left between two studies. Fillers
about nobody make it a *room* (``audit.fillers``): events and noise, rounded up, kept for all later studies that read in
the same way, until one has more events than fit; then there is another, with noise of its own.
"""

from __future__ import annotations

from typing import Final

from twinward.audit.fillers import fill_up
from twinward.audit.interfaces import AuditTrail
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward_crypto.feasibility.noise import GeometricNoise

STEP: Final = 64
"""A room is a multiple of this."""
MOST_EVENTS: Final = 3
"""Of one patient in one reading: monitoring, vital signs, laboratory results, each decided apart."""
SIZE_MILLIS: Final = 250
"""The epsilon, in thousandths, at which a room tells of one patient."""


def room_for(events: int) -> int:
    """A room for so many events: never fewer, with fresh noise from the operating system."""
    noise = GeometricNoise.of(SIZE_MILLIS // MOST_EVENTS)
    return -(-(events + noise.bound + noise.draw()) // STEP) * STEP


def fill_room(trail: AuditTrail, memory: AnsweredRounds, kind: str, events: int, at_ms: int) -> None:
    """Record fillers, so that a reading of so many events grows the log by its kind's room.

    Raises ``Unavailable`` where they, or the room, cannot be written: then nothing that was read may be used.
    """
    fill_up(trail, memory.log_room(kind, events, room_for) - events, at_ms)
