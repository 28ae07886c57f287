"""What daily sums let expect of the days that follow, with intervals, by ``count_models``.

What hospitals released is paid for, and whatever is computed from it costs no privacy more (post-processing; Dwork,
Roth 2014, proposition 2.1). Nothing here sees anything but released sums.

The same sums give the same forecast: its random draws are always the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from twinward.core.errors import BadInput
from twinward.core.sentences import sentence
from twinward.outbreak.count_models import CountModels, Numbers
from twinward.outbreak.daily_series import DailySeries
from twinward.outbreak.errors import NothingToForecast

MOST_DAYS_AHEAD: Final = 14
FEWEST_DAYS: Final = 21
"""Days that must be known: three of each weekday."""
_LOOKED_AT: Final = 182
"""A season is not modelled, so what lies further back than half a year says nothing of a fortnight."""
_RECENT: Final = 28
_MOST_MISSING_AT_END: Final = 7
_STANDS_OUT: Final = 3.0
"""Standard errors by which the recent mean must lie above zero for there to be something to forecast."""


@dataclass(frozen=True, slots=True)
class DayAhead:
    """A day that is not known yet.

    Attributes:
        day: which.
        expected: cases, the median.
        half: between what they lie with one half of the probability.
        most: between what they lie with 95 %.
        released: between what the day's sum lies with 95 %, its noise with it.
    """

    day: date
    expected: int
    half: tuple[int, int]
    most: tuple[int, int]
    released: tuple[int, int]

    def shown(self) -> dict[str, Any]:
        """For programs."""
        ranges = {"50": list(self.half), "95": list(self.most), "95_with_noise": list(self.released)}
        return {"day": str(self.day), "expected": self.expected, **ranges}


def forecast(series: DailySeries, ahead: int) -> tuple[DayAhead, ...]:
    """The days that follow a series.

    Args:
        series: of one syndrome; days may be missing.
        ahead: how many days, 1 to 14.

    Raises:
        BadInput: no such number of days.
        NothingToForecast: too few days are known, the last ones are missing, or nothing stands out from the noise; it
            says which.
    """
    require_enough(series.last(_LOOKED_AT))
    return forecasts_after(series, ahead, (0,))[0]


def forecasts_after(series: DailySeries, ahead: int, back: Sequence[int]) -> dict[int, tuple[DayAhead, ...]]:
    """As ``forecast``, after each of these numbers of days before the last; of what was known then alone.

    Those are left out at which nothing was to be forecast.
    """
    if not 1 <= ahead <= MOST_DAYS_AHEAD:
        raise BadInput(sentence("a forecast is of 1 to {most} days", most=MOST_DAYS_AHEAD))
    recent = series.last(_LOOKED_AT)
    lengths = {len(recent.counts) - days: days for days in back if _says_something(recent, days)}
    found: dict[int, tuple[DayAhead, ...]] = {}
    if not lengths:
        return found
    filtered = CountModels(_first_level(recent))
    for place, (count, variance) in enumerate(zip(recent.counts, recent.variances, strict=True)):
        filtered.step()
        if count is not None:
            filtered.learn(recent.weekday(place), count, variance)
        if place + 1 in lengths:
            found[lengths[place + 1]] = _drawn(filtered, recent.until(place + 1), ahead)
    return found


def _says_something(series: DailySeries, back: int) -> bool:
    try:
        require_enough(series.until(max(0, len(series.counts) - back)))
    except NothingToForecast:
        return False
    return True


def _drawn(filtered: CountModels, seen: DailySeries, ahead: int) -> tuple[DayAhead, ...]:
    cases = filtered.draw(ahead, seen.weekday(len(seen.counts)))
    noise = np.random.default_rng(1).normal(0.0, math.sqrt(seen.variances[-1]), cases.shape)
    days = [seen.last_day + timedelta(days=number + 1) for number in range(ahead)]
    return tuple(_day_ahead(day, *of_day) for day, *of_day in zip(days, cases, cases + noise, strict=True))


def require_enough(series: DailySeries) -> None:
    """Raise ``NothingToForecast`` where these sums say nothing of the days that follow; it says why."""
    known = [(one, noise) for one, noise in zip(series.counts, series.variances, strict=True) if one is not None]
    if len(known) < FEWEST_DAYS:
        said = sentence("{known} days are known, {wanted} are needed", known=len(known), wanted=FEWEST_DAYS)
        raise NothingToForecast(said, hint=sentence("give the sums of earlier periods, too"))
    if len(known) * 2 < len(series.counts):
        said = sentence("of {days} days {known} are known: too few", days=len(series.counts), known=len(known))
        raise NothingToForecast(said, hint=sentence("give the sums of the periods between, too"))
    if all(one is None for one in series.counts[-_MOST_MISSING_AT_END:]):
        said = sentence("of the last {days} days none is known", days=_MOST_MISSING_AT_END)
        raise NothingToForecast(said, hint=sentence("all hospitals release these days: `twinward outbreak release`"))
    counts, noises = (np.array(one, np.float64) for one in zip(*known[-_RECENT:], strict=True))
    mean, error = float(counts.mean()), math.sqrt(noises.sum() + max(counts.sum(), 1.0)) / len(counts)
    if mean < _STANDS_OUT * error:
        most = max(math.ceil(max(mean, 0.0) + 2 * error), 1)
        raise NothingToForecast(
            sentence("nothing stands out from noise and chance: about {most} cases a day at most", most=most),
            hint=sentence("a forecast would be of the noise; more hospitals, or a larger ε, show more"),
        )


def _first_level(series: DailySeries) -> float:
    """Where the level begins: at the mean of the first days that are known."""
    known = [one for one in series.counts if one is not None]
    return math.log(max(float(np.mean(known[:FEWEST_DAYS])), 0.5))


def _day_ahead(day: date, cases: Numbers, released: Numbers) -> DayAhead:
    low, lower, middle, upper, high = _quantiles(cases, 0.025, 0.25, 0.5, 0.75, 0.975)
    lowest, highest = _quantiles(released, 0.025, 0.975)
    return DayAhead(day, middle, (lower, upper), (low, high), (lowest, highest))


def _quantiles(draws: Numbers, *shares: float) -> list[int]:
    """Whole numbers, as counts are."""
    return [round(float(one)) for one in np.quantile(draws, shares, method="inverted_cdf")]
