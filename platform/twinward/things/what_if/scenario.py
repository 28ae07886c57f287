"""What is simulated: patients who arrive, the stages they pass, and what each stage has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from twinward.things.errors import BadThing

MAX_ARRIVALS: Final = 5_000_000
"""Of all runs together: minutes of work, not hours."""
_HOURS: Final = {"min": 1 / 60, "minute": 1 / 60, "h": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0, "week": 168.0}
_RATE: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,6})?)/(min|minute|h|hour|d|day|week)", re.ASCII)
_DURATION: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,6})?)(min|h|d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing that is done to a patient: a stay in a bed, a treatment, a vaccination.

    Attributes:
        name: for people.
        places: beds, bays, chairs.
        mean_h: how long it takes on average, hours.
        spread: standard deviation over mean; 1 is exponential, 0 always the same, else log-normal.
        staff, per_staff: people, and how many patients each looks after; 0 staff: places alone count.
    """

    name: str
    places: int
    mean_h: float
    spread: float = 1.0
    staff: int = 0
    per_staff: float = 1.0

    @property
    def servers(self) -> int:
        """How many patients it takes at once: what places and staff allow."""
        return min(self.places, math.floor(self.staff * self.per_staff)) if self.staff else self.places


@dataclass(frozen=True, slots=True)
class Scenario:
    """A question.

    Attributes:
        name: for people.
        stages: in the order in which patients pass them.
        arrivals_h: patients an hour, at random (a Poisson process).
        days: how long is looked ahead.
        waiting: how many may wait for the first stage; 0: who finds it full is refused; None: all may.
        urgent: the share of patients who go before all others who wait.
        present_h: for each patient who is in the first stage now, how many hours already.
    """

    name: str
    stages: tuple[Stage, ...]
    arrivals_h: float
    days: float
    waiting: int | None = None
    urgent: float = 0.0
    present_h: tuple[float, ...] = ()

    def checked(self, runs: int, most_arrivals: int = MAX_ARRIVALS) -> Scenario:
        """Itself, if so many runs of it can be made. Raises ``BadThing``."""
        numbers = (self.arrivals_h, self.days, self.urgent, *self.present_h)
        if not all(math.isfinite(one) and one >= 0 for one in numbers) or self.urgent > 1 or self.days > 3660:
            raise BadThing("arrivals, days and shares are numbers from 0 on", hint="up to ten years; a share up to 1")
        if not 1 <= len(self.stages) <= 10 or (self.waiting is not None and self.waiting < 0):
            raise BadThing("patients pass one to ten stages, and nobody or somebody waits")
        for one in self.stages:
            is_staffed = 0 <= one.staff <= 1_000_000 and 0 <= one.per_staff <= 1_000_000  # NaN is neither
            if not (is_staffed and 1 <= one.servers <= 10_000 and 0 < one.mean_h <= 100_000 and 0 <= one.spread <= 10):
                hint = "1 to 10,000 places with staff for one, a stay above 0, a spread of 0 to 10"
                raise BadThing(f"{one.name}: nobody can be treated so", hint=hint)
        patients = self.days * 24 * self.arrivals_h + len(self.present_h)
        if not 2 <= runs <= 1_000_000 or runs * patients > most_arrivals:
            raise BadThing(
                f"{most_arrivals:,} patients in all runs at most, and two runs at least", hint="fewer days or runs"
            )
        return self


def per_hour(text: str) -> float:
    """A rate as it is typed: ``3/day``, ``0.5/h``. Raises ``BadThing``."""
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise BadThing("a rate is a number and a unit of time", hint="e.g. 3/day, 12/h, 90/week")
    return float(found[1]) / _HOURS[found[2]]


def hours(text: str) -> float:
    """A duration as it is typed: ``3.5d``, ``90min``. Raises ``BadThing``."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise BadThing("a duration is a number and min, h or d", hint="e.g. 3.5d, 4h, 90min")
    return float(found[1]) * _HOURS[found[2]]


EXAMPLES: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        "icu": Scenario(
            "intensive care",
            (Stage("stay", 12, 84.0, 1.2),),
            3 / 24,
            365.0,
            waiting=0,
            present_h=(4.0, 11.0, 20.0, 31.0, 45.0, 62.0, 85.0, 120.0, 190.0),
        ),
        "emergency": Scenario(
            "emergency department",
            (Stage("triage", 2, 0.1, 0.5), Stage("treatment", 16, 3.2, 0.9, staff=5, per_staff=3.0)),
            90 / 24,
            28.0,
            urgent=0.2,
        ),
        "vaccination": Scenario(
            "vaccination line",
            (Stage("desk", 2, 2 / 60, 0.5), Stage("injection", 4, 4 / 60, 0.5), Stage("watch", 30, 0.25, 0.0)),
            55.0,
            10 / 24,
        ),
    }
)
"""To begin with: an intensive care unit that refuses, a department where people wait, a line for one day."""
