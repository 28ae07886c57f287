"""Detectors of stays that are not as they should be: what one is (``detector``), and the kinds there are."""

from __future__ import annotations

import math

from twinward.features.signal_schema import ICU
from twinward.federation.detectors.detector import Detector
from twinward.federation.errors import StudyInvalid
from twinward.federation.study import DetectorKind, StudyProtocol


def build_detector(study: StudyProtocol, *, in_the_open: bool = False) -> Detector:
    """The detector that a protocol names.

    Args:
        study: the protocol.
        in_the_open: whether its parameters come from sums without noise, for a comparison.

    Raises:
        StudyInvalid: a kind that nothing here trains.
    """
    if study.detector is DetectorKind.DP_VAR:
        return _dp_var(study, in_the_open=in_the_open)
    if study.detector is DetectorKind.AUTOENCODER:
        # torch and Opacus take seconds to import: only who trains or scores an autoencoder pays.
        from twinward.federation.detectors.autoencoder import AutoencoderDetector

        return AutoencoderDetector(study, in_the_open=in_the_open)
    if study.detector is DetectorKind.LOGISTIC:
        return _logistic(study, in_the_open=in_the_open)
    raise StudyInvalid(f"nothing here trains a {study.detector}", hint="this Twinward is older than the protocol")


def _dp_var(study: StudyProtocol, *, in_the_open: bool) -> Detector:
    from twinward.federation.detectors.dp_var import DpVarDetector
    from twinward.federation.detectors.simulated_moments import simulated_moments
    from twinward.federation.privacy.accountant import noise_spread

    signals = len(study.signals.signal)
    if in_the_open:
        return DpVarDetector(study.bins, signals)
    spread = noise_spread(study, DpVarDetector(study.bins, signals).dimension) / math.sqrt(study.rounds)
    target = simulated_moments(study.bins) if study.signals == ICU else None
    return DpVarDetector(study.bins, signals, spread=spread, target=target)


def _logistic(study: StudyProtocol, *, in_the_open: bool) -> Detector:
    from twinward.federation.detectors.logistic import LogisticDetector
    from twinward.federation.privacy.accountant import noise_spread

    signals = len(study.signals.signal)
    spread = 0.0 if in_the_open else noise_spread(study, LogisticDetector(signals).dimension) / math.sqrt(study.rounds)
    return LogisticDetector(signals, spread=spread)
