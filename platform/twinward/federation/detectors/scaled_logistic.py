"""The early warning of the ICU's signals, whose inputs are scaled by what simulated stays have: few numbers, told well.

``logistic`` learns Σ z zᵀ beside Σ y z: 1,225 numbers whose noise its inverse multiplies. How inputs spread and go
together is known about well enough without any patient (``simulated_warning``: their mean m and covariance S in
SIMULATED stays), so here a patient adds two vectors only, of a = S^(-1/4) (z - m), u = (a, c), y = ±1:

    (y u, β u) / t        β = 7/10;  c: 3/10 of a's usual length;  t: so that 4 is usual

From the sums follow E u and E y u, and g = Cov(y, a) = E y a - E y E a. A score is the logistic function of the
regression of y on gᵀa, whose spread is taken from S: logit p + 2 b / (1 - ȳ²) gᵀ(a - E a).

Why the fourth root. Scaled by S^(-1/2), gᵀa is Fisher's discriminant, best where S is right; there the noise of each
small direction counts as much as that of a large one. Scaled by standard deviations alone it asks little of S, and
leaves out how inputs go together. Half of the way does nearly as well as either where that is right: the covariance of
a hospital's stays is not the simulator's. b is the slope after what noise explains of |g|² is taken away; it has no
part in who ranks above whom.

A head of a disease group is of the group's own means, drawn towards everybody's by as much as noise explains.

Models of releases before this one, whose sums are those of ``logistic``, are scored as they were.
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
from twinward.federation.detectors.logistic import CHUNK, LogisticDetector
from twinward.federation.detectors.shrinkage import group_mean
from twinward.federation.detectors.simulated_warning import KEPT, WarningView

_LEAST_SLOPE: Final = 0.05
"""Of g, where noise explains all of it: the order of scores stays."""
_MOST_SURE: Final = 0.98
"""Of |E y|: noise may leave it beyond 1."""


class ScaledLogisticDetector(LogisticDetector):
    """The early warning as a ``Detector``. Its parameters are the two sums, zero before training.

    Args:
        signals: of the blocks it learns from, the outcome included.
        view: what simulated stays have.
        spread: standard deviation of the noise in each number of the sum.
        earlier_spread: the same of a model of before, whose sums were more.
    """

    def __init__(self, signals: int, view: WarningView, *, spread: float = 0.0, earlier_spread: float = 0.0) -> None:
        super().__init__(signals, spread=spread)
        self._view = view
        self._earlier = LogisticDetector(signals, spread=earlier_spread)
        self.dimension = 2 * self._width

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Per-patient y u and β u; they depend on no parameters."""
        for start in range(0, len(blocks), CHUNK):
            part = blocks[start : start + CHUNK]
            outcome = np.sign(part[:, -1, self._inputs])[:, None]
            seen = np.abs(outcome) * self._view.scaled(self._told(part)[:, :-1])
            yield (np.concatenate([outcome * seen, KEPT * seen], axis=1) / self._view.length).astype(np.float32)

    def weights(self, parameters: Parameters) -> NDArray[np.float64]:
        """w ``[2 inputs + 1]``: of means, of last values, and the intercept. Raises as ``LogisticDetector.weights``."""
        if parameters.shape == (self._earlier.dimension,):
            return self._earlier.weights(parameters)
        if parameters.shape != (self.dimension,) or not bool(np.isfinite(parameters).all()):
            raise BadInput(f"this early warning has {self.dimension} finite sums")
        return self._head if self._head is not None else self._foretelling(parameters / self._one, self._spread)

    @property
    def head_at(self) -> NDArray[np.intp]:
        """All of a patient's numbers: there are few."""
        return np.arange(self.dimension)

    def heads(self, parameters: Parameters, sums: NDArray[np.float64], spread: float) -> Sequence[LogisticDetector]:
        """See ``LogisticDetector.heads``."""
        whole, count = parameters / self._one, max(float(parameters[-1] / self._one), 1.0)
        made = [copy(self) for _ in range(1 + len(sums))]
        for one, own in zip(made[1:], sums, strict=True):
            mean = group_mean(own / self._one, whole / count, spread / self._one)
            one._head = self._foretelling(mean, self._spread / count)
        return made

    @property
    def _one(self) -> float:
        """What a patient adds to the last number."""
        return KEPT * self._view.constant / self._view.length

    def _foretelling(self, sums: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
        """w, of sums whose last number is how many patients they are of; ``spread`` in contributions' own units."""
        count, width = float(sums[-1]), self._width
        noise = spread / self._one
        if count <= noise:
            return np.zeros(width)
        told, level = sums[:width] * KEPT * self._view.constant / count, sums[width:] * self._view.constant / count
        outcome = float(np.clip(told[-1] / self._view.constant, -_MOST_SURE, _MOST_SURE))
        pointing = told[:-1] - outcome * level[:-1]
        error = noise / count * self._view.constant * math.hypot(KEPT, outcome)
        length = float(pointing @ pointing)
        kept = max(_LEAST_SLOPE, 1 - len(pointing) * error**2 / max(length, np.finfo(np.float64).tiny))
        slope = kept * length / max(self._view.variance(pointing), np.finfo(np.float64).tiny)
        weights = self._view.root @ pointing * (2 * slope / (1 - outcome**2))
        at_mean = self._view.mean @ weights + level[:-1] @ pointing * (2 * slope / (1 - outcome**2))
        return np.append(weights, math.log((1 + outcome) / (1 - outcome)) - at_mean)
