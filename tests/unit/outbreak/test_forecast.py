"""Forecasts of daily sums: against a particle filter, on simulated cities, and where there is nothing to forecast."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward.core.errors import BadInput
from twinward.outbreak.count_models import CountModels
from twinward.outbreak.daily_series import DailySeries, series_of_lines
from twinward.outbreak.errors import NothingToForecast, OutbreakInvalid
from twinward.outbreak.forecast import forecast, forecasts_after
from twinward.outbreak.forecast_report import report_on
from twinward.outbreak.forecast_score import last_week_again, past_forecasts, usual_difference
from twinward.outbreak.seir import Epidemic, background, cases

FIRST = date(2026, 1, 5)  # a Monday


def series(counts: Sequence[int | None], variance: float = 0.0) -> DailySeries:
    return DailySeries(FIRST, tuple(counts), (variance,) * len(counts))


def city(days: int, seed: int, variance: float = 0.0, everyday: float = 60.0) -> list[int]:
    draws = np.random.default_rng(seed)
    exact = background(Epidemic(everyday=everyday), days, draws)
    return [int(one) for one in exact + np.rint(draws.normal(0, math.sqrt(variance), days))]


def test_each_model_knows_what_a_particle_filter_of_it_knows() -> None:
    """Slow and obvious: draw states, weigh them by the likelihood of what was seen."""
    counts = [20, 31, 18, 40, 44, 35, 30, 41, 52, 47]
    noise, models = 30.0, CountModels(math.log(25))
    for place, count in enumerate(counts):
        models.step()
        models.learn(place % 7, count, noise)
    grid = list(itertools.product((0.003, 0.01, 0.03, 0.06), (0.9, 0.97), (0.0, 0.02, 0.1)))
    draws, many = np.random.default_rng(3), 300_000
    for number in (0, 7, 16, 23):
        liveliness, damping, varying = grid[number]
        weekdays = draws.normal(0, 0.3, (many, 7))
        weekdays -= weekdays.mean(1, keepdims=True)
        level, growth = draws.normal(math.log(25), 1.0, many), draws.normal(0, 0.05, many)
        log_weights = np.zeros(many)
        for place, count in enumerate(counts):
            growth = damping * growth + draws.normal(0, liveliness, many)
            level = level + growth
            mean = np.exp(level + weekdays[:, place % 7])
            spread = mean + mean**2 * varying + noise + 1 / 12
            log_weights += -0.5 * ((count - mean) ** 2 / spread + np.log(spread))
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        by_hand = float(weights @ level)
        deviation = math.sqrt(float(weights @ (level - by_hand) ** 2))
        assert models.mean[number, 0] == pytest.approx(by_hand, abs=0.05)
        assert math.sqrt(models.spread[number, 0, 0]) == pytest.approx(deviation, rel=0.15)
        assert models.mean[number, 1] == pytest.approx(float(weights @ growth), abs=0.01)


def test_weekdays_and_growth_are_carried_on() -> None:
    weekly = [80, 90, 100, 110, 100, 40, 30] * 8
    days = forecast(series(weekly), 14)
    assert [one.day for one in days] == [FIRST + timedelta(days=56 + number) for number in range(14)]
    for one, usual in zip(days, weekly, strict=False):
        assert one.expected == pytest.approx(usual, rel=0.15)
        assert one.most[0] < usual < one.most[1]
    growing = [round(10 * math.exp(0.07 * day)) for day in range(40)]
    assert growing[-1] < forecast(series(growing), 7)[6].expected < 1.8 * growing[-1]


def test_forecasts_beat_last_week_again_and_their_intervals_hold_on_simulated_cities() -> None:
    errors, naive, held, half = [], [], [], []
    for seed in range(40):
        counts = city(70, seed, variance=39.0)
        before = series(counts[:56], 39.0)
        for one, again, seen in zip(forecast(before, 14), last_week_again(before, 14), counts[56:], strict=True):
            errors.append(abs(one.expected - seen))
            naive.append(abs((again or 0) - seen))
            held.append(one.released[0] <= seen <= one.released[1])
            half.append(one.half[0] <= seen <= one.half[1])
    assert np.mean(errors) < 0.85 * np.mean(naive)
    assert np.mean(held) > 0.93
    assert 0.4 < np.mean(half) < 0.75


def test_an_outbreak_is_followed() -> None:
    draws = np.random.default_rng(5)
    counts = background(Epidemic(), 84, draws)
    counts[26:] += cases(Epidemic(), 58, draws)
    days, then = forecast(series([int(one) for one in counts[:77]]), 7), counts[77:]
    assert days[6].expected > 2 * counts[:26].mean()
    assert sum(one.most[0] <= seen <= one.most[1] for one, seen in zip(days, then, strict=True)) >= 6


def test_noise_and_missing_days_widen_what_is_forecast() -> None:
    counts: list[int | None] = list(city(56, 2))
    plain = forecast(series(counts, 400.0), 7)[0]
    assert plain.released[1] - plain.released[0] > plain.most[1] - plain.most[0] + 20
    gap = [*counts[:51], None, None, None, None, None]
    assert forecast(series(gap), 7)[0].expected == pytest.approx(forecast(series(counts), 7)[0].expected, rel=0.4)
    assert forecast(series(counts), 7) == forecast(series(counts), 7)
    widths = []
    for seed in range(20):
        whole = city(56, seed)
        for known in (whole, [*whole[:50], *[None] * 6]):
            low, high = forecast(series(known), 1)[0].most
            widths.append(high - low)
    assert sum(widths[1::2]) > 1.1 * sum(widths[::2])


@pytest.mark.parametrize(
    ("counts", "variance", "why"),
    [
        ([9] * 20, 0.0, "20 days are known, 21 are needed"),
        ([], 0.0, "0 days are known"),
        ([9] * 40 + [None] * 7, 0.0, "of the last 7 days none is known"),
        ([9, None, None] * 30, 0.0, "of 90 days 30 are known"),
        ([0] * 60, 0.0, "nothing stands out"),
        ([-3, 2, 1] * 20, 39.0, "nothing stands out from noise and chance: about 3 cases a day at most"),
        ([-9] * 60, 39.0, "nothing stands out"),
    ],
)
def test_where_nothing_is_to_be_forecast_it_says_why(counts: list[int | None], variance: float, why: str) -> None:
    with pytest.raises(NothingToForecast, match=why):
        forecast(series(counts, variance), 7)
    report = report_on("influenza", series(counts or [None], variance), 7)
    assert (report.days, report.past, report.shown().get("days")) == ((), None, None)
    assert report.nothing


@given(
    st.lists(st.one_of(st.none(), st.integers(-60, 400)), max_size=80),
    st.sampled_from([0.0, 39.0, 1e4]),
    st.integers(1, 14),
)
@settings(deadline=None, max_examples=60)
def test_whatever_was_released_intervals_are_ordered_counts(
    counts: list[int | None], variance: float, ahead: int
) -> None:
    try:
        days = forecast(series(counts, variance), ahead)
    except NothingToForecast:
        return
    assert len(days) == ahead
    for one in days:
        assert 0 <= one.most[0] <= one.half[0] <= one.expected <= one.half[1] <= one.most[1] < 1 << 53
        assert one.released[0] <= one.released[1]


@pytest.mark.parametrize("ahead", [0, 15, -1])
def test_no_more_than_a_fortnight_is_forecast(ahead: int) -> None:
    with pytest.raises(BadInput, match="1 to 14 days"):
        forecast(series([9] * 40), ahead)


def test_past_forecasts_see_only_what_was_known_then() -> None:
    counts = city(70, 9)
    found = forecasts_after(series(counts), 7, (0, 14))
    altered = forecasts_after(series([*counts[:56], *[500] * 14]), 7, (0, 14))
    assert found[14] == altered[14]
    assert found[0] != altered[0]
    assert found[14] == forecast(series(counts[:56]), 7)


def test_scores_by_hand() -> None:
    assert last_week_again(series([1, 2, 3, 4, 5, 6, 7, 8, None]), 9) == [3, 4, 5, 6, 7, 8, 2, 3, 4]
    assert last_week_again(series([1, 2]), 7) == [None, None, None, None, None, 1, 2]
    assert usual_difference(series([1, 2, 3, 4, 5, 6, 7, 4, None, 8])) == pytest.approx((3 + 5) / 2)
    assert usual_difference(series([5] * 30)) == 1.0
    assert usual_difference(series([5] * 7)) is None
    steady = past_forecasts(series([50] * 60))
    assert steady is not None
    assert (steady.days, steady.naive_error, steady.held) == (35, 0.0, 1.0)
    assert steady.error < 2
    assert past_forecasts(series([50] * 22)) is None


def test_remarks_say_what_a_forecast_stands_on() -> None:
    counts: list[int | None] = list(city(70, 4, variance=39.0, everyday=10.0))
    counts[30] = None
    said = report_on("measles", series(counts, 39.0), 14).remarks()
    assert "each sum bears noise of a standard deviation of 6 cases" in said
    assert "1 day is missing" in said
    assert any(one.endswith("sums lie below zero: that is their noise") for one in said)
    assert any(one.startswith("of 49 days") or one.startswith("of 48 days") for one in said)
    assert any("so wide" in one for one in report_on("", series([3] * 53 + [2, 0, 9, 20, 40, 70, 160]), 14).remarks())


def test_lines_may_leave_days_out() -> None:
    found = series_of_lines(b"2026-01-30,5\n2026-01-31,\n2026-02-03,-2\n", 39.0)
    assert (found.first_day, found.last_day) == (date(2026, 1, 30), date(2026, 2, 3))
    assert found.counts == (5, None, None, None, -2)
    assert found.variances == (39.0,) * 5
    assert (found.known, found.weekday(0), found.weekday(5)) == (2, 4, 2)
    assert found.last(2) == DailySeries(date(2026, 2, 2), (None, -2), (39.0, 39.0))


@pytest.mark.parametrize(
    "content",
    [
        *("", "x", "2026-01-01", "2026-13-01,5", "2026-01-02,5\n2026-01-01,5", "2026-01-01,5\n2026-01-01,5"),
        *("2026-01-01,٣", "1969-12-31,5", "1970-01-01,5\n2036-01-01,5", "2026-01-01,1000000001", "2026-01-01,5,6"),
        *("a,b\x00", "9999-12-31,5"),
    ],
)
def test_what_is_no_series_is_refused(content: str) -> None:
    with pytest.raises(OutbreakInvalid):
        series_of_lines(content.encode(), 0.0)


@pytest.mark.parametrize("variance", [math.nan, math.inf, 1e300, -1.0])
def test_noise_of_no_variance_is_refused(variance: float) -> None:
    with pytest.raises(OutbreakInvalid, match="variance"):
        series_of_lines(b"2026-01-31,57\n", variance)
