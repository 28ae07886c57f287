"""The early warning of the ICU's signals, beside what simulated stays have: few numbers, told well.

``logistic`` learns Σ y z and Σ z zᵀ: 1,225 numbers whose noise its inverse multiplies. How inputs spread, go together
and tell outcomes is known about well enough without any patient (``simulated_warning``: their mean m and covariance S
in SIMULATED stays), so here a patient adds, of a = S^(-1/4) (z - m), u = (a, c), y = ±1, and b = Qᵀa in the k
directions that stays move in:

    (y u, β u, δ |a|² / l, γ b bᵀ / l) / t        β = 7/10;  δ = 1/10;  γ = 42/100;  l: a's usual length;
                                                  c: 3/10 of it;  t: so that 4 is usual

From the sums follow E u and E y u, g = Cov(y, a) = E y a - E y E a, and C = Cov(a): what S says it is, as large as |a|²
says, drawn towards what b tells by as much as noise leaves (``shrinkage``).

**Which way.** g = C w + noise, w what foretells y. The noise is known: (1 - ȳ²) C / n of patients' chance, and of what
was added s² in g and, through w, in C. w is expected to be a multiple of v, which tells simulated outcomes (κ₀ v, by
regression; none where that would turn it around), and to depart from it by variance τ² in each direction alike. Its
mean given g is κ₀ v + C (C² + ((1 - ȳ²) C / n + s²) / τ²)⁻¹ (g - κ₀ C v) (Wiener), and τ² follows from
|g - κ₀ C v|² (James & Stein 1961). Nothing is left to choose. Why the fourth root: scaled by S^(-1/2) the noise of each
small direction would count as much as that of a large one, and S is the simulator's; unscaled, small ones are lost.

**Chances.** With κ the regression of y on w, the log odds are α + ωᵀ(a - E a), ω = ς 2 κ w / (1 - ȳ²) as a discriminant
has them, but for ς = 4/5, and α = logit(p) √(1 + π ωᵀC ω / 8), so that over a normal ωᵀa the chances are p on average
(MacKay 1992). It is all of the same sums, and costs nothing more.

A head of a disease group is of the group's own means, drawn towards everybody's by as much as noise explains.

Models of releases before this one, whose sums are those of ``logistic``, are scored as they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.detectors.detector import Blocks, Parameters
from twinward.federation.detectors.dp_var import gram_matrix, upper_of
from twinward.federation.detectors.logistic import CHUNK, LogisticDetector
from twinward.federation.detectors.shrinkage import group_mean, share_kept
from twinward.federation.detectors.simulated_warning import KEPT, MOMENTS, SIZE, WarningView

_MOST_SURE: Final = 0.98
"""Of |E y|: noise may leave it beyond 1."""
_SURE: Final = 0.8
"""Of a discriminant's log odds: stays are not normal, and a direction that was found is worse than it looks. It is the
same on the training part of the public stays of 2012 at ε = 1 from 900 to 4,200 patients."""
_SIZES: Final = (0.25, 8.0)
"""Times simulated stays' variance, that stays may have."""
_LEAST_STRENGTH: Final = 0.01
"""Of what noise explains of g: less of it is not told from none."""
_FLOOR: Final = 0.1
"""Of the median eigenvalue of Cov(a): noise may leave it without."""


class ScaledLogisticDetector(LogisticDetector):
    """The early warning as a ``Detector``. Its parameters are the sums, zero before training.

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
        self.dimension = 2 * self._width + 1 + upper_of(view.directions.shape[1])

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        """Per-patient y u, β u, δ |a|² and γ b bᵀ; they depend on no parameters."""
        for start in range(0, len(blocks), CHUNK):
            part = blocks[start : start + CHUNK]
            outcome = np.sign(part[:, -1, self._inputs])[:, None]
            scaled = self._view.scaled(self._told(part)[:, :-1])
            seen = np.abs(outcome)
            parts = [outcome * scaled, KEPT * seen * scaled, seen * self._view.squares(scaled)]
            yield (np.concatenate(parts, axis=1) / self._view.length).astype(np.float32)

    def weights(self, parameters: Parameters) -> NDArray[np.float64]:
        """w ``[2 inputs + 1]``: of means, of last values, and the intercept. Raises as ``LogisticDetector.weights``."""
        if parameters.shape == (self._earlier.dimension,):
            return self._earlier.weights(parameters)
        if parameters.shape != (self.dimension,) or not bool(np.isfinite(parameters).all()):
            raise BadInput(f"this early warning has {self.dimension} finite sums")
        if self._head is not None:
            return self._head
        sums = parameters / self._one
        return self._foretelling(sums[: 2 * self._width], self._spread, self._together(sums))

    @property
    def head_at(self) -> NDArray[np.intp]:
        """A patient's two vectors; how inputs go together is shared."""
        return np.arange(2 * self._width)

    def heads(self, parameters: Parameters, sums: NDArray[np.float64], spread: float) -> Sequence[LogisticDetector]:
        """See ``LogisticDetector.heads``."""
        whole = parameters / self._one
        vectors = whole[: 2 * self._width]
        count, together = max(float(vectors[-1]), 1.0), self._together(whole)
        made = [copy(self) for _ in range(1 + len(sums))]
        for one, own in zip(made[1:], sums, strict=True):
            mean = group_mean(own / self._one, vectors / count, spread / self._one)
            one._head = self._foretelling(mean, self._spread / count, together)
        return made

    @property
    def _one(self) -> float:
        """What a patient adds to the last number of the two vectors."""
        return KEPT * self._view.constant / self._view.length

    def _together(self, sums: NDArray[np.float64]) -> _Together:
        """How inputs go together, of sums in patients."""
        view, count = self._view, float(sums[2 * self._width - 1])
        noise, known = self._spread / self._one, view.covariance
        if count <= noise:
            return _Together(known, view.foretelling, 0.0)
        one = KEPT * view.constant * view.usual / count
        level = sums[self._width : 2 * self._width - 1] * view.constant / count
        size = float(sums[2 * self._width]) * one / SIZE - float(level @ level)
        known *= float(np.clip(size / np.trace(known), *_SIZES))
        turned, error = view.directions.T @ level, noise * one / MOMENTS
        target = view.directions.T @ known @ view.directions
        upper = np.triu_indices(len(target))
        apart = sums[2 * self._width + 1 :] * one / MOMENTS - (np.outer(turned, turned) + target)[upper]
        kept = share_kept(apart, error)
        told = known + view.directions @ gram_matrix(kept * apart) @ view.directions.T
        values, vectors = np.linalg.eigh(told)
        least = _FLOOR * float(np.median(np.linalg.eigvalsh(known)))
        covariance = (vectors * np.maximum(values, least)) @ vectors.T
        return _Together(covariance, view.foretelling, kept * error * math.sqrt(len(target)))

    def _foretelling(self, sums: NDArray[np.float64], spread: float, together: _Together) -> NDArray[np.float64]:
        """w, of two vectors' sums whose last number is how many patients they are of.

        Args:
            sums: in patients.
            spread: of their noise, in contributions' own units.
            together: how a goes together.
        """
        count, width = float(sums[-1]), self._width
        noise = spread / self._one
        if count <= noise:
            return np.zeros(width)
        told, level = sums[:width] * KEPT * self._view.constant / count, sums[width:] * self._view.constant / count
        outcome = float(np.clip(told[-1] / self._view.constant, -_MOST_SURE, _MOST_SURE))
        pointing = told[:-1] - outcome * level[:-1]
        error = noise / count * self._view.constant * math.hypot(KEPT, outcome)
        either = 1 - outcome**2
        direction = together.foretelling(pointing, error, either / count)
        spreads = max(float(direction @ together.covariance @ direction), np.finfo(np.float64).tiny)
        odds = direction * (_SURE * float(direction @ pointing) / spreads * 2 / either)
        weights = self._view.root @ odds
        at_mean = self._view.mean @ weights + level[:-1] @ odds
        sure = math.sqrt(1 + math.pi / 8 * float(odds @ together.covariance @ odds))
        return np.append(weights, math.log((1 + outcome) / (1 - outcome)) * sure - at_mean)


@dataclass(frozen=True, eq=False)
class _Together:
    """What is known before g is looked at.

    Attributes:
        covariance: C ``[inputs, inputs]``, of a.
        expected: v ``[inputs]``, which w is drawn towards.
        noise: in a number of C w for each standard deviation of w.
    """

    covariance: NDArray[np.float64]
    expected: NDArray[np.float64]
    noise: float

    def foretelling(self, pointing: NDArray[np.float64], error: float, chance: float) -> NDArray[np.float64]:
        """w.

        Args:
            pointing: g.
            error: standard deviation of the noise in each of its numbers.
            chance: (1 - ȳ²) / n.
        """
        told = self.covariance @ self.expected
        usual = max(float(self.expected @ pointing) / float(self.expected @ told), 0.0) * self.expected
        values, vectors = np.linalg.eigh(self.covariance)
        left = vectors.T @ (pointing - self.covariance @ usual)
        explained = len(values) * error**2 + chance * float(values.sum())
        strength = max(float(left @ left) - explained, _LEAST_STRENGTH * explained) / float((values**2).sum())
        noise = (chance * values + error**2) / strength + self.noise**2
        found: NDArray[np.float64] = usual + vectors @ (left * values / (values**2 + noise))
        return found
