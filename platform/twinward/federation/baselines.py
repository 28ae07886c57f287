"""Training WITHOUT privacy, for comparison, on stays that may lie open: synthetic or public ones only."""

from __future__ import annotations

from collections.abc import Callable

from twinward.federation.detector import Detector, Parameters
from twinward.federation.normalise import Blocks


def train_without_privacy(
    detector: Detector, blocks: Blocks, rounds: int, *, after_round: Callable[[int], None] | None = None
) -> Parameters:
    """The same detector by the same number of full-batch rounds, with neither clipping nor noise nor hospitals.

    Its learner divides by the protocol's guess of the cohort, as in the private run.
    """
    learner = detector.learner()
    for round_number in range(1, rounds + 1):
        learner.learn(detector.summed(learner.parameters, blocks))
        if after_round is not None:
            after_round(round_number)
    return learner.parameters
