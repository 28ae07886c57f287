"""ONNX against the detectors themselves, run by ONNX Runtime."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.federation.kit import HOSPITALS
from tests.unit.federation.test_other_signals import SHAPES, stays_of
from twinward import federation
from twinward.features.signal_schema import ICU, ICU_OUTCOME, SignalSchema
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.grouped import GroupedDetector, scores_of
from twinward.federation.detectors.model_file import Model
from twinward.federation.disease_groups import DiseaseGroup
from twinward.federation.evaluation.onnx_export import export_onnx
from twinward.federation.stays.simulated import simulate_signals
from twinward.federation.study import DetectorKind, StudyProtocol


def model_of(kind: DetectorKind, signals: SignalSchema, bins: int) -> Model:
    make = StudyProtocol.for_dp_var if kind is DetectorKind.DP_VAR else StudyProtocol.for_autoencoder
    study = make("s", HOSPITALS, signals=signals, bins=bins, hidden=5, expected_patients=300, epsilon=3.0)
    bare = Model(study, np.zeros(0))
    detector = bare.detector()
    learner = detector.learner()
    learner.learn(detector.summed(detector.untrained(), normalise(stays_of(signals, 300), bins, signals)))
    return Model(study, learner.parameters)


def run(session: onnxruntime.InferenceSession, stays: np.ndarray) -> np.ndarray:
    (scores,) = session.run(["score"], {"stays": stays})
    return np.asarray(scores)


@pytest.mark.parametrize(("signals", "bins"), [*SHAPES, (ICU, 12), (ICU, 48)])
@pytest.mark.parametrize("kind", [DetectorKind.DP_VAR, DetectorKind.AUTOENCODER])
def test_it_scores_like_the_detector(kind: DetectorKind, signals: SignalSchema, bins: int) -> None:
    model = model_of(kind, signals, bins)
    content = export_onnx(model)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(5)
    stays = stays_of(signals, 64)
    stays[0] = np.nan
    stays[1] *= 1e6
    stays[2, : signals.steps // 2] = np.nan
    stays[random.random(stays.shape) < 0.5] = np.nan
    scores = federation.score(model, stays)
    np.testing.assert_allclose(run(session, stays), scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(session, stays[:1]), scores[:1], rtol=1e-5, atol=1e-5)
    described = session.get_modelmeta().custom_metadata_map
    assert described["twinward.model_sha256"] == model.hash().hex()
    assert [one["name"] for one in json.loads(described["twinward.signals"])] == list(signals.names)
    assert export_onnx(model) == content


@pytest.mark.parametrize("groups", [(), (DiseaseGroup(name="kidneys", expected_patients=150),)], ids=["all", "heads"])
def test_an_early_warning_foretells_like_the_detector_whatever_its_outcome_column_says(
    groups: tuple[DiseaseGroup, ...],
) -> None:
    study = StudyProtocol.for_logistic("s", HOSPITALS, expected_patients=300, epsilon=8.0, disease_groups=groups)
    stays = simulate_signals(ICU_OUTCOME, 300, 1)
    detector = Model(study, np.zeros(0)).detector()
    blocks = normalise(stays, study.bins, ICU_OUTCOME)
    if isinstance(detector, GroupedDetector):
        heads = detector.heads_of(["kidneys", "", ""] * 100)
        bare = detector.summed_of(detector.untrained(), blocks, heads)
    else:
        bare = detector.summed(detector.untrained(), blocks)
    model = Model(study, bare)
    asked = simulate_signals(ICU_OUTCOME, 40, 2)
    asked[0], asked[1] = np.nan, asked[1] * 1e6
    asked[2, 20:] = np.nan
    for group in ("", *(one.name for one in groups)):
        session = onnxruntime.InferenceSession(export_onnx(model, group))
        shown = normalise(asked, study.bins, ICU_OUTCOME)
        expected = scores_of(detector, model.parameters, shown, [group] * len(asked))
        np.testing.assert_allclose(run(session, asked), expected, rtol=1e-5, atol=1e-6)
        asked[:, :, -1] = np.nan
        np.testing.assert_allclose(run(session, asked), expected, rtol=1e-5, atol=1e-6)


CELL = st.one_of(st.just(float("nan")), st.floats(width=32, allow_infinity=False, allow_subnormal=False))
SESSION: dict[str, Any] = {}


@settings(max_examples=60, deadline=None)
@given(st.lists(CELL, min_size=12, max_size=12))
def test_any_numbers_score_alike(cells: list[float]) -> None:
    if not SESSION:
        SESSION["model"] = model_of(DetectorKind.DP_VAR, SHAPES[0][0], 1)
        SESSION["session"] = onnxruntime.InferenceSession(export_onnx(SESSION["model"]))
    stays = np.array(cells, np.float32).reshape(2, 1, 6)
    np.testing.assert_allclose(
        run(SESSION["session"], stays), federation.score(SESSION["model"], stays), rtol=1e-5, atol=1e-5
    )
