"""The early warning by public scales: what it learns openly, under noise, in heads; and models of before it."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from tests.integration.federation.kit import HOSPITALS
from twinward.features.signal_schema import ICU_OUTCOME
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Detector, normalise
from twinward.federation.detectors.logistic import LogisticDetector
from twinward.federation.detectors.model_file import Model, read_model
from twinward.federation.detectors.scaled_logistic import ScaledLogisticDetector
from twinward.federation.detectors.simulated_warning import simulate, simulated_warning
from twinward.federation.evaluation.anomaly_injection import Anomaly, LabelledStays
from twinward.federation.evaluation.operating_point import operating_point
from twinward.federation.privacy.accountant import noise_spread
from twinward.federation.stays.simulated import simulate_signals
from twinward.federation.study import StudyProtocol

STUDY = StudyProtocol.for_logistic("w", HOSPITALS, epsilon=1.0, expected_patients=900)
BLOCKS = normalise(simulate_signals(ICU_OUTCOME, 900, 3), 12, ICU_OUTCOME)
TEST = normalise(simulate_signals(ICU_OUTCOME, 900, 4), 12, ICU_OUTCOME)
DIED = TEST[:, 0, -1] > 0
LABELLED = LabelledStays(TEST, tuple(Anomaly.LABELLED if one else Anomaly.NONE for one in DIED), ICU_OUTCOME)


def summed(detector: Detector, clip: float = STUDY.clip) -> np.ndarray:
    rows = np.concatenate(list(detector.contributions(detector.untrained(), BLOCKS)))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    total: np.ndarray = (rows * np.minimum(1, clip / np.maximum(lengths, 1e-9))).sum(0)
    return total


def auroc(detector: Detector, parameters: np.ndarray) -> float:
    return float(roc_auc_score(DIED, detector.scores(parameters, TEST)))


def test_the_view_is_what_simulated_stays_have() -> None:
    kept, made = simulated_warning(12), simulate(12)
    assert kept is not None
    np.testing.assert_allclose(kept.mean, made.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(kept.root, made.root, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.abs(kept.directions), np.abs(made.directions), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(kept.foretelling, made.foretelling, rtol=1e-3, atol=1e-4)
    scaled = kept.scaled(BLOCKS[:, :, :24].mean(1).repeat(2, axis=1)[:, :48])
    assert scaled.shape == (900, 49)
    assert simulated_warning(13) is None


def test_openly_it_does_nearly_as_well_as_all_moments_and_under_noise_far_better() -> None:
    ours, theirs = build_detector(STUDY), LogisticDetector(25, spread=noise_spread(STUDY, 1274))
    assert isinstance(ours, ScaledLogisticDetector)
    assert auroc(ours, summed(ours)) > auroc(theirs, summed(theirs)) - 0.03
    random = np.random.default_rng(5)
    told = [
        np.mean([auroc(one, total + random.normal(0, noise, len(total))) for _ in range(8)])
        for one in (ours, theirs)
        for total, noise in [(summed(one), noise_spread(STUDY, one.dimension))]
    ]
    assert told[0] > told[1] + 0.02
    assert told[0] > 0.72
    chances = ours.scores(summed(ours), TEST)
    assert abs(chances.mean() - DIED.mean()) < 0.08


def test_what_simulated_outcomes_say_is_not_believed_where_patients_say_otherwise() -> None:
    """Outcomes that another signal alone tells, of which the simulator knows nothing, and those turned around."""
    median = np.median(BLOCKS[:, :, 3].mean(1))
    told, seen = BLOCKS[:, :, 3].mean(1) > median, TEST[:, :, 3].mean(1) > median
    for outcome, truth in ((told, seen), (BLOCKS[:, 0, -1] < 0, ~DIED)):
        other = BLOCKS.copy()
        other[:, :, -1] = np.where(outcome, 1, -1)[:, None]
        detector = build_detector(STUDY.model_copy(update={"epsilon": 3.0}))
        scores = detector.scores(detector.summed(detector.untrained(), other), TEST)
        assert roc_auc_score(truth, scores) > 0.7


def test_chances_are_as_high_as_outcomes_are_frequent() -> None:
    """Stays that vary twice as far as the simulator's: mean and expected calibration error, eight draws of noise."""
    detector, wide, seen = build_detector(STUDY), BLOCKS.copy(), TEST.copy()
    for blocks in (wide, seen):
        blocks[:, :, :-1] = np.clip(1.4 * blocks[:, :, :-1], -1, 1)
    rows = np.concatenate(list(detector.contributions(detector.untrained(), wide)))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    total = (rows * np.minimum(1, STUDY.clip / lengths)).sum(0)
    random = np.random.default_rng(5)
    errors, means = [], []
    for _ in range(8):
        noisy = total + random.normal(0, noise_spread(STUDY, detector.dimension), len(total))
        chances = detector.scores(noisy, seen)
        errors.append(operating_point(chances, LABELLED, chances=True).calibration_error)
        means.append(chances.mean())
    assert abs(np.mean(means) - DIED.mean()) < 0.06
    assert np.mean(errors) < 0.12


def test_a_head_is_of_its_groups_own_outcomes() -> None:
    detector = build_detector(STUDY)
    assert isinstance(detector, ScaledLogisticDetector)
    own = BLOCKS.copy()
    own[:, :, -1] *= -1  # a group where who would have lived dies
    whole = detector.summed(detector.untrained(), np.concatenate([BLOCKS, own]))
    rest, group = detector.heads(whole, detector.summed(detector.untrained(), own)[None, detector.head_at], 1.0)
    assert auroc(group, whole) < 0.35 < auroc(rest, whole)
    (_, nobody) = detector.heads(whole, np.zeros((1, len(detector.head_at))), 1.0)
    np.testing.assert_allclose(nobody.scores(whole, TEST), rest.scores(whole, TEST), rtol=1e-9)


def test_a_model_of_before_is_read_and_scores_as_it_did() -> None:
    earlier = LogisticDetector(25, spread=noise_spread(STUDY, 1274))
    model = Model(STUDY, summed(earlier))
    read = read_model(model.to_bytes())
    scores = earlier.scores(model.parameters, TEST)
    np.testing.assert_allclose(read.detector().scores(read.parameters, TEST), scores, rtol=1e-6)
