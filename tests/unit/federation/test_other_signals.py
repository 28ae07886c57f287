"""Detectors of other signals than the ICU's: a table's rows, one lead, a few vitals; and their plausible sums."""

from __future__ import annotations

import numpy as np
import pytest

from tests.integration.federation.kit import HOSPITALS
from twinward.core.errors import BadInput
from twinward.features.signal_schema import SchemaSignal, SignalSchema, table_schema
from twinward.federation.aggregation.plausibility import require_plausible
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.dp_var import DpVarDetector, fit
from twinward.federation.detectors.model_file import Model
from twinward.federation.evaluation.anomaly_finding import find_anomalies
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.privacy.dp_sum import clipped_sum
from twinward.federation.study import DetectorKind, StudyProtocol

TABLE = table_schema("six", {f"s{n}": (-1.0, 1.0) for n in range(6)})
LEAD = SignalSchema(name="lead", steps=20, signal=(SchemaSignal(name="lead", low=-1.0, high=1.0),))
VITALS = SignalSchema(
    name="vitals",
    steps=4,
    step_hours=6.0,
    signal=(SchemaSignal(name="hr", low=60, high=100), SchemaSignal(name="rr", low=12, high=20)),
)
SHAPES = [(TABLE, 1), (LEAD, 5), (VITALS, 4), (VITALS, 2)]


def study_of(kind: DetectorKind, signals: SignalSchema, bins: int) -> StudyProtocol:
    make = StudyProtocol.for_dp_var if kind is DetectorKind.DP_VAR else StudyProtocol.for_autoencoder
    return make("s", HOSPITALS, signals=signals, bins=bins, hidden=3)


def stays_of(signals: SignalSchema, count: int = 30) -> np.ndarray:
    random = np.random.default_rng(1)
    middle = np.array([one.middle for one in signals.signal])
    half = np.array([one.half_range for one in signals.signal])
    stays = middle + half * random.normal(size=(count, signals.steps, len(signals.signal)))
    stays[random.random(stays.shape) < 0.1] = np.nan
    return stays.astype(np.float32)


@pytest.mark.parametrize(("signals", "bins"), SHAPES)
@pytest.mark.parametrize("kind", [DetectorKind.DP_VAR, DetectorKind.AUTOENCODER])
def test_a_detector_takes_any_signals(kind: DetectorKind, signals: SignalSchema, bins: int) -> None:
    study = study_of(kind, signals, bins)
    detector, blocks = build_detector(study), normalise(stays_of(signals), bins, signals)
    rows = np.concatenate(list(detector.contributions(detector.untrained(), blocks)))
    assert rows.shape == (30, detector.dimension)
    np.testing.assert_allclose(rows.sum(0), detector.summed(detector.untrained(), blocks), atol=1e-4)
    learner = detector.learner()
    learner.learn(rows.sum(0).astype(np.float64))
    assert np.isfinite(detector.scores(learner.parameters, blocks)).all()
    require_plausible(study, plan_for(study), clipped_sum(iter([rows]), study.clip, detector.dimension))


@pytest.mark.parametrize(("signals", "bins"), [(TABLE, 1), (LEAD, 5)])
def test_a_row_is_scored_by_its_distance(signals: SignalSchema, bins: int) -> None:
    """Against scikit-learn's own Mahalanobis distance of the same rows, no eigenvalue being near the floor."""
    from sklearn.covariance import EmpiricalCovariance

    blocks = normalise(stays_of(signals, 400), bins, signals)
    detector = DpVarDetector(bins, len(signals.signal))
    scores = detector.scores(detector.summed(detector.untrained(), blocks), blocks)
    flat = blocks.reshape(len(blocks), -1).astype(np.float64)
    np.testing.assert_allclose(scores**2, EmpiricalCovariance().fit(flat).mahalanobis(flat), rtol=1e-4)


def test_moments_of_another_width_are_refused() -> None:
    for count in (2, 4, 1224):
        with pytest.raises(BadInput, match="triangle"):
            fit(np.ones(count))
    with pytest.raises(BadInput, match="not dp-var"):
        fit(np.ones(10))  # four columns: no levels and changes of as many
    with pytest.raises(BadInput, match="steps, 6"):
        normalise(np.zeros((3, 1, 5), np.float32), 1, TABLE)


@pytest.mark.parametrize(("signals", "bins"), SHAPES)
@pytest.mark.parametrize("kind", [DetectorKind.DP_VAR, DetectorKind.AUTOENCODER])
def test_what_is_each_signals_sums_to_the_score(kind: DetectorKind, signals: SignalSchema, bins: int) -> None:
    study = study_of(kind, signals, bins)
    detector, blocks = build_detector(study), normalise(stays_of(signals), bins, signals)
    learner = detector.learner()
    learner.learn(detector.summed(detector.untrained(), blocks))
    parts = detector.by_signal(learner.parameters, blocks)
    assert parts.shape == (30, len(signals.signal))
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(1), detector.scores(learner.parameters, blocks), rtol=1e-5)


def test_the_signal_that_jumps_is_named() -> None:
    study = study_of(DetectorKind.DP_VAR, TABLE, 1)
    stays = np.random.default_rng(2).normal(0, 0.5, (500, 1, 6)).astype(np.float32)
    stays[0, 0, 3] = 3.9
    detector = build_detector(study)
    moments = detector.summed(detector.untrained(), normalise(stays, 1, TABLE))
    first, second = find_anomalies(Model(study, moments), stays, 6.0)[:2]
    assert first.is_anomaly
    assert first.contributions[0].signal.name == "s3"
    assert first.contributions[0].share > 0.8
    assert not second.is_anomaly
    assert find_anomalies(Model(study, moments), stays[:0], 6.0) == []
