"""What an exchange would be worth in a surge: the same patients, with and without hospitals that lend.

Each hospital has units of one resource (ventilators, say). Patients come by a Poisson process, more of them at the
hospital of the surge; each needs a unit for a geometric number of days, and waits in line until one is free. Where
hospitals lend, every evening those with units to spare offer them, those with a line request them, and what
``suggestion`` finds is on its way for ``transit_days``. A unit stays where it went until somebody else needs it.
A model to compare by, not a forecast: nobody leaves the line, and a unit needs no staff.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twinward.exchange.errors import ExchangeInvalid
from twinward.exchange.models import ListingView
from twinward.exchange.suggestion import suggest

if TYPE_CHECKING:
    import numpy as np

MAX_DAYS = 3650
MAX_UNITS = 10_000


@dataclass(frozen=True, slots=True)
class Ward:
    """One hospital: its units, and how many patients a day come to need one."""

    hospital: str
    units: int
    arrivals: float


@dataclass(frozen=True, slots=True)
class Surge:
    """From ``day`` on, for ``days``, ``factor`` times as many patients come to one hospital."""

    hospital: str
    factor: float
    day: int
    days: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated. ``stay_days`` is the mean; ``reserve`` units are never offered."""

    wards: tuple[Ward, ...]
    surge: Surge
    days: int = 90
    stay_days: float = 8.0
    transit_days: int = 1
    reserve: int = 1

    def check(self) -> None:
        """Raises ``ExchangeInvalid``: what cannot be simulated; says which."""
        names = [one.hospital for one in self.wards]
        if len(set(names)) != len(names) or self.surge.hospital not in names:
            raise ExchangeInvalid("each hospital is named once, and the surge is at one of them")
        if not all(0 < one.units <= MAX_UNITS and 0 <= one.arrivals <= MAX_UNITS for one in self.wards):
            raise ExchangeInvalid(f"a hospital has 1 to {MAX_UNITS} units and 0 to {MAX_UNITS} arrivals a day")
        if not (0 < self.days <= MAX_DAYS and 1 <= self.stay_days <= MAX_DAYS and 0 < self.surge.factor <= MAX_UNITS):
            raise ExchangeInvalid(f"days and the mean stay are 1 to {MAX_DAYS}, the factor is above 0")
        if not (self.surge.day >= 0 and self.surge.days >= 0 and self.transit_days >= 0 and self.reserve >= 0):
            raise ExchangeInvalid("the surge's days, the way and the reserve are not negative")


@dataclass(slots=True)
class Outcome:
    """Days that patients waited, by hospital, how many units were sent, and the longest line."""

    waited: dict[str, int]
    sent: int = 0
    longest: int = 0


@dataclass(slots=True)
class _Place:
    units: int
    in_use: int = 0
    line: deque[int] = field(default_factory=deque)
    """The stays of those who wait, in days."""
    leaving: dict[int, int] = field(default_factory=dict)
    coming: dict[int, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.units - self.in_use


def simulate(plan: Plan, seed: int, *, lending: bool) -> Outcome:
    """One run. The same seed brings the same patients, lent to or not. Raises ``ExchangeInvalid``."""
    import numpy as np

    plan.check()
    draws = np.random.default_rng(seed)
    patients = [[_arriving(plan, ward, day, draws) for ward in plan.wards] for day in range(plan.days)]
    places = [_Place(ward.units) for ward in plan.wards]
    outcome = Outcome({ward.hospital: 0 for ward in plan.wards})
    for day, arriving in enumerate(patients):
        for ward, place, stays in zip(plan.wards, places, arriving, strict=True):
            _morning(place, day, stays)
            outcome.waited[ward.hospital] += len(place.line)
            outcome.longest = max(outcome.longest, len(place.line))
        if lending:
            outcome.sent += _evening(plan, places, day)
    return outcome


def _arriving(plan: Plan, ward: Ward, day: int, draws: np.random.Generator) -> list[int]:
    surge = plan.surge
    surging = ward.hospital == surge.hospital and surge.day <= day < surge.day + surge.days
    count = int(draws.poisson(ward.arrivals * (surge.factor if surging else 1.0)))
    return [int(stay) for stay in draws.geometric(1.0 / plan.stay_days, count)]


def _morning(place: _Place, day: int, stays: Sequence[int]) -> None:
    place.units += place.coming.pop(day, 0)
    place.in_use -= place.leaving.pop(day, 0)
    place.line.extend(stays)
    while place.line and place.free > 0:
        until = day + place.line.popleft()
        place.leaving[until] = place.leaving.get(until, 0) + 1
        place.in_use += 1


def _evening(plan: Plan, places: Sequence[_Place], day: int) -> int:
    """What is sent this evening, by the suggestion."""
    listings = []
    for number, (ward, place) in enumerate(zip(plan.wards, places, strict=True)):
        short = len(place.line) - sum(place.coming.values())
        spare = 0 if place.line else place.free - plan.reserve
        kind, left = ("request", short) if short > 0 else ("offer", spare)
        if left > 0:
            listings.append(ListingView(number, kind, ward.hospital, "unit", left, left, day, stands=True))
    sent = 0
    for one in suggest(listings):
        places[one.offer].units -= one.quantity
        arrives = day + 1 + plan.transit_days
        places[one.request].coming[arrives] = places[one.request].coming.get(arrives, 0) + one.quantity
        sent += one.quantity
    return sent
