"""EARS: whether a day's count lies above what the days before let expect (Hutwagner, Thompson, Seeman, Treadwell 2003).

C1 and C2 are (count - mean) / sd over a baseline that ends the day before (C1) or two days earlier (C2); C3 is what C2
exceeded 1 by on the last three days, summed. Counts here may bear noise of a known variance, so ``sd`` is never taken
below that of a Poisson count of the baseline's mean with that noise: seven days that happen to be alike alarm nobody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Final

from twinward.core.errors import BadInput

_LAG: Final = 2
_C3_DAYS: Final = 3


class Statistic(StrEnum):
    """Which of the three."""

    C1 = "c1"
    C2 = "c2"
    C3 = "c3"


@dataclass(frozen=True, slots=True)
class Ears:
    """A detector: ``limit`` is 3 for C1 and C2 and 2 for C3 as published; ``noise_variance`` is of each count."""

    statistic: Statistic
    limit: float
    baseline_days: int = 7
    noise_variance: float = 0.0

    def __post_init__(self) -> None:
        """Raises ``BadInput``."""
        if not 2 <= self.baseline_days <= 366 or not 0 < self.limit < 1e6 or not 0 <= self.noise_variance < 1e18:
            raise BadInput("a baseline has 2 to 366 days, a limit lies above 0")

    @property
    def days_needed(self) -> int:
        """How many days before one can be judged."""
        lag = 0 if self.statistic is Statistic.C1 else _LAG
        return self.baseline_days + lag + (_C3_DAYS - 1 if self.statistic is Statistic.C3 else 0)

    def score(self, counts: Sequence[float], day: int) -> float:
        """The statistic of ``counts[day]``. Raises ``BadInput`` where too few days lie before it."""
        if not self.days_needed <= day < len(counts):
            raise BadInput(f"{self.days_needed} days before one are needed to judge it")
        if self.statistic is not Statistic.C3:
            return self._excess(counts, day)
        return sum(max(0.0, self._excess(counts, day - back) - 1.0) for back in range(_C3_DAYS))

    def threshold(self, counts: Sequence[float], day: int) -> float:
        """The count from which a day lies above the limit, all other days as they are. Raises as ``score``."""
        score = self.score(counts, day)
        mean, spread = self._usual(counts, day)
        # One more case moves C1, C2, and C3 where it is above 1 that day, by 1/sd.
        return counts[day] - (score - self.limit) * spread if score > self.limit else mean + self.limit * spread

    def expected(self, counts: Sequence[float], day: int) -> float:
        """The baseline's mean for a day."""
        return fmean(self._baseline(counts, day))

    def alarms(self, counts: Sequence[float]) -> list[int]:
        """The days above the limit, of those that can be judged."""
        return [day for day in range(self.days_needed, len(counts)) if self.score(counts, day) > self.limit]

    def _baseline(self, counts: Sequence[float], day: int) -> Sequence[float]:
        end = day if self.statistic is Statistic.C1 else day - _LAG
        return counts[end - self.baseline_days : end]

    def _excess(self, counts: Sequence[float], day: int) -> float:
        mean, spread = self._usual(counts, day)
        return (counts[day] - mean) / spread

    def _usual(self, counts: Sequence[float], day: int) -> tuple[float, float]:
        before = self._baseline(counts, day)
        mean = fmean(before)
        least = math.sqrt(max(mean, 1.0) + self.noise_variance)
        spread = math.sqrt(math.fsum((one - mean) ** 2 for one in before) / (len(before) - 1))
        return mean, max(spread, least)
