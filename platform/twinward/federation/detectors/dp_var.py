"""DP-VAR: a vector autoregression learnt from one private sum of per-patient moments.

A patient contributes the upper triangle of Σ_t z_t z_tᵀ with z_t = (x_t, κ Δ_t, 1), Δ_t = x_{t+1} - x_t. Hour-to-hour
changes are small beside levels, so κ weighs them up before clipping: the same noise then hurts them less. From the
noisy sum follow the means, W = Cov(Δ, x) Cov(x)⁻¹ and the residual covariance Σ; the score of a stay is its mean
squared Mahalanobis residual over time, i.e. how far the body departs from what its twin foretells. Eigenvalues are
floored at public constants: noise may push them below zero. Without training, W is 0 and Σ the identity.

A patient of one step (a table's row), or of one signal (a heartbeat, whose bins are then its columns), has no changes
to foretell: z = (κ x, 1), W is 0, and the score is the squared Mahalanobis distance of x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.detectors.detector import Blocks, Parameters

_KAPPA: Final = 3.0
_RIDGE: Final = 0.02
"""Added to Cov(x): shrinks W where the noise leaves directions of x undetermined."""
_LEVEL_FLOOR: Final = 1e-3
_RESIDUAL_FLOOR: Final = 5e-4
"""(0.09 half-ranges)²: charts are not read more finely than that."""
_CHUNK: Final = 512


def upper_of(width: int) -> int:
    """How many numbers the upper triangle of a square matrix has, its diagonal included."""
    return width * (width + 1) // 2


@dataclass(frozen=True)
class VarModel:
    """What follows from the moments: ``W`` [V, V], the means, and Σ as whitening ``[V, V]``."""

    W: NDArray[np.float64]
    mean_level: NDArray[np.float64]
    mean_change: NDArray[np.float64]
    whitening: NDArray[np.float64]

    def residuals(self, blocks: Blocks) -> NDArray[np.float64]:
        """Squared Mahalanobis residuals ``[patients, bins - 1]``; of rows ``[patients, 1, V]`` their distances."""
        squared: NDArray[np.float64] = (self.whitened(blocks) ** 2).sum(2)
        return squared

    def whitened(self, blocks: Blocks) -> NDArray[np.float64]:
        """What squares and sums to ``residuals``, ``[patients, bins - 1, V]``."""
        levels = blocks.astype(np.float64)
        if levels.shape[1] == 1:
            return (levels - self.mean_change) @ self.whitening
        changes = np.diff(levels, axis=1)
        surprise = changes - self.mean_change - (levels[:, :-1] - self.mean_level) @ self.W.T
        return surprise @ self.whitening


class DpVarDetector:
    """DP-VAR as a ``Detector``. Its parameters are the released moments, zero before training.

    Args:
        bins, signals: of the blocks it is given.
    """

    dimension: int = upper_of(2 * 24 + 1)
    """Of the 24 signals of the ICU; one with other signals has its own."""

    def __init__(self, bins: int = 12, signals: int = 24) -> None:
        self._columns = bins if signals == 1 else signals
        self._rows = bins == 1 or signals == 1
        self.dimension = upper_of(self._columns + 1 if self._rows else 2 * self._columns + 1)

    def untrained(self) -> Parameters:
        """No moments."""
        return np.zeros(self.dimension)

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Per-patient moments; they depend on no parameters."""
        for start in range(0, len(blocks), _CHUNK):
            steps = self._steps(blocks[start : start + _CHUNK])
            row, column = np.triu_indices(steps.shape[2])
            yield np.einsum("nti,ntj->nij", steps, steps)[:, row, column].astype(np.float32)

    def summed(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """The plain sum of all moments: for training in the open."""
        chunks = [chunk.sum(0, dtype=np.float64) for chunk in self.contributions(parameters, blocks)]
        total: NDArray[np.float64] = np.sum(chunks, axis=0, dtype=np.float64)
        return total

    def learner(self) -> DpVarLearner:
        """A fresh start."""
        return DpVarLearner(self.untrained())

    def scores(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """Mean squared Mahalanobis residual of each stay."""
        means: NDArray[np.float64] = fit(parameters, rows=self._rows).residuals(self._seen(blocks)).mean(1)
        return means

    def _seen(self, blocks: Blocks) -> Blocks:
        """Blocks as moments are taken of: what has no changes to foretell is one row."""
        return blocks.reshape(len(blocks), 1, self._columns) if self._rows else blocks

    def _steps(self, blocks: Blocks) -> Blocks:
        """The z of each step ``[patients, steps, width]``."""
        levels = self._seen(blocks)
        if self._rows:
            return np.concatenate([_KAPPA * levels, np.ones((len(levels), 1, 1), np.float32)], axis=2)
        ones = np.ones((*levels[:, 1:].shape[:2], 1), np.float32)
        return np.concatenate([levels[:, :-1], _KAPPA * np.diff(levels, axis=1), ones], axis=2)


class DpVarLearner:
    """Its parameters are the sum itself."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def learn(self, noisy_sum: NDArray[np.float64]) -> None:
        """Keep the sum."""
        self.parameters = noisy_sum.copy()


def gram_matrix(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ z zᵀ, symmetric ``[w, w]``, from its upper triangle. Raises ``BadInput``: not one."""
    width = (math.isqrt(8 * len(moments) + 1) - 1) // 2
    if upper_of(width) != len(moments):
        raise BadInput("moments are the upper triangle of a matrix")
    full = np.zeros((width, width))
    full[np.triu_indices(width)] = moments
    return full + np.triu(full, 1).T


def fit(moments: Parameters, *, rows: bool = False) -> VarModel:
    """The autoregression that moments describe, however noisy.

    Args:
        moments: the upper triangle of Σ z zᵀ.
        rows: whether they are of rows, which have no changes.

    Raises:
        BadInput: not a triangle of such a width, or not finite.
    """
    if moments.ndim != 1 or not bool(np.isfinite(moments).all()):
        raise BadInput("dp-var has finite moments")
    full = gram_matrix(moments)
    v = len(full) - 1 if rows else (len(full) - 1) // 2
    if v < 1 or len(full) != (v if rows else 2 * v) + 1:
        raise BadInput("these are not dp-var's moments")
    if not moments.any():
        return VarModel(np.zeros((v, v)), np.zeros(v), np.zeros(v), np.eye(v))
    full = full / max(full[-1, -1], 1.0)  # the last moment counts patient-steps
    if rows:
        mean = full[:-1, -1] / _KAPPA
        return VarModel(
            np.zeros((v, v)), np.zeros(v), mean, _whitening(full[:-1, :-1] / _KAPPA**2 - np.outer(mean, mean))
        )
    levels, changes = slice(0, v), slice(v, 2 * v)
    mean_level, mean_change = full[levels, -1], full[changes, -1] / _KAPPA
    level_covariance = full[levels, levels] - np.outer(mean_level, mean_level)
    cross = full[changes, levels] / _KAPPA - np.outer(mean_change, mean_level)
    change_covariance = full[changes, changes] / _KAPPA**2 - np.outer(mean_change, mean_change)
    values, vectors = np.linalg.eigh(level_covariance)
    W = cross @ ((vectors / (np.maximum(values, _LEVEL_FLOOR) + _RIDGE)) @ vectors.T)
    residual = change_covariance - W @ cross.T
    return VarModel(W, mean_level, mean_change, _whitening(residual))


def _whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    whitening: NDArray[np.float64] = vectors / np.sqrt(np.maximum(values, _RESIDUAL_FLOOR))
    return whitening
