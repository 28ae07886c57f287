"""What an early warning's inputs are in SIMULATED stays: a scale for them that asks nothing of any patient.

``simulated_warning.npz`` holds, for each number of bins that 48 hours divide into, the mean of z without its 1, the
fourth root of its covariance's inverse, the directions that stays move in, what tells simulated outcomes, and two
lengths (see ``scaled_logistic``), float32, as ``simulate`` makes them. They are kept in a file so that a model scores
the same wherever it is opened, and all hospitals add up the same numbers.
``python -m twinward.federation.detectors.simulated_warning`` writes it anew.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.features.signal_schema import ICU_OUTCOME
from twinward.federation.detectors.detector import normalise
from twinward.federation.stays.simulated import simulate_signals, simulate_stays

KEPT: Final = 0.7
"""β: of inputs beside inputs with their outcome."""
MOMENTS: Final = 0.42
"""γ: of how inputs go together."""
SIZE: Final = 0.1
"""δ: of how far inputs are from their mean."""
_CONSTANT: Final = 0.3
_FLOOR: Final = 0.1
"""Of the median eigenvalue: directions that simulated stays hardly move in are scaled up no further."""
_MOVING: Final = 0.2
"""Of the median eigenvalue: how inputs go together is learnt in directions that move so much. Tried on the training
part of the public stays of 2012."""
_USUAL_NORM: Final = 4.0
"""Of a contribution: the clip that a protocol of an early warning has unless it says another."""
_FILE: Final = "simulated_warning.npz"
_KEPT_ARRAYS: Final = ("mean", "root", "directions", "foretelling", "lengths")
_BINS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 48)
_SEED: Final = 88
_SEVERITIES: Final = (0.3, 0.45, 0.6)
_STAYS_EACH: Final = 1500
_OUTCOMES: Final = 9000
_RIDGE: Final = 0.02


@dataclass(frozen=True, eq=False)
class WarningView:
    """How inputs are scaled.

    Attributes:
        mean: m ``[inputs]``.
        root: S^(-1/4) ``[inputs, inputs]``, symmetric.
        directions: Q ``[inputs, k]``, orthonormal: those of a in which how inputs go together is learnt.
        foretelling: v ``[inputs]``: by what of a simulated outcomes are told.
        constant: c.
        length: t, by which contributions are divided.
    """

    mean: NDArray[np.float64] = field(repr=False)
    root: NDArray[np.float64] = field(repr=False)
    directions: NDArray[np.float64] = field(repr=False)
    foretelling: NDArray[np.float64] = field(repr=False)
    constant: float
    length: float

    @property
    def usual(self) -> float:
        """Length of a."""
        return self.constant / _CONSTANT

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Of a, S^(-1/4) S S^(-1/4): root⁻²."""
        inverse = np.linalg.inv(self.root)
        return inverse @ inverse

    def scaled(self, told: NDArray[np.float32]) -> NDArray[np.float64]:
        """u ``[patients, inputs + 1]`` of inputs ``[patients, inputs]``."""
        a = (told - self.mean) @ self.root
        return np.concatenate([a, np.full((len(a), 1), self.constant)], axis=1)

    def squares(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """δ |a|² and γ b bᵀ over a's usual length, b = Qᵀa: upper triangles; ``[patients, 1 + k (k + 1) / 2]`` of u."""
        a = scaled[:, :-1]
        row, column = np.triu_indices(self.directions.shape[1])
        turned = a @ self.directions
        size = SIZE / self.usual * (a**2).sum(1, keepdims=True)
        return np.concatenate([size, turned[:, row] * turned[:, column] * (MOMENTS / self.usual)], axis=1)


@functools.cache
def simulated_warning(bins: int) -> WarningView | None:
    """The view of ICU stays cut into ``bins``; none for another number than 48 hours divide into."""
    if bins not in _BINS:
        return None
    with resources.files(__package__).joinpath(_FILE).open("rb") as file, np.load(file, allow_pickle=False) as kept:
        mean, root, turn, told, lengths = (kept[f"{name}_{bins}"].astype(np.float64) for name in _KEPT_ARRAYS)
    return WarningView(mean, root, turn, told, float(lengths[0]), float(lengths[1]))


def simulate(bins: int) -> WarningView:
    """The same, made anew."""
    blocks = np.concatenate(
        [
            normalise(simulate_stays(_STAYS_EACH, _SEED + index, severity=severity), bins)
            for index, severity in enumerate(_SEVERITIES)
        ]
    )
    told = np.concatenate([blocks.mean(1), blocks[:, -1]], axis=1).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(told.T))
    root = (vectors * np.maximum(values, _FLOOR * np.median(values)) ** -0.25) @ vectors.T
    usual = float(np.median(np.linalg.norm((told - told.mean(0)) @ root, axis=1)))
    constant = _CONSTANT * usual
    vectors_alone = float(np.hypot(1, KEPT) * np.hypot(usual, constant))
    length = math.hypot(vectors_alone, MOMENTS * usual / math.sqrt(2)) / _USUAL_NORM  # |b bᵀ| is |b|²; its half, /√2
    moving = vectors[:, values >= _MOVING * np.median(values)]
    return WarningView(told.mean(0), root, moving, _foretelling(bins, told.mean(0), root), constant, length)


def _foretelling(bins: int, mean: NDArray[np.float64], root: NDArray[np.float64]) -> NDArray[np.float64]:
    """(Cov(a) + λ)⁻¹ Cov(y, a) of stays with simulated outcomes."""
    blocks = normalise(simulate_signals(ICU_OUTCOME, _OUTCOMES, _SEED), bins, ICU_OUTCOME)
    inputs, outcome = blocks[:, :, :-1], blocks[:, -1, -1].astype(np.float64)
    a = (np.concatenate([inputs.mean(1), inputs[:, -1]], axis=1) - mean) @ root
    pointing = ((outcome - outcome.mean())[:, None] * a).mean(0)
    found: NDArray[np.float64] = np.linalg.solve(np.cov(a.T) + _RIDGE * np.eye(len(mean)), pointing)
    return found


def _arrays() -> dict[str, NDArray[np.float32]]:
    found = {}
    for bins in _BINS:
        view = simulate(bins)
        lengths = np.array([view.constant, view.length])
        arrays = (view.mean, view.root, view.directions, view.foretelling, lengths)
        for name, one in zip(_KEPT_ARRAYS, arrays, strict=True):
            found[f"{name}_{bins}"] = one.astype(np.float32)
    return found


if __name__ == "__main__":
    with resources.as_file(resources.files(__package__).joinpath(_FILE)) as path:
        np.savez(path, allow_pickle=False, **_arrays())
