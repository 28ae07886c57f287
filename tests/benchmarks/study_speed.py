"""What a hospital computes in a round of a study: its noise, and its patients' own gradients."""

from __future__ import annotations

import math
import os

import numpy as np

from tests.benchmarks.harness import Arm, Benchmark, Row, Scale, Target, race, versus
from twinward.federation.privacy.discrete_gaussian import discrete_gaussian


def noise(scale: Scale) -> list[Row]:
    variance, size = 2**52 + 12345, scale.pick(100_000, 20_000)
    ours, theirs = "exact, from the system's source", "NumPy's normal, rounded"

    def exact() -> object:
        return discrete_gaussian(size, variance, os.urandom)

    def rounded() -> object:
        return np.rint(np.random.default_rng().normal(0, math.sqrt(variance), size)).astype(np.int64)

    return [
        versus(
            f"{size:,} draws of discrete Gaussian noise",
            race([Arm(ours, exact, size), Arm(theirs, rounded, size)], scale.pick(9, 3)),
            ours,
            theirs,
            clock="cpu",
            unit="µs a draw",
            scale=1e6,
            kind="times",
            target=Target("≤1 µs a draw", "value", "most", 1.0),
        )
    ]


BENCHMARKS = (
    Benchmark("studies.noise", "a round's noise from os.urandom, exact, against rounded floats of no proof", noise),
)
