"""Learns ``simulated_start`` anew and writes it beside the code: ``python -m`` this module."""

from __future__ import annotations

from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.federation.detectors.autoencoder import AutoencoderDetector
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.simulated_start import BINS, FILE
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import StudyProtocol

_ROUNDS: Final = 240
_STAYS_EACH: Final = 900
_SEED: Final = 99
_SEVERITIES: Final = (0.3, 0.45, 0.6)


def learn() -> NDArray[np.float32]:
    """The weights, in the order of the autoencoder's parameters: in the open, from a random start."""
    stays = [simulate_stays(_STAYS_EACH, _SEED + index, severity=each) for index, each in enumerate(_SEVERITIES)]
    blocks = normalise(np.concatenate(stays), BINS)
    study = StudyProtocol.for_autoencoder("simulated", ("a", "b", "c"), seed=1, expected_patients=len(blocks))
    detector = AutoencoderDetector(study)
    learner = detector.learner()
    for _ in range(_ROUNDS):
        learner.learn(detector.summed(learner.parameters, blocks))
    return learner.parameters.astype(np.float32)


if __name__ == "__main__":
    with resources.as_file(resources.files(__package__).joinpath(FILE)) as path:
        np.save(path, learn(), allow_pickle=False)
