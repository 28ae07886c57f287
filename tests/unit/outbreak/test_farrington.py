"""The improved Farrington detector against another solver of its regression, and on weeks that are unusual or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import PoissonRegressor

from twinward.core.errors import BadInput
from twinward.outbreak.farrington import WEEKS, Farrington, fit_poisson, negative_binomial_quantile, weeks_of


def weeks(years: int, seed: int, mean: float = 40.0) -> list[int]:
    draws = np.random.default_rng(seed)
    place = np.arange(years * WEEKS + 10)
    expected = mean * (1 + 0.4 * np.sin(2 * np.pi * place / WEEKS)) * (1 + 0.02 * place / WEEKS)
    return [int(one) for one in draws.negative_binomial(20, 20 / (20 + expected))]


def test_the_regression_is_what_another_solver_finds() -> None:
    draws = np.random.default_rng(4)
    plain = np.column_stack([draws.normal(size=200), draws.integers(0, 2, 200)])
    observed = draws.poisson(np.exp(1.5 + plain @ np.array([0.3, -0.7]))).astype(float)
    weights = draws.uniform(0.2, 2.0, 200)
    found, mean = fit_poisson(np.column_stack([np.ones(200), plain]), observed, weights)
    other = PoissonRegressor(alpha=0, max_iter=10_000, tol=1e-12).fit(plain, observed, sample_weight=weights)
    np.testing.assert_allclose(found, [other.intercept_, *other.coef_], atol=1e-4)
    np.testing.assert_allclose(mean, np.exp(found[0] + plain @ found[1:]), rtol=1e-8)


def test_the_bound_is_a_quantile_of_a_count_of_this_mean_and_variance() -> None:
    assert negative_binomial_quantile(0.995, 40, 1) == stats.poisson.ppf(0.995, 40)
    drawn = np.random.default_rng(1).negative_binomial(40 / 2, 1 / 3, 200_000)
    assert drawn.var() == pytest.approx(3 * 40, rel=0.05)
    assert negative_binomial_quantile(0.995, 40, 3) == pytest.approx(np.quantile(drawn, 0.995), abs=2)


def test_quiet_years_are_seldom_unusual_and_an_outbreak_is() -> None:
    detector = Farrington(years=3, alpha=0.005)
    above = [detector.score(series := weeks(3, seed), len(series) - 1) > 1 for seed in range(120)]
    assert sum(above) <= 6
    series = weeks(3, 1)
    expected = detector.expected(series, len(series) - 1)
    assert 25 < expected < 70
    series[-1] = round(2.5 * expected)
    assert detector.score(series, len(series) - 1) > 1
    assert expected < detector.threshold(series, len(series) - 1) < series[-1]


def test_a_past_outbreak_hardly_raises_the_bound_and_noise_widens_it() -> None:
    detector, series = Farrington(years=4), weeks(4, 7)
    last = len(series) - 1
    before = detector.threshold(series, last)
    outbreak = list(series)
    for week in (last - 2 * WEEKS, last - 2 * WEEKS + 1):
        outbreak[week] *= 8
    assert detector.threshold(outbreak, last) < 1.35 * before
    assert Farrington(years=4, noise_variance=4000).threshold(series, last) > before + 50
    assert detector.score([one - 30 for one in series], last) < 5, "sums that noise brought below zero are judged, too"
    assert np.isfinite(detector.score([0] * len(series), last))


def test_weeks_end_with_the_last_day() -> None:
    assert weeks_of(range(1, 17)) == [sum(range(3, 10)), sum(range(10, 17))]
    assert weeks_of([1, 2]) == []


@pytest.mark.parametrize("wrong", [{"years": 1}, {"alpha": 0.0}, {"noise_variance": float("nan")}, {"limit": 0}])
def test_what_is_no_detector_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Farrington(**wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="weeks before"):
        Farrington(years=2).score([4] * 50, 49)
