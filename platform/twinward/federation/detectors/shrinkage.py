"""What noise explains of a difference, taken away: James & Stein 1961, towards what is known better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def drawn_towards(
    found: NDArray[np.float64], target: NDArray[np.float64], noise: float, numbers: int | None = None
) -> NDArray[np.float64]:
    """target + max(0, 1 - E|noise|²/|found - target|²) (found - target).

    Args:
        found, target: of one shape.
        noise: standard deviation of it in each number of their difference.
        numbers: how many of them differ at all; all unless it is said.
    """
    apart = found - target
    drawn: NDArray[np.float64] = target + share_kept(apart, noise, numbers) * apart
    return drawn


def share_kept(apart: NDArray[np.float64], noise: float, numbers: int | None = None) -> float:
    """max(0, 1 - E|noise|²/|apart|²): of a difference whose ``numbers`` have noise of this standard deviation each."""
    explained = (apart.size if numbers is None else numbers) * noise**2
    return max(0.0, 1 - explained / max(float((apart**2).sum()), np.finfo(np.float64).tiny))


def group_mean(sums: NDArray[np.float64], everybody: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """A group's mean, drawn towards that of all; that of all itself where noise could be all there is.

    Args:
        sums: over the group's patients, of 1 last.
        everybody: the mean of all.
        spread: standard deviation of the noise in each of the sums.
    """
    count = float(sums[-1])
    if count <= max(spread, 1.0):
        return everybody
    return drawn_towards(sums / count, everybody, spread / count)
