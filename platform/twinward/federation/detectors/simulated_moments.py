"""What DP-VAR's moments are of SIMULATED stays: a target for covariances that asks nothing of any patient.

``simulated_moments.npz`` holds, for each number of bins that 48 hours divide into, the mean moments of a step (float32,
the upper triangle that ``dp_var`` describes, 1 at its end), as ``simulate`` makes them. They are kept in a file so that
a model scores the same wherever it is opened. ``python -m twinward.federation.detectors.simulated_moments`` writes it
anew.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.stays.simulated import simulate_stays

_FILE: Final = "simulated_moments.npz"
_BINS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 48)
_SEED: Final = 99
_SEVERITIES: Final = (0.3, 0.45, 0.6)
_STAYS_EACH: Final = 1500


@functools.cache
def simulated_moments(bins: int) -> NDArray[np.float64] | None:
    """Moments of simulated ICU stays cut into ``bins``; none for another number than 48 hours divide into."""
    if bins not in _BINS:
        return None
    with resources.files(__package__).joinpath(_FILE).open("rb") as file, np.load(file, allow_pickle=False) as kept:
        moments: NDArray[np.float64] = kept[f"bins_{bins}"].astype(np.float64)
    return moments


def simulate(bins: int) -> NDArray[np.float64]:
    """The same, made anew: each patient's moments at norm 1, summed, a step's share."""
    detector = DpVarDetector(bins)
    total = np.zeros(detector.dimension)
    for index, severity in enumerate(_SEVERITIES):
        blocks = normalise(simulate_stays(_STAYS_EACH, _SEED + index, severity=severity), bins)
        for rows in detector.contributions(detector.untrained(), blocks):
            total += (rows / np.linalg.norm(rows, axis=1, keepdims=True)).sum(0, dtype=np.float64)
    shares: NDArray[np.float64] = total / total[-1]
    return shares


if __name__ == "__main__":
    with resources.as_file(resources.files(__package__).joinpath(_FILE)) as path:
        np.savez(path, allow_pickle=False, **{f"bins_{bins}": simulate(bins).astype(np.float32) for bins in _BINS})
