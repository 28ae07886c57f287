"""A syndrome's forecast as people and programs read it: the days ahead, and what is to be known of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Final

from twinward.core.sentences import counted, sentence
from twinward.outbreak.daily_series import DailySeries, series_of_periods
from twinward.outbreak.errors import NothingToForecast
from twinward.outbreak.forecast import DayAhead, forecast
from twinward.outbreak.forecast_score import PastForecasts, past_forecasts
from twinward.outbreak.shares import SummedDays
from twinward.outbreak.syndromes import SYNDROMES

_SAYS_LITTLE: Final = 5
"""Times the expected number: an interval that reaches as far up says no more than that anything may come."""


@dataclass(frozen=True, slots=True)
class SyndromeForecast:
    """What the sums of one syndrome let expect.

    Attributes:
        syndrome: its word; empty where a series does not say of what it is.
        series: what it was made of.
        days: those ahead; none where nothing is to be forecast.
        nothing: why not; empty otherwise.
        past: what such forecasts would have been worth; None where too little is known for a single one.
    """

    syndrome: str
    series: DailySeries
    days: tuple[DayAhead, ...] = ()
    nothing: str = ""
    hint: str = ""
    past: PastForecasts | None = None

    def remarks(self) -> tuple[str, ...]:
        """Sentences on what it stands on."""
        ahead = (*_of_past(self.past), *_of_width(self.days)) if self.days else ()
        return (*_of_sums(self.series), *ahead)

    def shown(self) -> dict[str, Any]:
        """For programs."""
        known: dict[str, Any] = {"first_day": str(self.series.first_day), "last_day": str(self.series.last_day)}
        known |= {"known_days": self.series.known, "noise_variance": self.series.variances[-1]}
        said = {"nothing": self.nothing} if self.nothing else {"days": [one.shown() for one in self.days]}
        past = None if self.past is None else self.past.shown()
        return {"syndrome": self.syndrome, **known, **said, "past": past, "remarks": list(self.remarks())}


@lru_cache(maxsize=64)
def report_on(syndrome: str, series: DailySeries, ahead: int) -> SyndromeForecast:
    """The forecast of a series of sums that were released. Raises ``BadInput`` for a number of days that is none."""
    try:
        return SyndromeForecast(syndrome, series, forecast(series, ahead), past=past_forecasts(series))
    except NothingToForecast as why:
        return SyndromeForecast(syndrome, series, nothing=why.args[0], hint=why.hint)


def reports_on(periods: Sequence[SummedDays], ahead: int, syndrome: str = "") -> list[SyndromeForecast]:
    """The forecasts of one syndrome, or of all that these periods count. Of no period none.

    Raises:
        OutbreakInvalid: they are of different hospitals, or none of them counts the syndrome.
        BadInput: a number of days that is none.
    """
    found = []
    for name in (syndrome,) if syndrome else SYNDROMES:
        counting: Sequence[SummedDays] = [one for one in periods if name in one.sums]
        if counting or syndrome:
            found.append(report_on(name, series_of_periods(counting or periods, name), ahead))
    return found if periods else []


def newest_region(periods: Sequence[SummedDays]) -> list[SummedDays]:
    """Of periods of several sets of hospitals those of the set that counted last; of several such, the longest."""
    by_set: dict[frozenset[str], list[SummedDays]] = {}
    for one in periods:
        by_set.setdefault(frozenset(one.terms.hospitals), []).append(one)
    return max(by_set.values(), key=_newest_and_longest, default=[])


def _newest_and_longest(periods: Sequence[SummedDays]) -> tuple[date, int]:
    return max(one.terms.date_of(one.days) for one in periods), sum(one.days for one in periods)


def _of_sums(series: DailySeries) -> tuple[str, ...]:
    found = []
    missing, below = len(series.counts) - series.known, sum(one is not None and one < 0 for one in series.counts)
    spread = math.sqrt(max(series.variances))
    if spread:
        found.append(
            counted(
                "each sum bears noise of a standard deviation of {count} case",
                "each sum bears noise of a standard deviation of {count} cases",
                max(round(spread), 1),
            )
        )
    if missing:
        found.append(counted("{count} day is missing", "{count} days are missing", missing))
    if below:
        found.append(
            counted(
                "{count} sum lies below zero: that is its noise",
                "{count} sums lie below zero: that is their noise",
                below,
            )
        )
    return tuple(found)


def _of_past(past: PastForecasts | None) -> tuple[str, ...]:
    if past is None:
        return (sentence("too little is known yet to say how good such forecasts were"),)
    whole: Mapping[str, int] = {"days": past.days, "held": round(100 * past.held)}
    found = [sentence("of {days} days that would have been forecast so, {held} % lay in the interval of 95 %", **whole)]
    if past.naive_error > 0:
        share = round(100 * past.error / past.naive_error)
        found.append(
            sentence("the error was {share} % of that of saying last week again", share=share)
            if share < 100
            else sentence("saying last week again was as good, or better")
        )
    return tuple(found)


def _of_width(days: Sequence[DayAhead]) -> tuple[str, ...]:
    for one in days:
        if one.most[1] > _SAYS_LITTLE * max(one.expected, 2.0):
            return (sentence("from {day} on the interval is so wide that it says little", day=str(one.day)),)
    return ()
