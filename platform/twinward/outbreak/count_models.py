"""Models of daily counts with noise, over a grid, filtered side by side and weighed by what they foretold.

A dynamic generalised linear model (West, Harrison, Migon 1985, JASA 80, 73-83): the logarithm of the mean has a level,
a daily growth that is damped (Gardner, McKenzie 1985, Management Science 31, 1237-1246), and an effect of the weekday.
A day's cases are negative binomial around the mean; its sum bears noise of a known variance besides. A sum below zero
is what it is: a low count with noise. How lively the growth is, how fast it is damped and how much counts vary is not
known: models over a grid are weighed by how well they foretold each day before it was seen, lately more than long ago
(Raftery, Kárný, Ettler 2010, Technometrics 52, 52-66).
"""

from __future__ import annotations

import itertools
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_LIVELINESS: Final = (0.003, 0.01, 0.03, 0.06)
"""Standard deviations by which the daily growth changes from a day to the next."""
_DAMPING: Final = (0.9, 0.97)
_VARYING: Final = (0.0, 0.02, 0.1)
"""1/k of the negative binomial: a count's variance is mean + mean²/k."""
_FORGETTING: Final = 0.95
"""What a day leaves of what models earned before: a quiet spring must not outweigh an outbreak that begins."""
_WEEKDAY_SD, _GROWTH_SD, _LEVEL_SD = 0.3, 0.05, 1.0
_STATE: Final = 9
"""Level, growth, seven weekdays."""
_NODES: Final = np.linspace(-6.0, 6.0, 61)
_MOST_LOG: Final = math.log(1e10)
_DRAWS: Final = 8000


class CountModels:
    """The grid's models.

    Attributes:
        log_weights: ``[models]``, of how well each foretold, up to a constant.
        mean, spread: ``[models, 9]`` and ``[models, 9, 9]``: what each knows of level, growth and seven weekdays.
    """

    def __init__(self, level: float) -> None:
        """``level`` is where the logarithm of the mean is thought to begin, within a factor of e or so."""
        grid = np.array(list(itertools.product(_LIVELINESS, _DAMPING, _VARYING)))
        self._liveliness, self._damping, self._varying = grid.T
        self.log_weights: Numbers = np.zeros(len(grid))
        self.mean: Numbers = np.zeros((len(grid), _STATE))
        self.mean[:, 0] = level
        weekdays = _WEEKDAY_SD**2 * (np.eye(7) - 1 / 7)  # they add up to nothing
        start = np.zeros((_STATE, _STATE))
        start[0, 0], start[1, 1], start[2:, 2:] = _LEVEL_SD**2, _GROWTH_SD**2, weekdays
        self.spread: Numbers = np.repeat(start[None], len(grid), axis=0)
        self._move = np.repeat(np.eye(_STATE)[None], len(grid), axis=0)
        self._move[:, 1, 1] = self._move[:, 0, 1] = self._damping

    def step(self) -> None:
        """A day passes: growth is damped and changes, and moves the level; what models earned fades."""
        self.log_weights *= _FORGETTING
        self.mean = np.einsum("mij,mj->mi", self._move, self.mean)
        self.spread = self._move @ self.spread @ self._move.transpose(0, 2, 1)
        changes = self._liveliness[:, None, None] ** 2
        self.spread[:, :2, :2] += changes

    def learn(self, weekday: int, count: float, noise: float) -> None:
        """A day's sum is seen: what is known of the log mean, by quadrature; the state follows it linearly."""
        row = self.spread[:, 0] + self.spread[:, 2 + weekday]
        variance = np.maximum(row[:, 0] + row[:, 2 + weekday], 1e-12)
        before = self.mean[:, 0] + self.mean[:, 2 + weekday]
        log_means = before[:, None] + np.sqrt(variance)[:, None] * _NODES
        means = np.exp(np.clip(log_means, -30.0, _MOST_LOG))
        spread = means + means**2 * self._varying[:, None] + noise + 1 / 12  # counts are whole: Sheppard's correction
        likelihood = -0.5 * ((count - means) ** 2 / spread + np.log(2 * np.pi * spread))
        joint = likelihood - 0.5 * _NODES**2
        top = joint.max(1, keepdims=True)
        shares = np.exp(joint - top)
        total = shares.sum(1)
        self.log_weights += top[:, 0] + np.log(total)
        shares /= total[:, None]
        after = (shares * log_means).sum(1)
        left = (shares * (log_means - after[:, None]) ** 2).sum(1)
        gain = row / variance[:, None]
        self.mean += gain * (after - before)[:, None]
        self.spread -= np.einsum("mi,mj->mij", gain, gain) * (variance - left)[:, None, None]

    def draw(self, ahead: int, weekday: int) -> Numbers:
        """Draws of the cases of the days that follow, the first of which is this weekday: ``[days, draws]``."""
        draws = np.random.default_rng(0)
        weights = np.exp(self.log_weights - self.log_weights.max())
        chosen = draws.choice(len(weights), _DRAWS, p=weights / weights.sum())
        roots = np.array([_root(one) for one in self.spread])
        state = self.mean[chosen] + np.einsum("dij,dj->di", roots[chosen], draws.normal(size=(_DRAWS, _STATE)))
        level, growth, damping = state[:, 0], state[:, 1], self._damping[chosen]
        found = np.empty((ahead, _DRAWS))
        for day in range(ahead):
            growth = damping * growth + self._liveliness[chosen] * draws.normal(size=_DRAWS)
            level = level + growth
            mean = np.exp(np.clip(level + state[:, 2 + (weekday + day) % 7], -30.0, _MOST_LOG))
            found[day] = draws.poisson(mean * _varied(self._varying[chosen], draws))
        return found


def _varied(varying: Numbers, draws: np.random.Generator) -> Numbers:
    """What a mean is multiplied by, so that a Poisson count of it is negative binomial: gamma, of mean 1."""
    shape = 1 / np.maximum(varying, 1e-9)
    found: Numbers = np.where(varying > 0, draws.gamma(shape) / shape, 1.0)
    return found


def _root(spread: Numbers) -> Numbers:
    """A matrix whose square is a covariance, which may be singular."""
    values, vectors = np.linalg.eigh((spread + spread.T) / 2)
    found: Numbers = vectors * np.sqrt(np.maximum(values, 0.0))
    return found
