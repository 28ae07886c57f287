"""What was ordered, what was given, and what follows for now. Nothing here is FHIR-shaped: ``fhir.mapping`` is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

DUE: Final = "medication:due"
MISSED: Final = "medication:missed"
"""Alerts of doses; no rule of a file can be called so."""


class Reminding(msgspec.Struct, frozen=True):
    """That patients' medication is watched: in whose name, since when."""

    account: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Timing:
    """When doses are due. Moments (``at_ms``), times of the day by the hospital's clocks, or an interval that elapses.

    Attributes:
        begin_ms, end_ms: doses are due from the one on, before the other; None: without end.
        at_ms: moments that are named.
        times: seconds since midnight, by the clock on the wall.
        every_days: of ``times``: each so many days from the first on.
        weekdays: of ``times``: Monday is 0; empty is every day.
        interval_ms: from ``begin_ms`` on; 0 is none.
        most: how many doses there are in all; None: as many as come.
    """

    begin_ms: int
    end_ms: int | None = None
    at_ms: tuple[int, ...] = ()
    times: tuple[int, ...] = ()
    every_days: int = 1
    weekdays: frozenset[int] = frozenset()
    interval_ms: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One order that is in force.

    Attributes:
        request: its reference, ``MedicationRequest/…``.
        says: what is to be given, as people read it.
        timings: of its dosages.
        unclear: how many of its dosages say when in a way that is not followed here; as needed is not one of them.
    """

    request: str
    says: str
    timings: tuple[Timing, ...]
    unclear: int = 0


@dataclass(frozen=True, slots=True)
class Charted:
    """A dose that was given, or withheld for a reason: of which order, when."""

    request: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Dose:
    """One dose: when it is due, from when on it is missed, and whether anything was charted for it."""

    request: str
    says: str
    due_ms: int
    missed_ms: int
    answered: bool
