"""Training WITHOUT privacy, for comparison, on stays that may lie open: synthetic or public ones only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twinward.federation.detector import Detector, Parameters
from twinward.federation.normalise import Blocks

OPEN_ROUNDS: Final = 3
"""Times the protocol's rounds: without privacy a round costs time only, so a fair rival takes more of them."""


def train_without_privacy(
    detector: Detector, blocks: Blocks, rounds: int, *, after_round: Callable[[int, int], None] | None = None
) -> Parameters:
    """The same detector by full-batch rounds with neither clipping nor noise nor hospitals.

    Args:
        detector: what to train; its learner divides by the protocol's guess of the cohort, as in the private run.
        blocks: all stays, pooled.
        rounds: of the private run; an iterative detector gets ``OPEN_ROUNDS`` times as many here.
        after_round: told how many are done of how many.
    """
    learner = detector.learner()
    total = rounds * OPEN_ROUNDS if rounds > 1 else 1
    for done in range(1, total + 1):
        learner.learn(detector.summed(learner.parameters, blocks))
        if after_round is not None:
            after_round(done, total)
    return learner.parameters
