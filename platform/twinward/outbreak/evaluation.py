"""How much later private counts alarm than exact ones, at as few false alarms: on simulated outbreaks.

Each arm gets the least limit of which quiet years say, with 95 % confidence, that it alarms on at most one day a year;
what it alarms in other such years is told beside. Then both see the same outbreaks. Delays are from the first
infections on.

The limit at which so many years had as many alarms would alarm more than once a year in every second trial: the years
it was set on favour it. As an order statistic has it (Wilks 1941), alarms of T years at one a year are Poisson(T), so a
limit with k alarms in them has a rate above one a year with probability P(Poisson(T) ≤ k): the largest k is taken at
which that is 5 % or less. Alarms of C3 come in rows, which makes the true confidence somewhat less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.privacy.discrete_gaussian import discrete_gaussian
from twinward.outbreak.continual import Period
from twinward.outbreak.ears import Ears, Statistic
from twinward.outbreak.seir import Epidemic, background, cases

_YEAR = 365
_CONFIDENCE = 0.95
_FIRST = 60
"""Days before an outbreak begins, and how many more are watched."""
_WATCHED = 90


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried. ``period`` None is exact counts; ``hospitals`` each add their share of noise."""

    epidemic: Epidemic
    statistic: Statistic
    baseline_days: int
    hospitals: int = 3
    honest: int = 2
    years: int = 20
    outbreaks: int = 100

    def __post_init__(self) -> None:
        """Raises ``BadInput``."""
        if not (1 <= self.honest <= self.hospitals <= 256 and 1 <= self.years <= 200 and 1 <= self.outbreaks <= 10_000):
            raise BadInput("1 to 200 years, 1 to 10000 outbreaks, and no more honest hospitals than there are")
        if Ears(self.statistic, 1.0, self.baseline_days).days_needed > _FIRST:
            raise BadInput(
                f"an outbreak begins on day {_FIRST}: its baseline is not that long", hint="take a shorter one"
            )


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm came to. ``missed`` outbreaks were not seen within 90 days, and count as 90 days."""

    limit: float
    false_alarms_a_year: float
    delays: tuple[int, ...]
    missed: int

    @property
    def mean_days(self) -> float:
        """Of the delays."""
        return fmean(self.delays)

    @property
    def median_days(self) -> float:
        """Of the delays."""
        return float(median(self.delays))


def tried(trial: Trial, period: Period | None, seed: int) -> Arm:
    """One arm. The same seed brings the same cases to every arm; the noise is the arm's own."""
    draws, noise = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    variance = 0.0 if period is None else float(trial.hospitals * period.share(trial.honest))
    detector = Ears(trial.statistic, 1.0, trial.baseline_days, variance)

    def seen(exact: NDArray[np.int64]) -> list[int]:
        """What the arm sees of a sum of counts: each day's own node of the tree."""
        if period is None:
            return [int(one) for one in exact]
        share = period.share(trial.honest)
        shares = [discrete_gaussian(len(exact), share, noise.bytes) for _ in range(trial.hospitals)]
        return [int(one) for one in exact + sum(shares)]

    quiet = [background(trial.epidemic, trial.years * _YEAR, draws) for _ in range(2)]
    detector = replace(detector, limit=_limit(detector, seen(quiet[0]), trial.years))
    false_alarms = len(detector.alarms(seen(quiet[1]))) / trial.years
    delays = [_delay(detector, seen(_outbreak(trial.epidemic, draws))) for _ in range(trial.outbreaks)]
    return Arm(detector.limit, false_alarms, tuple(delays), sum(one == _WATCHED for one in delays))


def _limit(detector: Ears, counts: Sequence[int], years: int) -> float:
    """The least limit at which these quiet years have no more than ``alarms_allowed``."""
    scores = sorted((detector.score(counts, day) for day in range(detector.days_needed, len(counts))), reverse=True)
    return max(scores[min(alarms_allowed(years), len(scores) - 1)], 1e-6)


def alarms_allowed(years: int) -> int:
    """How many alarms in so many quiet years say that there is at most one a year, with 95 % confidence; 0 at least."""
    allowed, cumulative, term = 0, 0.0, math.exp(-years)
    for alarms in range(years):
        cumulative += term
        term *= years / (alarms + 1)
        if cumulative > 1 - _CONFIDENCE:
            break
        allowed = alarms
    return allowed


def _outbreak(epidemic: Epidemic, draws: np.random.Generator) -> NDArray[np.int64]:
    found = background(epidemic, _FIRST + _WATCHED, draws)
    found[_FIRST:] += cases(epidemic, _WATCHED, draws)
    return found


def _delay(detector: Ears, counts: Sequence[int]) -> int:
    for day in range(_FIRST, len(counts)):
        if detector.score(counts, day) > detector.limit:
            return day - _FIRST
    return _WATCHED
