"""What a detector is to the rest of federation, and what it sees of a stay.

A detector's parameters are one float64 vector. A site computes *contributions* from them, one row per patient, not yet
clipped; a coordinator learns from noisy sums of these only. Scoring and learning are post-processing: free of privacy.

It sees blocks: clinical ranges, time bins, forward fill, no data statistics. Whatever the stay, a block's entries lie
in [-1, 1]: so does the sensitivity of everything computed from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.features.monitored_stays import Stays
from twinward.features.signal_schema import ICU, SignalSchema

Parameters = NDArray[np.float64]
"""A detector's parameters ``[p]``."""

Blocks = NDArray[np.float32]
"""Normalised stays ``[patients, bins, signals]`` in [-1, 1]; 0 is the middle of the reference range."""

CLIP: Final = 4.0
"""Half-ranges beyond which a value is as abnormal as it gets; a block's 1.0."""


def normalise(stays: Stays, bins: int, signals: SignalSchema = ICU) -> Blocks:
    """Blocks of ``bins`` equal spans: each the mean of what was charted, else the last span's, else 0.

    Raises:
        BadInput: not ``[patients, steps, signals]`` of this schema, or steps that do not divide into ``bins``.
    """
    if stays.ndim != 3 or stays.shape[2] != len(signals.signal):
        raise BadInput(f"stays are [patients, steps, {len(signals.signal)}], not {list(stays.shape)}")
    patients, hours, columns = stays.shape
    if bins < 1 or hours == 0 or hours % bins:
        raise BadInput(f"{hours} steps do not divide into {bins} bins", hint="choose a divisor of the stay's steps")
    middle = np.array([one.middle for one in signals.signal], np.float32)
    half = np.array([one.half_range for one in signals.signal], np.float32)
    within = np.clip(stays, middle - CLIP * half, middle + CLIP * half)  # before dividing, which could overflow
    scaled = ((within - middle) / half).reshape(patients, bins, hours // bins, columns)
    charted = ~np.isnan(scaled)
    counts = charted.sum(2)
    blocks = np.where(charted, scaled, 0).sum(2) / np.maximum(counts, 1)
    for step in range(1, bins):
        blocks[:, step] = np.where(counts[:, step] > 0, blocks[:, step], blocks[:, step - 1])
    in_range: Blocks = np.clip(blocks / CLIP, -1, 1).astype(np.float32)  # clipped again: division rounds
    return in_range


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

    def by_signal(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """What of each score is each signal's, ``[patients, signals]``: why a stay is strange."""
        ...
