"""How good a forecast was: its error beside that of last week said again, and how often its intervals held.

The scale of errors is that of Hyndman and Koehler 2006 (International Journal of Forecasting 22, 679-688): the mean
absolute difference of a day from the same weekday a week before, in the history. A scaled error (MASE) of 1 is an error
as large as that difference usually is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from twinward.outbreak.daily_series import DailySeries
from twinward.outbreak.forecast import DayAhead, forecasts_after

WEEK: Final = 7
MOST_WEEKS: Final = 8


@dataclass(frozen=True, slots=True)
class PastForecasts:
    """What forecasts would have been worth that were made at earlier weeks' ends, of the week that followed each.

    Attributes:
        days: how many days were forecast and then known.
        error: MASE of the forecasts.
        naive_error: of last week said again, on the same days.
        held: the share of these days whose sum lay in the interval of 95 %.
    """

    days: int
    error: float
    naive_error: float
    held: float

    def shown(self) -> dict[str, Any]:
        """For programs."""
        errors = {"mase": self.error, "seasonal_naive_mase": self.naive_error}
        return {"days": self.days, **errors, "held_95": self.held}


def past_forecasts(series: DailySeries) -> PastForecasts | None:
    """Forecasts of each of the last weeks, eight at most, each of what was known before it.

    None where too little lies before the last week for a single one.
    """
    scale = usual_difference(series)
    length = len(series.counts)
    weeks = [WEEK * number for number in range(1, MOST_WEEKS + 1) if WEEK * number < length]
    if scale is None:
        return None
    errors: list[float] = []
    naive_errors: list[float] = []
    held: list[bool] = []
    for back, days in forecasts_after(series, WEEK, weeks).items():
        again = last_week_again(series.until(length - back), WEEK)
        for one, naive, seen in zip(days, again, series.counts[length - back :], strict=False):
            if seen is not None and naive is not None:
                errors.append(abs(one.expected - seen) / scale)
                naive_errors.append(abs(naive - seen) / scale)
                held.append(holds(one, seen))
    return PastForecasts(len(held), fmean(errors), fmean(naive_errors), fmean(held)) if held else None


def holds(foretold: DayAhead, released: int) -> bool:
    """Whether a day's sum, its noise with it, lies in the interval of 95 %."""
    return foretold.released[0] <= released <= foretold.released[1]


def last_week_again(series: DailySeries, ahead: int) -> list[int | None]:
    """The seasonal naive forecast: each day as the newest known one of its weekday; None where none is known."""
    length = len(series.counts)
    found: list[int | None] = []
    for day in range(ahead):
        places = range(length + day % WEEK - WEEK, -1, -WEEK)
        found.append(next((one for place in places if (one := series.counts[place]) is not None), None))
    return found


def usual_difference(series: DailySeries) -> float | None:
    """The scale of errors: by how much a day differs from a week before, on average.

    It is one case where no day differed, and None where no two known days are a week apart.
    """
    pairs: Sequence[tuple[int | None, int | None]] = list(zip(series.counts[WEEK:], series.counts, strict=False))
    differences = [abs(one - before) for one, before in pairs if one is not None and before is not None]
    return (fmean(differences) or 1.0) if differences else None
