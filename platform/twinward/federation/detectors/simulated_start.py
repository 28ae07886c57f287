"""First weights of the LSTM autoencoder that were learnt from SIMULATED stays: they ask nothing of any patient.

Noise at ε = 1 leaves room for small steps only, so where a study starts decides how far it comes. The weights are of
the default shape (the ICU's signals, 12 bins, 24 units); other shapes, and other seeds than 0, start at random.
``python -m twinward.federation.detectors.simulated_start`` learns them anew (two minutes; float32 in a file, so that a
study starts at the same place wherever it is run).
"""

from __future__ import annotations

from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.features.signal_schema import ICU
from twinward.federation.study import StudyProtocol

_FILE: Final = "simulated_start.npy"
_BINS: Final = 12
_HIDDEN: Final = 24
_ROUNDS: Final = 240
_STAYS_EACH: Final = 900
_SEED: Final = 99
_SEVERITIES: Final = (0.3, 0.45, 0.6)


def simulated_start(study: StudyProtocol) -> NDArray[np.float64] | None:
    """First weights for this protocol's autoencoder, in the order of its parameters; None where it starts at random."""
    if study.signals != ICU or (study.bins, study.hidden, study.seed) != (_BINS, _HIDDEN, 0):
        return None
    with resources.files(__package__).joinpath(_FILE).open("rb") as file:
        weights: NDArray[np.float64] = np.load(file, allow_pickle=False).astype(np.float64)
    return weights


def learn() -> NDArray[np.float32]:
    """The same, anew: in the open, from a random start."""
    from twinward.federation.detectors.autoencoder import AutoencoderDetector
    from twinward.federation.detectors.detector import normalise
    from twinward.federation.stays.simulated import simulate_stays

    stays = [simulate_stays(_STAYS_EACH, _SEED + index, severity=each) for index, each in enumerate(_SEVERITIES)]
    blocks = normalise(np.concatenate(stays), _BINS)
    study = StudyProtocol.for_autoencoder("simulated", ("a", "b", "c"), seed=1, expected_patients=len(blocks))
    detector = AutoencoderDetector(study)
    learner = detector.learner()
    for _ in range(_ROUNDS):
        learner.learn(detector.summed(learner.parameters, blocks))
    return learner.parameters.astype(np.float32)


if __name__ == "__main__":
    with resources.as_file(resources.files(__package__).joinpath(_FILE)) as path:
        np.save(path, learn(), allow_pickle=False)
