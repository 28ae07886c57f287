"""DP-VAR: a vector autoregression learnt from one private sum of per-patient moments.

A patient contributes the upper triangle of Σ_t z_t z_tᵀ with z_t = (x_t, κ Δ_t, 1), Δ_t = x_{t+1} - x_t. Hour-to-hour
changes are small beside levels, so κ weighs them up before clipping: the same noise then hurts them less. From the
noisy sum follow the means, W = Cov(Δ, x) Cov(x)⁻¹ and the residual covariance Σ; the score of a stay is its mean
Mahalanobis residual over time, i.e. how far the body departs from what its twin foretells. Eigenvalues are floored at
public constants: noise may push them below zero. Without training, W is 0 and Σ the identity.

How much noise there is in each number is public, so each covariance is drawn towards what is known without any patient
(James & Stein 1961): target + max(0, 1 - E|noise|²/|found - target|²) (found - target). The target is what simulated
stays have (``simulated_moments``), where signals are the ICU's; otherwise the found variances without covariances. All
of it is post-processing of the one private sum.

A head of a disease group (``grouped``) has a mean level of its own, and shares W and Σ, which are then those within
groups: Σ x and the count are few numbers, and a small group's tell something where its covariances would be noise.

A patient of one step (a table's row), or of one signal (a heartbeat, whose bins are then its columns), has no changes
to foretell: z = (κ x, 1), W is 0, and the score is the Mahalanobis distance of x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.detectors.detector import Blocks, Parameters
from twinward.federation.detectors.shrinkage import drawn_towards, group_mean

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
        spread: standard deviation of the noise in each moment it is trained to; 0 where it is trained in the open.
        target: moments that covariances are drawn towards; none for variances only.
    """

    dimension: int = upper_of(2 * 24 + 1)
    """Of the 24 signals of the ICU; one with other signals has its own."""

    def __init__(
        self, bins: int = 12, signals: int = 24, *, spread: float = 0.0, target: Parameters | None = None
    ) -> None:
        self._spread, self._target = spread, target
        self._group: _Group | None = None
        self._columns = bins if signals == 1 else signals
        self._rows = bins == 1 or signals == 1
        self._width = self._columns + 1 if self._rows else 2 * self._columns + 1
        self.dimension = upper_of(self._width)

    @property
    def is_of_rows(self) -> bool:
        """Whether what it sees has no changes: a table's rows, or one signal."""
        return self._rows

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
        """Mean Mahalanobis residual of each stay: squares would let one bad hour outweigh a bad day."""
        means: NDArray[np.float64] = np.sqrt(self.fitted(parameters).residuals(self._seen(blocks))).mean(1)
        return means

    def fitted(self, parameters: Parameters) -> VarModel:
        """What its parameters describe, given the noise there is in them."""
        return fit(parameters, rows=self._rows, spread=self._spread, target=self._target, group=self._group)

    @property
    def head_at(self) -> NDArray[np.intp]:
        """Where a patient's moments are Σ x and, last, the number of steps: what a head is made of."""
        ends = np.cumsum(np.arange(self._width, 0, -1)) - 1
        return ends[[*range(self._columns), -1]]

    def heads(self, parameters: Parameters, sums: NDArray[np.float64], spread: float) -> Sequence[DpVarDetector]:
        """Of those in no group, then of each group: its mean level, and the covariances within all groups.

        Args:
            parameters: of all patients.
            sums: of each group ``[groups, len(head_at)]``.
            spread: standard deviation of the noise in each of these.
        """
        if not parameters.any():
            return [self] * (1 + len(sums))
        whole = parameters[self.head_at]
        count = max(float(whole[-1]), 1.0)
        everybody, rest = whole / count, whole - sums.sum(0)
        noises = [math.hypot(self._spread, spread * math.sqrt(len(sums))), *[spread] * len(sums)]
        means = [group_mean(one, everybody, noise) for one, noise in zip([rest, *sums], noises, strict=True)]
        apart = (np.array(means) - everybody)[:, :-1]
        shares = np.clip(np.array([rest[-1], *sums[:, -1]]) / count, 0, 1)
        between = np.einsum("g,gi,gj->ij", shares, apart, apart)
        made = [copy(self) for _ in means]
        for one, mean in zip(made, means, strict=True):
            one._group = _Group(mean[:-1], between)
        return made

    def by_signal(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """What of each score is each signal's ``[patients, signals]``; they sum to it.

        Of each step's residual a signal has the share that its square has of all squares. Residuals are whitened
        symmetrically (ZCA), which keeps each whitened number nearest to its own signal (Kessy, Lewin & Strimmer, The
        American Statistician 72:309, 2018).
        """
        model = self.fitted(parameters)
        turned = model.whitening / np.linalg.norm(model.whitening, axis=0)
        squared = (model.whitened(self._seen(blocks)) @ turned.T) ** 2
        residuals = np.sqrt(squared.sum(2, keepdims=True))
        parts: NDArray[np.float64] = (squared / np.maximum(residuals, np.finfo(np.float64).tiny)).mean(1)
        return parts if blocks.shape[2] == self._columns else parts.sum(1, keepdims=True)

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


@dataclass(frozen=True)
class _Moments:
    """Means and covariances of levels x and changes Δ; of rows, of x alone (as ``changes``)."""

    mean_level: NDArray[np.float64]
    mean_change: NDArray[np.float64]
    levels: NDArray[np.float64]
    cross: NDArray[np.float64]
    changes: NDArray[np.float64]
    count: float

    @classmethod
    def read(cls, moments: Parameters, *, rows: bool) -> _Moments:
        full = gram_matrix(moments)
        v = len(full) - 1 if rows else (len(full) - 1) // 2
        if v < 1 or len(full) != (v if rows else 2 * v) + 1:
            raise BadInput("these are not dp-var's moments")
        count = max(float(full[-1, -1]), 1.0)  # the last moment counts patient-steps
        full = full / count
        x, delta = slice(0, 0 if rows else v), slice(0 if rows else v, len(full) - 1)
        level, change = full[x, -1], full[delta, -1] / _KAPPA
        return cls(
            level,
            change,
            full[x, x] - np.outer(level, level),
            full[delta, x] / _KAPPA - np.outer(change, level),
            full[delta, delta] / _KAPPA**2 - np.outer(change, change),
            count,
        )

    def of_group(self, group: _Group) -> _Moments:
        """With a group's mean, and covariances within groups."""
        if not len(self.mean_level):  # of rows
            return replace(self, mean_change=group.mean / _KAPPA, changes=self.changes - group.between / _KAPPA**2)
        return replace(self, mean_level=group.mean, levels=self.levels - group.between)

    def drawn_towards(self, target: _Moments | None, spread: float) -> _Moments:
        """With covariances shrunk by as much as noise of ``spread`` in each moment explains them."""
        noise = spread / self.count
        levels, cross, changes = (None,) * 3 if target is None else (target.levels, target.cross, target.changes)
        return replace(
            self,
            levels=_shrunk(self.levels, levels, noise),
            cross=_shrunk(self.cross, cross, noise / _KAPPA),
            changes=_shrunk(self.changes, changes, noise / _KAPPA**2),
        )


def _shrunk(found: NDArray[np.float64], target: NDArray[np.float64] | None, noise: float) -> NDArray[np.float64]:
    if found.size == 0 or noise == 0:
        return found
    if target is not None:
        return drawn_towards(found, target, noise)
    return drawn_towards(found, np.diag(np.diag(found)), noise, found.size - len(found))


@dataclass(frozen=True)
class _Group:
    """The mean x of a disease group, and the covariance of the means of all of them."""

    mean: NDArray[np.float64]
    between: NDArray[np.float64]


def fit(
    moments: Parameters,
    *,
    rows: bool = False,
    spread: float = 0.0,
    target: Parameters | None = None,
    group: _Group | None = None,
) -> VarModel:
    """The autoregression that moments describe, however noisy.

    Args:
        moments: the upper triangle of Σ z zᵀ.
        rows: whether they are of rows, which have no changes.
        spread: standard deviation of the noise in each of them.
        target: moments of as many that are drawn towards, as far as noise explains the difference.
        group: whose it is, where all patients' moments have groups.

    Raises:
        BadInput: not a triangle of such a width, or not finite.
    """
    if moments.ndim != 1 or not bool(np.isfinite(moments).all()):
        raise BadInput("dp-var has finite moments")
    public = None if target is None else _Moments.read(target, rows=rows)
    found = _Moments.read(moments, rows=rows)
    v = len(found.mean_change)
    if not moments.any():
        return VarModel(np.zeros((v, v)), np.zeros(v), np.zeros(v), np.eye(v))
    found = (found if group is None else found.of_group(group)).drawn_towards(public, spread)
    if rows:
        return VarModel(np.zeros((v, v)), np.zeros(v), found.mean_change, _whitening(found.changes))
    values, vectors = np.linalg.eigh(found.levels)
    W = found.cross @ ((vectors / (np.maximum(values, _LEVEL_FLOOR) + _RIDGE)) @ vectors.T)
    through = W @ found.cross.T
    residual = found.changes - through - through.T + W @ found.levels @ W.T
    return VarModel(W, found.mean_level, found.mean_change, _whitening(residual))


def _whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    whitening: NDArray[np.float64] = vectors / np.sqrt(np.maximum(values, _RESIDUAL_FLOOR))
    return whitening
