"""The early warning: its minimum against scikit-learn's, whose outcome is missing, and what protocols may ask for."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.integration.federation.kit import HOSPITALS
from twinward.core.errors import BadInput
from twinward.features.signal_schema import ICU, ICU_OUTCOME, SchemaSignal, SignalSchema
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.logistic import LogisticDetector
from twinward.federation.errors import StudyInvalid
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import synthetic_benchmark
from twinward.federation.stays.simulated import simulate_signals, simulate_stays
from twinward.federation.study import StudyProtocol

STAYS = simulate_signals(ICU_OUTCOME, 600, 3)
BLOCKS = normalise(STAYS, 12, ICU_OUTCOME)
TEST = simulate_signals(ICU_OUTCOME, 600, 4)


def test_simulated_outcomes_come_with_the_stays_of_the_icu() -> None:
    np.testing.assert_array_equal(STAYS[:, :, :-1], simulate_stays(600, 3))
    assert set(np.unique(STAYS[:, :, -1])) == {0.0, 1.0}
    assert 0.1 < STAYS[:, 0, -1].mean() < 0.5
    assert set(np.unique(BLOCKS[:, :, -1])) == {-1.0, 1.0}


def test_it_ranks_like_logistic_regression() -> None:
    detector = LogisticDetector(25)
    test = normalise(TEST, 12, ICU_OUTCOME)
    told, labels = detector._told(BLOCKS), BLOCKS[:, 0, -1] > 0
    theirs = LogisticRegression(C=1, max_iter=5000).fit(told, labels).decision_function(detector._told(test))
    ours = detector.scores(detector.summed(detector.untrained(), BLOCKS), test)
    died = TEST[:, 0, -1] == 1
    assert roc_auc_score(died, ours) > roc_auc_score(died, theirs) - 0.02 > 0.65
    assert ((ours >= 0) & (ours <= 1)).all()


def test_the_weights_minimise_the_second_order_loss() -> None:
    detector = LogisticDetector(25)
    weights = detector.weights(detector.summed(detector.untrained(), BLOCKS))
    told, outcome = detector._told(BLOCKS).astype(float), BLOCKS[:, 0, -1]

    def loss(at: np.ndarray) -> float:
        margin = told @ at
        return float((-outcome * margin / 2 + margin**2 / 8).sum())

    for index in range(0, len(weights), 7):
        for step in (-0.1, 0.1):
            other = weights.copy()
            other[index] += step
            assert loss(other) > loss(weights)


def test_who_has_no_outcome_contributes_nothing_and_who_is_scored_needs_none() -> None:
    unknown = STAYS[:5].copy()
    unknown[:, :, -1] = np.nan
    blocks = normalise(unknown, 12, ICU_OUTCOME)
    detector = LogisticDetector(25)
    (rows,) = detector.contributions(detector.untrained(), blocks)
    assert not rows.any()
    trained = detector.summed(detector.untrained(), BLOCKS)
    np.testing.assert_array_equal(detector.scores(trained, blocks), detector.scores(trained, BLOCKS[:5]))
    np.testing.assert_array_equal(detector.scores(trained, blocks[:, :, :24]), detector.scores(trained, blocks))
    with pytest.raises(BadInput, match="24 signals"):
        detector.scores(trained, blocks[:, :, :7])


def test_what_each_signal_adds_makes_the_log_odds() -> None:
    detector = LogisticDetector(25)
    trained = detector.summed(detector.untrained(), BLOCKS)
    parts = detector.by_signal(trained, BLOCKS)
    assert parts.shape == (len(BLOCKS), 25)
    assert not parts[:, -1].any()
    chances = detector.scores(trained, BLOCKS)
    np.testing.assert_allclose(parts.sum(1) + detector.weights(trained)[-1], np.log(chances / (1 - chances)))


def test_nothing_learnt_is_an_even_chance() -> None:
    detector = LogisticDetector(25)
    assert (detector.scores(detector.untrained(), BLOCKS) == 0.5).all()


def test_labels_are_outcomes_and_are_not_seen() -> None:
    mixed = TEST.copy()
    mixed[:3, :, -1] = np.nan
    labelled = inject_anomalies(mixed, 1, signals=ICU_OUTCOME)
    assert len(labelled.stays) == len(mixed) - 3
    assert np.isnan(labelled.stays[:, :, -1]).all()
    np.testing.assert_array_equal(labelled.labels, mixed[3:, 0, -1] == 1)
    benchmark = synthetic_benchmark(signals=ICU_OUTCOME)
    benchmark.require_measurable(12, ICU_OUTCOME)


def test_a_protocol_has_an_outcome_exactly_where_one_is_foretold() -> None:
    study = StudyProtocol.for_logistic("w", HOSPITALS, epsilon=1.0)
    assert build_detector(study).dimension == 2 * 49 + 1 + 34 * 35 // 2
    assert build_detector(study, in_the_open=True).dimension == 49 + 49 * 50 // 2
    assert StudyProtocol.parse(study.model_dump(mode="json")).fingerprint() == study.fingerprint()
    for make, signals in ((StudyProtocol.for_logistic, ICU), (StudyProtocol.for_dp_var, ICU_OUTCOME)):
        with pytest.raises(StudyInvalid, match="outcome"):
            make("w", HOSPITALS, signals=signals)
    with pytest.raises(StudyInvalid, match="one private sum"):
        StudyProtocol.for_logistic("w", HOSPITALS, rounds=2)
    outcome = SchemaSignal(name="outcome", low=0.375, high=0.625)
    for wrong in ((outcome,), (outcome, SchemaSignal(name="a", low=0, high=1))):
        with pytest.raises(ValueError, match="last signal"):
            SignalSchema(name="x", steps=1, signal=wrong)
