"""Whatever protocol is accepted, one patient changes a sum by at most Δ, beyond a thousand patients too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.federation.kit import HOSPITALS
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import normalise
from twinward.federation.errors import StudyInvalid
from twinward.federation.privacy.accountant import gaussian_delta, multiplier_of
from twinward.federation.privacy.dp_sum import clipped_sum, noise_variance, sensitivity
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import DetectorKind, StudyProtocol

STAYS = simulate_stays(1026, 12, severity=0.9)
STAYS[::3, :, ::2] = 3e38
OUTCOMES = np.broadcast_to((np.arange(len(STAYS)) % 5 == 0)[:, None, None], (*STAYS.shape[:2], 1)).astype(np.float32)

PROTOCOLS = st.fixed_dictionaries(
    {
        "study_id": st.just("any"),
        "hospitals": st.just(HOSPITALS),
        "detector": st.sampled_from(list(DetectorKind)),
        "epsilon": st.floats(0.01, 10),
        "delta": st.floats(1e-12, 1e-4),
        "clip": st.floats(-6, 6).map(lambda power: min(max(10**power, 1e-6), 1e6)),
        "rounds": st.integers(1, 1000),
        "hidden": st.integers(1, 3),
        "bins": st.sampled_from([2, 3, 4]),
        "expected_patients": st.integers(1, 9999),
        "seed": st.integers(0, 2**31 - 1),
    }
)


def accepted(fields: dict[str, Any]) -> StudyProtocol:
    one_sum = fields["detector"] is not DetectorKind.AUTOENCODER
    outcome = {"signals": "icu-outcome"} if fields["detector"] is DetectorKind.LOGISTIC else {}
    return StudyProtocol.parse(fields | outcome | ({"rounds": 1} if one_sum else {}))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PROTOCOLS, st.sampled_from([0, 255, 256, 511, 512, 1023, 1024, 1025]), st.floats(0, 3))
def test_one_patient_changes_a_sum_by_at_most_the_sensitivity(fields: dict[str, Any], gone: int, spread: float) -> None:
    study = accepted(fields)
    stays = np.concatenate([STAYS, OUTCOMES], axis=2) if study.signals.has_outcome else STAYS
    detector, blocks = build_detector(study), normalise(stays, study.bins, study.signals)
    start = detector.untrained()
    start = start + np.random.default_rng(0).normal(0, 1, start.shape) * spread
    whole = clipped_sum(detector.contributions(start, blocks), study.clip, detector.dimension)
    rest = clipped_sum(detector.contributions(start, np.delete(blocks, gone, 0)), study.clip, detector.dimension)
    assert sum(int(moved) ** 2 for moved in whole - rest) <= sensitivity(detector.dimension) ** 2


@given(PROTOCOLS)
def test_the_noise_of_every_accepted_protocol_can_be_drawn_and_keeps_its_promise(fields: dict[str, Any]) -> None:
    study = accepted(fields)
    multiplier = multiplier_of(study)
    assert gaussian_delta(multiplier / np.sqrt(study.rounds), study.epsilon) <= study.delta
    for dimension in (1225, 1 << 20):
        assert 1 <= noise_variance(multiplier, dimension, 2) <= 1 << 80


@given(st.floats(max_value=1e-6, exclude_max=True) | st.floats(min_value=1e6, exclude_min=True))
def test_no_other_clip_is_accepted(clip: float) -> None:
    with pytest.raises(StudyInvalid, match="clip"):
        StudyProtocol.for_dp_var("any", HOSPITALS, clip=clip)
