"""A logistic early warning, learnt from one private sum: the functional mechanism (Zhang et al., PVLDB 5:1364, 2012).

The schema's last signal is the outcome (of ``icu-outcome``: death in hospital); it is no input. A stay is told by z:
each other signal's mean over the bins, its last value, and 1. The logistic loss log(1 + e^(-y z·w)), y = ±1, is to
second order log 2 - y z·w / 2 + (z·w)² / 8, so its sum over patients is told by Σ y z and Σ z zᵀ: a patient contributes
these, κ y z and the upper triangle of z zᵀ, to one sum. The minimum is w = 2 (Σ z zᵀ + λ)⁻¹ Σ y z, λ half of √d times
the spread of the noise, which is public. Descent over many rounds does worse at ε = 1: its noise adds up.

A head of a disease group (``grouped``) is of Σ y z and Σ z over the group alone, above the covariance of z that all
patients share: w = (E z zᵀ + λ)⁻¹ (2 E y z + λ w₀), drawn towards the weights w₀ of all by a ridge λ of half of √d
times the spread of the noise in its means.

Whose outcome is missing (0 between the ±1 of a block) contributes nothing. A score is 1 / (1 + e^(-z·w)), the foretold
chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.detectors.detector import Blocks, Parameters
from twinward.federation.detectors.dp_var import gram_matrix, upper_of
from twinward.federation.detectors.shrinkage import group_mean

_KAPPA: Final = 3.0
"""Of y z beside z zᵀ: there are fewer of them, and all of the direction comes from them."""
_LEAST_RIDGE: Final = 1e-6
"""Of the number of patients: so that inputs that never change do no harm without noise either."""
CHUNK: Final = 512
"""Patients whose contributions are held at once."""


class LogisticDetector:
    """The early warning as a ``Detector``. Its parameters are the released sums, zero before training.

    Args:
        signals: of the blocks it learns from, the outcome included.
        spread: standard deviation of the noise in each number of the sum; 0 where it is trained in the open.
    """

    def __init__(self, signals: int, *, spread: float = 0.0) -> None:
        if signals < 2:
            raise BadInput("an early warning needs a signal beside its outcome")
        self._inputs = signals - 1
        self._width = 2 * self._inputs + 1
        self._spread = spread
        self._head: NDArray[np.float64] | None = None
        self.dimension = self._width + upper_of(self._width)

    def untrained(self) -> Parameters:
        """No sums."""
        return np.zeros(self.dimension)

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Per-patient κ y z and z zᵀ; they depend on no parameters."""
        row, column = np.triu_indices(self._width)
        for start in range(0, len(blocks), CHUNK):
            part = blocks[start : start + CHUNK]
            told, outcome = self._told(part), np.sign(part[:, -1, self._inputs])[:, None]
            squares = told[:, row] * told[:, column] * np.abs(outcome)
            yield np.concatenate([_KAPPA * outcome * told, squares], axis=1).astype(np.float32)

    def summed(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """The plain sum: for training in the open."""
        chunks = [chunk.sum(0, dtype=np.float64) for chunk in self.contributions(parameters, blocks)]
        total: NDArray[np.float64] = np.sum([np.zeros(self.dimension), *chunks], axis=0)
        return total

    def learner(self) -> OneSum:
        """A fresh start."""
        return OneSum(self.untrained())

    def scores(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """The outcome's chance ``[patients]``, ½ where nothing was learnt. Raises ``BadInput``: no such parameters."""
        odds = self._told(blocks).astype(np.float64) @ self.weights(parameters)
        chances: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
        return chances

    def by_signal(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """What each signal adds to the log odds ``[patients, signals]``; nothing of the outcome's own."""
        parts = (self._told(blocks) * self.weights(parameters))[:, :-1].reshape(len(blocks), 2, self._inputs).sum(1)
        return np.pad(parts, ((0, 0), (0, blocks.shape[2] - self._inputs)))

    def weights(self, parameters: Parameters) -> NDArray[np.float64]:
        """w ``[2 inputs + 1]``: of means, of last values, and the intercept.

        Raises:
            BadInput: not this detector's sums, or not finite.
        """
        if parameters.shape != (self.dimension,) or not bool(np.isfinite(parameters).all()):
            raise BadInput(f"this early warning has {self.dimension} finite sums")
        if self._head is not None:
            return self._head
        squares = gram_matrix(parameters[self._width :])
        ridge = self._ridge(self._spread) + _LEAST_RIDGE * max(float(squares[-1, -1]), 1.0)
        return _solved(squares, ridge, 2 * parameters[: self._width] / _KAPPA)

    @property
    def head_at(self) -> NDArray[np.intp]:
        """Where a patient's numbers are κ y z and z, whose last is 1: what a head is made of."""
        ends = np.cumsum(np.arange(self._width, 0, -1)) - 1
        return np.concatenate([np.arange(self._width), self._width + ends])

    def heads(self, parameters: Parameters, sums: NDArray[np.float64], spread: float) -> Sequence[LogisticDetector]:
        """Of those in no group, as of all patients; then of each group.

        Args:
            parameters: of all patients.
            sums: of each group ``[groups, len(head_at)]``.
            spread: standard deviation of the noise in each of these.
        """
        squares = gram_matrix(parameters[self._width :])
        count = max(float(squares[-1, -1]), 1.0)
        everybody = squares[-1] / count
        within = squares / count - np.outer(everybody, everybody)
        made = [copy(self) for _ in range(1 + len(sums))]
        for one, own in zip(made[1:], sums, strict=True):
            one._head = weights = self.weights(parameters)
            if (patients := float(own[-1])) > max(spread, 1.0):
                mean = group_mean(own[self._width :], everybody, spread)
                ridge = self._ridge(spread) / patients + _LEAST_RIDGE
                told = 2 * own[: self._width] / _KAPPA / patients
                one._head = _solved(within + np.outer(mean, mean), ridge, told + ridge * weights)
        return made

    def _ridge(self, spread: float) -> float:
        return 0.5 * spread * math.sqrt(self._width)

    def _told(self, blocks: Blocks) -> NDArray[np.float32]:
        """z ``[patients, 2 inputs + 1]``."""
        if blocks.ndim != 3 or blocks.shape[2] not in (self._inputs, self._inputs + 1):
            raise BadInput(f"an early warning looks at {self._inputs} signals")
        inputs = blocks[:, :, : self._inputs]
        return np.concatenate([inputs.mean(1), inputs[:, -1], np.ones((len(blocks), 1), np.float32)], axis=1)


def _solved(squares: NDArray[np.float64], ridge: float, told: NDArray[np.float64]) -> NDArray[np.float64]:
    """(squares + ridge)⁻¹ told, where noise may have left squares with eigenvalues below zero."""
    values, vectors = np.linalg.eigh(squares)
    found: NDArray[np.float64] = vectors @ ((vectors.T @ told) / (np.maximum(values, 0) + ridge))
    return found


class OneSum:
    """A learner whose parameters are the one sum that was released."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def learn(self, noisy_sum: NDArray[np.float64]) -> None:
        """Keep the sum."""
        self.parameters = noisy_sum.copy()
