"""One run: discrete events on SimPy's clock, from how the first stage stands now.

Stays and gaps are drawn in blocks (NumPy), and an event is a timeout with a callback instead of a process of its own:
a year of an intensive care unit is a few milliseconds. Patients who wait are taken by urgency, then by their coming.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import simpy
from numpy.random import Generator
from numpy.typing import NDArray

from twinward.things.what_if.scenario import Scenario, Stage

Floats = NDArray[np.float64]
GRID: Final = 60
"""Moments at which a run's occupancy is looked at, evenly over its time."""
_BLOCK: Final = 512
_RARE: Final = 2.0**-15
_FIXED: Final = 1e-6
"""A spread below this is none: its square is lost beside 1."""


@dataclass(slots=True)
class Run:
    """What one run came to.

    Attributes:
        arrived, refused: patients.
        waits_h: for each stage, how long each patient waited who was taken, hours.
        urgent: for each stage, which of those were urgent.
        busy: for each stage, the mean number of servers in use.
        occupancy: of the longest stage, patients in it at ``GRID`` moments; shape ``(GRID,)``.
    """

    arrived: int = 0
    refused: int = 0
    waits_h: list[Floats] = field(default_factory=list)
    urgent: list[NDArray[np.bool_]] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    occupancy: Floats = field(default_factory=lambda: np.zeros(GRID))


def longest(scenario: Scenario) -> int:
    """The place of the stage in which patients are longest."""
    return max(range(len(scenario.stages)), key=lambda one: scenario.stages[one].mean_h)


def simulate(scenario: Scenario, random: Generator) -> Run:
    """Make one run."""
    return _Simulation(scenario, random).run()


class _Service:
    """A stage at work."""

    __slots__ = (
        "_next_stay",
        "changes",
        "free",
        "last_h",
        "moments",
        "stage",
        "urgent",
        "waiting",
        "waits",
        "were_urgent",
    )

    def __init__(self, stage: Stage, random: Generator) -> None:
        self.stage = stage
        self.free = stage.servers
        self.waiting: deque[tuple[float, bool]] = deque()
        self.urgent: deque[tuple[float, bool]] = deque()
        self.waits: list[float] = []
        self.were_urgent: list[bool] = []
        self.moments, self.changes = [0.0], [0]
        self._next_stay = _drawn(partial(_stays, stage, random))

    def stay_h(self) -> float:
        return self._next_stay()

    def note(self, now_h: float) -> None:
        self.moments.append(now_h)
        self.changes.append(self.stage.servers - self.free)


class _Simulation:
    def __init__(self, scenario: Scenario, random: Generator) -> None:
        self._scenario, self._random = scenario, random
        self._env: Any = simpy.Environment()
        self._end_h = scenario.days * 24
        self._services = [_Service(one, random) for one in scenario.stages]
        self._result = Run()
        self._next_gap = _drawn(lambda: random.exponential(1 / scenario.arrivals_h, _BLOCK))

    def run(self) -> Run:
        first = self._services[0]
        for stayed_h in self._scenario.present_h[: first.stage.servers]:
            first.free -= 1
            self._after(_remaining(first.stage, stayed_h, self._random), partial(self._leave, 0, False))
        first.changes[0] = first.stage.servers - first.free
        if self._scenario.arrivals_h > 0:
            self._after(self._next_gap(), self._arrive)
        if self._end_h > 0:
            self._env.run(until=self._end_h)
        result, main = self._result, self._services[longest(self._scenario)]
        result.waits_h = [np.asarray(one.waits) for one in self._services]
        result.urgent = [np.asarray(one.were_urgent, dtype=np.bool_) for one in self._services]
        result.busy = [_mean_busy(one, self._end_h) for one in self._services]
        grid = np.linspace(0, self._end_h, GRID)
        places = np.searchsorted(np.asarray(main.moments), grid, side="right") - 1
        result.occupancy = np.asarray(main.changes, dtype=np.float64)[places]
        return result

    def _after(self, delay_h: float, then: Callable[[Any], None]) -> None:
        self._env.timeout(delay_h).callbacks.append(then)

    def _arrive(self, _: object) -> None:
        self._after(self._next_gap(), self._arrive)
        self._result.arrived += 1
        scenario, first = self._scenario, self._services[0]
        is_full = first.free == 0 and scenario.waiting is not None
        if is_full and len(first.waiting) + len(first.urgent) >= (scenario.waiting or 0):
            self._result.refused += 1
            return
        is_urgent = scenario.urgent > 0 and self._random.random() < scenario.urgent
        self._enter(0, is_urgent)

    def _enter(self, place: int, is_urgent: bool) -> None:
        service = self._services[place]
        if service.free:
            self._begin(place, is_urgent, 0.0)
        else:
            (service.urgent if is_urgent else service.waiting).append((self._env.now, is_urgent))

    def _begin(self, place: int, is_urgent: bool, waited_h: float) -> None:
        service = self._services[place]
        service.free -= 1
        service.waits.append(waited_h)
        service.were_urgent.append(is_urgent)
        service.note(self._env.now)
        self._after(service.stay_h(), partial(self._leave, place, is_urgent))

    def _leave(self, place: int, is_urgent: bool, _: object) -> None:
        service = self._services[place]
        service.free += 1
        service.note(self._env.now)
        queue = service.urgent or service.waiting
        if queue:
            since_h, next_urgent = queue.popleft()
            self._begin(place, next_urgent, self._env.now - since_h)
        if place + 1 < len(self._services):
            self._enter(place + 1, is_urgent)


def _drawn(draw: Callable[[], Floats]) -> Callable[[], float]:
    """One number after another, drawn in blocks."""
    kept: list[float] = []

    def following() -> float:
        if not kept:
            kept.extend(draw().tolist())
        return kept.pop()

    return following


def _stays(stage: Stage, random: Generator) -> Floats:
    """A block of stays: a fixed length, exponential, or log-normal of this mean and spread."""
    if stage.spread < _FIXED:
        return np.full(_BLOCK, stage.mean_h)
    if stage.spread == 1:
        return random.exponential(stage.mean_h, _BLOCK)
    return random.lognormal(*_logarithm(stage), _BLOCK)


def _logarithm(stage: Stage) -> tuple[float, float]:
    """Mean and standard deviation of a log-normal stay's logarithm."""
    variance = math.log1p(stage.spread**2)
    return math.log(stage.mean_h) - variance / 2, math.sqrt(variance)


def _remaining(stage: Stage, stayed_h: float, random: Generator) -> float:
    """How much longer somebody stays who has stayed so long: a stay among those that are longer than that.

    One number is drawn and turned into a stay (inverse transform), however few are as long. Who has stayed longer than
    any of tens of thousands is about to leave: an hour, or the mean if that is less.
    """
    if stage.spread == 1:
        return float(random.exponential(stage.mean_h))  # exponential stays forget
    last_h = min(1.0, stage.mean_h)
    if stage.spread < _FIXED:
        return stage.mean_h - stayed_h if stage.mean_h > stayed_h else last_h
    from scipy.special import ndtr, ndtri

    middle, width = _logarithm(stage)
    longer = 1.0 if stayed_h <= 0 else float(ndtr((middle - math.log(stayed_h)) / width))
    if longer < _RARE:
        return last_h
    drawn = math.exp(middle - width * float(ndtri(longer * (1 - random.random()))))
    return max(0.0, drawn - stayed_h)


def _mean_busy(service: _Service, end_h: float) -> float:
    if end_h <= 0:
        return float(service.changes[0])
    lengths = np.diff(np.asarray([*service.moments, end_h]))
    return float(np.dot(lengths, np.asarray(service.changes)) / end_h)
