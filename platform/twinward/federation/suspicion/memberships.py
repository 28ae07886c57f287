"""What sums over changing groups tell of each hospital: how much noise it adds, and what it adds on average.

Sum k of d numbers is y_k = Σ_{i in k} (x_i + e_i), e_i of independent noise of variance v_i in each number. With A the
0/1 matrix of who is in which sum and D = diag(Σ_{i in k} v_i):

- **Noise.** All d numbers share the same D, so v is a variance component model with d replicates, fitted by restricted
  maximum likelihood (Patterson & Thompson, Biometrika 58:545, 1971): with P = D⁻¹ - D⁻¹A(AᵀD⁻¹A)⁺AᵀD⁻¹ and B_i the
  diagonal of A's column i, E[yᵀP B_i P y] = d Σ_j tr(P B_i P B_j) v_j, whatever the x. Solved for v until it stands;
  D takes no v below an honest share: else a variance that comes out small by luck weighs its sums up, and stays small.
- **Means.** x̂ = (AᵀD⁻¹A)⁺AᵀD⁻¹ y, with covariance Q = (AᵀD⁻¹A)⁺ in each number: a hospital of much noise weighs little,
  and does not throw suspicion on whoever it was grouped with.

All of it is post-processing of sums that were released and paid for, each with noise that hides any one patient. That
hospitals' own sums can be told apart at all, as far as the noise lets, is what groups are for, and what they cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEPS: Final = 100
_SETTLED: Final = 1e-6
_WHOLE: Final = 1 - 1e-6
"""Of a unit vector: how much of it must lie in a span to be told."""
_TOLERANCE: Final = 1e-9
"""Of singular values, relative: below is what the groups do not tell apart."""


@dataclass(frozen=True)
class Told:
    """What sums tell of n hospitals.

    Attributes:
        noise, noise_error: each hospital's variance a number ``[n]``, and the standard error of that.
        means: x̂ ``[n, d]``.
        covariance: Q ``[n, n]``.
        known: whether the groups tell this hospital's mean from all others' ``[n]``.
        noise_known: whether they tell its noise from all others'; without, the figure means nothing.
    """

    noise: Floats
    noise_error: Floats
    means: Floats
    covariance: Floats
    known: NDArray[np.bool_]
    noise_known: NDArray[np.bool_]


def membership_matrix(groups: Sequence[Sequence[str]], hospitals: Sequence[str]) -> Floats:
    """A ``[sums, hospitals]``: 1 where a hospital is in a sum."""
    return np.array([[float(name in group) for name in hospitals] for group in groups]).reshape(-1, len(hospitals))


def tell_apart(sums: Floats, members: Floats, least_noise: float) -> Told:
    """Fit noise and means.

    Args:
        sums: y ``[k, d]``.
        members: A ``[k, n]``.
        least_noise: what each hospital's noise is at least, if it keeps to the protocol; more is told, less is not.
    """
    gram, dimension = sums @ sums.T, sums.shape[1]
    weighed = np.full(members.shape[1], least_noise)
    for _ in range(_STEPS):
        noise, information = _step(gram, members, weighed, dimension)
        before, weighed = weighed, np.maximum(noise, least_noise)
        if bool(np.all(np.abs(weighed - before) <= _SETTLED * before)):
            break
    covariance, smoother = _smoother(members, weighed)
    inverse = np.linalg.pinv(information, rcond=_TOLERANCE, hermitian=True)
    error = before * np.sqrt(np.maximum(2 * np.diag(inverse), 0))
    noise_known = np.diag(inverse @ information) > _WHOLE
    return Told(noise, error, smoother @ sums, covariance, _told_apart(members), noise_known)


def _step(gram: Floats, members: Floats, noise: Floats, dimension: int) -> tuple[Floats, Floats]:
    """Better variances, and the information ``[n, n]`` that the sums have of their logarithms, doubled."""
    weights = 1 / (members @ noise)
    _, smoother = _smoother(members, noise)
    projection = np.diag(weights) - (weights[:, None] * members) @ smoother
    squares = members.T @ np.einsum("ij,jk,ki->i", projection, gram, projection)
    information: Floats = dimension * members.T @ projection**2 @ members
    scaled: Floats = np.outer(noise, noise) * information  # all of one size, however far apart the variances are
    found: Floats = noise * (np.linalg.pinv(scaled, rcond=_TOLERANCE, hermitian=True) @ (noise * squares))
    return found, scaled


def _smoother(members: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Q, and the matrix that means come by."""
    weighted = members / (members @ noise)[:, None]
    covariance = np.linalg.pinv(members.T @ weighted, rcond=_TOLERANCE, hermitian=True).astype(np.float64)
    return covariance, covariance @ weighted.T


def _told_apart(members: Floats) -> NDArray[np.bool_]:
    """Which hospitals' own numbers follow from the sums: whose unit vector is in the span of the rows."""
    span = np.linalg.pinv(members, rcond=_TOLERANCE) @ members
    apart: NDArray[np.bool_] = np.diag(span) > _WHOLE
    return apart
