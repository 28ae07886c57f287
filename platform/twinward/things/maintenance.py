"""When a thing is due for service: after so many days, so many hours of use, or because it is broken.

Hours of use are those in which a device or a bed was with a patient, since it was serviced last (or added). When hours
will run out is told from how it was used lately: it is a date to plan with, and moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twinward.things.models import Happening, Related, Thing, What

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
LATELY_MS: Final = 28 * DAY_MS
"""Over which use is looked at to tell when hours run out."""
FAR_MS: Final = 10_000 * DAY_MS
"""Further ahead nothing is planned: a date made of seconds of use lies in no calendar."""


@dataclass(frozen=True, slots=True)
class Service:
    """How a thing stands to its maintenance.

    Attributes:
        used_h: hours of use since it was serviced; None: not to be seen.
        due_ms: when it is due; None: never, by what is known.
        reason: ``fault``, ``days`` or ``hours``; empty where it is never due.
        faults: since it was serviced.
        serviced_ms: when it was; None: never yet.
    """

    used_h: float | None
    due_ms: int | None
    reason: str
    faults: int
    serviced_ms: int | None

    def is_due(self, now_ms: int) -> bool:
        """Whether it should have been serviced by now."""
        return self.due_ms is not None and self.due_ms <= now_ms


def service_of(thing: Thing, use: Sequence[Related], happenings: Sequence[Happening], now_ms: int) -> Service:
    """How a thing stands.

    Args:
        thing: a device or a bed.
        use: with which patients it was, the oldest first.
        happenings: what happened to it, the oldest first.
        now_ms: the moment.
    """
    serviced = [one.at_ms for one in happenings if one.what is What.SERVICED]
    begin_ms = serviced[-1] if serviced else thing.added_ms
    faults = [one.at_ms for one in happenings if one.what is What.FAULT and one.at_ms > begin_ms]
    due: list[tuple[int, str]] = [(faults[0], "fault")] if faults else []
    if thing.service_days:
        due.append((begin_ms + thing.service_days * DAY_MS, "days"))
    if thing.service_hours:
        run_out = _run_out_ms(use, begin_ms, thing.service_hours * HOUR_MS, now_ms)
        due += [] if run_out is None else [(run_out, "hours")]
    when, reason = min(due, default=(None, ""))
    used_h = used_ms(use, begin_ms, now_ms) / HOUR_MS
    return Service(used_h, when, reason, len(faults), serviced[-1] if serviced else None)


def used_ms(use: Sequence[Related], from_ms: int, to_ms: int) -> int:
    """For how long of a span it was with somebody, milliseconds."""
    return sum(
        max(0, min(to_ms, to_ms if one.until_ms is None else one.until_ms) - max(from_ms, one.from_ms)) for one in use
    )


def _run_out_ms(use: Sequence[Related], begin_ms: int, limit_ms: int, now_ms: int) -> int | None:
    """When so much use is reached, or was; None where it is hardly used, or not at all."""
    left_ms = limit_ms
    for one in use:
        first = max(begin_ms, one.from_ms)
        lasted = max(0, (now_ms if one.until_ms is None else min(one.until_ms, now_ms)) - first)
        if lasted >= left_ms:
            return first + left_ms
        left_ms -= lasted
    looked_ms = max(DAY_MS, now_ms - max(begin_ms, now_ms - LATELY_MS))
    lately_ms = used_ms(use, now_ms - looked_ms, now_ms)
    ahead_ms = left_ms * looked_ms // lately_ms if lately_ms else FAR_MS
    return now_ms + ahead_ms if ahead_ms < FAR_MS else None
