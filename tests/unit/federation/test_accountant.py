"""What is charged is an upper bound, tight, monotone, and adds up."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from tests.integration.federation.kit import HOSPITALS, reserved
from twinward.core.errors import BadInput
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import normalise
from twinward.federation.errors import NotPaid
from twinward.federation.privacy.accountant import (
    calibrate,
    charged_epsilon,
    cost_of,
    gaussian_delta,
    gaussian_epsilon,
    plan_for,
    require_paid,
    spent_epsilon,
)
from twinward.federation.privacy.dp_sum import UNIT, clipped_sum, noise_variance
from twinward.federation.study import DetectorKind, StudyProtocol
from twinward.federation.study_file import new_protocol


@pytest.mark.parametrize("sigma", [0.7, 1.5, 4.0])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_delta_is_the_hockey_stick_divergence(sigma: float, epsilon: float) -> None:
    shifted, still = stats.norm(1, sigma).pdf, stats.norm(0, sigma).pdf
    integral, _ = integrate.quad(
        lambda x: max(shifted(x) - math.exp(epsilon) * still(x), 0), -20 * sigma, 20 * sigma, limit=500
    )
    assert gaussian_delta(sigma, epsilon) == pytest.approx(integral, abs=1e-7)


@pytest.mark.parametrize("sigma", [0.8, 1.39, 5.0, 30.0])
@pytest.mark.parametrize("delta", [1e-6, 1e-5])
def test_the_charge_agrees_with_the_closed_form_and_never_undercuts_it(sigma: float, delta: float) -> None:
    exact = gaussian_epsilon(sigma, delta)
    assert exact * (1 - 1e-9) <= charged_epsilon(sigma, 1, delta) <= exact * 1.0001


@pytest.mark.parametrize("detector", ["dp-var", "lstm-autoencoder", "logistic-warning"])
def test_a_patient_of_two_hospitals_is_hidden_by_all_noise_together(detector: str) -> None:
    """The worst case: the same row at both, within the clip. One hospital's promise does not hold for two."""
    alone = new_protocol("x", HOSPITALS, DetectorKind(detector), 1.0, hidden=2)
    twice = new_protocol("x", HOSPITALS, DetectorKind(detector), 1.0, hidden=2, hospitals_per_patient=2)
    found = build_detector(twice)
    signals = twice.signals.signal
    louder = np.full((1, twice.signals.steps, len(signals)), [one.high for one in signals], np.float32) * 1.5
    louder[..., -1:] = 1 if twice.signals.has_outcome else louder[..., -1:]
    blocks = normalise(louder, twice.bins, twice.signals)
    one = clipped_sum(found.contributions(found.untrained(), blocks), twice.clip, found.dimension)
    changed = float(np.linalg.norm(2 * one.astype(float)))
    assert changed > 1.9 * UNIT, "the row is at the clip"

    def epsilon_of(study: StudyProtocol) -> float:
        variance = study.honest * noise_variance(plan_for(study).noise_multiplier, found.dimension, study.honest)
        return gaussian_epsilon(math.sqrt(variance) / changed / math.sqrt(study.sums), study.delta)

    assert 0.95 < epsilon_of(twice) <= 1.0 < 1.9 < epsilon_of(alone)
    assert (plan_for(twice).epsilon, cost_of(twice)) == (plan_for(alone).epsilon, cost_of(alone))
    assert plan_for(twice).epsilon_after(twice.sums) == pytest.approx(plan_for(twice).epsilon, rel=1e-4)


def test_rounds_compose_as_dp_accounting_composes_them() -> None:
    from dp_accounting.pld import privacy_loss_distribution

    step = privacy_loss_distribution.from_gaussian_mechanism(6.0, value_discretization_interval=1e-4)
    composed = step.self_compose(20).get_epsilon_for_delta(1e-5)
    assert charged_epsilon(6.0, 20, 1e-5) == pytest.approx(composed, rel=2e-3)


@pytest.mark.parametrize("rounds", [1, 40])
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 8.0])
def test_calibration_reaches_the_promise_and_wastes_nothing(epsilon: float, rounds: int) -> None:
    charged = charged_epsilon(calibrate(epsilon, 1e-5, rounds), rounds, 1e-5)
    assert epsilon * 0.9999 < charged <= epsilon


def test_epsilon_falls_with_noise_and_grows_with_rounds() -> None:
    by_noise = [charged_epsilon(sigma, 10, 1e-5) for sigma in (4.0, 8.0, 16.0)]
    assert by_noise == sorted(by_noise, reverse=True)
    by_rounds = [charged_epsilon(8.0, rounds, 1e-5) for rounds in (1, 4, 20)]
    assert by_rounds == sorted(by_rounds)


def test_a_plan_is_integers_rounded_up() -> None:
    plan = plan_for(StudyProtocol.for_autoencoder("s", HOSPITALS, rounds=40))
    assert plan.inverse_variance_micros == math.ceil(40 / plan.noise_multiplier**2 * 1e6)
    assert plan.epsilon_micros >= plan.epsilon * 1e6
    assert plan.delta_e12 == 10_000_000
    assert plan.epsilon_after(0) == 0
    assert plan.epsilon_after(40) == pytest.approx(plan.epsilon, rel=1e-4)
    assert plan.epsilon_after(10) < plan.epsilon_after(20)
    for rounds in (-1, 41):
        with pytest.raises(BadInput):
            plan.epsilon_after(rounds)


def test_spends_add_up_in_inverse_variance() -> None:
    plan = plan_for(StudyProtocol.for_dp_var("s", HOSPITALS))
    once, twice = plan.inverse_variance_micros, 2 * plan.inverse_variance_micros
    assert spent_epsilon(once, 1e-5) == pytest.approx(3.0, rel=1e-5)
    assert spent_epsilon(twice, 1e-5) == pytest.approx(charged_epsilon(plan.noise_multiplier, 2, 1e-5), rel=1e-5)
    assert spent_epsilon(0, 1e-5) == 0
    with pytest.raises(BadInput):
        spent_epsilon(-1, 1e-5)


@pytest.mark.parametrize(
    "wrong", [{"epsilon": 0}, {"epsilon": math.nan}, {"epsilon": 51}, {"delta": 0}, {"delta": 1}, {"rounds": 0}]
)
def test_what_has_no_meaning_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        calibrate(**({"epsilon": 1.0, "delta": 1e-5, "rounds": 1} | wrong))
    with pytest.raises(BadInput):
        charged_epsilon(math.inf, 1, 1e-5)
    with pytest.raises(BadInput):
        charged_epsilon(0, 1, 1e-5)


def test_the_widest_promise_is_calibrated_and_one_that_no_noise_keeps_is_not() -> None:
    assert gaussian_epsilon(calibrate(50, 1e-5, 1), 1e-5) <= 50
    with pytest.raises(BadInput, match="no noise"):
        calibrate(1e-9, 1e-12, 1)


def test_noise_that_promises_next_to_nothing_is_refused() -> None:
    assert 128 < gaussian_epsilon(0.06, 1e-5) < 256
    with pytest.raises(BadInput, match="too small"):
        gaussian_epsilon(0.04, 1e-5)


def test_only_a_live_reservation_of_the_very_study_that_covers_its_cost_pays_for_it() -> None:
    study = StudyProtocol.for_dp_var("s", HOSPITALS)
    enough = reserved(study.fingerprint(), cost_of(study))
    for hospital in HOSPITALS:
        assert require_paid(study, hospital, enough) is enough
    more = replace(enough, micros=enough.micros + 1)
    assert require_paid(study, "east", more) is more
    for found, why in (
        (None, "no reservation"),
        (replace(enough, study=bytes(32)), "another study"),
        (replace(enough, cohort=bytes(32)), "another study or cohort"),
        (replace(enough, live=False), "settled"),
        (replace(enough, hospitals=frozenset(list(enough.hospitals)[:2])), "exactly"),
        (replace(enough, hospitals=enough.hospitals | {bytes(32)}), "exactly"),
        (replace(enough, micros=enough.micros - 1), "it costs"),
    ):
        with pytest.raises(NotPaid, match=why):
            require_paid(study, "east", found)
    with pytest.raises(NotPaid, match="exactly"):
        require_paid(study, "west", enough)
