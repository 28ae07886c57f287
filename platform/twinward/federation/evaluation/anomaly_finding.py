"""Stays above a model's threshold, and which signals make them so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from twinward.features.monitored_stays import Stays
from twinward.features.signal_schema import SchemaSignal
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.grouped import parts_of, scores_of
from twinward.federation.detectors.model_file import Model

MOST_SIGNALS: Final = 5
LEAST_SHARE: Final = 0.05
"""Signals that contribute less are not named."""


@dataclass(frozen=True)
class Contribution:
    """What of a stay's score one signal is answerable for."""

    signal: SchemaSignal
    share: float


@dataclass(frozen=True)
class Finding:
    """A stay's score, the threshold that an anomaly's is above, and which signals contribute most."""

    score: float
    threshold: float
    contributions: tuple[Contribution, ...]

    @property
    def is_anomaly(self) -> bool:
        """Whether it is one."""
        return self.score > self.threshold


def find_anomalies(
    model: Model, stays: Stays, threshold: float | Sequence[float], groups: Sequence[str] | None = None
) -> Sequence[Finding]:
    """Each stay against a model.

    Args:
        model: what scores.
        stays: ``[patients, steps, signals]`` in the units of the model's schema.
        threshold: a score above it is an anomaly; one for all, or one for each.
        groups: each one's disease group, where the model has heads.

    Raises:
        BadInput: other signals than the model's.
    """
    study = model.study
    if not len(stays):
        return []
    blocks, detector = normalise(stays, study.bins, study.signals), model.detector()
    scores = scores_of(detector, model.parameters, blocks, groups)
    parts = np.maximum(parts_of(detector, model.parameters, blocks, groups), 0)
    limits = np.broadcast_to(np.asarray(threshold, np.float64), len(blocks)).tolist()
    shares = parts / np.maximum(parts.sum(1, keepdims=True), np.finfo(float).tiny)
    found = []
    for score, row, limit in zip(scores.tolist(), shares, limits, strict=True):
        named = tuple(
            Contribution(study.signals.signal[column], float(row[column]))
            for column in np.argsort(-row, kind="stable")[:MOST_SIGNALS].tolist()
            if row[column] >= LEAST_SHARE
        )
        found.append(Finding(score, limit, named))
    return found
