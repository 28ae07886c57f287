"""How many numbers a patient adds to a study's sums: from the protocol, without loading what it takes to train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinward.federation.study import DetectorKind, StudyProtocol

if TYPE_CHECKING:
    from twinward.federation.detectors.dp_var import DpVarDetector
    from twinward.federation.detectors.logistic import LogisticDetector


def dimension_of(study: StudyProtocol) -> int:
    """Numbers of one contribution; of a study with disease groups, those of its backbone."""
    signals, hidden = len(study.signals.signal), study.hidden
    if study.detector is DetectorKind.AUTOENCODER:
        return 4 * hidden * (signals + hidden + 2) + 4 * hidden * (2 * hidden + 2) + signals * (hidden + 1)
    return _of_moments(study).dimension


def head_size_of(study: StudyProtocol) -> int:
    """Numbers that a disease group's head adds; ``StudyProtocol`` takes groups where detectors learn from moments."""
    return len(_of_moments(study).head_at)


def _of_moments(study: StudyProtocol) -> DpVarDetector | LogisticDetector:
    """A detector of the protocol's size, whose numbers are moments of stays."""
    if study.detector is DetectorKind.LOGISTIC:
        from twinward.federation.detectors.logistic import LogisticDetector

        return LogisticDetector(len(study.signals.signal))
    from twinward.federation.detectors.dp_var import DpVarDetector

    return DpVarDetector(study.bins, len(study.signals.signal))
