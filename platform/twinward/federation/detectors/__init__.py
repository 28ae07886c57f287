"""Detectors of stays that are not as they should be: what one is (``detector``), and the kinds there are."""

from __future__ import annotations

from twinward.federation.detectors.detector import Detector
from twinward.federation.study import DetectorKind, StudyProtocol


def build_detector(study: StudyProtocol) -> Detector:
    """The detector that a protocol names."""
    if study.detector is DetectorKind.DP_VAR:
        from twinward.federation.detectors.dp_var import DpVarDetector

        return DpVarDetector(study.bins, len(study.signals.signal))
    # torch and Opacus take seconds to import: only who trains or scores an autoencoder pays.
    from twinward.federation.detectors.autoencoder import AutoencoderDetector

    return AutoencoderDetector(study)
