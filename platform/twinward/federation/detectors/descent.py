"""Descent along released gradient sums, in NumPy (a coordinator needs no torch): Adam (Kingma & Ba 2015), momentum."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_FIRST: Final = 0.9
_SECOND: Final = 0.99
"""Of the squared gradient: noise dominates it and does not change, so it need not remember long."""
_TINY: Final = 1e-8


class AdamDescent:
    """Parameters that descend along sums of per-patient gradients."""

    def __init__(self, parameters: NDArray[np.float64], learning_rate: float, patients: int) -> None:
        self.parameters = parameters
        self._learning_rate = learning_rate
        self._patients = patients
        self._mean = np.zeros_like(parameters)
        self._square = np.zeros_like(parameters)
        self._steps = 0

    def learn(self, noisy_sum: NDArray[np.float64]) -> None:
        """One step."""
        gradient = noisy_sum / self._patients
        self._steps += 1
        self._mean = _FIRST * self._mean + (1 - _FIRST) * gradient
        self._square = _SECOND * self._square + (1 - _SECOND) * gradient**2
        mean = self._mean / (1 - _FIRST**self._steps)
        square = self._square / (1 - _SECOND**self._steps)
        self.parameters = self.parameters - self._learning_rate * mean / (np.sqrt(square) + _TINY)


class MomentumDescent:
    """Parameters that move along an average of recent gradients, each in units of the clip.

    For a start that is near already. Adam makes all coordinates move alike, so where there is more noise than gradient
    it walks at random; here noise moves a coordinate by as little as it is.
    """

    def __init__(self, parameters: NDArray[np.float64], learning_rate: float, patients: int, clip: float) -> None:
        self.parameters = parameters
        self._learning_rate = learning_rate
        self._unit = patients * clip
        self._velocity = np.zeros_like(parameters)

    def learn(self, noisy_sum: NDArray[np.float64]) -> None:
        """One step."""
        self._velocity = _FIRST * self._velocity + noisy_sum / self._unit
        self.parameters = self.parameters - self._learning_rate * self._velocity
