"""What an early warning's inputs are in SIMULATED stays: a scale for them that asks nothing of any patient.

``simulated_warning.npz`` holds, for each number of bins that 48 hours divide into, the mean of z without its 1, the
fourth root of its covariance's inverse, and two lengths (see ``scaled_logistic``), float32, as ``simulate`` makes them.
They are kept in a file so that a model scores the same wherever it is opened.
``python -m twinward.federation.detectors.simulated_warning`` writes it anew.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.federation.detectors.detector import normalise
from twinward.federation.stays.simulated import simulate_stays

KEPT: Final = 0.7
"""β: of inputs beside inputs with their outcome."""
_CONSTANT: Final = 0.3
_FLOOR: Final = 0.1
"""Of the median eigenvalue: directions that simulated stays hardly move in are scaled up no further."""
_USUAL_NORM: Final = 4.0
"""Of a contribution: the clip that a protocol of an early warning has unless it says another."""
_FILE: Final = "simulated_warning.npz"
_BINS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 48)
_SEED: Final = 88
_SEVERITIES: Final = (0.3, 0.45, 0.6)
_STAYS_EACH: Final = 1500


@dataclass(frozen=True, eq=False)
class WarningView:
    """How inputs are scaled.

    Attributes:
        mean: m ``[inputs]``.
        root: S^(-1/4) ``[inputs, inputs]``, symmetric.
        constant: c.
        length: t, by which contributions are divided.
    """

    mean: NDArray[np.float64] = field(repr=False)
    root: NDArray[np.float64] = field(repr=False)
    constant: float
    length: float

    def scaled(self, told: NDArray[np.float32]) -> NDArray[np.float64]:
        """u ``[patients, inputs + 1]`` of inputs ``[patients, inputs]``."""
        a = (told - self.mean) @ self.root
        return np.concatenate([a, np.full((len(a), 1), self.constant)], axis=1)

    def variance(self, pointing: NDArray[np.float64]) -> float:
        """Of gᵀa, a of covariance S^(-1/4) S S^(-1/4) = root⁻²."""
        return float((np.linalg.solve(self.root, pointing) ** 2).sum())


@functools.cache
def simulated_warning(bins: int) -> WarningView | None:
    """The view of ICU stays cut into ``bins``; none for another number than 48 hours divide into."""
    if bins not in _BINS:
        return None
    with resources.files(__package__).joinpath(_FILE).open("rb") as file, np.load(file, allow_pickle=False) as kept:
        mean, root, lengths = (kept[f"{name}_{bins}"].astype(np.float64) for name in ("mean", "root", "lengths"))
    return WarningView(mean, root, float(lengths[0]), float(lengths[1]))


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
    length = float(np.hypot(1, KEPT) * np.hypot(usual, constant)) / _USUAL_NORM
    return WarningView(told.mean(0), root, constant, length)


def _arrays() -> dict[str, NDArray[np.float32]]:
    found = {}
    for bins in _BINS:
        view = simulate(bins)
        lengths = np.array([view.constant, view.length])
        for name, one in (("mean", view.mean), ("root", view.root), ("lengths", lengths)):
            found[f"{name}_{bins}"] = one.astype(np.float32)
    return found


if __name__ == "__main__":
    with resources.as_file(resources.files(__package__).joinpath(_FILE)) as path:
        np.savez(path, allow_pickle=False, **_arrays())
