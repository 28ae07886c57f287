"""First weights of the LSTM autoencoder that were learnt from SIMULATED stays: they ask nothing of any patient.

Noise at ε = 1 leaves room for small steps only, so where a study starts decides how far it comes. The weights are of
the default shape (the ICU's signals, 12 bins, 24 units); other shapes, and other seeds than 0, start at random.
``python -m twinward.federation.detectors.learn_simulated_start`` learns them anew (two minutes; float32 in a file, so
that a study starts at the same place wherever it is run).
"""

from __future__ import annotations

from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.features.signal_schema import ICU
from twinward.federation.study import StudyProtocol

FILE: Final = "simulated_start.npy"
BINS: Final = 12
_HIDDEN: Final = 24


def simulated_start(study: StudyProtocol) -> NDArray[np.float64] | None:
    """First weights for this protocol's autoencoder, in the order of its parameters; None where it starts at random."""
    if study.signals != ICU or (study.bins, study.hidden, study.seed) != (BINS, _HIDDEN, 0):
        return None
    with resources.files(__package__).joinpath(FILE).open("rb") as file:
        weights: NDArray[np.float64] = np.load(file, allow_pickle=False).astype(np.float64)
    return weights
