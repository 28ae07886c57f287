"""Forecasts on the console's page of outbreaks: a picture and a table of each syndrome, and what they stand on."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

from twinward.console.plots import Fan, fan
from twinward.console.viewer import Language, gettext, in_words, number, viewer
from twinward.core.sentences import sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinward.outbreak.forecast import DayAhead
    from twinward.outbreak.forecast_report import SyndromeForecast

AHEAD: Final = 14
_DAYS_SEEN: Final = 42
_TICK_DAYS: Final = 14
_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)


def shown_forecast(one: SyndromeForecast) -> dict[str, Any]:
    """For the page's template."""
    said = {
        "syndrome": one.syndrome,
        "after": _ms(one.series.last_day),
        "remarks": one.remarks(),
        "nothing": one.nothing,
        "hint": one.hint,
        "days": [],
    }
    if one.nothing:
        return said
    days = [
        {
            "day": _ms(day.day),
            "expected": day.expected,
            "half": _range(day.half),
            "most": _range(day.most),
            "released": _range(day.released),
        }
        for day in one.days
    ]
    return said | {"picture": fan(_fan(one), in_words(_sentence(one))), "days": days}


def _sentence(one: SyndromeForecast) -> str:
    """What the picture says, for whoever does not see it."""
    last: DayAhead = one.days[-1]
    return sentence(
        "{syndrome}: in {days} days {expected} cases a day are expected, {low} to {high} with 95 %",
        syndrome=one.syndrome,
        days=len(one.days),
        expected=last.expected,
        low=last.most[0],
        high=last.most[1],
    )


def _fan(one: SyndromeForecast) -> Fan:
    seen = one.series.last(_DAYS_SEEN)
    first, german = _day(seen.first_day), viewer().language is Language.GERMAN
    known = tuple((first + place, count) for place, count in enumerate(seen.counts) if count is not None)
    ahead = tuple(_day(day.day) for day in one.days)
    form = "%d.%m." if german else "%m-%d"
    at: Sequence[int] = range(ahead[-1] - _TICK_DAYS * ((ahead[-1] - first) // _TICK_DAYS), ahead[-1] + 1, _TICK_DAYS)
    return Fan(
        known,
        ahead,
        tuple(day.expected for day in one.days),
        tuple(day.half for day in one.days),
        tuple(day.most for day in one.days),
        tuple((day, date.fromordinal(_EPOCH.toordinal() + day).strftime(form)) for day in at),
        gettext("cases a day"),
        german,
    )


def _range(ends: tuple[int, int]) -> str:
    return gettext("{low} to {high}").format(low=number(ends[0]), high=number(ends[1]))


def _day(when: date) -> int:
    return when.toordinal() - _EPOCH.toordinal()


def _ms(when: date) -> int:
    """The day's noon in UTC: the same day wherever on Earth it is read, but for its farthest islands."""
    return _day(when) * _DAY_MS + _DAY_MS // 2
