"""Detectors of stays that are not as they should be: what one is (``detector``), and the kinds there are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twinward.features.signal_schema import ICU
from twinward.federation.detectors.detector import Detector
from twinward.federation.detectors.dimensions import dimension_of
from twinward.federation.errors import StudyInvalid
from twinward.federation.study import DetectorKind, StudyProtocol

if TYPE_CHECKING:
    from twinward.federation.detectors.dp_var import DpVarDetector
    from twinward.federation.detectors.logistic import LogisticDetector


def build_detector(study: StudyProtocol, *, in_the_open: bool = False) -> Detector:
    """The detector that a protocol names.

    Args:
        study: the protocol.
        in_the_open: whether its parameters come from sums without noise, for a comparison.

    Raises:
        StudyInvalid: a kind that nothing here trains.
    """
    if study.disease_groups:
        return _grouped(study, in_the_open=in_the_open)
    if study.detector is DetectorKind.DP_VAR:
        return _dp_var(study, None if in_the_open else 1.0)
    if study.detector is DetectorKind.AUTOENCODER:
        # torch and Opacus take seconds to import: only who trains or scores an autoencoder pays.
        from twinward.federation.detectors.autoencoder import AutoencoderDetector

        return AutoencoderDetector(study, in_the_open=in_the_open)
    if study.detector is DetectorKind.LOGISTIC:
        return _logistic(study, None if in_the_open else 1.0)
    raise StudyInvalid(f"nothing here trains a {study.detector}", hint="this Twinward is older than the protocol")


def _grouped(study: StudyProtocol, *, in_the_open: bool) -> Detector:
    """A backbone with the heads that pay, or alone where none does; in the open all pay."""
    from twinward.federation.detectors.grouped import GroupedDetector
    from twinward.federation.disease_groups import BACKBONE_SHARE
    from twinward.federation.privacy.accountant import noise_spread
    from twinward.federation.privacy.outlook import groups_with_heads

    if not in_the_open and not groups_with_heads(study):
        return build_detector(study.model_copy(update={"disease_groups": ()}))
    make = _dp_var if study.detector is DetectorKind.DP_VAR else _logistic
    backbone = make(study, None if in_the_open else BACKBONE_SHARE)
    if in_the_open:
        return GroupedDetector(backbone, [one.name for one in study.disease_groups])
    found = GroupedDetector(backbone, groups_with_heads(study))
    spread = noise_spread(study, found.dimension) / math.sqrt(study.rounds)
    return GroupedDetector(backbone, found.groups, spread=spread)


def _dp_var(study: StudyProtocol, share: float | None) -> DpVarDetector:
    """Of a share of what a patient may add; None: in the open."""
    from twinward.federation.detectors.dp_var import DpVarDetector
    from twinward.federation.detectors.simulated_moments import simulated_moments
    from twinward.federation.privacy.accountant import noise_spread

    signals = len(study.signals.signal)
    if share is None:
        return DpVarDetector(study.bins, signals)
    spread = noise_spread(study, DpVarDetector(study.bins, signals).dimension) / math.sqrt(study.rounds * share)
    target = simulated_moments(study.bins) if study.signals == ICU else None
    return DpVarDetector(study.bins, signals, spread=spread, target=target)


def _logistic(study: StudyProtocol, share: float | None) -> LogisticDetector:
    """Of a share of what a patient may add; None: in the open, where nothing public has to help."""
    from twinward.federation.detectors.dimensions import moments_of_warning, view_of
    from twinward.federation.detectors.logistic import LogisticDetector
    from twinward.federation.detectors.scaled_logistic import ScaledLogisticDetector
    from twinward.federation.privacy.accountant import noise_spread

    signals = len(study.signals.signal)
    if share is None:
        return LogisticDetector(signals)
    scale = math.sqrt(study.rounds * share)
    spread = noise_spread(study, moments_of_warning(study)) / scale
    view = view_of(study)
    if view is None:
        return LogisticDetector(signals, spread=spread)
    own = noise_spread(study, dimension_of(study)) / scale
    return ScaledLogisticDetector(signals, view, spread=own, earlier_spread=spread)
