"""The improved Farrington detector: whether a week lies above what the same weeks of earlier years let expect.

After Farrington, Andrews, Beale, Catchpole 1996 and Noufaily and others 2013 (Statistics in Medicine 32(7), 1206-1222;
``farringtonFlexible`` of R's surveillance, Salmon, Schumacher, Höhle 2016): a quasi-Poisson regression with a trend and
a season of ten levels over several years without the last half year, in which past outbreaks (Anscombe residuals above
2.58) weigh less, fitted anew; the bound is a quantile of the negative binomial with the fitted mean and dispersion.

Counts here may bear noise of a known variance. It is in the history, so the fitted dispersion has it on average; the
dispersion is never taken below that of a Poisson count of the expected mean with this noise. A sum that noise brought
below zero counts as 0 in the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput

Numbers = NDArray[np.float64]

WEEKS: Final = 52
_LEVELS: Final = 10
_HALF_WINDOW: Final = 3
_LEFT_OUT: Final = 26
"""Weeks before the judged one that are not looked at: a running outbreak would hide itself."""
_RESIDUAL: Final = 2.58
_MOST_STEPS: Final = 50


@dataclass(frozen=True, slots=True)
class Farrington:
    """A detector of weekly counts. ``score`` is (count - expected) / (bound - expected): above 1 is above the bound.

    Attributes:
        years: of history, from 2; 5 as published.
        alpha: how often a quiet week lies above its bound.
        noise_variance: of each week's count.
    """

    years: int = 5
    alpha: float = 0.005
    noise_variance: float = 0.0
    limit: float = 1.0

    def __post_init__(self) -> None:
        """Raises ``BadInput``."""
        if not 2 <= self.years <= 20 or not 1e-9 <= self.alpha <= 0.2 or not 0 <= self.noise_variance < 1e18:
            raise BadInput("a history of 2 to 20 years, and an alpha of at most 0.2")
        if not 0 < self.limit < 1e6:
            raise BadInput("a limit lies above 0")

    @property
    def days_needed(self) -> int:
        """How many weeks before one can be judged; a week is this detector's day."""
        return self.years * WEEKS + _HALF_WINDOW

    def score(self, counts: Sequence[float], week: int) -> float:
        """How far ``counts[week]`` lies between the expected and the bound. Raises ``BadInput``: too little history."""
        expected, bound = self._judged(counts, week)
        return (counts[week] - expected) / (bound - expected)

    def threshold(self, counts: Sequence[float], week: int) -> float:
        """The count from which a week lies above the limit. Raises as ``score``."""
        expected, bound = self._judged(counts, week)
        return expected + self.limit * (bound - expected)

    def expected(self, counts: Sequence[float], week: int) -> float:
        """What the history lets expect. Raises as ``score``."""
        return self._judged(counts, week)[0]

    def _judged(self, counts: Sequence[float], week: int) -> tuple[float, float]:
        """The expected count of a week, and its bound."""
        if not self.days_needed <= week < len(counts):
            raise BadInput(f"{self.days_needed} weeks before one are needed to judge it")
        first = week - self.years * WEEKS - _HALF_WINDOW
        weeks = np.arange(first, week - _LEFT_OUT)
        observed = np.maximum(np.asarray(counts, np.float64)[weeks], 0.0)
        season, trend = _season_of(weeks - week), (weeks - week) / WEEKS
        design = np.column_stack([np.ones(len(weeks)), trend, *(season == level for level in range(1, _LEVELS))])
        weights = np.ones(len(weeks))
        coefficients, mean = fit_poisson(design, observed, weights)
        dispersion = _dispersion(design, observed, mean, weights)
        weights = _less_for_outbreaks(design, observed, mean, weights, dispersion)
        coefficients, mean = fit_poisson(design, observed, weights)
        expected = float(np.exp(np.clip(coefficients[0], -30.0, 30.0)))  # trend 0, season level 0: the judged week
        dispersion = max(_dispersion(design, observed, mean, weights), 1.0 + self.noise_variance / expected)
        return expected, max(negative_binomial_quantile(1 - self.alpha, expected, dispersion), expected + 1e-9)


def weeks_of(daily: Sequence[int]) -> list[int]:
    """Sums of seven days that end with the last one, the oldest first; days that make no whole week are left out."""
    return [sum(daily[start : start + 7]) for start in range(len(daily) % 7, len(daily), 7)]


def _season_of(before: NDArray[np.int64]) -> NDArray[np.int64]:
    """A week's level by its distance from the judged one: 0 is the judged one's own window, each year."""
    place = before % WEEKS
    around = np.minimum(place, WEEKS - place) <= _HALF_WINDOW
    rest = WEEKS - 2 * _HALF_WINDOW - 1
    level = 1 + (np.clip(place - _HALF_WINDOW - 1, 0, rest - 1) * (_LEVELS - 1)) // rest
    found: NDArray[np.int64] = np.where(around, 0, level)
    return found


def fit_poisson(design: Numbers, observed: Numbers, weights: Numbers) -> tuple[Numbers, Numbers]:
    """A weighted Poisson regression with log link, by iteratively reweighted least squares.

    Args:
        design: ``[n, p]``.
        observed: ``[n]``, not negative.
        weights: ``[n]``, above 0.

    Returns:
        Coefficients ``[p]`` and fitted means ``[n]``.
    """
    mean: Numbers = np.maximum(observed, 0.1)
    coefficients: Numbers = np.zeros(design.shape[1])
    for _ in range(_MOST_STEPS):
        linear = np.log(mean)
        root = np.sqrt(weights * mean)
        working = linear + (observed - mean) / mean
        found = np.linalg.lstsq(design * root[:, None], working * root, rcond=None)[0].astype(np.float64)
        settled = np.allclose(found, coefficients, rtol=1e-10, atol=1e-10)
        coefficients = found
        mean = np.exp(np.clip(design @ coefficients, -30.0, 30.0))
        if settled:
            break
    return coefficients, mean


def _dispersion(design: Numbers, observed: Numbers, mean: Numbers, weights: Numbers) -> float:
    """Pearson's, 1 at least."""
    left: int = max(len(observed) - design.shape[1], 1)
    return max(float((weights * (observed - mean) ** 2 / mean).sum()) / left, 1.0)


def _less_for_outbreaks(
    design: Numbers, observed: Numbers, mean: Numbers, weights: Numbers, dispersion: float
) -> Numbers:
    """Weights by standardised Anscombe residuals, which sum to the number of weeks: above 2.58 by their square."""
    root = np.sqrt(weights * mean)
    leverage = (np.linalg.qr(design * root[:, None])[0] ** 2).sum(1)
    spread = np.sqrt(dispersion * np.clip(1 - leverage, 1e-6, 1.0))
    residual = 1.5 * (observed ** (2 / 3) * mean ** (-1 / 6) - mean**0.5) / spread
    raw = np.where(residual > _RESIDUAL, np.maximum(residual, _RESIDUAL) ** -2.0, 1.0)
    found: Numbers = raw * len(raw) / raw.sum()
    return found


def negative_binomial_quantile(share: float, mean: float, dispersion: float) -> float:
    """The quantile of a count of this mean and of variance dispersion · mean; Poisson where that is the mean."""
    from scipy import stats  # a second that only this detector waits for

    if dispersion <= 1 + 1e-9:
        return float(stats.poisson.ppf(share, mean))
    return float(stats.nbinom.ppf(share, mean / (dispersion - 1), 1 / dispersion))
