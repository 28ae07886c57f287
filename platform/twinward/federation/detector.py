"""What a detector is to the rest of federation, and which there are.

A detector's parameters are one float64 vector. A site computes *contributions* from them, one row per patient, not yet
clipped; a coordinator learns from noisy sums of these only. Scoring and learning are post-processing: free of privacy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.federation.normalise import Blocks
from twinward.federation.study import DetectorKind, StudyProtocol

Parameters = NDArray[np.float64]
"""A detector's parameters ``[p]``."""


class Learner(Protocol):
    """The coordinator's side of training: parameters, improved by each released sum."""

    @property
    def parameters(self) -> Parameters:
        """As they stand."""
        ...

    def learn(self, noisy_sum: NDArray[np.float64]) -> None:
        """Take in one round's sum ``[dimension]``."""
        ...


class Detector(Protocol):
    """One kind of detector under one protocol."""

    @property
    def dimension(self) -> int:
        """Coordinates of one contribution."""
        ...

    def untrained(self) -> Parameters:
        """Before any round."""
        ...

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[NDArray[np.float32]]:
        """Chunks ``[patients, dimension]``, a row for each patient in order, not yet clipped."""
        ...

    def summed(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """The sum of all contributions ``[dimension]``, unclipped and without noise: for training in the open."""
        ...

    def learner(self) -> Learner:
        """A fresh start."""
        ...

    def scores(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """How far each stay departs from its twin, ``[patients]``; higher is stranger."""
        ...


def build_detector(study: StudyProtocol) -> Detector:
    """The detector that a protocol names."""
    if study.detector is DetectorKind.MOMENTS:
        from twinward.federation.moments import MomentsDetector

        return MomentsDetector()
    # torch and Opacus take seconds to import: only who trains or scores an autoencoder pays.
    from twinward.federation.autoencoder import AutoencoderDetector

    return AutoencoderDetector(study)
