"""An empirical audit of what leaves a study: is it as private as it says, and would we see if it were not?

The strongest attacker there is for a sum: it knows everybody else, and the direction of one patient's contribution. It
sees released sums with that patient and without, and projects on the direction. Two unit-variance normals μ apart are
what a Gaussian mechanism of multiplier 1/μ looks like, so an estimate of μ is one of ε (Dong, Roth & Su 2022; Nasr et
al. 2023). Projections are close to normal by construction: sums of discrete Gaussians over many coordinates.
A bound at 95 % of the estimate stays below the claim; what is broken is seen above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.privacy.accountant import calibrate, gaussian_epsilon
from twinward.federation.privacy.dp_sum import UNIT, add_noise, clipped_integers, clipped_sum, noise_variance
from twinward.federation.stays.simulated import simulate_stays

pytestmark = pytest.mark.slow

RUNS = 20
RELEASES = 6000
"""With the patient, and as many without: the standard error of μ is √(2/6000) = .018. At ε = 1, μ is .27, and .38 where
one of two shares of the noise is missing."""
DELTA = 1e-5
HOSPITALS, COLLUDING = 3, 1
CLIP = 1.0
BLOCKS = normalise(simulate_stays(40, 3, severity=0.9), 3)
DETECTOR = DpVarDetector(3, 24)
ROWS = np.concatenate(list(DETECTOR.contributions(DETECTOR.untrained(), BLOCKS)))[:, :50]
"""The first 50 moments: noise is drawn for each number, and the audit draws it 240,000 times."""


@dataclass(frozen=True)
class Estimate:
    """Of μ from releases with and without a patient."""

    mean: float
    error: float

    def epsilon_at_least(self, confidence: float) -> float:
        """ε that is exceeded at this confidence."""
        low = self.mean - float(stats.norm.ppf(confidence)) * self.error
        return gaussian_epsilon(1 / low, DELTA) if low > 1e-3 else 0.0


def audit(epsilon: float, seed: int, *, clip_factor: float = 1.0, shares: int = HOSPITALS - COLLUDING) -> Estimate:
    """What an attacker sees who holds the colluders' noise: that of ``shares`` honest hospitals is left.

    Args:
        epsilon: what is claimed.
        seed: of the noise.
        clip_factor: how many clips long the patient's contribution is; 1 is honest.
        shares: hospitals whose noise is there.
    """
    stream = np.random.default_rng(seed)
    variance = noise_variance(calibrate(epsilon, DELTA, 1), ROWS.shape[1], HOSPITALS - COLLUDING)
    others = clipped_sum([ROWS[1:]], CLIP, ROWS.shape[1])
    patient = clipped_integers(ROWS[:1], CLIP)[0] * clip_factor
    direction = patient / np.linalg.norm(patient)

    def seen(total: np.ndarray) -> np.ndarray:
        noisy = np.tile(np.rint(total).astype(np.int64), RELEASES)
        for _ in range(shares):
            noisy = add_noise(noisy, variance, stream.bytes)
        projected: np.ndarray = (noisy.reshape(RELEASES, -1) - others) @ direction
        return projected

    with_patient, without = seen(others + patient), seen(others.astype(float))
    spread = math.sqrt((with_patient.var(ddof=1) + without.var(ddof=1)) / 2)
    mean = (with_patient.mean() - without.mean()) / spread
    return Estimate(float(mean), math.sqrt(2 / RELEASES * (1 + mean**2 / 8)))


CLAIM = 1.0


def flagged(broken: Callable[[int], Estimate]) -> int:
    """In how many of 20 runs the audit says that the claim is false, wrongly in one of a thousand."""
    return sum(broken(seed).epsilon_at_least(0.999) > CLAIM for seed in range(RUNS))


@pytest.mark.parametrize("claim", [1.0, 3.0, 8.0])
def test_what_is_released_is_as_private_as_it_says(claim: float) -> None:
    found = [audit(claim, 100 + seed) for seed in range(RUNS if claim == CLAIM else 5)]
    assert all(one.epsilon_at_least(0.999) <= claim for one in found)
    mean = float(np.mean([one.mean for one in found]))
    estimate = gaussian_epsilon(1 / mean, DELTA)
    assert estimate == pytest.approx(claim, rel=0.1)  # nor is more noise drawn than was promised


def test_a_tripled_clip_is_seen() -> None:
    assert flagged(lambda seed: audit(CLAIM, 200 + seed, clip_factor=3.0)) >= 19


def test_a_missing_share_of_noise_is_seen() -> None:
    assert flagged(lambda seed: audit(CLAIM, 300 + seed, shares=1)) >= 19


def test_the_audit_looks_at_whole_units() -> None:
    assert np.linalg.norm(clipped_integers(ROWS[:1], CLIP)) == pytest.approx(UNIT, rel=1e-5)
