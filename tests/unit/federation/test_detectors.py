"""Detectors: gradients against plain autograd, moments against a known process, Adam against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.integration.federation.kit import HOSPITALS
from twinward.core.errors import BadInput
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.autoencoder import AutoencoderDetector
from twinward.federation.detectors.descent import AdamDescent
from twinward.federation.detectors.detector import Detector, normalise
from twinward.federation.detectors.dp_var import DpVarDetector, VarModel, fit
from twinward.federation.detectors.logistic import LogisticDetector
from twinward.federation.detectors.simulated_moments import simulate, simulated_moments
from twinward.federation.errors import StudyInvalid
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import DetectorKind, StudyProtocol

BLOCKS = normalise(simulate_stays(20, 1), 6)


def autoencoder(**changes: object) -> AutoencoderDetector:
    return AutoencoderDetector(StudyProtocol.for_autoencoder("s", HOSPITALS, bins=6, hidden=4, **changes))


def each() -> list[Detector]:
    return [autoencoder(), DpVarDetector(), LogisticDetector(24)]


def test_each_kind_of_a_protocol_has_a_detector_of_its_own() -> None:
    base = {"study_id": "s", "hospitals": HOSPITALS, "clip": 1.0, "rounds": 1, "epsilon": 1.0, "hidden": 4}
    signals = {DetectorKind.LOGISTIC: "icu-outcome"}
    made = [
        build_detector(StudyProtocol.parse(base | {"detector": kind, "signals": signals.get(kind, "icu")}))
        for kind in DetectorKind
    ]
    assert {kind for one in made for kind in type(one).__mro__} >= {type(one) for one in each()}
    assert len(each()) == len(DetectorKind)


def test_rows_are_each_patients_own_gradient() -> None:
    """One patient at a time through ordinary autograd gives the row that Opacus gives in a batch."""
    detector = autoencoder()
    parameters = detector.untrained() + np.random.default_rng(0).normal(0, 0.1, detector.dimension)
    rows = np.concatenate(list(detector.contributions(parameters, BLOCKS)))
    assert rows.shape == (20, detector.dimension)
    for index in range(20):
        alone = detector.summed(parameters, BLOCKS[index : index + 1])
        np.testing.assert_allclose(rows[index], alone, atol=1e-6)


def test_gradient_agrees_with_finite_differences() -> None:
    detector = autoencoder()
    parameters, step = detector.untrained(), 1e-2
    gradient = detector.summed(parameters, BLOCKS)
    for index in np.argsort(-np.abs(gradient))[:5]:
        shift = np.zeros_like(parameters)
        shift[index] = step
        rise = detector.scores(parameters + shift, BLOCKS).sum() - detector.scores(parameters - shift, BLOCKS).sum()
        assert gradient[index] == pytest.approx(10 * rise / (2 * step), rel=0.05)


@pytest.mark.parametrize("index", range(len(DetectorKind)))
def test_what_every_detector_does(index: int) -> None:
    detector = each()[index]
    start = detector.untrained()
    assert np.array_equal(start, detector.untrained())
    chunks = list(detector.contributions(start, BLOCKS))
    assert sum(len(chunk) for chunk in chunks) == len(BLOCKS)
    np.testing.assert_allclose(np.concatenate(chunks).sum(0), detector.summed(start, BLOCKS), rtol=1e-3, atol=1e-4)
    learner = detector.learner()
    learner.learn(detector.summed(start, BLOCKS))
    assert not np.array_equal(learner.parameters, start)
    assert np.array_equal(start, detector.untrained())  # learning changes nobody else's parameters
    scores = detector.scores(learner.parameters, BLOCKS)
    assert scores.shape == (20,)
    assert (scores >= 0).all()


def test_initial_weights_answer_to_the_protocols_seed_and_leave_torch_alone() -> None:
    torch.manual_seed(123)
    before = torch.rand(1)
    torch.manual_seed(123)
    first, second, other = autoencoder(seed=1), autoencoder(seed=1), autoencoder(seed=2)
    assert torch.equal(torch.rand(1), before)
    assert np.array_equal(first.untrained(), second.untrained())
    assert not np.array_equal(first.untrained(), other.untrained())


@pytest.mark.parametrize("index", range(len(DetectorKind)))
def test_parameters_that_do_not_fit_are_refused(index: int) -> None:
    detector = each()[index]
    with pytest.raises(BadInput):
        detector.scores(np.zeros(7), BLOCKS)
    with pytest.raises(BadInput):
        detector.scores(np.full_like(detector.untrained(), np.nan), BLOCKS)


def test_moments_find_the_process_behind_them() -> None:
    random = np.random.default_rng(4)
    W = np.diag(np.full(24, -0.3))
    W[0, 1], W[5, 2] = 0.2, -0.15
    levels = np.zeros((3000, 12, 24))
    levels[:, 0] = random.normal(0, 0.5, (3000, 24))
    for step in range(1, 12):
        levels[:, step] = levels[:, step - 1] @ (np.eye(24) + W).T + random.normal(0, 0.3, (3000, 24))
    blocks = levels.astype(np.float32)
    detector = DpVarDetector()
    model = fit(detector.summed(detector.untrained(), blocks))
    # The ridge of 0.02 beside a variance of 0.18 to 0.25 shrinks W by about a tenth.
    np.testing.assert_allclose(model.W, 0.9 * W, atol=0.03)
    assert model.residuals(blocks).mean() == pytest.approx(24, rel=0.05)  # chi-square with 24 degrees of freedom


def test_moments_survive_noise_that_breaks_definiteness() -> None:
    detector = DpVarDetector()
    noisy = np.random.default_rng(0).normal(0, 1e4, detector.dimension)
    assert np.isfinite(detector.scores(noisy, BLOCKS)).all()


def test_covariances_are_drawn_towards_the_target_by_as_much_as_noise_explains() -> None:
    detector, random = DpVarDetector(6), np.random.default_rng(3)
    moments = detector.summed(detector.untrained(), normalise(simulate_stays(400, 8), 6))
    target = simulated_moments(6)
    assert target is not None
    drowned = fit(moments, spread=1e9, target=target)
    aimed = fit(target * moments[-1])
    np.testing.assert_allclose(drowned.W, aimed.W)
    np.testing.assert_allclose(drowned.whitening**2, aimed.whitening**2, rtol=1e-6)
    assert not np.allclose(fit(moments).W, aimed.W, atol=0.01)
    np.testing.assert_allclose(fit(moments, spread=1e-9, target=target).W, fit(moments).W, atol=1e-9)
    noise = 30.0
    noisy = moments + random.normal(0, noise, moments.shape)
    exact = fit(moments)

    def far(model: VarModel) -> float:
        return float(np.abs(np.linalg.inv(model.whitening @ model.whitening.T) - covariance).sum())

    covariance = np.linalg.inv(exact.whitening @ exact.whitening.T)
    assert far(fit(noisy, spread=noise, target=target)) < 0.5 * far(fit(noisy))
    assert far(fit(noisy, spread=noise)) < far(fit(noisy))  # without a target: towards no covariances


@pytest.mark.slow
def test_the_kept_moments_are_those_of_simulated_stays() -> None:
    kept = simulated_moments(2)
    assert kept is not None
    np.testing.assert_allclose(kept, simulate(2), atol=0.02)
    assert simulated_moments(5) is None


def test_a_kind_that_nothing_trains_is_refused() -> None:
    study = StudyProtocol.for_dp_var("s", HOSPITALS).model_copy(update={"detector": "crystal-ball"})
    with pytest.raises(StudyInvalid, match="crystal-ball"):
        build_detector(study)


def test_untrained_moments_score_plain_change() -> None:
    detector = DpVarDetector()
    change = np.sqrt((np.diff(BLOCKS.astype(float), axis=1) ** 2).sum(2)).mean(1)
    np.testing.assert_allclose(detector.scores(detector.untrained(), BLOCKS), change)


def test_descent_is_adam() -> None:
    random = np.random.default_rng(2)
    weights = torch.tensor(random.normal(size=5), requires_grad=True)
    ours = AdamDescent(weights.detach().numpy().copy(), 0.03, patients=10)
    theirs = torch.optim.Adam([weights], lr=0.03, betas=(0.9, 0.99), eps=1e-8)
    for _ in range(20):
        gradient = random.normal(size=5)
        weights.grad = torch.tensor(gradient / 10)
        theirs.step()
        ours.learn(gradient)
    np.testing.assert_allclose(ours.parameters, weights.detach().numpy(), rtol=1e-9)


def test_the_protocol_names_the_detector() -> None:
    assert isinstance(build_detector(StudyProtocol.for_dp_var("s", HOSPITALS)), DpVarDetector)
    assert isinstance(build_detector(StudyProtocol.for_autoencoder("s", HOSPITALS)), AutoencoderDetector)
