"""How many numbers a patient adds to a study's sums: from the protocol, without loading what it takes to train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinward.features.signal_schema import ICU_OUTCOME
from twinward.federation.study import DetectorKind, StudyProtocol

if TYPE_CHECKING:
    from twinward.federation.detectors.dp_var import DpVarDetector
    from twinward.federation.detectors.logistic import LogisticDetector
    from twinward.federation.detectors.simulated_warning import WarningView


def dimension_of(study: StudyProtocol) -> int:
    """Numbers of one contribution; of a study with disease groups, those of its backbone."""
    signals, hidden = len(study.signals.signal), study.hidden
    if study.detector is DetectorKind.AUTOENCODER:
        return 4 * hidden * (signals + hidden + 2) + 4 * hidden * (2 * hidden + 2) + signals * (hidden + 1)
    return _of_moments(study).dimension


def head_size_of(study: StudyProtocol) -> int:
    """Numbers that a disease group's head adds; ``StudyProtocol`` takes groups where detectors learn from moments."""
    return len(_of_moments(study).head_at)


def known_dimensions(study: StudyProtocol) -> tuple[int, ...]:
    """Numbers that a model of this protocol may have beside ``dimension_of``: of releases before this one."""
    earlier = study.detector is DetectorKind.LOGISTIC and view_of(study) is not None and not study.disease_groups
    return (moments_of_warning(study),) if earlier else ()


def moments_at(study: StudyProtocol) -> slice | None:
    """Which numbers of a contribution are the upper triangle of a z zᵀ; None where there are none.

    An early warning with a view has the least of them: how many patients there are.
    """
    if study.detector is DetectorKind.AUTOENCODER:
        return None
    if study.detector is DetectorKind.DP_VAR:
        return slice(0, dimension_of(study))
    if view_of(study) is not None:
        return slice(2 * outcome_numbers(study) - 1, 2 * outcome_numbers(study))
    return slice(outcome_numbers(study), dimension_of(study))


def outcome_numbers(study: StudyProtocol) -> int:
    """How many numbers of an early warning's contribution go with the outcome: of means and last values, and one."""
    return 2 * len(study.signals.signal) - 1


def view_of(study: StudyProtocol) -> WarningView | None:
    """What is known of an early warning's inputs without any patient; None where nothing is."""
    from twinward.federation.detectors.simulated_warning import simulated_warning

    return simulated_warning(study.bins) if study.signals == ICU_OUTCOME else None


def moments_of_warning(study: StudyProtocol) -> int:
    """Numbers of an early warning's contribution that has no view."""
    from twinward.federation.detectors.logistic import LogisticDetector

    return LogisticDetector(len(study.signals.signal)).dimension


def _of_moments(study: StudyProtocol) -> DpVarDetector | LogisticDetector:
    """A detector of the protocol's size, whose numbers are moments of stays."""
    signals = len(study.signals.signal)
    if study.detector is DetectorKind.LOGISTIC:
        from twinward.federation.detectors.logistic import LogisticDetector
        from twinward.federation.detectors.scaled_logistic import ScaledLogisticDetector

        view = view_of(study)
        return LogisticDetector(signals) if view is None else ScaledLogisticDetector(signals, view)
    from twinward.federation.detectors.dp_var import DpVarDetector

    return DpVarDetector(study.bins, signals)
