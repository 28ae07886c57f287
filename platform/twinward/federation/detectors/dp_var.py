"""DP-VAR: a vector autoregression learnt from one private sum of per-patient moments.

A patient contributes the upper triangle of Σ_t z_t z_tᵀ with z_t = (x_t, κ Δ_t, 1), Δ_t = x_{t+1} - x_t. Hour-to-hour
changes are small beside levels, so κ weighs them up before clipping: the same noise then hurts them less. From the
noisy sum follow the means, W = Cov(Δ, x) Cov(x)⁻¹ and the residual covariance Σ; the score of a stay is its mean
squared Mahalanobis residual over time, i.e. how far the body departs from what its twin foretells. Eigenvalues are
floored at public constants: noise may push them below zero. Without training, W is 0 and Σ the identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.features.monitored_stays import SIGNALS
from twinward.federation.detectors.detector import Blocks, Parameters

_V: Final = len(SIGNALS)
_WIDTH: Final = 2 * _V + 1
_UPPER: Final = np.triu_indices(_WIDTH)
_KAPPA: Final = 3.0
_RIDGE: Final = 0.02
"""Added to Cov(x): shrinks W where the noise leaves directions of x undetermined."""
_LEVEL_FLOOR: Final = 1e-3
_RESIDUAL_FLOOR: Final = 5e-4
"""(0.09 half-ranges)²: charts are not read more finely than that."""
_CHUNK: Final = 512


@dataclass(frozen=True)
class VarModel:
    """What follows from the moments: ``W`` [V, V], the means, and Σ as whitening ``[V, V]``."""

    W: NDArray[np.float64]
    mean_level: NDArray[np.float64]
    mean_change: NDArray[np.float64]
    whitening: NDArray[np.float64]

    def residuals(self, blocks: Blocks) -> NDArray[np.float64]:
        """Squared Mahalanobis residuals ``[patients, bins - 1]``."""
        levels = blocks.astype(np.float64)
        changes = np.diff(levels, axis=1)
        surprise = changes - self.mean_change - (levels[:, :-1] - self.mean_level) @ self.W.T
        squared: NDArray[np.float64] = ((surprise @ self.whitening) ** 2).sum(2)
        return squared


class DpVarDetector:
    """DP-VAR as a ``Detector``. Its parameters are the released moments, zero before training."""

    dimension: Final = len(_UPPER[0])

    def untrained(self) -> Parameters:
        """No moments."""
        return np.zeros(self.dimension)

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Per-patient moments; they depend on no parameters."""
        for start in range(0, len(blocks), _CHUNK):
            levels = blocks[start : start + _CHUNK]
            ones = np.ones((*levels[:, 1:].shape[:2], 1), np.float32)
            steps = np.concatenate([levels[:, :-1], _KAPPA * np.diff(levels, axis=1), ones], axis=2)
            yield np.einsum("nti,ntj->nij", steps, steps)[:, _UPPER[0], _UPPER[1]].astype(np.float32)

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
        means: NDArray[np.float64] = fit(parameters).residuals(blocks).mean(1)
        return means


class DpVarLearner:
    """Its parameters are the sum itself."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def learn(self, noisy_sum: NDArray[np.float64]) -> None:
        """Keep the sum."""
        self.parameters = noisy_sum.copy()


def gram_matrix(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ z zᵀ, symmetric ``[49, 49]``, from its upper triangle ``[1225]``."""
    full = np.zeros((_WIDTH, _WIDTH))
    full[_UPPER] = moments
    return full + np.triu(full, 1).T


def fit(moments: Parameters) -> VarModel:
    """The autoregression that moments ``[1225]`` describe, however noisy.

    Raises:
        BadInput: not that many, or not finite.
    """
    if moments.shape != (len(_UPPER[0]),) or not bool(np.isfinite(moments).all()):
        raise BadInput(f"dp-var has {len(_UPPER[0])} finite moments")
    if not moments.any():
        return VarModel(np.zeros((_V, _V)), np.zeros(_V), np.zeros(_V), np.eye(_V))
    full = gram_matrix(moments)
    full = full / max(full[-1, -1], 1.0)  # the last moment counts patient-steps
    levels, changes = slice(0, _V), slice(_V, 2 * _V)
    mean_level, mean_change = full[levels, -1], full[changes, -1] / _KAPPA
    level_covariance = full[levels, levels] - np.outer(mean_level, mean_level)
    cross = full[changes, levels] / _KAPPA - np.outer(mean_change, mean_level)
    change_covariance = full[changes, changes] / _KAPPA**2 - np.outer(mean_change, mean_change)
    values, vectors = np.linalg.eigh(level_covariance)
    W = cross @ ((vectors / (np.maximum(values, _LEVEL_FLOOR) + _RIDGE)) @ vectors.T)
    residual = change_covariance - W @ cross.T
    values, vectors = np.linalg.eigh((residual + residual.T) / 2)
    return VarModel(W, mean_level, mean_change, vectors / np.sqrt(np.maximum(values, _RESIDUAL_FLOOR)))
